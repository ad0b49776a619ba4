"""Every configuration decodes the streams of every other to the same bits."""

import hashlib

import numpy as np
import pytest
import torch

from baselines.neural.crdr.architecture import TINY
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.entropy.fixed.integer_path import activation_names
from baselines.neural.entropy.fixed.tables import make_tables
from support.networks.fixed_network import (
    EXACT_KERNELS,
    SIZES,
    decode,
    encode,
    latents,
    network,
    path_of,
    same,
    z_symbols,
)

each_size = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())


@pytest.fixture(scope="module")
def tables():
    return make_tables()


@each_size
def test_all_kernels_agree_in_every_bit(sizes, tables):
    model = network(sizes)
    paths = [path_of(model, tables, kernel=kernel) for kernel in EXACT_KERNELS]
    encoded = [encode(path, z_symbols(2, sizes), latents(2, sizes)) for path in paths]
    assert all(same(encoded[0], other) for other in encoded[1:])
    assert len(encoded[0][1].unique()) > 20
    assert same(decode(paths[-1], z_symbols(2, sizes), encoded[0][0]), encoded[0][1:])


@pytest.mark.parametrize("symbol", [2**31 - 1, -(2**31), 5000])
def test_symbols_of_any_size_stay_within_the_bounds_and_agree(symbol, tables):
    model = network()
    paths = [path_of(model, tables, kernel=kernel) for kernel in EXACT_KERNELS]
    hyper = torch.full((1, TINY.hyper_latent, 2, 3), symbol)
    symbols = torch.full((1, TINY.latent, 8, 12), symbol)
    found = [decode(path, hyper, symbols) for path in paths]
    assert all(same(found[0], other) for other in found[1:])
    assert found[0][2].abs().max() == 2**23 - 1


# Of the weights, symbols and fractional bits below: whoever changes a number changes every stream.
FOUND_SHA256 = "43335d04ffeb32be8e346b051323a8f3364a1d3a64c28c190737dce54c5ba526"


def test_what_a_stream_decodes_to_never_changes(tables):
    """Weights from NumPy's generator, whose numbers stay the same from version to version."""
    random = np.random.default_rng(0)
    model = CRDRNetwork(TINY)
    with torch.no_grad():
        for parameter in (*model.hyper_synthesis.parameters(), *model.context.parameters()):
            spread = 2 / np.sqrt(np.prod(parameter.shape[1:]))
            parameter.copy_(torch.from_numpy(random.normal(0, spread, parameter.shape)))
        model.prior.quantiles.copy_(torch.from_numpy(random.normal(0, 3, (6, 3))))
    hyper = torch.from_numpy(random.integers(-30, 31, (1, 6, 2, 3)))
    symbols = torch.from_numpy(random.integers(-40, 41, (1, 12, 8, 12)))
    fractional_bits = {name: 4 + i % 9 for i, name in enumerate(activation_names(model))}
    found = decode(path_of(model, tables, fractional_bits), hyper, symbols)
    together = b"".join(part.numpy().astype("<i8").tobytes() for part in found)
    assert len(found[0].unique()) > 20
    assert hashlib.sha256(together).hexdigest() == FOUND_SHA256
