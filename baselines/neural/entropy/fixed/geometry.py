"""Rewriting of any convolution as an ordinary one without padding, and of its input as rows.

A transposed convolution of stride s is an ordinary one of stride 1 with s * s times the channels,
one group for each phase of the output, whose values are then interleaved:

    out[o] = sum_i x[i] w[o + p - s i]         (one axis; padding p, kernel k)
    o + p = s q + r, 0 <= r < s   =>   out[o] = sum_j x[q - j] w[s j + r],   0 <= j < ceil(k / s)
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

Layer = nn.Conv2d | nn.ConvTranspose2d


class Axis(NamedTuple):
    """Operations along the height or the width: pad, convolve, interleave, cut."""

    kernel: int
    stride: int
    before: int  # zeros added
    after: int
    phases: int  # outputs interleaved at each position; 1 for an ordinary convolution
    skip: int  # outputs cut off at the start
    surplus: int  # the output's length is stride * (input - 1) + surplus, or the strided division

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
    kernels, strides, paddings = layer.kernel_size, layer.stride, layer.padding
    if not isinstance(layer, nn.ConvTranspose2d):
        height, width = (
            Axis(kernels[i], strides[i], paddings[i], paddings[i], 1, 0, 0) for i in (0, 1)
        )
        return height, width
    height, width = (
        _transposed_axis(
            int(kernels[i]), int(strides[i]), int(paddings[i]), int(layer.output_padding[i])
        )
        for i in (0, 1)
    )
    return height, width


def _transposed_axis(kernel: int, stride: int, padding: int, output_padding: int) -> Axis:
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
    padded = torch.zeros(inputs, outputs, tall, wide, dtype=weight.dtype)
    padded[:, :, :rows, :columns] = weight
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
    whole = grouped.permute(0, 1, 3, 2, 4, 5).reshape(
        count, rows * height.phases, columns * width.phases, -1
    )
    return whole[:, height.skip : height.skip + size[0], width.skip : width.skip + size[1]]


def unfold_width(values: Tensor, kernel_width: int, stride: int) -> Tensor:
    """Unfold (N, H, W, in) to (N, H, columns, kernel width * in), contiguous."""
    values = values.contiguous()
    count, height, width, inputs = values.shape
    columns = (width - kernel_width) // stride + 1
    across, down, along, one = values.stride()
    windows = values.as_strided(
        (count, height, columns, kernel_width, inputs),
        (across, down, along * stride, along, one),
    )
    return windows.contiguous().view(count, height, columns, -1)
