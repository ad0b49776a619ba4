"""Maps of where a decoded image is worse: by a metric's name, as small grey pictures, their scale.

Levels of a picture are of the square root of a map, so that low values keep theirs, on a scale that
the metric alone decides: no picture changes where another codec joins.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.errors import UsageError
from benchmark.metrics.metric import ErrorMap, ImageMetric, MapScale, require_same_shape
from benchmark.registry import METRICS, metric_class

STEPS = (1, 1.5, 2, 3, 5, 7, 10)  # of scales, in decades
REACH = 99.0  # percentile of a map that its scale reaches to


def error_map(reference: Pixels, decoded: Pixels, metric: str = "lpips_squeeze") -> ErrorMap:
    """Return where a decoded image is worse than its source, float32 of shape (height, width).

    reference, decoded: uint8 of shape (height, width, 3), whole photographs: a network looks beyond
    a part. metric: `lpips_squeeze`, `lpips`, `lpips_vgg` (whose mean is the metric to 1e-5), `ssim`
    (1 - SSIM, NaN in the outer 5 px) or `psnr_y` (squared errors of luma). Raises `UsageError` for
    another metric, `ValueError` unless the shapes agree, `Unavailable` without the weights.
    """
    require_same_shape(reference.shape, decoded.shape)
    mapped = mapped_metric(metric)
    return mapped.error_map(mapped.prepare(reference), decoded)


@cache
def mapped_metric(name: str) -> ImageMetric:
    """Return a metric that has a map, on "cpu"; raises `UsageError` for one without."""
    map_scale(name)
    metric: ImageMetric = metric_class(name)("cpu")
    return metric


def map_scale(name: str) -> MapScale:
    """Return how a metric's map is shown; raises `UsageError` for a metric without one."""
    kind = metric_class(name)
    scale: MapScale | None = getattr(kind, "map_scale", None)
    if scale is None:
        known = [each for each in METRICS if getattr(metric_class(each), "map_scale", None)]
        raise UsageError(f"{name} has no map: {', '.join(known)} have one")
    return scale._replace(label=scale.label or kind.label)


def halved(values: ErrorMap) -> ErrorMap:
    """Return means of the numbers in 2 x 2 pixels, of an odd side's last one alone; 0 of none.

    >>> halved(np.float32([[1, 3, 5], [1, 3, np.nan]]))
    array([[2., 5.]], dtype=float32)
    """
    height, width = values.shape
    padded = np.pad(values, ((0, height % 2), (0, width % 2)), constant_values=np.nan)
    blocks = padded.reshape(-(-height // 2), 2, -1, 2)
    known = ~np.isnan(blocks)
    total = np.where(known, blocks, 0).sum((1, 3))
    means: ErrorMap = np.asarray(total / np.maximum(known.sum((1, 3)), 1), np.float32)
    return means


def levels(values: ErrorMap, scale: MapScale) -> NDArray[np.uint8]:
    """Return 255 times the square root of each value's share of the scale, rounded."""
    return np.asarray(np.rint(255 * np.sqrt(np.clip(values / scale.most, 0, 1))), np.uint8)


def reach(picture: NDArray[np.uint8], scale: MapScale) -> float:
    """Return the value that few pixels of a picture of levels exceed."""
    return float(np.percentile(picture, REACH) / 255) ** 2 * scale.most


def rounded_up(value: float) -> float:
    """Return the next of STEPS in any decade.

    >>> rounded_up(0.21), rounded_up(3), rounded_up(0)
    (0.3, 3.0, 1.0)
    """
    if value <= 0:
        return 1.0
    decade = 10.0 ** np.floor(np.log10(value))
    return float(f"{next(s for s in STEPS if s * decade >= value * (1 - 1e-9)) * decade:.6g}")


def scale_end(reaches: Sequence[float], scale: MapScale) -> float:
    """Return where a legend of several maps ends, in its unit; where.js has the same.

    It is that of the upper median, so that one bad codec does not hide where the others differ.

    >>> scale_end([0.1, 0.3, 0.9], MapScale(1.0)), scale_end([300.0], MapScale(128.0**2, root=True))
    (0.3, 20.0)
    """
    return rounded_up(float(shown(sorted(reaches)[len(reaches) // 2], scale)))


def shown(values: Any, scale: MapScale) -> Any:
    """Return values of a map in the unit of its legend."""
    return np.sqrt(values) if scale.root else values
