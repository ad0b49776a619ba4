"""Score a decoded image: metric columns (value, protocol id, reason where null) and features."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.measure.extract import Extractor, HashedImage, IsKept
from benchmark.metrics.metric import ImageMetric, metric_columns
from benchmark.registry import FEATURE_SPACES, metric_class
from benchmark.rows.features import ImageFeatures


class Scores(NamedTuple):
    """Columns of a row, and features that were not kept before."""

    columns: dict[str, Any]
    features: tuple[ImageFeatures, ...] = ()


class Scorer:
    """The image metrics and feature spaces of a run on one device.

    A metric whose weights are missing gives null with that reason for every image. What a metric
    prepares of a source is kept until another source comes.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        self._device = device
        self._of: dict[str, Extractor | ImageMetric | str] = {n: self._open(n) for n in names}
        self._prepared: dict[str, Any] = {}
        self._prepared_of = ""

    def score(
        self,
        source: HashedImage,
        decoded: HashedImage,
        names: Sequence[str],
        is_kept: IsKept = lambda protocol, sha256: False,
    ) -> Scores:
        """Score the pair with some of the run's metrics.

        is_kept: whether the features of an image are stored, by protocol and sha256 of its pixels.
        """
        if source.sha256 != self._prepared_of:
            self._prepared, self._prepared_of = {}, source.sha256
        columns: dict[str, Any] = {}
        features: list[ImageFeatures] = []
        for name in names:
            one = self._of[name]
            if isinstance(one, Extractor):
                counts, new = one.extract(source, decoded, is_kept)
                columns |= counts
                features += new
            else:
                kind = metric_class(name)
                value, protocol, reason = metric_columns(kind.column)
                columns[value], columns[reason] = self._value(name, one, source.pixels, decoded)
                columns[protocol] = kind.protocol
        return Scores(columns, tuple(features))

    def _open(self, name: str) -> Extractor | ImageMetric | str:
        if name in FEATURE_SPACES:
            return Extractor(name, self._device)
        try:
            metric: ImageMetric = metric_class(name)(device=self._device)
        except Unavailable as missing:
            return str(missing)
        return metric

    def _value(
        self, name: str, metric: ImageMetric | str, reference: Pixels, decoded: HashedImage
    ) -> tuple[float | None, str | None]:
        """Return a metric's value, or the reason why there is none."""
        if isinstance(metric, str):
            return None, metric
        try:
            if name not in self._prepared:
                self._prepared[name] = metric.prepare(reference)
            value = metric.compare(self._prepared[name], decoded.pixels)
        except NotMeasurable as reason:
            return None, str(reason)
        return (None, "not a number") if math.isnan(value) else (value, None)
