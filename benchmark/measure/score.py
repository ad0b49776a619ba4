"""Reference and decoded pixels to metric columns: value, protocol id, and a reason where null."""

import math
from collections.abc import Sequence
from typing import Any

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics.metric import ImageMetric, metric_columns
from benchmark.registry import metric_class

Columns = dict[str, Any]


class Scorer:
    """The metrics of a run on one device; what depends on the source alone is kept for one source.

    A metric whose weights are missing gives null with that reason, for every image.
    """

    def __init__(self, metrics: Sequence[str], device: str) -> None:
        self._device = device
        self._metrics: dict[str, ImageMetric | str] = {name: self._make(name) for name in metrics}
        self._prepared: dict[str, Any] = {}
        self._prepared_of = ""

    def score(
        self, source_sha256: str, reference: Pixels, decoded: Pixels, names: Sequence[str]
    ) -> Columns:
        """Columns of the metrics named, of those of the run."""
        if source_sha256 != self._prepared_of:
            self._prepared, self._prepared_of = {}, source_sha256
        columns: Columns = {}
        for name in names:
            kind = metric_class(name)
            value, protocol, reason = metric_columns(kind.column)
            columns[value], columns[reason] = self._value(name, reference, decoded)
            columns[protocol] = kind.protocol
        return columns

    def _make(self, name: str) -> ImageMetric | str:
        try:
            metric: ImageMetric = metric_class(name)(device=self._device)
        except Unavailable as missing:
            return str(missing)
        return metric

    def _value(
        self, name: str, reference: Pixels, decoded: Pixels
    ) -> tuple[float | None, str | None]:
        metric = self._metrics[name]
        if isinstance(metric, str):
            return None, metric
        try:
            if name not in self._prepared:
                self._prepared[name] = metric.prepare(reference)
            value = metric.compare(self._prepared[name], decoded)
        except NotMeasurable as reason:
            return None, str(reason)
        return (None, "not a number") if math.isnan(value) else (value, None)
