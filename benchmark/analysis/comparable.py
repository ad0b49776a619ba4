"""Rows of measurements in; as arrays, those that may meet in one mean out, the rest counted. Pure.

They share one coding protocol, and each codec variant comes in one edition (fingerprint and
adapter revision): that of its latest run.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.errors import Unavailable
from benchmark.registry import ALIASES, CodecSpec, parse_codec, resolve
from benchmark.system.arrays import BoolArray, Float64Array, Int64Array

Average = Literal["per_image", "pooled"]


class LeftOut(NamedTuple):
    """Rows that cannot stand beside the others."""

    label: str
    rows: int
    why: str


class Rows:
    """The rows that may meet, ordered by point and image. Arrays are (rows,)."""

    def __init__(self, table: pa.Table, coding_protocol: str) -> None:
        latest = _rank(table)
        variant = _grouped(table, ("codec", "variant"))
        present = _present(table, coding_protocol, latest, variant)
        point = _grouped(table, ("setting_name", "setting_value"), variant)[present]
        image = codes(pc.coalesce(table["image_sha256"], table["image"]))[0][present]
        order = np.lexsort((latest[present], image, point))
        # Cells that differ in nothing a point shows would count an image twice: the latest stands.
        last = np.ones(len(order), np.bool_)
        last[:-1] = (np.diff(point[order]) != 0) | (np.diff(image[order]) != 0)
        order = order[last]
        self.table = table
        self.index: Int64Array = np.flatnonzero(present)[order]  # of the row in `table`
        self.point: Int64Array = _dense(point[order])
        self.variant: Int64Array = variant[self.index]
        self.image: Int64Array = image[order]
        self.latest: Int64Array = latest[self.index]
        self.points = int(self.point.max(initial=-1)) + 1
        self.ok: BoolArray = self.equal("status", "ok")
        self.failed: BoolArray = ~self.ok
        area = self.numbers("width_px") * self.numbers("height_px")
        self.pixels: Int64Array = np.where(self.ok, area, 1).astype(np.int64)
        self.bytes: Int64Array = np.where(self.ok, self.numbers("num_bytes"), 0).astype(np.int64)
        self.left_out = _left_out(table, present, coding_protocol)

    def numbers(self, column: str) -> Float64Array:
        """A column of numbers or yes and no; NaN for null."""
        values = self.table[column].cast(pa.float64()).to_numpy()
        return np.asarray(values, np.float64)[self.index]

    def codes(self, column: str) -> tuple[Int64Array, list[Any]]:
        """A column as numbers of its distinct values, and these values, sorted, null last."""
        numbers, values = codes(self.table[column])
        return numbers[self.index], values

    def equal(self, column: str, text: str) -> BoolArray:
        """Where a column has this text."""
        numbers, values = self.codes(column)
        return np.asarray(numbers == (values.index(text) if text in values else -1))

    def images_of(self, has: BoolArray) -> int:
        """How many images the marked rows are of."""
        return int(np.count_nonzero(np.bincount(self.image[has])))

    def common(self, has: BoolArray) -> BoolArray:
        """Of the marked rows, those of images that all points with any marked row have."""
        points = len(np.unique(self.point[has]))
        size = int(self.image.max(initial=-1)) + 1
        everywhere = np.bincount(self.image[has], minlength=size) == points
        return np.asarray(has & everywhere[self.image])


def label_of(codec: str, variant: str) -> str:
    """What tables and figures call a codec variant: its short name where it has one.

    >>> label_of("jpeg", "subsampling=444"), label_of("jpeg", "")
    ('jpeg:subsampling=444', 'jpeg')
    >>> label_of("compressai", "metric=mse:model=bmshj2018-hyperprior")
    'hyperprior'
    >>> label_of("./mine.py:Mine", ""), label_of("folder", "name=HiFiC:path=hific")
    ('mine.py:Mine', 'HiFiC')
    """
    spec = CodecSpec.of(codec, variant)
    return _short_names(codec).get(spec.text, spec.label)


@cache
def _short_names(codec: str) -> dict[str, str]:
    """Label to short name, with and without the options that are the codec's defaults."""
    names = {}
    for alias in ALIASES:
        spec = parse_codec(alias)
        if spec.name == codec:
            names[spec.text] = alias
            with suppress(Unavailable):
                names[resolve(spec)[0].text] = alias
    return names


def codes(column: pa.ChunkedArray | pa.Array) -> tuple[Int64Array, list[Any]]:
    """Each row's place among a column's sorted distinct values, and these values, null last."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    encoded = column.dictionary_encode(null_encoding="encode")
    order = pc.array_sort_indices(encoded.dictionary)
    place = np.empty(len(order), np.int64)
    place[order.to_numpy()] = np.arange(len(order))
    return place[encoded.indices.to_numpy()], encoded.dictionary.take(order).to_pylist()


def _grouped(
    table: pa.Table, columns: Sequence[str], within: Int64Array | None = None
) -> Int64Array:
    """A number for each row, equal where all these columns (and `within`) are, ordered as they."""
    group = np.zeros(len(table), np.int64) if within is None else within
    for column in columns:
        numbers, values = codes(table[column])
        group = _dense(group * max(len(values), 1) + numbers)
    return group


def _dense(numbers: Int64Array) -> Int64Array:
    """The same order, without gaps."""
    size = int(numbers.max(initial=-1)) + 1
    if size > 8 * len(numbers):
        return np.asarray(np.unique(numbers, return_inverse=True)[1], np.int64)
    used = np.zeros(size, np.bool_)  # three times as fast as sorting
    used[numbers] = True
    return np.asarray((np.cumsum(used) - 1)[numbers])


def _rank(table: pa.Table) -> Int64Array:
    """Later rows are higher. The run comes first: filling in a metric renews `finished_utc`."""
    ranks = [
        pc.rank(column.fill_null("").combine_chunks(), tiebreaker="dense").to_numpy()
        for column in (table["run"], table["finished_utc"])
    ]
    return np.asarray((ranks[0].astype(np.int64) << 32) + ranks[1].astype(np.int64))


def _present(
    table: pa.Table, coding_protocol: str, latest: Int64Array, variant: Int64Array
) -> BoolArray:
    comparable = pc.equal(table["coding_protocol"], coding_protocol).fill_null(False)
    present = np.asarray(comparable.to_numpy(), np.bool_)
    edition = _grouped(table, ("fingerprint", "revision"), variant)
    order = np.flatnonzero(present)
    order = order[np.lexsort((latest[order], variant[order]))]
    last = order[np.flatnonzero(np.diff(variant[order], append=-1))]
    newest = np.full(int(variant.max(initial=-1)) + 1, -1, np.int64)
    newest[variant[last]] = edition[last]
    return np.asarray(present & (edition == newest[variant]))


def _left_out(table: pa.Table, present: BoolArray, coding_protocol: str) -> tuple[LeftOut, ...]:
    # pa.array would do the same, and import pandas for it.
    bits = pa.py_buffer(np.packbits(~present, bitorder="little"))
    table = table.filter(pa.Array.from_buffers(pa.bool_(), len(present), [None, bits]))
    kinds = ["codec", "variant", "codec_version", "revision", "coding_protocol"]
    found = []
    for kind in table.group_by(kinds).aggregate([([], "count_all")]).to_pylist():
        why = f"an older version: {kind['codec_version']}, adapter {kind['revision']}"
        if kind["coding_protocol"] != coding_protocol:
            why = f"protocol {kind['coding_protocol']} is not comparable with {coding_protocol}"
        found.append(LeftOut(label_of(kind["codec"], kind["variant"]), kind["count_all"], why))
    return tuple(sorted(found))
