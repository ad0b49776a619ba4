"""Network of a diffusion decoder, statistics of its base's rate levels, and sampling.

The sampled signal is u = (x - x̂) / s: the difference of the original x and the base's picture x̂ in
units of its standard deviation s at this rate level. Sampling x is the same process in other
coordinates: x given x̂ has the score of u, logSNR is smaller by 2 ln s, and v of u is v of x
minus v of a normal distribution about x̂. Large pictures are sampled in overlapping patches; their
velocities are blended before each step, which avoids seams.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from baselines.neural.architecture import DiffusionSizes
from baselines.neural.diffusion.base_codec import BaseCodec
from baselines.neural.diffusion.noise import (
    MAX_LOG_SNR,
    NoiseLevel,
    amplitudes,
    ancestral_step,
    ddim_step,
    noise_key,
    noise_level,
    normal_noise,
    predict_clean,
    step_times,
)
from baselines.neural.diffusion.unet import UNet
from baselines.neural.network import (
    Estimate,
    Network,
    inference,
    make_images,
    make_pixels,
    pad_pixels,
)
from benchmark.codec import Pixels
from benchmark.errors import UsageError

MIN_SCALE = 1e-3  # a quarter of the rounding error of 8-bit levels in [-1, 1]


def open_base(sizes: DiffusionSizes) -> BaseCodec:
    """Open the base codec; `UsageError` if `sizes` names none, like the dimensions in `sizes/`."""
    if not sizes.base:
        raise UsageError(
            "the diffusion decoder has no base codec: train a decoder for a base codec, for "
            "example, with bench train --suite generative --members dirac-elic"
        )
    return BaseCodec(sizes.base)


SCALE, THRESHOLD, RATE, OVERHEAD = range(4)  # columns of the table of levels


class NoisyResiduals(NamedTuple):
    """Noisy residuals of base pictures, which control the network."""

    residuals: Tensor  # (N, 3, H, W), u_t
    log_snr: Tensor  # (N,), logSNR of u
    log_scale: Tensor  # (N,), ln s


class LevelFacts(NamedTuple):
    """Statistics of the residuals at a rate level."""

    scale: float  # standard deviation s, for pictures in [-1, 1]
    threshold: float  # maximum magnitude of sampled u


class DiffusionNetwork(Network):
    """U-Net of a diffusion decoder, and a table of its base's rate levels."""

    # A row has the standard deviation of residuals, the threshold in units of it, log2 of the bits
    # per pixel of crops without the overhead of every stream, and this overhead in bytes. The table
    # is zero until `initialise` is called.

    stride = 16
    recordable = False  # since a step reads the table, and the base codes on the CPU
    levels: Tensor  # (levels, 4), float32

    def __init__(self, sizes: DiffusionSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.unet = UNet(sizes)
        self.register_buffer(f"levels_{sizes.domain}", torch.zeros(sizes.rate_levels, 4))

    @property
    def level_table(self) -> Tensor:
        """Table of rate levels, float32 (levels, 4)."""
        return getattr(self, f"levels_{self.sizes.domain}")

    def forward(
        self, images: Tensor, controls: NoisyResiduals | None, *, noisy: bool = True
    ) -> Estimate:
        """Predict velocities given base pictures `images` (N, 3, H, W), returned as `latents`."""
        # without `controls`, residuals are 0, at the lowest rate level; bits are always 0
        if controls is None:
            ones = torch.ones(len(images), device=images.device)
            log_scale = math.log(self.facts(0.0).scale)
            controls = NoisyResiduals(
                torch.zeros_like(images), -MAX_LOG_SNR * ones, log_scale * ones
            )
        velocities = self.unet(controls.residuals, images, controls.log_snr, controls.log_scale)
        alpha, sigma = amplitudes(controls.log_snr)
        residuals = alpha * controls.residuals - sigma * velocities
        restored_images = images + controls.log_scale.exp()[:, None, None, None] * residuals
        zero_bits = torch.zeros(len(images), device=images.device)
        return Estimate(restored_images, zero_bits, zero_bits, velocities)

    def initialise(self, crops: Tensor, lambdas: Sequence[float]) -> None:
        """Measure the base's residuals on `crops` (N, 3, H, W) in [-1, 1]; weights stay random.

        Raises `UsageError` without a base, `Unavailable` if the base cannot run.
        """
        sizes: DiffusionSizes = self.sizes
        base = open_base(sizes)
        grey_crop = torch.zeros_like(crops[:1])
        num_pixels = crops.shape[2] * crops.shape[3]
        rows = []
        for setting in sizes.sweep:
            pictures, bits = base.code_crops(crops, setting)
            overhead = float(base.code_crops(grey_crop, setting)[1]) / 8
            residuals = crops - pictures
            scale = max(float(residuals.square().mean().sqrt()), MIN_SCALE)
            magnitudes = residuals.abs().flatten()  # too many for torch.quantile
            rank = max(1, round(sizes.threshold_share * len(magnitudes)))
            threshold = float(magnitudes.kthvalue(rank).values)
            rate = (bits / 8 - overhead).clamp(min=1).mul(8 / num_pixels).log2().mean()
            rows.append([scale, max(threshold / scale, 1.0), float(rate), overhead])
        with torch.no_grad():
            self.level_table.copy_(torch.tensor(rows))

    @property
    def is_measured(self) -> bool:
        """Whether the table of levels is filled in."""
        return bool((self.level_table[:, SCALE] > 0).all())

    def facts(self, position: float) -> LevelFacts:
        """Interpolate the statistics at a position (from 0) among levels; 1 if not measured."""
        if not self.is_measured:
            return LevelFacts(1.0, 1.0)
        last_level = len(self.level_table) - 1
        lower = min(max(0, math.floor(position)), last_level)
        upper, share = min(lower + 1, last_level), min(max(position - lower, 0.0), 1.0)
        logs = self.level_table[:, [SCALE, THRESHOLD]].double().log()
        return LevelFacts(*((1 - share) * logs[lower] + share * logs[upper]).exp().tolist())

    def noise_scale(self, facts: LevelFacts) -> float:
        """Return n of the noise schedule for residuals in units of their standard deviation."""
        scale = self.sizes.noise_scale
        return scale if self.sizes.domain == "residual" else scale / facts.scale

    def predict(
        self, images: Tensor, residuals: Tensor, log_snr: float, facts: LevelFacts
    ) -> Tensor:
        """Return the velocities of `residuals` at a noise level, given base pictures `images`."""
        ones = torch.ones(len(images), device=images.device)
        controls = NoisyResiduals(residuals, log_snr * ones, math.log(facts.scale) * ones)
        return self(images, controls).latents

    def single_step(self, images: Tensor, facts: LevelFacts) -> Tensor:
        """Estimate the mean of the pictures by a single step that starts at zero noise."""
        level = noise_level(1.0, self.noise_scale(facts))
        noisy = torch.zeros_like(images)
        residuals = predict_clean(noisy, self.predict(images, noisy, level.log_snr, facts), level)
        return images + facts.scale * residuals.clamp(-facts.threshold, facts.threshold)


PATCH_BATCH = 4

Noise = Callable[[int], Tensor]  # step (0: initial noise) -> normal noise (1, 3, H, W)
Predict = Callable[[Tensor, float], Tensor]  # u_t and logSNR -> velocities of the same shape
Limits = tuple[Any, Any]  # minimum and maximum residual, numbers or tensors


def receive(
    network: DiffusionNetwork,
    base: Pixels,
    stream: bytes,
    position: float,
    steps: int,
    start: float,
    seed: int,
) -> Pixels:
    """Sample pixels given `base`, with noise that stream and seed determine; see `draw`."""
    height, width, _ = base.shape
    device = next(network.parameters()).device
    images = make_images(pad_pixels(base, network.stride), device)
    images = images.contiguous(memory_format=torch.channels_last)
    key, (_, channels, rows, columns) = noise_key(stream, seed), images.shape

    def noise(step: int) -> Tensor:
        unit_noise = normal_noise(key, step, (1, rows, columns, channels))
        return torch.from_numpy(np.moveaxis(unit_noise, 3, 1)).to(device)

    with inference():
        restored_images = draw(network, images, network.facts(position), noise, steps, start)
        return make_pixels(restored_images[:, :, :height, :width])


def draw(
    network: DiffusionNetwork,
    base: Tensor,
    facts: LevelFacts,
    noise: Noise,
    steps: int,
    start: float = 1.0,
) -> Tensor:
    """Sample a picture (1, 3, H, W) given `base`, from the time `start` in (0, 1]."""
    limits: Limits = -facts.threshold, facts.threshold
    if network.sizes.domain == "picture":
        limits = (-1 - base) / facts.scale, (1 - base) / facts.scale
    residuals = draw_residual(
        partial(_predict_velocities, network, base, facts),
        limits,
        noise,
        [noise_level(time, network.noise_scale(facts)) for time in step_times(steps, start)[:-1]],
        ancestral=network.sizes.sampler == "ancestral",
    )
    return base + facts.scale * residuals


def draw_residual(
    predict: Predict, limits: Limits, noise: Noise, levels: Sequence[NoiseLevel], *, ancestral: bool
) -> Tensor:
    """Sample clean residuals through noise levels; `ancestral` adds noise in each step."""

    def predict_limited(state: Tensor, level: NoiseLevel) -> Tensor:
        return predict_clean(state, predict(state, level.log_snr), level).clamp(*limits)

    state = levels[0].sigma * noise(0)
    clean = predict_limited(state, levels[0])
    for step, (level, next_level) in enumerate(pairwise(levels), start=1):
        if ancestral:
            state = ancestral_step(state, clean, noise(step), level, next_level)
        else:
            state = ddim_step(state, clean, level, next_level)
        clean = predict_limited(state, next_level)
    return clean


def _predict_velocities(
    network: DiffusionNetwork, base: Tensor, facts: LevelFacts, state: Tensor, log_snr: float
) -> Tensor:
    sizes = network.sizes

    def predict(base: Tensor, state: Tensor) -> Tensor:
        return network.predict(base, state, log_snr, facts)

    rows, columns = (
        patch_starts(side, sizes.patch_px, sizes.overlap_px) for side in base.shape[2:]
    )
    corners = [(top, left) for top in rows for left in columns]
    if len(corners) == 1:
        return predict(base, state)
    height, width = (min(side, sizes.patch_px) for side in base.shape[2:])
    window = patch_weights(height, width, sizes.overlap_px).to(base.device)
    weighted_sum, weight_sum = torch.zeros_like(state), torch.zeros_like(state[:, :1])
    for start in range(0, len(corners), PATCH_BATCH):
        batch = corners[start : start + PATCH_BATCH]
        patches = (
            torch.cat([tensor[:, :, y : y + height, x : x + width] for y, x in batch])
            for tensor in (base, state)
        )
        for velocities, (y, x) in zip(predict(*patches), batch, strict=True):
            weighted_sum[0, :, y : y + height, x : x + width] += window * velocities
            weight_sum[0, :, y : y + height, x : x + width] += window
    return weighted_sum / weight_sum


def patch_starts(side_px: int, patch_px: int, overlap_px: int) -> list[int]:
    """Return where overlapping patches start, at multiples of 16; the last ends with the side."""
    if side_px <= patch_px:
        return [0]
    count = math.ceil((side_px - overlap_px) / (patch_px - overlap_px))
    last_start = side_px - patch_px
    starts = [last_start * index // (count - 1) // 16 * 16 for index in range(count - 1)]
    return [*starts, last_start]


def patch_weights(height: int, width: int, overlap_px: int) -> Tensor:
    """Return weights (height, width) of a patch's pixels: 1, and less in overlaps."""

    def ramp(side: int) -> Tensor:
        distance = torch.arange(side) + 0.5
        return (torch.minimum(distance, side - distance) / overlap_px).clamp(max=1.0)

    return ramp(height)[:, None] * ramp(width)
