"""Editions of codec variants: which rows are of one build, and which edition is the newest.

A build is one program, library or weight file (`fingerprint`) and one revision of its adapter
(`revision`). Bundled rows are of the build that they name, unless a cell that was measured here too
came out otherwise: then the bundled rows of that codec and build are a build of their own. Builds
whose rows are equal in the cells that both have are one (`agreement`). An edition is a codec
variant of one build; the newest is that of the latest run here, else the latest bundled one.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray, Int64Array
from benchmark.protocol import CODING
from benchmark.rows.agreement import apart_rows, build_numbers
from benchmark.rows.schema import (
    codes,
    dense,
    equals,
    group_codes,
    image_numbers,
    last_of_groups,
    marked,
)


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
    build: Int64Array  # number of the codec's build, the same in all its variants
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
    apart = apart_rows(table)
    build = build_numbers(table, apart)
    edition = dense(variant * (int(build.max(initial=0)) + 1) + build)
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
    columns = {"variant": variant, "setting": setting, "age": age, "build": build, "apart": apart}
    return EditionRows(
        index=index,
        edition=dense(place // settings),
        point=dense(place),
        image=image[order],
        recency=recency[index],
        other=np.flatnonzero(~present),
        **{name: of_rows[index] for name, of_rows in columns.items()},
    )


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


def _recency(table: pa.Table) -> Int64Array:
    # The run comes first: filling in a metric renews `finished_utc`.
    run, _ = codes(table["run"].fill_null(""))
    finished = table["finished_utc"].fill_null("").combine_chunks()
    rank = np.asarray(pc.rank(finished, tiebreaker="dense").to_numpy(), np.int64)
    here = (~marked(table["bundled"])).astype(np.int64)
    return (here << 62) + (run << 32) + rank
