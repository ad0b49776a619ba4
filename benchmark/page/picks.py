"""The pictures of a page: how many are asked for, and which come first. Pure."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmark.errors import UsageError
from benchmark.page.content import ImageKey

ALL = "all"
# Bits per pixel at which a photograph first has pictures of all codecs, in this order, so that
# pictures of one rate stand beside each other however few there are.
RATES = (0.25, 0.5, 0.125, 1.0, 2.0)
LEAST_BPP = 1e-6  # an empty stream has a rate of 0, of which there is no logarithm


class Limit(NamedTuple):
    """Limits of a page's pictures; None is no limit."""

    photographs: int | None
    most_bytes: int | None  # of all picture files together, originals included


class Candidate(NamedTuple):
    """An image at a point, of which the page may have a picture."""

    photograph: str
    num_pixels: int
    bpp: float  # of this image


def limit_of(text: str) -> Limit:
    """Return the limit that `--page-images` states; raises `UsageError` for any other text.

    >>> limit_of("2"), limit_of("14MB")
    (Limit(photographs=2, most_bytes=None), Limit(photographs=None, most_bytes=14000000))
    """
    if text == ALL:
        return Limit(None, None)
    size = re.fullmatch(r"(\d+(?:\.\d+)?) ?MB", text, re.IGNORECASE)
    if size:
        return Limit(None, round(float(size[1]) * 1e6))
    if not text.isdecimal():
        raise UsageError(
            f"--page-images {text!r} is neither a size (14MB), a number of photographs nor 'all'"
        )
    return Limit(int(text), None)


def in_order(candidates: Mapping[ImageKey, Candidate], photographs: int | None) -> list[ImageKey]:
    """Return the images in the order in which the page gets their pictures.

    One photograph follows the other, so that every point opens into an image of the first. Of a
    photograph the points nearest to RATES come first, of all codecs at one rate after the other.
    Photographs are in the order of their number of pictures, most first, then of their size,
    smallest first, then of their names. `photographs` limits their number; None takes all.
    """
    by_number: dict[int, list[ImageKey]] = {}
    for key in candidates:
        by_number.setdefault(key[2], []).append(key)

    def rank(number: int) -> tuple[int, int, str]:
        one = candidates[by_number[number][0]]
        return -len(by_number[number]), one.num_pixels, one.photograph

    groups = [
        [*_at_rates(candidates, by_number[number]), *by_number[number]]
        for number in sorted(by_number, key=rank)[:photographs]
    ]
    return list(dict.fromkeys(key for group in groups for key in group))


def _at_rates(candidates: Mapping[ImageKey, Candidate], keys: Sequence[ImageKey]) -> list[ImageKey]:
    """Return the images of each codec whose rates are nearest to RATES, by ratio."""
    labels = list(dict.fromkeys(label for label, _, _ in keys))
    return [
        min(
            (key for key in keys if key[0] == label),
            key=lambda key: abs(math.log(max(candidates[key].bpp, LEAST_BPP) / rate)),
        )
        for rate in RATES
        for label in labels
    ]
