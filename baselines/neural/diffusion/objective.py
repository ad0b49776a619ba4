"""The objective of diffusion decoders: velocities of noisy residuals behind a frozen base.

A crop is shown by the base at a level drawn for it: as part of its photograph where there is room
to keep those (`ShownPhotographs`), else by itself. Its residual, in units of the level's standard
deviation, gets noise of a time drawn for it. The loss is the squared error of the predicted
velocity, weighted by min(SNR, limit) / (SNR + 1) where the stage has a limit (Hang et al.,
"Efficient diffusion training via min-SNR weighting strategy", ICCV 2023, for v). Our choices:
times are uniform, one in each of as many equal intervals as the batch has crops, and levels are
shared out evenly.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from baselines.neural.diffusion.base_codec import FOLDER, MOST_BYTES, BaseCodec, ShownPhotographs
from baselines.neural.diffusion.model import DiffusionNetwork, LevelFacts, Noisy, open_base
from baselines.neural.diffusion.noise import noise_key, noise_level, normal_noise
from baselines.neural.inference import padded, to_images, to_pixels
from baselines.neural.network import Network
from baselines.neural.training.objective import (
    Batch,
    Loss,
    Setup,
    StageObjective,
    Validation,
    ValidationPoint,
    uncompiled,
)
from baselines.neural.training.photographs import draw_crops
from baselines.neural.training.recipe import Stage, Weight
from benchmark.codec import Float64Array, Int64Array, Pixels, Setting
from benchmark.errors import UsageError

VALIDATION_TIMES = (0.2, 0.4, 0.6, 0.8, 0.95)
VALIDATION_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawingStage(Stage):
    """Stage of a diffusion decoder."""

    snr_limit: Weight = 0.0  # of the loss's weights; 0: every time weighs the same

    def __post_init__(self) -> None:
        Stage.__post_init__(self)
        if self.reduced_share:
            raise ValueError("reduced_share is not 0: the base codes photographs as they are")


class Drawing(StageObjective):
    """The objective of one stage, of `dirac` as of `hfd`: the network's configuration differs."""

    stage_type = DrawingStage
    frozen: ClassVar[Collection[str]] = ()

    def __init__(self, stage: DrawingStage, setup: Setup) -> None:
        self.stage, self._setup = stage, setup
        self._base: BaseCodec | None = None
        self._facts: dict[int, LevelFacts] = {}  # read once: that waits for a GPU
        self._kept: list[ShownPhotographs] | None = None  # by level, if it is known whether any are
        self._known: DiffusionNetwork | None = None  # the network that has been found measured
        self._shown: list[list[tuple[Pixels, Pixels, float]]] = []

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step at levels and times drawn for it."""
        plain, crops = self._measured(network), batch.crops
        levels, drawn = self._draws(plain, step)
        own = slice(batch.first, batch.first + len(crops))
        shown, scales, ratios = self._noisy_conditions(plain, batch, levels[own], drawn[own])
        clean = (crops - shown) / scales.exp()[:, None, None, None]
        noise = torch.randn_like(clean)
        alpha, sigma = ((sign * ratios).sigmoid().sqrt()[:, None, None, None] for sign in (1, -1))
        controls = Noisy(alpha * clean + sigma * noise, ratios, scales)
        with self._setup.precision():
            predicted = network(shown, controls).latents
        errors = (predicted.float() - (alpha * noise - sigma * clean)).square().mean((1, 2, 3))
        snr = ratios.exp()
        limit = self.stage.snr_limit
        weights = snr.clamp(max=limit) / (snr + 1) if limit else torch.ones_like(snr)
        numbers = {"velocity_error": errors.mean().detach()}
        for name, chosen in (("noisy", drawn[own] > 0.5), ("clean", drawn[own] <= 0.5)):
            picked = torch.as_tensor(chosen, device=errors.device)
            numbers[f"velocity_error_{name}"] = (
                errors.detach() * picked
            ).sum() / picked.sum().clamp(min=1)
        return Loss((weights * errors).mean(), numbers)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return each level's rate and the PSNR of one step; the loss is the velocities' error.

        All are of the lower right 256 px of each photograph, which the base codes once. Noise is
        the same in every validation.
        """
        plain = self._measured(network)
        device = next(plain.parameters()).device
        if not self._shown:
            self._shown = [
                [self._show(plain, one, at) for one in photographs]
                for at in range(plain.config.rate_levels)
            ]
        points, errors = [], []
        with torch.no_grad():
            for at, pictures in enumerate(self._shown):
                facts, bpp, psnr = plain.facts(at), 0.0, 0.0
                for pixels, coded, rate in pictures:
                    image, shown = (to_images(one, device) for one in (pixels, coded))
                    made = plain.single_step(shown, facts).clamp(-1, 1)
                    mse = float((made - image).square().mean()) / 4
                    psnr -= 10 * math.log10(mse) / len(pictures)
                    bpp += rate / len(pictures)
                    errors += [
                        _velocity_error(plain, image, shown, facts, time)
                        for time in VALIDATION_TIMES
                    ]
                points.append(ValidationPoint(float(at), 0.0, bpp, psnr))
        return Validation(tuple(points), math.fsum(errors) / len(errors))

    def _measured(self, network: Network) -> DiffusionNetwork:
        plain = uncompiled(network)
        if not isinstance(plain, DiffusionNetwork):
            raise UsageError(f"The stage {self.stage.kind} is for dirac and hfd, no other network.")
        if plain is self._known:
            return plain
        if not plain.is_measured:
            raise UsageError(
                "The base's residuals have to be measured before training: the recipe is to say "
                'initialise = "pca".'
            )
        self._known, self._facts, self._kept = plain, {}, None
        return plain

    def _facts_of(self, network: DiffusionNetwork, level: int) -> LevelFacts:
        if level not in self._facts:
            self._facts[level] = network.facts(level)
        return self._facts[level]

    def _open(self, network: DiffusionNetwork) -> BaseCodec:
        self._base = self._base or open_base(network.config)
        return self._base

    def _draws(self, network: DiffusionNetwork, step: int) -> tuple[Int64Array, Float64Array]:
        """Return the level and the time of every crop of a step, in all processes."""
        random, size = self._setup.random(step), self.stage.batch
        first, count = int(random.integers(network.config.rate_levels)), np.arange(size)
        levels = random.permutation((first + count) % network.config.rate_levels)
        return levels, random.permutation((count + random.random()) / size)

    def _noisy_conditions(
        self,
        network: DiffusionNetwork,
        batch: Batch,
        levels: Int64Array,
        drawn: Float64Array,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the base's pictures of crops, the logarithms of their scales, and logSNRs."""
        crops = batch.crops
        shown = torch.empty_like(crops)
        scales, ratios = (crops.new_empty(len(crops)) for _ in range(2))
        for level in sorted(set(levels.tolist())):
            # Places, not truth values: a GPU would have to say first how many are true.
            places = np.flatnonzero(levels == level)
            chosen = torch.from_numpy(places).to(crops.device)
            facts = self._facts_of(network, level)
            shown[chosen] = self._shown_crops(network, level, batch, places, chosen)
            scales[chosen] = math.log(facts.scale)
            n = network.noise_scale(facts)
            found = [noise_level(time, n).log_snr for time in drawn[levels == level]]
            ratios[chosen] = crops.new_tensor(found)
        return shown, scales, ratios

    def _shown_crops(
        self,
        network: DiffusionNetwork,
        level: int,
        batch: Batch,
        places: Int64Array,
        chosen: Tensor,
    ) -> Tensor:
        """Return the base's pictures, in [-1, 1], of the crops at `places` of the batch."""
        if self._kept is None:
            self._kept = self._keep(network)
        if not self._kept:
            base = self._open(network)
            return base.code_crops(batch.crops[chosen], _setting(network, level)).images
        numbers = [batch.numbers[place] for place in places]
        pixels = draw_crops(self._kept[level], self.stage.crop_px, numbers, self._setup.recipe.seed)
        return pixels.to(batch.crops.device).float() / 127.5 - 1

    def _keep(self, network: DiffusionNetwork) -> list[ShownPhotographs]:
        """Return the run's photographs at each level of the base; none where they are too many."""
        photographs, folder = self._setup.photographs, self._setup.folder
        levels, device = network.config.rate_levels, self._setup.device
        if photographs is None or folder is None:
            return []
        if 3 * int(photographs.sides.prod(1).sum()) * levels > MOST_BYTES:
            return []
        base, kept_in = self._open(network), folder / FOLDER
        return [
            ShownPhotographs(photographs, base, _setting(network, level), kept_in, device)
            for level in range(levels)
        ]

    def _show(
        self, network: DiffusionNetwork, pixels: Pixels, level: int
    ) -> tuple[Pixels, Pixels, float]:
        """Return a part of a photograph, what the base shows of it, and its bits per pixel."""
        base = self._open(network)
        part = padded(pixels[-VALIDATION_PX:, -VALIDATION_PX:])
        image = to_images(part, self._setup.device)
        coded = base.code_crops(image, _setting(network, level))
        return part, to_pixels(coded.images), float(coded.bits) / (part.shape[0] * part.shape[1])


def _setting(network: DiffusionNetwork, level: int) -> Setting:
    return Setting(network.config.setting, network.config.settings[level])


def _velocity_error(
    network: DiffusionNetwork, image: Tensor, shown: Tensor, facts: LevelFacts, time: float
) -> float:
    at = noise_level(time, network.noise_scale(facts))
    drawn = normal_noise(noise_key(b"validation", 0), 0, tuple(image.shape))
    noise = torch.from_numpy(drawn).to(image.device)
    clean = (image - shown) / facts.scale
    one = torch.ones(1, device=image.device)
    noisy = at.alpha * clean + at.sigma * noise
    controls = Noisy(noisy, at.log_snr * one, math.log(facts.scale) * one)
    predicted = network(shown, controls).latents
    assert predicted is not None
    return float((predicted - (at.alpha * noise - at.sigma * clean)).square().mean())
