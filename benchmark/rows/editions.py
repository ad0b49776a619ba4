"""Rows by number, and the editions of codec variants: their rows in order, which is newest.

An edition is a codec variant of one build (`rows.versions`); the newest is that of the latest run
here, else the latest bundled one. Arrays have shape (rows,) where nothing else is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmark.codec import CODING, BoolArray, Float64Array, Int64Array
from benchmark.rows.schema import TIME, bundled_beside_own, equals, marked, only_text
from benchmark.rows.shard import BUILD

MOST_PLACES = 4  # of points and images, for each row: beyond it rows are sorted


@dataclass(eq=False)
class EditionRows:
    """Rows under one coding protocol, ordered by codec variant, edition (newest first), setting and
    image; at most one row per edition, setting and image.
    """

    # Of shape (rows,)
    index: Int64Array  # of each row in the table
    point: Int64Array  # number of edition and setting: 0, 1, ... ascending, without gaps
    image: Int64Array  # number of the image, by sha256 (by name where that is null)
    # Of shape (points,)
    variant: Int64Array  # number of the codec variant
    edition: Int64Array  # number of the edition: 0, 1, ... ascending, without gaps
    age: Int64Array  # of the edition within its variant: 0 for the newest
    build: Int64Array  # number of the codec's build, the same in all its variants
    apart: BoolArray  # its build is bundled, and not equal to what was measured here with the same
    other: Int64Array  # indices of the rows that are left out: other editions or protocols


def edition_rows(
    table: pa.Table, coding_protocol: str = CODING, newest_only: bool = False
) -> EditionRows:
    """Select the rows under a coding protocol, of all editions of each codec variant.

    Of rows that differ in nothing but their cell's key, so that an image would count twice at one
    setting, the latest is taken. `table` has the columns of `schema.table_schema`.
    """
    comparable, mark = equals(table["coding_protocol"], coding_protocol), apart_rows(table)
    facts = (
        group_codes(table, ("codec", "variant")),
        build_numbers(table, mark),
        group_codes(table, ("setting_name", "setting_value")),
    )
    kind = ordered_numbers(*facts)  # rows of one kind may be of one point
    variant, build, setting, apart = (_of_groups(kind, fact) for fact in (*facts, mark))
    del facts
    age = _ages(variant, build, kind, table, comparable)
    present = comparable & (age == 0)[kind] if newest_only else comparable

    index = np.flatnonzero(present)
    kind, image = kind[index], image_numbers(table)[index]
    kinds = np.flatnonzero(np.bincount(kind, minlength=len(age)))
    kinds = kinds[np.lexsort([of[kinds] for of in (setting, age, variant)])]
    point = np.empty(len(age), np.int64)
    point[kinds] = np.arange(len(kinds))
    point = point[kind]
    order = _order(point, image)
    if len(order) < len(index):
        order = np.lexsort((recency(table)[index], image, point))
        latest = last_of_groups(image[order]) | last_of_groups(point[order])
        order = order[latest]
    return EditionRows(
        index=index[order],
        point=point[order],
        image=image[order],
        variant=variant[kinds],
        edition=ordered_numbers(variant[kinds], age[kinds]),
        age=age[kinds],
        build=build[kinds],
        apart=apart[kinds],
        other=np.flatnonzero(~present),
    )


def _order(point: Int64Array, image: Int64Array) -> Int64Array:
    """Return the places of the rows by point, then image; fewer where two rows have both equal."""
    images = int(image.max(initial=-1)) + 1
    where = point * images + image
    places = int(where.max(initial=-1)) + 1
    if places > MOST_PLACES * len(where):
        order = np.argsort(where)
        return order[last_of_groups(where[order])]
    row = np.full(places, -1, np.int64)  # as many rows as places: no need to compare them
    row[where] = np.arange(len(where))
    return row[row >= 0]


def _of_groups(group: Int64Array, values: NDArray[Any]) -> NDArray[Any]:
    """Return the value of each group, by the group's number, of values that it has in all rows."""
    result = np.zeros(int(group.max(initial=-1)) + 1, values.dtype)
    result[group] = values
    return result


def recency(table: pa.Table) -> Int64Array:
    """Number the rows: higher for those that are not bundled, then of a later run, then later."""
    # The run comes first: filling in a metric renews `finished_utc`.
    run, _ = codes(_filled(table["run"]))
    if (bundled := marked(table["bundled"])).any():
        run = run + (int(run.max(initial=0)) + 1) * ~bundled
    finished = table["finished_utc"]
    if finished.type == TIME:
        times = finished.cast(pa.int64())
        earliest = pc.min(times).as_py() or 0
        time = _filled(times, earliest - 1).to_numpy() - (earliest - 1)
    else:
        rank = pc.rank(_filled(finished, "").combine_chunks(), tiebreaker="dense")
        time = rank.to_numpy().astype(np.int64)
    if not run.any():
        return np.asarray(time, np.int64)
    span = int(time.max(initial=0)) + 1
    if span * (int(run.max(initial=0)) + 1) > np.iinfo(np.int64).max:
        return ordered_numbers(run, np.unique(time, return_inverse=True)[1])
    return np.asarray(run * span + time, np.int64)


def _filled(values: pa.ChunkedArray, value: str | int = "") -> pa.ChunkedArray:
    return values.fill_null(value) if values.null_count else values


def _ages(
    variant: Int64Array, build: Int64Array, kind: Int64Array, table: pa.Table, counted: BoolArray
) -> Int64Array:
    """Return the age of each kind's edition in its variant, by the latest of the counted rows.

    variant, build: of the kinds, as the result has shape (kinds,).
    """
    edition = ordered_numbers(variant, build)
    of_variant = _of_groups(edition, variant)
    if len(of_variant) == len(np.unique(of_variant)):
        return np.zeros(len(edition), np.int64)
    latest = group_highest(edition[kind], np.where(counted, recency(table), -1))
    order = np.lexsort((-latest, of_variant))
    age = np.empty(len(order), np.int64)
    age[order] = np.arange(len(order)) - np.searchsorted(of_variant[order], of_variant[order])
    return age[edition]


def group_highest(group: Int64Array, values: Int64Array) -> Int64Array:
    """Return the highest value of each group, by the group's number."""
    highest = np.full(int(group.max(initial=-1)) + 1, -1, np.int64)
    np.maximum.at(highest, group, values)
    return highest


def apart_rows(table: pa.Table) -> BoolArray:
    """Mark the bundled rows of codecs and builds that came out otherwise here, shape (rows,)."""
    twice = bundled_beside_own(table)  # `merge_versions` leaves two rows only where they differ
    if not twice.any():
        return twice
    build = group_codes(table, ("codec", *BUILD))
    return marked(table["bundled"]) & np.isin(build, build[twice])


def build_numbers(table: pa.Table, apart: BoolArray | None = None) -> Int64Array:
    """Number the rows by codec and build, shape (rows,); rows of `apart_rows` by their own."""
    equal = table["build"].combine_chunks()
    if equal.null_count == len(equal):
        build = group_codes(table, ("codec", *BUILD))
    else:
        texts = pc.coalesce(equal, build_texts(table))
        joined = table.select(["codec"]).append_column("build", texts)
        build = group_codes(joined, joined.column_names)
    return build if apart is None else ordered_numbers(build, apart)


def build_texts(table: pa.Table) -> pa.Array:
    """Return fingerprint and revision of each row as one text."""
    parts = (table[name].cast(pa.string()).combine_chunks().fill_null("") for name in BUILD)
    return pc.binary_join_element_wise(*parts, " ")


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
