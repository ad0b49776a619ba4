import hashlib
from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from baselines.neural.entropy.integer import grid as module
from baselines.neural.entropy.integer.grid import (
    CDF_BITS,
    MAX_SCALE,
    OutputGrid,
    WeightLimit,
    half_tanh,
    integer_weights,
    make_tables,
    power_of_two,
    requantise,
    round_to_coarser_grid,
)

SCALES = np.exp(np.linspace(np.log(0.11), np.log(256), 64))
# Digest of everything that `make_tables` returns: another one means other streams.
SHA256 = "4e378a307715012742422eed2673bee6e414224c6d492ebb3fcfc977babf27f6"


@pytest.fixture(scope="module")
def tables():
    return make_tables()


def rows(tables):
    """Offset and frequencies of each scale; the last one is the escape's."""
    for row, length, offset in zip(
        *(tables[name].numpy() for name in ("cdf", "cdf_length", "cdf_offset")), strict=True
    ):
        yield int(offset), np.diff(row[:length])


def test_the_tables_are_the_ones_that_streams_are_made_with_whatever_a_caller_did(tables):
    first = make_tables()["thresholds"]
    copy = first.clone()
    first.zero_()
    assert torch.equal(make_tables()["thresholds"], copy)
    together = hashlib.sha256()
    for name in sorted(tables):
        together.update(f"{name} {tables[name].dtype} {tuple(tables[name].shape)}".encode())
        together.update(tables[name].numpy().tobytes())
    assert together.hexdigest() == SHA256


def test_the_frequencies_are_those_of_the_normal_distribution(tables):
    for scale, (offset, frequencies) in zip(SCALES, rows(tables), strict=True):
        values = np.arange(offset, -offset + 1)
        lower_tail = ndtr((-0.5 - abs(values)) / scale)
        mass = np.append(ndtr((0.5 - abs(values)) / scale) - lower_tail, 2 * lower_tail[0])
        mass[: len(values)] = np.where(values == 0, 1 - 2 * lower_tail[-offset], mass[:-1])
        assert np.abs(frequencies[:-1] - frequencies[:-1][::-1]).max() <= 1
        # Rounding to 16 bits and the least frequency of one cost this much, and no more.
        is_possible = mass > 0
        entropy = -(mass[is_possible] * np.log2(mass[is_possible])).sum()
        length = -(mass * np.log2(frequencies / 2**CDF_BITS)).sum()
        extra_symbols = (mass * 2**CDF_BITS < 1).sum()
        assert 0 <= length - entropy <= 1.5 * (extra_symbols + 1) / 2**CDF_BITS


def test_half_tanh_is_rounded_to_the_nearest_integer(tables):
    arguments = np.arange(-4095, 4096)
    exact = 0.5 * np.tanh(arguments / 512) * 4096
    result = half_tanh(torch.from_numpy(arguments.astype(np.int16)), tables["half_tanh"]).numpy()
    assert np.abs(result - exact).max() <= 0.5 + 1e-9
    assert (result == -result[::-1]).all()


def test_a_scale_has_the_index_of_the_nearest_scale_in_ratio(tables):
    scales = torch.arange(-5000, 300 * 4096, 7, dtype=torch.int32)
    scales[-3:] = torch.tensor([2**23 - 1, 1 - 2**23, 0])
    result = torch.bucketize(scales, tables["thresholds"]).numpy()
    logarithm = np.log(np.maximum(scales.numpy() / 4096, 1e-3))
    distance = np.abs(logarithm[:, None] - np.log(SCALES)[None])
    assert (np.abs(distance[np.arange(len(result)), result] - distance.min(axis=1)) < 1e-12).all()
    assert (result[scales.numpy() <= 0] == 0).all()
    assert result.max() == 63


def exactly_rounded(value: float, exponent: int) -> int:
    """To the nearest integer, a half to even, in rational arithmetic."""
    return round(Fraction(value) * Fraction(2) ** exponent)


