"""Rows that may meet in one mean, as arrays, and counts of the rows that are left out.

Comparable rows share one coding protocol, and no mean has rows of two editions of a codec variant
(`rows.editions`). The newest edition has the variant's label. An older one is shown beside it,
under a label that says so, where it has images, settings or values that newer ones lack.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from copy import copy
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa

from benchmark.codec import BoolArray, Float64Array, Int64Array
from benchmark.codec_spec import CodecSpec, parse_codec, resolve
from benchmark.errors import Unavailable, UnknownName
from benchmark.metrics.metric import metric_columns
from benchmark.registry import ALIASES
from benchmark.rows.editions import EditionRows, codes, edition_rows, equals, last_of_groups, marked

Average = Literal["per_image", "pooled"]


class Label(str):
    """The name of an edition in tables and figures."""

    newest: str  # label of the codec variant's newest edition

    def __new__(cls, text: str, newest: str = "") -> Self:
        """Make a label; without `newest` it is that of a newest edition."""
        label = super().__new__(cls, text)
        label.newest = newest or text
        return label


class LeftOut(NamedTuple):
    """Rows of a codec variant that are not compared with the others, and why."""

    label: str
    rows: int
    why: str


class ComparableRows(EditionRows):
    """The rows that may meet in one mean, ordered by point and image. Arrays have shape (rows,)."""

    def __init__(
        self, table: pa.Table, coding_protocol: str, needed: Mapping[str, str] | None = None
    ) -> None:
        """Choose the rows of each codec variant's newest edition, or of all its editions.

        needed: to choose all, the protocol id of each column of values that is looked for; columns
        that `table` lacks have none. `shown` marks those of the editions that are to be shown.
        """
        rows = edition_rows(table, coding_protocol, newest_only=needed is None)
        super().__init__(**vars(rows))
        self.table = table
        self.points = int(self.point.max(initial=-1)) + 1
        self.ok: BoolArray = self.equal("status", "ok")
        self.failed: BoolArray = ~self.ok
        area = self.numbers("width_px") * self.numbers("height_px")
        self.pixels: Int64Array = np.where(self.ok, area, 1).astype(np.int64)
        self.bytes: Int64Array = np.where(self.ok, self.numbers("num_bytes"), 0).astype(np.int64)
        self.shown: BoolArray = self._shown(needed or {})
        other = np.concatenate([self.other, self.index[~self.shown]])
        self.left_out = _left_out(table, other, coding_protocol)

    def _shown(self, needed: Mapping[str, str]) -> BoolArray:
        """Mark the rows of newest editions, and of those that have more than newer ones.

        More are images, or values of a needed metric, at any setting.
        """
        shown = np.ones(len(self.index), np.bool_)
        if not self.age.any():
            return shown
        has = [self.ok]
        for column, protocol in needed.items():
            value, by, _ = metric_columns(column)
            if value in self.table.column_names:
                has.append(self.ok & ~np.isnan(self.numbers(value)) & self.equal(by, protocol))
        marks = np.stack(has)
        settings = int(self.setting.max()) + 1
        editions = np.arange(int(self.edition.max()) + 2)
        covered = np.zeros((len(has), settings), np.int64)
        for first, last in pairwise(np.searchsorted(self.edition, editions).tolist()):
            at = self.setting[first:last]
            counts = np.stack(
                [np.bincount(at[mask], minlength=settings) for mask in marks[:, first:last]]
            )
            if self.age[first] == 0:  # of one variant, newer editions come first
                covered = counts
            elif (counts > covered).any():
                covered = np.maximum(covered, counts)
            else:
                shown[first:last] = False
        return shown

    def changed(self, **attributes: Any) -> "ComparableRows":
        """Return the same rows with another `ok`, or with a `table` that has more columns."""
        rows = copy(self)
        vars(rows).pop("latest", None)
        vars(rows).update(attributes)
        return rows

    def numbers(self, column: str) -> Float64Array:
        """Return a column of numbers or booleans as float64; NaN for null."""
        values = self._column(column, pa.float64()).cast(pa.float64()).to_numpy()
        return np.asarray(values, np.float64)[self.index]

    def lacks(self, column: str) -> bool:
        """Return whether no row has a value of this metric, nor a reason why it has none."""
        value, _, reason = metric_columns(column)
        columns = [self._column(name, pa.string()) for name in (value, reason)]
        return all(one.null_count == len(self.table) for one in columns)

    def codes(self, column: str) -> tuple[Int64Array, list[Any]]:
        """Return each row's index among a column's distinct values, and these; see `codes`."""
        numbers, values = codes(self._column(column, pa.string()))
        return numbers[self.index], values

    def equal(self, column: str, text: str) -> BoolArray:
        """Mark the rows whose `column` equals `text`."""
        return equals(self._column(column, pa.string()), text)[self.index]

    def _column(self, name: str, kind: pa.DataType) -> pa.ChunkedArray:
        """Return a column; nulls of this type for one of a user's metric that no row has."""
        if name in self.table.column_names:
            return self.table[name]
        return pa.chunked_array([pa.nulls(len(self.table), kind)])

    @cached_property
    def latest(self) -> Int64Array:
        """The place of each edition's latest row, of one without failure if there is any."""
        order = np.lexsort((self.recency, self.ok, self.edition))
        return np.asarray(order[last_of_groups(self.edition[order])], np.int64)

    def labels(self) -> dict[int, Label]:
        """Return the label of each edition, by its number."""
        last = self.latest.tolist()
        names = ("codec", "variant", "codec_version", "fingerprint")
        latest = self.table.select(names).take(pa.array(self.index[last])).to_pylist()
        own = [label_of(row["codec"], row["variant"]) for row in latest]
        # Two variants of one label (files of one name in two folders, say) would become one curve.
        counts = Counter(label for label, row in zip(own, last, strict=True) if self.age[row] == 0)
        here = set(self.edition[self.numbers("bundled") != 1].tolist())
        labels: dict[int, Label] = {}
        for label, row, texts in zip(own, last, latest, strict=True):
            whole = f"{texts['codec']}:{texts['variant']}".rstrip(":")
            name = text = whole if counts[label] > 1 else label
            number = int(self.edition[row])
            if self.age[row]:
                what = short_version(texts["codec_version"]) if number in here else "bundled"
                if f"{name} ({what})" in labels.values():
                    what = f"{what}, {texts['fingerprint'][:8]}"
                text = f"{name} ({what})"
            labels[number] = Label(text, name)
        return labels

    def images_of(self, has: BoolArray) -> int:
        """Count the distinct images of the marked rows that are shown."""
        return int(np.count_nonzero(np.bincount(self.image[has & self.shown])))

    def common(self, has: BoolArray) -> BoolArray:
        """Keep the marked rows of the images that every shown point with any marked row has."""
        points = len(np.unique(self.point[has & self.shown]))
        size = int(self.image.max(initial=-1)) + 1
        everywhere = np.bincount(self.image[has & self.shown], minlength=size) == points
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


