"""Rows by number: indices of their values, groups of equal ones, marks; arrays of shape (rows,)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray, Float64Array, Int64Array


def codes(column: pa.ChunkedArray | pa.Array) -> tuple[Int64Array, list[Any]]:
    """Return each row's index among the distinct values of a column, and these: sorted, null last.

    The indices are int64 of shape (rows,). Of a dictionary, unused values and null are among them.

    >>> codes(pa.array(["b", "a", None, "b"]))
    (array([1, 0, 2, 1]), ['a', 'b', None])
    """
    if column.null_count == len(column):
        return np.zeros(len(column), np.int64), [None]
    if isinstance(column, pa.Array):
        column = pa.chunked_array([column])
    if (text := only_text(column)) is not None:
        return np.zeros(len(column), np.int64), [text, None]
    has_null = bool(column.null_count) or pa.types.is_dictionary(column.type)
    column = column.dictionary_encode().unify_dictionaries()
    known = column.chunk(0).dictionary
    values = pa.concat_arrays([known, pa.nulls(1, known.type)]) if has_null else known
    order = pc.array_sort_indices(values)
    index = np.empty(len(order), np.int64)
    index[order.to_numpy()] = np.arange(len(order))
    numbers, start = np.empty(len(column), np.int64), 0
    for chunk in column.chunks:
        numbers[start : start + len(chunk)] = index[chunk.indices.fill_null(len(known)).to_numpy()]
        start += len(chunk)
    return numbers, values.take(order).to_pylist()


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
    differing = [number for number in numbers if number.any()]
    if not differing:
        return np.zeros(len(numbers[0]), np.int64)
    whole = [number.astype(np.int64, copy=False) for number in differing]
    together = np.ravel_multi_index(whole, [int(number.max(initial=0)) + 1 for number in whole])
    if together.max(initial=0) > 4 * len(together):
        return np.asarray(np.unique(together, return_inverse=True)[1], np.int64)
    return np.asarray((np.cumsum(np.bincount(together) > 0) - 1)[together], np.int64)


def image_numbers(table: pa.Table) -> Int64Array:
    """Number rows by image, int64 of shape (rows,): by its sha256, by its name without one."""
    digests = table["image_sha256"]
    if digests.null_count:
        digests = pc.coalesce(digests, table["image"])
    return ordered_numbers(codes(digests)[0])


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


def equals(column: pa.ChunkedArray, text: str) -> BoolArray:
    """Mark the rows of a column of text that equal `text`, bool of shape (rows,); null does not."""
    if (only := only_text(column)) is not None:
        return np.full(len(column), only == text)
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


def floats(column: pa.ChunkedArray) -> Float64Array:
    """Return a column of numbers or booleans as float64 of shape (rows,); NaN for null."""
    result, start = np.empty(len(column)), 0
    for chunk in column.chunks:
        values = chunk.cast(pa.float64()).to_numpy(zero_copy_only=False)
        result[start : start + len(chunk)] = values
        start += len(chunk)
    return result


def only_text(column: pa.ChunkedArray) -> Any:
    """Return the text that all rows of a column of dictionaries have, None where they differ."""
    if not pa.types.is_dictionary(column.type) or column.null_count:
        return None
    known = [chunk.dictionary for chunk in column.chunks]
    texts = {values[0].as_py() if len(values) == 1 else None for values in known}
    return texts.pop() if len(texts) == 1 else None
