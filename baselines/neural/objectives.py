"""Objectives of methods that code images: classes with `draw`. A crop's loss is::

    s (w MSE + lambda bpp + (lpips + beta lpips_per_beta) LPIPS + (gan + beta gan_per_beta) GAN)

with s = 1, or lambda^-.5 if `balanced`, and MSE of values in [0, 1]. w = 150, to which published
weights are scaled, except for IVR. If there is a target rate, lambda applies to batches whose
rounded latents take more bits, and `lambda_below` to others.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.blocks.control import IndexedLevels
from baselines.neural.network import Estimate, Network
from baselines.neural.perceptual import Perceptual
from baselines.neural.training.gan import (
    DISCRIMINATORS,
    GAN_LOSSES,
    PUBLISHED_CHANNELS,
    PUBLISHED_LATENT_CHANNELS,
    Adversary,
)
from baselines.neural.training.objective import (
    MSE_WEIGHT,
    Batch,
    Loss,
    Objective,
    Setup,
    Validation,
    lambda_at,
    rate_distortion,
    validate,
)
from baselines.neural.training.recipe import (
    ANY_RATES,
    ONE_RATE,
    AtLeastOne,
    Count,
    Share,
    Stage,
    Weight,
    objective_class,
)
from benchmark.codec import Pixels
from benchmark.errors import UsageError

MAX_BETA = 5.12
VALIDATION_BETA = 3.84  # for CRDR, in addition to 0
MULTIREALISM_BETA = 2.56  # the highest that the paper evaluates
IVR_SHARES = (0.0, 0.5, 1.0)  # a, the weight of the lower of two levels
# From HiFiC's configs.py: factors of lambda and target in the first steps, lambda below the target
HIFIC_EARLY_WEIGHT, HIFIC_EARLY_TARGET, HIFIC_LAMBDA_BELOW = 0.5, 0.20 / 0.14, 1 / 64
MULTIREALISM_EARLY = 10.0  # factor of lambda in the first steps
DISCRIMINATOR = {"discriminator_channels", "discriminator_learning_rate"}
LATENT_DISCRIMINATOR = {*DISCRIMINATOR, "discriminator_latent_channels"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStage(Stage):
    """Stage of an image objective; fields that the objective does not use are refused."""

    lambda_below: Weight = 0.0  # for HiFiC, 0 is the published value
    targets_bpp: tuple[Weight, ...] = ()  # one per level
    target_bpp: Weight = 0.0  # for HiFiC
    early_steps: Count = 0  # for HiFiC: first steps, with a smaller lambda and a higher target
    early_share: Share = 0.0  # for Multi-Realism: share of first steps, with a larger lambda
    balanced: bool = False
    noisy_contexts: bool = False  # for ELIC: whether contexts see latents with noise
    mixed_levels: bool = False  # whether each crop has a q of its own, also between levels
    map_share: Share = 0.0  # share of the batches with maps of q and beta
    zero_beta_share: Share = 0.0  # share of crops whose random beta is replaced by 0
    # g of the weight of LPIPS and GAN, 5.12 (e^(g beta / 5.12) - 1) / (e^g - 1); 0: beta itself
    beta_growth: Weight = 0.0
    lpips: Weight = 0.0
    lpips_per_beta: Weight = 0.0
    gan: Weight = 0.0
    gan_per_beta: Weight = 0.0
    gan_loss: str = "hrrgan"  # key of `GAN_LOSSES`, for discriminators by rate level
    discriminator: str = "independent"
    discriminator_channels: tuple[AtLeastOne, ...] = PUBLISHED_CHANNELS
    discriminator_latent_channels: AtLeastOne = PUBLISHED_LATENT_CHANNELS
    discriminator_learning_rate: Weight = 1e-4

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        used_fields = objective_class(self.objective).uses
        allowed_names = {field.name for field in fields(Stage)} | used_fields
        for field in fields(self):
            if field.name not in allowed_names and getattr(self, field.name) != field.default:
                raise ValueError(f"a {self.objective} stage has no field {field.name!r}")
        for name, table in (("gan_loss", GAN_LOSSES), ("discriminator", DISCRIMINATORS)):
            if getattr(self, name) not in table:
                names = ", ".join(table)
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {names}")
        if len(self.discriminator_channels) < 2:
            raise ValueError("discriminator_channels has fewer than two widths")
        if self.objective == "hific" and not self.target_bpp:
            raise ValueError("a hific stage needs a target_bpp")
        if self.targets_bpp and len(self.targets_bpp) != len(self.lambdas):
            raise ValueError("targets_bpp needs as many entries as lambdas has")
        if self.targets_bpp and (self.mixed_levels or self.map_share):
            raise ValueError("targets_bpp cannot be combined with mixed_levels or map_share")
        if self.targets_bpp and not self.lambda_below:
            raise ValueError("targets_bpp needs lambda_below")


BETA_STEPS = 100  # as published, beta is a multiple of 5.12 / 100
CELL_PX = 64  # smallest region of a map

Floats = NDArray[np.floating[Any]]


class RandomLevels(NamedTuple):
    """Rates and realism weights of a batch's crops."""

    q: Any  # float32 (n,), or (n, cells, cells) for maps; in a CUDA graph, GPU tensors
    beta: Any  # the same type and shape as q

    @property
    def first_q(self) -> Any:
        """Rate of each crop's first region, (n,)."""
        return self.q.reshape(len(self.q), -1)[:, 0]

    @property
    def q_varies(self) -> bool:
        """Whether q varies within a crop; discriminators do not score such crops."""
        maps = self.q.ndim == 3
        return maps and bool((self.q.reshape(len(self.q), -1) != self.first_q[:, None]).any())


