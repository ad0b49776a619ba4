"""Agreement of measured and published curves of one codec, and of sources with each other.

The published curve is interpolated at measured rates, over their logarithm: by Akima's method, and
by PCHIP, whose difference is a tolerance. Differences are measured minus published, in dB.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.curves import (
    AKIMA_POINTS,
    LEAST_POINTS,
    Curve,
    Delta,
    bd_metric,
    curve_of,
)
from benchmark.compare.panel import SystemCurve, measured_panel
from benchmark.compare.published.curves import published_curves
from benchmark.compare.published.points import PublishedPoint
from benchmark.facts import facts_of
from benchmark.metrics.metric import Metric
from benchmark.rows.summary import Summary
from benchmark.rows.systems import SYSTEMS
from benchmark.spec import parse_codec

# dB, as two versions of one encoder differ (VTM 23.13 by .02 to .04); truncating where colours are
# converted costs .5 dB, another library's chroma filter .1.
TOLERANCE_DB = 0.05
MOST_ABOVE_DB, MOST_BELOW_DB = 2.0, 12.0  # of VTM: learned codecs reach +1.2 dB, JPEG -7 dB
FACTORS, NEAR_DB = (8.0, 1 / 8), 2.0  # of rates: bytes for bits; how near VTM it is then
RANGES = {"psnr_db": (10.0, 60.0), "ms_ssim": (0.3, 1.0)}

Doubt = Literal["falls", "above", "below", "units", "range", "few"]
DOUBTS: tuple[Doubt, ...] = ("falls", "above", "below", "units", "range")
COLUMNS = ("psnr_db", "ms_ssim")  # of the same rules, or of rules whose difference is known


class Agreement(NamedTuple):
    """Comparison of a measured codec with a published curve under one metric."""

    label: str
    published: str
    column: str
    points: int  # measured ones that the published curve reaches
    mean_db: float
    largest_db: float  # in magnitude, with its sign
    at_bpp: float  # where that is
    verdict: Literal["agrees", "explained", "differs"]
    why: str


class NotCompared(NamedTuple):
    """Reason why a measured codec is not compared with a published curve."""

    label: str
    published: str
    column: str
    why: str


class Cause(NamedTuple):
    """A known difference, and the range of measured minus published that it explains, in dB."""

    why: str
    low: Float64Array | float
    high: Float64Array | float


def rounding_db(psnr_db: Float64Array) -> Float64Array:
    """Return the loss by rounding to 8 bits, which adds 1/12 of a level squared to the MSE.

    >>> round(float(rounding_db(np.array(40.5569))), 3)  # CompressAI states .064
    0.063
    """
    return np.asarray(10 * np.log10(1 + 10 ** (psnr_db / 10) / 255**2 / 12))


def truncation_db(psnr_db: Float64Array) -> Float64Array:
    """Return the loss by truncation to 8 bits, which adds 1/3 to the MSE, 1/4 more than rounding.

    >>> truncation_db(np.array([30.0, 39.0, 55.0])).round(3)
    array([0.017, 0.135, 3.923])
    """
    mse = 255**2 / 10 ** (psnr_db / 10)
    return np.asarray(10 * np.log10(mse / np.maximum(mse - 1 / 4, 1 / 12)))


# Published systems that are programs, by name: a variant is a version, or who ran it.
PROGRAMS = ("VTM", "HM", "BPG", "AV1", "JPEG", "JPEG2000", "WebP")
UNROUNDED = "published before rounding to 8 bits"
RULES: dict[tuple[str, str], Callable[[Float64Array], Cause]] = {  # by published rule and ours
    ("psnr-rgb-unrounded/1", "psnr-rgb8/1"): lambda x: Cause(UNROUNDED, -rounding_db(x), 0.0),
    # rounding costs MS-SSIM 7e-5 to 1.1e-4 in CompressAI's own tables of both
    ("ms-ssim-rgb-unrounded/1", "ms-ssim-rgb8/1"): lambda x: Cause(
        UNROUNDED, -10.0 * np.log10((1 - x + 1.2e-4) / (1 - x)), 0.0
    ),
    ("psnr-rgb8-truncated/1", "psnr-rgb8/1"): lambda x: Cause(
        "published of pictures truncated to 8 bits", 0.0, truncation_db(x)
    ),
}


def agreements(
    summary: Summary, points: Sequence[PublishedPoint], dataset: str, metrics: Sequence[Metric]
) -> list[Agreement | NotCompared]:
    """Compare every measured codec with its published counterpart on a dataset, by metric.

    PSNR comes first, since causes of other differences may depend on its agreement.
    """
    result: list[Agreement | NotCompared] = []
    agreed: dict[tuple[str, str], set[str]] = {}  # metrics, by codec and published curve
    systems = [s for s in SYSTEMS if s.measured in summary.labels and s.published and not s.budget]
    for metric in sorted(metrics, key=lambda metric: metric.column != "psnr_db"):
        published = published_curves(points, dataset, metric)
        panel = measured_panel(summary, metric)
        for system, curve in product(systems, published):
            if curve.system.published[0] == system.published[0]:
                label, mine = system.label, panel.of_label(system.label)
                known = agreed.setdefault((label, curve.system.name), set())
                result.append(_compare(summary, label, mine, metric, curve, known))
                if getattr(result[-1], "verdict", "") == "agrees":
                    known.add(metric.column)
    return result


def _compare(
    summary: Summary,
    label: str,
    mine: SystemCurve | None,
    metric: Metric,
    curve: SystemCurve,
    agreed: set[str],
) -> Agreement | NotCompared:
    """Compare a codec with a published curve. agreed: metrics in which the two agree."""
    editions = [point.edition for point in summary.points if point.label == label]
    facts = facts_of(parse_codec(label))
    theirs, ours = rules = curve.protocols[0], summary.protocols[metric.column]
    caveats = next((edition.caveats for edition in editions if edition.caveats), ())
    refusals = {
        f"ours are {', '.join(caveats)}": bool(caveats),
        "ours are other weights": any(facts.published_version not in e.version for e in editions),
        f"{theirs} is another rule than {ours}": theirs != ours and rules not in RULES,
        f"{len(curve.points)} published points are too few": len(curve.points) < AKIMA_POINTS,
        "no complete point is measured": mine is None,
        "ours are over other images": mine and mine.points[0].images != curve.points[0].images,
    }
    key = label, curve.system.name, metric.column
    why = next((why for why, applies in refusals.items() if applies), "")
    if mine is None or why:
        return NotCompared(*key, why)
    bpp, places = map(np.array, curve.plotted(metric))
    rates, values = map(np.array, mine.plotted(metric))
    inside = (rates >= bpp[0]) & (rates <= bpp[-1])
    if not inside.any():
        return NotCompared(*key, "no rate in common")
    from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

    at, x = np.log10(rates[inside]), np.log10(bpp)
    akima = Akima1DInterpolator(x, places)(at)
    difference = values[inside] - akima
    reading = max((point.value_error or 0.0 for point in curve.points), default=0.0)
    slack = TOLERANCE_DB + reading + np.abs(PchipInterpolator(x, places)(at) - akima)
    raw = np.interp(at, x, [point.value for point in curve.points])
    causes = [RULES[rules](raw)] if rules in RULES else []
    causes += [
        Cause(known.why, known.low_db, known.high_db)
        for known in facts.known_differences
        if known.column == metric.column
        and all(edition.version.startswith(known.version) for edition in editions)
        and (not known.beside or known.beside in agreed)
    ]
    low = sum((cause.low for cause in causes), np.zeros(len(at))) - slack
    high = sum((cause.high for cause in causes), np.zeros(len(at))) + slack
    worst = int(np.abs(difference).argmax())
    numbers = float(difference.mean()), float(difference[worst]), float(rates[inside][worst])
    result = Agreement(*key, len(at), *numbers, "agrees", "")
    if (np.abs(difference) <= slack).all():
        return result
    if ((difference >= low) & (difference <= high)).all():
        return result._replace(verdict="explained", why="; ".join(cause.why for cause in causes))
    why = f"no known difference makes more than {low.min():+z.2f} to {high.max():+z.2f} dB"
    return result._replace(verdict="differs", why=why)


def contradictions(
    curves: Sequence[SystemCurve], metric: Metric
) -> list[tuple[Metric, list[SystemCurve]]]:
    """Return groups of curves of one system that sources disagree on, the first before the others.

    A program is one system in all its versions, another system is one in each variant.
    """
    groups: dict[tuple[str, str], list[SystemCurve]] = {}
    for curve in curves:
        system, variant = curve.system.published[0]
        groups.setdefault((system, "" if system in PROGRAMS else variant), []).append(curve)
    result = []

    def apart(first: SystemCurve, other: SystemCurve) -> Delta:
        return bd_metric(first.rates(metric), other.rates(metric), metric)

    for first, *others in groups.values():
        source = first.points[0].source
        far = [
            other
            for other in others
            if other.points[0].source != source
            and (delta := apart(first, other)).value is not None
            and abs(delta.value) > TOLERANCE_DB
        ]
        result += [(metric, [first, *far])] if far else []
    return result


class Finding(NamedTuple):
    """Something about a curve that a reader should know, and where it is."""

    column: str
    kind: Doubt
    bpp: float
    amount: float  # dB by which it falls, is above or below; a factor of rates; a value; points


def findings(
    metric: Metric,
    bpp: Sequence[float],
    values: Sequence[float],
    anchor: tuple[Sequence[float], Sequence[float]] | None,
) -> list[Finding]:
    """Return what is unusual about a curve.

    bpp, values: in bit per pixel, rising, and as tables have them. anchor: VTM's curve likewise;
    None where there is none on the dataset or in the metric.
    """
    column = metric.column
    low, high = RANGES.get(column, (-np.inf, np.inf))
    for rate, value in zip(bpp, values, strict=True):
        if not low <= value <= high:
            return [Finding(column, "range", rate, value)]
    result = [Finding(column, "few", bpp[0], len(bpp))] if len(bpp) < LEAST_POINTS else []
    curve = curve_of(bpp, values, metric)
    steps = np.diff(curve.quality)
    if metric.scale != "decades" and (steps < 0).any():
        worst = int(steps.argmin())
        result.append(Finding(column, "falls", float(curve.bpp[worst + 1]), float(-steps[worst])))
    if anchor and column in RANGES:
        known = curve_of(*anchor, metric)
        above = _above(curve, known)
        beyond = np.maximum(above - MOST_ABOVE_DB, -above - MOST_BELOW_DB)
        worst = int(beyond.argmax())
        if beyond[worst] > 0:
            scaled = ((f, _above(Curve(curve.bpp * f, curve.quality), known)) for f in FACTORS)
            unit = next((f for f, off in scaled if abs(np.median(off)) < NEAR_DB), None)
            kind: Doubt = "units" if unit else "above" if above[worst] > 0 else "below"
            amount = unit or abs(float(above[worst]))
            result.append(Finding(column, kind, float(curve.bpp[worst]), amount))
    return result


def _above(curve: Curve, anchor: Curve) -> Float64Array:
    """Return the dB of points above an anchor's curve; beyond its ends it goes on as a chord."""
    x, at = np.log10(anchor.bpp), np.log10(curve.bpp)
    slopes = np.diff(anchor.quality) / np.diff(x)
    beyond = np.minimum(at - x[0], 0) * slopes[0] + np.maximum(at - x[-1], 0) * slopes[-1]
    return np.asarray(curve.quality - np.interp(at, x, anchor.quality) - beyond)
