"""Editions of codec variants, each of one build: their rows in order, and which is newest.

An edition is a codec variant of one build (`rows.versions`); the newest is that of the latest run
here, else the latest bundled one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmark.codec import CODING, BoolArray, Int64Array
from benchmark.rows.lean import TIME
from benchmark.rows.numbers import (
    codes,
    equals,
    group_codes,
    image_numbers,
    last_of_groups,
    marked,
    ordered_numbers,
)
from benchmark.rows.versions import apart_rows, build_numbers, group_highest

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
