"""The objective of HiFiC: a rate near its target, distortion, LPIPS, and a GAN in the last stage.

Mentzer et al., "High-Fidelity Generative Image Compression" (NeurIPS 2020). The loss of a crop is
::

    150 MSE + w bpp + lpips LPIPS + gan GAN

with MSE of values in [0, 1]; w is lambda above the target rate, `lambda_below` otherwise. These are
the published weights, divided so that 152.4 becomes 150. The bits of rounded latents decide w, for
the batch; w multiplies the bits of noisy ones. In the first `early_steps` of a stage w is halved
and the target is 1/0.7 of its own, as published for 50,000 steps. Our choice: the discriminator is
updated on the generator's batch, where the authors take another.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from baselines.neural.network import Estimate, Network
from baselines.neural.perceptual import Perceptual
from baselines.neural.training.losses.conditional_gan import ConditionalAdversary, WeightedGanStage
from baselines.neural.training.losses.rate_distortion import terms, validate
from baselines.neural.training.objective import Batch, Loss, Setup, StageObjective, Validation
from baselines.neural.training.recipe import Count, Positive, Weight
from benchmark.codec import Pixels

# Factors of the weight of a bit and of the target in the first steps: models/hific/configs.py.
EARLY_WEIGHT, EARLY_TARGET = 0.5, 0.20 / 0.14


@dataclass(frozen=True, slots=True, kw_only=True)
class HificStage(WeightedGanStage):
    """Stage of HiFiC; `lambdas` has the weight above the target rate."""

    target_bpp: Positive
    lambda_below: Weight = 1 / 64
    early_steps: Count = 0  # with less weight on a bit and a higher target
    lpips: Weight = 1.0  # the GAN has .15 in the published second stage


class Hific(StageObjective):
    """The objective of one stage."""

    stage_type = HificStage
    frozen: ClassVar[Collection[str]] = ()

    _adversary: ConditionalAdversary | None

    def __init__(self, stage: HificStage, setup: Setup) -> None:
        self.stage, self._setup = stage, setup
        self._perceptual = Perceptual().to(setup.device) if stage.has_lpips else None
        self._adversary = ConditionalAdversary(setup, stage) if stage.has_gan else None

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step, and the discriminator's update."""
        crops, stage, adversary = batch.crops, self.stage, self._adversary
        with self._setup.precision():
            estimate: Estimate = network(crops, None)
            penalty = torch.zeros(len(crops), device=crops.device)
            numbers: dict[str, Tensor] = {}
            if self._perceptual is not None:
                distance = self._perceptual(crops, estimate.images)
                penalty = penalty + stage.lpips * distance
                numbers["lpips"] = distance.mean()
            if adversary is not None and estimate.latents is not None:
                losses = adversary.generator_loss(estimate.images, estimate.latents)
                penalty = penalty + stage.gan * losses
                numbers["generator"] = losses.mean()
        found = terms(crops, estimate.images, estimate.y_bits + estimate.z_bits)
        rounded = self._mean_bpp(estimate.rounded_bits, crops)
        (above,) = stage.lambdas
        early = step < stage.early_steps
        target = stage.target_bpp * (EARLY_TARGET if early else 1)
        weight = torch.where(rounded > target, above, stage.lambda_below)
        weight = weight * (EARLY_WEIGHT if early else 1)
        total = (found.loss(weight.expand(len(crops))) + penalty).mean()
        numbers |= {"mse": found.mse.mean(), "bpp": found.bpp.mean(), "rounded_bpp": rounded}

        def update(factor: float) -> Mapping[str, Tensor | float]:
            assert adversary is not None
            assert estimate.latents is not None
            with self._setup.precision():
                return adversary.update(crops, estimate.images, estimate.latents, factor)

        return Loss(total, numbers, update if adversary is not None else None)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return rate and distortion, which select no network: they are not all that counts."""
        return validate(network, self.stage.lambdas, photographs)._replace(selects=False)

    def _mean_bpp(self, bits: Tensor | None, crops: Tensor) -> Tensor:
        """Return the mean rate of the batch over all processes: a scalar without a gradient."""
        assert bits is not None
        return self._setup.workers.mean(bits.mean()) / crops[0, 0].numel()
