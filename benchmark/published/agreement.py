"""Measured points and published ones of the same codec in; how far apart, and why, out. Pure.

At every measured rate inside the published curve, that curve is interpolated over the logarithm of
the rate: by Akima's method, and by PCHIP as well, since where the two disagree neither is to be
trusted by more. Differences are measured minus published, in dB (MS-SSIM as -10 log10(1 - x)).
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchmark.analysis.rate_distortion import LEAST_POINTS, Measure, Values, curves
from benchmark.analysis.summarise import Summary
from benchmark.published.points import (
    COUNTERPARTS,
    PublishedCurve,
    PublishedPoint,
    curve_name,
    published_curves,
)

# dB. Two versions of one encoder lie so far apart: VTM 23.13 .02 to .04 dB above the published run
# of an earlier one. What has to be noticed is ten times as much: truncating where VTM's colours are
# converted costs .5 dB, another library's chroma filter .1.
TOLERANCE_DB = 0.05
COLUMNS = ("psnr_db", "ms_ssim")  # of the same rules, or of rules whose difference is known

Verdict = Literal["agrees", "explained", "differs"]


class Band(NamedTuple):
    """What a known difference makes of measured minus published, in dB."""

    low: float
    high: float


class Cause(NamedTuple):
    """A known difference, and what it makes of a published value (as the table has it)."""

    why: str
    band: Callable[[float], Band]


class Agreement(NamedTuple):
    """A codec of ours against a published curve under one metric."""

    label: str
    published: str
    column: str
    points: int  # measured ones that the published curve reaches
    mean_db: float
    largest_db: float  # in magnitude, with its sign
    at_bpp: float  # where that is
    verdict: Verdict
    why: str


class NotCompared(NamedTuple):
    """Why there is no comparison."""

    label: str
    published: str
    column: str
    why: str


def _mse(psnr_db: float) -> float:
    return 255**2 / 10 ** (psnr_db / 10)


def _rounding(psnr_db: float) -> Band:
    """Rounding to 8 bits adds the variance of a uniform error of one level, 1/12, to the MSE.

    >>> round(_rounding(40.5569).low, 3)  # CompressAI found -.064
    -0.063
    """
    return Band(-10 * math.log10(1 + 1 / 12 / _mse(psnr_db)), 0.0)


def _truncation(psnr_db: float) -> Band:
    """Truncation adds 1/3, so 1/4 more than rounding.

    >>> round(_truncation(30).high, 3), round(_truncation(39).high, 3)
    (0.017, 0.135)
    """
    mse = _mse(psnr_db)
    return Band(0.0, 10 * math.log10(mse / max(mse - 1 / 4, 1 / 12)))


def _rounding_ms_ssim(ms_ssim: float) -> Band:
    """CompressAI's own tables of both: 7e-5 to 1.1e-4 less where pictures are rounded."""
    return Band(10 * math.log10((1 - ms_ssim) / (1 - ms_ssim + 1.2e-4)), 0.0)


# Published rule, rule of ours.
RULES = {
    ("psnr-rgb-unrounded/1", "psnr-rgb8/1"): Cause(
        "published before rounding to 8 bits", _rounding
    ),
    ("ms-ssim-rgb-unrounded/1", "ms-ssim-rgb8/1"): Cause(
        "published before rounding to 8 bits", _rounding_ms_ssim
    ),
    ("psnr-rgb8-truncated/1", "psnr-rgb8/1"): Cause(
        "published of pictures truncated to 8 bits", _truncation
    ),
}
# Pillow 7.1.2 came with the IJG's libjpeg 9d, ours with libjpeg-turbo. On Kodak, quality 10 to 90,
# the one gives the published means to seven digits, the other .09 to .12 dB more (docs/log.md).
IJG = "published with the IJG's libjpeg 9d, whose chroma filter costs .1 dB; ours is libjpeg-turbo"
CODECS = {
    ("jpeg", "psnr_db"): Cause(IJG, lambda _: Band(0.0, 0.12)),
    ("jpeg", "ms_ssim"): Cause(IJG, lambda _: Band(0.0, 0.32)),
}
# Only these weights are the published ones: what the codec's version has to say.
WEIGHTS = {
    "ours:beta=0": "5000000 steps, Open Images",
    "ours:beta=3.84": "5000000 steps, Open Images",
}


