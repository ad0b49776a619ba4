"""Rows that may meet in one mean, as arrays, and counts of the rows that are left out.

Comparable rows share one coding protocol, and each codec variant comes in one edition: the newest
(`rows.versions.newest_rows`).
"""

from collections.abc import Collection
from contextlib import suppress
from copy import copy
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from benchmark.errors import Unavailable, UnknownName
from benchmark.metrics.metric import metric_columns
from benchmark.registry import ALIASES, CodecSpec, parse_codec, resolve
from benchmark.rows.grouping import codes, equals
from benchmark.rows.versions import newest_rows
from benchmark.system.arrays import BoolArray, Float64Array, Int64Array

Average = Literal["per_image", "pooled"]


class LeftOut(NamedTuple):
    """Rows of a codec variant that are not compared with the others, and why."""

    label: str
    rows: int
    why: str


class ComparableRows:
    """The rows that may meet in one mean, ordered by point and image. Arrays have shape (rows,)."""

    def __init__(self, table: pa.Table, coding_protocol: str) -> None:
        newest = newest_rows(table, coding_protocol)
        self.table = table
        self.index: Int64Array = newest.index  # of the row in `table`
        self.point: Int64Array = newest.point
        self.variant: Int64Array = newest.variant
        self.image: Int64Array = newest.image
        self.recency: Int64Array = newest.recency
        self.points = int(self.point.max(initial=-1)) + 1
        self.ok: BoolArray = self.equal("status", "ok")
        self.failed: BoolArray = ~self.ok
        area = self.numbers("width_px") * self.numbers("height_px")
        self.pixels: Int64Array = np.where(self.ok, area, 1).astype(np.int64)
        self.bytes: Int64Array = np.where(self.ok, self.numbers("num_bytes"), 0).astype(np.int64)
        self.left_out = _left_out(table, newest.other, coding_protocol)

    def with_columns_of(self, table: pa.Table) -> "ComparableRows":
        """Return the same rows with the columns of `table`, which has more of them."""
        return self._changed(table=table)

    def restricted(self, ok: BoolArray) -> "ComparableRows":
        """Return the same rows, of which only those marked count as coded without failure."""
        return self._changed(ok=ok)

    def _changed(self, **attributes: Any) -> "ComparableRows":
        rows = copy(self)
        vars(rows).update(attributes)
        return rows

    def numbers(self, column: str) -> Float64Array:
        """Return a column of numbers or booleans as float64; NaN for null."""
        values = self.table[column].cast(pa.float64()).to_numpy()
        return np.asarray(values, np.float64)[self.index]

    def lacks(self, column: str) -> bool:
        """Return whether no row has a value of this metric, nor a reason why it has none."""
        value, _, reason = metric_columns(column)
        return all(self.table[name].null_count == len(self.table) for name in (value, reason))

    def codes(self, column: str) -> tuple[Int64Array, list[Any]]:
        """Return each row's index among a column's distinct values, and these; see `codes`."""
        numbers, values = codes(self.table[column])
        return numbers[self.index], values

    def equal(self, column: str, text: str) -> BoolArray:
        """Mark the rows whose `column` equals `text`."""
        return equals(self.table[column], text)[self.index]

    def images_of(self, has: BoolArray) -> int:
        """Count the distinct images of the marked rows."""
        return int(np.count_nonzero(np.bincount(self.image[has])))

    def common(self, has: BoolArray) -> BoolArray:
        """Keep the marked rows of the images that every point with any marked row has."""
        points = len(np.unique(self.point[has]))
        size = int(self.image.max(initial=-1)) + 1
        everywhere = np.bincount(self.image[has], minlength=size) == points
        return np.asarray(has & everywhere[self.image])


def label_of(codec: str, variant: str) -> str:
    """Return the name of a codec variant in tables and figures: its short name where it has one.

    >>> label_of("jpeg", "subsampling=444"), label_of("jpeg", "")
    ('jpeg:subsampling=444', 'jpeg')
    >>> label_of("compressai", "metric=mse:model=bmshj2018-hyperprior")
    'hyperprior'
    >>> label_of("./mine.py:Mine", ""), label_of("folder", "name=HiFiC:path=hific")
    ('mine.py:Mine', 'HiFiC')
    """
    spec = CodecSpec.of(codec, variant)
    return _short_names(codec).get(spec.text, spec.label)


def find_label(asked: str, labels: Collection[str]) -> str:
    """Return the one of `labels` that is meant: a label, a codec with one variant, or a spec.

    Raises `UnknownName`.

    >>> find_label("jpeg", ["jpeg:optimize=1", "vtm"])
    'jpeg:optimize=1'
    """
    variants = [label for label in labels if label.partition(":")[0] == asked]
    if asked in labels or len(variants) == 1:
        return asked if asked in labels else variants[0]
    label = parse_codec(asked).label
    if label in labels:
        return label
    raise UnknownName("codec with results", asked, labels)


@cache
def _short_names(codec: str) -> dict[str, str]:
    """Map specs to short names, with and without the options that are the codec's defaults."""
    names = {}
    for alias in ALIASES:
        spec = parse_codec(alias)
        if spec.name == codec:
            names[spec.text] = alias
            with suppress(Unavailable):
                names[resolve(spec)[0].text] = alias
    return names


def _left_out(table: pa.Table, index: Int64Array, coding_protocol: str) -> tuple[LeftOut, ...]:
    if not len(index):
        return ()
    kinds = ["codec", "variant", "codec_version", "revision", "coding_protocol"]
    found = []
    for kind in table.take(index).group_by(kinds).aggregate([([], "count_all")]).to_pylist():
        why = f"an older version: {kind['codec_version']}, adapter {kind['revision']}"
        if kind["coding_protocol"] != coding_protocol:
            why = f"protocol {kind['coding_protocol']} is not comparable with {coding_protocol}"
        found.append(LeftOut(label_of(kind["codec"], kind["variant"]), kind["count_all"], why))
    return tuple(sorted(found))
