"""Layers that learned codecs consist of.

All map (N, C, H, W) to (N, C', H', W'). A convolution pads with zeros, so that only its stride
changes the resolution.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution with a bias, from (H, W) to (H, W) / stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)


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
        inside = self.reduce(features).relu_()
        inside = self.mix(inside).relu_()
        expanded: Tensor = self.expand(inside)
        return expanded.add_(features)


class ResidualAttention(nn.Module):
    """Simplified attention of Cheng et al. (CVPR 2020): x + trunk(x) * sigmoid(gate(x)).

    ::

        x ─┬─────────────────────────────────────── + ──>
           ├─ trunk: 3 bottlenecks ─────────── x ───┘
           └─ gate: 3 bottlenecks, 1x1, sigmoid ┘
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
