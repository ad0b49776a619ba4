"""Number formats of the entropy path, conversion of float weights to them, and integer tables.

An activation is an integer a, |a| <= ACTIVATION_LIMIT, which stands for a / 2^fraction; all values
of a tensor have one fraction. A weight is an integer w, which stands for w / 2^scale; the scale of
an output channel is the largest that keeps its weights within the branch's `WeightLimit`. Biases
are on the grid of the sums. Weights and biases are rounded half to even. A sum s on the grid 2^-p
becomes an activation on the grid 2^-f: floor(s / 2^(p - f) + 1/2), clipped. Conversion consists of
exact operations and one IEEE rounding, so it is the same on every machine.
A checkpoint stores the result of `make_tables`, so that decoders never compute tables: exp or erf
may differ between machines. `make_tables` uses decimals, specified to the last digit.
"""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from enum import IntEnum
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ACTIVATION_LIMIT = 8127  # 63 * 128 + 63, fixed by existing streams
OUTPUT_FRACTION = 12  # fractional bits of means, scales and y_hat
OUTPUT_LIMIT = 2**23 - 1  # |y_hat| < 2048; exact in float32
MAX_SCALE = 24  # finer weights make no difference, and biases would exceed float64's precision


class WeightLimit(IntEnum):
    """Maximum magnitude of an integer weight."""

    COARSE = 127
    FINE = ACTIVATION_LIMIT


class IntegerWeights(NamedTuple):
    """Weights and biases of a layer on their grids, on the CPU."""

    weight: Tensor  # int16, the float weight's shape; within its `WeightLimit`
    bias: Tensor  # float64 integers (out,), on the grid 2^-(input fraction + scale)
    scale: Tensor  # int64 (out,): `weight` represents weight / 2^scale


def integer_weights(
    weight: Tensor,
    bias: Tensor | None,
    *,
    out_dim: int,
    in_fraction: int,
    weight_limit: WeightLimit,
) -> IntegerWeights:
    """Round a finite float weight, with output channels along `out_dim`, and its bias."""
    values = weight.detach().to("cpu", torch.float32)
    biases = torch.zeros(values.shape[out_dim]) if bias is None else bias.detach().to("cpu")
    other_dims = [dim for dim in range(values.ndim) if dim != out_dim]
    maxima = values.abs().amax(dim=other_dims)
    scale = _finest_scale(maxima.double(), weight_limit)
    shape = [-1 if dim == out_dim else 1 for dim in range(values.ndim)]
    # The product is exact even in float32: no relevant value overflows or becomes subnormal.
    scaled_values = values * power_of_two(scale).float().view(shape)
    return IntegerWeights(
        weight=scaled_values.round_().to(torch.int16),
        bias=torch.round(biases.double() * power_of_two(scale + in_fraction)),
        scale=scale,
    )


def _finest_scale(maxima: Tensor, limit: int) -> Tensor:
    # for each channel, the maximum s <= MAX_SCALE with round(maxima * 2^s) <= limit
    normal = maxima.clamp(min=2.0**-100)  # subnormals, which a device may set to 0, count as 0
    _, exponent = torch.frexp(normal)  # normal = m 2^exponent, 1/2 <= m < 1
    scale = (limit.bit_length() - exponent.to(torch.int64)).clamp_(max=MAX_SCALE)
    return scale - (torch.round(maxima * power_of_two(scale)) > limit).to(torch.int64)


def power_of_two(exponent: Tensor) -> Tensor:
    """Return 2^exponent as float64, exactly, for integers from -1022 to 1023."""
    # Set the exponent bits, since exp2 and pow may be inexact.
    return ((exponent.to(torch.int64) + 1023) << 52).view(torch.float64)


class OutputGrid(NamedTuple):
    """Conversion of a layer's sums to values: add a bias, multiply by a power of two, clip."""

    bias: Tensor  # float64 integers (out,), on the grid of the sums
    factor: Tensor  # float64 (out,), 2^-shift; the grid of values is coarser by `shift` bits
    lowest: int
    highest: int
    dtype: torch.dtype  # type of the values


def requantise(sums: Tensor, grid: OutputGrid) -> Tensor:
    """Return floor((sums + bias) factor + 1/2), clipped; overwrites `sums` (..., out)."""
    sums.add_(grid.bias).mul_(grid.factor).add_(0.5).floor_().clamp_(grid.lowest, grid.highest)
    return sums.to(grid.dtype)


def round_to_coarser_grid(values: Tensor, bits: int, limit: int) -> Tensor:
    """Round integers to a grid 2^bits coarser: floor(v / 2^bits + 1/2), clipped, as int16."""
    rounded_values = (values + (1 << bits >> 1)) >> bits
    return rounded_values.clamp(-limit, limit).to(torch.int16)


CDF_BITS = 16
NUM_SCALES = 64
MIN_STD, MAX_STD = Decimal("0.11"), Decimal(256)  # standard deviations of y
REACH_DEVIATIONS = Decimal("6.1094102048693")  # beyond them, a probability of 1e-9 remains
TANH_FRACTION = 9  # fractional bits of tanh's argument; the result has OUTPUT_FRACTION
TANH_LIMIT = 4095  # arguments to +-8; beyond them the result is constant
DIGITS = 40  # decimal digits with which tables are computed
PI = Decimal("3.14159265358979323846264338327950288419716939937511")


