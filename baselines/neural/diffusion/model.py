"""The network of a diffusion decoder, what it knows of its base's rate levels, and sampling.

The signal that is sampled is u = (x - x̂) / s: the residual of the base's picture x̂ in units of its
standard deviation s at that rate level. For a method that samples the picture itself, this is the
same process in other coordinates: the score of x given x̂ is that of u, logSNR is smaller by 2 ln s,
and predicting v of u is predicting v of x beside that of a normal distribution about x̂.

Large pictures are sampled in overlapping patches, whose velocities are blended before the whole
picture makes the step, so that there is no seam.
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
    LARGEST_LOG_SNR,
    NoiseLevel,
    amplitudes,
    ancestral_step,
    clean,
    ddim_step,
    noise_key,
    noise_level,
    normal_noise,
    times,
)
from baselines.neural.diffusion.unet import UNet
from baselines.neural.network import Estimate, Network, inference, padded, to_images, to_pixels
from benchmark.codec import Pixels
from benchmark.errors import UsageError

LEAST_SCALE = 1e-3  # a quarter of a grey level's error in rounding, on [-1, 1]


def open_base(sizes: DiffusionSizes) -> BaseCodec:
    """Return the base of dimensions; raises `UsageError` for those of `sizes/`, which have none."""
    if not sizes.base:
        raise UsageError(
            "a diffusion decoder is trained for a base codec: bench train --suite generative "
            "--members dirac-elic, say, makes its configuration"
        )
    return BaseCodec(sizes.base)


SCALE, THRESHOLD, RATE, OVERHEAD = range(4)  # columns of the statistics of levels


class Noisy(NamedTuple):
    """Noisy residuals behind base pictures, which the network takes as controls."""

    residuals: Tensor  # (N, 3, H, W), u_t
    log_snr: Tensor  # (N,), of u
    log_scale: Tensor  # (N,), ln s


class LevelFacts(NamedTuple):
    """Statistics of the residuals at a rate."""

    scale: float  # standard deviation s, for pictures in [-1, 1]
    threshold: float  # largest magnitude of u that is sampled


class DiffusionNetwork(Network):
    """U-Net of a diffusion decoder, and a table of its base's rate levels.

    A row has the residuals' standard deviation, the threshold in units of it, log2 of the bits per
    pixel of crops without the bytes of every stream, and these bytes; zeros until `initialise`.
    """

    stride = 16
    recordable = False  # it reads the table, and its base codes on the processor
    levels: Tensor  # (levels, 4), float32

    def __init__(self, sizes: DiffusionSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.unet = UNet(sizes)
        self.register_buffer(f"levels_{sizes.domain}", torch.zeros(sizes.rate_levels, 4))

    @property
    def level_table(self) -> Tensor:
        """The table of rate levels, float32 (levels, 4)."""
        return getattr(self, f"levels_{self.sizes.domain}")

    def forward(self, images: Tensor, controls: Noisy | None, *, noisy: bool = True) -> Estimate:
        """Predict velocities behind base pictures `images` (N, 3, H, W), as `latents`.

        Without `controls`, those of noise of value 0 at the lowest level. Bits are zero.
        """
        if controls is None:
            unit = torch.ones(len(images), device=images.device)
            scale = math.log(self.facts(0.0).scale)
            controls = Noisy(torch.zeros_like(images), -LARGEST_LOG_SNR * unit, scale * unit)
        velocities = self.unet(controls.residuals, images, controls.log_snr, controls.log_scale)
        alpha, sigma = amplitudes(controls.log_snr)
        residuals = alpha * controls.residuals - sigma * velocities
        restored = images + controls.log_scale.exp()[:, None, None, None] * residuals
        none = torch.zeros(len(images), device=images.device)
        return Estimate(restored, none, none, velocities)

    def initialise(self, crops: Tensor, lambdas: Sequence[float]) -> None:
        """Measure the base's residuals on `crops` (N, 3, H, W) in [-1, 1]; weights stay random.

        Raises `UsageError` for a network without a base, `Unavailable` where that cannot run.
        """
        sizes: DiffusionSizes = self.sizes
        base = open_base(sizes)
        flat = torch.zeros_like(crops[:1])
        pixels = crops.shape[2] * crops.shape[3]
        rows = []
        for setting in sizes.sweep:
            shown, bits = base.code_crops(crops, setting)
            overhead = float(base.code_crops(flat, setting)[1]) / 8
            residuals = crops - shown
            scale = max(float(residuals.square().mean().sqrt()), LEAST_SCALE)
            magnitudes = residuals.abs().flatten()  # too many for torch's own quantile
            rank = max(1, round(sizes.threshold_share * len(magnitudes)))
            largest = float(magnitudes.kthvalue(rank).values)
            rate = (bits / 8 - overhead).clamp(min=1).mul(8 / pixels).log2().mean()
            rows.append([scale, max(largest / scale, 1.0), float(rate), overhead])
        with torch.no_grad():
            self.level_table.copy_(torch.tensor(rows))

    @property
    def is_measured(self) -> bool:
        """True once the table of levels is filled in."""
        return bool((self.level_table[:, SCALE] > 0).all())

    def facts(self, position: float) -> LevelFacts:
        """Return the statistics between levels, counted from 0; without a table, all are 1."""
        if not self.is_measured:
            return LevelFacts(1.0, 1.0)
        last = len(self.level_table) - 1
        lower = min(max(0, math.floor(position)), last)
        upper, share = min(lower + 1, last), min(max(position - lower, 0.0), 1.0)
        table = self.level_table[:, [SCALE, THRESHOLD]].double().log()
        return LevelFacts(*((1 - share) * table[lower] + share * table[upper]).exp().tolist())

    def noise_scale(self, facts: LevelFacts) -> float:
        """Return n of the schedule for residuals in units of their standard deviation."""
        scale = self.sizes.noise_scale
        return scale if self.sizes.domain == "residual" else scale / facts.scale

    def predict(
        self, images: Tensor, residuals: Tensor, log_snr: float, facts: LevelFacts
    ) -> Tensor:
        """Return velocities of `residuals` at a noise level behind base pictures `images`."""
        unit = torch.ones(len(images), device=images.device)
        controls = Noisy(residuals, log_snr * unit, math.log(facts.scale) * unit)
        return self(images, controls).latents

    def single_step(self, images: Tensor, facts: LevelFacts) -> Tensor:
        """Return the pictures that a step makes of noise of value 0, an estimate of the mean."""
        at = noise_level(1.0, self.noise_scale(facts))
        noisy = torch.zeros_like(images)
        residuals = clean(noisy, self.predict(images, noisy, at.log_snr, facts), at)
        return images + facts.scale * residuals.clamp(-facts.threshold, facts.threshold)


PATCHES_AT_ONCE = 4

Noise = Callable[[int], Tensor]  # number of a step, 0 for the beginning -> (1, 3, H, W)
Predict = Callable[[Tensor, float], Tensor]  # u_t and logSNR -> velocities, of the same shape
Limits = tuple[Any, Any]  # the least and the largest residual, numbers or tensors


def receive(
    network: DiffusionNetwork,
    base: Pixels,
    stream: bytes,
    position: float,
    steps: int,
    start: float,
    seed: int,
) -> Pixels:
    """Return the pixels sampled behind `base` with the noise of stream and seed.

    position: of the stream among the network's rate levels. steps, start: see `draw`.
    """
    height, width, _ = base.shape
    device = next(network.parameters()).device
    images = to_images(padded(base, network.stride), device)
    images = images.contiguous(memory_format=torch.channels_last)
    key, (_, channels, rows, columns) = noise_key(stream, seed), images.shape

    def noise(step: int) -> Tensor:
        normal = normal_noise(key, step, (1, rows, columns, channels))
        return torch.from_numpy(np.moveaxis(normal, 3, 1)).to(device)

    with inference():
        restored = draw(network, images, network.facts(position), noise, steps, start)
        return to_pixels(restored[:, :, :height, :width])


def draw(
    network: DiffusionNetwork,
    base: Tensor,
    facts: LevelFacts,
    noise: Noise,
    steps: int,
    start: float = 1.0,
) -> Tensor:
    """Return a picture (1, 3, H, W) sampled behind `base`, from the time `start` in (0, 1]."""
    limits: Limits = -facts.threshold, facts.threshold
    if network.sizes.domain == "picture":
        limits = (-1 - base) / facts.scale, (1 - base) / facts.scale
    residuals = draw_residual(
        partial(_velocities, network, base, facts),
        limits,
        noise,
        [noise_level(at, network.noise_scale(facts)) for at in times(steps, start)[:-1]],
        ancestral=network.sizes.sampler == "ancestral",
    )
    return base + facts.scale * residuals


def draw_residual(
    predict: Predict, limits: Limits, noise: Noise, levels: Sequence[NoiseLevel], *, ancestral: bool
) -> Tensor:
    """Return clean residuals sampled through noise levels; noise of steps where `ancestral`."""

    def predicted_at(state: Tensor, at: NoiseLevel) -> Tensor:
        return clean(state, predict(state, at.log_snr), at).clamp(*limits)

    state = levels[0].sigma * noise(0)
    predicted = predicted_at(state, levels[0])
    for step, (at, to) in enumerate(pairwise(levels), start=1):
        if ancestral:
            state = ancestral_step(state, predicted, noise(step), at, to)
        else:
            state = ddim_step(state, predicted, at, to)
        predicted = predicted_at(state, to)
    return predicted


def _velocities(
    network: DiffusionNetwork, base: Tensor, facts: LevelFacts, state: Tensor, log_snr: float
) -> Tensor:
    sizes = network.sizes

    def predict(base: Tensor, state: Tensor) -> Tensor:
        return network.predict(base, state, log_snr, facts)

    rows, columns = (starts(side, sizes.patch_px, sizes.overlap_px) for side in base.shape[2:])
    corners = [(top, left) for top in rows for left in columns]
    if len(corners) == 1:
        return predict(base, state)
    height, width = (min(side, sizes.patch_px) for side in base.shape[2:])
    window = ramps(height, width, sizes.overlap_px).to(base.device)
    total, weights = torch.zeros_like(state), torch.zeros_like(state[:, :1])
    for first in range(0, len(corners), PATCHES_AT_ONCE):
        chosen = corners[first : first + PATCHES_AT_ONCE]
        patches = (
            torch.cat([whole[:, :, y : y + height, x : x + width] for y, x in chosen])
            for whole in (base, state)
        )
        for velocities, (y, x) in zip(predict(*patches), chosen, strict=True):
            total[0, :, y : y + height, x : x + width] += window * velocities
            weights[0, :, y : y + height, x : x + width] += window
    return total / weights


def starts(side_px: int, patch_px: int, overlap_px: int) -> list[int]:
    """Return where overlapping patches of a side begin, multiples of 16, the last at its end."""
    if side_px <= patch_px:
        return [0]
    count = math.ceil((side_px - overlap_px) / (patch_px - overlap_px))
    last = side_px - patch_px
    return [last * at // (count - 1) // 16 * 16 for at in range(count - 1)] + [last]


def ramps(height: int, width: int, overlap_px: int) -> Tensor:
    """Return the weights (height, width) of a patch: 1 inside, falling to its sides, never to 0."""

    def along(side: int) -> Tensor:
        distance = torch.arange(side) + 0.5
        return (torch.minimum(distance, side - distance) / overlap_px).clamp(max=1.0)

    return along(height)[:, None] * along(width)
