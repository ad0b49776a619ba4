"""The objective of diffusion decoders, and their members of the suite `generative`.

A base codec shows a crop at a random level: as part of its photograph where there is room to keep
those (`ShownPhotographs`), else by itself. The crop's residual, in units of the level's standard
deviation, gets noise of a random time. The loss is the squared error of the predicted velocity.
Our choices: a time in each of as many equal intervals as the batch has crops; levels shared evenly.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from baselines.neural.architecture import load_architecture
from baselines.neural.diffusion.base_codec import BaseCodec
from baselines.neural.diffusion.model import DiffusionNetwork, Noisy, open_base
from baselines.neural.diffusion.noise import amplitudes, noise_key, noise_level, normal_noise
from baselines.neural.network import Network, padded, to_images, to_pixels
from baselines.neural.training.objective import (
    Batch,
    Loss,
    Objective,
    Setup,
    Validation,
    ValidationPoint,
    own_network,
)
from baselines.neural.training.photographs import Photographs, draw_crops
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.suites import LEARNING_RATE, phases_of, stage_of
from benchmark.codec import Float64Array, Int64Array, Pixels, Setting
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import ALIASES, CODECS
from benchmark.system.atomic import write_file

FOLDER = "base"  # in the run's folder
MOST_BYTES = 16 << 30  # of pixels of all levels; a run with more codes its crops by themselves
USUAL_BASE = "elic"
VALIDATION_TIMES = (0.2, 0.4, 0.6, 0.8, 0.95)
VALIDATION_PX = 256


class ShownPhotographs(Photographs):
    """Photographs as a base shows them at a setting, coded once and kept in files of `folder`."""

    def __init__(
        self,
        photographs: Photographs,
        setting: Setting,
        base: BaseCodec,
        folder: Path,
        device: torch.device,
    ) -> None:
        super().__init__(photographs.paths, photographs.sides)
        self._photographs, self._folder = photographs, folder
        self._base, self._setting, self._device = base, setting, device

    def decoded(self, index: int) -> Pixels:
        """Return the base's picture of a photograph, uint8 (height, width, 3)."""
        path = self._folder / f"{self._setting.value:g}-{index}.npy"
        if not path.exists():
            pixels = self._photographs.decoded(index)
            image = to_images(padded(pixels), self._device)
            shown = to_pixels(self._base.code_crops(image, self._setting)[0])
            content = io.BytesIO()
            np.save(content, shown[: pixels.shape[0], : pixels.shape[1]])
            write_file(path, content.getbuffer())
        return np.load(path, mmap_mode="r")


