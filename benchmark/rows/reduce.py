"""Distribution metrics of stored rows, reduced from kept features into columns of the rows.

A distribution metric has no value for a single image. Its column holds, for each image, the value
of the set plus the image's influence (`metric.Reduced`), so that the mean over the
images of a point is the metric of that set, and their spread is what its interval is made of.

    results/<dataset>/sets/<sha256>.parquet    values and each image's influence, written once
                          /shipped*            those bundled with the project

A reduction's key names the metric's protocol and the pixels of every pair of the set; equal keys
have equal values.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from benchmark.codec import CODING
from benchmark.errors import DamagedResults, NotMeasurable, StoreError, memory_exhausted
from benchmark.metrics.metric import DistributionMetric, Reduced, protocol_of, protocols
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.means import summarise_rows
from benchmark.rows.remedies import command_on_rows, with_remedies
from benchmark.rows.schema import metric_columns
from benchmark.rows.shard import SHIPPED, BadShard, read_parquet, write_shard
from benchmark.rows.streams import FeatureFolder
from benchmark.rows.summary import Summary
from benchmark.system.atomic import require_inside

TEXTS = dict.fromkeys(("key", "column", "protocol"), pl.String())
SCHEMA = pl.Schema({**TEXTS, "value": pl.Float64(), "influence": pl.List(pl.Float64)})
MOST_SHARDS = 16  # of reductions; beyond it they are put together


# A row of SCHEMA: a distribution metric with its inputs, influences in the order of sorted pairs
Reduction = tuple[str, str, str, float, Sequence[float] | None]


def reduction_key(protocol: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Return a sha256 of the protocol and the pairs, equal for the same pairs in any order.

    pairs: of a source and its decoded image, by the sha256 of their pixels.
    """
    return hashlib.sha256(json.dumps([protocol, sorted(pairs)]).encode()).hexdigest()


def with_distribution_metrics(
    table: pl.DataFrame,
    folder: Path,
    names: Sequence[str],
    common: bool = False,
    allow_few: bool = False,
) -> ComparableRows:
    """Return comparable rows, whose table has the columns of the distribution metrics of `names`.

    folder: that of the store, where reduced values are kept for the next time. The rows of a point
    that `summarise` would take form its set. common: restrict each set to the images that all
    points have. allow_few: also reduce sets below a metric's least number of images.
    """
    rows = ComparableRows(table, CODING)
    of_sets = [name for name in names if name in DISTRIBUTION_METRICS]
    if not of_sets:
        return rows
    reducer = _Reducer(rows, folder, common, allow_few)
    for name in of_sets:
        rows = rows.replace(table=reducer.filled(rows, name))
    return rows


def summarise_with_distributions(
    table: pl.DataFrame,
    folder: Path,
    names: Sequence[str],
    pooled: bool = False,
    common: bool = False,
    allow_few: bool = False,
) -> Summary:
    """Return the means of a store's rows in these metrics, image and distribution metrics alike."""
    rows = with_distribution_metrics(table, folder, names, common, allow_few)
    summary = summarise_rows(rows, protocols(names), pooled, common)
    return with_remedies(summary, folder, table["run"].unique())


class _Reducer:
    """Distribution metrics of sets of rows, from earlier reductions or else from kept features."""

    def __init__(self, rows: ComparableRows, folder: Path, common: bool, allow_few: bool) -> None:
        self._common, self._allow_few = common, allow_few
        self._ok = rows.common(rows.ok) if common else rows.ok
        bounds = np.searchsorted(rows.point, np.arange(rows.points + 1)).tolist()
        self._points = [a + np.flatnonzero(self._ok[a:b]) for a, b in pairwise(bounds)]
        self._dataset = folder.parent, folder.name
        self._features, self._reductions = FeatureFolder(folder), Reductions(folder)
        self._images: dict[str, set[str]] = {}  # with kept features, by protocol of the space
        names = ("image_sha256", "decoded_sha256", "features_of")
        hashes = zip(*(_texts(rows, name) for name in names), strict=True)
        self._pairs = [(source, other or own) for source, own, other in hashes]

    def filled(self, rows: ComparableRows, name: str) -> pl.DataFrame:
        """Append value, protocol id and reason of a metric."""
        metric: DistributionMetric = metric_class(name)()
        protocol, space = protocol_of(name), metric_class(metric.space)
        count, count_protocol, count_reason = metric_columns(space.column)
        counted = ~np.isnan(rows.numbers(count)) & rows.equal(count_protocol, space.protocol)
        # With `common` each set is of the images whose features all points have, as its mean is.
        used = rows.common(self._ok & counted) if self._common else counted
        why = _texts(rows, count_reason)
        values: list[float | None] = [None] * rows.table.height
        reasons: list[str | None] = [None] * rows.table.height
        new: list[Reduction] = []
        for point in self._points:
            for at in point[~used[point]].tolist():
                reasons[rows.index[at]] = why[at] or (
                    "features of this image are not kept for all codecs"
                    if counted[at]
                    else f"not computed: {self._rescore(metric)} does it from kept streams"
                )
            row_of = {self._pairs[at]: rows.index[at] for at in point[used[point]].tolist()}
            if not row_of:
                continue
            pairs = sorted(row_of)
            key = reduction_key(protocol, pairs)
            try:
                if len(pairs) < metric.min_images and not self._allow_few:
                    raise NotMeasurable(
                        f"{metric.label} of {len(pairs)} images says little: it is given from "
                        f"{metric.min_images} on, below with --allow-few"
                    )
                reduced = self._reductions.get(key)
                influence = None if reduced is None else reduced.influence
                if reduced is None or (influence is not None and len(influence) != len(pairs)):
                    reduced = self._reduce(metric, str(space.protocol), pairs)
                    new.append(stored(key, metric.column, protocol, reduced))
            except NotMeasurable as reason:
                for row in row_of.values():
                    reasons[row] = str(reason)
                continue
            influence = np.zeros(len(pairs)) if reduced.influence is None else reduced.influence
            for pair, of_image in zip(pairs, influence.tolist(), strict=True):
                values[row_of[pair]] = reduced.value + of_image
        self._reductions.add(new)
        ids = [None if value is None else protocol for value in values]
        value_column, id_column, reason_column = metric_columns(metric.column)
        return rows.table.with_columns(
            pl.Series(value_column, values, pl.Float64),
            pl.Series(id_column, ids, pl.String),
            pl.Series(reason_column, reasons, pl.String),
        )

    def _rescore(self, metric: DistributionMetric) -> str:
        return f"`{command_on_rows('rescore', *self._dataset, metrics=metric.column)}`"

    def _reduce(
        self, metric: DistributionMetric, space: str, pairs: Sequence[tuple[str, str]]
    ) -> Reduced:
        if space not in self._images:
            self._images[space] = self._features.images(space)
        there = [pair for pair in pairs if self._images[space].issuperset(pair)]
        read = [[self._features.read(space, pixels) for pixels in pair] for pair in there]
        kept = [(source, own) for source, own in read if source is not None and own is not None]
        if gone := len(pairs) - len(kept):
            raise NotMeasurable(
                f"the features of {gone} of {len(pairs)} images are not kept here: "
                f"{self._rescore(metric)} makes them again"
            )
        try:
            return metric.reduce([source for source, _ in kept], [own for _, own in kept])
        except Exception as error:
            if not memory_exhausted(error):
                raise
            raise NotMeasurable(
                f"{metric.label} of {len(pairs)} images does not fit into memory: report fewer "
                "images, or on a machine with more"
            ) from None