def draw_levels(stage: ImageStage, generator: np.random.Generator) -> RandomLevels:
    """Draw the levels of `stage.batch` crops; as published, an integer q and a beta per batch."""
    # With `mixed_levels`, half of the crops have an integer q, all levels equally often; the others
    # have a uniform q. A map has two regions, divided at a random row or column.
    count, highest = stage.batch, len(stage.lambdas) - 1
    if stage.objective == "single_rate":
        q = np.zeros(count)
    elif stage.mixed_levels:
        q = _draw_stratified(count, highest, generator)
    else:
        q = np.full(count, float(generator.integers(0, highest + 1)))
    beta = np.zeros(count)
    if stage.objective == "realism":
        steps = generator.integers(0, BETA_STEPS + 1, count if stage.mixed_levels else 1)
        beta = np.broadcast_to(steps * (MAX_BETA / BETA_STEPS), count).copy()
        beta[generator.random(count) < stage.zero_beta_share] = 0.0
        if stage.crop_px > CELL_PX and generator.random() < stage.map_share:
            return _draw_map(stage, generator)
    return RandomLevels(q.astype(np.float32), beta.astype(np.float32))


def _draw_stratified(count: int, highest: int, generator: np.random.Generator) -> Floats:
    is_integer = generator.random(count) < 0.5
    # evenly spaced over the levels, so that batches differ little
    fractions = (np.arange(count) + generator.random()) % count / count
    levels = np.floor(fractions * (highest + 1))
    uniform_levels = (np.arange(count) + generator.random(count)) / count * highest
    generator.shuffle(levels)
    generator.shuffle(uniform_levels)
    return np.where(is_integer, levels, uniform_levels)


def _draw_map(stage: ImageStage, generator: np.random.Generator) -> RandomLevels:
    cells = stage.crop_px // CELL_PX
    positions = np.arange(cells)
    q, beta = (np.empty((stage.batch, cells, cells), np.float32) for _ in range(2))
    for crop in range(stage.batch):
        is_after_cut = positions >= generator.integers(1, cells)
        in_second_region = np.broadcast_to(is_after_cut, (cells, cells))
        in_second_region = in_second_region if generator.random() < 0.5 else in_second_region.T
        for values, highest in ((q, len(stage.lambdas) - 1), (beta, MAX_BETA)):
            first_level, second_level = generator.random(2) * highest
            values[crop] = np.where(in_second_region, second_level, first_level)
    return RandomLevels(q, beta)


def index_levels(values: Any, device: torch.device) -> IndexedLevels:
    """Convert levels (n,) or (n, cells, cells) to the form that networks take."""
    if values.ndim == 1:
        return IndexedLevels(send(values, device), None)
    # On the CPU, without waiting for a GPU
    distinct_levels, indices = np.unique(values, return_inverse=True)
    return IndexedLevels(send(distinct_levels, device), send(indices.reshape(values.shape), device))


