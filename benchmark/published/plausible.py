"""Findings on a curve before it is added to the registry: pure arithmetic on rates and values."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchmark.analysis.rate_distortion import LEAST_POINTS, curve_of
from benchmark.codec import Float64Array
from benchmark.metrics.measure import Measure

MOST_ABOVE_DB, MOST_BELOW_DB = 2.0, 12.0  # of VTM: learned codecs reach +1.2 dB, JPEG -7 dB
FACTORS, NEAR_DB = (8.0, 1 / 8), 2.0  # of rates: bytes for bits; how near VTM it is then
RANGES = {"psnr_db": (10.0, 60.0), "ms_ssim": (0.3, 1.0)}

Kind = Literal["falls", "above", "below", "units", "range", "few"]
DOUBTS: tuple[Kind, ...] = ("falls", "above", "below", "units", "range")


class Finding(NamedTuple):
    """Something about a curve that a reader should know, and where it is."""

    column: str
    kind: Kind
    bpp: float
    amount: float  # dB by which it falls, is above or below; a factor of rates; a value; points


def findings(
    measure: Measure,
    bpp: Sequence[float],
    values: Sequence[float],
    anchor: tuple[Sequence[float], Sequence[float]] | None,
) -> list[Finding]:
    """Return what is unusual about a curve.

    bpp, values: in bit per pixel, rising, and as tables have them. anchor: VTM's curve likewise;
    None where there is none on the dataset or in the metric.
    """
    column, found = measure.column, list[Finding]()
    low, high = RANGES.get(column, (-np.inf, np.inf))
    found += [
        Finding(column, "range", rate, value)
        for rate, value in zip(bpp, values, strict=True)
        if not low <= value <= high
    ][:1]
    if found:
        return found
    if len(bpp) < LEAST_POINTS:
        found.append(Finding(column, "few", bpp[0], len(bpp)))
    curve = curve_of(bpp, values, measure)
    steps = np.diff(curve.quality)
    if measure.scale != "decades" and (steps < 0).any():
        worst = int(steps.argmin())
        found.append(Finding(column, "falls", float(curve.bpp[worst + 1]), float(-steps[worst])))
    if anchor and column in RANGES:
        known = curve_of(*anchor, measure)
        worst_place = _farthest(curve.bpp, curve.quality, known.bpp, known.quality)
        if worst_place:
            better = [f for f in FACTORS if _off(curve.bpp * f, curve.quality, *known) < NEAR_DB]
            at, distance = worst_place
            kind: Kind = "units" if better else "above" if distance > 0 else "below"
            found.append(Finding(column, kind, at, better[0] if better else abs(distance)))
    return found


def _distances(
    bpp: Float64Array, quality: Float64Array, known_bpp: Float64Array, known: Float64Array
) -> Float64Array:
    """Return how far above the anchor's curve points are; beyond its ends it goes on as a chord."""
    x, at = np.log10(known_bpp), np.log10(bpp)
    slopes = np.diff(known) / np.diff(x)
    beyond = np.minimum(at - x[0], 0) * slopes[0] + np.maximum(at - x[-1], 0) * slopes[-1]
    return np.asarray(quality - np.interp(at, x, known) - beyond)


def _off(*curves: Float64Array) -> float:
    return float(np.abs(np.median(_distances(*curves))))


def _farthest(*curves: Float64Array) -> tuple[float, float] | None:
    """Return the rate and distance in dB of the most implausible point; None without any."""
    distance = _distances(*curves)
    beyond = np.maximum(distance - MOST_ABOVE_DB, -distance - MOST_BELOW_DB)
    worst = int(beyond.argmax())
    return (float(curves[0][worst]), float(distance[worst])) if beyond[worst] > 0 else None
