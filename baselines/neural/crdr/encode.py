"""Encoding an image with CRDR: in a single pass or by search, at a q or at a wanted rate or PSNR.

A step of the grid of q changes the rate by some 4 %. What lies between two steps is reached from
the higher one by rounding latents towards their means (`dead_zone`), for under .3 % of the rate.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from baselines.neural.bitstream.container import Tiling
from baselines.neural.crdr.coder import Q_GRID, CRDRCoder, HeaderControls
from baselines.neural.crdr.refine import Search, refine
from baselines.neural.entropy.hyperprior_coder import Chosen
from baselines.neural.picture_codec import PictureCodec, Piece
from benchmark.codec import Pixels, Setting
from benchmark.errors import ImageRefused

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
