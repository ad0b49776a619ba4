"""Columns of a table of rows as arrays: values numbered, groups, marked rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray, Int64Array


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
        encoded = pa.DictionaryArray.from_arrays(
            column.indices.fill_null(len(column.dictionary)), values
        )
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
    keys, sizes = [], []
    if within is not None:
        keys, sizes = [within], [int(within.max(initial=0)) + 1]
    for name in columns:
        numbers, values = codes(table[name])
        keys.append(numbers)
        sizes.append(max(len(values), 1))
    together = np.ravel_multi_index(keys, sizes)
    return np.asarray(np.unique(together, return_inverse=True)[1], np.int64)


def image_numbers(table: pa.Table) -> Int64Array:
    """Number rows by image, int64 of shape (rows,): by its sha256, by its name without one."""
    return codes(pc.coalesce(table["image_sha256"], table["image"]))[0]


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
