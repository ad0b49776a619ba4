"""Distribution metrics of stored rows, computed from stored features, as columns of the rows.

A distribution metric has no value for a single image. Its column holds, for each image, the value
of the set plus the image's influence (`metric.Reduced`): the mean over a point's images is the
metric of the set, and the spread of the values gives its interval.

    results/<dataset>/sets/<sha256>.parquet    values and influences; written once
                          /shipped*            files bundled with the project
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
from benchmark.rows.remedies import add_remedies, command_on_rows
from benchmark.rows.schema import metric_columns
from benchmark.rows.shard import SHIPPED, BadShard, read_parquet, write_shard
from benchmark.rows.streams import FeatureFolder
from benchmark.rows.summary import Summary
from benchmark.system.atomic import require_inside

TEXT_TYPES = dict.fromkeys(("key", "column", "protocol"), pl.String())
SCHEMA = pl.Schema({**TEXT_TYPES, "value": pl.Float64(), "influence": pl.List(pl.Float64)})
MAX_SHARDS = 16  # files of reductions are merged if there are this many


# A row of SCHEMA: a metric's value and its inputs; influences are in the order of sorted pairs
Reduction = tuple[str, str, str, float, Sequence[float] | None]


def reduction_key(protocol: str, pairs: Iterable[tuple[str, str]]) -> str:
    """Return a sha256 of the protocol and of pairs of pixels' sha256, in any order."""
    return hashlib.sha256(json.dumps([protocol, sorted(pairs)]).encode()).hexdigest()


def add_distribution_metrics(
    table: pl.DataFrame,
    folder: Path,
    names: Sequence[str],
    common: bool = False,
    allow_few: bool = False,
) -> ComparableRows:
    """Return comparable rows; their table has columns for the distribution metrics in `names`.

    folder: the store's; reduced values are cached there. common: restrict each set to images that
    all points have. allow_few: also reduce sets below a metric's minimum number of images.
    """
    rows = ComparableRows(table, CODING)
    set_metrics = [name for name in names if name in DISTRIBUTION_METRICS]
    if not set_metrics:
        return rows
    reducer = _Reducer(rows, folder, common, allow_few)
    for name in set_metrics:
        rows = rows.replace(table=reducer.add_columns(rows, name))
    return rows


def summarise_with_distributions(
    table: pl.DataFrame,
    folder: Path,
    names: Sequence[str],
    pooled: bool = False,
    common: bool = False,
    allow_few: bool = False,
) -> Summary:
    """Compute means of a store's rows, including distribution metrics."""
    rows = add_distribution_metrics(table, folder, names, common, allow_few)
    summary = summarise_rows(rows, protocols(names), pooled, common)
    return add_remedies(summary, folder, table["run"].unique())


class _Reducer:
    def __init__(self, rows: ComparableRows, folder: Path, common: bool, allow_few: bool) -> None:
        self._common, self._allow_few = common, allow_few
        self._ok = rows.restrict_to_common(rows.ok) if common else rows.ok
        bounds = np.searchsorted(rows.point, np.arange(rows.num_points + 1)).tolist()
        self._point_positions = [
            start + np.flatnonzero(self._ok[start:end]) for start, end in pairwise(bounds)
        ]
        self._results_and_dataset = folder.parent, folder.name
        self._features, self._reductions = FeatureFolder(folder), Reductions(folder)
        self._images: dict[str, set[str]] = {}  # images with features, by the space's protocol
        names = ("image_sha256", "decoded_sha256", "features_of")
        hashes = zip(*(_read_texts(rows, name) for name in names), strict=True)
        self._digest_pairs = [
            (source, features_pixels or decoded) for source, decoded, features_pixels in hashes
        ]

    def add_columns(self, rows: ComparableRows, name: str) -> pl.DataFrame:
        metric: DistributionMetric = metric_class(name)()
        protocol, space = protocol_of(name), metric_class(metric.space)
        count_column, count_protocol, count_reason = metric_columns(space.column)
        has_count = ~np.isnan(rows.numbers(count_column)) & rows.mark_equal(
            count_protocol, space.protocol
        )
        # With `common`, a set and its mean use the images whose features all points have.
        is_included = rows.restrict_to_common(self._ok & has_count) if self._common else has_count
        stored_reasons = _read_texts(rows, count_reason)
        values: list[float | None] = [None] * rows.table.height
        reasons: list[str | None] = [None] * rows.table.height
        new_reductions: list[Reduction] = []
        for positions in self._point_positions:
            for position in positions[~is_included[positions]].tolist():
                reasons[rows.index[position]] = stored_reasons[position] or (
                    "features of this image are not kept for all codecs"
                    if has_count[position]
                    else f"not computed: {self._rescore_command(metric)} computes the value"
                )
            row_by_pair = {
                self._digest_pairs[position]: rows.index[position]
                for position in positions[is_included[positions]].tolist()
            }
            if not row_by_pair:
                continue
            pairs = sorted(row_by_pair)
            key = reduction_key(protocol, pairs)
            try:
                if len(pairs) < metric.min_images and not self._allow_few:
                    raise NotMeasurable(
                        f"{metric.label} of {len(pairs)} images is unreliable: use at least "
                        f"{metric.min_images}, or allow fewer with --allow-few"
                    )
                reduced = self._reductions.get(key)
                influence = None if reduced is None else reduced.influence
                if reduced is None or (influence is not None and len(influence) != len(pairs)):
                    reduced = self._reduce(metric, str(space.protocol), pairs)
                    new_reductions.append(make_reduction(key, metric.column, protocol, reduced))
            except NotMeasurable as reason:
                for row in row_by_pair.values():
                    reasons[row] = str(reason)
                continue
            influence = np.zeros(len(pairs)) if reduced.influence is None else reduced.influence
            for pair, image_influence in zip(pairs, influence.tolist(), strict=True):
                values[row_by_pair[pair]] = reduced.value + image_influence
        self._reductions.add(new_reductions)
        protocol_ids = [None if value is None else protocol for value in values]
        value_column, id_column, reason_column = metric_columns(metric.column)
        return rows.table.with_columns(
            pl.Series(value_column, values, pl.Float64),
            pl.Series(id_column, protocol_ids, pl.String),
            pl.Series(reason_column, reasons, pl.String),
        )

    def _rescore_command(self, metric: DistributionMetric) -> str:
        return f"`{command_on_rows('rescore', *self._results_and_dataset, metrics=metric.column)}`"

    def _reduce(
        self, metric: DistributionMetric, space_protocol: str, pairs: Sequence[tuple[str, str]]
    ) -> Reduced:
        if space_protocol not in self._images:
            self._images[space_protocol] = self._features.images(space_protocol)
        available_pairs = [pair for pair in pairs if self._images[space_protocol].issuperset(pair)]
        feature_pairs = [
            [self._features.read(space_protocol, pixels) for pixels in pair]
            for pair in available_pairs
        ]
        complete_pairs = [
            (source, decoded)
            for source, decoded in feature_pairs
            if source is not None and decoded is not None
        ]
        if num_missing := len(pairs) - len(complete_pairs):
            raise NotMeasurable(
                f"the features of {num_missing} of {len(pairs)} images are not kept here: "
                f"{self._rescore_command(metric)} recomputes them"
            )
        try:
            return metric.reduce(
                [source for source, _ in complete_pairs], [decoded for _, decoded in complete_pairs]
            )
        except Exception as error:
            if not memory_exhausted(error):
                raise
            raise NotMeasurable(
                f"{metric.label} of {len(pairs)} images does not fit into memory: report fewer "
                "images, or use a machine with more memory"
            ) from None


