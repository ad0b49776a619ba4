"""Sampling of a picture behind a base picture, step by step, large ones in overlapping patches.

Velocities of patches are blended before the whole picture makes the step, so there is no seam.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from baselines.neural.diffusion.model import DiffusionNetwork, LevelFacts
from baselines.neural.diffusion.noise import (
    NoiseLevel,
    ancestral_step,
    clean,
    ddim_step,
    noise_key,
    noise_level,
    normal_noise,
    times,
)
from baselines.neural.inference import inference, padded, to_images, to_pixels
from benchmark.codec import Pixels

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
    if network.config.domain == "picture":
        limits = (-1 - base) / facts.scale, (1 - base) / facts.scale
    residuals = draw_residual(
        partial(_velocities, network, base, facts),
        limits,
        noise,
        [noise_level(at, network.noise_scale(facts)) for at in times(steps, start)[:-1]],
        ancestral=network.config.sampler == "ancestral",
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
    config = network.config

    def predict(base: Tensor, state: Tensor) -> Tensor:
        return network.predict(base, state, log_snr, facts)

    rows, columns = (starts(side, config.patch_px, config.overlap_px) for side in base.shape[2:])
    corners = [(top, left) for top in rows for left in columns]
    if len(corners) == 1:
        return predict(base, state)
    height, width = (min(side, config.patch_px) for side in base.shape[2:])
    window = ramps(height, width, config.overlap_px).to(base.device)
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
