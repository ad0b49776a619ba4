"""Layers of learned codecs, from (N, C, H, W) to (N, C', H', W'), with zero padding."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.system.backbone import has_onednn

# MKL sums more products than this in two steps, which rounds differently from oneDNN.
MAX_SUMMANDS = 192
IMAGE_CHANNELS = 3
EPSILON = 1e-3  # added to variances in `ChannelNorm`
MIN_BETA = 1e-6  # in GDN, as are the next two constants
PEDESTAL = 2.0**-36  # added before a square root, whose gradient at 0 is infinite
INITIAL_GAMMA = 0.1
HAS_ONEDNN = has_onednn()


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution with a bias, from (H, W) to (H / stride, W / stride)."""
    if kernel == stride == 1:
        return PointwiseConvolution(inputs, outputs, kernel)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)


def rectified_stack(widths: Sequence[int], kernels: Sequence[int]) -> nn.Sequential:
    """Make convolutions from each of `widths` to the next, separated by ReLUs."""
    layers: list[nn.Module] = []
    for (inputs, outputs), kernel in zip(pairwise(widths), kernels, strict=True):
        layers += [convolution(inputs, outputs, kernel), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class PointwiseConvolution(nn.Conv2d):
    """Convolution with a kernel of 1 x 1, which oneDNN computes even on a single thread."""

    # On a single thread torch uses MKL, which takes twice the time on processors not from Intel; a
    # dilation makes torch use oneDNN. Beyond `MAX_SUMMANDS` inputs, rounding would change.

    def forward(self, features: Tensor) -> Tensor:
        """Map `features` (N, C, H, W) to (N, C', H, W)."""
        if self.in_channels > MAX_SUMMANDS or not _suits_onednn(features):
            return super().forward(features)
        return functional.conv2d(features, self.weight, self.bias, dilation=2)


def _suits_onednn(features: Tensor) -> bool:
    return (
        features.dtype == torch.float32
        and features.device.type == "cpu"
        and features.is_contiguous(memory_format=torch.channels_last)
        and HAS_ONEDNN
        and bool(torch.backends.mkldnn.enabled)
    )


def upsampling(inputs: int, outputs: int, kernel: int) -> nn.ConvTranspose2d:
    """Make a transposed convolution of stride 2, from (H, W) to (2 H, 2 W)."""
    return nn.ConvTranspose2d(
        inputs, outputs, kernel, stride=2, padding=kernel // 2, output_padding=1
    )


def half_kernel(layer: nn.Conv2d | nn.ConvTranspose2d) -> int:
    """Return half the kernel of a `convolution` of stride 1 or an `upsampling`; or `ValueError`."""
    is_upsampling = isinstance(layer, nn.ConvTranspose2d)
    half_width = int(layer.kernel_size[0]) // 2
    expected_settings = (
        (2 * half_width + 1,) * 2,
        (1 + is_upsampling,) * 2,
        (half_width,) * 2,
        (int(is_upsampling),) * 2,
        (1, 1),
        1,
        "zeros",
    )
    names = ("kernel_size", "stride", "padding", "output_padding", "dilation", "groups")
    if (*(getattr(layer, name) for name in names), layer.padding_mode) != expected_settings:
        raise ValueError(f"{layer} has no exact form")
    return half_width


class ResidualBottleneck(nn.Module):
    """ELIC's x + expand(relu(mix(relu(reduce(x))))), with kernels 1, 3, 1 and half the width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner_channels = channels // 2
        self.reduce = convolution(channels, inner_channels, 1)
        self.mix = convolution(inner_channels, inner_channels, 3)
        self.expand = convolution(inner_channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to `features` (N, C, H, W) without changing the shape."""
        inner = self.mix(self.reduce(features).relu_()).relu_()
        return self.expand(inner).add_(features)


class ResidualAttention(nn.Module):
    """Attention of Cheng et al. (CVPR 2020): x + trunk(x) sigmoid(gate(x))."""

    squash: Callable[[Tensor], Tensor] = staticmethod(torch.sigmoid)
    unit: type[nn.Module] = ResidualBottleneck  # trunk and gate consist of three each

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(self.unit(channels) for _ in range(3)))
        self.gate = nn.Sequential(
            *(self.unit(channels) for _ in range(3)), convolution(channels, channels, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to `features` (N, C, H, W) without changing the shape."""
        return (self.trunk(features) * self.squash(self.gate(features))).add_(features)


class RectifiedBottleneck(ResidualBottleneck):
    """Residual bottleneck with a ReLU at its end: relu(x + expand(relu(mix(relu(reduce(x))))))."""

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to `features` (N, C, H, W) without changing the shape."""
        return super().forward(features).relu_()


class RectifiedAttention(ResidualAttention):
    """Attention of Cheng et al. (CVPR 2020) with rectified bottlenecks, as in CompressAI."""

    unit = RectifiedBottleneck


class ChannelNorm(nn.Module):
    """(x - mean) / sqrt(variance + .001) over channels, then a scale and a shift per channel."""

    # Mentzer et al. (NeurIPS 2020); it does not depend on positions, image size or tiling

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise `features` (N, C, H, W), with C at least 2."""
        # float32, since with the eight bits of autocast the error would be visible in pictures
        floats = features.float()
        variance, mean = torch.var_mean(floats, dim=1, keepdim=True)
        normalised_values = (floats - mean) * (variance + EPSILON).rsqrt()
        outputs = normalised_values * self.scale[:, None, None] + self.shift[:, None, None]
        return outputs.to(features.dtype)


class _ClampBelow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, bound: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(values)
        ctx.bound = bound
        return values.clamp(min=bound)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (values,) = ctx.saved_tensors
        return gradient * ((values >= ctx.bound) | (gradient < 0)), None


def clamp_below(values: Tensor, bound: float) -> Tensor:
    """Return max(values, bound), with a gradient that can still raise values below the bound."""
    return _ClampBelow.apply(values, bound)  # type: ignore[no-untyped-call]


Blocks = Callable[[int], nn.Module]  # channels -> the residual blocks of a stage
Layers = list[tuple[nn.Module, int]]  # layers and their channels


def analysis_layers(
    sizes: Any, attention: Callable[[int], nn.Module] = ResidualAttention
) -> Layers:
    """Return the layers of ELIC's encoder (He et al., CVPR 2022) with their output channels."""
    # sizes: see `architecture.Residual`. x ─ conv/2, blocks ─ conv/2, blocks, attention ─ conv/2,
    # blocks ─ conv/2, attention ─> y
    layers: Layers = []
    inputs = IMAGE_CHANNELS
    for stage, outputs in enumerate((*sizes.encoder, sizes.latent), start=1):
        kernel = sizes.outer_kernel if stage == 1 else sizes.inner_kernel
        layers.append((convolution(inputs, outputs, kernel, stride=2), outputs))
        if stage < 4 and sizes.blocks:
            layers.append((_bottlenecks(sizes.blocks, outputs), outputs))
        if sizes.attention and stage in (2, 4):
            layers.append((attention(outputs), outputs))
        inputs = outputs
    return layers


def synthesis_layers(
    sizes: Any,
    blocks: Blocks | None = None,
    attention: Callable[[int], nn.Module] = ResidualAttention,
) -> Layers:
    """Return the layers of the decoder, which mirrors the encoder, with their input channels."""
    make_blocks = blocks or (lambda channels: _bottlenecks(sizes.blocks, channels))
    layers: Layers = []
    inputs = sizes.latent
    if sizes.attention:
        layers.append((attention(inputs), inputs))
    for stage, outputs in enumerate((*sizes.decoder, IMAGE_CHANNELS), start=1):
        kernel = sizes.outer_kernel if stage == 4 else sizes.inner_kernel
        layers.append((upsampling(inputs, outputs, kernel), inputs))
        if sizes.attention and stage == 2:
            layers.append((attention(outputs), outputs))
        if stage < 4 and sizes.blocks:
            layers.append((make_blocks(outputs), outputs))
        inputs = outputs
    return layers


def _bottlenecks(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBottleneck(channels) for _ in range(count)))


class GDN(nn.Module):
    """Generalised divisive normalisation of `channels` channels, or its approximate inverse.

    Ballé, Laparra, Simoncelli (ICLR 2016): y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2); the
    inverse multiplies by the root. Parameters are stored as square roots.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.empty(channels))
        self.gamma = nn.Parameter(torch.empty(channels, channels))
        self.set(torch.ones(channels), INITIAL_GAMMA * torch.eye(channels))

    def set(self, beta: Tensor, gamma: Tensor) -> None:
        """Set beta (channels,), at least 1e-6, and gamma (channels, channels), at least 0."""
        with torch.no_grad():
            self.beta.copy_((beta.clamp(min=MIN_BETA) + PEDESTAL).sqrt())
            self.gamma.copy_((gamma.clamp(min=0) + PEDESTAL).sqrt())

    def forward(self, features: Tensor) -> Tensor:
        """Normalise `features` (N, channels, H, W)."""
        beta = clamp_below(self.beta, math.sqrt(MIN_BETA + PEDESTAL)).square() - PEDESTAL
        gamma = clamp_below(self.gamma, math.sqrt(PEDESTAL)).square() - PEDESTAL
        sums = functional.conv2d(features.square(), gamma[:, :, None, None], beta)
        return features * (sums.sqrt() if self.inverse else sums.rsqrt())


def gdn_analysis(
    inputs: int, widths: Sequence[int], kernels: Sequence[tuple[int, int]]
) -> nn.Sequential:
    """Make convolutions of stride 2, separated by normalisations."""
    layers: list[nn.Module] = []
    for (in_width, out_width), (rows, columns) in zip(
        pairwise((inputs, *widths)), kernels, strict=True
    ):
        padding = (rows - 1) // 2, (columns - 1) // 2
        layers += [nn.Conv2d(in_width, out_width, (rows, columns), 2, padding), GDN(out_width)]
    return nn.Sequential(*layers[:-1])


def gdn_synthesis(inputs: int, widths: Sequence[int], kernel: int) -> nn.Sequential:
    """Make transposed convolutions of stride 2, separated by inverse normalisations."""
    layers: list[nn.Module] = []
    for in_width, out_width in pairwise((inputs, *widths)):
        layers += [upsampling(in_width, out_width, kernel), GDN(out_width, inverse=True)]
    return nn.Sequential(*layers[:-1])