def _read_texts(rows: ComparableRows, column: str) -> list[str]:
    return [text or "" for text in rows.select(column).to_series()]


def make_reduction(key: str, column: str, protocol: str, reduced: Reduced) -> Reduction:
    """Convert a reduced distribution metric to a row of `Reductions`."""
    influence = reduced.influence
    return key, column, protocol, reduced.value, None if influence is None else influence.tolist()


class Reductions:
    """Reduced distribution metrics in `results/<dataset>/sets`; equal keys have equal values."""

    def __init__(self, store_folder: Path) -> None:
        self._store_folder, self.folder = store_folder, store_folder / "sets"
        self._shards: list[Path] = []  # shards that were read and are not bundled
        self._reductions: dict[str, Reduction] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            reductions = _read_reductions(path)
            self._reductions |= {reduction[0]: reduction for reduction in reductions or ()}
            if reductions is not None and not path.name.startswith(SHIPPED):
                self._shards.append(path)

    def get(self, key: str) -> Reduced | None:
        """Return the metric stored under a key, or None."""
        if key not in self._reductions:
            return None
        *_, value, influence = self._reductions[key]
        return Reduced(value, None if influence is None else np.array(influence))

    def add(self, new_reductions: Sequence[Reduction]) -> None:
        """Store reductions; in a read-only folder, they are computed again when needed."""
        if not new_reductions:
            return
        self._reductions |= {reduction[0]: reduction for reduction in new_reductions}
        merges_shards = len(self._shards) >= MAX_SHARDS
        with suppress(StoreError):
            require_inside(self._store_folder, self.folder / "any")
            path = write_shard(
                self.folder,
                _reduction_table(self._reductions.values() if merges_shards else new_reductions),
            )
            for shard in {*self._shards} - {path} if merges_shards else ():
                shard.unlink(missing_ok=True)
            self._shards = [path] if merges_shards else [*self._shards, path]

    def difference(self, other: "Reductions") -> list[Reduction]:
        """Return the reductions that the other folder lacks."""
        return [self._reductions[key] for key in self._reductions if key not in other._reductions]

    def write_bundled(self, name: str, source: "Reductions") -> Path:
        """Write the reductions of another folder as bundled ones, replacing earlier ones."""
        reductions = [source._reductions[key] for key in sorted(source._reductions)]
        return write_shard(self.folder, _reduction_table(reductions), name)


def _reduction_table(reductions: Iterable[Reduction]) -> pl.DataFrame:
    return pl.DataFrame([*reductions], SCHEMA, orient="row")


def _read_reductions(path: Path) -> list[Reduction] | None:
    """Read a file of reductions; if it is damaged, warn and return None."""
    try:
        table = read_parquet(path)
        if table.schema != SCHEMA:
            raise BadShard("its columns are not those of distribution metrics")
        is_invalid = pl.element().is_null() | ~pl.element().is_finite()
        invalid_row = (
            ~pl.col("value").is_finite() | pl.col("influence").list.eval(is_invalid).list.any()
        )
        nulls = table.drop("influence").null_count().sum_horizontal()
        if nulls.sum() or table.select(invalid_row.any()).item():
            raise BadShard("it has distribution metrics without a value")
    except BadShard as error:
        remedy = "remove the file; its metrics are computed again"
        warnings.warn(DamagedResults(f"{path} is left out: {error}; {remedy}", path), stacklevel=2)
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}; remove the file") from error
    return table.rows()
