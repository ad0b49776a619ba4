"""An encoder's search for better latents of an image; decoder and stream stay as they are.

::

    x ─ analysis ─ y, z ─┬─ annealed rounding ─ context ─ bits ─┐
                         │                          └ synthesis ─ distortion + lambda bits ─┐
                         └───────────────── Adam, some steps <──────────────────────────────┘

Latents move to less rate and distortion of the an image, as proposed by Campos et al., "Content
adaptive optimization for neural image compression" (CVPR workshops 2019), through the rounding of
Yang, Bamler, Mandt, "Improving inference for neural image compression" (NeurIPS 2020). The
distortion is 150 times the squared error at beta 0; a search for realism adds LPIPS at the stream's
own beta, with the published weight, but no GAN, since checkpoints hold no discriminators.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.neural.blocks.control import Control, Level
from baselines.neural.crdr.model import Controls, CRDRNetwork
from baselines.neural.entropy.factorised import annealed
from baselines.neural.entropy.hyperprior_coder import Chosen
from baselines.neural.inference import has_bfloat16
from baselines.neural.perceptual import Perceptual

SQUARED_ERROR_WEIGHT = 150.0  # of values in [0, 1], beside lambda bits per pixel, as in training
LPIPS_PER_BETA = 0.390625  # of Iwai et al., "Controlling Rate, Distortion, and Realism" (2024)
LEARNING_RATE = 0.01
FIRST_TEMPERATURE, LAST_TEMPERATURE = 0.5, 0.25  # of rounding; it falls geometrically

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Search:
    """Length of the search, its noise, and whether it is for realism beside squared error."""

    steps: int
    seed: int = 0
    for_realism: bool = False


def refine(
    network: CRDRNetwork,
    images: Tensor,
    inside: tuple[int, int],
    controls: Controls,
    search: Search,
) -> Chosen:
    """Search for latents of less rate and distortion together than those of the analysis.

    images: float32 (1, 3, H, W) in [-1, 1], of which the first rows and columns `inside` count.
    Raises `Unavailable` for a search for realism without AlexNet's weights.
    """
    rate, beta = controls
    with torch.inference_mode(False), torch.no_grad():
        images = images.clone(memory_format=torch.channels_last)
        rows, columns = inside
        counted = torch.zeros_like(images[:, :1])
        counted[:, :, :rows, :columns] = 1
        latents = network.analyse(images, rate)
        start = Chosen(latents, network.hyper_analyse(latents))
        lambdas = _lambdas(network, images, counted, rate)
        if lambdas is None:
            return start
        weights = _at_pixels(1 / lambdas, images) * counted  # bits for each pixel; 0 for padding
        shown_at = Controls(rate, beta if search.for_realism else 0.0)
        distortion = _distortion(images, weights, beta if search.for_realism else None)
        return _descend(network, shown_at, start, distortion, search)


def _distortion(
    images: Tensor, weights: Tensor, beta: Level | Control | None
) -> Callable[[Tensor], Tensor]:
    """Return the squared error of pictures, and LPIPS (AlexNet) at a `beta`, in bits."""

    def squared(pictures: Tensor) -> Tensor:
        return SQUARED_ERROR_WEIGHT * _squared_error(pictures, images, weights)

    if beta is None:
        return squared
    of_pixels = LPIPS_PER_BETA * _at_pixels(torch.from_numpy(_map_of(beta)).to(images), images)
    lpips = Perceptual().to(images.device)
    # LPIPS is a mean over positions, bits are a sum over pixels.
    lpips_weights = (of_pixels * weights)[:, 0] * images[0, 0].numel()
    return lambda pictures: squared(pictures) + lpips(images, pictures, lpips_weights).sum()


def _descend(
    network: CRDRNetwork,
    controls: Controls,
    start: Chosen,
    distortion: Callable[[Tensor], Tensor],
    search: Search,
) -> Chosen:
    latents, hyper = searched = [values.clone().requires_grad_(True) for values in start]
    generator = torch.Generator(latents.device).manual_seed(search.seed)
    optimiser = torch.optim.Adam(searched, lr=LEARNING_RATE)
    device = latents.device.type
    reduced = torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device))
    for step in range(search.steps):
        fall = LAST_TEMPERATURE / FIRST_TEMPERATURE
        temperature = FIRST_TEMPERATURE * fall ** (step / search.steps)
        with torch.enable_grad(), reduced:
            coded = network.code_rounded(latents, hyper, annealed(temperature, generator))
            pictures = network.synthesise(coded.latents, controls)
            loss = distortion(pictures) + (coded.y_bits + coded.z_bits).sum()
            for values, gradient in zip(searched, torch.autograd.grad(loss, searched), strict=True):
                values.grad = gradient
        optimiser.step()
    return Chosen(latents.detach(), hyper.detach())


def _at_pixels(levels: Tensor, images: Tensor) -> Tensor:
    """Return numbers by region, (1, 1, h, w), as (1, 1, H, W) of the images."""
    return functional.interpolate(levels, images.shape[2:])


def _squared_error(pictures: Tensor, images: Tensor, weights: Tensor) -> Tensor:
    """Return the squared error of values in [0, 1], a mean over colours and a sum over pixels."""
    return (((pictures - images) / 2).square().mean(1, keepdim=True) * weights).sum()


def _lambdas(
    network: CRDRNetwork, images: Tensor, counted: Tensor, rate: Level | Control
) -> Tensor | None:
    """Return the slope of distortion over rate at `rate`; None where it does not follow levels."""
    bits, errors = [], []
    for level in range(network.sizes.rate_levels):
        coded = network.code(network.analyse(images, level), noisy=False)
        pictures = network.synthesise(coded.latents, Controls(level)).clamp(-1, 1)
        bits.append(float((coded.y_bits + coded.z_bits).sum()))
        errors.append(float(_squared_error(pictures, images, counted)))
    if not (np.diff(bits) > 0).all() or not (np.diff(errors) < 0).all():
        return None
    slopes = np.log(-SQUARED_ERROR_WEIGHT * np.diff(errors) / np.diff(bits))
    middles = np.arange(len(slopes)) + 0.5
    return torch.from_numpy(np.exp(_interpolated(_map_of(rate), middles, slopes))).to(images)


def _map_of(level: Level | Control) -> Floats:
    """Return a number as (1, 1, 1, 1), a map unchanged."""
    return level.cpu().numpy() if isinstance(level, Tensor) else np.full((1, 1, 1, 1), level)


def _interpolated(at: Floats, places: Floats, values: Floats) -> Floats:
    """Interpolate linearly, and beyond the places with the slope of the nearest two, if any."""
    if len(places) == 1:
        return np.full_like(at, values[0], dtype=float)
    first = np.clip(np.searchsorted(places, at) - 1, 0, len(places) - 2)
    share = (at - places[first]) / (places[first + 1] - places[first])
    return values[first] + share * (values[first + 1] - values[first])
