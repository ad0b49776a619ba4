"""Objective of diffusion decoders, and the members of the suite `generative` that use it.

Each crop gets a random level. If all decoded photographs fit on disk, the base codec codes each
photograph once (`DecodedPhotographs`); otherwise it codes every crop. The residual is divided by
its standard deviation, and gets noise of a random time; the loss is the squared error of the
predicted velocity. Our choices: times are stratified over a batch's crops, and levels are uniform.
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
from baselines.neural.diffusion.model import DiffusionNetwork, NoisyResiduals, open_base
from baselines.neural.diffusion.noise import amplitudes, noise_key, noise_level, normal_noise
from baselines.neural.network import Network, make_images, make_pixels, pad_pixels
from baselines.neural.training.objective import (
    Batch,
    Loss,
    Objective,
    Setup,
    Validation,
    ValidationPoint,
    require_network,
)
from baselines.neural.training.photographs import PhotographSet, draw_crops
from baselines.neural.training.recipe import Recipe, Stage
from baselines.neural.training.suites import LEARNING_RATE, phases_of, stage_of
from benchmark.codec import Float64Array, Int64Array, Pixels, Setting
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import ALIASES, CODECS
from benchmark.system.atomic import write_file

BASE_FOLDER = "base"  # subfolder of the run, for decoded photographs
MAX_CACHED_BYTES = 16 << 30  # if the pixels of all levels take more, crops are coded instead
USUAL_BASE = "elic"
VALIDATION_TIMES = (0.2, 0.4, 0.6, 0.8, 0.95)
VALIDATION_PX = 256


class DecodedPhotographs(PhotographSet):
    """Photographs decoded by a base codec at one setting, coded once and stored in `folder`."""

    def __init__(
        self,
        photographs: PhotographSet,
        setting: Setting,
        base: BaseCodec,
        folder: Path,
        device: torch.device,
    ) -> None:
        super().__init__(photographs.paths, photographs.sides)
        self._photographs, self._folder = photographs, folder
        self._base, self._setting, self._device = base, setting, device

    def decode(self, index: int) -> Pixels:
        """Return a photograph decoded by the base, uint8 (height, width, 3)."""
        path = self._folder / f"{self._setting.value:g}-{index}.npy"
        if not path.exists():
            pixels = self._photographs.decode(index)
            image = make_images(pad_pixels(pixels), self._device)
            pictures = make_pixels(self._base.code_crops(image, self._setting)[0])
            content = io.BytesIO()
            np.save(content, pictures[: pixels.shape[0], : pixels.shape[1]])
            write_file(path, content.getbuffer())
        return np.load(path, mmap_mode="r")


class DiffusionObjective(Objective):
    """Objective of a stage of `dirac` or `hfd`, which differ in the network's configuration."""

    weighs_rate = uses_reduced_crops = False

    def __init__(self, stage: Stage, setup: Setup) -> None:
        super().__init__(stage, setup)
        self._network: DiffusionNetwork | None = None
        self._validation_crops: list[tuple[int, Pixels, Pixels, float]] = []

    def loss(self, network: Network, batch: Batch, step: int) -> Loss:
        """Return the loss of a step at random levels and times."""
        model, crops = self._prepare_network(network), batch.crops
        levels, times = self._random_levels(model, step)
        all_crops = slice(len(crops))
        pictures, scales, log_snrs = self._noisy_conditions(
            model, batch, levels[all_crops], times[all_crops]
        )
        signal = (crops - pictures) / scales.exp()[:, None, None, None]
        noise = torch.randn_like(signal)
        alpha, sigma = amplitudes(log_snrs)
        controls = NoisyResiduals(alpha * signal + sigma * noise, log_snrs, scales)
        with self.setup.precision():
            predicted_velocity = network(pictures, controls).latents
        velocity = alpha * noise - sigma * signal
        errors = (predicted_velocity.float() - velocity).square().mean((1, 2, 3))
        numbers = {"velocity_error": errors.mean().detach()}
        for name, is_selected in (("noisy", times > 0.5), ("clean", times <= 0.5)):
            mask = torch.from_numpy(is_selected).to(errors.device, non_blocking=True)
            total = (errors.detach() * mask).sum()
            numbers[f"velocity_error_{name}"] = total / mask.sum().clamp(min=1)
        return Loss(errors.mean(), numbers)

    def validate(self, network: Network, photographs: Sequence[Pixels]) -> Validation:
        """Return rates and single-step PSNR of 256 px crops; the loss is the velocities' error."""
        model = self._prepare_network(network)
        device, count = next(model.parameters()).device, len(photographs)
        for level, setting in enumerate(() if self._validation_crops else model.sizes.sweep):
            for pixels in photographs:
                crop = pad_pixels(pixels[-VALIDATION_PX:, -VALIDATION_PX:])
                picture, bits = self._base.code_crops(make_images(crop, device), setting)
                rate = float(bits) / (crop.shape[0] * crop.shape[1])
                self._validation_crops.append((level, crop, make_pixels(picture), rate))
        points = [ValidationPoint(float(level), 0.0, 0.0, 0.0) for level in range(len(self._facts))]
        errors: list[float] = []
        with torch.no_grad():
            for level, pixels, coded_pixels, rate in self._validation_crops:
                facts = self._facts[level]
                image, base_image = (make_images(x, device) for x in (pixels, coded_pixels))
                restored_image = model.single_step(base_image, facts).clamp(-1, 1)
                psnr = -10 * math.log10(float((restored_image - image).square().mean()) / 4)
                _, _, bpp, psnr_db = points[level]
                points[level] = points[level]._replace(
                    bpp=bpp + rate / count, psnr_db=psnr_db + psnr / count
                )
                unit_noise = normal_noise(noise_key(b"validation", 0), 0, tuple(image.shape))
                noise = torch.from_numpy(unit_noise).to(device)
                signal = (image - base_image) / facts.scale
                for time in VALIDATION_TIMES:
                    amounts = noise_level(time, model.noise_scale(facts))
                    noisy_residuals = amounts.alpha * signal + amounts.sigma * noise
                    velocity = model.predict(base_image, noisy_residuals, amounts.log_snr, facts)
                    error = velocity - (amounts.alpha * noise - amounts.sigma * signal)
                    errors.append(float(error.square().mean()))
        return Validation(tuple(points), math.fsum(errors) / len(errors))

    def _prepare_network(self, network: Network) -> DiffusionNetwork:
        model, setup = require_network(self, network, DiffusionNetwork), self.setup
        if model is self._network:
            return model
        if not model.is_measured:
            raise UsageError(
                "the base codec's residuals must be measured before training: write "
                'initialise = "pca" in the recipe'
            )
        sweep = model.sizes.sweep
        self._network, self._base = model, open_base(model.sizes)
        self._facts = [model.facts(level) for level in range(len(sweep))]  # waits for a GPU
        self._decoded_photographs: list[DecodedPhotographs] = []  # by level; empty if too large
        photographs, folder = setup.photographs, setup.folder
        num_bytes = 0
        if photographs is not None:
            num_bytes = 3 * int(photographs.sides.prod(1).sum()) * len(sweep)
        if photographs is not None and folder is not None and num_bytes <= MAX_CACHED_BYTES:
            base_folder = folder / BASE_FOLDER
            self._decoded_photographs = [
                DecodedPhotographs(photographs, setting, self._base, base_folder, setup.device)
                for setting in sweep
            ]
        return model

    def _random_levels(
        self, network: DiffusionNetwork, step: int
    ) -> tuple[Int64Array, Float64Array]:
        generator, size = self.setup.random(step), self.stage.batch
        num_levels = network.sizes.rate_levels
        offset, indices = int(generator.integers(num_levels)), np.arange(size)
        drawn_levels = generator.permutation((offset + indices) % num_levels)
        return drawn_levels, generator.permutation((indices + generator.random()) / size)

    def _noisy_conditions(
        self, network: DiffusionNetwork, batch: Batch, levels: Int64Array, times: Float64Array
    ) -> tuple[Tensor, Tensor, Tensor]:
        # returns pictures of the base codec, log scales of residuals, and log SNRs
        network, crops, stage = self._prepare_network(network), batch.crops, self.stage
        pictures = torch.empty_like(crops)
        scales, log_snrs = (crops.new_empty(len(crops)) for _ in range(2))
        for level in sorted(set(levels.tolist())):
            # Indices, since a GPU would first have to count the true values of a mask.
            indices = np.flatnonzero(levels == level)
            rows = torch.from_numpy(indices).to(crops.device, non_blocking=True)
            if self._decoded_photographs:
                numbers, seed = [batch.numbers[index] for index in indices], self.setup.recipe.seed
                pixels = draw_crops(self._decoded_photographs[level], stage.crop_px, numbers, seed)
                pixels = pixels.pin_memory() if crops.is_cuda else pixels
                pictures[rows] = pixels.to(crops.device, non_blocking=True).float() / 127.5 - 1
            else:
                setting = network.sizes.sweep[level]
                pictures[rows], _ = self._base.code_crops(crops[rows], setting)
            facts = self._facts[level]
            scales[rows] = math.log(facts.scale)
            n = network.noise_scale(facts)
            snr = torch.tensor([noise_level(t, n).log_snr for t in times[indices]])
            log_snrs[rows] = snr.to(crops.device, non_blocking=True)
        return pictures, scales, log_snrs