def make_tables() -> dict[str, Tensor]:
    """Return all tables of the entropy path by name.

        half_tanh   int16 (8191,): .5 tanh(i / 2^9) on the grid 2^-12, for i from -4095 to 4095
        thresholds  int32 (63,): a scale's index is the number of thresholds below it, in 2^-12
        cdf         int32 (64, longest): row i rises from 0 to 2^16, followed by zeros
        cdf_length  int32 (64,): valid entries of a row, its number of intervals plus one
        cdf_offset  int32 (64,): a row's first symbol; the last interval is for all other integers

    The 64 scales have evenly spaced logarithms, from .11 to 256; thresholds are geometric means of
    neighbours. Rows end, as in CompressAI (Bégaint et al., arXiv 2011.03029), where a probability
    of 1e-9 remains outside them.
    """
    return {name: table.clone() for name, table in _compute_tables().items()}


@cache
def _compute_tables() -> dict[str, Tensor]:
    # cached, since computing takes a second
    with localcontext() as context:
        context.prec = DIGITS
        step = (MAX_STD.ln() - MIN_STD.ln()) / (NUM_SCALES - 1)
        scales = [(MIN_STD.ln() + step * i).exp() for i in range(NUM_SCALES)]
        midpoints = [scale * (step / 2).exp() * 2**OUTPUT_FRACTION for scale in scales[:-1]]
        thresholds = [int(value.to_integral_value(ROUND_FLOOR)) for value in midpoints]
        rows = [_gaussian_row(scale) for scale in scales]
        arguments = range(-TANH_LIMIT, TANH_LIMIT + 1)
        powers = [(Decimal(i) / 2 ** (TANH_FRACTION - 1)).exp() for i in arguments]  # e^2x
        tanhs = [(power - 1) / (power + 1) * 2 ** (OUTPUT_FRACTION - 1) for power in powers]
        half_tanh = [int(value.to_integral_value(ROUND_HALF_EVEN)) for value in tanhs]
    return {
        "half_tanh": torch.tensor(half_tanh, dtype=torch.int16),
        "thresholds": torch.tensor(thresholds, dtype=torch.int32),
        **stack_rows(rows, [-(len(counts) - 2) // 2 for counts in rows], "cdf"),
    }


def stack_rows(
    rows: Sequence[NDArray[np.int32]], offsets: Sequence[int], name: str
) -> dict[str, Tensor]:
    """Stack arrays of frequencies, one per distribution, as tables (see `make_tables`)."""
    cdf = np.zeros((len(rows), max(map(len, rows)) + 1), np.int32)
    for row, counts in zip(cdf, rows, strict=True):
        row[1 : len(counts) + 1] = np.cumsum(counts)
    return {
        name: torch.from_numpy(cdf),
        f"{name}_length": torch.tensor([len(counts) + 1 for counts in rows], dtype=torch.int32),
        f"{name}_offset": torch.tensor(offsets, dtype=torch.int32),
    }


def half_tanh(arguments: Tensor, table: Tensor) -> Tensor:
    """Return .5 tanh, on the grid 2^-12, of integers on the grid 2^-9 within `TANH_LIMIT`."""
    return table[arguments.to(torch.int64) + TANH_LIMIT]


def _gaussian_row(scale: Decimal) -> NDArray[np.int32]:
    # returns frequencies of -reach..reach and the escape: at least 1, with a sum of 2^16
    reach = int((scale * REACH_DEVIATIONS).to_integral_value(ROUND_FLOOR)) + 1
    # Mass from the middle to each half-integer .5, 1.5, ...: the CDF minus 1/2
    half_masses = [_central_mass((Decimal(i) + Decimal("0.5")) / scale) for i in range(reach + 1)]
    middle_mass = 2 * half_masses[0]
    right_masses = [outer - inner for inner, outer in pairwise(half_masses)]
    escape_mass = 1 - 2 * half_masses[-1]
    row = (*reversed(right_masses), middle_mass, *right_masses, escape_mass)
    masses = np.array([float(mass) for mass in row])
    return frequencies(masses)


def _central_mass(z: Decimal) -> Decimal:
    # Phi(z) - 1/2 of the standard normal distribution (Abramowitz, Stegun, 26.2.11)
    term, total, odd = z, z, 1
    while term > total.scaleb(-DIGITS):
        odd += 2
        term *= z * z / odd
        total += term
    return total * (-z * z / 2).exp() / (2 * PI).sqrt()


def frequencies(masses: NDArray[np.float64]) -> NDArray[np.int32]:
    """Convert masses to integers, at least 1, that sum to 2^16 and nearly minimise code length."""
    # Webster's rule: while the sum is not 2^16, add 1 to (or subtract 1 from) the frequency whose
    # ratio to its mass changes least.
    rounded_values = np.rint(masses * 2**CDF_BITS)
    counts: NDArray[np.int32] = np.maximum(1, rounded_values).astype(np.int32)
    while (deficit := 2**CDF_BITS - int(counts.sum())) != 0:
        if deficit > 0:
            counts[np.argmax(masses / (counts + 0.5))] += 1
        else:
            ratios = np.where(counts > 1, masses / np.maximum(counts - 0.5, 0.5), np.inf)
            counts[np.argmin(ratios)] -= 1
    return counts
