"""Rows that may meet in one mean, by point and image, and counts of those that no mean is over.

Comparable rows share one coding protocol, and no mean has rows of two editions of a codec variant.
An edition is a codec variant of one build (`rows.valid`); the newest is that of the latest run
here, else the latest bundled one. One edition of each variant is shown: that with most images at a
setting, of several the newest. A point is an edition at one setting.
"""

from copy import copy
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from polars import col

from benchmark.codec import CODING, BoolArray, Float64Array, Int64Array, bits_per_pixel
from benchmark.rows.systems import distinct_labels, label_of
from benchmark.rows.valid import (
    BUILD_NAME,
    BUNDLED,
    IMAGE,
    OK,
    PLACE,
    VARIANT,
    agrees,
    apart_rows,
    psnr_differences,
    rank_of,
)

EDITION = (*VARIANT, "made", "apart")  # made: the name of the build


class LeftOut(NamedTuple):
    """Rows of a codec variant that are not compared with the others, and why."""

    label: str
    rows: int
    why: str
    differ: bool  # they are bundled, and the same build gave others here


class ComparableRows:
    """The rows under one coding protocol, ordered by codec variant, edition (newest first), setting
    and image; at most one row per edition, setting and image.

    Of rows that differ in nothing but their cell's key, so that an image would count twice at one
    setting, the latest is taken.
    """

    def __init__(
        self, table: pl.DataFrame, coding_protocol: str = CODING, newest_only: bool = False
    ) -> None:
        """Choose the rows of all editions of each codec variant, or of the newest."""
        self.table = table
        keys = _keys(table).filter((table["coding_protocol"] == coding_protocol).fill_null(False))
        kinds = _kinds(keys)
        kinds = kinds.filter(age=0) if newest_only else kinds
        rows = _rows(keys, kinds)
        # Of shape (rows,)
        self.index = _numbers(rows, "at")  # of each row in the table
        self.point = _numbers(rows, "point")  # 0, 1, ... ascending, without gaps
        self.image = _numbers(rows, "image")  # as `image_numbers` has it
        self.recency = _numbers(rows, "recency")  # higher for later rows, and for own ones
        self.ok: BoolArray = rows["ok"].to_numpy()
        self.failed: BoolArray = ~self.ok  # also where `ok` is changed to the images of a choice
        area = self.numbers("width_px") * self.numbers("height_px")
        self.pixels: Int64Array = np.where(self.ok, area, 1).astype(np.int64)
        # One row for each point: columns PLACE, EDITION, the number of the `edition` (0, 1, ...
        # ascending, without gaps), its `age` within its variant (0 for the newest), whether `shown`
        self.of_points = _points(kinds, np.bincount(self.point, minlength=1))
        self.shown: BoolArray = self._of_point("shown")
        self.edition: Int64Array = self._of_point("edition")
        # Indices of the rows that are left out: of other editions or protocols
        left_out = np.ones(table.height, np.bool_)
        left_out[_numbers(kinds.explode("at"), "at")] = False
        self.other = np.flatnonzero(left_out)
        self.left_out = () if newest_only else _left_out(self, coding_protocol)

    def changed(self, **attributes: Any) -> "ComparableRows":
        """Return the same rows with another `ok`, or with a `table` that has more columns."""
        rows = copy(self)
        vars(rows).update(attributes)
        return rows

    @property
    def points(self) -> int:
        """Number of points."""
        return self.of_points.height

    @property
    def bytes(self) -> Float64Array:
        """Bytes of the streams; 0 for a failed row."""
        return np.where(self.ok, self.numbers("num_bytes"), 0)

    @property
    def bpp(self) -> Float64Array:
        """Bits per pixel; 0 for a failed row."""
        return bits_per_pixel(self.bytes, self.pixels)

    def numbers(self, column: str) -> Float64Array:
        """Return a column of numbers or booleans as float64; NaN for null, and for no column."""
        if column not in self.table.columns or self.table[column].null_count() == self.table.height:
            return np.full(len(self.index), np.nan)
        values = self.table[column].cast(pl.Float64).fill_null(np.nan)
        return np.asarray(values.to_numpy()[self.index], np.float64)

    def equal(self, column: str, text: str) -> BoolArray:
        """Mark the rows whose `column` equals `text`."""
        if column not in self.table.columns:
            return np.zeros(len(self.index), np.bool_)
        same = (self.table[column] == text).fill_null(False)
        return np.asarray(same.to_numpy()[self.index], np.bool_)

    def chosen(self, *columns: str, marked: BoolArray | None = None) -> pl.DataFrame:
        """Return columns of these rows, or of those marked; categories are texts."""
        rows = self.table.select(columns or pl.all())
        rows = rows[self.index if marked is None else self.index[marked]]
        return rows.cast({pl.Categorical: pl.String})

    def labels(self) -> dict[int, str]:
        """Return the label of each edition, by its number: that of its codec variant."""
        editions = self.of_points.unique("edition").select("edition", *VARIANT).rows()
        labels = distinct_labels((codec, variant) for _, codec, variant in editions)
        return {edition: labels[codec, variant] for edition, codec, variant in editions}

    def images_of(self, has: BoolArray) -> int:
        """Count the distinct images of the marked rows that are shown."""
        return int(np.count_nonzero(np.bincount(self.image[has & self.shown])))

    def common(self, has: BoolArray) -> BoolArray:
        """Keep the marked rows of the images that every shown point with any marked row has."""
        marked = has & self.shown
        points = len(np.unique(self.point[marked]))
        everywhere = np.bincount(self.image[marked], minlength=self.image.max(initial=-1) + 1)
        return np.asarray(has & (everywhere == points)[self.image])

    def _of_point(self, column: str) -> Any:
        return self.of_points[column].to_numpy()[self.point]


