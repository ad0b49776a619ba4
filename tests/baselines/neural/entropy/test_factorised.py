"""The factorised prior of z: its tables, the bits that they cost, its losses."""

import math

import numpy as np
import pytest
import torch

from baselines.neural.entropy.coder import Decoder, Distributions
from baselines.neural.entropy.factorised import FactorisedPrior, factorised_tables
from support.entropy.reference_coder import encode


@pytest.fixture(scope="module")
def prior():
    """Spread by a random walk of its parameters, with medians between the integers."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        prior = FactorisedPrior(12)
        for parameter in prior.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        return prior


def test_the_priors_integers_are_its_probabilities(prior):
    tables = {name: table.numpy() for name, table in factorised_tables(prior).items()}
    medians = prior.medians().detach()
    for channel, row in enumerate(tables["z_cdf"]):
        counts = np.diff(row[: tables["z_cdf_length"][channel]].astype(int))
        assert counts.sum() == 65536
        symbols = tables["z_cdf_offset"][channel] + np.arange(len(counts) - 1)
        values = torch.zeros(1, 12, 1, len(symbols))
        values[0, channel, 0] = medians[channel] + torch.tensor(symbols)
        with torch.no_grad():
            likelihood = torch.exp2(-prior.bits(values))[0, channel, 0].double().numpy()
        # Each is at least 1, so the likeliest may lose one for every other symbol.
        assert np.abs(counts[:-1] - 65536 * likelihood).max() < 1.1 + len(counts) * likelihood.max()
        assert likelihood.sum() > 1 - 2**-16


def test_coding_z_takes_the_bits_that_the_prior_says(prior):
    rows = Distributions(*(table.numpy() for table in factorised_tables(prior).values()))
    symbols = np.rint(np.random.default_rng(0).standard_normal((12, 20, 20)) * 5).astype(np.int32)
    indices = np.arange(12).repeat(400).reshape(symbols.shape)
    with torch.no_grad():
        values = torch.tensor(symbols)[None] + prior.medians()[None, :, None, None]
        ideal = float(prior.bits(values).sum()) / 8
    data = encode((symbols, rows, indices))
    assert ideal - 4 < len(data) < 1.002 * ideal + 4
    np.testing.assert_array_equal(Decoder(data).take(rows, indices), symbols)


def test_the_loss_of_the_quantiles_moves_them_alone_and_bits_move_the_distribution():
    prior = FactorisedPrior(3)
    prior.quantile_loss().backward()
    moved = {name for name, one in prior.named_parameters() if one.grad is not None}
    assert moved == {"quantiles"}
    prior.zero_grad()
    prior.bits(torch.full((1, 3, 1, 2), 0.3)).sum().backward()
    assert all(one.grad.abs().sum() > 0 for one in prior.matrices)
    assert all(one.grad.abs().sum() > 0 for one in prior.biases)


def test_a_prior_that_lies_far_from_its_median_still_gives_a_distribution(prior):
    with torch.no_grad():
        prior = FactorisedPrior(2)
        prior.quantiles[:, 1] = torch.tensor([1e6, -1e6])
    tables = factorised_tables(prior)
    assert tables["z_cdf_length"].min() >= 3
    Distributions(*(table.numpy() for table in tables.values()))


def test_a_prior_that_is_not_finite_is_refused():
    prior = FactorisedPrior(2)
    with torch.no_grad():
        prior.biases[0].fill_(math.nan)
    with pytest.raises(ValueError, match="not finite"):
        factorised_tables(prior)
