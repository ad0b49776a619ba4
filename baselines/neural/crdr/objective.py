"""The three objectives of CRDR: a single rate, all rates, all rates and realism weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.blocks.control import Control
from baselines.neural.crdr.discriminators import DISCRIMINATORS, Adversary
from baselines.neural.crdr.model import HIGHEST_BETA
from baselines.neural.network import Estimate, Network
from baselines.neural.perceptual import Perceptual
from baselines.neural.training.gan import GAN_LOSSES
from baselines.neural.training.objective import (
    Batch,
    Loss,
    RateDistortion,
    Setup,
    lambda_at,
    terms,
    uncompiled,
)
from baselines.neural.training.recipe import AtLeastOne, Share, Stage, Weight
from benchmark.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionedStage(Stage):
    """Stage that trains for a rate q and a realism weight beta, random for every crop.

    The loss of a crop is ::

        s (150 MSE + lambda bpp + (lpips + beta lpips_per_beta) LPIPS + beta gan_per_beta GAN)

    with MSE of values in [0, 1] and s = 1, or lambda^-.5 where `balanced`. Between whole q, lambda
    is interpolated geometrically. With a `beta_growth` g, what beta is there grows exponentially,
    from 0 at 0 to 5.12 at 5.12: it is 5.12 (e^(g beta / 5.12) - 1) / (e^g - 1). Where
    `targets_bpp` are given, lambda holds while the batch takes more bits than its target, and
    `lambda_below` otherwise.
    """

    lambda_below: Weight = 0.0
    targets_bpp: tuple[Weight, ...] = ()
    balanced: bool = False
    mixed_levels: bool = False  # every crop its own q, sampled between the levels too
    lpips: Weight = 0.0
    lpips_per_beta: Weight = 0.0
    gan_per_beta: Weight = 0.0
    beta_growth: Weight = 0.0  # of the weights with beta; 0: as published, in proportion
    objective: str = "hrrgan"  # of the GAN
    discriminator: str = "independent"
    discriminator_channels: tuple[AtLeastOne, ...] = (64, 128, 256, 512)
    discriminator_learning_rate: Weight = 1e-4
    zero_beta_share: Share = 0.0  # of the crops, on top of what the uniform draw gives
    map_share: Share = 0.0  # of the batches: q and beta by region

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        for name, table in (("objective", GAN_LOSSES), ("discriminator", DISCRIMINATORS)):
            if getattr(self, name) not in table:
                known = ", ".join(table)
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {known}")
        if len(self.discriminator_channels) < 2:
            raise ValueError("discriminator_channels are fewer than two")
        if self.targets_bpp and len(self.targets_bpp) != len(self.lambdas):
            raise ValueError("targets_bpp has not as many entries as lambdas")
        if self.targets_bpp and (self.mixed_levels or self.map_share):
            raise ValueError("targets_bpp come without mixed_levels and map_share")
        if self.targets_bpp and not self.lambda_below:
            raise ValueError("targets_bpp need a lambda_below")

    @property
    def recordable(self) -> bool:  # type: ignore[override]
        """Return whether a recorded step, which runs all discriminators on all crops, may pay."""
        return self.mixed_levels or not self.has_gan


BETA_STEPS = 100  # the published draw: 5.12 times a whole number of hundredths
CELL_PX = 64  # the finest region that a level can have

Floats = NDArray[np.floating[Any]]


class RandomLevels(NamedTuple):
    """Rate and realism weight of the crops of a batch."""

    q: Any  # float32 (n,), or (n, cells, cells) for a map; tensors of a GPU in a recorded step
    beta: Any  # likewise

    def part(self, places: slice) -> "RandomLevels":
        """Return the levels of some of the crops."""
        return RandomLevels(self.q[places], self.beta[places])

    @property
    def q_of_crops(self) -> Any:
        """Rate of each crop's first region, (n,): the crop's own where its regions agree."""
        return self.q.reshape(len(self.q), -1)[:, 0]

    @property
    def q_differs(self) -> bool:
        """True where q varies within a crop: no discriminator scores such an image."""
        maps = self.q.ndim == 3
        return maps and bool((self.q.reshape(len(self.q), -1) != self.q_of_crops[:, None]).any())


def draw_levels(stage: ConditionedStage, random: np.random.Generator) -> RandomLevels:
    """Return the levels of `stage.batch` crops.

    Published: a whole q and a beta for the batch. With `mixed_levels`, q is whole for half of
    the crops, each level as often as the others, and uniform for the rest. Maps have two halves.
    """
    count, highest = stage.batch, len(stage.lambdas) - 1
    if stage.kind == "single_rate":
        q = np.zeros(count)
    elif stage.mixed_levels:
        q = _stratified(count, highest, random)
    else:
        q = np.full(count, float(random.integers(0, highest + 1)))
    beta = np.zeros(count)
    if stage.kind == "realism":
        steps = random.integers(0, BETA_STEPS + 1, count if stage.mixed_levels else 1)
        beta = np.broadcast_to(steps * (HIGHEST_BETA / BETA_STEPS), count).copy()
        beta[random.random(count) < stage.zero_beta_share] = 0.0
        if stage.crop_px > CELL_PX and random.random() < stage.map_share:
            return _map(stage, random)
    return RandomLevels(q.astype(np.float32), beta.astype(np.float32))


def _stratified(count: int, highest: int, random: np.random.Generator) -> Floats:
    whole = random.random(count) < 0.5
    # Evenly spread over the levels, so that the mixture differs little from batch to batch.
    spread = (np.arange(count) + random.random()) % count / count
    levels = np.floor(spread * (highest + 1))
    between = (np.arange(count) + random.random(count)) / count * highest
    random.shuffle(levels)
    random.shuffle(between)
    return np.where(whole, levels, between)


def _map(stage: ConditionedStage, random: np.random.Generator) -> RandomLevels:
    cells = stage.crop_px // CELL_PX
    places = np.arange(cells)
    q, beta = (np.empty((stage.batch, cells, cells), np.float32) for _ in range(2))
    for crop in range(stage.batch):
        second = places >= random.integers(1, cells)
        region = np.broadcast_to(second, (cells, cells))
        region = region if random.random() < 0.5 else region.T
        for values, highest in ((q, len(stage.lambdas) - 1), (beta, HIGHEST_BETA)):
            first_level, second_level = random.random(2) * highest
            values[crop] = np.where(region, second_level, first_level)
    return RandomLevels(q, beta)


def control(values: Any, device: torch.device) -> Control:
    """Return levels (n,) or (n, cells, cells) in the form that networks take."""
    if values.ndim == 1:
        return Control(_sent(values, device), None)
    distinct, where = np.unique(values, return_inverse=True)  # on a GPU, it would be waited for
    return Control(_sent(distinct, device), _sent(where.reshape(values.shape), device))


def _sent(values: Any, device: torch.device) -> Tensor:
    if not isinstance(values, Tensor):
        values = torch.from_numpy(np.ascontiguousarray(values))
    return values.to(device, non_blocking=True)


REALISTIC = 3.84  # the beta that is validated beside 0


class SingleRate(RateDistortion):
    """Rate and distortion at a single lambda, with LPIPS where the stage weighs it."""

    stage_type = ConditionedStage
    frozen = frozenset({"rate_control", "realism_control"})
    _adversary: Adversary | None

    def __init__(self, stage: ConditionedStage, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._perceptual = Perceptual().to(setup.device) if stage.has_lpips else None
        self._adversary = Adversary(stage, setup) if stage.has_gan else None
        # lambda and target rate of the levels
        self._of_levels = [
            _sent(np.array(each, np.float32), setup.device)
            for each in (stage.lambdas, stage.targets_bpp)
        ]

    def draws(self, step: int) -> Tensor | None:
        """Return q and beta of each crop, (2, n); None for a batch of maps, of varying sizes."""
        levels = draw_levels(self.stage, self._setup.random(step))
        return None if levels.q.ndim == 3 else torch.from_numpy(np.stack(levels))

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step at random levels, and the discriminators' update."""
        crops, plain = batch.crops, uncompiled(network)
        plain.counts_rounded = bool(self.stage.targets_bpp)
        if batch.draws is None:
            everywhere = draw_levels(self.stage, self._setup.random(step))
        else:
            everywhere = RandomLevels(*batch.draws)
        levels = everywhere.part(batch.places)
        forward = plain if levels.q.ndim == 3 else network
        with self._setup.precision():
            estimate: Estimate = forward(crops, self._controls(network, levels))
            penalty, parts = self._realism_penalty(plain, crops, levels, estimate.images)
        lambdas = self._lambdas(crops, levels, estimate.rounded_bits)
        result = self._weighed(crops, estimate, lambdas, penalty, parts)
        adversary = self._adversary
        if adversary is None or levels.q_differs:
            return result

        def update(factor: float | Tensor) -> dict[str, Tensor]:
            with self._setup.precision():
                q, q_of_batch = levels.q_of_crops, everywhere.q_of_crops
                return adversary.update(crops, estimate.images, q, factor, q_of_batch)

        return result._replace(after_step=update)

    def _weighed(
        self,
        crops: Tensor,
        estimate: Estimate,
        lambdas: Tensor,
        penalty: Tensor | float = 0.0,
        parts: Mapping[str, Tensor] = {},
    ) -> Loss:
        """Return the loss of reconstructions, with the penalty (n,) of each and its `parts`."""
        costs = terms(crops, estimate.images, estimate.y_bits + estimate.z_bits)
        scale = lambdas.rsqrt() if self.stage.balanced else torch.ones_like(lambdas)
        numbers = {
            "mse": costs.mse.mean(),
            "bpp": costs.bpp.mean(),
            "z_bpp": (estimate.z_bits / crops[0, 0].numel()).mean(),
            # One figure for all rates, which a change of lambda only shifts.
            "log_loss": (costs.loss(lambdas) * lambdas.rsqrt()).log().mean(),
            **parts,
        }
        return Loss((scale * (costs.loss(lambdas) + penalty)).mean(), numbers)

    def _controls(self, network: Network, levels: RandomLevels) -> Any:
        device = self._setup.device
        return network.controls_at(control(levels.q, device), control(levels.beta, device))

    def _lambdas(self, crops: Tensor, levels: RandomLevels, rounded_bits: Tensor | None) -> Tensor:
        lambdas = lambda_at(self._of_levels[0], self._tensor(levels.q))
        if not self.stage.targets_bpp:
            return lambdas
        if rounded_bits is None:
            raise UsageError("targets_bpp are for networks that count the bits of rounded latents.")
        bits = self._setup.workers.mean(rounded_bits.mean())
        target = self._of_levels[1][self._tensor(levels.q)[:1].long()]
        return towards_target(self.stage, target, bits / crops[0, 0].numel(), lambdas)

    def _realism_penalty(
        self, network: Network, crops: Tensor, levels: RandomLevels, images: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return LPIPS and the generator's loss of each crop, weighted with beta: (n,)."""
        stage = self.stage
        beta = weight_of(self._tensor(levels.beta), stage.beta_growth)
        penalty = torch.zeros(len(crops), device=self._setup.device)
        parts = {}
        if self._perceptual is not None:
            weights = stage.lpips + stage.lpips_per_beta * beta
            distance = self._perceptual(crops, images, weights)
            penalty = penalty + distance
            parts["lpips"] = distance.mean() / weights.mean().clamp(min=1e-6)
        if self._adversary is not None and not levels.q_differs:
            at_next_rate = self._adversary.gan.reference == "next_rate"
            reference = self._at_next_rate(network, crops, levels) if at_next_rate else crops
            losses = self._adversary.generator_loss(reference, images, levels.q_of_crops, beta)
            penalty = penalty + stage.gan_per_beta * losses
            parts["generator"] = losses.mean() / beta.mean().clamp(min=1e-6)
        return penalty, parts

    def _at_next_rate(self, network: Network, crops: Tensor, levels: RandomLevels) -> Tensor:
        """Return reconstructions at the next higher rate; originals at the highest."""
        highest, q = len(self.stage.lambdas) - 1, levels.q_of_crops
        higher = levels._replace(q=(q + 1).clip(max=highest))
        with torch.no_grad():
            pictures = network(crops, self._controls(network, higher)).images
        real = self._tensor(q + 1 > highest)
        return torch.where(real[:, None, None, None], crops, pictures.float())

    def _tensor(self, values: NDArray[Any]) -> Tensor:
        return _sent(values, self._setup.device)


class MultiRate(SingleRate):
    """Rate and distortion at all rate levels, and between them with `mixed_levels`."""

    frozen = frozenset({"realism_control"})


class Realism(SingleRate):
    """Rate, distortion and realism: LPIPS and the GAN weigh as much as beta says."""

    frozen = frozenset()
    betas = (0.0, REALISTIC)


def weight_of(betas: Tensor, growth: float) -> Tensor:
    """Return what LPIPS and the GAN weigh at betas of [0, 5.12], in the same range and shape."""
    if not growth:
        return betas
    return torch.expm1(betas * (growth / HIGHEST_BETA)) * (HIGHEST_BETA / math.expm1(growth))


def towards_target(
    stage: ConditionedStage, target: Tensor | float, bpp: Tensor, lambdas: Tensor
) -> Tensor:
    """Apply the published rule: lambda while the batch is above its target, else another.

    `bpp` (n,) of rounded latents; `lambdas` (n,), as the result.
    """
    above = bpp.mean() > target
    return torch.where(above, lambdas, torch.full_like(lambdas, stage.lambda_below))
