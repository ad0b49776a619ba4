"""Pictures at one rate: one rule for crops, maps, studies, exports, pages and model.js. Pure."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

CLOSE = 1.1  # ratio of two rates up to which pictures are of one rate
ABOUT = 1.25  # ratio up to which figures of crops and maps have a codec, with its rate
LEAST_BPP = 1e-6  # an empty stream has a rate of 0, of which there is no logarithm
USUAL_BPP = 0.1, 0.6  # between which codecs look different


def distance(bpp: float, rate: float) -> float:
    """Return the absolute logarithm of the ratio of two rates."""
    return abs(math.log(max(bpp, LEAST_BPP) / max(rate, LEAST_BPP)))


def nearest_setting(
    bpp: float, rates: Sequence[float], within: float, *, between: bool = False
) -> int | None:
    """Return the index of the setting that shows a codec at `bpp`; None without one.

    It is the nearest by ratio of `rates`, if the ratio is at most `within`; with `between`, also if
    `bpp` lies between two settings.

    >>> nearest_setting(0.28, [0.1, 0.3], 1.1), nearest_setting(0.2, [0.1, 0.3], 1.1)
    (1, None)
    >>> nearest_setting(0.2, [0.1, 0.3], 1.1, between=True)
    1
    """
    if not rates:
        return None
    nearest = min(range(len(rates)), key=lambda index: distance(rates[index], bpp))
    inside = between and min(rates) <= bpp <= max(rates)
    return nearest if inside or distance(rates[nearest], bpp) <= math.log(within) else None


def rate_deviation(bpp: float, rate: float) -> str:
    """Return the deviation of a rate from another one, empty up to CLOSE."""
    if nearest_setting(rate, [bpp], CLOSE) is not None:
        return ""
    return f"{100 * (bpp / rate - 1):+z.0f} %".replace("-", "−")


def matched_rate(
    rates: Mapping[str, Sequence[float]], within: float = CLOSE, *, between: bool = True
) -> float:
    """Return a rate in bpp at which most codecs are shown; `rates` are by codec.

    within, between: as in `nearest_setting`. The candidates are rates of settings, inside USUAL_BPP
    if possible. Codecs differ most at low rates, so the lowest wins from which the nearest settings
    differ by a factor of at most CLOSE in the geometric mean; else that with the smallest
    difference.
    """
    all_rates = sorted({rate for of_codec in rates.values() for rate in of_codec})
    counts = [
        sum(
            nearest_setting(rate, codec_rates, within, between=between) is not None
            for codec_rates in rates.values()
        )
        for rate in all_rates
    ]
    best_rates = [
        rate for rate, count in zip(all_rates, counts, strict=True) if count == max(counts)
    ]
    usual = [rate for rate in best_rates if USUAL_BPP[0] <= rate <= USUAL_BPP[1]] or best_rates

    def spread(rate: float) -> float:
        return fmean(
            min(distance(setting_rate, rate) for setting_rate in setting_rates)
            for setting_rates in rates.values()
        )

    close = [rate for rate in usual if spread(rate) <= math.log(CLOSE)]
    return close[0] if close else min(usual, key=spread)
