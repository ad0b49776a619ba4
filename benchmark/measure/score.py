"""Score a decoded image: metric columns (value, protocol id, reason where null) and features."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.measure.execute import Failed, failed_by
from benchmark.measure.extract import Extractor, HashedImage, IsKept
from benchmark.metrics.metric import ImageMetric, metric_columns
from benchmark.registry import FEATURE_SPACES, metric_class
from benchmark.rows.features import ImageFeatures
from benchmark.user_file import names_file


class Scores(NamedTuple):
    """Columns of a row, and features that were not kept before."""

    columns: dict[str, Any]
    features: tuple[ImageFeatures, ...] = ()
    failed: tuple[Failed, ...] = ()  # metrics of a user's file that raised; their values are null


class Scorer:
    """The image metrics and feature spaces of a run on one device.

    A metric whose weights are missing gives null with that reason for every image. What a metric
    prepares of a source is kept until another source comes.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        self._device = device
        self._of: dict[str, Extractor | ImageMetric | Failed | str] = {
            n: self._open(n) for n in names
        }
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
        failed: list[Failed] = []
        for name in names:
            one = self._of[name]
            if isinstance(one, Extractor):
                counts, new = one.extract(source, decoded, is_kept)
                columns |= counts
                features += new
            else:
                # of the instance: the user's file may have changed since
                kind = metric_class(name) if isinstance(one, Failed | str) else type(one)
                value, protocol, reason = metric_columns(kind.column)
                found = self._value(name, one, source.pixels, decoded)
                if isinstance(found, Failed):
                    failed.append(found)
                    found = None, found.reason
                columns[value], columns[reason] = found
                columns[protocol] = kind.protocol
        return Scores(columns, tuple(features), tuple(failed))

    def _open(self, name: str) -> Extractor | ImageMetric | Failed | str:
        if name in FEATURE_SPACES:
            return Extractor(name, self._device)
        kind = metric_class(name)
        try:
            metric: ImageMetric = kind(device=self._device)
        except Unavailable as missing:
            return str(missing)
        except Exception as error:
            if not names_file(name):
                raise
            return failed_by(kind, "score", error)
        return metric

    def _value(
        self, name: str, metric: ImageMetric | Failed | str, reference: Pixels, decoded: HashedImage
    ) -> tuple[float | None, str | None] | Failed:
        """Return a metric's value, or the reason why there is none; `Failed` if a user's raises."""
        if isinstance(metric, str):
            return None, metric
        if isinstance(metric, Failed):
            return metric
        try:
            if name not in self._prepared:
                self._prepared[name] = metric.prepare(reference)
            value = float(metric.compare(self._prepared[name], decoded.pixels))
        except NotMeasurable as reason:
            return None, str(reason)
        except Exception as error:
            if not names_file(name):  # a fault of the harness
                raise
            return failed_by(metric, "score", error)
        return (None, "not a number") if math.isnan(value) else (value, None)
