"""Rows that may meet in one mean, as arrays, the means of each point, and counts of other rows.

Comparable rows share one coding protocol, and no mean has rows of two editions of a codec variant
(`rows.versions`). One edition of each variant is shown: that with most images at a setting, of
several the newest. A point is a codec variant at one setting. Sums are `np.bincount`'s, which add
in the order of the rows: pandas' and Arrow's differ in the last digit.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from copy import copy
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from benchmark.codec import BoolArray, Float64Array, Int64Array, bits_per_pixel
from benchmark.rows.editions import EditionRows, codes, edition_rows, floats, recency
from benchmark.rows.schema import equals, marked, metric_columns, only_text
from benchmark.rows.systems import label_of
from benchmark.rows.versions import agree, psnr_differences
from benchmark.spec import CodecSpec

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
        area = self.numbers("width_px") * self.numbers("height_px")
        self.pixels: Int64Array = np.where(self.ok, area, 1).astype(np.int64)
        self.shown: BoolArray = self._shown()  # of the edition of its variant that is shown
        self.left_out: tuple[LeftOut, ...] = () if newest_only else _left_out(self, coding_protocol)

    def _shown(self) -> BoolArray:
        """Mark the rows of the edition of each variant with most images at a setting, the newest.

        Failed images count, so that a failure does not bring an older build back.
        """
        if not self.age.any():
            return np.ones(len(self.index), np.bool_)
        images = np.bincount(self.point)
        order = np.lexsort((self.age, -images, self.variant))
        first = order[np.flatnonzero(np.diff(self.variant[order], prepend=-1))]
        return np.isin(self.edition, self.edition[first])[self.point]

    def changed(self, **attributes: Any) -> "ComparableRows":
        """Return the same rows with another `ok`, or with a `table` that has more columns."""
        rows = copy(self)
        vars(rows).pop("latest", None)
        vars(rows).update(attributes)
        return rows

    @property
    def failed(self) -> BoolArray:
        """Marks the rows without a stream."""
        return ~self.ok

    @property
    def bytes(self) -> Float64Array:
        """Bytes of the streams; 0 for a failed row."""
        return np.where(self.ok, self.numbers("num_bytes"), 0)

    @cached_property
    def bpp(self) -> Float64Array:
        """Bits per pixel; 0 for a failed row."""
        return bits_per_pixel(self.bytes, self.pixels)

    def numbers(self, column: str) -> Float64Array:
        """Return a column of numbers or booleans as float64; NaN for null."""
        values = self._column(column, pa.float64())
        if values.null_count == len(values):
            return self.nothing
        return floats(values)[self.index]

    def recency(self) -> Int64Array:
        """Return numbers that are higher for later rows, and for rows that are not bundled."""
        return recency(self.table)[self.index]

    @cached_property
    def nothing(self) -> Float64Array:
        """The numbers of a column without any value, which are not to be changed: NaN."""
        return np.broadcast_to(np.nan, len(self.index))

    def lacks(self, column: str) -> bool:
        """Return whether no row has a value of this metric, nor a reason why it has none."""
        value, _, reason = metric_columns(column)
        columns = (self._column(name, pa.string()) for name in (value, reason))
        return all(values.null_count == len(values) for values in columns)

    def codes(self, column: str) -> tuple[Int64Array, list[Any]]:
        """Return each row's index among a column's distinct values, and these; see `codes`."""
        numbers, values = codes(self._column(column, pa.string()))
        if numbers.any():
            return numbers[self.index], values
        return np.broadcast_to(np.int64(0), len(self.index)), values

    def equal(self, column: str, text: str) -> BoolArray:
        """Mark the rows whose `column` equals `text`."""
        values = self._column(column, pa.string())
        if (only := only_text(values)) is not None:
            return np.full(len(self.index), only == text)
        return equals(values, text)[self.index]

    def _column(self, name: str, kind: pa.DataType) -> pa.ChunkedArray:
        """Return a column; nulls of this type for one of a user's metric that no row has."""
        if name in self.table.column_names:
            return self.table[name]
        return pa.chunked_array([pa.nulls(len(self.table), kind)])

    @cached_property
    def latest(self) -> Int64Array:
        """The place of each edition's latest row, of one without failure if there is any."""
        worth = self.recency()
        worth[~self.ok] += np.iinfo(np.int64).min
        points = np.flatnonzero(np.diff(self.edition, prepend=-1))
        bounds = [*np.searchsorted(self.point, points).tolist(), len(worth)]
        last = [end - 1 - worth[start:end][::-1].argmax() for start, end in pairwise(bounds)]
        return np.array(last, np.int64)

    def labels(self) -> dict[int, str]:
        """Return the label of each edition, by its number: that of its codec variant."""
        rows = self.table.select(("codec", "variant")).take(pa.array(self.index[self.latest]))
        pairs = [tuple(row.values()) for row in rows.to_pylist()]
        labels = [label_of(*pair) for pair in pairs]
        # Two variants of one label (files of one name in two folders, say) would become one curve.
        shown = self.shown[self.latest].tolist()
        counts = Counter(label for label, is_shown in zip(labels, shown, strict=True) if is_shown)
        editions = self.edition[self.point[self.latest]].tolist()
        numbered = zip(editions, labels, pairs, strict=True)
        return {
            edition: label if counts[label] < 2 else CodecSpec.of(*pair).text
            for edition, label, pair in numbered
        }

    def editions_with(self, marked: BoolArray) -> set[int]:
        """Return the numbers of the editions that have a marked row."""
        return set(self.edition[... if marked.all() else np.unique(self.point[marked])].tolist())

    def distinct(self, column: str) -> dict[int, tuple[str, ...]]:
        """Return the distinct texts of a column by the number of the edition."""
        code, values = self.codes(column)
        texts: dict[int, tuple[str, ...]] = defaultdict(tuple)
        number = self.edition * len(values)
        pairs = np.unique(number[self.point] + code) if code.any() else np.unique(number)
        for edition, at in (divmod(pair, len(values)) for pair in pairs.tolist()):
            texts[edition] += (values[at],) if values[at] else ()
        return texts

    def images_of(self, has: BoolArray) -> int:
        """Count the distinct images of the marked rows that are shown."""
        marked = has & self.shown
        images = self.image if marked.all() else self.image[marked]
        return int(np.count_nonzero(np.bincount(images)))

    def common(self, has: BoolArray) -> BoolArray:
        """Keep the marked rows of the images that every shown point with any marked row has."""
        marked = has & self.shown
        points = len(np.unique(self.point[marked]))
        everywhere = np.bincount(self.image[marked], minlength=self.image.max(initial=-1) + 1)
        return np.asarray(has & (everywhere == points)[self.image])