def _texts(rows: ComparableRows, column: str) -> list[str]:
    """Return a column of the chosen rows as texts; empty for null."""
    return [text or "" for text in rows.select(column).to_series()]


def stored(key: str, column: str, protocol: str, reduced: Reduced) -> Reduction:
    """Return a reduced distribution metric as `Reductions` keep it."""
    influence = reduced.influence
    return key, column, protocol, reduced.value, None if influence is None else influence.tolist()


class Reductions:
    """Reduced distribution metrics of a dataset, in `results/<dataset>/sets`."""

    def __init__(self, store_folder: Path) -> None:
        self._store_folder, self.folder = store_folder, store_folder / "sets"
        self._shards: list[Path] = []  # that were read and are not bundled
        self._known: dict[str, Reduction] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            reductions = _read(path)
            self._known |= {reduction[0]: reduction for reduction in reductions or ()}
            if reductions is not None and not path.name.startswith(SHIPPED):
                self._shards.append(path)

    def get(self, key: str) -> Reduced | None:
        """Return the value that was reduced under a key, or None."""
        if key not in self._known:
            return None
        *_, value, influence = self._known[key]
        return Reduced(value, None if influence is None else np.array(influence))

    def add(self, new: Sequence[Reduction]) -> None:
        """Keep them; a folder that cannot be written costs only the time to reduce again."""
        if not new:
            return
        self._known |= {reduction[0]: reduction for reduction in new}
        together = len(self._shards) >= MOST_SHARDS
        with suppress(StoreError):
            require_inside(self._store_folder, self.folder / "any")
            path = write_shard(self.folder, _table(self._known.values() if together else new))
            for old in {*self._shards} - {path} if together else ():
                old.unlink(missing_ok=True)
            self._shards = [path] if together else [*self._shards, path]

    def lacking_in(self, other: "Reductions") -> list[Reduction]:
        """Return the reductions that the other folder does not have."""
        return [self._known[key] for key in self._known if key not in other._known]

    def ship(self, name: str, others: "Reductions") -> Path:
        """Write the reductions of another folder as bundled ones, replacing earlier ones."""
        reductions = [others._known[key] for key in sorted(others._known)]
        return write_shard(self.folder, _table(reductions), name)


def _table(reductions: Iterable[Reduction]) -> pl.DataFrame:
    return pl.DataFrame([*reductions], SCHEMA, orient="row")


def _read(path: Path) -> list[Reduction] | None:
    """Return the reductions of a file; None, with a warning, where it is damaged."""
    try:
        table = read_parquet(path)
        if table.schema != SCHEMA:
            raise BadShard("its columns are not those of reduced metrics")
        odd = pl.element().is_null() | ~pl.element().is_finite()
        wrong = ~pl.col("value").is_finite() | pl.col("influence").list.eval(odd).list.any()
        nulls = table.drop("influence").null_count().sum_horizontal()
        if nulls.sum() or table.select(wrong.any()).item():
            raise BadShard("it has reductions without a value")
    except BadShard as bad:
        remedy = "its metrics are reduced again; remove it"
        warnings.warn(DamagedResults(f"{path} is left out: {bad}; {remedy}", path), stacklevel=2)
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}; remove it") from error
    return table.rows()
