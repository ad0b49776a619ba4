"""Rows that may meet in one mean, by point and image, of one edition of each codec variant.

An edition is a codec variant of one build, measured here or bundled; rows of two are never joined.
Which is shown is one rule, for every verb, figure, page and call: yours where it has every image
that is compared, else the bundled one. What is compared are the images of the variants that only
you have; without such a variant, all. Of several builds it is that with most images at a setting,
of equals the newest; failed images count, so that a failure does not bring an older build back.
Beside what you measured, bundled rows are of the same images. A point is an edition at one setting.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import polars as pl
from polars import col

from benchmark.answer import Absent
from benchmark.codec import CODING, BoolArray, Float64Array, Int64Array, bits_per_pixel
from benchmark.rows.edition import label_of
from benchmark.rows.versions import BUILD, BUNDLED, IMAGE, OK, VARIANT
from benchmark.spec import CodecSpec
from benchmark.system.text import counted

EDITION = (*VARIANT, *BUILD, "bundled")
SETTING = ("setting_name", "setting_value")
TEXTS = ("codec", "variant", "setting_name", "fingerprint")
IMAGE_NUMBER = IMAGE.rank("dense").cast(pl.Int64) - 1


class ComparableRows:
    """The rows under one coding protocol, ordered by codec variant, edition (newest first), setting
    and image; at most one row per edition, setting and image.

    Of rows that differ in nothing but their cell's key, so that an image would count twice at one
    setting, the latest is taken. Beside rows measured here, bundled ones are of the same images.
    """

    def __init__(
        self, table: pl.DataFrame, coding_protocol: str = CODING, newest_only: bool = False
    ) -> None:
        """Choose the rows of all editions of each codec variant, or of the newest, all images."""
        self.table = table
        later = table.height + 1  # than any rank
        run, time = (
            # The run comes first: filling in a metric renews `finished_utc`.
            col(name).rank("dense").fill_null(0).cast(pl.Int64)
            for name in ("run", "finished_utc")
        )
        place = (*(name for name in EDITION if name != "bundled"), *SETTING)
        rows = table.select(
            *place,
            bundled=BUNDLED,
            spot=pl.struct(*place, BUNDLED).hash(),
            at=pl.int_range(pl.len()),
            image=IMAGE_NUMBER,
            ok=OK,
            recency=((~BUNDLED).cast(pl.Int64) * later + run) * later + time,
        )
        comparable = (table["coding_protocol"] == coding_protocol).fill_null(False)
        rows = rows if comparable.all() else rows.filter(comparable)
        points = rows.group_by("spot").agg(
            col(*EDITION, *SETTING).first(), col("image").unique(), col("recency").max()
        )
        every = editions(points)
        own = every.filter(col("shown") & ~col("bundled"))["of"].explode().unique()
        if newest_only:
            every = every.filter(age=0).with_columns(shown=pl.lit(True))
        elif own.len() < rows["image"].n_unique() and own.len():
            rows = rows.filter(~col("bundled") | col("image").is_in(own.implode()))
        points = points.filter(col("spot").is_in(rows["spot"].unique().implode()))
        points = points.select("spot", *EDITION, *SETTING)
        points = points.join(every, on=EDITION, nulls_equal=True).with_columns(
            edition=_rank_of((*VARIANT, "age")) - 1,
            point=_rank_of((*VARIANT, "age", *SETTING)) - 1,
        )
        rows = rows.select("spot", "at", "image", "ok", "recency")
        rows = rows.join(points.select("spot", "point"), on="spot")
        images = _numbers(rows, "image").max(initial=-1) + 1
        spots = _numbers(rows, "point") * images + _numbers(rows, "image")
        order = np.lexsort([rows["recency"], spots])  # several times as fast as a frame's sort
        latest = np.diff(spots[order], append=-1) != 0
        rows = rows[order[latest]]
        # One row for each point, in order: columns EDITION, SETTING, the number of the `edition`
        # (0, 1, ... ascending, without gaps), its `age` within its variant (0 for the newest),
        # whether it is `shown`
        points = points.drop("spot", "of", "recency").sort("point")
        self.of_points = points.cast({pl.Categorical: pl.String})
        # Of shape (rows,)
        self.index = _numbers(rows, "at")  # of each row in the table
        self.point = _numbers(rows, "point")  # 0, 1, ... ascending, without gaps
        self.image = _numbers(rows, "image")  # as `image_numbers` has it
        self.recency = _numbers(rows, "recency")  # higher for later rows, and for own ones
        self.ok: BoolArray = rows["ok"].to_numpy()
        self.failed: BoolArray = ~self.ok  # also where `ok` is changed to the images of a choice
        area = self.numbers("width_px") * self.numbers("height_px")
        self.pixels: Int64Array = np.where(self.ok, area, 1).astype(np.int64)
        self.shown: BoolArray = self._of_point("shown")
        self.edition: Int64Array = self._of_point("edition")
        self.absent = tuple(_of_other_protocols(table.filter(~comparable)))

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

    def specs(self) -> dict[int, CodecSpec]:
        """Return the codec variant of each edition, by its number."""
        editions = self.of_points.unique("edition").select("edition", *VARIANT).rows()
        return {edition: CodecSpec.of(codec, variant) for edition, codec, variant in editions}

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


def shown(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the editions that are shown, in the order of `ComparableRows`."""
    rows = ComparableRows(table)
    return table[rows.index[rows.shown]]


