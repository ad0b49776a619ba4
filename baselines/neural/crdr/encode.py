"""Encode an image with CRDR, searching for latents with lower rate and distortion::

    x ─ analysis ─ y, z ─┬─ annealed rounding ─ context ─ bits ─┐
                         │                          └ synthesis ─ distortion + lambda bits ─┐
                         └───────────────── Adam, some steps <──────────────────────────────┘

Campos et al., "Content adaptive optimization for neural image compression" (CVPR workshops 2019),
with the rounding of Yang, Bamler, Mandt, "Improving inference for neural image compression"
(NeurIPS 2020). The distortion is 150 times the squared error at beta 0.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.neural.bitstream.container import Tiling
from baselines.neural.blocks.control import IndexedLevels, Level
from baselines.neural.crdr.model import Controls, CRDRCoder, CRDRNetwork, HeaderControls
from baselines.neural.entropy.factorised import annealed_rounding
from baselines.neural.entropy.hyperprior_coder import LatentChoice
from baselines.neural.network import has_bfloat16
from baselines.neural.picture_codec import PictureCodec, Piece
from benchmark.codec import Pixels

SQUARED_ERROR_WEIGHT = 150.0  # for values in [0, 1]; as in training, lambda weighs bits per pixel
LEARNING_RATE = 0.01
FIRST_TEMPERATURE, LAST_TEMPERATURE = 0.5, 0.25  # of rounding; it decreases geometrically

Floats = NDArray[np.floating[Any]]


def encode(
    codec: PictureCodec,
    pixels: Pixels,
    controls: HeaderControls,
    tiling: Tiling | None = None,
    steps: int = 0,
) -> bytes:
    """Return an image's stream after a search of `steps`; see `PictureCodec.encode`."""
    coder = codec.coder
    assert isinstance(coder, CRDRCoder)

    def encode_piece(piece: Piece) -> bytes:
        choice = refine(coder.network, piece.images, piece.image_sides, piece.controls.rate, steps)
        return coder.encode_latents(choice.part(piece.rows, piece.columns))

    return codec.encode(pixels, controls, tiling, encode_piece if steps else None)


def refine(
    network: CRDRNetwork,
    images: Tensor,
    image_sides: tuple[int, int],
    rate: Level | IndexedLevels,
    steps: int,
) -> LatentChoice:
    """Search for latents with less rate and distortion than those of the analysis.

    images: float32 (1, 3, H, W) in [-1, 1]. image_sides: rows and columns without padding.
    """
    with torch.inference_mode(False), torch.no_grad():
        images = images.clone(memory_format=torch.channels_last)
        rows, columns = image_sides
        mask = torch.zeros_like(images[:, :1])
        mask[:, :, :rows, :columns] = 1
        latents = network.analyse(images, rate)
        initial_choice = LatentChoice(latents, network.hyper_analyse(latents))
        lambdas = _measure_lambdas(network, images, mask, rate)
        if lambdas is None:
            return initial_choice
        # Weight of a pixel's error if a bit has the weight 1: 1 / lambda, but 0 in padding.
        weights = functional.interpolate(1 / lambdas, images.shape[2:]) * mask
        y, z = variables = [values.clone().requires_grad_(True) for values in initial_choice]
        generator = torch.Generator(y.device).manual_seed(0)
        optimiser = torch.optim.Adam(variables, lr=LEARNING_RATE)
        device = y.device.type
        autocast = torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device))
        for step in range(steps):
            ratio = LAST_TEMPERATURE / FIRST_TEMPERATURE
            temperature = FIRST_TEMPERATURE * ratio ** (step / steps)
            with torch.enable_grad(), autocast:
                coded = network.code_rounded(y, z, annealed_rounding(temperature, generator))
                pictures = network.synthesise(coded.latents, Controls(rate))
                distortion = SQUARED_ERROR_WEIGHT * _squared_error(pictures, images, weights)
                loss = distortion + (coded.y_bits + coded.z_bits).sum()
                for values, gradient in zip(
                    variables, torch.autograd.grad(loss, variables), strict=True
                ):
                    values.grad = gradient
            optimiser.step()
        return LatentChoice(y.detach(), z.detach())


def _squared_error(pictures: Tensor, images: Tensor, weights: Tensor) -> Tensor:
    # for values in [0, 1], averaged over colours and summed over pixels
    return (((pictures - images) / 2).square().mean(1, keepdim=True) * weights).sum()


def _measure_lambdas(
    network: CRDRNetwork, images: Tensor, mask: Tensor, rate: Level | IndexedLevels
) -> Tensor | None:
    # returns the slope of distortion over rate at `rate`; None if levels are not monotonic
    bits, errors = [], []
    for level in range(network.sizes.rate_levels):
        coded = network.code(network.analyse(images, level), noisy=False)
        pictures = network.synthesise(coded.latents, Controls(level)).clamp(-1, 1)
        bits.append(float((coded.y_bits + coded.z_bits).sum()))
        errors.append(float(_squared_error(pictures, images, mask)))
    if not (np.diff(bits) > 0).all() or not (np.diff(errors) < 0).all():
        return None
    slopes = np.log(-SQUARED_ERROR_WEIGHT * np.diff(errors) / np.diff(bits))
    midpoints = np.arange(len(slopes)) + 0.5
    rates = rate.cpu().numpy() if isinstance(rate, Tensor) else np.full((1, 1, 1, 1), rate)
    return torch.from_numpy(np.exp(_interpolate(rates, midpoints, slopes))).to(images)


def _interpolate(points: Floats, positions: Floats, values: Floats) -> Floats:
    # interpolates linearly, and extrapolates with the slope between the nearest two positions
    if len(positions) == 1:
        return np.full_like(points, values[0], dtype=float)
    lower = np.clip(np.searchsorted(positions, points) - 1, 0, len(positions) - 2)
    share = (points - positions[lower]) / (positions[lower + 1] - positions[lower])
    return values[lower] + share * (values[lower + 1] - values[lower])
