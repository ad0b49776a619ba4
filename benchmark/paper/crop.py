"""Choice of crops: settings of about one rate, and the part of a photograph with most detail."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.codec import Pixels

LEAST_BPP, MOST_BPP = 0.1, 0.6  # between which codecs look different
CLOSE = 1.12
STRIDE_PX = 8


class CropWindow(NamedTuple):
    """Square part of a picture, in pixels."""

    left: int
    top: int
    side: int

    def of(self, pixels: Pixels) -> Pixels:
        """Return that part of a picture, of shape (side, side, 3)."""
        return pixels[self.top : self.top + self.side, self.left : self.left + self.side]


def matched_rate(rates: Mapping[str, Sequence[float]]) -> float:
    """Return a rate in bpp that the settings of all codecs come near to; `rates` are by codec.

    It is the lowest from which the nearest settings differ by a factor of at most CLOSE in the
    geometric mean, since codecs differ most at low rates; else the one from which they differ
    least. Only rates of settings from LEAST_BPP to MOST_BPP are candidates, if there are any.

    >>> matched_rate({"a": [0.1, 0.2], "b": [0.19, 0.5], "c": [0.22, 1.0]})
    0.19
    """
    every = sorted({rate for of_codec in rates.values() for rate in of_codec})
    usual = [rate for rate in every if LEAST_BPP <= rate <= MOST_BPP] or every

    def spread(rate: float) -> float:
        off = [min(abs(math.log(one / rate)) for one in of_codec) for of_codec in rates.values()]
        return sum(off) / len(off)

    close = [rate for rate in usual if spread(rate) <= math.log(CLOSE)]
    return close[0] if close else min(usual, key=spread)


def busiest(pixels: Pixels, side: int) -> CropWindow:
    """Return the square with the largest sum of absolute differences of neighbouring samples.

    A picture smaller than the square gives the largest square inside it.
    """
    height, width, _ = pixels.shape
    side = min(side, height, width)
    luma = pixels.astype(np.float64).mean(axis=2)
    detail = np.zeros((height, width))
    detail[:, 1:] += np.abs(np.diff(luma, axis=1))
    detail[1:] += np.abs(np.diff(luma, axis=0))
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    best = max(
        (sums[y + side, x + side] - sums[y, x + side] - sums[y + side, x] + sums[y, x], -y, -x)
        for y in range(0, height - side + 1, STRIDE_PX)
        for x in range(0, width - side + 1, STRIDE_PX)
    )
    return CropWindow(-best[2], -best[1], side)