def editions(points: pl.DataFrame) -> pl.DataFrame:
    """Return a row per edition: EDITION, `age` in its variant (0: the newest), `of`, `shown`.

    points: a row per edition and setting, with EDITION, `image` (a list of numbers) and `recency`,
    that of the latest row. `of` are the images of an edition.
    """
    every = points.group_by(EDITION).agg(
        of=col("image").explode().unique(),
        most=col("image").list.len().max(),
        recency=col("recency").max(),
    )
    every = every.sort("recency", *BUILD, descending=[True, False, False])
    best = col("most").rank("ordinal", descending=True).over(*VARIANT, "bundled") == 1
    first = every.filter(best)
    own, bundled = first.filter(~col("bundled")), first.filter("bundled")
    compared = own.join(bundled, on=VARIANT, how="anti")["of"].explode().unique()
    both = own.join(bundled.select(*VARIANT, there="of"), on=VARIANT)
    there = col("there")
    if compared.len():
        there = there.list.set_intersection(pl.lit(compared).implode())
    behind = both.filter(there.list.set_difference("of").list.len() > 0)
    chosen = pl.concat(
        [
            own.join(behind, on=VARIANT, how="anti"),
            bundled.join(own, on=VARIANT, how="anti"),
            bundled.join(behind, on=VARIANT, how="semi"),
        ]
    )
    chosen = chosen.select(*EDITION, shown=pl.lit(True))
    marked = every.join(chosen, on=EDITION, how="left", nulls_equal=True, maintain_order="left")
    return marked.with_columns(
        col("shown").fill_null(False), age=pl.int_range(pl.len()).over(VARIANT)
    ).drop("most")


def newest(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the newest edition of each codec variant, yours before a bundled one."""
    return table[ComparableRows(table, newest_only=True).index]


def image_numbers(table: pl.DataFrame) -> Int64Array:
    """Number rows by image, int64 of shape (rows,): by its sha256, by its name without one."""
    return _numbers(table.select(image=IMAGE_NUMBER), "image")


def _rank_of(names: Sequence[str]) -> pl.Expr:
    """Number rows from 1 on by their values, ordered as these (texts by letters), null last."""
    parts = (
        (col(name).is_null().alias(f"{name}?"), of.cast(pl.String) if name in TEXTS else of)
        for name in names
        for of in [col(name)]
    )
    return pl.struct(part for pair in parts for part in pair).rank("dense").cast(pl.Int64)


def _numbers(table: pl.DataFrame, column: str) -> Int64Array:
    return np.asarray(table[column].cast(pl.Int64).to_numpy(), np.int64)


def _of_other_protocols(table: pl.DataFrame) -> list[Absent]:
    kinds = table.group_by(*VARIANT, "coding_protocol").len().sort(VARIANT)
    return [
        Absent(label_of(CodecSpec.of(*pair)), f"{counted(rows, 'row')} of the protocol {protocol}")
        for *pair, protocol, rows in kinds.rows()
    ]
