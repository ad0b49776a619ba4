"""Rate and distortion of crops, and their weighted sum, a loss for each crop."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from baselines.neural.blocks.control import Control
from baselines.neural.inference import BLOCK, to_images
from baselines.neural.network import Estimate, Network
from baselines.neural.training.objective import (
    Batch,
    Loss,
    StageObjective,
    Validation,
    ValidationPoint,
)
from benchmark.codec import Pixels

MSE_WEIGHT = 150.0  # of values in [0, 1]


class Terms(NamedTuple):
    """Distortion and rate of each crop, (n,)."""

    mse: Tensor  # of values in [0, 1]
    bpp: Tensor

    def loss(self, lambdas: Tensor) -> Tensor:
        """Return 150 MSE + lambda bpp, (n,)."""
        return MSE_WEIGHT * self.mse + lambdas * self.bpp


def terms(crops: Tensor, images: Tensor, bits: Tensor) -> Terms:
    """Return the terms of `crops` and reconstructions (n, 3, h, w) in [-1, 1], `bits` (n,)."""
    squared = (crops - images.float()).square()
    return Terms(squared.mean((1, 2, 3)) / 4, bits / (crops.shape[2] * crops.shape[3]))


def lambda_at(lambdas: Sequence[float], q: Tensor) -> Tensor:
    """Return lambda at each q, geometric between levels, for maps (n, a, b) their mean: (n,)."""
    logs = torch.tensor(lambdas, dtype=torch.float32).log().to(q.device, non_blocking=True)
    below = q.floor().clamp(max=len(logs) - 1)
    above = (below + 1).clamp(max=len(logs) - 1)
    between = torch.lerp(logs[below.long()], logs[above.long()], q - below)
    return (between if between.ndim == 1 else between.mean((1, 2))).exp()


class RateDistortion(StageObjective):
    """Base class of objectives of rate and distortion, validated at every level and at `betas`."""

    betas: Sequence[float] = (0.0,)

    @property
    def selects(self) -> bool:
        """True where the loss of a validation says which network of the stage is the best."""
        return self.betas == (0.0,)

    def conditions(self, network: Network, batch: Batch, step: int) -> tuple[Any, float, float]:
        """Return the network's controls, and the weights of MSE and of bpp in a step's loss."""
        raise NotImplementedError

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step without realism."""
        controls, of_mse, of_bpp = self.conditions(network, batch, step)
        with self._setup.precision():
            estimate: Estimate = network(batch.crops, controls)
        parts = terms(batch.crops, estimate.images, estimate.y_bits + estimate.z_bits)
        numbers = {"mse": parts.mse.mean(), "bpp": parts.bpp.mean()}
        return Loss((of_mse * parts.mse + of_bpp * parts.bpp).mean(), numbers)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation | None:
        """Return rate and distortion of whole photographs, uint8 (height, width, 3)."""
        quality = validate(network, self.stage.lambdas, photographs, self.betas)
        return quality._replace(selects=self.selects)


def validate(
    network: Network,
    lambdas: Sequence[float],
    photographs: Sequence[Pixels],
    betas: Sequence[float] = (0.0,),
) -> Validation:
    """Return estimated bpp and PSNR at the rate level of each of `lambdas` and at each of `betas`.

    photographs: uint8 (height, width, 3), cut to multiples of 64. Bits are an ideal coder's, images
    not yet of 8 bits. The loss is the mean over rates of log(lambda^-.5 (150 MSE + lambda bpp)).
    """
    device = next(network.parameters()).device
    points, losses = [], []
    with torch.no_grad():
        pictures = []
        for pixels in photographs:
            height, width = (side // BLOCK * BLOCK for side in pixels.shape[:2])
            pictures.append(to_images(pixels[:height, :width], device))
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