def newest(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the newest edition of each codec variant, in order."""
    return table[ComparableRows(table, newest_only=True).index]


def image_numbers(table: pl.DataFrame) -> Int64Array:
    """Number rows by image, int64 of shape (rows,): by its sha256, by its name without one."""
    return _numbers(table.select(image=_IMAGE_NUMBER), "image")


_IMAGE_NUMBER = IMAGE.rank("dense").cast(pl.Int64) - 1


def _keys(table: pl.DataFrame) -> pl.DataFrame:
    """Return what rows are ordered by: as integers, where there is one for each row."""
    later = table.height + 1  # than any rank
    run, time = (
        # The run comes first: filling in a metric renews `finished_utc`.
        col(name).rank("dense").fill_null(0).cast(pl.Int64)
        for name in ("run", "finished_utc")
    )
    own = (~BUNDLED).cast(pl.Int64)
    return table.select(
        *PLACE,
        made=pl.coalesce(col("build").cast(pl.String), BUILD_NAME),
        apart=apart_rows(table),
        at=pl.int_range(pl.len()),
        image=_IMAGE_NUMBER,
        ok=OK,
        recency=(own * later + run) * later + time,
    )


def _kinds(keys: pl.DataFrame) -> pl.DataFrame:
    """Return the places of the rows (`at`) of each edition at each setting, with the age."""
    kinds = keys.group_by(*PLACE, "made", "apart").agg("at", latest=col("recency").max())
    editions = kinds.group_by(EDITION).agg(col("latest").max())
    editions = editions.sort("latest", "made", "apart", descending=[True, False, False])
    editions = editions.select(*EDITION, age=pl.int_range(pl.len()).over(VARIANT))
    return kinds.join(editions, on=EDITION, nulls_equal=True).drop("latest")


def _rows(keys: pl.DataFrame, kinds: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of these kinds in order, without earlier ones of the same image."""
    of_kinds = kinds.select("at", point=_point(kinds)).explode("at")
    rows = keys.select("at", "image", "ok", "recency")
    at = _numbers(rows, "at")
    point = np.full(at.max(initial=-1) + 1, -1, np.int64)
    point[_numbers(of_kinds, "at")] = _numbers(of_kinds, "point")
    rows = rows.with_columns(point=point[at]).filter(col("point") >= 0)
    order = np.lexsort([rows[name] for name in ("recency", "image", "point")])
    spot = pl.struct("point", "image")
    latest: pl.DataFrame = rows[order].filter((spot != spot.shift(-1)).fill_null(True))
    return latest


def _point(kinds: pl.DataFrame) -> pl.Series:
    number = kinds.select(rank_of((*VARIANT, "age", *PLACE[2:]))).to_series()
    return number.cast(pl.Int64) - 1


def _points(kinds: pl.DataFrame, images: Int64Array) -> pl.DataFrame:
    """Return the points in order; images: their numbers of images.

    Failed images count, so that a failure does not bring an older build back.
    """
    points = kinds.drop("at").with_columns(
        point=_point(kinds), edition=rank_of((*VARIANT, "age")).cast(pl.Int64) - 1
    )
    points = points.cast({pl.Categorical: pl.String}).sort("point").drop("point")
    points = points.with_columns(images=images[: points.height])
    shown = col("edition").sort_by("images", "age", descending=[True, False]).first()
    return points.with_columns(shown=col("edition") == shown.over(VARIANT)).drop("images")


def _numbers(table: pl.DataFrame, column: str) -> Int64Array:
    return np.asarray(table[column].cast(pl.Int64).to_numpy(), np.int64)


def _left_out(rows: ComparableRows, coding_protocol: str) -> tuple[LeftOut, ...]:
    """Count the rows that no mean is over, by codec variant and by why."""
    names = [*VARIANT, "codec_version", "revision", "coding_protocol", "bundled"]
    table, hidden = rows.table.select(names), ~rows.shown
    points = rows.of_points.select("apart", fewer=col("age") == 0)[rows.point[hidden]]
    nothing = {"apart": pl.lit(False), "fewer": pl.lit(False)}
    of_hidden = table[rows.index[hidden]].with_columns(points)
    kinds = pl.concat([table[rows.other].with_columns(**nothing), of_hidden])
    kinds = kinds.group_by(kinds.columns).len()
    left_out = []
    for kind in kinds.rows(named=True):
        what = "bundled, of another build" if kind["bundled"] else "an older version"
        if kind["fewer"]:
            what = "over fewer images than another build"
        elif kind["apart"]:
            what = f"bundled, {_difference(rows.table, kind['codec'], kind['variant'])}"
        why = f"{what}: {kind['codec_version']}, adapter {kind['revision']}"
        if kind["coding_protocol"] != coding_protocol:
            why = f"protocol {kind['coding_protocol']} is not comparable with {coding_protocol}"
        label = label_of(kind["codec"], kind["variant"])
        left_out.append(LeftOut(label, kind["len"], why, kind["apart"]))
    return tuple(sorted(left_out))


def _difference(table: pl.DataFrame, codec: str, variant: str) -> str:
    """Return by how much bundled rows of a variant differ from those measured here."""
    own = table.filter(col("codec") == codec, col("variant") == variant, col("cell").is_not_null())
    pairs = own.filter(~BUNDLED).join(own.filter(BUNDLED), on="cell", suffix="_there")

    def there(name: str) -> pl.Expr:
        return col(f"{name}_there")

    differ = pairs.filter(~agrees(there))
    most = differ.select(psnr_differences(there).max()).item() or 0.0
    return (
        f"not equal to the same build here in {differ.height} of {pairs.height} rows, "
        f"PSNR by up to {most:.2g} dB"
    )
