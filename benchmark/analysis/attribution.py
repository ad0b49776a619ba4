"""Attribution: how much each image moves the mean of a metric at each setting."""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from benchmark.analysis.comparable import ComparableRows, label_of
from benchmark.codec import Setting
from benchmark.metrics.measure import Measure, require_image_values
from benchmark.metrics.metric import metric_columns
from benchmark.protocol import CODING
from benchmark.registry import DISTRIBUTION_METRICS, metric_class


class ImageInfluence(NamedTuple):
    """The influence of one image on a codec's mean at one setting."""

    label: str
    setting: str
    images: int
    value: float  # of the whole set
    image: str
    influence: float  # derivative of the value to the image's weight, scaled as a mean has it
    without: float  # the value without the image, to first order


def attribution(table: pa.Table, column: str, protocol: str) -> list[ImageInfluence]:
    """Return the influence of every image of every point, the largest of a point first.

    column: of a metric of single images, or one that `reduce.with_distribution_metrics` has filled.
    protocol: the id that values must have. Points are ordered as in `ComparableRows`; those of a
    single image are left out. Raises `UsageError` for a metric that gives no influence
    of an image.
    """
    of_column = [name for name in DISTRIBUTION_METRICS if metric_class(name).column == column]
    require_image_values(*map(Measure.named, of_column))
    rows = ComparableRows(table, CODING)
    value_column, protocol_column, _ = metric_columns(column)
    values = np.where(
        rows.ok & rows.equal(protocol_column, protocol), rows.numbers(value_column), np.nan
    )
    of_point: dict[int, list[int]] = defaultdict(list)
    for at in np.flatnonzero(np.isfinite(values)).tolist():
        of_point[int(rows.point[at])].append(at)
    names = ("codec", "variant", "setting_name", "setting_value", "image")
    texts = table.select(names).take(pa.array(rows.index)).to_pylist()
    parts = []
    for places in of_point.values():
        if len(places) < 2:
            continue
        value = float(np.mean(values[places]))
        for at in sorted(places, key=lambda at: -abs(values[at] - value)):
            row, influence = texts[at], float(values[at] - value)
            label = label_of(row["codec"], row["variant"])
            setting = str(Setting(row["setting_name"], row["setting_value"]))
            without = value - influence / (len(places) - 1)
            parts.append(
                ImageInfluence(label, setting, len(places), value, row["image"], influence, without)
            )
    return parts
