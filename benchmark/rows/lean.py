"""Columns of many rows in little memory: narrow types, shared nulls, one number for equal texts."""

from collections.abc import Callable
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.rows.numbers import only_text

TIME, TIME_FORMAT = pa.timestamp("ms"), "%Y-%m-%dT%H:%M:%S+00:00"
TIME_LENGTH = len("2026-01-01T00:00:00.000+00:00")
NARROW = {
    **dict.fromkeys(("width_px", "height_px", "num_bytes", "revision"), pa.int32()),
    "finished_utc": TIME,
}
CHUNK_ROWS = 1 << 16  # of columns of nulls


class NotLean(Exception):  # noqa: N818 - not raised out of `rows`
    """Rows that need all their columns, in the types of the schema."""


class Lean:
    """Makes tables lean: columns that have one value in all rows share their memory."""

    def __init__(self) -> None:
        self._repeated: dict[tuple[pa.DataType, int], pa.Array] = {}

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the table in narrow types, columns in one chunk; `of_type` makes them wide.

        Raises `NotLean` for numbers that need more bits, and for times of another form than rows
        are written with.
        """
        rows, columns = len(table), []
        null = nulls(rows)
        for name, values in zip(table.column_names, table.columns, strict=True):
            if (text := only_text(values)) is not None:
                zeros = self._repeat(0, rows, pa.int32())
                column = pa.DictionaryArray.from_arrays(zeros, pa.array([text]))
            elif values.null_count == rows:
                column = null(NARROW.get(name, values.type))
            elif name in NARROW:
                column = self._shared(_narrow(name, values))
            else:
                column = values.combine_chunks()
            columns.append(column)
        return pa.Table.from_arrays(columns, table.column_names)

    def _shared(self, values: pa.ChunkedArray) -> pa.Array:
        low, high = pc.min_max(values).as_py().values()
        if low == high and not values.null_count and values.type != TIME:
            return self._repeat(low, len(values), values.type)
        return values.combine_chunks()

    def _repeat(self, value: int, rows: int, kind: pa.DataType) -> pa.Array:
        longest = self._repeated.get((kind, value), ())
        if len(longest) < rows:
            longest = self._repeated[kind, value] = pa.repeat(pa.scalar(value, kind), rows)
        return longest.slice(0, rows)


def _narrow(name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        if not pa.types.is_string(values.type):
            return values.cast(NARROW[name])
        # The order of such texts is that of their times.
        lengths = pc.min_max(pc.binary_length(values)).as_py()
        strange = pc.or_(pc.match_substring(values, " "), pc.invert(pc.ends_with(values, "+00:00")))
        if {*lengths.values()} != {TIME_LENGTH} or pc.any(strange).as_py():
            raise NotLean(f"{name} has times of another form")
        return values.cast(pa.timestamp("ms", "UTC")).cast(TIME)
    except pa.ArrowInvalid as error:
        raise NotLean(f"{name}: {error}") from error


def of_type(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column in a type of the schema."""
    return pc.strftime(values, TIME_FORMAT) if values.type == TIME else values.cast(kind)


def nulls(rows: int) -> Callable[[pa.DataType], pa.ChunkedArray]:
    """Return a function that makes a column of nulls, once for all columns of a type.

    Its chunks share their memory.
    """

    def column(kind: pa.DataType) -> pa.ChunkedArray:
        chunk, rest = pa.nulls(min(rows, CHUNK_ROWS), kind), rows % CHUNK_ROWS
        chunks = [chunk] * (rows // CHUNK_ROWS) + [chunk.slice(0, rest)] * (rest > 0)
        return pa.chunked_array(chunks, kind)

    return cache(column)
