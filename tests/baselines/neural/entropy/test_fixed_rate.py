"""Rate of the integer path with the published network and parity weights, against golden values."""

import math

import numpy as np
import pytest
import torch

from baselines.neural.crdr.architecture import FULL
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.entropy.fixed import entropy_path
from baselines.neural.entropy.fixed.entropy_path import EntropyPath
from baselines.neural.entropy.fixed.fractional_bits import (
    fractional_bit_tables,
)
from baselines.neural.entropy.fixed.integer_path import to_float
from baselines.neural.entropy.fixed.tables import make_tables
from baselines.neural.entropy.latent_network import gaussian_bits
from conftest import SHARED
from support.networks.authors_weights import filled
from support.networks.fixed_network import default_fractional_bits

PARITY = SHARED / "data" / "parity"
pytestmark = pytest.mark.skipif(not PARITY.exists(), reason="needs ../shared/data/parity")

KINDS = {"mean": "mean_slice", "scale": "scale_slice", "residual": "lrp_slice"}


def entropy_model() -> CRDRNetwork:
    """Return a network with the parity weights in hyper-decoder and context alone."""
    with torch.device("meta"):
        model = CRDRNetwork(FULL)
    for part in (model.hyper_synthesis, model.context, model.prior):
        part.to_empty(device="cpu")
    model.prior.quantiles.data = weight("entropy_model_z.quantiles", (192, 1, 3))[:, 0]
    for name, stack in (("hd_mu", "mean"), ("hd_std", "scale")):
        layers = getattr(model.hyper_synthesis, stack)
        for i in range(2):
            fill(layers[2 * i], f"hyperdecoder.{name}.conv{i + 1}")
        # The authors' last layer is a transposed convolution of stride 1.
        transposed = weight(f"hyperdecoder.{name}.conv3.weight", (256, 320, 3, 3))
        layers[4].weight.data = transposed.transpose(0, 1).flip(2, 3)
        layers[4].bias.data = weight(f"hyperdecoder.{name}.conv3.bias", (320,))
    for kind, theirs in KINDS.items():
        for i, transform in enumerate(getattr(model.context, kind)):
            for layer in (0, 2, 4):
                fill(transform[layer], f"context_model.{theirs}_transforms.{i}.model.{layer}")
    return model


def weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(filled(key, shape))


def fill(layer, key: str) -> None:
    layer.weight.data = weight(f"{key}.weight", tuple(layer.weight.shape))
    layer.bias.data = weight(f"{key}.bias", tuple(layer.bias.shape))


def test_the_integers_cost_less_than_a_ten_thousandth_of_the_bits(monkeypatch):
    """Decoding the golden symbols: the divergence of the found distributions from the golden ones.

    Of the normal distributions, in bits; that of the rounded ones is no larger.
    """
    with np.load(PARITY / "golden.npz") as values:
        mean, scale, symbols, z_symbols, decoded = (
            torch.from_numpy(values[f"256x256.q1.3.{name}"])
            for name in ("mu", "sigma", "y_sym", "z_sym", "y_hat")
        )
    scales = []
    index = entropy_path.scale_index

    def listening(found, thresholds):
        scales.append(to_float(found).permute(0, 3, 1, 2))
        return index(found, thresholds)

    monkeypatch.setattr(entropy_path, "scale_index", listening)
    model = entropy_model()
    tables = {**make_tables(), **fractional_bit_tables(default_fractional_bits(model))}
    state = EntropyPath(model, tables).begin(z_symbols)
    means = []
    for part in symbols.split(FULL.slices, dim=1):
        means.append(to_float(state.parameters().means))
        state.accept(part)
    golden = scale.double().clamp(min=0.11)
    found = torch.cat(scales, dim=1).double().clamp(min=0.11)
    shift = torch.cat(means, dim=1).double() - mean
    nats = (found / golden).log() + (golden**2 + shift**2) / (2 * found**2) - 0.5
    bits = gaussian_bits(symbols.float(), scale).double().mean()
    assert 0 < nats.mean() / math.log(2) / bits < 1e-4  # the target is 1e-3
    assert (to_float(state.decoded()) - decoded).square().mean().sqrt() < 0.01