def _left_out(rows: ComparableRows, coding_protocol: str) -> tuple[LeftOut, ...]:
    """Count the rows that no mean is over, by codec variant and by why."""
    columns = ["codec", "variant", "codec_version", "revision", "coding_protocol", "bundled"]
    hidden = ~rows.shown
    index = np.concatenate([rows.other, rows.index[hidden]])
    table = rows.table.select(columns).take(pa.array(index))
    nothing = np.zeros(len(rows.other), np.bool_)
    points = rows.point[hidden]
    marks = {"fewer": rows.age[points] == 0, "apart": rows.apart[points]}
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


def mean_bpp(rows: ComparableRows, used: BoolArray | slice, average: Average) -> Float64Array:
    """Return the bits per pixel of each point, float64 of shape (points,); NaN without rows.

    used: bool of shape (rows,), or a slice of all. average: "per_image" is the mean of each image's
    own bpp (the usual table); "pooled" is all bits over all pixels (benchmark_xl's convention),
    where large images weigh more: 100 bytes for 800 pixels and for 1600 are .75 and .667.
    """
    point = rows.point[used]
    if average == "pooled":
        weights = (rows.bytes[used], rows.pixels[used])
        sums = (np.bincount(point, of, rows.points) for of in weights)
        with np.errstate(invalid="ignore"):
            return bits_per_pixel(*sums)
    above = np.bincount(point, rows.bpp[used], rows.points)
    below = np.bincount(point, minlength=rows.points)
    return np.divide(above, below, out=np.full(rows.points, np.nan), where=below > 0)


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
    point = rows.point[used]
    counts = np.bincount(point, minlength=rows.points).tolist()
    sums = np.bincount(point, values[used], rows.points).tolist()
    rates = mean_bpp(rows, used, average).tolist()
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
    values = rows.numbers(value_column)
    if not rows.ok.all():
        values = np.where(rows.ok, values, np.nan)
    other = ~np.isnan(values) & ~rows.equal(protocol_column, protocol)
    if other.any():
        values = np.where(other, np.nan, values)
    why = {}
    if (missing := rows.ok & np.isnan(values)).any():
        reason, reasons = rows.codes(reason_column)
        texts = [text or "not computed" for text in reasons]
        texts.append(f"measured by another rule than {protocol}")
        reason = np.where(other, len(texts) - 1, reason) if other.any() else reason
        why = tallies(rows, missing, reason, texts)
    result = means(rows, values, rows.ok, average, common)
    return values, [mean._replace(reasons=why.get(i, ())) for i, mean in enumerate(result)]


def tallies(
    rows: ComparableRows, marked: BoolArray, code: Int64Array, texts: Sequence[str]
) -> dict[int, Tally]:
    """Count the texts of the marked rows, by the number of the point.

    code: int64 of shape (rows,), each row's index in `texts`, where a text may occur twice.
    """
    pairs = (rows.point if marked.all() else rows.point[marked]) * len(texts)
    pairs += code[marked] if code.any() else 0
    result: dict[int, dict[str, int]] = defaultdict(dict)
    counts = np.bincount(pairs)
    for pair in np.flatnonzero(counts).tolist():
        point, text = divmod(pair, len(texts))
        result[point][texts[text]] = result[point].get(texts[text], 0) + int(counts[pair])
    return {
        point: tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:REASONS_KEPT])
        for point, counts in result.items()
    }
