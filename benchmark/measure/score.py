"""Score a decoded image: metric columns (value, protocol id, reason for null) and features."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from benchmark.codec import BoolArray, Pixels
from benchmark.datasets.dataset import Source
from benchmark.errors import FOREIGN_ERRORS, NotMeasurable, Unavailable, memory_exhausted
from benchmark.measure.cells import Failed, Rescore, failed_by
from benchmark.measure.execute import free_memory
from benchmark.metrics.metric import (
    FeatureSpace,
    ImageMetric,
    drop_uncomputable,
    is_lasting,
    reason_text,
    uncomputable_metrics,
)
from benchmark.registry import FEATURE_SPACES, metric_class, per_image_names
from benchmark.rows.codecs import ALL_CODECS
from benchmark.rows.schema import metric_columns, metric_names
from benchmark.rows.streams import FeatureFolder, ImageFeatures

if TYPE_CHECKING:
    import polars as pl

    from benchmark.rows.store import Store

Computed = TypeVar("Computed")
PICTURES = "image_sha256", "decoded_sha256"  # hashes of the source and the decoded image
HasFeatures = Callable[[str, str], bool]  # (protocol, sha256 of the pixels) -> whether stored


class HashedImage(NamedTuple):
    """Pixels and their sha256."""

    sha256: str
    pixels: Pixels


class Scores(NamedTuple):
    """Columns of a row, and new features."""

    columns: dict[str, Any]
    features: tuple[ImageFeatures, ...] = ()
    failed: tuple[Failed, ...] = ()  # metrics that raised; their values are null


def _score_columns(cls: Any, value: float | None, reason: str | None = None) -> dict[str, Any]:
    return dict(zip(metric_columns(cls.column), (value, cls.protocol, reason), strict=True))


def _null_scores(cls: Any, reason: str, *failed: Failed) -> Scores:
    return Scores(_score_columns(cls, None, reason), failed=failed)


class Scorer:
    """Image metrics and feature spaces of a run on a device.

    A metric without its weights is null, with a reason, for every image; if a metric raises or runs
    out of memory, it is null for that image. Data prepared from a source is kept until the next.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        self._device = device
        self._prepared_data: dict[str, Any] = {}
        self._prepared_source: tuple[str, tuple[int, ...]] = ("", ())
        # (protocol, image) of returned features, which may not be on disk yet
        self._returned_keys: set[tuple[str, str]] = set()
        self._metrics: dict[str, FeatureSpace | ImageMetric | Scores] = {}
        for name in names:
            with suppress(_OutOfMemory):  # the metric is loaded again when needed
                self._load_metric(name)

    def score(
        self,
        source: HashedImage,
        decoded: HashedImage,
        names: Sequence[str],
        has_features: HasFeatures = lambda protocol, sha256: False,
    ) -> Scores:
        """Score a decoded image with metrics of the run. has_features: whether they are stored."""
        if (key := (source.sha256, source.pixels.shape)) != self._prepared_source:
            self._prepared_data, self._prepared_source = {}, key
        all_scores = [self._score_metric(name, source, decoded, has_features) for name in names]
        return Scores(
            {column: value for scores in all_scores for column, value in scores.columns.items()},
            tuple(feature for scores in all_scores for feature in scores.features),
            tuple(failed for scores in all_scores for failed in scores.failed),
        )

    def drop_prepared(self, kept_name: str = "") -> bool:
        """Drop prepared data, except for the metric `kept_name`; return whether any was dropped."""
        kept_data = {name: data for name, data in self._prepared_data.items() if name == kept_name}
        is_dropped, self._prepared_data = len(self._prepared_data) > len(kept_data), kept_data
        free_memory()
        return is_dropped

    def _score_metric(
        self, name: str, source: HashedImage, decoded: HashedImage, has_features: HasFeatures
    ) -> Scores:
        cls = metric_class(name)
        try:
            metric = self._load_metric(name)
            if isinstance(metric, Scores):
                return metric
            if name in FEATURE_SPACES:
                extract = partial(self._extract, metric, source, decoded, has_features)
                return self._retry_within_memory(name, extract)
            cls = type(metric)  # the user's file may have changed since loading
            value = self._retry_within_memory(
                name, partial(self._compute_value, name, metric, source, decoded)
            )
            if math.isnan(value):
                raise NotMeasurable("the value is not a number")
        except (NotMeasurable, Unavailable) as error:
            return _null_scores(cls, reason_text(error))
        except _OutOfMemory as out_of_memory:
            label, (height, width, _) = getattr(cls, "label", name), decoded.pixels.shape
            return _null_scores(cls, f"{label} of {width} x {height} px {out_of_memory}")
        except FOREIGN_ERRORS as error:
            failed = failed_by(cls, "score", error)
            return _null_scores(cls, failed.reason, failed)
        return Scores(_score_columns(cls, value))

    def _extract(
        self, space: Any, source: HashedImage, decoded: HashedImage, has_features: HasFeatures
    ) -> Scores:
        features = []
        for sha256, pixels in {source.sha256: source, decoded.sha256: decoded}.values():
            key = space.protocol, sha256
            if key not in self._returned_keys and not has_features(*key):
                features.append(ImageFeatures(*key, space.features(pixels)))
        count = space.patch_count(*source.pixels.shape[:2])
        # After the loop, so that an error leaves no features marked as returned
        self._returned_keys |= {(feature.protocol, feature.pixels_sha256) for feature in features}
        return Scores(_score_columns(space, count), tuple(features))

    def _compute_value(
        self, name: str, metric: ImageMetric, source: HashedImage, decoded: HashedImage
    ) -> float:
        if name not in self._prepared_data:
            self._prepared_data[name] = metric.prepare(source.pixels)
        return float(metric.compare(self._prepared_data[name], decoded.pixels))

    def _load_metric(self, name: str) -> Any:
        """Return a metric, loaded once, or null scores if loading fails."""
        if name not in self._metrics:
            self._metrics[name] = self._retry_within_memory(name, partial(self._construct, name))
        return self._metrics[name]

    def _construct(self, name: str) -> FeatureSpace | ImageMetric | Scores:
        cls = metric_class(name)
        try:
            metric: FeatureSpace | ImageMetric = cls(device=self._device)
        except Unavailable as error:
            return _null_scores(cls, reason_text(error))
        except FOREIGN_ERRORS as error:
            if memory_exhausted(error):
                raise
            failed = failed_by(cls, "score", error)
            return _null_scores(cls, failed.reason, failed)
        return metric

    def _retry_within_memory(self, name: str, work: Callable[[], Computed]) -> Computed:
        """Call `work`; if memory is short, again without other metrics' data; or `_OutOfMemory`."""
        for is_last_try in (False, True):
            try:
                return work()
            except Exception as error:
                if (memory_kind := memory_exhausted(error)) is None:
                    raise
            if not self.drop_prepared(kept_name=name) or is_last_try:
                break
        self.drop_prepared()
        memory = "a GPU's memory" if memory_kind == "device" else "the memory of a worker"
        remedy = "with fewer --jobs or more memory, `bench rescore` computes it"
        raise _OutOfMemory(f"does not fit into {memory}: {remedy}")


