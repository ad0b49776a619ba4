"""Rows that may meet in one mean, as arrays, the means of each point, and counts of other rows.

Comparable rows share one coding protocol, and no mean has rows of two editions of a codec variant
(`rows.versions`). One edition of each variant is shown: that with most images at a setting, of
several the newest. A point is a codec variant at one setting. Sums are `np.bincount`'s, which add
in the order of the rows: pandas' and Arrow's differ in the last digit.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from copy import copy
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from benchmark.codec import BoolArray, Float64Array, Int64Array, bits_per_pixel
from benchmark.codec_spec import CodecSpec, parse_codec, resolve
from benchmark.errors import Unavailable, UnknownName
from benchmark.registry import ALIASES
from benchmark.rows.schema import codes, equals, last_of_groups, marked, metric_columns
from benchmark.rows.versions import EditionRows, agree, edition_rows, psnr_differences

Average = Literal["per_image", "pooled"]
REASONS_KEPT = 3
OF_MEAN_MSE = ("psnr_db", "psnr_y_db")  # columns that also have the dB of the mean squared error
# Texts and how often each occurs, most frequent first, at most REASONS_KEPT.
Tally = tuple[tuple[str, int], ...]


class LeftOut(NamedTuple):
    """Rows of a codec variant that are not compared with the others, and why."""

    label: str
    rows: int
    why: str
    differ: bool  # they are bundled, and the same build gave others here


class ComparableRows(EditionRows):
    """The rows that may meet in one mean, ordered by point and image. Arrays have shape (rows,)."""

    def __init__(self, table: pa.Table, coding_protocol: str, newest_only: bool = False) -> None:
        """Choose the rows of all editions of each codec variant, or of the newest."""
        super().__init__(**vars(edition_rows(table, coding_protocol, newest_only)))
        self.table = table
        self.points = int(self.point.max(initial=-1)) + 1
        self.ok: BoolArray = self.equal("status", "ok")
        self.failed: BoolArray = ~self.ok
        area = self.numbers("width_px") * self.numbers("height_px")
        self.pixels: Int64Array = np.where(self.ok, area, 1).astype(np.int64)
        self.bytes: Int64Array = np.where(self.ok, self.numbers("num_bytes"), 0).astype(np.int64)
        self.shown: BoolArray = self._shown()  # of the edition of its variant that is shown
        self.left_out: tuple[LeftOut, ...] = () if newest_only else _left_out(self, coding_protocol)

    def _shown(self) -> BoolArray:
        """Mark the rows of the edition of each variant with most images at a setting, the newest.

        Failed images count, so that a failure does not bring an older build back.
        """
        if not self.age.any():
            return np.ones(len(self.index), np.bool_)
        images = np.bincount(self.point)[self.point]
        order = np.lexsort((self.age, -images, self.variant))
        first = order[np.flatnonzero(np.diff(self.variant[order], prepend=-1))]
        return np.isin(self.edition, self.edition[first])

    def changed(self, **attributes: Any) -> "ComparableRows":
        """Return the same rows with another `ok`, or with a `table` that has more columns."""
        rows = copy(self)
        vars(rows).pop("latest", None)
        vars(rows).update(attributes)
        return rows

    def numbers(self, column: str) -> Float64Array:
        """Return a column of numbers or booleans as float64; NaN for null."""
        values = self._column(column, pa.float64())
        if values.null_count == len(values):
            return self.nothing
        return np.asarray(values.cast(pa.float64()).to_numpy(), np.float64)[self.index]

    @cached_property
    def nothing(self) -> Float64Array:
        """The numbers of a column without any value, which are not to be changed: NaN."""
        return np.full(len(self.index), np.nan)

    def lacks(self, column: str) -> bool:
        """Return whether no row has a value of this metric, nor a reason why it has none."""
        value, _, reason = metric_columns(column)
        columns = (self._column(name, pa.string()) for name in (value, reason))
        return all(values.null_count == len(values) for values in columns)

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
        worth = np.where(self.ok, self.recency, self.recency + np.iinfo(np.int64).min)
        first = np.flatnonzero(np.diff(self.edition, prepend=-1))
        highest = np.maximum.reduceat(worth, first) if len(first) else worth
        places = np.flatnonzero(worth == highest[self.edition])
        return np.asarray(places[last_of_groups(self.edition[places])], np.int64)

    def labels(self) -> dict[int, str]:
        """Return the label of each edition, by its number: that of its codec variant."""
        rows = self.table.select(("codec", "variant")).take(pa.array(self.index[self.latest]))
        pairs = [tuple(row.values()) for row in rows.to_pylist()]
        labels = [label_of(*pair) for pair in pairs]
        # Two variants of one label (files of one name in two folders, say) would become one curve.
        shown = self.shown[self.latest].tolist()
        counts = Counter(label for label, is_shown in zip(labels, shown, strict=True) if is_shown)
        numbered = zip(self.edition[self.latest].tolist(), labels, pairs, strict=True)
        return {
            edition: label if counts[label] < 2 else CodecSpec.of(*pair).text
            for edition, label, pair in numbered
        }

    def images_of(self, has: BoolArray) -> int:
        """Count the distinct images of the marked rows that are shown."""
        return int(np.count_nonzero(np.bincount(self.image[has & self.shown])))

    def common(self, has: BoolArray) -> BoolArray:
        """Keep the marked rows of the images that every shown point with any marked row has."""
        marked = has & self.shown
        points = len(np.unique(self.point[marked]))
        everywhere = np.bincount(self.image[marked], minlength=self.image.max(initial=-1) + 1)
        return np.asarray(has & (everywhere == points)[self.image])


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


def known_names(variants: Iterable[tuple[str, str]]) -> set[str]:
    """Return the names shown of codec variants after "Known:": their codecs and labels.

    The two are one for a Python file's codec whose label is its name without folders.

    >>> sorted(known_names([("jpeg", "optimize=1"), ("./mine.py:Mine", "")]))
    ['jpeg', 'jpeg:optimize=1', 'mine.py:Mine']
    """
    names = set()
    for codec, variant in variants:
        label = label_of(codec, variant)
        names |= {label} if codec.rpartition("/")[2] == label else {codec, label}
    return names


def find_label(asked: str, labels: Collection[str]) -> str:
    """Return the label of a label, a codec with one variant, or a spec; raise `UnknownName`.

    >>> find_label("jpeg", ["jpeg:optimize=1", "vtm"])
    'jpeg:optimize=1'
    """
    if asked in labels:
        return asked
    variants = [label for label in labels if label.partition(":")[0] == asked]
    label = variants[0] if len(variants) == 1 else parse_codec(asked).label
    if label not in labels:
        raise UnknownName("codec with results", asked, labels)
    return label


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


def _left_out(rows: ComparableRows, coding_protocol: str) -> tuple[LeftOut, ...]:
    """Count the rows that no mean is over, by codec variant and by why."""
    columns = ["codec", "variant", "codec_version", "revision", "coding_protocol", "bundled"]
    hidden = ~rows.shown
    index = np.concatenate([rows.other, rows.index[hidden]])
    table = rows.table.select(columns).take(pa.array(index))
    nothing = np.zeros(len(rows.other), np.bool_)
    marks = {"fewer": rows.age[hidden] == 0, "apart": rows.apart[hidden]}
    for name, of_hidden in marks.items():
        table = table.append_column(name, pa.array(np.concatenate([nothing, of_hidden])))
    left_out = []
    for kind in table.group_by([*columns, *marks]).aggregate([([], "count_all")]).to_pylist():
        what = "bundled, of another build" if kind["bundled"] else "an older version"
        if kind["fewer"]:
            what = "over fewer images than another build"
        elif kind["apart"]:
            what = f"bundled, {_difference(rows.table, kind['codec'], kind['variant'])}"
        why = f"{what}: {kind['codec_version']}, adapter {kind['revision']}"
        if kind["coding_protocol"] != coding_protocol:
            why = f"protocol {kind['coding_protocol']} is not comparable with {coding_protocol}"
        label = label_of(kind["codec"], kind["variant"])
        left_out.append(LeftOut(label, kind["count_all"], why, kind["apart"]))
    return tuple(sorted(left_out))


def _difference(table: pa.Table, codec: str, variant: str) -> str:
    """Return by how much bundled rows of a variant differ from those measured here."""
    of_variant = equals(table["codec"], codec) & equals(table["variant"], variant)
    of_variant &= np.asarray(table["cell"].is_valid())
    cell, bundled = codes(table["cell"])[0], marked(table["bundled"])
    here, there = (np.flatnonzero(of_variant & mask) for mask in (~bundled, bundled))
    _, mine, other = np.intersect1d(cell[here], cell[there], return_indices=True)
    pairs = here[mine], there[other]
    differ = ~agree(table, *pairs)
    most = float(np.max(psnr_differences(table, *pairs)[differ], initial=0.0))
    return (
        f"not equal to the same build here in {np.count_nonzero(differ)} of {len(mine)} rows, "
        f"PSNR by up to {most:.2g} dB"
    )


class Mean(NamedTuple):
    """A mean over images, with the counts that belong to it."""

    value: float | None  # over the finite values; None where there is none
    bpp: float | None  # of the same images, so that a point's two coordinates belong together
    images: int  # in this mean
    infinite: int  # images of infinite value (identical to the source), not in the mean
    missing: int  # images that another point has a value of and this one has not
    reasons: Tally  # why images have no value


def mean_bpp(
    num_bytes: Int64Array, num_pixels: Int64Array, point: Int64Array, points: int, average: Average
) -> Float64Array:
    """Return the bits per pixel of each point, float64 of shape (points,); NaN without rows.

    num_bytes, num_pixels, point: shape (rows,); `point` is the number of the row's point.
    average: "per_image" is the mean of each image's own bpp (the usual table); "pooled" is all bits
    over all pixels (benchmark_xl's convention), where large images weigh more.

    >>> rows = np.array([100, 100]), np.array([800, 1600]), np.array([0, 0])
    >>> mean_bpp(*rows, 1, "per_image"), mean_bpp(*rows, 1, "pooled")
    (array([0.75]), array([0.66666667]))
    """
    if average == "pooled":
        sums = (np.bincount(point, weights, points) for weights in (num_bytes, num_pixels))
        with np.errstate(invalid="ignore"):
            return bits_per_pixel(*sums)
    above = np.bincount(point, bits_per_pixel(num_bytes, num_pixels), points)
    below = np.bincount(point, minlength=points)
    return np.divide(above, below, out=np.full(points, np.nan), where=below > 0)


def means(
    rows: ComparableRows, values: Float64Array, has: BoolArray, average: Average, common: bool
) -> list[Mean]:
    """Return the mean of each point over the marked rows that have a value.

    values: float64 of shape (rows,), NaN for no value. has: bool of shape (rows,).
    common: use only the images that every point has a value of.
    """
    has = has & ~np.isnan(values)
    if not has.any():
        return [Mean(None, None, 0, 0, 0, ())] * rows.points
    has = rows.common(has) if common else has
    finite = has & np.isfinite(values)
    infinite = np.bincount(rows.point[has & ~finite], minlength=rows.points).tolist()
    used = slice(None) if finite.all() else finite  # a million rows are not copied
    point, num_bytes, num_pixels = (of[used] for of in (rows.point, rows.bytes, rows.pixels))
    counts = np.bincount(point, minlength=rows.points).tolist()
    sums = np.bincount(point, values[used], rows.points).tolist()
    rates = mean_bpp(num_bytes, num_pixels, point, rows.points, average).tolist()
    images = rows.images_of(has)
    return [
        Mean(total / n if n else None, rate if n else None, n, endless, images - n - endless, ())
        for total, rate, n, endless in zip(sums, rates, counts, infinite, strict=True)
    ]


def metric_means(
    rows: ComparableRows, column: str, protocol: str, average: Average, common: bool
) -> tuple[Float64Array, list[Mean]]:
    """Return the values of a metric, shape (rows,), NaN for none, and the mean of each point.

    Values under another protocol id than `protocol` do not count; the reasons say so.
    """
    value_column, protocol_column, reason_column = metric_columns(column)
    values = np.where(rows.ok, rows.numbers(value_column), np.nan)
    other = ~np.isnan(values) & ~rows.equal(protocol_column, protocol)
    values[other] = np.nan
    reason, reasons = rows.codes(reason_column)
    texts = [text or "not computed" for text in reasons]
    texts.append(f"measured by another rule than {protocol}")
    reason = np.where(other, len(texts) - 1, reason)
    why = tallies(rows, rows.ok & np.isnan(values), reason, texts)
    result = means(rows, values, rows.ok, average, common)
    return values, [mean._replace(reasons=why.get(i, ())) for i, mean in enumerate(result)]


def tallies(
    rows: ComparableRows, marked: BoolArray, code: Int64Array, texts: Sequence[str]
) -> dict[int, Tally]:
    """Count the texts of the marked rows, by the number of the point.

    code: int64 of shape (rows,), each row's index in `texts`, where a text may occur twice.
    """
    pairs = rows.point[marked] * len(texts) + code[marked]
    result: dict[int, dict[str, int]] = defaultdict(dict)
    counts = np.bincount(pairs)
    for pair in np.flatnonzero(counts).tolist():
        point, text = divmod(pair, len(texts))
        result[point][texts[text]] = result[point].get(texts[text], 0) + int(counts[pair])
    return {
        point: tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:REASONS_KEPT])
        for point, counts in result.items()
    }
