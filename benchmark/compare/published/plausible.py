"""Findings on a curve before it is added to the registry: pure arithmetic on rates and values."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.curves import LEAST_POINTS, Curve, curve_of
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
    column = measure.column
    low, high = RANGES.get(column, (-np.inf, np.inf))
    for rate, value in zip(bpp, values, strict=True):
        if not low <= value <= high:
            return [Finding(column, "range", rate, value)]
    result = [Finding(column, "few", bpp[0], len(bpp))] if len(bpp) < LEAST_POINTS else []
    curve = curve_of(bpp, values, measure)
    steps = np.diff(curve.quality)
    if measure.scale != "decades" and (steps < 0).any():
        worst = int(steps.argmin())
        result.append(Finding(column, "falls", float(curve.bpp[worst + 1]), float(-steps[worst])))
    if anchor and column in RANGES:
        known = curve_of(*anchor, measure)
        above = _above(curve, known)
        beyond = np.maximum(above - MOST_ABOVE_DB, -above - MOST_BELOW_DB)
        worst = int(beyond.argmax())
        if beyond[worst] > 0:
            scaled = ((f, _above(Curve(curve.bpp * f, curve.quality), known)) for f in FACTORS)
            unit = next((f for f, off in scaled if abs(np.median(off)) < NEAR_DB), None)
            kind: Kind = "units" if unit else "above" if above[worst] > 0 else "below"
            amount = unit or abs(float(above[worst]))
            result.append(Finding(column, kind, float(curve.bpp[worst]), amount))
    return result


def _above(curve: Curve, anchor: Curve) -> Float64Array:
    """Return the dB of points above an anchor's curve; beyond its ends it goes on as a chord."""
    x, at = np.log10(anchor.bpp), np.log10(curve.bpp)
    slopes = np.diff(anchor.quality) / np.diff(x)
    beyond = np.minimum(at - x[0], 0) * slopes[0] + np.maximum(at - x[-1], 0) * slopes[-1]
    return np.asarray(curve.quality - np.interp(at, x, anchor.quality) - beyond)