class _OutOfMemory(Exception):  # noqa: N818 - reads as what happened
    """Memory of machine or GPU is too small; the text follows "LPIPS of 512 x 768 px"."""


def find_unscored_tasks(
    table: "pl.DataFrame",
    sources: Sequence[Source],
    metrics: Sequence[str],
    folder: Path,
    retry: bool,
    may_run: Callable[[Mapping[str, Any]], bool] = ALL_CODECS.selects_to_run,
) -> list[Rescore]:
    """Return tasks for rows of these sources that lack a metric under its current protocol.

    A metric is missing if it is null because weights or packages were absent (with `retry`, for any
    temporary reason), or if its features are no longer stored. Failed rows, bundled rows without
    streams, and rows whose codec may not run are excluded.
    """
    from benchmark.rows.store import Store  # imports polars, which coding does not need
    from benchmark.rows.versions import prefer_own_rows

    store = Store(folder)
    source_by_pixels = {source.sha256: source for source in sources}
    table = prefer_own_rows(table)
    table = table.filter(
        (table["status"] == "ok") & table["image_sha256"].is_in([*source_by_pixels])
    )
    missing_masks = [_mark_unscored(table, name, retry, store) for name in metrics]
    is_missing = np.array(missing_masks, np.bool_).reshape(len(metrics), table.height)
    positions = np.flatnonzero(is_missing.any(axis=0))
    tasks = []
    for position, row in zip(positions, table[positions].rows(named=True), strict=True):
        if may_run(row) and (not row["recorded"] or store.has_output(row)):
            names = tuple(compress(metrics, is_missing[:, position]))
            tasks.append(Rescore(row, source_by_pixels[row["image_sha256"]], names, folder))
    return sorted(tasks, key=lambda task: str(task.row["image"]))


