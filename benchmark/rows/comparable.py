"""Rows that a mean may combine, by point and image, from one edition of each codec variant.

An edition is a codec variant in one build, measured here or bundled; rows of two editions are never
joined. One rule decides which edition is shown, for every verb, figure, page and call: yours if it
has every compared image, else the bundled one. The compared images are those of the variants that
only you have, or all images if there are no such variants. Of several builds, the one with the most
images at a setting is shown; if equal, the newest. Failed images count, so that a failure does not
bring back an older build. Bundled rows shown with yours are restricted to the same images. A point
is an edition at one setting.
"""

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
POINT = (*EDITION, *SETTING)
IMAGE_NUMBER = IMAGE.rank("dense").cast(pl.Int64) - 1
# Rank of a row by time, equal for rows with the same time. A row measured here is later than any
# bundled one; runs are compared before times, since filling in a metric renews `finished_utc`.
RECENCY = pl.struct(~BUNDLED, "run", "finished_utc").rank("dense").cast(pl.Int64)


class ComparableRows:
    """Rows of one coding protocol, ordered by variant, edition (newest first), setting and image.

    If rows differ only in the cell's key, the latest one is taken, so that an edition has at most
    one row per setting and image.
    """

    def __init__(
        self, table: pl.DataFrame, coding_protocol: str = CODING, newest_only: bool = False
    ) -> None:
        """Select rows of all editions; newest_only: rows of each codec variant's newest edition."""
        self.table = table
        has_protocol = (table["coding_protocol"] == coding_protocol).fill_null(False)
        rows = table.select(
            *VARIANT,
            *BUILD,
            *SETTING,
            bundled=BUNDLED,
            image=IMAGE_NUMBER,
            ok=OK,
            recency=RECENCY,
            index=pl.int_range(pl.len()),
        ).filter(has_protocol)
        editions = _find_editions(rows)
        if newest_only:
            editions = editions.filter(age=0).with_columns(shown=pl.lit(True))
        else:
            rows = _drop_images_you_lack(rows, editions)
        points = _number_points(rows, editions)
        rows = _select_latest(rows, points)
        # One row per point, in order: POINT, numbers `point` and `edition` (0, 1, ..., ascending),
        # the edition's `age` in its variant (0: newest), and whether the edition is `shown`
        self.point_table = points.cast({pl.Categorical: pl.String})
        # Arrays of shape (rows,)
        self.index = _integers(rows, "index")  # position in the table
        self.point = _integers(rows, "point")  # 0, 1, ... ascending, without gaps
        self.image = _integers(rows, "image")  # image number, as in `image_numbers`
        self.recency = _integers(rows, "recency")  # RECENCY
        self.ok: BoolArray = rows["ok"].to_numpy()
        self.failed: BoolArray = ~self.ok  # unchanged when `replace` restricts `ok` to some images
        area = self.numbers("width_px") * self.numbers("height_px")
        self.pixels: Int64Array = np.where(self.ok, area, 1).astype(np.int64)
        self.shown: BoolArray = self._expand_point("shown")
        self.edition: Int64Array = self._expand_point("edition")
        self.absent = tuple(_describe_other_protocols(table.filter(~has_protocol)))

    @property
    def shown_table(self) -> pl.DataFrame:
        """The table's rows of the shown editions."""
        return self.table[self.index[self.shown]]

    def replace(self, **attributes: Any) -> "ComparableRows":
        """Return the same rows with a different `ok`, or with a `table` that has more columns."""
        rows = copy(self)
        vars(rows).update(attributes)
        return rows

    @property
    def num_points(self) -> int:
        """Number of points."""
        return self.point_table.height

    @property
    def bytes(self) -> Float64Array:
        """Sizes of the streams in bytes; 0 for a failed row."""
        return np.where(self.ok, self.numbers("num_bytes"), 0)

    @property
    def bpp(self) -> Float64Array:
        """Bits per pixel; 0 for a failed row."""
        return bits_per_pixel(self.bytes, self.pixels)

    def numbers(self, column: str) -> Float64Array:
        """Return a numeric or boolean column as float64; NaN for null or a missing column."""
        if column not in self.table.columns or self.table[column].null_count() == self.table.height:
            return np.full(len(self.index), np.nan)
        values = self.table[column].cast(pl.Float64).fill_null(np.nan)
        return np.asarray(values.to_numpy()[self.index], np.float64)

    def mark_equal(self, column: str, text: str) -> BoolArray:
        """Mark the rows whose `column` equals `text`."""
        if column not in self.table.columns:
            return np.zeros(len(self.index), np.bool_)
        is_equal = (self.table[column] == text).fill_null(False)
        return np.asarray(is_equal.to_numpy()[self.index], np.bool_)

    def select(self, *columns: str, mask: BoolArray | None = None) -> pl.DataFrame:
        """Return columns of these rows, or of the marked ones, with categories cast to strings."""
        rows = self.table.select(columns or pl.all())
        rows = rows[self.index if mask is None else self.index[mask]]
        return rows.cast({pl.Categorical: pl.String})

    def specs(self) -> dict[int, CodecSpec]:
        """Return the codec variant of each edition, by its number."""
        editions = self.point_table.unique("edition").select("edition", *VARIANT).rows()
        return {edition: CodecSpec.parse(codec, variant) for edition, codec, variant in editions}

    def count_images(self, mask: BoolArray) -> int:
        """Count the distinct images of marked rows of shown editions."""
        return int(np.count_nonzero(np.bincount(self.image[mask & self.shown])))

    def restrict_to_common(self, mask: BoolArray) -> BoolArray:
        """Restrict the mask to images that all shown points with a marked row have in common."""
        is_compared = mask & self.shown
        num_points = len(np.unique(self.point[is_compared]))
        num_images = self.image.max(initial=-1) + 1
        points_by_image = np.bincount(self.image[is_compared], minlength=num_images)
        return np.asarray(mask & (points_by_image == num_points)[self.image])

    def _expand_point(self, column: str) -> Any:
        return self.point_table[column].to_numpy()[self.point]


