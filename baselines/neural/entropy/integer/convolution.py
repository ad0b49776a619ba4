"""Exact execution of convolutions, and sequences of them with ReLUs, on integers.

A convolution runs without padding of its own. A transposed one of stride 2 is an ordinary one with
four times the channels, a group for each phase of the output, whose values are then interleaved:

    out[o] = sum_i x[i] w[o + p - 2 i]         (an axis; kernel 2 p + 1, padding p)
    o + p = 2 q + r, 0 <= r < 2   =>   out[o] = sum_j x[q - j] w[2 j + r],   0 <= j <= p

Every product and every partial sum, in whatever order, is an integer below 2^51 (`prove`), so that
float64 holds it on any device and no sum is rounded; `require_exact` finds faults of libraries.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import half_kernel
from baselines.neural.entropy.integer.grid import (
    ACTIVATION_LIMIT,
    OutputGrid,
    WeightLimit,
    integer_weights,
    power_of_two,
    requantise,
)
from benchmark.errors import Unavailable

Layer = nn.Conv2d | nn.ConvTranspose2d
FLOAT64_BOUND = 2.0**51  # two bits spared: for the bias, and for the half that rounding adds
# Inputs, kernel, outputs, height and width: sums beyond 2^24, sizes that are no multiples of eight,
# a single position.
CASES = ((320, 5, 16, 6), (64, 3, 24, 11), (21, 3, 13, 9), (5, 1, 3, 1))


def exact_sums(activations: Tensor, weight: Tensor) -> Tensor:
    """Convolve int16 (N, H, W, in) with int16 (out, in, k, k), to float64 (N, rows, cols, out)."""
    channels_first = activations.permute(0, 3, 1, 2).double().contiguous()
    # cuDNN may convolve through Fourier transforms, which are not exact.
    with torch.backends.cudnn.flags(enabled=False):
        return functional.conv2d(channels_first, weight.double()).permute(0, 2, 3, 1)


@cache
def require_exact(device: torch.device) -> None:
    """Raise `Unavailable` unless sums on a device equal int64 arithmetic, also of extremes."""
    random = np.random.default_rng(0)

    def numbers(limit: int, shape: tuple[int, ...]) -> NDArray[np.int16]:
        values = random.integers(-limit, limit + 1, shape)
        extremes = limit - random.integers(0, 2, shape)
        values[0::4], values[1::4] = extremes[0::4], -extremes[1::4]
        return values.astype(np.int16)

    for inputs, side, outputs, size in CASES:
        weight = numbers(WeightLimit.FINE, (outputs, inputs, side, side))
        seen = numbers(ACTIVATION_LIMIT, (4, size, size, inputs))
        sums = exact_sums(torch.from_numpy(seen).to(device), torch.from_numpy(weight).to(device))
        if not np.array_equal(sums.cpu().numpy(), integer_sums(weight, seen)):
            raise Unavailable(f"float64 convolutions are not exact on {device}: use the device cpu")


def integer_sums(weight: NDArray[np.int16], activations: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return the sums of a convolution in NumPy's int64, tap by tap."""
    side = weight.shape[2]
    rows, columns = (length - side + 1 for length in activations.shape[1:3])
    sums = np.zeros((len(activations), rows, columns, len(weight)), np.int64)
    for y in range(side):
        for x in range(side):
            seen = activations[:, y : y + rows, x : x + columns]
            sums += seen.astype(np.int64) @ weight[:, :, y, x].T.astype(np.int64)
    return sums


class BoundExceeded(ValueError):  # noqa: N818
    """Weights so large that a sum might not be exact: the layer cannot run in integers."""


def prove(weight: Tensor, bias: Tensor, shift: Tensor, name: str) -> None:
    """Raise `BoundExceeded` unless the layer is computed exactly for all inputs.

    `weight` holds integers (out, in, kernel height, kernel width), `bias` float64 integers (out,),
    `shift`, int64 (out,), the bits by which requantisation divides.
    """
    magnitudes = weight.flatten(1).abs().to(torch.int64).sum(dim=1)
    sums = magnitudes.double() * ACTIVATION_LIMIT + bias.abs()
    largest = float(torch.maximum(sums, sums * power_of_two(-shift)).max())
    if not largest < FLOAT64_BOUND:
        raise BoundExceeded(
            f"{name}: a sum may reach {largest:.3g}, beyond 2^51: its weights or bias are too big"
        )


