"""Rate and distortion of crops, and their weighted sum, one loss for each crop.

The weights are those of the published configuration of Iwai et al., "Controlling Rate, Distortion,
and Realism" (WACV 2024); 150 for values in [0, 1] is HiFiC's weight too, up to two percent.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from baselines.neural.blocks.control import Control
from baselines.neural.network import Network
from baselines.neural.training.objective import Validation, ValidationPoint
from benchmark.codec import Pixels

BLOCK = 64  # pixels
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


def validate(
    network: Network,
    lambdas: Sequence[float],
    photographs: Sequence[Pixels],
    betas: Sequence[float] = (0.0,),
) -> Validation:
    """Return estimated bpp and PSNR at the rate level of each of `lambdas` and at each of `betas`.

    photographs: uint8 (height, width, 3), cut to multiples of 64 at the right and bottom. Bits are
    an ideal coder's, images not yet of 8 bits: for choosing between checkpoints, no measurement.
    The loss is the mean over rates of log(lambda^-.5 (150 MSE + lambda bpp)) at beta 0.
    """
    device = next(network.parameters()).device
    points, losses = [], []
    with torch.no_grad():
        pictures = []
        for pixels in photographs:
            height, width = (side // BLOCK * BLOCK for side in pixels.shape[:2])
            planes = torch.from_numpy(pixels[:height, :width].copy()).permute(2, 0, 1)[None]
            pictures.append((planes.float() / 127.5 - 1).to(device))
        for q in range(len(lambdas)):
            rate = Control(torch.tensor([float(q)], device=device), None)
            for beta in betas:
                realism = Control(torch.tensor([beta], device=device), None)
                bpp, psnr = 0.0, 0.0
                for picture in pictures:
                    coded = network(picture, network.controls_at(rate, realism), noisy=False)
                    bits = coded.y_bits + coded.z_bits
                    measured = terms(picture, coded.images.clamp(-1, 1), bits)
                    bpp += float(measured.bpp) / len(pictures)
                    psnr -= 10 * math.log10(float(measured.mse)) / len(pictures)
                    if beta == 0:
                        weight = lambda_at(lambdas, rate.levels)
                        losses.append(math.log(float(measured.loss(weight) * weight.rsqrt())))
                points.append(ValidationPoint(float(q), beta, bpp, psnr))
    return Validation(tuple(points), math.fsum(losses) / len(losses))
