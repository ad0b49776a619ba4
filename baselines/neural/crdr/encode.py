"""Encoding an image with CRDR: in one pass or by search, at a q or at a wanted rate or PSNR.

A step of the grid of q changes the rate by some 4 %. What lies between two steps is reached from
the higher one by rounding latents towards their means (`dead_zone`), which takes rate and quality
away in small portions and costs less than .3 % of the rate over such a distance.
"""

import math
from collections.abc import Callable
from functools import cache, partial
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


class Wanted(NamedTuple):
    """Rate or quality wanted of a stream, with its tolerance."""

    value: float
    unit: str
    above: float  # that will do, on top of the value
    below: float

    def is_met(self, measured: float) -> bool:
        """Return whether a stream that measures so will do."""
        return self.value - self.below <= measured <= self.value + self.above


def wanted_rate(bpp: float) -> Wanted:
    """Return a rate in bits per pixel, within .4 %."""
    return Wanted(bpp, "bpp", 0.004 * bpp, 0.004 * bpp)


def wanted_psnr(decibels: float) -> Wanted:
    """Return a PSNR in dB, at least this and at most .01 dB more."""
    return Wanted(decibels, "dB", 0.01, 0.0)


class Trial(NamedTuple):
    """A stream, and what it measures."""

    data: bytes
    measured: float


Try = Callable[[int, float], Trial]  # at a step of q, with a dead zone


def reached(wanted: Wanted, highest: int, in_one_pass: Try, searched: Try | None = None) -> bytes:
    """Return the stream that measures what is wanted, or comes nearest to it from above.

    Both functions code the image at a step of q, 0 to `highest`, with a dead zone; what they
    measure rises with the step and falls with the dead zone. The quick one says where the slow one
    begins to search. Raises `ImageRefused` where the highest step measures less than is wanted, or
    the lowest more.
    """
    step = _first_step(wanted, highest, in_one_pass)
    code = in_one_pass
    if searched is not None:
        code = searched
        step = _next_step(wanted, highest, searched, step)
    found = code(step, 0.0)
    if wanted.is_met(found.measured):
        return found.data
    if found.measured < wanted.value:
        raise _refused(wanted, "most", found)
    if step == 0:
        least = code(0, LARGEST_DEAD_ZONE)
        if least.measured > wanted.value + wanted.above:
            raise _refused(wanted, "least", least)
    return _trimmed(wanted, found, partial(code, step))


def _trimmed(wanted: Wanted, found: Trial, code: Callable[[float], Trial]) -> bytes:
    """Return the stream with the dead zone that takes the rest away."""
    low, high = 0.0, LARGEST_DEAD_ZONE
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tried = code(middle)
        if wanted.is_met(tried.measured):
            return tried.data
        if tried.measured > wanted.value:
            low, found = middle, tried
        else:
            high = middle
    return found.data


def _first_step(wanted: Wanted, highest: int, code: Try) -> int:
    """Return the lowest step that measures at least what is wanted; the highest if none does."""
    low, high = -1, highest
    while high - low > 1:
        middle = (low + high) // 2
        if code(middle, 0.0).measured >= wanted.value - wanted.below:
            high = middle
        else:
            low = middle
    return high


def _next_step(wanted: Wanted, highest: int, code: Try, step: int) -> int:
    """Return the same as `_first_step`, by single steps from one that is near."""
    enough = wanted.value - wanted.below
    while step < highest and code(step, 0.0).measured < enough:
        step += 1
    while step > 0 and code(step - 1, 0.0).measured >= enough:
        step -= 1
    return step


def _refused(wanted: Wanted, end: str, tried: Trial) -> ImageRefused:
    return ImageRefused(
        f"{wanted.value:g} {wanted.unit} cannot be reached: this image has {tried.measured:.4g} "
        f"{wanted.unit} at {end}"
    )


Choose = Callable[[Piece], Chosen]


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
    """Return the stream of a rate, "bpp", or a PSNR in dB, "psnr", at the q that it takes.

    controls: their q is replaced; the PSNR is that of their beta. Raises `ImageRefused` where no q
    gives what is wanted.
    """
    by_rate = target.name == "bpp"
    wanted = wanted_rate(target.value) if by_rate else wanted_psnr(target.value)

    def measure(data: bytes) -> float:
        return 24 * len(data) / pixels.size if by_rate else _psnr(pixels, codec.decode(data))

    def trials(choose: Choose) -> Try:
        known: dict[tuple[int, int], Chosen] = {}  # by step of q and number of the piece

        def trial(step: int, dead_zone: float) -> Trial:
            def payload(piece: Piece) -> bytes:
                key = step, piece.number
                if key not in known:
                    known[key] = choose(piece)
                return _coder(codec).encode_chosen(known[key], dead_zone)

            data = codec.encode(pixels, controls._replace(q=step), tiling, payload)
            return Trial(data, measure(data))

        return cache(trial)

    searched = None if search is None else trials(_by_search(codec, search))
    return reached(wanted, Q_GRID.highest, trials(_in_one_pass(codec)), searched)


def _in_one_pass(codec: PictureCodec) -> Choose:
    coder = _coder(codec)

    def choose(piece: Piece) -> Chosen:
        latents = coder.analyse(piece.images, piece.controls)[:, :, piece.rows, piece.columns]
        return Chosen(latents, coder.network.hyper_analyse(latents.contiguous()))

    return choose


def _by_search(codec: PictureCodec, search: Search) -> Choose:
    network = _coder(codec).network

    def choose(piece: Piece) -> Chosen:
        rate, beta = piece.controls
        found = refine(network, piece.images, piece.inside, rate, beta, search)
        return found.part(piece.rows, piece.columns)

    return choose


def _coder(codec: PictureCodec) -> CRDRCoder:
    assert isinstance(codec.coder, CRDRCoder)
    return codec.coder


def _psnr(pixels: Pixels, decoded: Pixels) -> float:
    error = float(np.square(np.subtract(pixels, decoded, dtype=np.float64)).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