def shown_rows(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the shown editions, in the order of `ComparableRows`."""
    return ComparableRows(table).shown_table


def add_same_builds(shown: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Add rows of the shown builds and images at all settings, for showing their pictures."""
    keys = *VARIANT, *BUILD, "coding_protocol"
    same_builds = table.join(shown.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    images = shown.select(IMAGE).to_series().unique().implode()
    all_rows = pl.concat([shown, same_builds.filter(IMAGE.is_in(images))])
    row_key = [*POINT, "image", "image_sha256"]
    return all_rows.unique(row_key, keep="first", maintain_order=True)


def newest_rows(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of each codec variant's newest edition; yours is newer than bundled ones."""
    return table[ComparableRows(table, newest_only=True).index]


def image_numbers(table: pl.DataFrame) -> Int64Array:
    """Return an image number for each row, by sha256 or else name; int64 of shape (rows,)."""
    return _integers(table.select(image=IMAGE_NUMBER), "image")


def _find_editions(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a row per edition: EDITION, `images`, `age` in its variant (0: newest), `shown`."""
    points = rows.group_by(POINT).agg(images=col("image").unique(), recency=col("recency").max())
    editions = points.group_by(EDITION).agg(
        images=col("images").explode().unique(),
        images_at_a_setting=col("images").list.len().max(),
        recency=col("recency").max(),
    )
    editions = editions.sort("recency", *BUILD, descending=[True, False, False])
    editions = editions.with_columns(age=pl.int_range(pl.len()).over(VARIANT))
    shown_editions = _select_shown(editions).select(*EDITION, shown=pl.lit(True))
    editions = editions.join(shown_editions, on=EDITION, how="left", nulls_equal=True)
    return editions.select(*EDITION, "images", "age", col("shown").fill_null(False))


def _select_shown(editions: pl.DataFrame) -> pl.DataFrame:
    preferred_builds = editions.sort("images_at_a_setting", "age", descending=[True, False]).unique(
        [*VARIANT, "bundled"], keep="first", maintain_order=True
    )
    your_editions = preferred_builds.filter(~col("bundled"))
    bundled_editions = preferred_builds.filter(col("bundled"))
    variants_only_you_have = your_editions.join(bundled_editions, on=VARIANT, how="anti")
    compared_images = variants_only_you_have["images"].explode().unique()
    missing_images = col("bundled_images").list.set_difference("images")
    if compared_images.len():
        missing_images = missing_images.list.set_intersection(pl.lit(compared_images).implode())
    measured_twice = your_editions.join(
        bundled_editions.select(*VARIANT, bundled_images="images"), on=VARIANT
    )
    your_incomplete_editions = measured_twice.filter(missing_images.list.len() > 0)
    your_shown_editions = your_editions.join(your_incomplete_editions, on=VARIANT, how="anti")
    bundled_shown_editions = bundled_editions.join(your_shown_editions, on=VARIANT, how="anti")
    return pl.concat([your_shown_editions, bundled_shown_editions])


def _drop_images_you_lack(rows: pl.DataFrame, editions: pl.DataFrame) -> pl.DataFrame:
    your_shown_editions = editions.filter(col("shown") & ~col("bundled"))
    your_images = your_shown_editions["images"].explode().unique()
    if not your_images.len():
        return rows
    return rows.filter(~col("bundled") | col("image").is_in(your_images.implode()))


def _number_points(rows: pl.DataFrame, editions: pl.DataFrame) -> pl.DataFrame:
    points = rows.select(POINT).unique().join(editions, on=EDITION, nulls_equal=True)
    points = points.sort(*VARIANT, "age", *SETTING, nulls_last=True)
    edition = pl.struct(*VARIANT, "age").rle_id().cast(pl.Int64)
    return points.select(*POINT, "age", "shown", edition=edition, point=pl.int_range(pl.len()))


def _select_latest(rows: pl.DataFrame, points: pl.DataFrame) -> pl.DataFrame:
    """Return the latest row of each point and image, in this order; at equal times, the last."""
    point_numbers = points.select(*POINT, "point")
    rows = rows.join(point_numbers, on=POINT, nulls_equal=True, maintain_order="left")
    rows = rows.select("index", "point", "image", "ok", "recency")
    # Stable sort by point, image and recency; half a second faster than polars for a million rows
    order: Int64Array = np.lexsort([rows["recency"], rows["image"], rows["point"]])
    return rows[order].filter(pl.struct("point", "image").is_last_distinct())


def _integers(table: pl.DataFrame, column: str) -> Int64Array:
    return np.asarray(table[column].cast(pl.Int64).to_numpy(), np.int64)


def _describe_other_protocols(table: pl.DataFrame) -> list[Absent]:
    counts = table.group_by(*VARIANT, "coding_protocol").len().sort(*VARIANT, "coding_protocol")
    return [
        Absent(
            label_of(CodecSpec.parse(codec, variant)),
            f"{counted(count, 'row')} with the coding protocol {protocol}",
        )
        for codec, variant, protocol, count in counts.rows()
    ]
