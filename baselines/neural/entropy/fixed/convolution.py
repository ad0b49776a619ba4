"""Exact execution of a Conv2d or ConvTranspose2d on integers."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from baselines.neural.entropy.fixed.bounds import prove
from baselines.neural.entropy.fixed.geometry import Layer, axes, interleave, ordinary_weight
from baselines.neural.entropy.fixed.grid import Precision, integer_weights, requantise

# An ordinary convolution without padding; int16 (N, H, W, in) -> float64 integers, (N, ..., out).
Sums = Callable[[Tensor], Tensor]
# int16 weight (out, kernel height, kernel width, in), stride, device -> its sums.
Kernel = Callable[[Tensor, tuple[int, int], torch.device], Sums]


class LayerGrid(NamedTuple):
    """Number formats of a layer's input and output."""

    in_fraction: int
    out_fraction: int
    out_limit: int  # the output is clipped to -limit..limit, or 0..limit after a ReLU
    out_dtype: torch.dtype


class IntegerConvolution:
    """Convolution with bias, optional ReLU, and rounding to the output's grid, on integers.

    Raises `ValueError` for a layer that has no such form, and `BoundExceeded` for weights that
    admit an inexact sum. `name` is the layer's name in these messages.
    """

    def __init__(
        self,
        layer: Layer,
        grid: LayerGrid,
        *,
        relu: bool,
        precision: Precision,
        kernel: Kernel,
        device: torch.device,
        name: str,
    ) -> None:
        self.height, self.width = axes(layer)
        whole = integer_weights(
            layer.weight,
            layer.bias,
            out_dim=1 if isinstance(layer, torch.nn.ConvTranspose2d) else 0,
            in_fraction=grid.in_fraction,
            precision=precision,
        )
        weight = ordinary_weight(layer, whole.weight, self.height, self.width)
        phases = self.height.phases * self.width.phases
        bias = whole.bias.repeat(phases)
        shift = (whole.scale + (grid.in_fraction - grid.out_fraction)).repeat(phases)
        prove(weight, bias, shift, name)
        self.bias, self.shift = bias.to(device), shift.to(device)
        self.sums = kernel(weight, (self.height.stride, self.width.stride), device)
        self.lowest, self.highest = (0 if relu else -grid.out_limit), grid.out_limit
        self.dtype = grid.out_dtype

    def __call__(self, activations: Tensor) -> Tensor:
        """Map int16 (N, H, W, in), within the limit, to (N, H', W', out) of the grid's type."""
        high, wide = activations.shape[1:3]
        size = self.height.output_length(high), self.width.output_length(wide)
        up, down, left, right = *self.height[2:4], *self.width[2:4]
        padded = functional.pad(activations, (0, 0, left, right, up, down))
        sums = self.sums(padded).add_(self.bias)
        values = requantise(sums, self.shift, self.lowest, self.highest, self.dtype)
        return interleave(values, self.height, self.width, size)
