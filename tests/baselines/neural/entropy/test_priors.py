"""Bits of latents and rounding: the normal distribution, the factorised prior, gradients."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from baselines.neural.blocks.layers import clamp_below
from baselines.neural.entropy import factorised
from baselines.neural.entropy.coder import Distributions, SymbolDecoder
from baselines.neural.entropy.factorised import FactorisedPrior, annealed_rounding
from baselines.neural.entropy.hyperprior import gaussian_bits
from support.entropy.reference_coder import encode
from support.networks.drawn import noise, shaken
from support.networks.integer_network import latents, network
from support.networks.tiny_checkpoint import TINY


def test_gaussian_bits_are_those_of_the_normal_distribution_with_bounded_scales():
    residuals, scales = np.meshgrid(np.arange(-6.0, 7.0), [0.01, 0.11, 0.5, 2.0, 30.0])
    result = gaussian_bits(torch.tensor(residuals).float(), torch.tensor(scales).float())
    bounded = np.maximum(scales, 0.11)
    upper, lower = ((np.abs(residuals) + half) / bounded for half in (-0.5, 0.5))
    expected = -np.log2(np.maximum(norm.sf(upper) - norm.sf(lower), 1e-9))
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-5, atol=1e-6)
    values = torch.tensor([0.0, 0.0, 2.0], requires_grad=True)
    bounded = clamp_below(values, 1.0)
    assert bounded.tolist() == [1.0, 1.0, 2.0]
    (bounded * torch.tensor([-1.0, 1.0, 1.0])).sum().backward()
    assert values.grad.tolist() == [-1.0, 0.0, 1.0]


def test_a_new_prior_has_small_biases_and_one_far_from_its_median_a_distribution():
    biases = torch.cat([bias.detach().flatten() for bias in FactorisedPrior(64).biases])
    assert 0.48 < float(biases.abs().max()) <= 0.5
    prior = FactorisedPrior(2)
    with torch.no_grad():
        prior.quantiles[:, 1] = torch.tensor([1e6, -1e6])
    distributions_of(prior)


def distributions_of(prior):
    """Return the distributions of its channels, which are refused if they are none."""
    tables = factorised.factorised_tables(prior).values()
    return Distributions(*(table.numpy() for table in tables))


def test_the_factorised_prior_is_a_distribution_by_channel_far_out_too():
    prior = shaken(FactorisedPrior(3)).requires_grad_(False)
    values = 4 * noise(2, 3, 2, 5)
    for n, c, y, x in ((0, 0, 0, 0), (1, 2, 1, 4), (1, 0, 0, 3)):
        value = values[n, c, y, x]
        ends = prior.cumulative((value + torch.tensor([-0.5, 0.5])).repeat(3, 1))[c].sigmoid()
        torch.testing.assert_close(prior.bits(values)[n, c, y, x], -(ends[1] - ends[0]).log2())
    values = torch.tensor([-150.0, -120.0, 120.0, 150.0]).repeat(1, 3, 1, 1)
    bits = prior.bits(values)
    assert float(bits.min()) > 15
    exact = prior.double().bits(values.double())
    torch.testing.assert_close(bits.double(), exact, rtol=1e-4, atol=0)
    logits = prior.cumulative(torch.linspace(-50, 50, 1001).double().repeat(3, 1))
    assert bool((logits.diff(dim=1) > 0).all())
    mass = (2 ** -prior.bits(torch.arange(-400, 401.0).double().repeat(1, 3, 1, 1) + 0.3)).sum(3)
    # each of the 801 steps counts for no less than the least likelihood
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0, atol=801e-9)


def test_the_quantile_loss_leads_to_the_median_and_the_tails():
    prior = FactorisedPrior(2)
    optimiser = torch.optim.Adam([prior.quantiles], lr=3.0)
    for step in range(200):
        optimiser.param_groups[0]["lr"] = 3.0 * (1 - step / 200)
        optimiser.zero_grad()
        prior.quantile_loss().backward()
        optimiser.step()
    reached = prior.cumulative(prior.quantiles).sigmoid().detach()
    tail = factorised.TAIL_MASS / 2
    expected = torch.tensor([tail, 0.5, 1 - tail]).repeat(2, 1)
    torch.testing.assert_close(reached, expected, rtol=0.1, atol=1e-3)
    torch.testing.assert_close(reached[:, 0], expected[:, 0], rtol=0.3, atol=0)


@pytest.fixture(scope="module")
def prior():
    """Twelve distributions that differ, with medians between the integers."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return shaken(FactorisedPrior(12))


