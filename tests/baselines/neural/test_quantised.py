"""Weights of a checkpoint as integers of few bits with scales."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from baselines.neural.architecture import load_architecture
from baselines.neural.card import Card
from baselines.neural.checkpoint import (
    load_checkpoint,
    make_checkpoint,
    quantise,
    quantise_parameters,
)
from baselines.neural.crdr.model import CRDRNetwork
from benchmark.errors import Unavailable
from support.networks.card_edits import bless
from support.networks.tiny_checkpoint import TINY, noise

CARD = Card("crdr", TINY, "nothing", 0, "none", "none")


@pytest.mark.parametrize("shape", [(6, 5), (4, 6, 5), (6, 5, 3, 3)])
def test_weak_rows_and_columns_keep_as_many_bits_as_strong_ones(shape):
    """Weights of equal magnitude, times powers of ten by row and by column, come back exactly."""
    generator = np.random.default_rng(1)
    signs = generator.choice([-1.0, 1.0], size=shape)
    kernel = len(shape) - 2 if len(shape) == 4 else 0
    rows = 10.0 ** generator.integers(-4, 3, size=(6, 1) + (1,) * kernel)
    columns = 10.0 ** generator.integers(-4, 3, size=(1, 5) + (1,) * kernel)
    weights = torch.from_numpy(signs * rows * columns).float()
    assert torch.allclose(quantise(weights, 4).values(), weights, rtol=1e-6, atol=0)


def test_integers_have_the_bits_asked_for_and_zeros_stay():
    weights = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    for bits in range(2, 9):
        result = quantise(weights, bits)
        assert result.integers.dtype == torch.int8
        assert int(result.integers.abs().max()) == 2 ** (bits - 1) - 1
        error = (result.values() - weights).abs() / (result.rows * result.columns)
        assert float(error.max()) <= 0.5 + 1e-5
    weights = torch.zeros(3, 4)
    weights[1, 2] = 0.7
    assert torch.equal(quantise(weights, 8).values(), weights)


@pytest.mark.parametrize("name", ["crdr", "hific", "ivr", "pqmim"])
def test_parts_of_few_bits_are_parts_of_the_network_and_its_transforms_resample_in_floats(name):
    architecture = load_architecture(name)
    network = architecture.build(architecture.sizes["tiny"])
    for prefix in network.quantised_bits:
        assert any(name.startswith(prefix) for name, _ in network.named_parameters()), prefix
    short = quantise_parameters(network)
    for path, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.stride != (1, 1):
            assert f"{path}.weight" not in short or path.startswith("hyper_"), path


@pytest.fixture
def quantised(tmp_path):
    """A tiny checkpoint whose context has weights of four bits, and the unquantised network."""
    network = CRDRNetwork(TINY)
    network.quantised_bits = {"context.": 4}
    path = tmp_path / "short.safetensors"
    make_checkpoint(path, network, CARD, [noise(128, 128)] * 2, quantised=True)
    return path, network


def test_quantised_weights_are_near_and_the_others_stay(quantised):
    path, network = quantised
    result = load_checkpoint(path).network.state_dict()
    stored = load_file(path)
    short = {name for name, value in stored.items() if value.dtype == torch.int8}
    for name, value in network.named_parameters():
        exact = value.detach().double().numpy()
        if not (name.startswith("context.") and exact.ndim > 1):
            assert name not in short
            assert np.array_equal(result[name].numpy(), exact)
            continue
        assert int(stored[name].abs().max()) == 7  # the maximum integer of four bits
        rows, columns = (stored[f"scales.{axis}.{name}"].numpy() for axis in ("rows", "columns"))
        assert np.abs(result[name].numpy() - exact).max() <= 0.501 * (rows * columns).max()
        assert np.all(np.abs(result[name].numpy() - exact) <= 0.501 * rows * columns)


SCALES_OF_ONE = ("scales.rows.{}", "scales.columns.{}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("scales.rows.{}"), r"scales\.rows\.context\."),
        (
            lambda tensors: tensors.update({"scales.rows.bias": torch.ones(2)}),
            r"scales\.rows\.bias",
        ),
        (
            lambda tensors: tensors.update({key: tensors[key] * 0 + 1e30 for key in SCALES_OF_ONE}),
            "not finite",
        ),
        (
            lambda tensors: tensors.update({"scales.rows.{}": tensors["scales.rows.{}"].double()}),
            "torch.float64",
        ),
    ],
)
def test_scales_that_are_not_the_networks_are_refused(quantised, change, reason):
    path, _ = quantised
    tensors = load_file(path)
    name = next(name for name, value in tensors.items() if value.dtype == torch.int8)
    templates = {
        key.replace(name, "{}") if key.startswith("scales.") else key: value
        for key, value in tensors.items()
    }
    change(templates)
    save_file({key.replace("{}", name): value for key, value in templates.items()}, path)
    bless(path)
    with pytest.raises(Unavailable, match=reason):
        load_checkpoint(path)
