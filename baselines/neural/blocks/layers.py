"""Layers of learned codecs, from (N, C, H, W) to (N, C', H', W').

A convolution pads with zeros, so that only its stride changes the resolution.
"""

import platform
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

# MKL adds up more products than this in two parts, which rounds otherwise than oneDNN.
MOST_IN_ONE_SUM = 192
EPSILON = 1e-3


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

    For few images and one thread, torch takes MKL, which is twice as slow on other makers'
    processors with AVX-512; the dilation makes it choose oneDNN. Layers with more inputs than
    MOST_IN_ONE_SUM are left alone, so that no layer's rounding changes.
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
        and platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and bool(torch.backends.mkldnn.enabled)
    )


def upsampling(inputs: int, outputs: int, kernel: int) -> nn.ConvTranspose2d:
    """Return a transposed convolution of stride 2, from (H, W) to (2 H, 2 W)."""
    return nn.ConvTranspose2d(
        inputs, outputs, kernel, stride=2, padding=kernel // 2, output_padding=1
    )


class ResidualBottleneck(nn.Module):
    """Bottleneck x + expand(relu(mix(relu(reduce(x))))), half as wide inside, kernels 1, 3, 1.

    The block of ELIC (He et al., CVPR 2022) and of the attention of Cheng et al. (CVPR 2020).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = channels // 2
        self.reduce = convolution(channels, inside, 1)
        self.mix = convolution(inside, inside, 3)
        self.expand = convolution(inside, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Apply the block to `features` (N, C, H, W); the shape stays the same."""
        inside = self.mix(self.reduce(features).relu_()).relu_()
        expanded: Tensor = self.expand(inside)
        return expanded.add_(features)


class ResidualAttention(nn.Module):
    """Simplified attention of Cheng et al. (CVPR 2020): x + trunk(x) * sigmoid(gate(x)).

    Trunk and gate are three bottlenecks each; a 1 x 1 convolution ends the gate.
    """

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
        gate: Tensor = self.gate(features)
        gated: Tensor = self.trunk(features) * self.squash(gate)
        return gated.add_(features)


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

    Mentzer et al., "High-Fidelity Generative Image Compression" (NeurIPS 2020); the variance is
    unbiased. Position by position, so that no image's size or tiling matters.
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
    bounded: Tensor = _AtLeast.apply(values, bound)  # type: ignore[no-untyped-call]
    return bounded
