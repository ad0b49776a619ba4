"""Layers in float64 with exact sums, and the conversion of transforms to such layers.

Inputs are x = X 2^-f and weights w = W 2^-s with integers X and W. If |X| <= 2^ACTIVATION_BITS, and
the sum of |W| over an output's inputs is at most 2^WEIGHT_BITS, every product and partial sum is a
multiple of 2^-(f + s) below 2^52 such steps: float64 is exact in any order. f follows from the
tensor's maximum magnitude, s from integer sums. Functions use single IEEE operations, accurate to
1e-15, since torch's functions differ in the last bit between instruction sets. No tensor is divided
by a number: on a GPU torch multiplies by the reciprocal.
"""

from copy import deepcopy
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.control import InterpolationChannelAttention
from baselines.neural.blocks.layers import ResidualAttention, half_kernel
from baselines.neural.entropy.integer.grid import power_of_two
from baselines.neural.network import cudnn_flags
from benchmark.errors import CorruptStream

# ln 2 = high + low; high has 33 bits, so its products with integers below 2^20 are exact.
LN2_HIGH, LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
LOG2_E = 1.4426950408889634
MAX_ARGUMENT = 700.0
EXPONENTIAL_TERMS = 14  # (ln 2 / 2)^15 / 15! < 1e-19
LOGARITHM_TERMS = 17  # (1/3)^35 / 35 < 1e-18
CIRCLE_TERMS = 11  # 1 / 23! < 1e-22


def exponential(values: Tensor) -> Tensor:
    """Return e^x, with x clipped to +-700."""
    bounded_values = values.clamp(-MAX_ARGUMENT, MAX_ARGUMENT)
    powers = torch.round(bounded_values * LOG2_E)
    remainder = bounded_values - powers * LN2_HIGH - powers * LN2_LOW
    series = torch.ones_like(remainder)
    for term in range(EXPONENTIAL_TERMS, 0, -1):
        series = series * remainder * (1 / term) + 1
    return series * power_of_two(powers)


def sigmoid(values: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x)."""
    decay = exponential(-values.abs())
    return torch.where(values < 0, decay, torch.ones_like(decay)) / (decay + 1)


def softplus(values: Tensor) -> Tensor:
    """Return ln(1 + e^x)."""
    decay = exponential(-values.abs())
    ratio = decay / (decay + 2)  # ln(1 + u) = 2 artanh(u / (2 + u))
    square = ratio * ratio
    series = torch.zeros_like(ratio)
    for term in range(LOGARITHM_TERMS, -1, -1):
        series = series * square + 1 / (2 * term + 1)
    return values.clamp(min=0) + ratio * series * 2


def square_root(values: Tensor) -> Tensor:
    """Return the square root, correctly rounded and without a gradient."""
    if values.device.type == "cpu":  # there torch's last bit depends on the instruction set
        return torch.from_numpy(np.sqrt(values.detach().numpy()))
    return values.detach().sqrt()


def sine_cosine(angles: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sine and cosine of angles in -1..1."""
    square = angles * angles
    sine = cosine = torch.ones_like(angles)
    for term in range(CIRCLE_TERMS, 0, -1):
        sine = 1 - sine * square * (1 / (2 * term * (2 * term + 1)))
        cosine = 1 - cosine * square * (1 / (2 * term * (2 * term - 1)))
    return sine * angles, cosine


ACTIVATION_BITS, WEIGHT_BITS = 22, 30  # 52 in sum, as float64 has
FINEST_GRID = 64  # no grid is finer than 2^-64, so that products stay far from float64's minimum
MAX_EXPONENT = 500  # keeps activations far from float64's maximum
MAX_UNFOLDED_VALUES = 1 << 21  # 16 MB, in the band of rows that torch unfolds for one product

Transform = TypeVar("Transform", bound=nn.Module)
UNCHANGED_LAYERS = (nn.ReLU, InterpolationChannelAttention)  # use single IEEE operations only


def round_to_grid(
    values: Tensor, dims: int | tuple[int, ...] | None = None, bits: int = ACTIVATION_BITS
) -> Tensor:
    """Round to a grid with `bits` bits up to the maximum magnitude, overall or along `dims`."""
    # raises `CorruptStream` for values that are not finite, or beyond 2^500
    largest = values.abs().amax() if dims is None else values.abs().amax(dims, keepdim=True)
    if not bool((largest < 2.0**MAX_EXPONENT).all()):
        raise CorruptStream("values in the decoded stream exceed the range of the exact decoder")
    _, exponent = torch.frexp(largest)  # largest < 2^exponent
    fraction = (bits - exponent.to(torch.int64)).clamp(max=FINEST_GRID)
    return torch.round(values * power_of_two(fraction)).mul_(power_of_two(-fraction))


