"""Control of layers by a level, by a level for each image, or by a map of levels.

A layer has a vector for each distinct level; a position takes that of its level, gathered at the
map's own coarse resolution, through a view of shape (N, C, h, H / h, w, W / w).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import ResidualBottleneck

Level = float | Tensor  # a level; (N,), for each image; or (N, 1, h, w), a map of levels


class PlacedLevels(NamedTuple):
    """K distinct levels, or a vector computed from each, and the positions of each.

    While gradients are off, features are overwritten, which saves a tenth of a decoder's time.
    """

    levels: Tensor  # (K,) values, or (K, C) vectors computed from them
    where: Tensor | None  # (N, h, w) indices of levels; None: K = 1 holds everywhere, K = N in turn

    def map(self, function: Callable[[Tensor], Tensor]) -> "PlacedLevels":
        """Apply `function` to the distinct levels; positions stay the same."""
        return PlacedLevels(function(self.levels), self.where)

    def shift(self, features: Tensor) -> Tensor:
        """Add to `features` (N, C, H, W) the vectors (K, C) of their positions."""
        return self._applied(features, None, self.levels)

    def scale(self, features: Tensor, shifts: Tensor | None = None) -> Tensor:
        """Multiply `features` (N, C, H, W) by the vectors (K, C), then add any `shifts` (K, C)."""
        return self._applied(features, self.levels, shifts)

    def _applied(self, features: Tensor, scales: Tensor | None, shifts: Tensor | None) -> Tensor:
        cells, overwrite = features, not torch.is_grad_enabled()
        if self.where is not None:
            _, rows, columns = self.where.shape
            height = features.shape[2] // rows
            cells = features.view(*features.shape[:2], rows, height, columns, -1)
        if scales is not None:
            spread = self._spread(scales, features)
            cells, overwrite = cells.mul_(spread) if overwrite else cells * spread, True
        if shifts is not None:
            spread = self._spread(shifts, features)
            cells = cells.add_(spread) if overwrite else cells + spread
        # Not a view where nothing has to change: the backward pass of an operation that overwrites
        # a view copies whole features, and turns them from channels last to channels first.
        return cells if self.where is None else cells.view(features.shape)

    def _spread(self, vectors: Tensor, like: Tensor) -> Tensor:
        """Gather `vectors` (K, C) by position, in the type of `like`: autocast would widen it."""
        vectors = vectors.to(like.dtype)
        if self.where is None:
            return vectors[:, :, None, None]
        return vectors[self.where].permute(0, 3, 1, 2)[:, :, :, None, :, None]


def placed_levels(level: "Level | PlacedLevels", highest: float, like: Tensor) -> PlacedLevels:
    """Return the control for levels from 0 to `highest`, on the device of `like` (N, C, H, W).

    The sides of a map divide those of every layer that it controls. Raises `ValueError` for levels
    out of range.
    """
    if isinstance(level, PlacedLevels):
        return level
    levels = torch.as_tensor(level, dtype=torch.float32).to(like.device)
    if not bool(((levels >= 0) & (levels <= highest)).all()):
        extent = f"{float(levels.min()):g}..{float(levels.max()):g}"
        raise ValueError(f"levels of {extent} are not within 0..{highest:g}")
    if levels.ndim < 2:
        return PlacedLevels(levels.reshape(-1), None)
    distinct, where = torch.unique(levels[:, 0], return_inverse=True)
    return PlacedLevels(distinct, None if len(distinct) == 1 else where)


class InterpolationChannelAttention(nn.Module):
    """Channel-wise x softplus(gain(q)) + bias(q), linear between levels (Sun et al., 2021)."""

    positive: Callable[[Tensor], Tensor] = staticmethod(functional.softplus)

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((levels, channels), math.log(math.e - 1)))
        self.bias = nn.Parameter(torch.zeros(levels, channels))

    def forward(self, features: Tensor, rate: PlacedLevels) -> Tensor:
        """Weight `features` (N, C, H, W); they are overwritten while gradients are off."""
        gains = rate.map(lambda levels: self.positive(between_levels(self.gain, levels)))
        return gains.scale(features, between_levels(self.bias, rate.levels))


def between_levels(vectors: Tensor, levels: Tensor) -> Tensor:
    """Interpolate vectors (L, C) of integer levels at K levels; return (K, C)."""
    below = levels.floor()
    above = (below + 1).clamp(max=len(vectors) - 1)
    share_below = (above - levels)[:, None]  # nothing at the last level, where both are the same
    return vectors[below.long()] * share_below + vectors[above.long()] * (1 - share_below)


class ConditionedBottleneck(ResidualBottleneck):
    """Residual bottleneck with a projection of an embedded level added after each convolution.

    Agustsson et al. (CVPR 2023). It follows the ReLU, where there is one.
    """

    def __init__(self, channels: int, width: int, *, bias: bool = True) -> None:
        super().__init__(channels)
        inside = channels // 2
        self.project = nn.ModuleList(
            nn.Linear(width, outputs, bias=bias) for outputs in (inside, inside, channels)
        )

    def forward(self, features: Tensor, condition: PlacedLevels) -> Tensor:  # type: ignore[override]
        """Apply the block to `features` (N, C, H, W) with vectors (K, width)."""
        first, second, third = (condition.map(project) for project in self.project)
        inside = first.shift(self.reduce(features).relu_())
        inside = second.shift(self.mix(inside).relu_())
        return third.shift(self.expand(inside)).add_(features)


class ConditionedBottlenecks(nn.ModuleList):
    """Sequence of `count` bottlenecks, conditioned on vectors of `width`."""

    def __init__(self, count: int, channels: int, width: int, *, bias: bool = True) -> None:
        super().__init__(ConditionedBottleneck(channels, width, bias=bias) for _ in range(count))

    def forward(self, features: Tensor, condition: PlacedLevels) -> Tensor:
        """Apply the blocks to `features` (N, C, H, W) in turn."""
        for block in self:
            features = block(features, condition)
        return features
