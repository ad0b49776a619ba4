"""Every configuration decodes the streams of every other to the same bits."""

import hashlib
import os
import sys

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
from support.processes import ran

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


def test_threads_and_onednn_and_memory_layout_do_not_matter(tables, monkeypatch):
    model = network()
    hyper, values = z_symbols(3), latents(3)
    path = path_of(model, tables, kernel=EXACT_KERNELS[0])
    symbols, *rest = encode(path, hyper, values)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            for kernel in EXACT_KERNELS:
                again = path_of(model, tables, kernel=kernel)
                assert same(decode(again, hyper, symbols), rest)
    finally:
        torch.set_num_threads(threads)
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False, raising=False)
        assert same(decode(path, hyper, symbols), rest)
    last = torch.channels_last
    assert same(
        decode(
            path_of(model.to(memory_format=last), tables),
            hyper.contiguous(memory_format=last),
            symbols.contiguous(memory_format=last),
        ),
        rest,
    )


FINGERPRINT = """
import hashlib
from support.networks import fixed_network as here
from baselines.neural.entropy.fixed.tables import make_tables
model = here.network()
path = here.path_of(model, make_tables())
found = here.encode(path, here.z_symbols(2), here.latents(2))
print(hashlib.sha256(b"".join(part.numpy().tobytes() for part in found)).hexdigest())
"""


def test_another_process_without_vector_instructions_gives_the_same(tables):
    """The weights are converted there, the tables made there, and its kernels are other ones."""
    model = network()
    path = path_of(model, tables)
    found = encode(path, z_symbols(2), latents(2))
    expected = hashlib.sha256(b"".join(part.numpy().tobytes() for part in found)).hexdigest()
    plain = {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "OMP_NUM_THREADS": "1",
    }
    folders = os.pathsep.join([*sys.path])
    made = ran(sys.executable, "-c", FINGERPRINT, PYTHONPATH=folders, **plain)
    assert made.stdout.strip() == expected


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