def round_weights(weight: Tensor) -> Tensor:
    """Round a float32 weight (out, ...) to float64, on the finest exact grid of each output."""
    rows = weight.detach().double().reshape(len(weight), -1)
    _, exponent = torch.frexp(rows.abs().amax(dim=1))
    fraction = (WEIGHT_BITS - exponent.to(torch.int64)).clamp(max=FINEST_GRID)
    steps = torch.round(rows * power_of_two(fraction)[:, None]).to(torch.int64).abs().sum(dim=1)
    # Rounding to a coarser grid adds at most half a step per weight.
    bound = steps.add(rows.shape[1]).double()
    fraction -= (torch.frexp(bound)[1].to(torch.int64) - (WEIGHT_BITS - 1)).clamp(min=0)
    scaled_rows = torch.round(rows * power_of_two(fraction)[:, None])
    return scaled_rows.mul_(power_of_two(-fraction)[:, None]).view(weight.shape)


class ExactConvolution(nn.Module):
    """Convolution (stride 1, or transposed with stride 2) with exact sums, in bands of rows."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.transposed = isinstance(layer, nn.ConvTranspose2d)
        self.growth = 2 if self.transposed else 1
        self.reach = half_kernel(layer)
        oriented_weight = layer.weight.transpose(0, 1) if self.transposed else layer.weight
        weight = round_weights(oriented_weight)
        self.register_buffer("weight", weight.transpose(0, 1) if self.transposed else weight)
        self.register_buffer("bias", layer.bias.detach().double())  # type: ignore[union-attr]
        channels = layer.out_channels if self.transposed else layer.in_channels
        self._unfolded_width = channels * layer.weight[0, 0].numel()  # values per position

    def forward(self, features: Tensor) -> Tensor:
        """Map float64 `features` (N, C, H, W) to (N, C', H, W), or to (N, C', 2 H, 2 W)."""
        count, _, height, width = features.shape
        inputs, growth = round_to_grid(features), self.growth
        rows = max(1, MAX_UNFOLDED_VALUES // (self._unfolded_width * width))
        outputs = features.new_empty((count, len(self.bias), growth * height, growth * width))
        for top in range(0, height, rows):
            first_row = max(0, top - self.reach)
            sums = self._convolve_band(inputs[:, :, first_row : top + rows + self.reach])
            output_band = outputs[:, :, growth * top : growth * (top + rows)]
            band_sums = sums[:, :, growth * (top - first_row) :]
            output_band.copy_(band_sums[:, :, : output_band.shape[2]])
        return outputs.add_(self.bias[:, None, None])

    def _convolve_band(self, band: Tensor) -> Tensor:
        # cuDNN may use Fourier transforms, which are not exact.
        with cudnn_flags(enabled=False):
            if self.transposed:
                return functional.conv_transpose2d(
                    band, self.weight, stride=2, padding=self.reach, output_padding=1
                )
            return functional.conv2d(band, self.weight, padding=self.reach)


class ExactLinear(nn.Module):
    """Linear layer with exact sums; with `dims=-1`, each vector has its own grid."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Linear, dims: int | None = None) -> None:
        super().__init__()
        self._dims = dims
        self.register_buffer("weight", round_weights(layer.weight))
        self.register_buffer("bias", layer.bias.detach().double())

    def forward(self, vectors: Tensor) -> Tensor:
        """Map float64 `vectors` (..., in) to (..., out)."""
        return functional.linear(round_to_grid(vectors, self._dims), self.weight).add_(self.bias)


def exact_transform(transform: Transform) -> Transform:
    """Return a copy for float64 features that computes the same bits on every machine.

    Its `forward` methods may only use single IEEE operations. Raises `ValueError`.
    """
    holder = nn.Sequential(deepcopy(transform).requires_grad_(False).double().eval())
    _convert_layers(holder)
    return holder[0]  # type: ignore[return-value]


def _convert_layers(parent: nn.Module) -> None:
    for name, child in list(parent.named_children()):
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            setattr(parent, name, ExactConvolution(child))
        elif isinstance(child, nn.Linear):
            setattr(parent, name, ExactLinear(child))
        elif not (list(child.children()) or isinstance(child, UNCHANGED_LAYERS)):
            raise ValueError(f"{child} has no exact form")
        _convert_layers(child)
    if isinstance(parent, ResidualAttention):
        parent.squash = sigmoid
    if isinstance(parent, InterpolationChannelAttention):
        parent.positive = softplus