def told_names(codec: str, variant: str) -> set[str]:
    """Return the names shown of a codec variant after "Known:": its codec and its label.

    The two are one for a Python file's codec whose label is its name without folders.

    >>> sorted(told_names("jpeg", "optimize=1")), sorted(told_names("./mine.py:Mine", ""))
    (['jpeg', 'jpeg:optimize=1'], ['mine.py:Mine'])
    """
    label = label_of(codec, variant)
    return {label} if codec.rpartition("/")[2] == label else {codec, label}


def without_replaced(table: pa.Table, coding_protocol: str, needed: Mapping[str, str]) -> pa.Table:
    """Leave out the bundled rows of editions that newer ones replace; see `ComparableRows`."""
    rows = ComparableRows(table, coding_protocol, needed)
    replaced = np.zeros(table.num_rows, np.bool_)
    replaced[rows.index[~rows.shown]] = True
    replaced &= marked(table["bundled"])
    return table.filter(pa.array(~replaced)) if replaced.any() else table


def short_version(version: str) -> str:
    """Abbreviate a version to its first part; of a checkpoint, the digest remains.

    >>> short_version("VTM 23.13, decoded by ffmpeg 7.1"), short_version("checkpoint 91d8: 9 steps")
    ('VTM 23.13', 'checkpoint 91d8')
    """
    return version.partition(";")[0].partition(", ")[0].partition(": ")[0]


def plain_label(label: str) -> str:
    """Return the label of the newest edition for that of an older one."""
    return label.newest if isinstance(label, Label) else label


def find_label(asked: str, labels: Collection[str]) -> str:
    """Return the one of `labels` that is meant: a label, a codec with one variant, or a spec.

    Raises `UnknownName`.

    >>> find_label("jpeg", ["jpeg:optimize=1", "vtm"])
    'jpeg:optimize=1'
    """
    newest = (label for label in labels if plain_label(label) == label)
    variants = [label for label in newest if label.partition(":")[0] == asked]
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
    kinds = ["codec", "variant", "codec_version", "revision", "coding_protocol", "bundled"]
    found = []
    for kind in table.take(index).group_by(kinds).aggregate([([], "count_all")]).to_pylist():
        which = f"{kind['codec_version']}, adapter {kind['revision']}"
        why = f"{'bundled, of another build' if kind['bundled'] else 'an older version'}: {which}"
        if kind["coding_protocol"] != coding_protocol:
            why = f"protocol {kind['coding_protocol']} is not comparable with {coding_protocol}"
        found.append(LeftOut(label_of(kind["codec"], kind["variant"]), kind["count_all"], why))
    return tuple(sorted(found))
