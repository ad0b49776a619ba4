"""Encoding an image with CRDR: in a single pass or by search, at a q or at a wanted rate or PSNR.

A step of the grid of q changes the rate by some 4 %. What lies between two steps is reached from
the higher one by rounding latents towards their means (`dead_zone`), for under .3 % of the rate.

A search moves latents to less rate and distortion of the image; decoder and stream stay the same::

    x ─ analysis ─ y, z ─┬─ annealed rounding ─ context ─ bits ─┐
                         │                          └ synthesis ─ distortion + lambda bits ─┐
                         └───────────────── Adam, some steps <──────────────────────────────┘

Campos et al., "Content adaptive optimization for neural image compression" (CVPR workshops 2019),
through the rounding of Yang, Bamler, Mandt, "Improving inference for neural image compression"
(NeurIPS 2020). The distortion is 150 times the squared error at beta 0; a search for realism adds
LPIPS at the stream's own beta, with the published weight, but no GAN, since checkpoints hold no
discriminators.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.neural.bitstream.container import Tiling
from baselines.neural.blocks.control import Level, PlacedLevels
from baselines.neural.crdr.model import Q_GRID, Controls, CRDRCoder, CRDRNetwork, HeaderControls
from baselines.neural.entropy.factorised import annealed
from baselines.neural.entropy.hyperprior_coder import Chosen
from baselines.neural.network import has_bfloat16
from baselines.neural.perceptual import Perceptual
from baselines.neural.picture_codec import PictureCodec, Piece
from benchmark.codec import Pixels, Setting
from benchmark.errors import ImageRefused

SQUARED_ERROR_WEIGHT = 150.0  # of values in [0, 1], beside lambda bits per pixel, as in training
LPIPS_PER_BETA = 0.390625  # of Iwai et al., "Controlling Rate, Distortion, and Realism" (2024)
LEARNING_RATE = 0.01
FIRST_TEMPERATURE, LAST_TEMPERATURE = 0.5, 0.25  # of rounding; it falls geometrically

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Search:
    """Length of the search, and whether it is for realism beside squared error."""

    steps: int
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
    images: Tensor, weights: Tensor, beta: Level | PlacedLevels | None
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
    generator = torch.Generator(latents.device).manual_seed(0)
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
    network: CRDRNetwork, images: Tensor, counted: Tensor, rate: Level | PlacedLevels
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


def _map_of(level: Level | PlacedLevels) -> Floats:
    """Return a number as (1, 1, 1, 1), a map unchanged."""
    return level.cpu().numpy() if isinstance(level, Tensor) else np.full((1, 1, 1, 1), level)


def _interpolated(at: Floats, places: Floats, values: Floats) -> Floats:
    """Interpolate linearly, and beyond the places with the slope of the nearest two, if any."""
    if len(places) == 1:
        return np.full_like(at, values[0], dtype=float)
    first = np.clip(np.searchsorted(places, at) - 1, 0, len(places) - 2)
    share = (at - places[first]) / (places[first + 1] - places[first])
    return values[first] + share * (values[first + 1] - values[first])


LARGEST_DEAD_ZONE = 0.2
HALVINGS = 10  # of the dead zone
RATE_TOLERANCE = 0.004  # of a wanted rate, either way
PSNR_TOLERANCE = 0.01  # dB on top of a wanted PSNR

Choose = Callable[[Piece], Chosen]


class Trial(NamedTuple):
    """A stream with its measured rate or PSNR."""

    data: bytes
    measured: float


Try = Callable[[int, float], Trial]  # at a step of q, with a dead zone


def encode(
    codec: PictureCodec,
    pixels: Pixels,
    controls: HeaderControls,
    tiling: Tiling | None = None,
    search: Search | None = None,
) -> bytes:
    """Return the stream of an image; see `PictureCodec.encode`. Without `search`, in one pass."""
    if search is None:
        return codec.encode(pixels, controls, tiling)
    choose, coder = _by_search(codec, search), _coder(codec)
    return codec.encode(pixels, controls, tiling, lambda piece: coder.encode_chosen(choose(piece)))


def encode_to(
    codec: PictureCodec,
    pixels: Pixels,
    controls: HeaderControls,
    target: Setting,
    tiling: Tiling | None = None,
    search: Search | None = None,
) -> bytes:
    """Return the stream of a rate, "bpp", or a PSNR in dB, "psnr", whatever the q of `controls` is.

    Raises `ImageRefused` where no q reaches the target.
    """
    coder = _coder(codec)

    def measure(data: bytes) -> float:
        by_rate = target.name == "bpp"
        return 24 * len(data) / pixels.size if by_rate else _psnr(pixels, codec.decode(data))

    def trials(choose: Choose) -> Try:
        known: dict[tuple[int, int], Chosen] = {}  # by step of q and number of the piece

        def trial(step: int, dead_zone: float) -> Trial:
            def payload(piece: Piece) -> bytes:
                key = step, piece.number
                if key not in known:
                    known[key] = choose(piece)
                return coder.encode_chosen(known[key], dead_zone)

            data = codec.encode(pixels, controls._replace(q=step), tiling, payload)
            return Trial(data, measure(data))

        return cache(trial)

    def in_one_pass(piece: Piece) -> Chosen:
        latents = coder.analyse(piece.images, piece.controls)[:, :, piece.rows, piece.columns]
        return Chosen(latents, coder.network.hyper_analyse(latents.contiguous()))

    searched = None if search is None else trials(_by_search(codec, search))
    return _reached(target, trials(in_one_pass), searched)


def _reached(target: Setting, in_one_pass: Try, searched: Try | None) -> bytes:
    """Return the stream that measures the target, or comes nearest to it from above.

    A single pass determines where a search begins. Raises `ImageRefused`.
    """
    value, by_rate = target.value, target.name == "bpp"
    above = RATE_TOLERANCE * value if by_rate else PSNR_TOLERANCE
    enough = value - above if by_rate else value

    def is_met(trial: Trial) -> bool:
        return enough <= trial.measured <= value + above

    def refused(end: str, trial: Trial) -> ImageRefused:
        unit = "bpp" if by_rate else "dB"
        image = f"this image has {trial.measured:.4g} {unit} at {end}"
        return ImageRefused(f"{value:g} {unit} cannot be reached: {image}")

    steps = range(Q_GRID.highest)  # the highest is left where none of them measures enough
    step = bisect_left(steps, enough, key=lambda step: in_one_pass(step, 0.0).measured)
    if searched is not None:
        while step < Q_GRID.highest and searched(step, 0.0).measured < enough:
            step += 1
        while step > 0 and searched(step - 1, 0.0).measured >= enough:
            step -= 1
    code = searched or in_one_pass
    best = code(step, 0.0)
    if is_met(best):
        return best.data
    if best.measured < value:
        raise refused("most", best)
    if step == 0 and (least := code(0, LARGEST_DEAD_ZONE)).measured > value + above:
        raise refused("least", least)
    for number in range(step, min(step + 1, Q_GRID.highest) + 1):  # the next for what this skips
        low, high = 0.0, LARGEST_DEAD_ZONE
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            trial = code(number, middle)
            if is_met(trial):
                return trial.data
            if trial.measured > value:
                low = middle
                best = min(best, trial, key=lambda each: each.measured)
            else:
                high = middle
    return best.data


def _by_search(codec: PictureCodec, search: Search) -> Choose:
    network = _coder(codec).network

    def choose(piece: Piece) -> Chosen:
        chosen = refine(network, piece.images, piece.inside, piece.controls, search)
        return chosen.part(piece.rows, piece.columns)

    return choose


def _coder(codec: PictureCodec) -> CRDRCoder:
    assert isinstance(codec.coder, CRDRCoder)
    return codec.coder


def _psnr(pixels: Pixels, decoded: Pixels) -> float:
    error = float(np.square(np.subtract(pixels, decoded, dtype=np.float64)).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
