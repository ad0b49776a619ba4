"""Error maps of decoded images, grey pictures of them (levels: square roots), and their scales."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.errors import UsageError
from benchmark.metrics.metric import ErrorMap, ImageMetric, MapScale, Metric, require_same_shape
from benchmark.registry import METRICS, metric_class

STEPS = (1, 1.5, 2, 3, 5, 7, 10)  # allowed ends of a legend, within a decade
REACH_PERCENTILE = 99.0  # a map's scale ends at this percentile of its values


def error_map(reference: Pixels, decoded: Pixels, metric: str = "lpips_squeeze") -> ErrorMap:
    """Return where a decoded image differs from its source, float32 of shape (height, width).

    reference, decoded: uint8 of shape (height, width, 3); whole photographs, since a network also
    uses pixels outside a crop. metric: `lpips_squeeze`, `lpips`, `lpips_vgg` (distances; their mean
    is the metric within 4e-5), `ssim` (1 - SSIM; NaN in the outer 5 px, where no window fits: use
    `np.nanmean`) or `psnr_y` (absolute errors of luma in grey levels). Raises `UsageError` for any
    other metric or type, `ValueError` unless the shapes agree, `Unavailable` without the weights.
    """
    for pixels in (reference, decoded):
        if np.asarray(pixels).dtype != np.uint8:
            dtype = np.asarray(pixels).dtype
            raise UsageError(f"a map needs uint8 pictures, not {dtype}: round to 0 to 255 first")
    require_same_shape(reference.shape, decoded.shape)
    image_metric = mapped_metric(metric)
    result: ErrorMap = image_metric.error_map(image_metric.prepare(reference), decoded)
    return np.asarray(legend_value(result, map_scale(metric)), np.float32)


@cache
def mapped_metric(name: str) -> ImageMetric:
    """Return the metric on "cpu"; `UsageError` if it has no map."""
    map_scale(name)
    metric: ImageMetric = metric_class(name)("cpu")
    return metric


def map_scale(name: str) -> MapScale:
    """Return the scale of a metric's map; `UsageError` if it has no map."""
    cls = metric_class(name)
    scale: MapScale | None = getattr(cls, "map_scale", None)
    if scale is None:
        names = [metric for metric in METRICS if getattr(metric_class(metric), "map_scale", None)]
        raise UsageError(f"{name} has no map: choose from {', '.join(names)}")
    return scale._replace(label=scale.label or Metric.named(name).label)


def halve_map(values: ErrorMap) -> ErrorMap:
    """Average 2 x 2 pixels (fewer at the end of odd sides), ignoring NaN; 0 if all are NaN."""
    height, width = values.shape
    padded_values = np.pad(values, ((0, height % 2), (0, width % 2)), constant_values=np.nan)
    blocks = padded_values.reshape(-(-height // 2), 2, -1, 2)
    is_valid = ~np.isnan(blocks)
    total = np.where(is_valid, blocks, 0).sum((1, 3))
    means: ErrorMap = np.asarray(total / np.maximum(is_valid.sum((1, 3)), 1), np.float32)
    return means


def levels(values: ErrorMap, scale: MapScale) -> NDArray[np.uint8]:
    """Return a map's grey levels: 255 sqrt(value / end of the scale), rounded."""
    return np.asarray(np.rint(255 * np.sqrt(np.clip(values / scale.most, 0, 1))), np.uint8)


def reach(picture: NDArray[np.uint8], scale: MapScale) -> float:
    """Return a map's value at `REACH_PERCENTILE`, from its picture of grey levels."""
    return float(np.percentile(picture, REACH_PERCENTILE) / 255) ** 2 * scale.most


def round_up(value: float) -> float:
    """Round up to the next of `STEPS` in any decade; 0 becomes 1."""
    if value <= 0:
        return 1.0
    decade = 10.0 ** np.floor(np.log10(value))
    return float(f"{next(s for s in STEPS if s * decade >= value * (1 - 1e-9)) * decade:.6g}")


def scale_end(reaches: Sequence[float], scale: MapScale) -> float:
    """Return the end of the legend of several maps, in its unit; where.js computes the same.

    It is the upper median of `reaches`, so that one bad codec does not hide differences of others.
    """
    return round_up(float(legend_value(sorted(reaches)[len(reaches) // 2], scale)))


def legend_value(values: Any, scale: MapScale) -> Any:
    """Convert a map's values to the unit of its legend."""
    return np.sqrt(values) if scale.root else values
