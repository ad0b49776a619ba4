"""Versions of rows to one row a cell. Pure.

A cell has several rows when a failed one was tried again, a finished one was timed or rescored, or
two runs measured it. The better one stands: without failure, then timed, then coded here and not
recorded in a pack, then later. Each metric is taken from the first of the versions that has it
under its present protocol, value, protocol and reason together. It is attested if any version of
the same stream and pixels is.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.metrics.metric import metric_columns
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.system.arrays import BoolArray, Int64Array


def merge_versions(table: pa.Table) -> pa.Table:
    """One row a cell; rows of cells that have a single one pass through untouched.

    Columns of text may be dictionaries, and then stay so.
    """
    counts = table.group_by("cell").aggregate([("cell", "count")])
    repeated = counts.filter(pc.greater(counts["cell_count"], 1))["cell"]
    if len(repeated) == 0:
        return table
    several = pc.is_in(table["cell"], value_set=repeated.combine_chunks())
    rest = table.filter(pc.invert(several))
    return pa.concat_tables([rest, _merged(table.filter(several).combine_chunks())])


def _merged(table: pa.Table) -> pa.Table:
    """By cell; arrays are (rows,) but for `starts`, `best` and `taken`, which are (cells,)."""
    versions = _Versions(table)
    merged = table.take(pa.array(versions.best))
    for name in (*METRICS, *FEATURE_SPACES):
        kind = metric_class(name)
        columns = metric_columns(kind.column)
        taken = versions.first(_worth(table, columns, kind.protocol))
        if (taken != versions.best).any():
            for column in columns:
                values = table[column].take(pa.array(taken))
                merged = merged.set_column(*_place(merged, column), values)
    found = versions.any_of_best("attested")
    attested = pc.or_kleene(merged["attested"], pa.array(found, pa.bool_()))
    return merged.set_column(*_place(merged, "attested"), attested)


class _Versions:
    """The rows of each cell from worst to best, and what the best one lacks."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        cells = _codes(table, "cell")
        self._ok = _codes(table, "status") == _code(table, "status", "ok")
        timed, here = _yes(table, "timing"), ~_yes(table, "recorded")
        finished = table["finished_utc"].fill_null("").combine_chunks()
        later = pc.rank(finished, tiebreaker="dense").to_numpy().astype(np.int64)
        first = -np.arange(len(cells))  # of equal ones, as always
        self._order = np.lexsort((first, later, here, timed, self._ok, cells))
        last = np.diff(cells[self._order], append=-1) != 0
        self.best: Int64Array = self._order[last]
        self._starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
        self._of_cell = np.cumsum(np.concatenate([[0], last[:-1]]))  # of each row in order

    def first(self, worth: Int64Array) -> Int64Array:
        """The best of the rows worth most, of each cell; of a failed one, the best row."""
        rows = len(worth)
        highest = np.maximum.reduceat(worth[self._order] * rows + np.arange(rows), self._starts)
        return np.where(self._ok[self.best], self._order[highest % rows], self.best)

    def any_of_best(self, column: str) -> "list[bool | None]":
        """Whether a version with the stream and the pixels of the best one has a yes; else None."""
        same = _yes(self._table, column)[self._order]
        for name in ("stream_sha256", "decoded_sha256"):
            codes = _codes(self._table, name)
            same &= codes[self._order] == codes[self.best][self._of_cell]
        found: list[bool] = np.logical_or.reduceat(same, self._starts).tolist()
        return [True if one else None for one in found]


def _worth(table: pa.Table, columns: tuple[str, str, str], protocol: str) -> Int64Array:
    """2 for the present protocol, 1 for a value, 3 for both."""
    value, row_protocol, _ = columns
    present = _codes(table, row_protocol) == _code(table, row_protocol, protocol)
    valid = np.asarray(pc.is_valid(table[value]).to_numpy(), np.bool_)
    return np.asarray(2 * present + valid, np.int64)


def _encoded(table: pa.Table, column: str) -> pa.DictionaryArray:
    return table[column].combine_chunks().dictionary_encode()


def _codes(table: pa.Table, column: str) -> Int64Array:
    """A number for each row, equal where the text is; -1 for null."""
    indices = _encoded(table, column).indices
    return np.asarray(indices.fill_null(-1).to_numpy(), np.int64)


def _code(table: pa.Table, column: str, text: str) -> int:
    """The number of a text among `_codes`; -2, which no row has, where it is not there."""
    found = int(pc.index(_encoded(table, column).dictionary, text).as_py())
    return found if found >= 0 else -2


def _yes(table: pa.Table, column: str) -> BoolArray:
    return np.asarray(table[column].fill_null(False).to_numpy(), np.bool_)


def _place(table: pa.Table, column: str) -> tuple[int, pa.Field]:
    at = table.schema.get_field_index(column)
    return at, table.schema.field(at)
