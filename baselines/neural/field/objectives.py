"""The objectives of the field's methods, as their papers have them; Charm's is `single_rate`."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from baselines.neural.blocks.control import Control
from baselines.neural.field.elic import ElicNetwork
from baselines.neural.field.multirealism import HIGHEST_BETA
from baselines.neural.network import Estimate, Network
from baselines.neural.training.gan import GanObjective, GanStage, WeightedGanStage
from baselines.neural.training.objective import MSE_WEIGHT, Batch, Loss, RateDistortion, terms
from baselines.neural.training.recipe import (
    ANY_RATES,
    ONE_RATE,
    Count,
    Positive,
    Share,
    Stage,
    Weight,
)

SHARES = (0.0, 0.5, 1.0)  # of IVR: a, of the lower level of a pair
# Factors of the weight of a bit and of the target in the first steps: models/hific/configs.py.
HIFIC_EARLY_WEIGHT, HIFIC_EARLY_TARGET = 0.5, 0.20 / 0.14
EARLY_WEIGHT = 10.0  # of Multi-Realism: factor of lambda in the first steps


@dataclass(frozen=True, slots=True, kw_only=True)
class ElicStage(Stage):
    """Stage of rate and distortion; with `noisy_contexts`, contexts see latents with noise."""

    noisy_contexts: bool = False

    rates = ONE_RATE


class Elic(RateDistortion):
    """150 MSE + lambda bpp, with contexts that may see noise at first.

    That contexts are trained on noisy latents first is the schedule of the re-implementation
    VincentChandelier/ELiC-ReImplemetation.
    """

    stage_type = ElicStage

    def conditions(self, network: Network, batch: Batch, step: int) -> tuple[None, float, float]:
        """Return the weights; raises `UsageError` for a network of another method."""
        self.own_network(network, ElicNetwork).noisy_contexts = self.stage.noisy_contexts
        return None, MSE_WEIGHT, self.stage.lambdas[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class IvrStage(Stage):
    """Stage of IVR; `lambdas` weigh a bit with 150 MSE beside it, as everywhere."""

    rates = ANY_RATES[1:]


class Ivr(RateDistortion):
    """Rate and distortion at two neighbouring levels, or half-way between them.

    Sun et al. (ACM MM 2021), as the authors' code has it: for each batch a pair of neighbours and a
    in {0, 1/2, 1}, all equally likely. The loss is bpp + (a L_i + (1 - a) L_i+1) MSE with MSE of
    values in [0, 1] and L = 150 / lambda; masks are interpolated with the same a.
    """

    stage_type = IvrStage

    def conditions(self, network: Network, batch: Batch, step: int) -> tuple[Any, float, float]:
        """Return a random level as controls, and its weights."""
        level, weight = self.random_level(step)
        control = Control(torch.full((1,), level, device=batch.crops.device), None)
        return network.controls_at(control, control), weight, 1.0

    def random_level(self, step: int) -> tuple[float, float]:
        """Return the level of a step, and the weight of MSE that belongs to it."""
        random, lambdas = self._setup.random(step), self.stage.lambdas
        lower = int(random.integers(len(lambdas) - 1))
        share = float(random.choice(SHARES))
        first, second = (MSE_WEIGHT / weight for weight in lambdas[lower : lower + 2])
        return lower + 1 - share, share * first + (1 - share) * second


@dataclass(frozen=True, slots=True, kw_only=True)
class HificStage(WeightedGanStage):
    """Stage of HiFiC; `lambdas` has the weight above the target rate."""

    target_bpp: Positive
    lambda_below: Weight = 1 / 64
    early_steps: Count = 0  # with less weight on a bit and a higher target
    lpips: Weight = 1.0  # the GAN has .15 in the published second stage


class Hific(GanObjective):
    """A rate near its target, distortion, LPIPS, and a GAN in the last stage.

    Mentzer et al. (NeurIPS 2020): 150 MSE + w bpp + lpips LPIPS + gan GAN, with MSE of values in
    [0, 1]; w is lambda while rounded latents of the batch are above the target rate, `lambda_below`
    otherwise. These are the published weights, divided so that 152.4 becomes 150. In the first
    `early_steps` w is halved and the target is 1/0.7 of its own. Our choice: the discriminator is
    updated on the generator's batch.
    """

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
        target = stage.target_bpp * (HIFIC_EARLY_TARGET if early else 1)
        weight = torch.where(rounded > target, above, stage.lambda_below)
        weight = weight * (HIFIC_EARLY_WEIGHT if early else 1)
        total = (parts.loss(weight.expand(len(crops))) + penalty).mean()
        numbers |= {"mse": parts.mse.mean(), "bpp": parts.bpp.mean(), "rounded_bpp": rounded}
        return Loss(total, numbers, self.update(*coded))


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiRealismStage(GanStage):
    """Stage of Multi-Realism; without LPIPS and GAN all crops have beta 0."""

    lpips_per_beta: Weight = 0.0
    gan_per_beta: Weight = 0.0
    zero_beta_share: Share = 0.0  # of the crops, whose beta is 0
    early_share: Share = 0.0  # of the steps, the first ones, with a larger lambda
    balanced: bool = False


class MultiRealism(GanObjective):
    """A single rate, and a random realism weight beta for each crop.

    Agustsson et al. (CVPR 2023): s (150 MSE + lambda bpp + beta (lpips_per_beta LPIPS +
    gan_per_beta GAN)) with MSE of values in [0, 1], beta uniform in [0, 2.56], s = 1 or lambda^-.5
    where `balanced`. The published weights, divided so that 650.25 becomes 150, are .983 and .231.
    In the `early_share` of the steps lambda is ten times as large. Our choices: beta ends at 2.56,
    a share of the crops has beta 0, and the discriminator is updated on the generator's batch.
    """

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
