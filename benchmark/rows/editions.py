"""Editions of codec variants: which rows one build gave, and which edition is the newest.

A build is one program, library or weight file (`fingerprint`) and one revision of its adapter
(`revision`). Bundled rows are of the build that they name, unless a cell that was measured here too
came out otherwise: then the bundled rows of that codec and build are a build of their own.
An edition is a codec variant of one build. Means and figures show the newest: that of the latest
run here, else the latest bundled one; an older one where it has more (`analysis.comparable`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray, Int64Array
from benchmark.protocol import CODING

BUILD = ("fingerprint", "revision")


class Build(NamedTuple):
    """The identity of what made the streams of a row."""

    fingerprint: str
    revision: int
    apart: bool = False  # bundled, and not equal to what was measured here with the same


@dataclass(eq=False)
class EditionRows:
    """Rows under one coding protocol, ordered by codec variant, edition (newest first), setting and
    image; at most one row per edition, setting and image. All arrays but `other` have that length.
    """

    index: Int64Array  # of each row in the table
    variant: Int64Array  # number of the codec variant
    setting: Int64Array  # number of variant and setting, the same in all editions
    edition: Int64Array  # number of the edition: 0, 1, ... ascending, without gaps
    age: Int64Array  # of the row's edition within its variant: 0 for the newest
    apart: BoolArray  # the row's build is `Build.apart`
    point: Int64Array  # number of edition and setting: 0, 1, ... ascending, without gaps
    image: Int64Array  # number of the image, by sha256 (by name where that is null)
    recency: Int64Array  # higher for later rows, and for rows that are not bundled
    other: Int64Array  # indices of the rows that are left out: other editions or protocols


def newest_rows(table: pa.Table, coding_protocol: str = CODING) -> EditionRows:
    """Select the rows of each codec variant's newest edition; see `edition_rows`."""
    return edition_rows(table, coding_protocol, newest_only=True)


def edition_rows(
    table: pa.Table, coding_protocol: str = CODING, newest_only: bool = False
) -> EditionRows:
    """Select the rows under a coding protocol, of all editions of each codec variant.

    Of rows that differ in nothing but their cell's key, so that an image would count twice at one
    setting, the latest is taken. `table` has the columns of `schema.table_schema`.
    """
    recency = _recency(table)
    variant = group_codes(table, ("codec", "variant"))
    apart = _apart(table)
    edition = group_codes(table, BUILD, 2 * variant + apart)
    comparable = equals(table["coding_protocol"], coding_protocol)
    age = _ages(variant, edition, np.where(comparable, recency, -1))[edition]
    present = comparable & ((age == 0) | (not newest_only))

    index = np.flatnonzero(present)
    setting = group_codes(table, ("setting_name", "setting_value"), variant)
    settings = int(setting.max(initial=0)) + 1
    oldest = int(age.max(initial=0)) + 1
    place = (variant[index] * oldest + age[index]) * settings + setting[index]
    image = image_numbers(table)[index]
    order = np.lexsort((recency[index], image, place))
    order = order[last_of_groups(place[order]) | last_of_groups(image[order])]
    index, place = index[order], place[order]
    return EditionRows(
        index=index,
        variant=variant[index],
        setting=setting[index],
        edition=np.unique(place // settings, return_inverse=True)[1],
        age=age[index],
        apart=apart[index],
        point=np.unique(place, return_inverse=True)[1],
        image=image[order],
        recency=recency[index],
        other=np.flatnonzero(~present),
    )


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


def bundled_beside_own(table: pa.Table) -> BoolArray:
    """Mark the bundled rows of cells that have another row, measured here; shape (rows,)."""
    bundled = marked(table["bundled"])
    if not bundled.any() or bundled.all():
        return np.zeros(len(bundled), np.bool_)
    here = table["cell"].filter(pa.array(~bundled))
    there = pc.is_in(table["cell"], value_set=here).to_numpy()
    return np.asarray(bundled & there, np.bool_)


def last_of_groups(groups: Int64Array) -> BoolArray:
    """Mark the last of each run of equal numbers, bool of shape (rows,).

    >>> last_of_groups(np.array([0, 0, 3, 3, 3, 1]))
    array([False,  True, False, False,  True,  True])
    """
    last = np.ones(len(groups), np.bool_)
    last[:-1] = groups[1:] != groups[:-1]
    return last


def _ages(variant: Int64Array, edition: Int64Array, recency: Int64Array) -> Int64Array:
    """Return the age of each edition within its variant, by the latest of its rows."""
    count = int(edition.max(initial=-1)) + 1
    latest, of_variant = np.full(count, -1, np.int64), np.zeros(count, np.int64)
    np.maximum.at(latest, edition, recency)
    of_variant[edition] = variant
    order = np.lexsort((-latest, of_variant))
    age = np.empty(count, np.int64)
    age[order] = np.arange(count) - np.searchsorted(of_variant[order], of_variant[order])
    return age


def _apart(table: pa.Table) -> BoolArray:
    """Mark the bundled rows of codecs and builds that came out otherwise here.

    `versions.merge_versions` leaves a cell two rows only where they differ.
    """
    twice = bundled_beside_own(table)
    if twice.any():
        build = group_codes(table, ("codec", *BUILD))
        twice = marked(table["bundled"]) & np.isin(build, build[twice])
    return twice


def _recency(table: pa.Table) -> Int64Array:
    # The run comes first: filling in a metric renews `finished_utc`.
    run, _ = codes(table["run"].fill_null(""))
    finished = table["finished_utc"].fill_null("").combine_chunks()
    rank = np.asarray(pc.rank(finished, tiebreaker="dense").to_numpy(), np.int64)
    here = (~marked(table["bundled"])).astype(np.int64)
    return (here << 62) + (run << 32) + rank
