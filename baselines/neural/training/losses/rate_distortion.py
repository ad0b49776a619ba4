"""Rate and distortion of crops, and their weighted sum, one loss for each crop.

The weights are those of the published configuration of Iwai et al., "Controlling Rate, Distortion,
and Realism" (WACV 2024); 150 for values in [0, 1] is HiFiC's weight too, up to two percent.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MSE_WEIGHT = 150.0  # of values in [0, 1]


class Terms(NamedTuple):
    """Distortion and rate of each crop, (n,)."""

    mse: Tensor  # of values in [0, 1]
    bpp: Tensor

    def loss(self, lambdas: Tensor) -> Tensor:
        """Return 150 MSE + lambda bpp, (n,)."""
        return MSE_WEIGHT * self.mse + lambdas * self.bpp


def terms(crops: Tensor, images: Tensor, bits: Tensor) -> Terms:
    """Return the terms of `crops` and reconstructions (n, 3, h, w) in [-1, 1], `bits` (n,).

    >>> terms(torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2), torch.tensor([8.0]))
    Terms(mse=tensor([1.]), bpp=tensor([2.]))
    """
    squared = (crops - images.float()).square()
    return Terms(squared.mean((1, 2, 3)) / 4, bits / (crops.shape[2] * crops.shape[3]))


def lambda_at(lambdas: Sequence[float], q: Tensor) -> Tensor:
    """Return lambda at each q, geometrically between the levels 0, 1, ...; of the shape of `q`.

    For maps (n, cells, cells), a crop's lambda is the geometric mean over its cells, (n,).
    """
    logs = torch.tensor(lambdas, dtype=torch.float32, device=q.device).log()
    below = q.floor().clamp(max=len(logs) - 1)
    above = (below + 1).clamp(max=len(logs) - 1)
    between = torch.lerp(logs[below.long()], logs[above.long()], q - below)
    return (between if between.ndim == 1 else between.mean((1, 2))).exp()
