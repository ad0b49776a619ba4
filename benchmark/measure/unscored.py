"""Find stored rows that lack a metric, as tasks that fill it in from the kept stream."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray
from benchmark.datasets.dataset import Source
from benchmark.measure.cells import Rescore
from benchmark.metrics.availability import lasting
from benchmark.registry import FEATURE_SPACES, metric_named
from benchmark.rows.codecs import EVERY
from benchmark.rows.features import FeatureFolder
from benchmark.rows.schema import equals, metric_columns
from benchmark.rows.store import Store, one_per_cell


def unscored(
    table: pa.Table,
    sources: Sequence[Source],
    metrics: Sequence[str],
    folder: Path,
    again: bool,
    may_run: Callable[[Mapping[str, Any]], bool] = EVERY.selects_to_run,
) -> list[Rescore]:
    """Return tasks for rows of these sources that lack a metric under its present protocol.

    With `again`, also those whose value is null for a reason that may be gone. Of a feature space,
    rows whose features were dropped lack it too. Failed rows, bundled rows without streams and rows
    whose codec may not run are left out. Rows of an image are together. folder: of the store.
    """
    store = Store(folder)
    by_pixels = {source.sha256: source for source in sources}
    table = one_per_cell(table)
    ours = pc.is_in(table["image_sha256"], value_set=pa.array(list(by_pixels), pa.string()))
    table = table.filter(pc.and_(pc.equal(table["status"], "ok"), ours))
    masks = [_lacking(table, name, again, folder) for name in metrics]
    lacking = np.array(masks, np.bool_).reshape(len(metrics), table.num_rows)
    chosen = np.flatnonzero(lacking.any(axis=0))
    tasks = []
    for at, row in zip(chosen, table.take(pa.array(chosen)).to_pylist(), strict=True):
        if may_run(row) and (not row["recorded"] or store.has_stream(row["stream_sha256"])):
            names = tuple(compress(metrics, lacking[:, at]))
            tasks.append(Rescore(row, by_pixels[row["image_sha256"]], names, folder))
    return sorted(tasks, key=lambda task: str(task.row["image"]))


def count_values(table: pa.Table, cells: Collection[str], metrics: Sequence[str]) -> list[int]:
    """Return of each of these cells how many of the metrics it has by their present protocols."""
    rows = one_per_cell(table)
    rows = rows.filter(pc.is_in(rows["cell"], value_set=pa.array(cells, pa.string())))
    counts = np.zeros(rows.num_rows, np.int64)
    for kind in map(metric_named, metrics):
        value, protocol, _ = metric_columns(kind.column)
        if protocol in rows.column_names:  # else a user's metric that was never measured here
            measured = ~np.asarray(pc.is_null(rows[value]))
            counts += equals(rows[protocol], kind.protocol) & measured
    return [int(count) for count in counts]


def _lacking(table: pa.Table, name: str, again: bool, folder: Path) -> BoolArray:
    kind = metric_named(name)
    value, protocol, reason = metric_columns(kind.column)
    if protocol not in table.column_names:  # a user's metric that was never measured here
        return np.ones(table.num_rows, np.bool_)
    lacks = ~equals(table[protocol], kind.protocol)
    if again:
        texts = pc.unique(table[reason]).drop_null().to_pylist()
        forever = pa.array([text for text in texts if lasting(text)], pa.string())
        null = pc.and_not(pc.is_null(table[value]), pc.is_in(table[reason], value_set=forever))
        lacks |= np.asarray(null)
    if name in FEATURE_SPACES:
        names = (value, "stream_sha256", "image_sha256", "decoded_sha256")
        kept, store = FeatureFolder(folder), Store(folder)
        lacks |= np.array(
            [
                count is not None
                and store.has_stream(stream)  # else nothing can bring them back
                and not all(sha256 and kept.has(kind.protocol, sha256) for sha256 in pair)
                for count, stream, *pair in zip(
                    *(table[key].to_pylist() for key in names), strict=True
                )
            ],
            np.bool_,
        )
    return lacks
