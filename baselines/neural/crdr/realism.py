"""Conditioning of the decoder's residual blocks on the realism weight beta.

::

    beta ─ fourier ─ 20 ─ linear, relu, linear ─ C ─┬─ linear ─> + after the block's 1st convolution
                                                    ├─ linear ─> + after its 2nd
                                                    └─ linear ─> + after its 3rd

Agustsson et al., "Multi-Realism Image Compression with a Conditional Generator" (CVPR 2023). All
of it is computed once for each distinct beta; for a map of beta, results are gathered by position.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from baselines.neural.blocks.control import Control
from baselines.neural.blocks.layers import ResidualBottleneck
from baselines.neural.crdr.sizes import FOURIER_CHANNELS

HIGHEST_BETA = 5.12


def fourier(betas: Tensor) -> Tensor:
    """Return ten sines, then ten cosines, of 2^i times beta mapped to [-1, 1]; (K,) to (K, 20).

    >>> fourier(torch.tensor([2.56]))[0, [0, 9, 10, 19]]
    tensor([0., 0., 1., 1.])
    """
    frequencies = 2.0 ** torch.arange(FOURIER_CHANNELS // 2, device=betas.device)
    angles = ((betas / HIGHEST_BETA - 0.5) * 2)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class RealismEmbedding(nn.Module):
    """Embedding of beta: two linear layers on its Fourier features."""

    features: Callable[[Tensor], Tensor] = staticmethod(fourier)

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(FOURIER_CHANNELS, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, realism: Control) -> Control:
        """Embed levels (K,) as vectors (K, width)."""
        return realism.map(lambda betas: self.layers(self.features(betas)))


class ConditionedBottleneck(ResidualBottleneck):
    """Residual bottleneck with a projection of the embedded beta added after each convolution.

    Where a ReLU follows the convolution, after the ReLU.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels)
        inside = channels // 2
        self.project = nn.ModuleList(nn.Linear(width, one) for one in (inside, inside, channels))

    def forward(self, features: Tensor, condition: Control) -> Tensor:  # type: ignore[override]
        """Apply the block to `features` (N, C, H, W) with vectors (K, width)."""
        first, second, third = (condition.map(one) for one in self.project)
        inside = first.shift(self.reduce(features).relu_())
        inside = second.shift(self.mix(inside).relu_())
        return third.shift(self.expand(inside)).add_(features)


class ConditionedBottlenecks(nn.ModuleList):
    """Sequence of conditioned bottlenecks."""

    def forward(self, features: Tensor, condition: Control) -> Tensor:
        """Apply the blocks to `features` (N, C, H, W) one after another."""
        for block in self:
            features = block(features, condition)
        return features
