"""Versions of a row: which one stands for a cell, and which edition of a codec is the newest.

A cell has several rows when a failed one was tried again, a finished one was timed or rescored, or
two runs measured it. The better one stands: without failure, then timed, then coded here rather
than precomputed, then later. Each metric is taken from the first of the versions that has it under
its present protocol, value, protocol and reason together. The row is verified if any version with
the same stream and pixels is.

An edition of a codec variant is one program or weight file (`fingerprint`) and one revision of its
adapter (`revision`). Means and figures show the edition of the variant's latest run alone.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.metrics.metric import metric_columns
from benchmark.protocol import CODING
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.rows.grouping import codes, equals, group_codes, image_numbers, last_of_groups
from benchmark.system.arrays import BoolArray, Int64Array


@dataclass(frozen=True, slots=True, eq=False)
class Newest:
    """The newest rows of a table, ordered by codec variant, setting and image; arrays are int64.

    At most one row per variant, setting and image. All arrays but `other` have that length.
    """

    index: Int64Array  # of each row in the table
    variant: Int64Array  # number of the codec variant
    point: Int64Array  # number of variant and setting: 0, 1, ... ascending, without gaps
    image: Int64Array  # number of the image, by sha256 (by name where that is null)
    recency: Int64Array  # higher for later rows
    other: Int64Array  # indices of the rows of other editions or protocols


def newest_rows(table: pa.Table, coding_protocol: str = CODING) -> Newest:
    """Select the rows under a coding protocol of each codec variant's newest edition.

    Of rows that differ in nothing but their cell's key, so that an image would count twice at one
    setting, the latest is taken. `table` has the columns of `schema.table_schema`.
    """
    recency = _recency(table)
    variant = group_codes(table, ("codec", "variant"))
    edition = group_codes(table, ("fingerprint", "revision"), variant)
    comparable = equals(table["coding_protocol"], coding_protocol)
    order = np.flatnonzero(comparable)
    order = order[np.lexsort((recency[order], variant[order]))]
    latest = order[last_of_groups(variant[order])]
    newest = np.full(int(variant.max(initial=-1)) + 1, -1, np.int64)
    newest[variant[latest]] = edition[latest]
    present = comparable & (edition == newest[variant])

    index = np.flatnonzero(present)
    point = group_codes(table, ("setting_name", "setting_value"), variant)[index]
    image = image_numbers(table)[index]
    order = np.lexsort((recency[index], image, point))
    order = order[last_of_groups(point[order]) | last_of_groups(image[order])]
    index = index[order]
    return Newest(
        index,
        variant[index],
        np.unique(point[order], return_inverse=True)[1],
        image[order],
        recency[index],
        np.flatnonzero(~present),
    )


def merge_versions(table: pa.Table) -> pa.Table:
    """Return one row per cell; rows of cells that have a single row pass through untouched.

    Columns of text may be dictionaries, and then stay so.
    """
    cells = _numbers(table, "cell")
    repeated = np.bincount(cells, minlength=1)[cells] > 1
    if not repeated.any():
        return table
    several = pa.array(repeated)
    rest = table.filter(pc.invert(several))
    return pa.concat_tables([rest, _merged(table.filter(several).combine_chunks())])


def _merged(table: pa.Table) -> pa.Table:
    """Return one row per cell, in the order in which the cells first appear."""
    cells = _numbers(table, "cell")
    ok = equals(table["status"], "ok")
    timed, here = _true(table, "timing"), ~_true(table, "recorded")
    later = pc.rank(table["finished_utc"].fill_null("").combine_chunks(), tiebreaker="dense")
    first = -np.arange(len(cells))  # the first of equal ones, always
    order = np.lexsort((first, later.to_numpy(), here, timed, ok))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))

    worth = {"best": rank}  # of each row, by what is taken from it
    for name in (*METRICS, *FEATURE_SPACES):
        worth[name] = _worth(table, name) * len(rank) + rank
    highest = (
        pa.table({"cell": cells, **worth})
        .group_by("cell", use_threads=False)
        .aggregate([(name, "max") for name in worth])
    )
    best = order[highest["best_max"].to_numpy()]
    merged = table.take(pa.array(best))
    for name in (*METRICS, *FEATURE_SPACES):
        taken = order[highest[f"{name}_max"].to_numpy() % len(rank)]
        taken = np.where(ok[best], taken, best)  # of a failed cell, everything is the best row's
        if (taken != best).any():
            for column in metric_columns(metric_class(name).column):
                values = table[column].take(pa.array(taken))
                merged = merged.set_column(*_field(merged, column), values)
    same = _true(table, "attested")
    for name in ("stream_sha256", "decoded_sha256"):
        numbers = _numbers(table, name)
        same &= numbers == numbers[best][cells]
    found = np.bincount(cells[same], minlength=len(best)) > 0
    found = pc.if_else(pa.array(found), True, pa.scalar(None, pa.bool_()))
    attested = pc.or_kleene(merged["attested"], found)
    return merged.set_column(*_field(merged, "attested"), attested)


def _recency(table: pa.Table) -> Int64Array:
    # The run comes first: filling in a metric renews `finished_utc`.
    run, _ = codes(table["run"].fill_null(""))
    finished = table["finished_utc"].fill_null("").combine_chunks()
    rank = np.asarray(pc.rank(finished, tiebreaker="dense").to_numpy(), np.int64)
    return (run << 32) + rank


def _worth(table: pa.Table, metric: str) -> Int64Array:
    """Return 2 for the metric's present protocol, 1 for a value, 3 for both, 0 for neither."""
    kind = metric_class(metric)
    value, protocol, _ = metric_columns(kind.column)
    valid = np.asarray(pc.is_valid(table[value]).to_numpy(), np.int64)
    return 2 * equals(table[protocol], kind.protocol) + valid


def _numbers(table: pa.Table, column: str) -> Int64Array:
    """Number the distinct texts in order of appearance; -1 for null."""
    encoded = table[column].combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1).to_numpy(), np.int64)


def _true(table: pa.Table, column: str) -> BoolArray:
    return np.asarray(table[column].fill_null(False).to_numpy(), np.bool_)


def _field(table: pa.Table, column: str) -> tuple[int, pa.Field]:
    at = table.schema.get_field_index(column)
    return at, table.schema.field(at)
