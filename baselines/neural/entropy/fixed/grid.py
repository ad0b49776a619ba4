"""Number formats of the entropy path, and conversion of float weights to them.

An activation is an integer a, |a| <= ACTIVATION_LIMIT, for a / 2^fraction, a fraction per tensor.
A weight is an integer w for w / 2^scale, a scale per output channel: the largest that keeps the
channel's weights within the limit of its precision. A bias is on the grid of the sums.

Weights and biases are rounded to the nearest integer, a half to even. A sum s on the grid 2^-p
becomes an activation on the grid 2^-f as floor(s / 2^(p - f) + 1/2), then it is clipped. Conversion
consists of exact operations and an IEEE rounding, so it is the same on every machine.
"""

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

LIMB_BITS = 7
# Both limbs of |a| <= 8127 = 63 * 128 + 63, and their sum, lie in -127..127 (see kernels.py).
ACTIVATION_LIMIT = 63 * 2**LIMB_BITS + 63
OUTPUT_FRACTION = 12  # of means, scales and y_hat
OUTPUT_LIMIT = 2**23 - 1  # |y_hat| < 2048; exact in float32
LARGEST_SCALE = 24  # finer weights change nothing, and their biases would leave float64


class Precision(IntEnum):
    """Number of limbs of a weight, which decides the int8 products of a convolution."""

    COARSE = 1  # |w| <= 127, two products
    FINE = 2  # |w| <= 8127, three products


WEIGHT_LIMIT = {Precision.COARSE: 2**LIMB_BITS - 1, Precision.FINE: ACTIVATION_LIMIT}


class IntegerWeights(NamedTuple):
    """Weights and biases of a layer on their grids, on the CPU."""

    weight: Tensor  # int16, the float weight's shape; int8's range where the precision is COARSE
    bias: Tensor  # float64 integers (out,), on the grid 2^-(input fraction + scale)
    scale: Tensor  # int64 (out,): the weight is weight / 2^scale


def integer_weights(
    weight: Tensor, bias: Tensor | None, *, out_dim: int, in_fraction: int, precision: Precision
) -> IntegerWeights:
    """Round a float weight, out channels along `out_dim`, and its bias, all of them finite."""
    values = weight.detach().to("cpu", torch.float32)
    offset = torch.zeros(values.shape[out_dim]) if bias is None else bias.detach().to("cpu")
    others = [dim for dim in range(values.ndim) if dim != out_dim]
    largest = values.abs().amax(dim=others)
    scale = _finest_scale(largest.double(), WEIGHT_LIMIT[precision])
    shape = [-1 if dim == out_dim else 1 for dim in range(values.ndim)]
    # Exact in float32 as well: nothing that matters overflows or becomes subnormal.
    grown = values * power_of_two(scale).float().view(shape)
    return IntegerWeights(
        weight=grown.round_().to(torch.int16),
        bias=torch.round(offset.double() * power_of_two(scale + in_fraction)),
        scale=scale,
    )


def _finest_scale(largest: Tensor, limit: int) -> Tensor:
    """Return by channel the largest s <= LARGEST_SCALE with round(largest * 2^s) <= limit."""
    normal = largest.clamp(min=2.0**-100)  # the same for zero, and for a flushed subnormal
    _, exponent = torch.frexp(normal)  # normal = m 2^exponent, 1/2 <= m < 1
    scale = (limit.bit_length() - exponent.to(torch.int64)).clamp_(max=LARGEST_SCALE)
    return scale - (torch.round(largest * power_of_two(scale)) > limit).to(torch.int64)


def power_of_two(exponent: Tensor) -> Tensor:
    """Return 2^exponent as float64, exactly, for integers from -1022 to 1023."""
    # Not exp2 or pow, which need not be exact: the exponent goes into the bits of the number.
    return ((exponent.to(torch.int64) + 1023) << 52).view(torch.float64)


class OutputGrid(NamedTuple):
    """Conversion of a layer's sums to values: a bias, a power of two, and clipping."""

    bias: Tensor  # float64 integers (out,), on the grid of the sums
    factor: Tensor  # float64 (out,), 2^-shift of the bits by which the values' grid is coarser
    lowest: int
    highest: int
    dtype: torch.dtype  # of the values


def requantise(sums: Tensor, grid: OutputGrid) -> Tensor:
    """Return floor((sums + bias) factor + 1/2), clipped; `sums`, (..., out), are overwritten."""
    sums.add_(grid.bias).mul_(grid.factor).add_(0.5).floor_().clamp_(grid.lowest, grid.highest)
    return sums.to(grid.dtype)


def coarser(values: Tensor, bits: int, limit: int) -> Tensor:
    """Return integers on a grid 2^bits coarser, floor(v / 2^bits + 1/2), clipped, as int16."""
    rounded = (values + (1 << bits >> 1)) >> bits
    return rounded.clamp(-limit, limit).to(torch.int16)
