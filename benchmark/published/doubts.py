"""Doubts about published curves: falling values, and values implausibly far from VTM's."""

from collections.abc import Iterable, Sequence

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.rate_quality import RateQuality, curve_of
from benchmark.metrics.metric import Metric
from benchmark.published.points import PublishedPoint
from benchmark.system.text import group_by_key

# Maximum plausible distances from VTM; learned codecs reach 1.2 dB above, JPEG 7 dB below
MAX_ABOVE_DB, MAX_BELOW_DB = 2.0, 12.0
UNIT_FACTORS = (8.0, 1 / 8)  # rate factors if bytes were given instead of bits, or the reverse
NEAR_DB = 2.0  # maximum median distance from VTM after the correction
RANGES = {"psnr_db": (10.0, 60.0), "ms_ssim": (0.3, 1.0)}


def doubts(
    metric: Metric, bpp: Sequence[float], values: Sequence[float], anchor: RateQuality | None
) -> list[str]:
    """Return a sentence per implausible property of a curve, in order of rate; anchor: VTM."""
    low, high = RANGES.get(metric.column, (-np.inf, np.inf))
    for rate, value in zip(bpp, values, strict=True):
        if not low <= value <= high:
            statement = f"{metric.column} at {rate:.4g} bpp is {value:.4g}"
            return [f"{statement}, out of the metric's range for photographs"]
    curve, result = curve_of(bpp, values, metric), list[str]()
    texts = [f"{metric.column} at {rate:.4g} bpp is" for rate in curve.bpp]
    steps = np.diff(curve.quality)
    if metric.scale != "decades" and (steps < 0).any():
        index = int(steps.argmin())
        result.append(f"{texts[index + 1]} {-steps[index]:.3g} below the value at a lower rate")
    if anchor is None or metric.column not in RANGES:
        return result
    distances_db = _decibels_above(curve, anchor)
    excess_db = np.maximum(distances_db - MAX_ABOVE_DB, -distances_db - MAX_BELOW_DB)
    index = int(excess_db.argmax())
    if excess_db[index] > 0:
        side = "above" if distances_db[index] > 0 else "below"
        message = f"{abs(distances_db[index]):.3g} dB {side} VTM, unlike any known codec"
        for factor in UNIT_FACTORS:
            scaled_curve = RateQuality(curve.bpp * factor, curve.quality)
            if abs(np.median(_decibels_above(scaled_curve, anchor))) < NEAR_DB:
                unit = "bytes" if factor > 1 else "eighths of a bit"
                message = f"near VTM only if rates are multiplied by {factor:.3g}: give bits per "
                message += f"pixel, not {unit}"
                break
        result.append(f"{texts[index]} {message}")
    return result


def _decibels_above(curve: RateQuality, anchor: RateQuality) -> Float64Array:
    """Return the distances (dB) of points above the anchor's linearly extended curve."""
    anchor_rates, log_rates = np.log10(anchor.bpp), np.log10(curve.bpp)
    slopes = np.diff(anchor.quality) / np.diff(anchor_rates)
    start_extension = np.minimum(log_rates - anchor_rates[0], 0) * slopes[0]
    end_extension = np.maximum(log_rates - anchor_rates[-1], 0) * slopes[-1]
    anchor_quality = np.interp(log_rates, anchor_rates, anchor.quality)
    return np.asarray(curve.quality - anchor_quality - start_extension - end_extension)


def vtm_curve(
    published_points: Iterable[PublishedPoint], dataset: str, metric: Metric
) -> RateQuality | None:
    """Return the first published curve of VTM on a dataset with at least two points."""
    key = "VTM", dataset, metric.published or metric.column, ""
    vtm_points = (
        point
        for point in published_points
        if (point.system, point.dataset, point.metric, point.doubt) == key
    )
    for points in group_by_key(
        ((point.variant, point.protocol, point.kind, point.source), point) for point in vtm_points
    ).values():
        if len(points) > 1 and points[0].kind != "step":
            rates, values = zip(*sorted((point.bpp, point.value) for point in points), strict=True)
            return curve_of(rates, values, metric)
    return None
