"""Features and a rate level -> features whose channels are weighted for that level."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.control import Control


class InterpolationChannelAttention(nn.Module):
    """x softplus(gain(q)) + bias(q), each a vector over channels, linear between whole levels.

    Sun et al., "Interpolation Variable Rate Image Compression" (ACM MM 2021), in the form of CRDR:
    the raw gain is interpolated, then made positive. Starts as the identity.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((levels, channels), math.log(math.e - 1)))
        self.bias = nn.Parameter(torch.zeros(levels, channels))

    def forward(self, features: Tensor, rate: Control) -> Tensor:
        """(N, C, H, W), overwritten while gradients are off, to the same shape."""
        gains = rate.map(lambda levels: functional.softplus(_between(self.gain, levels)))
        return gains.scale_and_shift(features, _between(self.bias, rate.levels))


def _between(vectors: Tensor, levels: Tensor) -> Tensor:
    """(L, C) at K real levels: (K, C)."""
    below = levels.floor()
    above = (below + 1).clamp(max=len(vectors) - 1)
    share_below = (above - levels)[:, None]  # nothing at the last level, where both are the same
    return vectors[below.long()] * share_below + vectors[above.long()] * (1 - share_below)
