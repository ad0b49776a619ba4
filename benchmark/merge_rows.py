"""Versions of rows to one row a cell. Pure.

A cell has several rows when a failed one was tried again, a finished one was timed or rescored, or
two runs measured it. The better one stands: without failure, then timed, then coded here and not
recorded in a pack, then later. Each metric is taken from the first of the versions that has it
under its present protocol, value, protocol and reason together.
"""

from collections import defaultdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.metric import metric_columns
from benchmark.registry import METRICS, metric_class

Row = dict[str, Any]


def merge_versions(table: pa.Table) -> pa.Table:
    """One row a cell; rows of cells that have a single one pass through untouched."""
    counts = table.group_by("cell").aggregate([("cell", "count")])
    repeated = counts.filter(pc.greater(counts["cell_count"], 1))["cell"]
    if len(repeated) == 0:
        return table
    several = pc.is_in(table["cell"], value_set=repeated.combine_chunks())
    versions: dict[str, list[Row]] = defaultdict(list)
    for row in table.filter(several).to_pylist():
        versions[row["cell"]].append(row)
    merged = [_merge(rows) for rows in versions.values()]
    rest = table.filter(pc.invert(several))
    return pa.concat_tables([rest, pa.Table.from_pylist(merged, schema=table.schema)])


def _merge(rows: list[Row]) -> Row:
    ranked = sorted(rows, key=_rank, reverse=True)
    merged = dict(ranked[0])
    if merged["status"] != "ok":
        return merged
    for name in METRICS:
        kind = metric_class(name)
        columns = metric_columns(kind.column)
        best = max(ranked, key=lambda row: _worth(row, columns, kind.protocol))
        merged.update({column: best.get(column) for column in columns})
    return merged


def _rank(row: Row) -> tuple[bool, bool, bool, str]:
    coded_here = not row.get("recorded")
    return row["status"] == "ok", bool(row["timing"]), coded_here, row["finished_utc"] or ""


def _worth(row: Row, columns: tuple[str, str, str], protocol: str) -> tuple[bool, bool]:
    value, row_protocol, _ = columns
    return row.get(row_protocol) == protocol, row.get(value) is not None
