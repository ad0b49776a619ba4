"""The objective of HiFiC: a rate near its target, distortion, LPIPS, and a GAN in the last stage.

Mentzer et al. (NeurIPS 2020): 150 MSE + w bpp + lpips LPIPS + gan GAN, with MSE of values in [0,
1]; w is lambda while rounded latents of the batch are above the target rate, `lambda_below`
otherwise. These are the published weights, divided so that 152.4 becomes 150. In the first
`early_steps` w is halved and the target is 1/0.7 of its own. Our choice: the discriminator is
updated on the generator's batch.
"""

from dataclasses import dataclass

import torch

from baselines.neural.network import Estimate, Network
from baselines.neural.training.gan import GanObjective, WeightedGanStage
from baselines.neural.training.objective import Batch, Loss
from baselines.neural.training.rate_distortion import terms
from baselines.neural.training.recipe import Count, Positive, Weight

# Factors of the weight of a bit and of the target in the first steps: models/hific/configs.py.
EARLY_WEIGHT, EARLY_TARGET = 0.5, 0.20 / 0.14


@dataclass(frozen=True, slots=True, kw_only=True)
class HificStage(WeightedGanStage):
    """Stage of HiFiC; `lambdas` has the weight above the target rate."""

    target_bpp: Positive
    lambda_below: Weight = 1 / 64
    early_steps: Count = 0  # with less weight on a bit and a higher target
    lpips: Weight = 1.0  # the GAN has .15 in the published second stage


class Hific(GanObjective):
    """The objective of a stage."""

    stage_type = HificStage
    selects = False  # rate and distortion are not all that counts

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step, and the discriminator's update."""
        crops, stage = batch.crops, self.stage
        with self._setup.precision():
            estimate: Estimate = network(crops, None)
            assert estimate.latents is not None
            assert estimate.rounded_bits is not None
            coded = crops, estimate.images, estimate.latents
            penalty, numbers = self.realism(*coded, (stage.lpips, stage.gan))
        parts = terms(crops, estimate.images, estimate.y_bits + estimate.z_bits)
        bits = self._setup.workers.mean(estimate.rounded_bits.mean())  # over all processes
        rounded = bits / crops[0, 0].numel()
        (above,) = stage.lambdas
        early = step < stage.early_steps
        target = stage.target_bpp * (EARLY_TARGET if early else 1)
        weight = torch.where(rounded > target, above, stage.lambda_below)
        weight = weight * (EARLY_WEIGHT if early else 1)
        total = (parts.loss(weight.expand(len(crops))) + penalty).mean()
        numbers |= {"mse": parts.mse.mean(), "bpp": parts.bpp.mean(), "rounded_bpp": rounded}
        return Loss(total, numbers, self.update(*coded))
