"""Rows numbered by the values of their columns, and marked, as arrays of numpy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray, Int64Array

KEY_BYTES = 8  # of a cell's key, by which repeated ones are sought


def codes(column: pa.ChunkedArray | pa.Array) -> tuple[Int64Array, list[Any]]:
    """Return each row's index among the distinct values of a column, and these: sorted, null last.

    The indices are int64 of shape (rows,). Of a dictionary, unused values and null are among them.

    >>> codes(pa.array(["b", "a", None, "b"]))
    (array([1, 0, 2, 1]), ['a', 'b', None])
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        values = pa.concat_arrays([column.dictionary, pa.nulls(1, column.type.value_type)])
        indices = column.indices.fill_null(len(column.dictionary))
        encoded = pa.DictionaryArray.from_arrays(indices, values)
    else:
        encoded = column.dictionary_encode(null_encoding="encode")
    order = pc.array_sort_indices(encoded.dictionary)
    index = np.empty(len(order), np.int64)
    index[order.to_numpy()] = np.arange(len(order))
    return index[encoded.indices.to_numpy()], encoded.dictionary.take(order).to_pylist()


def group_codes(
    table: pa.Table, columns: Sequence[str], within: Int64Array | None = None
) -> Int64Array:
    """Number the rows by their values in `columns`, int64 of shape (rows,): 0, 1, ... without gaps.

    Rows with equal values (and equal numbers in `within`, which comes first) get equal numbers.
    The numbers are ordered as the values: by the first column, then the second, null last.
    """
    keys = [] if within is None else [within]
    return ordered_numbers(*keys, *(codes(table[name])[0] for name in columns))


def ordered_numbers(*numbers: Int64Array | BoolArray) -> Int64Array:
    """Number the distinct tuples of integers from 0 on, in ascending order, without gaps.

    >>> ordered_numbers(np.array([7, 2, 2]), np.array([0, 5, 0]))
    array([2, 1, 0])
    """
    whole = [number.astype(np.int64) for number in numbers]
    together = np.ravel_multi_index(whole, [int(number.max(initial=0)) + 1 for number in whole])
    if together.max(initial=0) > 4 * len(together):
        return np.asarray(np.unique(together, return_inverse=True)[1], np.int64)
    return np.asarray((np.cumsum(np.bincount(together) > 0) - 1)[together], np.int64)


def image_numbers(table: pa.Table) -> Int64Array:
    """Number rows by image, int64 of shape (rows,): by its sha256, by its name without one."""
    return ordered_numbers(codes(pc.coalesce(table["image_sha256"], table["image"]))[0])


def numbered(column: pa.ChunkedArray) -> Int64Array:
    """Number the distinct values in order of appearance, shape (rows,); -1 for null."""
    values = column.combine_chunks()
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    return np.asarray(values.indices.fill_null(-1).to_numpy(), np.int64)


def tuple_numbers(*numbers: Int64Array | BoolArray) -> Int64Array:
    """Number the distinct tuples of integers from -1 on, in order of appearance."""
    together = np.zeros(1, np.int64)
    for number in numbers:
        together = together * (int(number.max(initial=0)) + 2) + number.astype(np.int64) + 1
        together = numbered(pa.chunked_array([together]))
    return together


def key_starts(column: pa.ChunkedArray) -> Int64Array:
    """Return the first eight bytes of each text, shape (rows,); 0 for shorter ones and null."""
    starts = np.zeros(len(column), np.int64)
    start = 0
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets or b"", np.int32)[chunk.offset :][: len(chunk) + 1]
        long = np.flatnonzero(np.diff(ends) >= KEY_BYTES)
        first = np.frombuffer(data or b"", np.uint8)[ends[long, None] + np.arange(KEY_BYTES)]
        starts[start + long] = first.view(np.int64).ravel()
        start += len(chunk)
    return starts


def may_repeat(starts: Sequence[Int64Array]) -> list[BoolArray]:
    """Mark the numbers of arrays that are in any of them once more, shapes as theirs.

    Keys of cells are hexadecimal digests, whose repetitions are sought by `key_starts`.
    """
    keys = np.concatenate([*starts, np.empty(0, np.int64)])
    order = np.argsort(keys)
    equal = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
    marks = np.zeros(len(keys), np.bool_)
    marks[order[equal]] = marks[order[equal + 1]] = True
    return np.split(marks, np.cumsum([len(of) for of in starts])[:-1]) if starts else []


def equals(column: pa.ChunkedArray, text: str) -> BoolArray:
    """Mark the rows of a column of text that equal `text`, bool of shape (rows,); null does not."""
    return np.asarray(pc.equal(column, text).fill_null(False).to_numpy(), np.bool_)


def marked(column: pa.ChunkedArray) -> BoolArray:
    """Mark the rows of a column of booleans that are true, bool of shape (rows,); null is not."""
    return np.asarray(column.fill_null(False).to_numpy(), np.bool_)


def last_of_groups(groups: Int64Array) -> BoolArray:
    """Mark the last of each run of equal numbers, bool of shape (rows,).

    >>> last_of_groups(np.array([0, 0, 3, 3, 3, 1]))
    array([False,  True, False, False,  True,  True])
    """
    last = np.ones(len(groups), np.bool_)
    last[:-1] = groups[1:] != groups[:-1]
    return last


def bundled_beside_own(table: pa.Table) -> BoolArray:
    """Mark the bundled rows of cells that have another row, measured here; shape (rows,)."""
    bundled = marked(table["bundled"])
    if not bundled.any() or bundled.all():
        return np.zeros(len(bundled), np.bool_)
    here = table["cell"].filter(pa.array(~bundled)).drop_null()
    return np.asarray(bundled & pc.is_in(table["cell"], value_set=here).to_numpy(), np.bool_)
