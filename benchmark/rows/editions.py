"""Editions of codec variants: which rows one build gave, and which edition is the newest.

A build is one program, library or weight file (`fingerprint`) and one revision of its adapter
(`revision`). Bundled rows are of the build that they name, unless a cell that was measured here too
came out otherwise: then the bundled rows of that codec and build are a build of their own.
An edition is a codec variant of one build. Means and figures show the newest: that of the latest
run here, else the latest bundled one. An older one stays where it has more (`analysis.comparable`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray, Int64Array
from benchmark.protocol import CODING
from benchmark.rows.grouping import (
    codes,
    equals,
    group_codes,
    image_numbers,
    last_of_groups,
    marked,
)

BUILD = ("fingerprint", "revision")


class Build(NamedTuple):
    """The identity of what made the streams of a row."""

    fingerprint: str
    revision: int
    apart: bool = False  # bundled, and not equal to what was measured here with the same


@dataclass(frozen=True, slots=True, eq=False)
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
    """Select the rows under a coding protocol of each codec variant's newest edition.

    Arguments as in `edition_rows`.
    """
    return _selected(table, coding_protocol, newest_only=True)


def edition_rows(table: pa.Table, coding_protocol: str = CODING) -> EditionRows:
    """Select the rows under a coding protocol, of all editions of each codec variant.

    Of rows that differ in nothing but their cell's key, so that an image would count twice at one
    setting, the latest is taken. `table` has the columns of `schema.table_schema`.
    """
    return _selected(table, coding_protocol, newest_only=False)


def _selected(table: pa.Table, coding_protocol: str, newest_only: bool) -> EditionRows:
    recency = _recency(table)
    variant = group_codes(table, ("codec", "variant"))
    apart = _apart(table)
    edition = group_codes(table, BUILD, 2 * variant + apart)
    comparable = equals(table["coding_protocol"], coding_protocol)
    age = _ages(variant, edition, recency, comparable)[edition]
    present = comparable & ((age == 0) | (not newest_only))

    index = np.flatnonzero(present)
    ordered = group_codes(table, ("setting_name", "setting_value"), variant)
    settings = int(ordered.max(initial=0)) + 1
    oldest = int(age.max(initial=0)) + 1
    place = (variant[index] * oldest + age[index]) * settings + ordered[index]
    image = image_numbers(table)[index]
    order = np.lexsort((recency[index], image, place))
    order = order[last_of_groups(place[order]) | last_of_groups(image[order])]
    index, place = index[order], place[order]
    return EditionRows(
        index,
        variant[index],
        ordered[index],
        np.unique(place // settings, return_inverse=True)[1],
        age[index],
        apart[index],
        np.unique(place, return_inverse=True)[1],
        image[order],
        recency[index],
        np.flatnonzero(~present),
    )


def _ages(
    variant: Int64Array, edition: Int64Array, recency: Int64Array, comparable: BoolArray
) -> Int64Array:
    """Return the age of each edition within its variant, by its latest comparable row."""
    count = int(edition.max(initial=-1)) + 1
    latest = np.full(count, -1, np.int64)
    np.maximum.at(latest, edition[comparable], recency[comparable])
    of_variant = np.zeros(count, np.int64)
    of_variant[edition] = variant
    order = np.lexsort((-latest, of_variant))
    first = np.ones(count, np.bool_)
    first[1:] = np.diff(of_variant[order]) != 0
    places = np.arange(count)
    age = np.empty(count, np.int64)
    age[order] = places - np.maximum.accumulate(np.where(first, places, 0))
    return age


def _apart(table: pa.Table) -> BoolArray:
    """Mark the bundled rows of codecs and builds of which a cell has another row, measured here.

    `versions.merge_versions` leaves a cell two rows only where they differ.
    """
    bundled = marked(table["bundled"])
    if not bundled.any() or bundled.all():
        return np.zeros(len(bundled), np.bool_)
    build = group_codes(table, ("codec", *BUILD))
    both = np.zeros(int(build.max()) + 1, np.bool_)
    both[build[bundled]] = True
    here = table["cell"].filter(pa.array(~bundled & both[build]))
    twice = pc.is_in(table["cell"].filter(pa.array(bundled)), value_set=here)
    differing = np.zeros_like(both)
    differing[build[bundled][np.asarray(twice.to_numpy(), np.bool_)]] = True
    return np.asarray(bundled & differing[build])


def _recency(table: pa.Table) -> Int64Array:
    # The run comes first: filling in a metric renews `finished_utc`.
    run, _ = codes(table["run"].fill_null(""))
    finished = table["finished_utc"].fill_null("").combine_chunks()
    rank = np.asarray(pc.rank(finished, tiebreaker="dense").to_numpy(), np.int64)
    here = (~marked(table["bundled"])).astype(np.int64)
    return (here << 62) + (run << 32) + rank
