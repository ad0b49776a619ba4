"""Residual blocks of a decoder, conditioned on a vector for each level.

Agustsson et al., "Multi-Realism Image Compression with a Conditional Generator" (CVPR 2023): the
vector is an embedded realism weight. A map of levels takes each position's own vector.
"""

from torch import Tensor, nn

from baselines.neural.blocks.control import Control
from baselines.neural.blocks.layers import ResidualBottleneck


class ConditionedBottleneck(ResidualBottleneck):
    """Residual bottleneck with a projection of an embedded level added after each convolution.

    Where a ReLU follows the convolution, after the ReLU.
    """

    def __init__(self, channels: int, width: int, *, bias: bool = True) -> None:
        super().__init__(channels)
        inside = channels // 2
        self.project = nn.ModuleList(
            nn.Linear(width, one, bias=bias) for one in (inside, inside, channels)
        )

    def forward(self, features: Tensor, condition: Control) -> Tensor:  # type: ignore[override]
        """Apply the block to `features` (N, C, H, W) with vectors (K, width)."""
        first, second, third = (condition.map(one) for one in self.project)
        inside = first.shift(self.reduce(features).relu_())
        inside = second.shift(self.mix(inside).relu_())
        return third.shift(self.expand(inside)).add_(features)


class ConditionedBottlenecks(nn.ModuleList):
    """Sequence of conditioned bottlenecks."""

    @classmethod
    def of(
        cls, count: int, channels: int, width: int, *, bias: bool = True
    ) -> "ConditionedBottlenecks":
        """Return `count` blocks, conditioned on vectors of `width`."""
        return cls(ConditionedBottleneck(channels, width, bias=bias) for _ in range(count))

    def forward(self, features: Tensor, condition: Control) -> Tensor:
        """Apply the blocks to `features` (N, C, H, W) one after another."""
        for block in self:
            features = block(features, condition)
        return features