@pytest.mark.parametrize("weight_limit", WeightLimit)
def test_weights_and_biases_are_rounded_as_rational_arithmetic_rounds_them(weight_limit):
    torch.manual_seed(0)
    weight = torch.randn(6, 5, 3, 3) * torch.logspace(-6, 4, 6).view(6, 1, 1, 1)
    weight[2] = torch.tensor(0.5) * torch.arange(-22, 23).view(5, 3, 3)  # many halves
    bias = torch.randn(6)
    layer = integer_weights(weight, bias, out_dim=0, in_fraction=7, weight_limit=weight_limit)
    for channel in range(6):
        scale = int(layer.scale[channel])
        expected = [exactly_rounded(w, scale) for w in weight[channel].flatten().tolist()]
        assert layer.weight[channel].flatten().tolist() == expected
        assert layer.bias[channel] == exactly_rounded(bias[channel].item(), scale + 7)


@pytest.mark.parametrize("weight_limit", WeightLimit)
def test_every_channel_has_the_finest_grid_that_its_largest_weight_allows(weight_limit):
    largest = torch.tensor([1.0, 0.99, 127 / 128, 0.9921, 0.7, 2.0**-11, 3e5, 0.0, 1e-44, 1e-30])
    weight = -largest.view(-1, 1)
    layer = integer_weights(weight, None, out_dim=0, in_fraction=0, weight_limit=weight_limit)
    for value, scale in zip(largest[:-3].tolist(), layer.scale[:-3].tolist(), strict=True):
        assert exactly_rounded(value, scale) <= weight_limit < exactly_rounded(value, scale + 1)
    assert layer.weight[-3:].flatten().tolist() == [0, 0, 0], "next to nothing"
    assert layer.scale[-3:].tolist() == [MAX_SCALE] * 3


def test_powers_of_two_are_exact():
    exponents = range(-1022, 1024)
    powers = power_of_two(torch.tensor(list(exponents)))
    assert [Fraction(power) for power in powers.tolist()] == [Fraction(2) ** e for e in exponents]


@pytest.mark.parametrize("shift", [-3, 0, 1, 2, 13, 30])
def test_a_sum_is_rounded_to_the_nearest_integer_and_a_half_upwards(shift):
    generator = torch.Generator().manual_seed(shift + 3)
    sums = torch.randint(-(2**44), 2**44, (4000,), generator=generator)
    sums[:2000] = torch.arange(-1000, 1000)
    highest = 2**50
    factor = power_of_two(torch.tensor(-shift))
    grid = OutputGrid(torch.tensor(3.0).double(), factor, -highest, highest, torch.int64)
    half = Fraction(1, 2)
    assert requantise(sums.double(), grid).tolist() == [
        floor(Fraction(s + 3) / Fraction(2) ** shift + half) for s in sums.tolist()
    ]


@pytest.mark.parametrize("bits", [0, 1, 5, 12])
def test_integers_go_to_a_coarser_grid_by_the_same_rule(bits):
    values = torch.arange(-9000, 9000, dtype=torch.int32)
    expected = [floor(Fraction(v, 2**bits) + Fraction(1, 2)) for v in values.tolist()]
    clipped = [max(-100, min(100, value)) for value in expected]
    assert round_to_coarser_grid(values, bits, 100).tolist() == clipped


def test_what_rounding_leaves_goes_where_the_ratio_suffers_most():
    """Of masses 2.49 and 10.4 times 2^-16, the small ones are rounded up first (Webster)."""
    small, large = [2.49] * 1000, [10.4] * 6062
    masses = np.array([*small, *large]) / 2**CDF_BITS
    counts = module.frequencies(masses / masses.sum())
    assert counts.sum() == 2**CDF_BITS
    assert set(counts[:1000].tolist()) == {3}
    assert set(counts[1000:].tolist()) == {10, 11}
