"""Doubts about a curve of others: values that fall, or that no codec can have beside VTM's."""

from collections.abc import Iterable, Sequence

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.curves import Curve, curve_of
from benchmark.metrics.metric import Metric
from benchmark.published.points import PublishedPoint
from benchmark.system.text import by_key

MOST_ABOVE_DB, MOST_BELOW_DB = 2.0, 12.0  # of VTM: learned codecs reach +1.2 dB, JPEG -7 dB
FACTORS, NEAR_DB = (8.0, 1 / 8), 2.0  # of rates: bytes for bits; how near VTM it is then
RANGES = {"psnr_db": (10.0, 60.0), "ms_ssim": (0.3, 1.0)}


def doubts(
    metric: Metric, bpp: Sequence[float], values: Sequence[float], anchor: Curve | None
) -> list[str]:
    """Return a sentence for each thing about a curve that no codec's has.

    bpp, values: in bit per pixel, rising, and as tables have them. anchor: of VTM; None where there
    is none on the dataset or in the metric.
    """
    low, high = RANGES.get(metric.column, (-np.inf, np.inf))
    for rate, value in zip(bpp, values, strict=True):
        if not low <= value <= high:
            is_value = f"{metric.column} at {rate:.4g} bpp is {value:.4g}"
            return [f"{is_value}, which the metric does not reach on photographs"]
    curve, result = curve_of(bpp, values, metric), list[str]()
    of_rates = [f"{metric.column} at {rate:.4g} bpp is" for rate in curve.bpp]
    steps = np.diff(curve.quality)
    if metric.scale != "decades" and (steps < 0).any():
        worst = int(steps.argmin())
        result.append(f"{of_rates[worst + 1]} {-steps[worst]:.3g} below that of a lower rate")
    if anchor is None or metric.column not in RANGES:
        return result
    above = _above(curve, anchor)
    beyond = np.maximum(above - MOST_ABOVE_DB, -above - MOST_BELOW_DB)
    worst = int(beyond.argmax())
    if beyond[worst] > 0:
        scaled = ((f, _above(Curve(curve.bpp * f, curve.quality), anchor)) for f in FACTORS)
        unit = next((f for f, off in scaled if abs(np.median(off)) < NEAR_DB), None)
        apart = f"{abs(above[worst]):.3g} dB {'above' if above[worst] > 0 else 'below'} VTM"
        what = f"{apart}: no known codec is"
        if unit:
            other = "bytes" if unit > 1 else "eighths of a bit"
            what = f"beside VTM only if rates are multiplied by {unit:.3g}: bits per pixel are "
            what += f"expected, not {other}"
        result.append(f"{of_rates[worst]} {what}")
    return result


def _above(curve: Curve, anchor: Curve) -> Float64Array:
    """Return the dB of points above an anchor's curve; beyond its ends it goes on as a chord."""
    x, at = np.log10(anchor.bpp), np.log10(curve.bpp)
    slopes = np.diff(anchor.quality) / np.diff(x)
    beyond = np.minimum(at - x[0], 0) * slopes[0] + np.maximum(at - x[-1], 0) * slopes[-1]
    return np.asarray(curve.quality - np.interp(at, x, anchor.quality) - beyond)


def vtm_curve(known: Iterable[PublishedPoint], dataset: str, metric: Metric) -> Curve | None:
    """Return the first published curve of VTM on a dataset that has more than a point."""
    asked = "VTM", dataset, metric.published or metric.column, ""
    vtm = (p for p in known if (p.system, p.dataset, p.metric, p.doubt) == asked)
    for points in by_key(((p.variant, p.protocol, p.kind, p.source), p) for p in vtm).values():
        if len(points) > 1 and points[0].kind != "step":
            rates, values = zip(*sorted((p.bpp, p.value) for p in points), strict=True)
            return curve_of(rates, values, metric)
    return None
