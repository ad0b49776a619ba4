"""Agreement of measured points with published ones of the same codec, with known causes.

At every measured rate inside the published curve, that curve is interpolated over the logarithm of
the rate: by Akima's method, and by PCHIP as well, since where the two disagree neither is to be
trusted by more. Differences are measured minus published, in dB (MS-SSIM as -10 log10(1 - x)).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from benchmark.analysis.rate_distortion import LEAST_POINTS
from benchmark.analysis.summarise import Summary
from benchmark.analysis.systems import SYSTEMS
from benchmark.codec_spec import facts_of, parse_codec
from benchmark.metrics.measure import Measure
from benchmark.published.curves import SystemCurve, measured_panel, published_curves
from benchmark.published.points import PublishedPoint

# dB. Two versions of one encoder lie so far apart: VTM 23.13 .02 to .04 dB above the published run
# of an earlier one. What has to be noticed is ten times as much: truncating where VTM's colours are
# converted costs .5 dB, another library's chroma filter .1.
TOLERANCE_DB = 0.05
COLUMNS = ("psnr_db", "ms_ssim")  # of the same rules, or of rules whose difference is known

Verdict = Literal["agrees", "explained", "differs"]


class Band(NamedTuple):
    """Range of measured minus published, in dB, that a known difference explains."""

    low: float
    high: float


class Cause(NamedTuple):
    """A known difference, and the band it gives for a published value (as the table has it)."""

    why: str
    band: Callable[[float], Band]


class Agreement(NamedTuple):
    """Comparison of a measured codec with a published curve under one metric."""

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
    """Reason why a measured codec is not compared with a published curve."""

    label: str
    published: str
    column: str
    why: str


def _mse(psnr_db: float) -> float:
    return 255**2 / 10 ** (psnr_db / 10)


def _constant(band: Band, _published: float) -> Band:
    return band


def _rounding(psnr_db: float) -> Band:
    """Return the band of rounding to 8 bits, which adds 1/12 of a level squared to the MSE.

    >>> round(_rounding(40.5569).low, 3)  # CompressAI found -.064
    -0.063
    """
    return Band(-10 * math.log10(1 + 1 / 12 / _mse(psnr_db)), 0.0)


def _truncation(psnr_db: float) -> Band:
    """Return the band of truncation to 8 bits, which adds 1/3 to the MSE, 1/4 more than rounding.

    >>> round(_truncation(30).high, 3), round(_truncation(39).high, 3)
    (0.017, 0.135)
    """
    mse = _mse(psnr_db)
    return Band(0.0, 10 * math.log10(mse / max(mse - 1 / 4, 1 / 12)))


def _rounding_ms_ssim(ms_ssim: float) -> Band:
    """Return the band of rounding, 7e-5 to 1.1e-4 less in CompressAI's own tables of both."""
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


def agreements(
    summary: Summary, points: Sequence[PublishedPoint], dataset: str, measures: Sequence[Measure]
) -> list[Agreement | NotCompared]:
    """Compare every measured codec with its published counterpart on a dataset, by measure.

    PSNR comes first, since causes of other differences may depend on its agreement.
    """
    found: list[Agreement | NotCompared] = []
    for measure in sorted(measures, key=lambda one: one.column != "psnr_db"):
        by_variant: dict[tuple[str, str], list[SystemCurve]] = {}
        for curve in published_curves(points, dataset, measure):
            by_variant.setdefault(curve.system.published[0], []).append(curve)
        measured = {one.system.label: one for one in measured_panel(summary, measure).measured}
        for system in SYSTEMS:
            if system.measured in summary.labels and system.published and not system.budget:
                label = system.label
                for curve in by_variant.get(system.published[0], ()):
                    mine, why = measured.get(label), _why_not(summary, label, measure, curve)
                    if why or mine is None:
                        why = why or "no complete point is measured"
                        found.append(NotCompared(label, curve.name, measure.column, why))
                    else:
                        causes = _causes(summary, label, measure, curve, found)
                        found.append(_compare(label, curve, measure, mine, causes))
    return found


def _why_not(summary: Summary, label: str, measure: Measure, curve: SystemCurve) -> str | None:
    editions = [point.edition for point in summary.points if point.label == label]
    ours, theirs = summary.protocols[measure.column], curve.protocols[0]
    if any(edition.caveats for edition in editions):
        return f"ours are {', '.join(editions[0].caveats)}"
    wanted = facts_of(parse_codec(label)).published_version
    if any(wanted not in edition.version for edition in editions):
        return "ours are other weights"
    if theirs != ours and (theirs, ours) not in RULES:
        return f"{theirs} is another rule than {ours}"
    if len(curve.points) < LEAST_POINTS:
        return f"{len(curve.points)} published points are too few to interpolate"
    return None


def _causes(
    summary: Summary,
    label: str,
    measure: Measure,
    curve: SystemCurve,
    earlier: Sequence[Agreement | NotCompared],
) -> list[Cause]:
    """Return the known differences of a codec that apply to these versions and this metric."""
    agreed = {
        one.column
        for one in earlier
        if isinstance(one, Agreement)
        and (one.label, one.published, one.verdict) == (label, curve.name, "agrees")
    }
    versions = [point.edition.version for point in summary.points if point.label == label]
    rule = RULES.get((curve.protocols[0], summary.protocols[measure.column]))
    return ([rule] if rule else []) + [
        Cause(one.why, partial(_constant, Band(one.low_db, one.high_db)))
        for one in facts_of(parse_codec(label)).known_differences
        if one.column == measure.column
        and all(version.startswith(one.version) for version in versions)
        and (not one.beside or one.beside in agreed)
    ]


def _compare(
    label: str, curve: SystemCurve, measure: Measure, mine: SystemCurve, causes: Sequence[Cause]
) -> Agreement | NotCompared:
    bpp, drawn = (np.array(one) for one in curve.drawn(measure))
    rates, values = (np.array(one) for one in mine.drawn(measure))
    inside = (rates >= bpp[0]) & (rates <= bpp[-1])
    if not inside.any():
        return NotCompared(label, curve.name, measure.column, "no rate in common")
    from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

    rates, values = rates[inside], values[inside]
    at = np.log10(rates)
    akima = Akima1DInterpolator(np.log10(bpp), drawn)(at)
    unsure = np.abs(PchipInterpolator(np.log10(bpp), drawn)(at) - akima)
    reading = max((point.value_error or 0.0 for point in curve.points), default=0.0)
    slack = TOLERANCE_DB + reading + unsure
    difference = values - akima
    raw = np.interp(at, np.log10(bpp), [point.value for point in curve.points])
    bands = [[cause.band(value) for cause in causes] for value in raw]
    low = np.array([math.fsum(band.low for band in one) for one in bands])
    high = np.array([math.fsum(band.high for band in one) for one in bands])
    verdict: Verdict = "differs"
    why = f"no known difference makes more than {low.min() - slack.max():+.2f} to "
    why += f"{high.max() + slack.max():+.2f} dB"
    if (np.abs(difference) <= slack).all():
        verdict, why = "agrees", ""
    elif ((difference >= low - slack) & (difference <= high + slack)).all():
        verdict, why = "explained", "; ".join(cause.why for cause in causes)
    worst = int(np.abs(difference).argmax())
    means = float(difference.mean()), float(difference[worst]), float(rates[worst])
    return Agreement(label, curve.name, measure.column, len(rates), *means, verdict, why)