def unscorable_cells(table: "pl.DataFrame", metrics: Sequence[str], store: "Store") -> set[str]:
    """Return cells that lack a computable metric and have lost their stream."""
    requested_metrics = metric_names(metrics)
    absent_metrics = uncomputable_metrics(requested_metrics)
    names = drop_uncomputable(per_image_names(requested_metrics), absent_metrics)
    missing_masks = [_mark_missing_values(table, name, False) for name in names]
    is_missing = np.logical_or.reduce([*missing_masks, np.zeros(table.height, np.bool_)])
    streams = table.filter(is_missing).select("cell", "stream_sha256").rows()
    return {cell for cell, digest in streams if digest and not store.has_stream(digest)}


def scored_pairs(
    table: "pl.DataFrame", cells: Collection[str], metrics: Sequence[str], folder: Path
) -> set[tuple[str, str]]:
    """Return pairs (cell, metric) that have a value under the current protocol, and features."""
    from benchmark.rows.versions import prefer_own_rows

    rows, features = prefer_own_rows(table), FeatureFolder(folder)
    rows = rows.filter(rows["cell"].is_in([*cells]))
    pairs = set()
    for name in metrics:
        cls = metric_class(name)
        value, protocol, _ = metric_columns(cls.column)
        if protocol not in rows.columns:  # a user's metric that was never measured here
            continue
        current_rows = rows.filter((rows[protocol] == cls.protocol) & rows[value].is_not_null())
        for cell, *pictures in current_rows.select("cell", *PICTURES).rows():
            is_stored = (picture and features.has(cls.protocol, picture) for picture in pictures)
            if name not in FEATURE_SPACES or all(is_stored):
                pairs.add((cell, name))
    return pairs


def _mark_missing_values(table: "pl.DataFrame", name: str, retry: bool) -> BoolArray:
    cls = metric_class(name)
    value, protocol, reason = metric_columns(cls.column)
    if protocol not in table.columns:  # a user's metric that was never measured here
        return np.ones(table.height, np.bool_)
    is_missing = (table[protocol] != cls.protocol).fill_null(True)
    lasting_reasons = [
        text for text in table[reason].drop_nulls().unique() if is_lasting(text, retry)
    ]
    is_missing |= table[value].is_null() & ~table[reason].is_in(lasting_reasons).fill_null(
        not retry
    )
    is_missing_array: BoolArray = is_missing.to_numpy()
    return is_missing_array


def _mark_unscored(table: "pl.DataFrame", name: str, retry: bool, store: "Store") -> BoolArray:
    is_unscored = _mark_missing_values(table, name, retry)
    if name in FEATURE_SPACES and not is_unscored.all():
        cls = metric_class(name)
        rows = table.select(cls.column, "bytes_origin", "stream_sha256", *PICTURES)
        features = FeatureFolder(store.folder)
        is_unscored = is_unscored | np.array(
            [
                row[cls.column] is not None
                and store.has_output(row)  # otherwise features cannot be computed again
                and not all(row[key] and features.has(cls.protocol, row[key]) for key in PICTURES)
                for row in rows.rows(named=True)
            ],
            np.bool_,
        )
    return is_unscored
