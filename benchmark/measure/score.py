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
from benchmark.errors import FOREIGN, NotMeasurable, Unavailable, memory_exhausted
from benchmark.measure.cells import Failed, Rescore, failed_by
from benchmark.measure.execute import give_memory_back
from benchmark.metrics.metric import (
    FeatureSpace,
    ImageMetric,
    computable,
    is_lasting,
    lacking,
    reason_text,
)
from benchmark.registry import FEATURE_SPACES, metric_class, scored_by_image
from benchmark.rows.codecs import ALL_CODECS
from benchmark.rows.schema import metric_columns, metric_names
from benchmark.rows.streams import FeatureFolder, ImageFeatures

if TYPE_CHECKING:
    import polars as pl

    from benchmark.rows.store import Store

Computed = TypeVar("Computed")
PICTURES = "image_sha256", "decoded_sha256"  # columns of the two whose features make a pair
IsKept = Callable[[str, str], bool]  # of a space's protocol and the sha256 of an image's pixels


class HashedImage(NamedTuple):
    """Pixels and their sha256."""

    sha256: str
    pixels: Pixels


class Scores(NamedTuple):
    """Columns of a row, and new features."""

    columns: dict[str, Any]
    features: tuple[ImageFeatures, ...] = ()
    failed: tuple[Failed, ...] = ()  # metrics that raised; their values are null


def _score_columns(kind: Any, value: float | None, reason: str | None = None) -> dict[str, Any]:
    return dict(zip(metric_columns(kind.column), (value, kind.protocol, reason), strict=True))


def _null_scores(kind: Any, reason: str, *failed: Failed) -> Scores:
    return Scores(_score_columns(kind, None, reason), failed=failed)


class Scorer:
    """Image metrics and feature spaces of a run on a device.

    A metric without its weights gives null with a reason for every image; one that raises or runs
    out of memory, for this image. Data prepared from a source is kept until another source comes.
    """

    def __init__(self, names: Sequence[str], device: str) -> None:
        self._device = device
        self._prepared: dict[str, Any] = {}
        self._prepared_of: tuple[str, tuple[int, ...]] = ("", ())
        # Features of a space and an image that may not be on disk yet when its next cell comes
        self._handed_over: set[tuple[str, str]] = set()
        self._metrics: dict[str, FeatureSpace | ImageMetric | Scores] = {}
        for name in names:
            with suppress(_OutOfMemory):  # tried again where it is needed, and then a reason
                self._load_metric(name)

    def score(
        self,
        source: HashedImage,
        decoded: HashedImage,
        names: Sequence[str],
        is_kept: IsKept = lambda protocol, sha256: False,
    ) -> Scores:
        """Score a pair with metrics of the run; `is_kept`: whether features are stored."""
        if (key := (source.sha256, source.pixels.shape)) != self._prepared_of:
            self._prepared, self._prepared_of = {}, key
        parts = [self._score_metric(name, source, decoded, is_kept) for name in names]
        return Scores(
            {column: value for part in parts for column, value in part.columns.items()},
            tuple(feature for part in parts for feature in part.features),
            tuple(failed for part in parts for failed in part.failed),
        )

    def forget(self, but: str = "") -> bool:
        """Drop prepared data except of metric `but`; return whether there was any."""
        remaining = {name: value for name, value in self._prepared.items() if name == but}
        dropped, self._prepared = len(self._prepared) > len(remaining), remaining
        give_memory_back()
        return dropped

    def _score_metric(
        self, name: str, source: HashedImage, decoded: HashedImage, is_kept: IsKept
    ) -> Scores:
        kind = metric_class(name)
        try:
            metric = self._load_metric(name)
            if isinstance(metric, Scores):
                return metric
            if name in FEATURE_SPACES:
                extract = partial(self._extract, metric, source, decoded, is_kept)
                return self._retry_within_memory(name, extract)
            kind = type(metric)  # the user's file may have changed since
            value = self._retry_within_memory(
                name, partial(self._compute_value, name, metric, source, decoded)
            )
            if math.isnan(value):
                raise NotMeasurable("not a number")
        except (NotMeasurable, Unavailable) as missing:
            return _null_scores(kind, reason_text(missing))
        except _OutOfMemory as lacked:
            label, (height, width, _) = getattr(kind, "label", name), decoded.pixels.shape
            return _null_scores(kind, f"{label} of {width} x {height} px {lacked}")
        except FOREIGN as error:
            failed = failed_by(kind, "score", error)
            return _null_scores(kind, failed.reason, failed)
        return Scores(_score_columns(kind, value))

    def _extract(
        self, space: Any, source: HashedImage, decoded: HashedImage, is_kept: IsKept
    ) -> Scores:
        features = []
        for sha256, pixels in {source.sha256: source, decoded.sha256: decoded}.values():
            key = space.protocol, sha256
            if key not in self._handed_over and not is_kept(*key):
                features.append(ImageFeatures(*key, space.features(pixels)))
        count = space.patch_count(*source.pixels.shape[:2])
        # Not sooner: an error on the way leaves none of them handed over.
        self._handed_over |= {(feature.protocol, feature.pixels_sha256) for feature in features}
        return Scores(_score_columns(space, count), tuple(features))

    def _compute_value(
        self, name: str, metric: ImageMetric, source: HashedImage, decoded: HashedImage
    ) -> float:
        if name not in self._prepared:
            self._prepared[name] = metric.prepare(source.pixels)
        return float(metric.compare(self._prepared[name], decoded.pixels))

    def _load_metric(self, name: str) -> Any:
        """Return a metric, loaded once, or null columns if that fails."""
        if name not in self._metrics:
            self._metrics[name] = self._retry_within_memory(name, partial(self._open, name))
        return self._metrics[name]

    def _open(self, name: str) -> FeatureSpace | ImageMetric | Scores:
        kind = metric_class(name)
        try:
            metric: FeatureSpace | ImageMetric = kind(device=self._device)
        except Unavailable as missing:
            return _null_scores(kind, reason_text(missing))
        except FOREIGN as error:
            if memory_exhausted(error):
                raise
            failed = failed_by(kind, "score", error)
            return _null_scores(kind, failed.reason, failed)
        return metric

    def _retry_within_memory(self, name: str, work: Callable[[], Computed]) -> Computed:
        """Do a metric's work, if needed without other metrics' data; raise `_OutOfMemory`."""
        for last in (False, True):
            try:
                return work()
            except Exception as error:
                if (lacked := memory_exhausted(error)) is None:
                    raise
            if not self.forget(but=name) or last:
                break
        self.forget()
        memory = "a GPU's memory" if lacked == "device" else "the memory of a worker"
        remedy = "`bench rescore` computes it with fewer --jobs or more memory"
        raise _OutOfMemory(f"does not fit into {memory}: {remedy}")