class Drawing(Objective):
    """The objective of a stage, of `dirac` as of `hfd`: the network's configuration differs."""

    weighs_rate = reduces = False

    def __init__(self, stage: Stage, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._network: DiffusionNetwork | None = None
        self._validated: list[tuple[int, Pixels, Pixels, float]] = []

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step at random levels and times."""
        plain, crops = self._opened(network), batch.crops
        levels, times = self._random_levels(plain, step)
        some = slice(len(crops))
        shown, scales, ratios = self._noisy_conditions(plain, batch, levels[some], times[some])
        clean = (crops - shown) / scales.exp()[:, None, None, None]
        noise = torch.randn_like(clean)
        alpha, sigma = amplitudes(ratios)
        controls = Noisy(alpha * clean + sigma * noise, ratios, scales)
        with self.setup.precision():
            predicted = network(shown, controls).latents
        errors = (predicted.float() - (alpha * noise - sigma * clean)).square().mean((1, 2, 3))
        numbers = {"velocity_error": errors.mean().detach()}
        for name, chosen in (("noisy", times > 0.5), ("clean", times <= 0.5)):
            mask = torch.from_numpy(chosen).to(errors.device, non_blocking=True)
            total = (errors.detach() * mask).sum()
            numbers[f"velocity_error_{name}"] = total / mask.sum().clamp(min=1)
        return Loss(errors.mean(), numbers)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return rates and PSNR of a single step, of 256 px; the loss is the velocities' error."""
        plain = self._opened(network)
        device, count = next(plain.parameters()).device, len(photographs)
        for level, setting in enumerate(() if self._validated else plain.sizes.sweep):
            for pixels in photographs:
                part = padded(pixels[-VALIDATION_PX:, -VALIDATION_PX:])
                shown, bits = self._base.code_crops(to_images(part, device), setting)
                rate = float(bits) / (part.shape[0] * part.shape[1])
                self._validated.append((level, part, to_pixels(shown), rate))
        points = [ValidationPoint(float(level), 0.0, 0.0, 0.0) for level in range(len(self._facts))]
        errors: list[float] = []
        with torch.no_grad():
            for level, pixels, coded_pixels, rate in self._validated:
                facts = self._facts[level]
                image, shown = (to_images(picture, device) for picture in (pixels, coded_pixels))
                restored = plain.single_step(shown, facts).clamp(-1, 1)
                psnr = -10 * math.log10(float((restored - image).square().mean()) / 4)
                _, _, bpp, psnr_db = points[level]
                points[level] = points[level]._replace(
                    bpp=bpp + rate / count, psnr_db=psnr_db + psnr / count
                )
                normal = normal_noise(noise_key(b"validation", 0), 0, tuple(image.shape))
                noise, clean = torch.from_numpy(normal).to(device), (image - shown) / facts.scale
                for time in VALIDATION_TIMES:
                    at = noise_level(time, plain.noise_scale(facts))
                    noisy = at.alpha * clean + at.sigma * noise
                    predicted = plain.predict(shown, noisy, at.log_snr, facts)
                    error = predicted - (at.alpha * noise - at.sigma * clean)
                    errors.append(float(error.square().mean()))
        return Validation(tuple(points), math.fsum(errors) / len(errors))

    def _opened(self, network: Network) -> DiffusionNetwork:
        """Return the network, after opening its base and reading its statistics, once."""
        plain, setup = own_network(self, network, DiffusionNetwork), self.setup
        if plain is self._network:
            return plain
        if not plain.is_measured:
            raise UsageError(
                "The base's residuals have to be measured before training: the recipe is to say "
                'initialise = "pca".'
            )
        sweep = plain.sizes.sweep
        self._network, self._base = plain, open_base(plain.sizes)
        self._facts = [plain.facts(level) for level in range(len(sweep))]  # waits for a GPU
        self._kept: list[ShownPhotographs] = []  # by level; none if they were too many
        seen, folder = setup.photographs, setup.folder
        size = 0 if seen is None else 3 * int(seen.sides.prod(1).sum()) * len(sweep)
        if seen is not None and folder is not None and size <= MOST_BYTES:
            place = self._base, folder / FOLDER, setup.device
            self._kept = [ShownPhotographs(seen, setting, *place) for setting in sweep]
        return plain

    def _random_levels(
        self, network: DiffusionNetwork, step: int
    ) -> tuple[Int64Array, Float64Array]:
        random, size = self.setup.random(step), self.stage.batch
        levels = network.sizes.rate_levels
        first, count = int(random.integers(levels)), np.arange(size)
        chosen = random.permutation((first + count) % levels)
        return chosen, random.permutation((count + random.random()) / size)

    def _noisy_conditions(
        self, network: DiffusionNetwork, batch: Batch, levels: Int64Array, times: Float64Array
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the base's pictures of crops, the logarithms of their scales, and logSNRs."""
        network, crops, stage = self._opened(network), batch.crops, self.stage
        shown = torch.empty_like(crops)
        scales, ratios = (crops.new_empty(len(crops)) for _ in range(2))
        for level in sorted(set(levels.tolist())):
            # Places, not truth values: a GPU would have to count first how many are true.
            places = np.flatnonzero(levels == level)
            chosen = torch.from_numpy(places).to(crops.device, non_blocking=True)
            if self._kept:
                numbers, seed = [batch.numbers[place] for place in places], self.setup.recipe.seed
                pixels = draw_crops(self._kept[level], stage.crop_px, numbers, seed)
                pixels = pixels.pin_memory() if crops.is_cuda else pixels
                shown[chosen] = pixels.to(crops.device, non_blocking=True).float() / 127.5 - 1
            else:
                setting = network.sizes.sweep[level]
                shown[chosen], _ = self._base.code_crops(crops[chosen], setting)
            facts = self._facts[level]
            scales[chosen] = math.log(facts.scale)
            n = network.noise_scale(facts)
            snr = torch.tensor([noise_level(t, n).log_snr for t in times[places]])
            ratios[chosen] = snr.to(crops.device, non_blocking=True)
        return shown, scales, ratios


def members(recipe: Recipe, name: str) -> dict[str, Recipe]:
    """Return the member `dirac-BASE` or `hfd-BASE`; see `suites.GENERATIVE`.

    It has the crops of `ours`, since its network serves all rates of its base.
    """
    method, _, text = name.partition("-")
    text = text or USUAL_BASE
    if text not in CODECS and text not in ALIASES and ":" not in text:
        raise UnknownName(f"base codec of {method}", text, [*CODECS, *ALIASES])
    base = BaseCodec(text)
    sweep = base.codec.sweep
    if len({setting.name for setting in sweep}) != 1:
        raise UsageError(f"{text} is no base of {method}: its settings have several names")
    dimensions = replace(
        load_architecture(method).sizes[recipe.sizes],
        base=base.spec.text,
        base_fingerprint=base.fingerprint,
        setting=sweep[0].name,
        settings=tuple(float(setting.value) for setting in sweep),
    )
    own: dict[str, Any] = {"lambdas": (), "prior_rate_factor": 1.0, "reduced_share": 0.0}
    stages = tuple(
        stage_of(phase, recipe, method, 1, LEARNING_RATE, **own)
        for phase in phases_of(recipe, realism=False)
    )
    file = f"{method}-{base.spec.name.rpartition(':')[2]}"
    made = replace(recipe, stages=stages, dimensions=msgspec.to_builtins(dimensions))
    return {file: made}
