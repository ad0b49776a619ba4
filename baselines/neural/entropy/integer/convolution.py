"""Exact execution of convolutions, and sequences of them with ReLUs, on integers.

A convolution runs without padding of its own. A transposed one of stride 2 is an ordinary one with
four times the channels, a group for each phase of the output, whose values are then interleaved:

    out[o] = sum_i x[i] w[o + p - 2 i]         (an axis; kernel 2 p + 1, padding p)
    o + p = 2 q + r, 0 <= r < 2   =>   out[o] = sum_j x[q - j] w[2 j + r],   0 <= j <= p
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import half_kernel
from baselines.neural.entropy.integer.exact_sums import exact_sums
from baselines.neural.entropy.integer.grid import (
    ACTIVATION_LIMIT,
    OutputGrid,
    WeightLimit,
    integer_weights,
    power_of_two,
    requantise,
)

Layer = nn.Conv2d | nn.ConvTranspose2d
FLOAT64_BOUND = 2.0**51  # two bits spared: for the bias, and for the half that rounding adds


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


class LayerGrid(NamedTuple):
    """Number formats of a layer's input and output."""

    in_fraction: int
    out_fraction: int
    out_limit: int = ACTIVATION_LIMIT  # clips to -limit..limit, or 0..limit after a ReLU
    out_dtype: torch.dtype = torch.int16


class IntegerConvolution:
    """Convolution with bias, optional ReLU, and rounding to the output's grid, on integers.

    Raises what `half_kernel` does, `BoundExceeded` for weights that admit an inexact sum.
    """

    def __init__(
        self,
        layer: Layer,
        grid: LayerGrid,
        *,
        relu: bool,
        weight_limit: WeightLimit,
        device: torch.device,
        name: str,
    ) -> None:
        self.transposed, half = isinstance(layer, nn.ConvTranspose2d), half_kernel(layer)
        # Zeros around the input, and outputs cut off at the start.
        self.padding, self.skip = ((half + 1) // 2, half % 2) if self.transposed else (half, 0)
        whole = integer_weights(
            layer.weight,
            layer.bias,
            out_dim=int(self.transposed),
            in_fraction=grid.in_fraction,
            weight_limit=weight_limit,
        )
        weight, phases = whole.weight, 1
        if self.transposed:
            weight, phases = phase_weights(whole.weight), 4
        bias = whole.bias.repeat(phases)
        shift = (whole.scale + (grid.in_fraction - grid.out_fraction)).repeat(phases)
        prove(weight, bias, shift, name)
        factor, lowest = power_of_two(-shift), 0 if relu else -grid.out_limit
        limits = lowest, grid.out_limit, grid.out_dtype
        self.grid = OutputGrid(bias.to(device), factor.to(device), *limits)
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
        output_dtype: torch.dtype = torch.int16,
        **execution: Any,
    ) -> None:
        layers = list(convolutions(modules, name))
        grids = [LayerGrid(before, after) for before, after in pairwise(fractional_bits)]
        grids[-1] = grids[-1]._replace(out_limit=output_limit, out_dtype=output_dtype)
        self.layers = [
            IntegerConvolution(layer, grid, relu=relu, name=f"{name}.{i}", **execution)
            for i, ((layer, relu), grid) in enumerate(zip(layers, grids, strict=True))
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
