"""Layers in float64 without any rounding inside their sums, and conversion of transforms to them.

With inputs x = X 2^-f and weights w = W 2^-s of integers X and W, |X| <= 2^ACTIVATION_BITS and the
sum of |W| over an output's inputs at most 2^WEIGHT_BITS, every product and every partial sum is a
multiple of 2^-(f + s), below 2^52 times it: float64 holds it exactly, whatever the order of
summation. f follows from the largest magnitude of the tensor, and s from integer sums.
"""

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.control import InterpolationChannelAttention
from baselines.neural.blocks.layers import ResidualAttention
from baselines.neural.entropy.fixed.grid import power_of_two
from baselines.neural.exact.functions import sigmoid, softplus
from benchmark.errors import CorruptStream

ACTIVATION_BITS, WEIGHT_BITS = 22, 30  # 52 together
FINEST = 64  # no grid is finer than 2^-64: products stay far from float64's smallest number
LARGEST_EXPONENT = 500  # and activations far from its largest
UNFOLDED_VALUES = 1 << 21  # of a band of rows, 16 MB, as torch unfolds it for a matrix product

Transform = TypeVar("Transform", bound=nn.Module)
AS_THEY_ARE = (nn.ReLU, InterpolationChannelAttention)  # single operations once converted


def on_grid(
    values: Tensor, dims: int | tuple[int, ...] | None = None, bits: int = ACTIVATION_BITS
) -> Tensor:
    """Round float64 values to `bits` bits of their largest magnitude.

    With `dims`, of the largest along those dimensions, each place along the others apart. Raises
    `CorruptStream` where one is not finite, or beyond 2^500.

    >>> on_grid(torch.tensor([1.0, 2.0**-22, 2.0**-23], dtype=torch.float64)).tolist()
    [1.0, 0.0, 0.0]
    """
    largest = values.abs().amax() if dims is None else values.abs().amax(dims, keepdim=True)
    if not bool((largest < 2.0**LARGEST_EXPONENT).all()):
        raise CorruptStream(
            "the stream's synthesis leaves the range of numbers of the exact decoder"
        )
    _, exponent = torch.frexp(largest)  # largest < 2^exponent
    fraction = (bits - exponent.to(torch.int64)).clamp(max=FINEST)
    return torch.round(values * power_of_two(fraction)).mul_(power_of_two(-fraction))


def weights_on_grid(weight: Tensor) -> Tensor:
    """Round a float32 weight (out, ...) to float64 on the finest grids that keep sums exact."""
    rows = weight.detach().double().reshape(len(weight), -1)
    _, exponent = torch.frexp(rows.abs().amax(dim=1))
    fraction = (WEIGHT_BITS - exponent.to(torch.int64)).clamp(max=FINEST)
    steps = torch.round(rows * power_of_two(fraction)[:, None]).to(torch.int64).abs().sum(dim=1)
    # Rounding to a coarser grid adds at most a half for each weight.
    bound = steps.add(rows.shape[1]).double()
    fraction -= (torch.frexp(bound)[1].to(torch.int64) - (WEIGHT_BITS - 1)).clamp(min=0)
    grown = torch.round(rows * power_of_two(fraction)[:, None])
    return grown.mul_(power_of_two(-fraction)[:, None]).view(weight.shape)


class ExactConvolution(nn.Module):
    """A convolution of stride 1, or a transposed one of stride 2, with exact sums.

    As `blocks.layers` makes them: zeros around the input keep height and width, or double them.
    Raises `ValueError` for any other layer. It runs in bands of rows, since torch unfolds its input
    for a matrix product.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        self.growth = 2 if self.transposed else 1
        kernel, wide = layer.kernel_size
        grown = int(layer.output_padding[0]) if self.transposed else 0
        self.reach = kernel // 2
        usual = (
            *(kernel == wide, kernel % 2 == 1, layer.groups == 1, layer.padding_mode == "zeros"),
            *(set(layer.dilation) == {1}, set(layer.stride) == {self.growth}),
            *(layer.padding == (self.reach, self.reach), grown == self.growth - 1),
        )
        if not all(usual):
            raise ValueError(f"{layer} has no exact form")
        first = layer.weight.transpose(0, 1) if self.transposed else layer.weight
        weight = weights_on_grid(first)
        self.register_buffer("weight", weight.transpose(0, 1) if self.transposed else weight)
        self.register_buffer("bias", _bias_of(layer, layer.out_channels))
        unfolded = layer.out_channels if self.transposed else layer.in_channels
        self._unfolded = unfolded * kernel * kernel

    def forward(self, features: Tensor) -> Tensor:
        """Map float64 `features` (N, C, H, W) to (N, C', H, W), or to (N, C', 2 H, 2 W)."""
        count, _, height, width = features.shape
        inputs, growth = on_grid(features), self.growth
        rows = max(1, UNFOLDED_VALUES // (self._unfolded * width))
        outputs = features.new_empty((count, len(self.bias), growth * height, growth * width))
        for top in range(0, height, rows):
            low = max(0, top - self.reach)
            sums = self._sums(inputs[:, :, low : top + rows + self.reach])
            own = outputs[:, :, growth * top : growth * (top + rows)]
            own.copy_(sums[:, :, growth * (top - low) :][:, :, : own.shape[2]])
        return outputs.add_(self.bias[:, None, None])

    def _sums(self, band: Tensor) -> Tensor:
        # cuDNN may convolve through Fourier transforms, which are not exact.
        with torch.backends.cudnn.flags(enabled=False):
            if self.transposed:
                return functional.conv_transpose2d(
                    band, self.weight, stride=2, padding=self.reach, output_padding=1
                )
            return functional.conv2d(band, self.weight, padding=self.reach)


class ExactLinear(nn.Module):
    """A linear layer with exact sums."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", weights_on_grid(layer.weight))
        self.register_buffer("bias", _bias_of(layer, layer.out_features))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map float64 `vectors` (K, in) to (K, out)."""
        return functional.linear(on_grid(vectors), self.weight).add_(self.bias)


def _bias_of(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear, outputs: int) -> Tensor:
    if layer.bias is None:
        return torch.zeros(outputs, dtype=torch.float64)
    return layer.bias.detach().double()


def exact_transform(transform: Transform) -> Transform:
    """Return a copy in float64 that computes the same bits on every machine.

    It takes float64 features. Between the layers, forward passes of the transform's own classes
    have to be single operations. Raises `ValueError` for a layer that has no exact form.
    """
    holder = nn.Sequential(deepcopy(transform).requires_grad_(False).double().eval())
    _convert(holder)
    converted: Transform = holder[0]  # type: ignore[assignment]
    return converted


def _convert(parent: nn.Module) -> None:
    for name, child in list(parent.named_children()):
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            setattr(parent, name, ExactConvolution(child))
        elif isinstance(child, nn.Linear):
            setattr(parent, name, ExactLinear(child))
        elif not (list(child.children()) or isinstance(child, AS_THEY_ARE)):
            raise ValueError(f"{child} has no exact form")
        _convert(child)
    if isinstance(parent, ResidualAttention):
        parent.squash = sigmoid
    if isinstance(parent, InterpolationChannelAttention):
        parent.positive = softplus
