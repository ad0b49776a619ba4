"""The objectives of all methods that code images: one loss, and the random part of each method.

The loss of a crop is ::

    s (w MSE + lambda bpp + (lpips + beta lpips_per_beta) LPIPS + (gan + beta gan_per_beta) GAN)

with MSE of values in [0, 1], w = 150 but for IVR, and s = 1, or lambda^-.5 where `balanced`. Where
a step has a target rate, lambda holds while the batch's rounded latents take more, otherwise
`lambda_below`. A method is a class with `draw`; published weights are divided so that w is 150.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.blocks.control import PlacedLevels
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

HIGHEST_BETA = 5.12
REALISTIC = 3.84  # the beta of CRDR that is validated beside 0
MULTIREALISM_BETA = 2.56  # the highest that the paper evaluates
SHARES = (0.0, 0.5, 1.0)  # of IVR: a, of the lower level of a pair
# Of HiFiC in the first steps, factors of the weight of a bit and of the target: its configs.py
HIFIC_EARLY_WEIGHT, HIFIC_EARLY_TARGET, HIFIC_BELOW = 0.5, 0.20 / 0.14, 1 / 64
MULTIREALISM_EARLY = 10.0  # factor of lambda in the first steps
DISCRIMINATOR = {"discriminator_channels", "discriminator_learning_rate"}
OF_LATENTS = {*DISCRIMINATOR, "discriminator_latent_channels"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStage(Stage):
    """Stage of such an objective, which names the fields that it `uses`; others are refused."""

    lambda_below: Weight = 0.0  # of HiFiC: 0 for the published one
    targets_bpp: tuple[Weight, ...] = ()  # of each level
    target_bpp: Weight = 0.0  # of HiFiC
    early_steps: Count = 0  # of HiFiC, with less weight on a bit and a higher target
    early_share: Share = 0.0  # of the steps of Multi-Realism, with a larger lambda
    balanced: bool = False
    noisy_contexts: bool = False  # of ELIC: contexts see latents with noise
    mixed_levels: bool = False  # every crop its own q, sampled between the levels too
    map_share: Share = 0.0  # of the batches: q and beta by region
    zero_beta_share: Share = 0.0  # of the crops, whose beta is 0, on top of the uniform draw
    # With a growth g, what beta is there is 5.12 (e^(g beta / 5.12) - 1) / (e^g - 1), not beta.
    beta_growth: Weight = 0.0
    lpips: Weight = 0.0
    lpips_per_beta: Weight = 0.0
    gan: Weight = 0.0
    gan_per_beta: Weight = 0.0
    gan_loss: str = "hrrgan"  # of `GAN_LOSSES`, of the GAN by rate level
    discriminator: str = "independent"
    discriminator_channels: tuple[AtLeastOne, ...] = PUBLISHED_CHANNELS
    discriminator_latent_channels: AtLeastOne = PUBLISHED_LATENT_CHANNELS
    discriminator_learning_rate: Weight = 1e-4

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        plain = {field.name for field in fields(Stage)} | objective_class(self.objective).uses
        for field in fields(self):
            if field.name not in plain and getattr(self, field.name) != field.default:
                raise ValueError(f"a {self.objective} stage has no field {field.name!r}")
        for name, table in (("gan_loss", GAN_LOSSES), ("discriminator", DISCRIMINATORS)):
            if getattr(self, name) not in table:
                known = ", ".join(table)
                raise ValueError(f"{name} is {getattr(self, name)!r}, not one of {known}")
        if len(self.discriminator_channels) < 2:
            raise ValueError("discriminator_channels are fewer than two")
        if self.objective == "hific" and not self.target_bpp:
            raise ValueError("a hific stage needs a target_bpp")
        if self.targets_bpp and len(self.targets_bpp) != len(self.lambdas):
            raise ValueError("targets_bpp has not as many entries as lambdas")
        if self.targets_bpp and (self.mixed_levels or self.map_share):
            raise ValueError("targets_bpp come without mixed_levels and map_share")
        if self.targets_bpp and not self.lambda_below:
            raise ValueError("targets_bpp need a lambda_below")


BETA_STEPS = 100  # the published draw: 5.12 times a whole number of hundredths
CELL_PX = 64  # the finest region that a level can have

Floats = NDArray[np.floating[Any]]


class RandomLevels(NamedTuple):
    """Rate and realism weight of the crops of a batch."""

    q: Any  # float32 (n,), or (n, cells, cells) for a map; tensors of a GPU in a recorded step
    beta: Any  # likewise

    @property
    def q_of_crops(self) -> Any:
        """Rate of each crop's first region, (n,): the crop's own where its regions agree."""
        return self.q.reshape(len(self.q), -1)[:, 0]

    @property
    def q_differs(self) -> bool:
        """True where q varies within a crop: no discriminator scores such an image."""
        maps = self.q.ndim == 3
        return maps and bool((self.q.reshape(len(self.q), -1) != self.q_of_crops[:, None]).any())


def draw_levels(stage: ImageStage, random: np.random.Generator) -> RandomLevels:
    """Return the levels of `stage.batch` crops.

    Published: a whole q and a beta for the batch. With `mixed_levels`, q is whole for half of
    the crops, each level as often as the others, and uniform for the rest. Maps have two halves.
    """
    count, highest = stage.batch, len(stage.lambdas) - 1
    if stage.objective == "single_rate":
        q = np.zeros(count)
    elif stage.mixed_levels:
        q = _stratified(count, highest, random)
    else:
        q = np.full(count, float(random.integers(0, highest + 1)))
    beta = np.zeros(count)
    if stage.objective == "realism":
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


def _map(stage: ImageStage, random: np.random.Generator) -> RandomLevels:
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


def placed(values: Any, device: torch.device) -> PlacedLevels:
    """Return levels (n,) or (n, cells, cells) in the form that networks take."""
    if values.ndim == 1:
        return PlacedLevels(sent(values, device), None)
    distinct, where = np.unique(values, return_inverse=True)  # on a GPU, it would be waited for
    return PlacedLevels(sent(distinct, device), sent(where.reshape(values.shape), device))


def sent(values: Any, device: torch.device) -> Tensor:
    """Return NumPy values on a device, without a wait for it."""
    if not isinstance(values, Tensor):
        values = torch.from_numpy(np.ascontiguousarray(values))
    return values.to(device, non_blocking=True)


class Draw(NamedTuple):
    """Random levels of a step, and the weights that follow."""

    controls: Any  # of the network
    lambdas: Tensor | float  # weight of a bit per pixel, (n,) or the same for all
    of_mse: float = MSE_WEIGHT
    beta: Tensor | None = None  # weight of realism of each crop, (n,) or a map; None: 1
    target: Tensor | float | None = None  # rate, above which `lambdas` hold
    early: float = 1.0  # factor of the weight of a bit
    levels: RandomLevels | None = None  # where discriminators are by rate level


class ImageObjective(Objective):
    """The loss of a step of any method; a subclass says what a step draws."""

    stage_type: ClassVar[type[Stage]] = ImageStage
    uses: ClassVar[set[str]] = set()  # fields of `ImageStage`
    by_level: ClassVar[bool] = False  # discriminators by rate level, else one that sees latents
    betas: Sequence[float] = (0.0,)  # of a validation
    _adversary: Adversary | None

    def __init__(self, stage: Any, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._perceptual = Perceptual().to(setup.device) if stage.has_lpips else None
        self._adversary = Adversary(stage, setup, by_level=self.by_level) if stage.has_gan else None

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Return what a step draws."""
        raise NotImplementedError

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step, and the discriminators' update."""
        crops, stage = batch.crops, self.stage
        draw = self.draw(network, batch, step)
        with self.setup.precision():
            estimate: Estimate = network(crops, draw.controls)
            penalty, numbers = self.realism(network, crops, estimate, draw)
        costs = rate_distortion(crops, estimate.images, estimate.y_bits + estimate.z_bits)
        lambdas = of_each(crops, draw.lambdas)
        if draw.target is not None:
            if estimate.rounded_bits is None:
                why = "targets_bpp are for networks that count the bits of rounded latents."
                raise UsageError(why)
            rounded = estimate.rounded_bits.mean().detach().float() / crops[0, 0].numel()
            below = torch.full_like(lambdas, stage.lambda_below or HIFIC_BELOW)
            lambdas = torch.where(rounded > draw.target, lambdas, below)
            numbers["rounded_bpp"] = rounded
        lambdas = lambdas * draw.early
        costs_of_crops = draw.of_mse * costs.mse + lambdas * costs.bpp
        scale = lambdas.rsqrt() if stage.balanced else torch.ones_like(lambdas)
        numbers |= {
            "mse": costs.mse.mean(),
            "bpp": costs.bpp.mean(),
            "z_bpp": (estimate.z_bits / crops[0, 0].numel()).mean(),
            # One figure for all rates, which a change of lambda only shifts.
            "log_loss": (costs_of_crops * lambdas.rsqrt()).log().mean(),
        }
        total = (scale * (costs_of_crops + penalty)).mean()
        return Loss(total, numbers, self.update(crops, estimate, draw))

    def realism(
        self, network: Network, crops: Tensor, estimate: Estimate, draw: Draw
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return LPIPS and the generator's loss of each crop, weighted: (n,); and both."""
        stage, beta, images = self.stage, draw.beta, estimate.images
        penalty, numbers = torch.zeros(len(crops), device=crops.device), {}
        if self._perceptual is not None:
            per_beta = 0.0 if beta is None else stage.lpips_per_beta * beta
            weights = of_each(crops, stage.lpips + per_beta)
            distance = self._perceptual(crops, images, weights)
            penalty = penalty + distance
            numbers["lpips"] = distance.mean() / weights.mean().clamp(min=1e-6)
        if self._adversary is not None and not (draw.levels and draw.levels.q_differs):
            references, context = crops, context_of(estimate, draw)
            if self._adversary.gan.reference == "next_rate":
                references = self.at_next_rate(network, crops, draw)
            losses = self._adversary.penalty(images, context, references, beta)
            penalty = penalty + (stage.gan if beta is None else stage.gan_per_beta) * losses
            mean = 1.0 if beta is None else beta.mean().clamp(min=1e-6)
            numbers["generator"] = losses.mean() / mean
        return penalty, numbers

    def at_next_rate(self, network: Network, crops: Tensor, draw: Draw) -> Tensor:
        """Return reconstructions at the next higher rate; originals at the highest."""
        assert draw.levels is not None
        highest, q = len(self.stage.lambdas) - 1, draw.levels.q_of_crops
        higher = draw.levels._replace(q=(q + 1).clip(max=highest))
        with torch.no_grad():
            pictures = network(crops, controls_of(network, higher, self.setup.device)).images
        real = sent(q + 1 > highest, self.setup.device)
        return torch.where(real[:, None, None, None], crops, pictures.float())

    def update(
        self, crops: Tensor, estimate: Estimate, draw: Draw
    ) -> Callable[[Any], Mapping[str, Tensor | float]] | None:
        """Return the discriminators' update, a function of the learning rate's factor, if any."""
        adversary, levels = self._adversary, draw.levels
        if adversary is None or (levels is not None and levels.q_differs):
            return None

        def update(factor: float | Tensor) -> Mapping[str, Tensor]:
            with self.setup.precision():
                context = context_of(estimate, draw)
                return adversary.update(crops, estimate.images, context, factor)

        return update

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation | None:
        """Return rate and distortion of whole photographs, uint8 (height, width, 3)."""
        return validate(network, self.stage.lambdas, photographs, self.betas)


class SingleRate(ImageObjective):
    """A single rate of CRDR, or of any other network.

    Iwai et al. (WACV 2024). Between whole q, lambda is interpolated geometrically.
    """

    frozen = frozenset({"rate_control", "realism_control"})
    by_level = True
    uses: ClassVar[set[str]] = {
        *("lambda_below", "targets_bpp", "balanced", "mixed_levels", "map_share"),
        *("zero_beta_share", "beta_growth", "lpips", "lpips_per_beta", "gan_per_beta"),
        *("gan_loss", "discriminator", *DISCRIMINATOR),
    }

    def __init__(self, stage: Any, setup: Setup) -> None:
        super().__init__(stage, setup)
        # lambda and target rate of the levels
        self._of_levels = [
            sent(np.array(each, np.float32), setup.device)
            for each in (stage.lambdas, stage.targets_bpp)
        ]

    @staticmethod
    def is_recordable(stage: Any) -> bool:
        """Return whether a recorded step, which runs all discriminators on all crops, may pay."""
        return stage.mixed_levels or not stage.has_gan

    def random_inputs(self, step: int) -> Tensor | None:
        """Return q and beta of each crop, (2, n); None for a batch of maps, of varying sizes."""
        levels = draw_levels(self.stage, self.setup.random(step))
        return None if levels.q.ndim == 3 else torch.from_numpy(np.stack(levels))

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Return random levels."""
        stage, device = self.stage, self.setup.device
        everywhere: Tensor | RandomLevels | None = batch.random
        if everywhere is None:
            everywhere = draw_levels(stage, self.setup.random(step))
        network.counts_rounded = bool(stage.targets_bpp)
        levels = RandomLevels(*(values[: len(batch.crops)] for values in everywhere))
        q, beta = (sent(values, device) for values in levels)
        target = self._of_levels[1][q[:1].long()] if stage.targets_bpp else None
        return Draw(
            controls_of(network, levels, device),
            lambda_at(self._of_levels[0], q),
            beta=weight_of(beta, stage.beta_growth),
            target=target,
            levels=levels,
        )


class MultiRate(SingleRate):
    """All rate levels, and between them with `mixed_levels`."""

    frozen = frozenset({"realism_control"})


class Realism(SingleRate):
    """All rates and realism weights: LPIPS and the GAN weigh as much as beta says."""

    frozen = frozenset()
    betas = (0.0, REALISTIC)


class Elic(ImageObjective):
    """Contexts may see noise at first, as in VincentChandelier/ELiC-ReImplemetation."""

    rates = ONE_RATE
    uses: ClassVar[set[str]] = {"noisy_contexts"}

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Return the weights; raises `UsageError` for a network of another method."""
        if not hasattr(network, "noisy_contexts"):
            name = type(network).__name__
            raise UsageError(f"A stage with the objective elic trains no {name}.")
        network.noisy_contexts = self.stage.noisy_contexts
        return Draw(None, self.stage.lambdas[0])


class Ivr(ImageObjective):
    """Two neighbouring levels, or half-way between them.

    Sun et al. (ACM MM 2021), as the authors' code has it: for each batch a pair of neighbours and a
    in {0, 1/2, 1}, all equally likely. The loss is bpp + (a L_i + (1 - a) L_i+1) MSE with
    L = 150 / lambda; masks are interpolated with the same a.
    """

    rates = ANY_RATES[1:]

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Return a random level as controls, and its weights."""
        level, weight = self.random_level(step)
        at_level = PlacedLevels(torch.full((1,), level, device=batch.crops.device), None)
        return Draw(network.controls_at(at_level, at_level), 1.0, of_mse=weight)

    def random_level(self, step: int) -> tuple[float, float]:
        """Return the level of a step, and the weight of MSE that belongs to it."""
        random, lambdas = self.setup.random(step), self.stage.lambdas
        lower = int(random.integers(len(lambdas) - 1))
        share = float(random.choice(SHARES))
        first, second = (MSE_WEIGHT / weight for weight in lambdas[lower : lower + 2])
        return lower + 1 - share, share * first + (1 - share) * second


class Hific(ImageObjective):
    """A rate near its target, LPIPS, and a GAN in the last stage.

    Mentzer et al. (NeurIPS 2020). In the first `early_steps` the weight of a bit is halved and the
    target is 1/0.7 of its own. Our choice: the discriminator sees the generator's batch.
    """

    rates = ONE_RATE
    uses: ClassVar[set[str]] = {
        *("target_bpp", "lambda_below", "early_steps", "lpips", "gan", *OF_LATENTS),
    }

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Return the target and the weights."""
        stage, early = self.stage, step < self.stage.early_steps
        target = stage.target_bpp * (HIFIC_EARLY_TARGET if early else 1)
        factor = HIFIC_EARLY_WEIGHT if early else 1.0
        return Draw(None, stage.lambdas[0], target=target, early=factor)


class MultiRealism(ImageObjective):
    """A single rate, and a random realism weight beta for each crop.

    Agustsson et al. (CVPR 2023), beta uniform in [0, 2.56]. In the `early_share` of the steps
    lambda is ten times as large. Our choices: beta ends at 2.56, a share of crops has beta 0, and
    the discriminator sees the generator's batch.
    """

    rates = ONE_RATE
    uses: ClassVar[set[str]] = {
        *("lpips_per_beta", "gan_per_beta", "zero_beta_share", "early_share", "balanced"),
        *OF_LATENTS,
    }

    def draw(self, network: Network, batch: Batch, step: int) -> Draw:
        """Return random betas."""
        stage, random = self.stage, self.setup.random(step)
        betas = random.uniform(0, MULTIREALISM_BETA, stage.batch)
        zero = random.uniform(size=stage.batch) < stage.zero_beta_share
        betas[zero if len(self.betas) > 1 else slice(None)] = 0
        beta = sent(betas.astype(np.float32)[: len(batch.crops)], self.setup.device)
        early = MULTIREALISM_EARLY if step < stage.early_share * stage.steps else 1.0
        return Draw(PlacedLevels(beta, None), stage.lambdas[0], beta=beta, early=early)

    @property
    def betas(self) -> tuple[float, ...]:  # type: ignore[override]
        """The betas of a validation: 0 alone where neither LPIPS nor a GAN is in the loss."""
        realistic = self.stage.has_lpips or self.stage.has_gan
        return (0.0, MULTIREALISM_BETA) if realistic else (0.0,)


def context_of(estimate: Estimate, draw: Draw) -> Any:
    """Return what discriminators are told of images: their rates, (n,), or their latents."""
    return estimate.latents.detach() if draw.levels is None else draw.levels.q_of_crops  # type: ignore[union-attr]


def of_each(crops: Tensor, value: Tensor | float) -> Tensor:
    """Return a number for each of the crops (n,), a tensor as it is; a GPU is not waited for."""
    return value if isinstance(value, Tensor) else crops.new_full((len(crops),), value)


def controls_of(network: Network, levels: RandomLevels, device: torch.device) -> Any:
    """Return levels in the form that a network takes."""
    return network.controls_at(placed(levels.q, device), placed(levels.beta, device))


def weight_of(betas: Tensor, growth: float) -> Tensor:
    """Return what LPIPS and the GAN weigh at betas of [0, 5.12], in the same range and shape."""
    if not growth:
        return betas
    return torch.expm1(betas * (growth / HIGHEST_BETA)) * (HIGHEST_BETA / math.expm1(growth))