@torch.no_grad()
def test_the_priors_integers_are_its_probabilities(prior):
    tables = factorised.factorised_tables(prior)
    columns = (tables[f"z_cdf{suffix}"].numpy() for suffix in ("", "_length", "_offset"))
    for channel, (row, length, first) in enumerate(zip(*columns, strict=True)):
        counts = np.diff(row[:length].astype(int))
        assert counts.sum() == 65536
        symbols = torch.arange(first, first + len(counts) - 1)
        values = (prior.medians()[channel] + symbols).repeat(1, 12, 1, 1)
        likelihood = torch.exp2(-prior.bits(values))[0, channel, 0].double().numpy()
        # Each is at least 1, so the likeliest may lose one for every other symbol.
        assert np.abs(counts[:-1] - 65536 * likelihood).max() < 1.1 + len(counts) * likelihood.max()
        assert likelihood.sum() > 1 - 2**-16


def test_coding_z_takes_the_bits_that_the_prior_says(prior):
    rows = distributions_of(prior)
    symbols = np.rint(np.random.default_rng(0).standard_normal((12, 20, 20)) * 5).astype(np.int32)
    indices = np.arange(12).repeat(400).reshape(symbols.shape)
    with torch.no_grad():
        values = torch.tensor(symbols)[None] + prior.medians()[None, :, None, None]
        ideal = float(prior.bits(values).sum()) / 8
    data = encode((symbols, rows, indices))
    assert ideal - 4 < len(data) < 1.002 * ideal + 4
    np.testing.assert_array_equal(SymbolDecoder(data).take(rows, indices), symbols)


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.7])
@pytest.mark.parametrize("temperature", [0.5, 0.2])
def test_annealed_rounding_goes_up_as_often_as_its_formula_says(fraction, temperature):
    """The odds are those of the fraction, to the power of 4/3 over the temperature."""
    count = 40_000
    distances = torch.full((count,), -3 + fraction)
    share = float((annealed_rounding(temperature, seeded())(distances) > -2.5).double().mean())
    odds = (fraction / (1 - fraction)) ** (4 / 3 / temperature)
    expected = odds / (1 + odds)
    assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / count)


def test_annealed_rounding_lies_between_with_a_gradient_and_ends_at_the_nearest():
    distances = torch.linspace(-3.97, 4.03, 400)
    distances = distances[(distances - distances.floor() - 0.5).abs() > 0.05]
    warm, cold = (annealed_rounding(value, seeded())(distances) for value in (0.5, 0.004))
    assert bool(((warm >= distances.floor()) & (warm <= distances.ceil())).all())
    assert torch.allclose(cold, distances.round(), atol=1e-3)
    distances = torch.linspace(-2.3, 2.4, 50, requires_grad=True)
    rounded = annealed_rounding(0.3, seeded())(distances)
    (gradient,) = torch.autograd.grad(rounded.sum(), distances)
    assert bool((gradient >= 0).all())
    assert float(gradient.mean()) > 0.5
    assert torch.equal(rounded, annealed_rounding(0.3, seeded())(distances))
    assert not torch.equal(rounded, annealed_rounding(0.3, seeded(4))(distances))
    whole = torch.tensor([-2.0, -1e-9, 0.0, 5.0], requires_grad=True)
    rounded = annealed_rounding(0.05, seeded())(whole)
    assert bool(torch.autograd.grad(rounded.sum(), whole)[0].isfinite().all())
    assert torch.allclose(rounded, whole, atol=1e-3)


def test_latents_are_rounded_from_their_mean_and_bits_those_of_each_picture():
    model, inputs = network(), latents(3)
    with torch.no_grad():
        together = model.code(inputs, noisy=False)
        alone = [model.code(result[None], noisy=False) for result in inputs]
    for name in ("y_bits", "z_bits"):
        expected = [float(getattr(result, name)) for result in alone]
        assert getattr(together, name).tolist() == pytest.approx(expected, rel=1e-4)
    inputs, means = latents(2).requires_grad_(), []

    def first_slice_alone(_mean, _scale, quantise):
        means.append(torch.full((2, TINY.slices[0], 8, 12), 0.25))
        return quantise(0, means[0], torch.ones_like(means[0]))

    model.context.forward = first_slice_alone
    decoded = model.code(inputs, noisy=False).latents
    values = inputs.detach()[:, : TINY.slices[0]]
    torch.testing.assert_close(decoded.detach(), (values - 0.25).round() + 0.25)
    (gradient,) = torch.autograd.grad(decoded.sum(), inputs)
    assert torch.equal(gradient[:, : TINY.slices[0]], torch.ones_like(values))
