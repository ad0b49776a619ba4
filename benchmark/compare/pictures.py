"""Pictures of one rate, which may stand side by side.

One rule of rates for crops, maps, studies, exports, the page and its viewer (model.js). Pure.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

CLOSE = 1.1  # ratio of two rates up to which pictures are of one rate
ABOUT = 1.25  # ratio up to which figures of crops and maps have a codec, with its rate
LEAST_BPP = 1e-6  # an empty stream has a rate of 0, of which there is no logarithm
USUAL_BPP = 0.1, 0.6  # between which codecs look different


def distance(bpp: float, rate: float) -> float:
    """Return the logarithm of the ratio of two rates, without its sign."""
    return abs(math.log(max(bpp, LEAST_BPP) / max(rate, LEAST_BPP)))


def near(bpp: float, rates: Sequence[float], within: float, *, between: bool = False) -> int | None:
    """Return the place of the setting that shows a codec at `bpp`; None where none does.

    rates: of the codec's settings. It is the nearest by ratio, the first of several, if the larger
    rate is at most `within` times the smaller; with `between`, also if `bpp` lies between two
    settings, however far off.

    >>> near(0.28, [0.1, 0.3], 1.1), near(0.2, [0.1, 0.3], 1.1), near(0.2, [0.1, 0.3], 1.6)
    (1, None, 1)
    >>> near(0.2, [0.1, 0.3], 1.1, between=True), near(0.2, [0.3, 0.5], 1.1, between=True)
    (1, None)
    """
    if not rates:
        return None
    place = min(range(len(rates)), key=lambda at: distance(rates[at], bpp))
    inside = between and min(rates) <= bpp <= max(rates)
    return place if inside or distance(rates[place], bpp) <= math.log(within) else None


def off_rate(bpp: float, rate: float) -> str:
    """Return by how much a rate is off another one, empty up to CLOSE.

    >>> off_rate(0.3, 0.2), off_rate(0.21, 0.2)
    ('+50 %', '')
    """
    if near(rate, [bpp], CLOSE) is not None:
        return ""
    return f"{100 * (bpp / rate - 1):+z.0f} %".replace("-", "−")


def matched_rate(
    rates: Mapping[str, Sequence[float]], within: float = CLOSE, *, between: bool = True
) -> float:
    """Return a rate in bpp at which most codecs are shown; `rates` are by codec.

    within, between: by which they are shown, as of `near`.

    Of these rates of settings it is one inside USUAL_BPP, if any; of those the lowest from which
    the nearest settings differ by a factor of at most CLOSE in the geometric mean, since codecs
    differ most at low rates; else the one from which they differ least.

    >>> matched_rate({"a": [0.1, 0.2], "b": [0.19, 0.5], "c": [0.21, 1.0]})
    0.2
    """
    every = sorted({rate for of_codec in rates.values() for rate in of_codec})
    shown = [
        sum(near(rate, own, within, between=between) is not None for own in rates.values())
        for rate in every
    ]
    most = [rate for rate, count in zip(every, shown, strict=True) if count == max(shown)]
    usual = [rate for rate in most if USUAL_BPP[0] <= rate <= USUAL_BPP[1]] or most

    def spread(rate: float) -> float:
        return fmean(min(distance(other, rate) for other in of) for of in rates.values())

    close = [rate for rate in usual if spread(rate) <= math.log(CLOSE)]
    return close[0] if close else min(usual, key=spread)
