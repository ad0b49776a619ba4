"""Find stored rows that lack a metric, as tasks that fill it in from the kept stream."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.datasets.source import Source
from benchmark.measure.workbench import Rescore
from benchmark.metrics.metric import metric_columns
from benchmark.registry import FEATURE_SPACES, metric_class
from benchmark.rows.features import FeatureFolder
from benchmark.rows.store import Store
from benchmark.rows.versions import one_per_cell


def unscored(
    table: pa.Table,
    sources: Sequence[Source],
    metrics: Sequence[str],
    folder: Path,
    again: bool,
) -> list[Rescore]:
    """Return tasks for rows of these sources that lack a metric under its present protocol.

    With `again`, also those whose value is null with a reason, since the reason may be gone.
    Of a feature space, rows whose features were dropped lack it too. Failed rows, and bundled rows
    without their streams or of cells that were measured here, are left out. `folder` is the
    store's. Rows of one image stay together.
    """
    store = Store(folder)
    by_pixels = {source.sha256: source for source in sources}
    table = one_per_cell(table)
    lacking = {name: _lacking(table, name, again, folder) for name in metrics}
    wanted = pc.and_(
        pc.equal(table["status"], "ok"),
        pc.is_in(table["image_sha256"], value_set=pa.array(list(by_pixels), pa.string())),
    )
    some = wanted
    for position, mask in enumerate(lacking.values()):
        some = mask if position == 0 else pc.or_(some, mask)
    chosen = pc.and_(wanted, some)
    rows = table.filter(chosen).to_pylist()
    names = {name: mask.filter(chosen).to_pylist() for name, mask in lacking.items()}
    tasks = [
        Rescore(
            row,
            by_pixels[row["image_sha256"]],
            tuple(name for name in metrics if names[name][index]),
            folder,
        )
        for index, row in enumerate(rows)
        if not row["recorded"] or store.has_stream(row["stream_sha256"])
    ]
    return sorted(tasks, key=lambda task: str(task.row["image"]))


def _lacking(table: pa.Table, name: str, again: bool, folder: Path) -> pa.ChunkedArray | pa.Array:
    kind = metric_class(name)
    value, protocol, _ = metric_columns(kind.column)
    if protocol not in table.column_names:  # a user's metric that was never measured here
        return pa.array([True] * table.num_rows, pa.bool_())
    other = pc.fill_null(pc.not_equal(table[protocol], kind.protocol), True)
    if again:
        other = pc.or_(other, pc.is_null(table[value]))
    if name not in FEATURE_SPACES:
        return other
    names = (value, "stream_sha256", "image_sha256", "decoded_sha256")
    kept, store = FeatureFolder(folder), Store(folder)
    gone = [
        count is not None
        and store.has_stream(stream)  # else nothing can bring them back
        and not all(sha256 and kept.has(kind.protocol, sha256) for sha256 in pair)
        for count, stream, *pair in zip(*(table[key].to_pylist() for key in names), strict=True)
    ]
    return pc.or_(other, pa.array(gone, pa.bool_()))
