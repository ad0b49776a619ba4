"""A network and photographs it has not seen -> what it costs at each whole rate, estimated.

The bits are those of an ideal coder for the rounded latents, the pictures whole and not yet of 8
bits: good for choosing between checkpoints, no measurement.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from baselines.neural.blocks.control import Control
from baselines.neural.training.rate_distortion import lambda_at, terms
from baselines.neural.training.recipe import Stage
from benchmark.codec import Pixels

BLOCK = 64
REALISTIC = 3.84  # the beta that is reported beside 0


class Point(NamedTuple):
    """At one q and beta, means over the photographs."""

    q: float
    beta: float
    bpp: float
    psnr_db: float


class Validation(NamedTuple):
    """Of one state of the network."""

    points: tuple[Point, ...]
    loss: float  # mean over rates of log(lambda^-.5 (150 MSE + lambda bpp)) at beta 0


def validate(network: nn.Module, stage: Stage, photographs: Sequence[Pixels]) -> Validation:
    """Photographs uint8 (height, width, 3), cut to multiples of 64 at the right and bottom."""
    device = next(network.parameters()).device
    betas = (0.0, REALISTIC) if stage.kind == "realism" else (0.0,)
    points, losses = [], []
    with torch.no_grad():
        pictures = [_cut(one).to(device) for one in photographs]
        for q in range(len(stage.lambdas)):
            rate = Control(torch.tensor([float(q)], device=device), None)
            for beta in betas:
                realism = Control(torch.tensor([beta], device=device), None)
                bpp, psnr = 0.0, 0.0
                for picture in pictures:
                    found = network(picture, rate, realism, noisy=False)
                    one = terms(picture, found.images.clamp(-1, 1), found.y_bits + found.z_bits)
                    bpp += float(one.bpp) / len(pictures)
                    psnr -= 10 * math.log10(float(one.mse)) / len(pictures)
                    if beta == 0:
                        weight = lambda_at(stage, rate.levels)
                        losses.append(math.log(float(one.loss(weight) * weight.rsqrt())))
                points.append(Point(float(q), beta, bpp, psnr))
    return Validation(tuple(points), math.fsum(losses) / len(losses))


def _cut(pixels: Pixels) -> torch.Tensor:
    height, width = (side // BLOCK * BLOCK for side in pixels.shape[:2])
    planes = torch.from_numpy(pixels[:height, :width].copy()).permute(2, 0, 1)[None]
    return planes.float() / 127.5 - 1
