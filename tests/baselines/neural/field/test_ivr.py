"""IVR: masks in closed form, Laplace distributions against scipy, rates between levels."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import laplace

from baselines.neural.architecture import ARCHITECTURES
from baselines.neural.blocks.control import IndexedLevels
from baselines.neural.checkpoint import load_checkpoint
from baselines.neural.costs import costs
from baselines.neural.entropy.integer.integer_path import fractional_bit_tables
from baselines.neural.field.ivr import (
    IvrNetwork,
    IvrPath,
    LaplacePrior,
    Mask,
    laplace_bits,
    laplace_tables,
)
from baselines.neural.picture_codec import PictureCodec
from support.networks.integer_network import default_fractional_bits
from support.networks.tiny_architecture import write_tiny
from support.networks.tiny_checkpoint import noise

FULL, TINY = (ARCHITECTURES["ivr"].sizes[name] for name in ("full", "tiny"))


def level_at(level: float) -> IndexedLevels:
    return IndexedLevels(torch.tensor([level]), None)


def test_a_mask_is_the_softplus_of_interpolated_weights():
    result = Mask(3, 5)(torch.ones(1, 3, 2, 2), level_at(1.5))
    assert torch.allclose(result, torch.full_like(result, math.log1p(math.e)))
    mask = Mask(2, 3)
    with torch.no_grad():
        mask.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, -1.0], [4.0, 3.0]]))
    expected = {0.0: (0.0, 1.0), 0.25: (0.5, 0.5), 1.0: (2.0, -1.0), 2.0: (4.0, 3.0)}
    for level, weights in expected.items():
        result = mask(torch.ones(1, 2, 1, 1), level_at(level)).flatten().tolist()
        assert result == pytest.approx([math.log1p(math.exp(w)) for w in weights], rel=1e-6)


def test_the_published_transforms_have_the_parameters_of_their_layers():
    """Kernels of 5 x 4, widths 256, 256, 256, 320, GDN of 256, ten masks of each width."""
    kernels = 20 * (3 * 256 + 2 * 256 * 256 + 256 * 320) + 3 * 256 + 320
    masks = 10 * (3 * 256 + 320)
    assert costs("ivr", FULL)["analysis"].parameters == kernels + 3 * (256 + 256**2) + masks


def test_bits_are_those_of_a_laplace_distributions_unit_intervals():
    distances = torch.tensor([0.0, 0.2, 0.5, 0.51, 1.0, -3.0, 7.3])
    for log_scale in (-1.5, 0.0, 2.0):
        spread = laplace(scale=math.exp(log_scale))
        masses = spread.cdf(distances + 0.5) - spread.cdf(distances - 0.5)
        result = laplace_bits(distances, torch.full_like(distances, log_scale))
        expected = np.minimum(-np.log2(masses), 50)
        assert np.allclose(result.numpy(), expected, rtol=1e-4)


def test_the_tables_cost_what_the_distributions_do():
    """Values drawn from 200 distributions cost at most .5 % more with the tables."""
    random = np.random.default_rng(5)
    prior = LaplacePrior(2)
    tables = laplace_tables(prior)
    network = IvrNetwork(TINY)
    fractional_bits = fractional_bit_tables(default_fractional_bits(network))
    path = IvrPath(network, {**tables, **fractional_bits})
    log_scales = torch.tensor(random.uniform(math.log(0.15), math.log(40), 200)).float()
    means = torch.tensor(random.uniform(-30, 30, 200)).float()
    shape = (1, 200, 20, 50)
    draws = random.laplace(means[:, None], log_scales.exp()[:, None], (200, 1000)).reshape(shape)
    values = torch.tensor(draws).float().round()
    wide = [tensor[None, :, None, None].expand(shape) for tensor in (means, log_scales)]
    ideal = float(laplace_bits(values - wide[0], wide[1]).sum())
    grid = [(tensor * 4096).round().int() for tensor in wide]
    result = path.choose_parameters(*grid)
    symbols = (values - result.means / 4096).round().long()
    rows, lengths = result.indices.long(), tables["cdf_length"]
    entries = symbols - tables["cdf_offset"][rows]
    escape = lengths[rows] - 2
    outside = (entries < 0) | (entries >= escape)
    entries = torch.where(outside, escape, entries)
    cdf = tables["cdf"]
    counts = cdf[rows, entries + 1] - cdf[rows, entries]
    bits = float(-(counts.double() / 2**16).log2().sum()) + 12 * int(outside.sum())
    assert bits == pytest.approx(ideal, rel=0.005)


def test_every_step_of_the_rate_has_a_stream_of_its_own(tmp_path):
    write_tiny(tmp_path / "ivr.safetensors", "ivr")
    codec = PictureCodec(load_checkpoint(tmp_path / "ivr.safetensors"))
    pixels = noise(64, 64)
    streams = [codec.encode(pixels, step) for step in range(0, 33, 4)]
    assert len({stream[9:] for stream in streams}) == len(streams)
    sizes = [len(stream) for stream in streams]
    assert sizes[0] <= sizes[-1]


def test_the_hyper_encoder_sees_rounded_latents():
    network = IvrNetwork(TINY)
    latents = 3 * torch.randn(1, TINY.latent, 8, 8)
    assert torch.equal(network.hyper_analyse(latents), network.hyper_analyse(latents.round()))
