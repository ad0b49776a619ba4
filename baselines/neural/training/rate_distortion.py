"""Crops, their reconstructions and bits -> the loss of rate and distortion, one for each crop.

Iwai et al., "Controlling Rate, Distortion, and Realism" (WACV 2024), equations of L_dist and
L_cond without their perceptual terms; the weights are those of the published configuration.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from baselines.neural.training.recipe import Stage

MSE_WEIGHT = 150.0  # of values in [0, 1]


class Terms(NamedTuple):
    """Of each crop, (n,)."""

    mse: Tensor  # of values in [0, 1]
    bpp: Tensor

    def loss(self, lambdas: Tensor) -> Tensor:
        """150 MSE + lambda bpp, (n,)."""
        return MSE_WEIGHT * self.mse + lambdas * self.bpp


def terms(crops: Tensor, images: Tensor, bits: Tensor) -> Terms:
    """Crops and images (n, 3, h, w) in [-1, 1], bits (n,).

    >>> terms(torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2), torch.tensor([8.0]))
    Terms(mse=tensor([1.]), bpp=tensor([2.]))
    """
    squared = (crops - images.float()).square()
    return Terms(squared.mean((1, 2, 3)) / 4, bits / (crops.shape[2] * crops.shape[3]))


def lambda_at(stage: Stage, q: Tensor) -> Tensor:
    """Of each q, geometrically between the levels; same shape.

    For maps (n, cells, cells), a crop's lambda is the geometric mean over its cells, (n,).
    """
    logs = torch.tensor(stage.lambdas, dtype=torch.float32, device=q.device).log()
    below = q.floor().clamp(max=len(logs) - 1)
    above = (below + 1).clamp(max=len(logs) - 1)
    between = torch.lerp(logs[below.long()], logs[above.long()], q - below)
    return (between if between.ndim == 1 else between.mean((1, 2))).exp()


def towards_target(stage: Stage, q: float, bpp: Tensor, lambdas: Tensor) -> Tensor:
    """The published rule: lambda while a batch, all at whole q, is above its target; else another.

    `bpp` (n,) of rounded latents, `lambdas` (n,); the same lambda for the whole batch, (n,).
    """
    if not stage.targets_bpp:
        return lambdas
    above = bpp.mean() > stage.targets_bpp[int(q)]
    return torch.where(above, lambdas, torch.full_like(lambdas, stage.lambda_below))