def agreements(
    summary: Summary,
    points: Sequence[PublishedPoint],
    dataset: str,
    measures: Sequence[Measure],
) -> list[Agreement | NotCompared]:
    """Every measured codec with a published counterpart on this dataset, under each measure."""
    found: list[Agreement | NotCompared] = []
    for measure in measures:
        published = published_curves(points, dataset, measure.column)
        measured = curves(summary, measure)
        for key, label in COUNTERPARTS.items():
            if label not in summary.labels:
                continue
            for curve in published:
                if (curve.system, curve.variant) != key:
                    continue
                why = _why_not(summary, label, measure, curve)
                name = curve_name(*key)
                if why is None and label not in measured:
                    why = "no complete point is measured"
                if why is not None:
                    found.append(NotCompared(label, name, measure.column, why))
                    continue
                means = [point.means[measure.column] for point in measured[label]]
                rates = np.array([mean.bpp for mean in means], np.float64)
                values = [measure.drawn(mean.value) for mean in means if mean.value is not None]
                found.append(
                    _compare(
                        label,
                        curve,
                        measure,
                        (rates, np.array(values, np.float64)),
                        _causes(label, measure, curve, summary),
                    )
                )
    return found


def _why_not(summary: Summary, label: str, measure: Measure, curve: PublishedCurve) -> str | None:
    editions = [point.edition for point in summary.points if point.label == label]
    wanted = WEIGHTS.get(label, "")
    ours = summary.protocols[measure.column]
    if any(edition.caveats for edition in editions):
        return f"ours are {', '.join(editions[0].caveats)}"
    if any(wanted not in edition.version for edition in editions):
        return "ours are other weights"
    if curve.protocol != ours and (curve.protocol, ours) not in RULES:
        return f"{curve.protocol} is another rule than {ours}"
    if len(curve.points) < LEAST_POINTS:
        return f"{len(curve.points)} published points are too few to interpolate"
    return None


def _causes(label: str, measure: Measure, curve: PublishedCurve, summary: Summary) -> list[Cause]:
    known = (
        RULES.get((curve.protocol, summary.protocols[measure.column])),
        CODECS.get((label, measure.column)),
    )
    return [cause for cause in known if cause is not None]


def _compare(
    label: str,
    curve: PublishedCurve,
    measure: Measure,
    measured: tuple[Values, Values],
    causes: Sequence[Cause],
) -> Agreement | NotCompared:
    name = curve_name(curve.system, curve.variant)
    bpp = np.array([point.bpp for point in curve.points])
    inside = (measured[0] >= bpp[0]) & (measured[0] <= bpp[-1])
    if not inside.any():
        return NotCompared(label, name, measure.column, "no rate in common")
    from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

    rates, values = measured[0][inside], measured[1][inside]
    at, raw = np.log10(rates), np.array([point.value for point in curve.points])
    drawn = np.array([measure.drawn(value) for value in raw])
    akima = Akima1DInterpolator(np.log10(bpp), drawn)(at)
    unsure = np.abs(PchipInterpolator(np.log10(bpp), drawn)(at) - akima)
    reading = max((point.value_error or 0.0 for point in curve.points), default=0.0)
    slack = TOLERANCE_DB + reading + unsure
    difference = values - akima
    bands = [[cause.band(value) for cause in causes] for value in np.interp(at, np.log10(bpp), raw)]
    low = np.array([math.fsum(band.low for band in one) for one in bands])
    high = np.array([math.fsum(band.high for band in one) for one in bands])
    worst = int(np.abs(difference).argmax())
    verdict, why = _verdict(difference, slack, low, high, causes)
    return Agreement(
        label,
        name,
        measure.column,
        len(rates),
        float(difference.mean()),
        float(difference[worst]),
        float(rates[worst]),
        verdict,
        why,
    )


def _verdict(
    difference: Values, slack: Values, low: Values, high: Values, causes: Sequence[Cause]
) -> tuple[Verdict, str]:
    if (np.abs(difference) <= slack).all():
        return "agrees", ""
    if ((difference >= low - slack) & (difference <= high + slack)).all():
        return "explained", "; ".join(cause.why for cause in causes)
    expected = f"{low.min() - slack.max():+.2f} to {high.max() + slack.max():+.2f} dB"
    return "differs", f"no known difference makes more than {expected}"
