"""Channel attention that weights the channels of features by the rate level."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.control import Control


class InterpolationChannelAttention(nn.Module):
    """Channel-wise x softplus(gain(q)) + bias(q), interpolated linearly between whole levels.

    Sun et al., "Interpolation Variable Rate Image Compression" (ACM MM 2021), in the form of CRDR:
    the raw gain is interpolated, then made positive. Initially the identity.
    """

    positive: Callable[[Tensor], Tensor] = staticmethod(functional.softplus)

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((levels, channels), math.log(math.e - 1)))
        self.bias = nn.Parameter(torch.zeros(levels, channels))

    def forward(self, features: Tensor, rate: Control) -> Tensor:
        """Weight `features` (N, C, H, W); they are overwritten while gradients are off."""
        gains = rate.map(lambda levels: self.positive(between_levels(self.gain, levels)))
        return gains.scale_and_shift(features, between_levels(self.bias, rate.levels))


def between_levels(vectors: Tensor, levels: Tensor) -> Tensor:
    """Interpolate vectors (L, C) of whole levels at K levels; return (K, C)."""
    below = levels.floor()
    above = (below + 1).clamp(max=len(vectors) - 1)
    share_below = (above - levels)[:, None]  # nothing at the last level, where both are the same
    return vectors[below.long()] * share_below + vectors[above.long()] * (1 - share_below)
