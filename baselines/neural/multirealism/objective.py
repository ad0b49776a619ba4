"""The objective of Multi-Realism: a single rate, and a random realism weight beta for each crop.

Agustsson et al. (CVPR 2023): s (150 MSE + lambda bpp + beta (lpips_per_beta LPIPS + gan_per_beta
GAN)) with MSE of values in [0, 1], beta uniform in [0, 2.56], s = 1 or lambda^-.5 where `balanced`.
The published weights, divided so that 650.25 becomes 150, are .983 and .231. In the `early_share`
of the steps lambda is ten times as large. Our choices: beta ends at 2.56, a share of the crops has
beta 0, and the discriminator is updated on the generator's batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.neural.blocks.control import Control
from baselines.neural.multirealism.model import HIGHEST_BETA
from baselines.neural.network import Estimate, Network
from baselines.neural.training.gan import GanObjective, GanStage
from baselines.neural.training.objective import Batch, Loss
from baselines.neural.training.rate_distortion import terms
from baselines.neural.training.recipe import Share, Weight

EARLY_WEIGHT = 10.0  # factor of lambda in the first steps


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiRealismStage(GanStage):
    """Stage of Multi-Realism; without LPIPS and GAN all crops have beta 0."""

    lpips_per_beta: Weight = 0.0
    gan_per_beta: Weight = 0.0
    zero_beta_share: Share = 0.0  # of the crops, whose beta is 0
    early_share: Share = 0.0  # of the steps, the first ones, with a larger lambda
    balanced: bool = False


class MultiRealism(GanObjective):
    """The objective of a stage."""

    stage_type = MultiRealismStage

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step at random betas, and the discriminator's update."""
        crops, stage = batch.crops, self.stage
        beta = self._betas(step)[batch.places].to(crops.device, non_blocking=True)
        with self._setup.precision():
            estimate: Estimate = network(crops, Control(beta, None))
            assert estimate.latents is not None
            coded = crops, estimate.images, estimate.latents
            factors = stage.lpips_per_beta, stage.gan_per_beta
            penalty, numbers = self.realism(*coded, factors, beta)
        parts = terms(crops, estimate.images, estimate.y_bits + estimate.z_bits)
        (weight,) = stage.lambdas
        if step < stage.early_share * stage.steps:
            weight *= EARLY_WEIGHT
        scale = weight**-0.5 if stage.balanced else 1.0
        weights = torch.full_like(parts.mse, weight)
        total = scale * (parts.loss(weights) + penalty).mean()
        numbers |= {"mse": parts.mse.mean(), "bpp": parts.bpp.mean()}
        return Loss(total, numbers, self.update(*coded))

    @property
    def betas(self) -> tuple[float, ...]:  # type: ignore[override]
        """The betas of a validation."""
        return (0.0, HIGHEST_BETA) if self.is_realistic else (0.0,)

    def _betas(self, step: int) -> Tensor:
        random, size = self._setup.random(step), self.stage.batch
        betas = random.uniform(0, HIGHEST_BETA, size)
        zero = random.uniform(size=size) < self.stage.zero_beta_share
        betas[zero if self.is_realistic else slice(None)] = 0
        return torch.from_numpy(betas).float()
