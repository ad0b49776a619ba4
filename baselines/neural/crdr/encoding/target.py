"""The stream of an image at a wanted rate or PSNR: the nearest q, then rounding for what is left.

A step of the grid of q changes the rate by some 4 %. What lies between two steps is reached from
the higher one by rounding latents towards their means (`dead_zone`), which takes rate and quality
away in small portions and costs less than .3 % of the rate over such a distance.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

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
