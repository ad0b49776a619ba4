"""The objective of Multi-Realism: one rate, and a realism weight beta drawn for each crop.

Agustsson et al., "Multi-Realism Image Compression with a Conditional Generator" (CVPR 2023). The
loss of a crop is ::

    s (150 MSE + lambda bpp + beta (lpips_per_beta LPIPS + gan_per_beta GAN))

with MSE of values in [0, 1], beta uniform in [0, 2.56], s = 1 or lambda^-.5 where `balanced`. The
published weights, divided so that 650.25 becomes 150, are .983 and .231. In the `early_share` of a
stage's steps lambda is ten times as large, as published for 15 %. Our choices: a share of
the crops has beta 0, and the discriminator is updated on the generator's batch.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from baselines.neural.blocks.control import Control
from baselines.neural.multirealism.model import HIGHEST_BETA
from baselines.neural.network import Estimate, Network
from baselines.neural.perceptual import Perceptual
from baselines.neural.training.losses.conditional_gan import ConditionalAdversary, GanStage
from baselines.neural.training.losses.rate_distortion import terms, validate
from baselines.neural.training.objective import Batch, Loss, Setup, StageObjective, Validation
from baselines.neural.training.recipe import Share, Weight
from benchmark.codec import Pixels

EARLY_WEIGHT = 10.0  # factor of lambda in the first steps


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiRealismStage(GanStage):
    """Stage of Multi-Realism; without LPIPS and GAN all crops have beta 0."""

    lpips_per_beta: Weight = 0.0
    gan_per_beta: Weight = 0.0
    zero_beta_share: Share = 0.0  # of the crops, whose beta is 0
    early_share: Share = 0.0  # of the steps, the first ones, with a larger lambda
    balanced: bool = False

    @property
    def has_gan(self) -> bool:
        """True if a GAN is part of the loss."""
        return self.gan_per_beta > 0

    @property
    def has_lpips(self) -> bool:
        """True if LPIPS is part of the loss."""
        return self.lpips_per_beta > 0


class MultiRealism(StageObjective):
    """The objective of one stage."""

    stage_type = MultiRealismStage
    frozen: ClassVar[Collection[str]] = ()

    _adversary: ConditionalAdversary | None

    def __init__(self, stage: MultiRealismStage, setup: Setup) -> None:
        self.stage, self._setup = stage, setup
        self._perceptual = Perceptual().to(setup.device) if stage.has_lpips else None
        self._adversary = ConditionalAdversary(setup, stage) if stage.has_gan else None

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step at betas drawn for it, and the discriminator's update."""
        crops, stage, adversary = batch.crops, self.stage, self._adversary
        beta = self._betas(step)[batch.first : batch.first + len(crops)].to(crops.device)
        with self._setup.precision():
            estimate: Estimate = network(crops, Control(beta, None))
            penalty = torch.zeros(len(crops), device=crops.device)
            numbers: dict[str, Tensor] = {}
            if self._perceptual is not None:
                distance = self._perceptual(crops, estimate.images, beta)
                penalty = penalty + stage.lpips_per_beta * distance
                numbers["lpips"] = distance.mean() / beta.mean().clamp(min=1e-6)
            if adversary is not None and estimate.latents is not None:
                losses = beta * adversary.generator_loss(estimate.images, estimate.latents)
                penalty = penalty + stage.gan_per_beta * losses
                numbers["generator"] = losses.mean() / beta.mean().clamp(min=1e-6)
        found = terms(crops, estimate.images, estimate.y_bits + estimate.z_bits)
        (weight,) = stage.lambdas
        if step < stage.early_share * stage.steps:
            weight *= EARLY_WEIGHT
        scale = weight**-0.5 if stage.balanced else 1.0
        weights = torch.full_like(found.mse, weight)
        total = scale * (found.loss(weights) + penalty).mean()
        numbers |= {"mse": found.mse.mean(), "bpp": found.bpp.mean()}

        def update(factor: float) -> Mapping[str, Tensor | float]:
            assert adversary is not None
            assert estimate.latents is not None
            with self._setup.precision():
                return adversary.update(crops, estimate.images, estimate.latents, factor)

        return Loss(total, numbers, update if adversary is not None else None)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return rate and distortion at beta 0 and the highest, which select before realism."""
        realistic = self.stage.has_lpips or self.stage.has_gan
        betas = (0.0, HIGHEST_BETA) if realistic else (0.0,)
        found = validate(network, self.stage.lambdas, photographs, betas)
        return found._replace(selects=not realistic)

    def _betas(self, step: int) -> Tensor:
        """Return the betas of the crops of a step in all processes, (batch,)."""
        random = self._setup.random(step)
        drawn = random.uniform(0, HIGHEST_BETA, self.stage.batch)
        zero = random.uniform(size=self.stage.batch) < self.stage.zero_beta_share
        if not (self.stage.has_lpips or self.stage.has_gan):
            zero[:] = True
        drawn[zero] = 0
        return torch.from_numpy(drawn).float()
