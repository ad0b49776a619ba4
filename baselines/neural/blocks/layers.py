"""Layers of learned codecs, from (N, C, H, W) to (N, C', H', W'), zeros around the input."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.system.backbone import has_onednn

# MKL adds up more products than this in two parts, which rounds otherwise than oneDNN.
MOST_IN_ONE_SUM = 192
IMAGE_CHANNELS = 3
EPSILON = 1e-3
LEAST_BETA = 1e-6
PEDESTAL = 2.0**-36  # keeps the gradient of a root away from infinity
START_GAMMA = 0.1
HAS_ONEDNN = has_onednn()


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with a bias, from (H, W) to (H, W) / stride."""
    if kernel == stride == 1:
        return PointwiseConvolution(inputs, outputs, kernel)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)


def rectified_stack(widths: Sequence[int], kernels: Sequence[int]) -> nn.Sequential:
    """Return convolutions from each of `widths` to the next, with a ReLU between each two."""
    layers: list[nn.Module] = []
    for (inputs, outputs), kernel in zip(pairwise(widths), kernels, strict=True):
        layers += [convolution(inputs, outputs, kernel), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class PointwiseConvolution(nn.Conv2d):
    """Convolution with a kernel of 1, by oneDNN in a single thread too.

    In a single thread torch takes MKL, which is twice as slow on other makers' processors; the
    dilation makes it choose oneDNN. Beyond MOST_IN_ONE_SUM inputs, rounding would change.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map `features` (N, C, H, W) to (N, C', H, W)."""
        if self.in_channels > MOST_IN_ONE_SUM or not _for_onednn(features):
            return super().forward(features)
        return functional.conv2d(features, self.weight, self.bias, dilation=2)


def _for_onednn(features: Tensor) -> bool:
    """Return whether oneDNN has a fast kernel for features as they lie in memory."""
    return (
        features.dtype == torch.float32
        and features.device.type == "cpu"
        and features.is_contiguous(memory_format=torch.channels_last)
        and HAS_ONEDNN
        and bool(torch.backends.mkldnn.enabled)
    )


def upsampling(inputs: int, outputs: int, kernel: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution of stride 2, from (H, W) to (2 H, 2 W)."""
    return nn.ConvTranspose2d(
        inputs, outputs, kernel, stride=2, padding=kernel // 2, output_padding=1
    )


def half_kernel(layer: nn.Conv2d | nn.ConvTranspose2d) -> int:
    """Return k // 2 of a layer as `convolution`, with a stride of 1, or `upsampling` makes it.

    Raises `ValueError` for others, which have no exact form.
    """
    up, half = isinstance(layer, nn.ConvTranspose2d), int(layer.kernel_size[0]) // 2
    usual = ((2 * half + 1,) * 2, (1 + up,) * 2, (half,) * 2, (int(up),) * 2, (1, 1), 1, "zeros")
    named = ("kernel_size", "stride", "padding", "output_padding", "dilation", "groups")
    if (*(getattr(layer, name) for name in named), layer.padding_mode) != usual:
        raise ValueError(f"{layer} has no exact form")
    return half


class ResidualBottleneck(nn.Module):
    """ELIC's x + expand(relu(mix(relu(reduce(x))))), half as wide inside, kernels 1, 3, 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = channels // 2
        self.reduce = convolution(channels, inside, 1)
        self.mix = convolution(inside, inside, 3)
        self.expand = convolution(inside, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to `features` (N, C, H, W); the shape stays the same."""
        inside = self.mix(self.reduce(features).relu_()).relu_()
        return self.expand(inside).add_(features)


class ResidualAttention(nn.Module):
    """Attention of Cheng et al. (CVPR 2020): x + trunk(x) sigmoid(gate(x))."""

    squash: Callable[[Tensor], Tensor] = staticmethod(torch.sigmoid)
    unit: type[nn.Module] = ResidualBottleneck  # of trunk and gate

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*(self.unit(channels) for _ in range(3)))
        self.gate = nn.Sequential(
            *(self.unit(channels) for _ in range(3)), convolution(channels, channels, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to `features` (N, C, H, W); the shape stays the same."""
        return (self.trunk(features) * self.squash(self.gate(features))).add_(features)


class RectifiedBottleneck(ResidualBottleneck):
    """Residual bottleneck with a ReLU at its end: relu(x + expand(relu(mix(relu(reduce(x))))))."""

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to `features` (N, C, H, W); the shape stays the same."""
        return super().forward(features).relu_()


class RectifiedAttention(ResidualAttention):
    """The attention of Cheng et al. (CVPR 2020) with rectified bottlenecks, as in CompressAI."""

    unit = RectifiedBottleneck


class ChannelNorm(nn.Module):
    """(x - mean) / sqrt(variance + .001) over channels, then a scale and a shift for each channel.

    Mentzer et al. (NeurIPS 2020). Position by position, so that no image's size or tiling matters.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise `features` (N, C, H, W), C at least 2; the shape stays the same."""
        # Under autocast a variance of eight bits would be visible in the pictures.
        exact = features.float()
        variance, mean = torch.var_mean(exact, dim=1, keepdim=True)
        normal = (exact - mean) * (variance + EPSILON).rsqrt()
        shaped = normal * self.scale[:, None, None] + self.shift[:, None, None]
        return shaped.to(features.dtype)


class _AtLeast(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, bound: float) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(values)
        ctx.bound = bound
        return values.clamp(min=bound)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        (values,) = ctx.saved_tensors
        return gradient * ((values >= ctx.bound) | (gradient < 0)), None


def at_least(values: Tensor, bound: float) -> Tensor:
    """Return max(values, bound), whose gradient still leads values below the bound back up."""
    return _AtLeast.apply(values, bound)  # type: ignore[no-untyped-call]


Blocks = Callable[[int], nn.Module]  # channels -> the residual blocks of a stage
Layers = list[tuple[nn.Module, int]]  # with a number of channels each


def analysis_layers(
    sizes: Any, attention: Callable[[int], nn.Module] = ResidualAttention
) -> Layers:
    """Return the encoder's layers with their output channels, as ELIC's (He et al., CVPR 2022).

    `sizes` have the fields of `dimensions.ResidualSizes`: x ─ conv/2, blocks ─ conv/2, blocks,
    attention ─ conv/2, blocks ─ conv/2, attention ─> y.
    """
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
    """Return the decoder's layers with their input channels, those of the encoder in reverse."""
    make = blocks or (lambda channels: _bottlenecks(sizes.blocks, channels))
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
            layers.append((make(outputs), outputs))
        inputs = outputs
    return layers


def _bottlenecks(count: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBottleneck(channels) for _ in range(count)))


class GDN(nn.Module):
    """Generalised divisive normalisation of `channels` channels, or its approximate inverse.

    Ballé, Laparra, Simoncelli, "Density modeling of images using a generalized normalization
    transformation" (ICLR 2016): y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j^2), times it in a
    decoder. Parameters are roots.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self.inverse = inverse
        self.beta = nn.Parameter(torch.empty(channels))
        self.gamma = nn.Parameter(torch.empty(channels, channels))
        self.set(torch.ones(channels), START_GAMMA * torch.eye(channels))

    def set(self, beta: Tensor, gamma: Tensor) -> None:
        """Set beta (channels,), at least 1e-6, and gamma (channels, channels), at least 0."""
        with torch.no_grad():
            self.beta.copy_((beta.clamp(min=LEAST_BETA) + PEDESTAL).sqrt())
            self.gamma.copy_((gamma.clamp(min=0) + PEDESTAL).sqrt())

    def forward(self, features: Tensor) -> Tensor:
        """Normalise `features` (N, channels, H, W); the shape stays the same."""
        beta = at_least(self.beta, math.sqrt(LEAST_BETA + PEDESTAL)).square() - PEDESTAL
        gamma = at_least(self.gamma, math.sqrt(PEDESTAL)).square() - PEDESTAL
        sums = functional.conv2d(features.square(), gamma[:, :, None, None], beta)
        return features * (sums.sqrt() if self.inverse else sums.rsqrt())


def gdn_analysis(
    inputs: int, widths: Sequence[int], kernels: Sequence[tuple[int, int]]
) -> nn.Sequential:
    """Return convolutions of stride 2, a normalisation between each two of them."""
    layers: list[nn.Module] = []
    for (before, after), (rows, columns) in zip(pairwise((inputs, *widths)), kernels, strict=True):
        padding = (rows - 1) // 2, (columns - 1) // 2
        layers += [nn.Conv2d(before, after, (rows, columns), 2, padding), GDN(after)]
    return nn.Sequential(*layers[:-1])


def gdn_synthesis(inputs: int, widths: Sequence[int], kernel: int) -> nn.Sequential:
    """Return transposed convolutions of stride 2, an inverse normalisation between each two."""
    layers: list[nn.Module] = []
    for before, after in pairwise((inputs, *widths)):
        layers += [upsampling(before, after, kernel), GDN(after, inverse=True)]
    return nn.Sequential(*layers[:-1])
