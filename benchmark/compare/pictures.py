"""The rule for pictures at one rate, in crops, maps, studies, exports, pages and model.js."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

MAX_CLOSE_RATIO = 1.1  # maximum ratio of rates that count as equal
MAX_SHOWN_RATIO = 1.25  # maximum ratio at which crops and maps show a codec, with its rate
MIN_BPP = 1e-6  # replaces the rate of an empty stream, 0, in logarithms
USUAL_BPP = 0.1, 0.6  # range in which codecs look different


def distance(bpp: float, rate: float) -> float:
    """Return the absolute logarithm of the ratio of two rates."""
    return abs(math.log(max(bpp, MIN_BPP) / max(rate, MIN_BPP)))


def nearest_setting(
    bpp: float, rates: Sequence[float], max_ratio: float, *, allow_between: bool = False
) -> int | None:
    """Return the index of the setting that shows a codec at `bpp`; None: no setting.

    The setting is the nearest by ratio of rates, if the ratio is at most `max_ratio`; with
    `allow_between`, also if `bpp` lies between two settings.

    >>> nearest_setting(0.28, [0.1, 0.3], 1.1), nearest_setting(0.2, [0.1, 0.3], 1.1)
    (1, None)
    >>> nearest_setting(0.2, [0.1, 0.3], 1.1, allow_between=True)
    1
    """
    if not rates:
        return None
    nearest_index = min(range(len(rates)), key=lambda index: distance(rates[index], bpp))
    is_between = allow_between and min(rates) <= bpp <= max(rates)
    return (
        nearest_index
        if is_between or distance(rates[nearest_index], bpp) <= math.log(max_ratio)
        else None
    )


def rate_deviation(bpp: float, rate: float) -> str:
    """Return a rate's deviation from another rate; "" up to MAX_CLOSE_RATIO."""
    if nearest_setting(rate, [bpp], MAX_CLOSE_RATIO) is not None:
        return ""
    return f"{100 * (bpp / rate - 1):+z.0f} %".replace("-", "−")


def matched_rate(
    rates: Mapping[str, Sequence[float]],
    max_ratio: float = MAX_CLOSE_RATIO,
    *,
    allow_between: bool = True,
) -> float:
    """Return a rate in bpp at which most codecs are shown; `rates` are by codec.

    max_ratio, allow_between: as in `nearest_setting`. The candidates are rates of settings, inside
    USUAL_BPP if possible. Codecs differ most at low rates, so the result is the lowest rate from
    which the nearest settings differ by a factor of at most MAX_CLOSE_RATIO in the geometric mean;
    if there is none, it is the rate with the smallest such factor.
    """
    all_rates = sorted({rate for codec_rates in rates.values() for rate in codec_rates})
    counts = [
        sum(
            nearest_setting(rate, codec_rates, max_ratio, allow_between=allow_between) is not None
            for codec_rates in rates.values()
        )
        for rate in all_rates
    ]
    best_rates = [
        rate for rate, count in zip(all_rates, counts, strict=True) if count == max(counts)
    ]
    usual_rates = [
        rate for rate in best_rates if USUAL_BPP[0] <= rate <= USUAL_BPP[1]
    ] or best_rates

    def spread(rate: float) -> float:
        return fmean(
            min(distance(setting_rate, rate) for setting_rate in setting_rates)
            for setting_rates in rates.values()
        )

    close_rates = [rate for rate in usual_rates if spread(rate) <= math.log(MAX_CLOSE_RATIO)]
    return close_rates[0] if close_rates else min(usual_rates, key=spread)