def members(recipe: Recipe, name: str) -> dict[str, Recipe]:
    """Return the member `dirac-BASE` or `hfd-BASE`; see `suites.GENERATIVE`."""
    # a member gets as many crops as `ours`, since its network serves all rates of the base
    method, _, base_text = name.partition("-")
    base_text = base_text or USUAL_BASE
    if base_text not in CODECS and base_text not in ALIASES and ":" not in base_text:
        raise UnknownName(f"base codec of {method}", base_text, [*CODECS, *ALIASES])
    base = BaseCodec(base_text)
    sweep = base.codec.sweep
    if len({setting.name for setting in sweep}) != 1:
        raise UsageError(f"{base_text} cannot be the base of {method}: its settings differ in name")
    dimensions = replace(
        load_architecture(method).sizes[recipe.sizes],
        base=base.spec.text,
        base_fingerprint=base.fingerprint,
        setting=sweep[0].name,
        settings=tuple(float(setting.value) for setting in sweep),
    )
    fields: dict[str, Any] = {"lambdas": (), "prior_rate_factor": 1.0, "reduced_share": 0.0}
    stages = tuple(
        stage_of(phase, recipe, method, 1, LEARNING_RATE, **fields)
        for phase in phases_of(recipe, realism=False)
    )
    file_name = f"{method}-{base.spec.name.rpartition(':')[2]}"
    member_recipe = replace(recipe, stages=stages, dimensions=msgspec.to_builtins(dimensions))
    return {file_name: member_recipe}