class IntegerConvolution:
    """Convolution with bias, optional ReLU, and rounding to the output's grid, on integers.

    `fractional_bits` are those of input and output, which is clipped to -limit..limit, or 0..limit
    after a ReLU, and int16 where that holds it, else int32. Raises what `half_kernel` does, and
    `BoundExceeded` for weights that admit an inexact sum.
    """

    def __init__(
        self,
        layer: Layer,
        fractional_bits: tuple[int, int],
        limit: int = ACTIVATION_LIMIT,
        *,
        relu: bool,
        weight_limit: WeightLimit,
        device: torch.device,
        name: str,
    ) -> None:
        before, after = fractional_bits
        self.transposed, half = isinstance(layer, nn.ConvTranspose2d), half_kernel(layer)
        # Zeros around the input, and outputs cut off at the start.
        self.padding, self.skip = ((half + 1) // 2, half % 2) if self.transposed else (half, 0)
        whole = integer_weights(
            layer.weight,
            layer.bias,
            out_dim=int(self.transposed),
            in_fraction=before,
            weight_limit=weight_limit,
        )
        weight, phases = whole.weight, 1
        if self.transposed:
            weight, phases = phase_weights(whole.weight), 4
        bias = whole.bias.repeat(phases)
        shift = (whole.scale + (before - after)).repeat(phases)
        prove(weight, bias, shift, name)
        lowest = 0 if relu else -limit
        dtype = torch.int16 if limit <= torch.iinfo(torch.int16).max else torch.int32
        factor = power_of_two(-shift).to(device)
        self.grid = OutputGrid(bias.to(device), factor, lowest, limit, dtype)
        # int16 until it is used: the weights in float64 would be four times as large.
        self.weight = weight.contiguous().to(device)

    def __call__(self, activations: Tensor) -> Tensor:
        """Map int16 (N, H, W, in), within the limit, to (N, H, W, out), or (N, 2 H, 2 W, out)."""
        padded = functional.pad(activations, (0, 0, *(self.padding,) * 4))
        values = requantise(exact_sums(padded, self.weight), self.grid)
        if not self.transposed:
            return values
        height, width = (slice(self.skip, self.skip + 2 * n) for n in activations.shape[1:3])
        whole = values.view(*values.shape[:3], 2, 2, -1).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return whole[:, height, width]


def phase_weights(weight: Tensor) -> Tensor:
    """Return the weight of a transposed layer, (in, out, k, k), as (4 * out, in, taps, taps)."""
    inputs, outputs, side, _ = weight.shape
    taps = (side + 1) // 2
    padded = functional.pad(weight, (0, 1, 0, 1))
    by_phase = padded.view(inputs, outputs, taps, 2, taps, 2).flip(2, 4)
    return by_phase.permute(3, 5, 1, 0, 2, 4).reshape(-1, inputs, taps, taps)


class IntegerSequence:
    """Exact integer execution of `nn.Sequential(convolution, ReLU, convolution, ...)`.

    `fractional_bits` are those of the input, then of each convolution's output. Raises
    `ValueError`.
    """

    def __init__(
        self,
        modules: nn.Module,
        fractional_bits: Sequence[int],
        *,
        name: str,
        output_limit: int = ACTIVATION_LIMIT,
        **execution: Any,
    ) -> None:
        layers = list(convolutions(modules, name))
        limits = [ACTIVATION_LIMIT] * (len(layers) - 1) + [output_limit]
        formats = zip(layers, pairwise(fractional_bits), limits, strict=True)
        self.layers = [
            IntegerConvolution(layer, bits, limit, relu=relu, name=f"{name}.{i}", **execution)
            for i, ((layer, relu), bits, limit) in enumerate(formats)
        ]

    def __call__(self, activations: Tensor) -> Tensor:
        """Map int16 (N, H, W, in), within ACTIVATION_LIMIT, to (N, H', W', out)."""
        for layer in self.layers:
            activations = layer(activations)
        return activations


def convolutions(modules: nn.Module, name: str) -> Iterator[tuple[Layer, bool]]:
    """Yield each convolution and whether a ReLU follows it; raises `ValueError` for the rest."""
    children = [None, *modules.children(), None]
    for before, module, after in zip(children, children[1:], children[2:], strict=False):
        if isinstance(module, Layer):
            yield module, isinstance(after, nn.ReLU)
        elif not (isinstance(module, nn.ReLU) and isinstance(before, Layer)):
            raise ValueError(f"{name}: {module} cannot be executed in integers")
