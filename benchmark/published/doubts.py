"""Doubts about a curve of others: values that fall, or that no codec can have beside VTM's."""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.curves import LEAST_POINTS, Curve, curve_of
from benchmark.metrics.metric import Metric
from benchmark.published.curves import published_curves
from benchmark.published.points import PublishedPoint
from benchmark.system.text import by_key

SAME = 1e-6  # share by which two numbers of one point may differ
MOST_ABOVE_DB, MOST_BELOW_DB = 2.0, 12.0  # of VTM: learned codecs reach +1.2 dB, JPEG -7 dB
FACTORS, NEAR_DB = (8.0, 1 / 8), 2.0  # of rates: bytes for bits; how near VTM it is then
RANGES = {"psnr_db": (10.0, 60.0), "ms_ssim": (0.3, 1.0)}

Doubt = Literal["falls", "above", "below", "units", "range", "few"]
DOUBTS: tuple[Doubt, ...] = ("falls", "above", "below", "units", "range")


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


def implausible(
    metric: Metric,
    bpp: Sequence[float],
    values: Sequence[float],
    known: Iterable[PublishedPoint],
    dataset: str,
) -> list[Finding]:
    """Return findings on a curve, beside the first published VTM's on the dataset."""
    vtm = [p for p in known if p.system == "VTM" and not p.doubt]
    anchors = [c for c in published_curves(vtm, dataset, metric) if len(c.points) > 1]
    anchor = anchors[0].points if anchors else ()
    series = ([p.bpp for p in anchor], [p.value for p in anchor]) if anchor else None
    return findings(metric, bpp, values, series)


def copied(
    known: Iterable[PublishedPoint],
    dataset: str,
    metric: str,
    bpp: Sequence[float],
    values: Sequence[float],
) -> str:
    """Return the system whose published points have all of these, or nothing."""
    alike = (p for p in known if (p.dataset, p.metric) == (dataset, metric))
    of_system = by_key((p.system, (p.bpp, p.value)) for p in alike)
    mine = [*zip(bpp, values, strict=True)]
    for system, points in of_system.items():
        if all(np.isclose(points, point, rtol=SAME, atol=0).all(axis=1).any() for point in mine):
            return system
    return ""


def sentence(finding: Finding) -> str:
    """Return a finding in words."""
    at = f"{finding.column} at {finding.bpp:.4g} bpp"
    return {
        "falls": f"{at} is {finding.amount:.3g} below that of a lower rate",
        "above": f"{at} is {finding.amount:.3g} dB above VTM: no known codec is",
        "below": f"{at} is {finding.amount:.3g} dB below VTM: no known codec is",
        "units": f"{at} is beside VTM only if rates are multiplied by {finding.amount:.3g}: "
        f"bits per pixel are expected, not {'bytes' if finding.amount > 1 else 'eighths of a bit'}",
        "range": f"{at} is {finding.amount:.4g}, which the metric does not reach on photographs",
        "few": f"{finding.column} has {finding.amount:g} points: a BD-rate needs {LEAST_POINTS}",
    }[finding.kind]
