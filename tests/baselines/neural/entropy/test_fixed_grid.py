from fractions import Fraction
from math import floor

import pytest
import torch

from baselines.neural.entropy.fixed.grid import (
    LARGEST_SCALE,
    WEIGHT_LIMIT,
    Precision,
    coarser,
    integer_weights,
    power_of_two,
    requantise,
)


def exactly_rounded(value: float, exponent: int) -> int:
    """To the nearest integer, a half to even, in rational arithmetic."""
    return round(Fraction(value) * Fraction(2) ** exponent)


@pytest.mark.parametrize("precision", Precision)
def test_weights_and_biases_are_rounded_as_rational_arithmetic_rounds_them(precision):
    torch.manual_seed(0)
    weight = torch.randn(6, 5, 3, 3) * torch.logspace(-6, 4, 6).view(6, 1, 1, 1)
    weight[2] = torch.tensor(0.5) * torch.arange(-22, 23).view(5, 3, 3)  # many halves
    bias = torch.randn(6)
    made = integer_weights(weight, bias, out_dim=0, in_fraction=7, precision=precision)
    for channel in range(6):
        scale = int(made.scale[channel])
        expected = [exactly_rounded(w, scale) for w in weight[channel].flatten().tolist()]
        assert made.weight[channel].flatten().tolist() == expected
        assert made.bias[channel] == exactly_rounded(bias[channel].item(), scale + 7)


@pytest.mark.parametrize("precision", Precision)
def test_every_channel_has_the_finest_grid_that_its_largest_weight_allows(precision):
    limit = WEIGHT_LIMIT[precision]
    largest = torch.tensor([1.0, 0.99, 127 / 128, 0.9921, 0.7, 2.0**-11, 3e5])
    made = integer_weights(
        -largest.view(-1, 1), None, out_dim=0, in_fraction=0, precision=precision
    )
    for value, scale in zip(largest.tolist(), made.scale.tolist(), strict=True):
        assert exactly_rounded(value, scale) <= limit < exactly_rounded(value, scale + 1)


def test_channels_of_nothing_or_next_to_nothing_get_the_finest_scale_there_is():
    weight = torch.tensor([[0.0], [1e-44], [1e-30]])
    made = integer_weights(weight, None, out_dim=0, in_fraction=0, precision=Precision.FINE)
    assert made.weight.flatten().tolist() == [0, 0, 0]
    assert made.scale.tolist() == [LARGEST_SCALE] * 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", ["weight", "bias"])
def test_weights_that_are_no_numbers_are_refused(value, place):
    tensors = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    tensors[place].view(-1)[1] = value
    with pytest.raises(ValueError, match="not finite"):
        integer_weights(**tensors, out_dim=0, in_fraction=0, precision=Precision.FINE)


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
    made = requantise(sums.double(), torch.tensor(shift), -highest, highest, torch.int64)
    half = Fraction(1, 2)
    assert made.tolist() == [
        floor(Fraction(s) / Fraction(2) ** shift + half) for s in sums.tolist()
    ]


@pytest.mark.parametrize("bits", [0, 1, 5, 12])
def test_integers_go_to_a_coarser_grid_by_the_same_rule(bits):
    values = torch.arange(-9000, 9000, dtype=torch.int32)
    expected = [floor(Fraction(v, 2**bits) + Fraction(1, 2)) for v in values.tolist()]
    clipped = [max(-100, min(100, one)) for one in expected]
    assert coarser(values, bits, 100).tolist() == clipped
