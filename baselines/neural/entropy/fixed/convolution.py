"""Exact execution of convolutions, and sequences of them with ReLUs, on integers.

Every convolution is rewritten as an ordinary one without padding. A transposed one of stride s is
one of stride 1 with s * s times the channels, a group for each phase of the output, whose values
are then interleaved:

    out[o] = sum_i x[i] w[o + p - s i]         (an axis; padding p, kernel k)
    o + p = s q + r, 0 <= r < s   =>   out[o] = sum_j x[q - j] w[s j + r],   0 <= j < ceil(k / s)
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.entropy.fixed.grid import (
    ACTIVATION_LIMIT,
    Precision,
    integer_weights,
    power_of_two,
    requantise,
)
from baselines.neural.entropy.fixed.kernels import LARGEST_LIMB, Kernel, planes

Layer = nn.Conv2d | nn.ConvTranspose2d
FLOAT64_BOUND = 2.0**51  # two bits spared: for the bias, and for the half that rounding adds
INT32_BOUND = 2**31 - 1


class Axis(NamedTuple):
    """Operations along the height or the width: pad, convolve, interleave, cut."""

    kernel: int
    stride: int
    before: int  # zeros added
    after: int
    phases: int = 1  # outputs interleaved at each position; 1 for an ordinary convolution
    skip: int = 0  # outputs cut off at the start
    surplus: int = 0  # with phases, the output's length is phases * (input - 1) + surplus

    def output_length(self, length: int) -> int:
        """Return the length of the output; raises `ValueError` for an input too short."""
        positions = (length + self.before + self.after - self.kernel) // self.stride + 1
        if positions < 1 or length < 1:
            raise ValueError(f"an input of {length} is too small for a kernel of {self.kernel}")
        return self.phases * (length - 1) + self.surplus if self.phases > 1 else positions


def axes(layer: Layer) -> tuple[Axis, Axis]:
    """Return the operations along height and width; raises `ValueError` for other layers."""
    if layer.groups != 1 or layer.padding_mode != "zeros" or set(layer.dilation) != {1}:
        raise ValueError(f"{layer} has groups, a dilation or a padding other than zeros")
    if isinstance(layer.padding, str):
        raise ValueError(f"{layer} has its padding by name")
    along = zip(layer.kernel_size, layer.stride, layer.padding, layer.output_padding, strict=True)
    make = _transposed if isinstance(layer, nn.ConvTranspose2d) else _ordinary
    height, width = (make(*map(int, numbers)) for numbers in along)
    return height, width


def _ordinary(kernel: int, stride: int, padding: int, _output_padding: int) -> Axis:
    return Axis(kernel, stride, padding, padding)


def _transposed(kernel: int, stride: int, padding: int, output_padding: int) -> Axis:
    taps = -(-kernel // stride)
    before = taps - 1 - padding // stride
    after = (kernel + output_padding - 1 - padding) // stride
    if before < 0 or after < 0:
        raise ValueError(f"a padding of {padding} cuts more than a kernel of {kernel} adds")
    surplus = kernel + output_padding - 2 * padding
    return Axis(taps, 1, before, after, stride, padding % stride, surplus)


def ordinary_weight(layer: Layer, weight: Tensor, height: Axis, width: Axis) -> Tensor:
    """Return the layer's weight as (phases * out, kernel height, kernel width, in)."""
    if not isinstance(layer, nn.ConvTranspose2d):
        return weight.permute(0, 2, 3, 1).contiguous()
    inputs, outputs, rows, columns = weight.shape
    tall, wide = height.kernel * height.phases, width.kernel * width.phases
    padded = functional.pad(weight, (0, wide - columns, 0, tall - rows))
    by_phase = padded.view(
        inputs, outputs, height.kernel, height.phases, width.kernel, width.phases
    )
    by_phase = by_phase.flip(2, 4).permute(3, 5, 1, 2, 4, 0)  # phases, out, kernel, in
    return by_phase.reshape(-1, height.kernel, width.kernel, inputs)


def interleave(values: Tensor, height: Axis, width: Axis, size: tuple[int, int]) -> Tensor:
    """Interleave phases (N, rows, columns, phases * out) to (N, *size, out), ends cut."""
    if height.phases == width.phases == 1:
        return values
    count, rows, columns, _ = values.shape
    grouped = values.view(count, rows, columns, height.phases, width.phases, -1)
    whole = grouped.transpose(2, 3).reshape(count, rows * height.phases, columns * width.phases, -1)
    return whole[:, height.skip : height.skip + size[0], width.skip : width.skip + size[1]]


class BoundExceeded(ValueError):  # noqa: N818
    """Weights so large that a sum might not be exact: the layer cannot run in integers."""


def prove(weight: Tensor, bias: Tensor, shift: Tensor, name: str) -> None:
    """Raise `BoundExceeded` unless every kernel computes the layer exactly for all inputs.

    `weight` holds integers (out, kernel height, kernel width, in), `bias` float64 integers (out,),
    `shift`, int64 (out,), the bits by which requantisation divides.
    """
    rows = weight.flatten(1)
    sums = _magnitude(rows).double() * ACTIVATION_LIMIT + bias.abs()
    largest = float(torch.maximum(sums, sums * power_of_two(-shift)).max())
    if not largest < FLOAT64_BOUND:
        raise BoundExceeded(
            f"{name}: a sum may reach {largest:.3g}, beyond 2^51: its weights or bias are too big"
        )
    for part, plane in enumerate(planes(rows)):
        reach = int(_magnitude(plane).max()) * LARGEST_LIMB
        if reach > INT32_BOUND:
            raise BoundExceeded(
                f"{name}: the int32 sum of limb {part} may reach {reach}; it has too many inputs"
            )


def _magnitude(rows: Tensor) -> Tensor:
    return rows.abs().to(torch.int64).sum(dim=1)


class LayerGrid(NamedTuple):
    """Number formats of a layer's input and output."""

    in_fraction: int
    out_fraction: int
    out_limit: int = ACTIVATION_LIMIT  # clips to -limit..limit, or 0..limit after a ReLU
    out_dtype: torch.dtype = torch.int16


class IntegerConvolution:
    """Convolution with bias, optional ReLU, and rounding to the output's grid, on integers.

    Raises `ValueError` for other layers, `BoundExceeded` for weights that admit an inexact sum.
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
        out_dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        given = {"out_dim": out_dim, "in_fraction": grid.in_fraction, "precision": precision}
        whole = integer_weights(layer.weight, layer.bias, **given)  # type: ignore[arg-type]
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


class FixedSequence:
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
        if len(fractional_bits) != len(layers) + 1:
            raise ValueError(
                f"{name}: {len(fractional_bits)} fractional bits for {len(layers)} convolutions"
            )
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