def send(values: Any, device: torch.device) -> Tensor:
    """Copy values to a device without waiting for the copy to end."""
    if not isinstance(values, Tensor):
        values = torch.from_numpy(np.ascontiguousarray(values))
    return values.to(device, non_blocking=True)


class Draw(NamedTuple):
    """Random levels of a step, with the weights that follow from them."""

    controls: Any  # for the network
    lambdas: Tensor | float  # weight of a bit per pixel, (n,) or the same for all
    mse_weight: float = MSE_WEIGHT
    beta: Tensor | None = None  # realism weight of each crop, (n,) or a map; None: 1
    target: Tensor | float | None = None  # rate in bpp, above which `lambdas` apply
    lambda_factor: float = 1.0
    levels: RandomLevels | None = None  # for discriminators by rate level


class ImageObjective(Objective):
    """Loss of a step, common to all methods; a subclass draws the random levels."""

    stage_type: ClassVar[type[Stage]] = ImageStage
    uses: ClassVar[set[str]] = set()  # fields of `ImageStage` that the objective uses
    by_level: ClassVar[bool] = False  # whether discriminators see rate levels instead of latents
    betas: Sequence[float] = (0.0,)  # for validation
    _adversary: Adversary | None

    def __init__(self, stage: Any, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._perceptual = Perceptual().to(setup.device) if stage.has_lpips else None
        self._adversary = Adversary(stage, setup, by_level=self.by_level) if stage.has_gan else None

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Draw a step's levels and weights."""
        raise NotImplementedError

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return a step's loss, with the update of the discriminators."""
        crops, stage = batch.crops, self.stage
        draw = self.draw(network, batch, step)
        with self.setup.precision():
            estimate: Estimate = network(crops, draw.controls)
            penalty, numbers = self.realism(network, crops, estimate, draw)
        costs = rate_distortion(crops, estimate.images, estimate.y_bits + estimate.z_bits)
        lambdas = expand_to_crops(crops, draw.lambdas)
        if draw.target is not None:
            if estimate.rounded_bits is None:
                name = type(network).__name__
                raise UsageError(f"targets_bpp: a {name} does not count bits of rounded latents")
            rounded_bpp = estimate.rounded_bits.mean().detach().float() / crops[0, 0].numel()
            lower_lambdas = torch.full_like(lambdas, stage.lambda_below or HIFIC_LAMBDA_BELOW)
            lambdas = torch.where(rounded_bpp > draw.target, lambdas, lower_lambdas)
            numbers["rounded_bpp"] = rounded_bpp
        lambdas = lambdas * draw.lambda_factor
        crop_costs = draw.mse_weight * costs.mse + lambdas * costs.bpp
        scale = lambdas.rsqrt() if stage.balanced else torch.ones_like(lambdas)
        numbers |= {
            "mse": costs.mse.mean(),
            "bpp": costs.bpp.mean(),
            "z_bpp": (estimate.z_bits / crops[0, 0].numel()).mean(),
            # log_loss can be compared between rates; another lambda only shifts it
            "log_loss": (crop_costs * lambdas.rsqrt()).log().mean(),
        }
        total = (scale * (crop_costs + penalty)).mean()
        return Loss(total, numbers, self.update(crops, estimate, draw))

    def realism(
        self, network: Network, crops: Tensor, estimate: Estimate, draw: Draw
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum of LPIPS and generator loss per crop, (n,), and means of both."""
        stage, beta, images = self.stage, draw.beta, estimate.images
        penalty, numbers = torch.zeros(len(crops), device=crops.device), {}
        if self._perceptual is not None:
            per_beta = 0.0 if beta is None else stage.lpips_per_beta * beta
            weights = expand_to_crops(crops, stage.lpips + per_beta)
            distance = self._perceptual(crops, images, weights)
            penalty = penalty + distance
            numbers["lpips"] = distance.mean() / weights.mean().clamp(min=1e-6)
        if self._adversary is not None and not (draw.levels and draw.levels.q_varies):
            references, context = crops, context_of(estimate, draw)
            if self._adversary.gan.reference == "next_rate":
                references = self.reconstruct_at_next_rate(network, crops, draw)
            losses = self._adversary.penalty(images, context, references, beta)
            penalty = penalty + (stage.gan if beta is None else stage.gan_per_beta) * losses
            mean = 1.0 if beta is None else beta.mean().clamp(min=1e-6)
            numbers["generator"] = losses.mean() / mean
        return penalty, numbers

    def reconstruct_at_next_rate(self, network: Network, crops: Tensor, draw: Draw) -> Tensor:
        """Reconstruct at the next higher rate level, or return originals at the highest level."""
        assert draw.levels is not None
        highest, q = len(self.stage.lambdas) - 1, draw.levels.first_q
        higher = draw.levels._replace(q=(q + 1).clip(max=highest))
        with torch.no_grad():
            pictures = network(crops, controls_of(network, higher, self.setup.device)).images
        is_highest = send(q + 1 > highest, self.setup.device)
        return torch.where(is_highest[:, None, None, None], crops, pictures.float())

    def update(
        self, crops: Tensor, estimate: Estimate, draw: Draw
    ) -> Callable[[Any], Mapping[str, Tensor | float]] | None:
        """Return a function that updates discriminators with a learning rate factor, or None."""
        adversary, levels = self._adversary, draw.levels
        if adversary is None or (levels is not None and levels.q_varies):
            return None

        def update(factor: float | Tensor) -> Mapping[str, Tensor]:
            with self.setup.precision():
                context = context_of(estimate, draw)
                return adversary.update(crops, estimate.images, context, factor)

        return update

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation | None:
        """Return rate and distortion of uncropped photographs, uint8 (height, width, 3)."""
        return validate(network, self.stage.lambdas, photographs, self.betas)


class SingleRate(ImageObjective):
    """Loss of CRDR (Iwai et al., WACV 2024), or of any network, at a single rate."""

    frozen = frozenset({"rate_control", "realism_control"})
    by_level = True
    uses: ClassVar[set[str]] = {
        *("lambda_below", "targets_bpp", "balanced", "mixed_levels", "map_share"),
        *("zero_beta_share", "beta_growth", "lpips", "lpips_per_beta", "gan_per_beta"),
        *("gan_loss", "discriminator", *DISCRIMINATOR),
    }

    def __init__(self, stage: Any, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._lambdas, self._targets = (
            send(np.array(values, np.float32), setup.device)
            for values in (stage.lambdas, stage.targets_bpp)
        )

    @staticmethod
    def is_recordable(stage: Any) -> bool:
        """Return whether a CUDA graph may capture steps, which then run every discriminator."""
        return stage.mixed_levels or not stage.has_gan

    def random_inputs(self, step: int) -> Tensor | None:
        """Return q and beta of each crop, (2, n); None for maps, whose sizes vary."""
        levels = draw_levels(self.stage, self.setup.random(step))
        return None if levels.q.ndim == 3 else torch.from_numpy(np.stack(levels))

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Draw random levels."""
        stage, device = self.stage, self.setup.device
        drawn_levels: Tensor | RandomLevels | None = batch.random
        if drawn_levels is None:
            drawn_levels = draw_levels(stage, self.setup.random(step))
        network.counts_rounded = bool(stage.targets_bpp)
        levels = RandomLevels(*(values[: len(batch.crops)] for values in drawn_levels))
        q, beta = (send(values, device) for values in levels)
        target = self._targets[q[:1].long()] if stage.targets_bpp else None
        return Draw(
            controls_of(network, levels, device),
            lambda_at(self._lambdas, q),
            beta=weight_of(beta, stage.beta_growth),
            target=target,
            levels=levels,
        )


class MultiRate(SingleRate):
    """Loss at all rate levels; with `mixed_levels`, also between them."""

    frozen = frozenset({"realism_control"})


class Realism(SingleRate):
    """Loss at all rates and realism weights; beta weighs LPIPS and the GAN."""

    frozen = frozenset()
    betas = (0.0, VALIDATION_BETA)


class ElicObjective(ImageObjective):
    """ELIC's loss; contexts first see noise, as in VincentChandelier/ELiC-ReImplemetation."""

    rates = ONE_RATE
    uses: ClassVar[set[str]] = {"noisy_contexts"}

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Return the weights; raises `UsageError` for a network of another method."""
        if not hasattr(network, "noisy_contexts"):
            name = type(network).__name__
            raise UsageError(f"the objective elic cannot train a network of the class {name}")
        network.noisy_contexts = self.stage.noisy_contexts
        return Draw(None, self.stage.lambdas[0])


class IvrObjective(ImageObjective):
    """IVR's loss at one of two neighbouring levels, or between them (Sun et al., ACM MM 2021).

    As in the authors' code, each batch has levels i and i + 1 and a random a in {0, 1/2, 1}, which
    also mixes masks. The loss is bpp + (a L_i + (1 - a) L_i+1) MSE with L = 150 / lambda.
    """

    rates = ANY_RATES[1:]

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Draw a random level, with its weights."""
        level, weight = self.random_level(step)
        control = IndexedLevels(torch.full((1,), level, device=batch.crops.device), None)
        return Draw(network.controls_at(control, control), 1.0, mse_weight=weight)

    def random_level(self, step: int) -> tuple[float, float]:
        """Draw a step's level; return the level and its weight of MSE."""
        generator, lambdas = self.setup.random(step), self.stage.lambdas
        lower = int(generator.integers(len(lambdas) - 1))
        share = float(generator.choice(IVR_SHARES))
        lower_weight, upper_weight = (MSE_WEIGHT / bits for bits in lambdas[lower : lower + 2])
        return lower + 1 - share, share * lower_weight + (1 - share) * upper_weight


class HificObjective(ImageObjective):
    """HiFiC's loss: a rate near a target, LPIPS and, at the end, a GAN (Mentzer et al., 2020).

    In the first `early_steps`, lambda is halved and the target divided by 0.7. It is our choice
    that the discriminator sees the generator's batch.
    """

    rates = ONE_RATE
    uses: ClassVar[set[str]] = {
        *("target_bpp", "lambda_below", "early_steps", "lpips", "gan", *LATENT_DISCRIMINATOR),
    }

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Return the step's target rate and weights."""
        stage, is_early = self.stage, step < self.stage.early_steps
        target = stage.target_bpp * (HIFIC_EARLY_TARGET if is_early else 1)
        factor = HIFIC_EARLY_WEIGHT if is_early else 1.0
        return Draw(None, stage.lambdas[0], target=target, lambda_factor=factor)


class MultiRealismObjective(ImageObjective):
    """Multi-Realism's loss: one rate, a beta up to 2.56 for each crop (Agustsson et al., 2023).

    In the first `early_share` of the steps, lambda is ten times as large. Our choices: the highest
    beta, a share of crops with beta 0, and that the discriminator sees the generator's batch.
    """

    rates = ONE_RATE
    uses: ClassVar[set[str]] = {
        *("lpips_per_beta", "gan_per_beta", "zero_beta_share", "early_share", "balanced"),
        *LATENT_DISCRIMINATOR,
    }

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Draw random betas."""
        stage, generator = self.stage, self.setup.random(step)
        betas = generator.uniform(0, MULTIREALISM_BETA, stage.batch)
        is_zero = generator.uniform(size=stage.batch) < stage.zero_beta_share
        betas[is_zero if len(self.betas) > 1 else slice(None)] = 0
        beta = send(betas.astype(np.float32)[: len(batch.crops)], self.setup.device)
        factor = MULTIREALISM_EARLY if step < stage.early_share * stage.steps else 1.0
        return Draw(IndexedLevels(beta, None), stage.lambdas[0], beta=beta, lambda_factor=factor)

    @property
    def betas(self) -> tuple[float, ...]:  # type: ignore[override]
        """Betas for validation; only 0 if neither LPIPS nor a GAN is in the loss."""
        weighs_realism = self.stage.has_lpips or self.stage.has_gan
        return (0.0, MULTIREALISM_BETA) if weighs_realism else (0.0,)


def context_of(estimate: Estimate, draw: Draw) -> Any:
    """Return the discriminators' context: rates (n,), or latents."""
    return estimate.latents.detach() if draw.levels is None else draw.levels.first_q  # type: ignore[union-attr]


def expand_to_crops(crops: Tensor, value: Tensor | float) -> Tensor:
    """Return `value` for each crop, (n,); a tensor is returned unchanged."""
    return value if isinstance(value, Tensor) else crops.new_full((len(crops),), value)


def controls_of(network: Network, levels: RandomLevels, device: torch.device) -> Any:
    """Convert levels to a network's controls."""
    return network.controls_at(index_levels(levels.q, device), index_levels(levels.beta, device))


def weight_of(betas: Tensor, growth: float) -> Tensor:
    """Map betas in [0, 5.12] to weights of LPIPS and GAN in the same range; see `beta_growth`."""
    if not growth:
        return betas
    return torch.expm1(betas * (growth / MAX_BETA)) * (MAX_BETA / math.expm1(growth))
