"""Estimated rate and distortion of a network on photographs that it has not learnt from.

Bits are those of an ideal coder for the rounded latents; images are whole and not yet of 8 bits:
good for choosing between checkpoints, not a measurement.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from baselines.neural.blocks.control import Control
from baselines.neural.network import Network
from baselines.neural.training.losses.rate_distortion import lambda_at, terms
from baselines.neural.training.objective import Validation, ValidationPoint
from benchmark.codec import Pixels

BLOCK = 64  # pixels


def validate(
    network: Network,
    lambdas: Sequence[float],
    photographs: Sequence[Pixels],
    betas: Sequence[float] = (0.0,),
) -> Validation:
    """Return bpp and PSNR at the rate level of each of `lambdas` and at each of `betas`.

    photographs: uint8 (height, width, 3), cut to multiples of 64 at the right and bottom. The loss
    is the mean over rates of log(lambda^-.5 (150 MSE + lambda bpp)) at beta 0.
    """
    device = next(network.parameters()).device
    points, losses = [], []
    with torch.no_grad():
        pictures = [_cut(one).to(device) for one in photographs]
        for q in range(len(lambdas)):
            rate = Control(torch.tensor([float(q)], device=device), None)
            for beta in betas:
                realism = Control(torch.tensor([beta], device=device), None)
                bpp, psnr = 0.0, 0.0
                for picture in pictures:
                    controls = network.controls_at(rate, realism)
                    found = network(picture, controls, noisy=False)
                    one = terms(picture, found.images.clamp(-1, 1), found.y_bits + found.z_bits)
                    bpp += float(one.bpp) / len(pictures)
                    psnr -= 10 * math.log10(float(one.mse)) / len(pictures)
                    if beta == 0:
                        weight = lambda_at(lambdas, rate.levels)
                        losses.append(math.log(float(one.loss(weight) * weight.rsqrt())))
                points.append(ValidationPoint(float(q), beta, bpp, psnr))
    return Validation(tuple(points), math.fsum(losses) / len(losses))


def _cut(pixels: Pixels) -> Tensor:
    height, width = (side // BLOCK * BLOCK for side in pixels.shape[:2])
    planes = torch.from_numpy(pixels[:height, :width].copy()).permute(2, 0, 1)[None]
    return planes.float() / 127.5 - 1
