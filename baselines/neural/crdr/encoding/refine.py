"""An encoder's search for better latents of one image; decoder and stream stay as they are.

::

    x ─ analysis ─ y, z ─┬─ annealed rounding ─ context ─ bits ─┐
                         │                          └ synthesis ─ distortion + lambda bits ─┐
                         └───────────────── Adam, some steps <──────────────────────────────┘

Analysis has to serve all images; here the latents of one are moved to where its own rate and
distortion are less, as proposed by Campos et al., "Content adaptive optimization for neural image
compression" (CVPR workshops 2019), through the rounding of Yang, Bamler, Mandt, "Improving
inference for neural image compression" (NeurIPS 2020). Where the processor computes in bfloat16, so
do the convolutions of a step: the descent is as good and takes half of the time (docs/log.md), and
what is coded does not depend on it but through the latents.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.neural.bfloat16 import has_bfloat16
from baselines.neural.blocks.control import Level
from baselines.neural.crdr.model import CRDRNetwork
from baselines.neural.entropy.hyperprior_coder import Chosen
from baselines.neural.entropy.rounding import annealed

SQUARED_ERROR_WEIGHT = 150.0  # of values in [0, 1], beside lambda bits per pixel, as in training
FIRST_TEMPERATURE, LAST_TEMPERATURE = 0.5, 0.25  # of rounding; it falls geometrically

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Search:
    """Length of the search, and its noise."""

    steps: int
    learning_rate: float
    seed: int = 0


def refine(
    network: CRDRNetwork,
    images: Tensor,
    inside: tuple[int, int],
    rate: Level,
    search: Search,
) -> Chosen:
    """Search for latents of less rate and distortion together than those of the analysis.

    images: float32 (1, 3, H, W) in [-1, 1], sides multiples of 64, of which the first rows and
    columns `inside` count. rate: q, a number or a map. The distortion is the squared error at beta
    0, so that the stream does not depend on beta. What a bit is worth follows from the image's own
    rates and distortions at the levels of the network. The same machine, number of threads and
    seed give the same latents.
    """
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
        weights = functional.interpolate(1 / lambdas, images.shape[2:]) * counted
        return _descend(network, images, weights, rate, start, search)


def _descend(
    network: CRDRNetwork,
    images: Tensor,
    weights: Tensor,
    rate: Level,
    start: Chosen,
    search: Search,
) -> Chosen:
    latents, hyper = (one.clone().requires_grad_(True) for one in start)
    found = [latents, hyper]
    generator = torch.Generator(images.device).manual_seed(search.seed)
    optimiser = torch.optim.Adam(found, lr=search.learning_rate)
    device = images.device.type
    reduced = torch.autocast(device, torch.bfloat16, enabled=has_bfloat16(device))
    for step in range(search.steps):
        rounding = annealed(_temperature(step / search.steps), generator)
        with torch.enable_grad(), reduced:
            coded = network.code_rounded(latents, hyper, rounding)
            pictures = network.synthesise(coded.latents, rate, 0.0)
            bits = (coded.y_bits + coded.z_bits).sum()
            loss = SQUARED_ERROR_WEIGHT * _squared_error(pictures, images, weights) + bits
            for one, gradient in zip(found, torch.autograd.grad(loss, found), strict=True):
                one.grad = gradient
        optimiser.step()
    return Chosen(latents.detach(), hyper.detach())


def _temperature(share: float) -> float:
    """Return the temperature of rounding after a share of the steps."""
    return float(FIRST_TEMPERATURE * (LAST_TEMPERATURE / FIRST_TEMPERATURE) ** share)


def _squared_error(pictures: Tensor, images: Tensor, weights: Tensor) -> Tensor:
    """Return the squared error of values in [0, 1], a mean over colours and a sum over pixels."""
    return (((pictures - images) / 2).square().mean(1, keepdim=True) * weights).sum()


def _lambdas(network: CRDRNetwork, images: Tensor, counted: Tensor, rate: Level) -> Tensor | None:
    """Return what a bit per pixel is worth where `rate` holds: (1, 1, 1, 1), or a map as `rate`.

    It is the slope of the image's distortion over its rate, between whole levels, whose logarithm
    is interpolated to q. None for an image whose rate or distortion does not follow the level.
    """
    measured = [_measure(network, images, counted, q) for q in range(network.sizes.rate_levels)]
    bits, errors = (np.array(one) for one in zip(*measured, strict=True))
    if not (np.diff(bits) > 0).all() or not (np.diff(errors) < 0).all():
        return None
    slopes = np.log(-SQUARED_ERROR_WEIGHT * np.diff(errors) / np.diff(bits))
    middles = np.arange(len(slopes)) + 0.5
    levels = rate.cpu().numpy() if isinstance(rate, Tensor) else np.full((1, 1, 1, 1), rate)
    return torch.from_numpy(np.exp(_interpolated(levels, middles, slopes))).to(images)


def _interpolated(at: Floats, places: Floats, values: Floats) -> Floats:
    """Interpolate linearly, and beyond the places with the slope of the nearest two, if any."""
    if len(places) == 1:
        return np.full_like(at, values[0], dtype=float)
    first = np.clip(np.searchsorted(places, at) - 1, 0, len(places) - 2)
    share = (at - places[first]) / (places[first + 1] - places[first])
    found: Floats = values[first] + share * (values[first + 1] - values[first])
    return found


def _measure(
    network: CRDRNetwork, images: Tensor, counted: Tensor, q: float
) -> tuple[float, float]:
    """Return bits, and the squared error of what counts, of the image coded in one pass at q."""
    coded = network.code(network.analyse(images, q), noisy=False)
    pictures = network.synthesise(coded.latents, q, 0.0).clamp(-1, 1)
    bits = (coded.y_bits + coded.z_bits).sum()
    return float(bits), float(_squared_error(pictures, images, counted))
