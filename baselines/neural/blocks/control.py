"""Control of layers by one level, by a level for each image, or by a map of levels.

A layer has a vector per level, applied to a map's cells through a view (N, C, h, H / h, w, W / w).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import ResidualBottleneck

Level = float | Tensor  # one level; levels (N,) of images; or a map of levels (N, 1, h, w)


class IndexedLevels(NamedTuple):
    """K distinct levels, or a vector computed from each level, with their positions."""

    # if gradients are disabled, methods overwrite features, which saves a tenth of decoding time

    levels: Tensor  # (K,) values, or (K, C) vectors computed from them
    # (N, h, w) indices of levels; None: one level for all images, or one level per image
    indices: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> "IndexedLevels":
        """Apply `function` to the distinct levels; positions stay the same."""
        return IndexedLevels(function(self.levels), self.indices)

    def shift(self, features: Tensor) -> Tensor:
        """Add the vectors (K, C) to `features` (N, C, H, W) at their positions."""
        return self._modulate(features, None, self.levels)

    def scale(self, features: Tensor, shifts: Tensor | None = None) -> Tensor:
        """Multiply `features` (N, C, H, W) by the vectors (K, C), then add `shifts` (K, C)."""
        return self._modulate(features, self.levels, shifts)

    def _modulate(self, features: Tensor, scales: Tensor | None, shifts: Tensor | None) -> Tensor:
        cells, overwrites = features, not torch.is_grad_enabled()
        if self.indices is not None:
            _, rows, columns = self.indices.shape
            height = features.shape[2] // rows
            cells = features.view(*features.shape[:2], rows, height, columns, -1)
        if scales is not None:
            factors = self._gather(scales, features)
            cells, overwrites = cells.mul_(factors) if overwrites else cells * factors, True
        if shifts is not None:
            offsets = self._gather(shifts, features)
            cells = cells.add_(offsets) if overwrites else cells + offsets
        # Only maps need views: the backward pass of an operation that overwrites a view copies all
        # features, and converts them from channels last to channels first.
        return cells if self.indices is None else cells.view(features.shape)

    def _gather(self, vectors: Tensor, features: Tensor) -> Tensor:
        # autocast does not convert vectors to the dtype of `features`
        vectors = vectors.to(features.dtype)
        if self.indices is None:
            return vectors[:, :, None, None]
        return vectors[self.indices].permute(0, 3, 1, 2)[:, :, :, None, :, None]


def convert_level(
    level: "Level | IndexedLevels", highest: float, features: Tensor
) -> IndexedLevels:
    """Convert levels in 0..`highest` to `IndexedLevels`; raises `ValueError` for other levels.

    A map's sides must divide the sides of all features that it controls. features: (N, C, H, W).
    """
    if isinstance(level, IndexedLevels):
        return level
    levels = torch.as_tensor(level, dtype=torch.float32).to(features.device)
    if not bool(((levels >= 0) & (levels <= highest)).all()):
        extent = f"{float(levels.min()):g}..{float(levels.max()):g}"
        raise ValueError(f"levels {extent} are not within 0..{highest:g}")
    if levels.ndim < 2:
        return IndexedLevels(levels.reshape(-1), None)
    distinct_levels, indices = torch.unique(levels[:, 0], return_inverse=True)
    return IndexedLevels(distinct_levels, None if len(distinct_levels) == 1 else indices)


class InterpolationChannelAttention(nn.Module):
    """x softplus(gain(q)) + bias(q) per channel, both interpolated in q (Sun et al., 2021)."""

    positive: Callable[[Tensor], Tensor] = staticmethod(functional.softplus)

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((levels, channels), math.log(math.e - 1)))
        self.bias = nn.Parameter(torch.zeros(levels, channels))

    def forward(self, features: Tensor, rate: IndexedLevels) -> Tensor:
        """Scale and shift `features` (N, C, H, W); in place if gradients are disabled."""
        gains = rate.map(lambda levels: self.positive(interpolate_levels(self.gain, levels)))
        return gains.scale(features, interpolate_levels(self.bias, rate.levels))


def interpolate_levels(vectors: Tensor, levels: Tensor) -> Tensor:
    """Return vectors (K, C) at K levels, interpolated between `vectors` (L, C) at integers."""
    lower = levels.floor()
    upper = (lower + 1).clamp(max=len(vectors) - 1)
    lower_share = (upper - levels)[:, None]  # 0 at the last level, where lower equals upper
    return vectors[lower.long()] * lower_share + vectors[upper.long()] * (1 - lower_share)


class ConditionedBottleneck(ResidualBottleneck):
    """Residual bottleneck that adds an embedded level after each convolution and its ReLU."""

    # Agustsson et al. (CVPR 2023)

    def __init__(self, channels: int, width: int, *, bias: bool = True) -> None:
        super().__init__(channels)
        inner_channels = channels // 2
        self.project = nn.ModuleList(
            nn.Linear(width, outputs, bias=bias)
            for outputs in (inner_channels, inner_channels, channels)
        )

    def forward(self, features: Tensor, condition: IndexedLevels) -> Tensor:  # type: ignore[override]
        """Apply the block to `features` (N, C, H, W) with vectors (K, width)."""
        reduce_shifts, mix_shifts, expand_shifts = (condition.map(layer) for layer in self.project)
        inner = reduce_shifts.shift(self.reduce(features).relu_())
        inner = mix_shifts.shift(self.mix(inner).relu_())
        return expand_shifts.shift(self.expand(inner)).add_(features)


class ConditionedBottlenecks(nn.ModuleList):
    """Sequence of `count` bottlenecks, conditioned on vectors of `width`."""

    def __init__(self, count: int, channels: int, width: int, *, bias: bool = True) -> None:
        super().__init__(ConditionedBottleneck(channels, width, bias=bias) for _ in range(count))

    def forward(self, features: Tensor, condition: IndexedLevels) -> Tensor:
        """Apply the blocks to `features` (N, C, H, W) in turn."""
        for block in self:
            features = block(features, condition)
        return features