class _OutOfMemory(Exception):  # noqa: N818 - reads as what happened
    """Insufficient memory of the machine or GPU for a metric; predicate of a sentence."""


def unscored(
    table: "pl.DataFrame",
    sources: Sequence[Source],
    metrics: Sequence[str],
    folder: Path,
    retry: bool,
    may_run: Callable[[Mapping[str, Any]], bool] = ALL_CODECS.selects_to_run,
) -> list[Rescore]:
    """Return tasks for rows of these sources without a metric under its present protocol.

    Missing are values that are null for absent weights or packages, with `retry` for any temporary
    reason, and features no longer stored. Excluded are failed rows, bundled rows without streams
    and rows whose codec may not run.
    """
    from benchmark.rows.store import Store  # brings polars, which coding does without
    from benchmark.rows.versions import prefer_own_rows

    store = Store(folder)
    by_pixels = {source.sha256: source for source in sources}
    table = prefer_own_rows(table)
    table = table.filter((table["status"] == "ok") & table["image_sha256"].is_in([*by_pixels]))
    masks = [_mark_missing(table, name, retry, store) for name in metrics]
    is_missing = np.array(masks, np.bool_).reshape(len(metrics), table.height)
    positions = np.flatnonzero(is_missing.any(axis=0))
    tasks = []
    for position, row in zip(positions, table[positions].rows(named=True), strict=True):
        if may_run(row) and (not row["recorded"] or store.has_output(row)):
            names = tuple(compress(metrics, is_missing[:, position]))
            tasks.append(Rescore(row, by_pixels[row["image_sha256"]], names, folder))
    return sorted(tasks, key=lambda task: str(task.row["image"]))


def unscorable(table: "pl.DataFrame", metrics: Sequence[str], store: "Store") -> set[str]:
    """Return the cells that lack a computable metric and a stream, unless of declared size."""
    requested = metric_names(metrics)
    names = computable(scored_by_image(requested), lacking(requested))
    masks = [_mark_missing_values(table, name, False) for name in names]
    is_missing = np.logical_or.reduce([*masks, np.zeros(table.height, np.bool_)])
    streams = table.filter(is_missing).select("cell", "stream_sha256").rows()
    return {cell for cell, digest in streams if digest and not store.has_stream(digest)}


def scored(
    table: "pl.DataFrame", cells: Collection[str], metrics: Sequence[str], folder: Path
) -> set[tuple[str, str]]:
    """Return the pairs of cell and metric with a value of the present protocol and features."""
    from benchmark.rows.versions import prefer_own_rows

    rows, features = prefer_own_rows(table), FeatureFolder(folder)
    rows = rows.filter(rows["cell"].is_in([*cells]))
    pairs = set()
    for name in metrics:
        kind = metric_class(name)
        value, protocol, _ = metric_columns(kind.column)
        if protocol not in rows.columns:  # a user's metric that was never measured here
            continue
        by_rule = rows.filter((rows[protocol] == kind.protocol) & rows[value].is_not_null())
        for cell, *pictures in by_rule.select("cell", *PICTURES).rows():
            is_stored = (picture and features.has(kind.protocol, picture) for picture in pictures)
            if name not in FEATURE_SPACES or all(is_stored):
                pairs.add((cell, name))
    return pairs


def _mark_missing_values(table: "pl.DataFrame", name: str, retry: bool) -> BoolArray:
    kind = metric_class(name)
    value, protocol, reason = metric_columns(kind.column)
    if protocol not in table.columns:  # a user's metric that was never measured here
        return np.ones(table.height, np.bool_)
    is_missing = (table[protocol] != kind.protocol).fill_null(True)
    lasting = [text for text in table[reason].drop_nulls().unique() if is_lasting(text, retry)]
    is_missing |= table[value].is_null() & ~table[reason].is_in(lasting).fill_null(not retry)
    marked: BoolArray = is_missing.to_numpy()
    return marked


def _mark_missing(table: "pl.DataFrame", name: str, retry: bool, store: "Store") -> BoolArray:
    marked = _mark_missing_values(table, name, retry)
    if name in FEATURE_SPACES and not marked.all():
        kind = metric_class(name)
        rows = table.select(kind.column, "bytes_origin", "stream_sha256", *PICTURES)
        features = FeatureFolder(store.folder)
        marked = marked | np.array(
            [
                row[kind.column] is not None
                and store.has_output(row)  # else nothing can bring them back
                and not all(row[key] and features.has(kind.protocol, row[key]) for key in PICTURES)
                for row in rows.rows(named=True)
            ],
            np.bool_,
        )
    return marked
