"""Versions of rows: one for each cell and origin, with what is known of its pictures.

A cell has several rows when a failed one was tried again, a finished one was timed or rescored, or
two runs measured it. The best one counts: without failure, then timed, then coded here rather than
taken from a pack, then later. Rows measured here and bundled ones are two origins: each has a row.

A metric's value belongs to two pictures and a protocol. The decoded picture is known by the sha256
of its pixels, or by its stream and the build that decodes it: between processors such pictures
differ by rounding at most, and `bench audit rows` says by how much
(docs/experiments/processors.md). What any row knows of the same pictures, all have: value, protocol
and reason together, under the present protocol before any other; and features, whose pixels the
column `features_of` has where they are not the row's own. Nothing else goes from row to row.

A build is one program, library or weight file (`fingerprint`) and one revision of its adapter
(`revision`).

Tables have columns of `rows.schema`; those without any value may be absent where nothing else is
said, texts may be categories, and digests numbers (`Store.means_table`).
"""

import polars as pl
from polars import col

from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.rows.schema import metric_columns, own_columns

VARIANT, BUILD = ("codec", "variant"), ("fingerprint", "revision")
OK, BUNDLED = col("status") == "ok", col("bundled").fill_null(False)
IMAGE = pl.coalesce("image_sha256", "image")


def merge_versions(table: pl.DataFrame, features: bool = False) -> pl.DataFrame:
    """Return one row per cell and origin (see the module), in any order.

    table: every version of every cell. features: a row without any takes those of other pixels too,
    which files cannot say.
    """
    keys = _keys_of_pictures(table)
    shares = pl.any_horizontal(pl.all().is_not_null() & pl.all().is_duplicated())
    some = keys.select(shares).to_series() | table["cell"].is_duplicated()
    if not some.any():
        return table
    rows = pl.concat([table.filter(some), keys.filter(some)], how="horizontal")
    rows = rows.with_columns(picture=_pictures(rows)).sort(_best_first(), maintain_order=True)
    rows = _with_shared_values(rows, features)
    attested = (
        col("attested").fill_null(False).any().over("cell", "stream_sha256", "decoded_sha256")
    )
    rows = rows.with_columns(attested=pl.when(attested).then(True).otherwise("attested"))
    best = rows.filter(pl.struct("cell", BUNDLED).is_first_distinct())
    return pl.concat([table.filter(~some), best.select(table.columns)])


def one_per_cell(table: pl.DataFrame) -> pl.DataFrame:
    """Leave out bundled rows beside another row of their cell, which was measured here."""
    own = table.filter(~BUNDLED)["cell"].drop_nulls()
    beside = table.select(BUNDLED & col("cell").is_in(own.implode()).fill_null(False)).to_series()
    return table.filter(~beside) if beside.any() else table


def _best_first() -> list[pl.Expr]:
    late = col("finished_utc").fill_null("").rank("dense", descending=True)
    timed, recorded = (col(name).fill_null(False) for name in ("timing", "recorded"))
    return [BUNDLED, ~OK, ~timed, recorded, late]


def _keys_of_pictures(table: pl.DataFrame) -> pl.DataFrame:
    """Return what the decoded pictures are known by, null where it is not: `stream`, `pixels`."""
    parts = {"stream": ("stream_sha256", *BUILD), "pixels": ("decoded_sha256",)}
    known = {
        name: OK & pl.all_horizontal(col("image_sha256", of[0]).is_not_null())
        for name, of in parts.items()
    }
    return table.select(
        pl.when(known[name]).then(pl.struct("image_sha256", *of).hash()).alias(name)
        for name, of in parts.items()
    )


def _with_shared_values(rows: pl.DataFrame, features: bool) -> pl.DataFrame:
    """Fill in metrics and features that other rows have of the same pictures."""
    worths = [_worth(*of).alias(of[0]) for of in _metrics(rows)]
    lacks = pl.any_horizontal(col(of).max() > col(of).min() for of, _ in _metrics(rows))
    pictures = rows.select("picture", *worths).group_by("picture").agg(lacks=lacks)
    lacking = rows["picture"].is_in(pictures.filter("lacks")["picture"].implode())
    if not lacking.any():
        return rows
    rows = rows.with_row_index("place")
    filled = rows.filter(lacking)
    filled = filled.with_columns(**_fill(filled))
    filled = _with_features(filled) if features else filled
    every = pl.concat([rows.filter(~lacking), filled.select(rows.columns)])
    return every.sort("place").drop("place")


def _pictures(rows: pl.DataFrame) -> pl.Series:
    """Number the decoded pictures that equal columns `stream` or `pixels` stand for."""
    rows = rows.select("stream", "pixels", picture=pl.int_range(pl.len()))
    while True:
        before = rows["picture"]
        for name in ("stream", "pixels"):
            lowest = col("picture").min().over(name)
            picture = pl.when(col(name).is_null()).then("picture").otherwise(lowest)
            rows = rows.with_columns(picture=picture)
        if before.equals(rows["picture"]):
            return before


def _fill(rows: pl.DataFrame) -> dict[str, pl.Expr]:
    """Return the columns of metrics as rows of the same picture have them, of features of pixels.

    Of several rows the best gives; a row that has as much keeps its own.
    """
    fill = {}
    for value, rule in _metrics(rows):
        group = "picture" if value not in _feature_counts() else "pixels"
        worth = _worth(value, rule)
        gets = (worth.max().over(group) > worth) & col(group).is_not_null()
        for name in metric_columns(value):
            best = col(name).get(worth.arg_max()).over(group)
            fill[name] = pl.when(gets).then(best).otherwise(name)
    return fill


def _with_features(rows: pl.DataFrame) -> pl.DataFrame:
    """Give rows without any features those of another row of their picture."""
    counts = [value for value, _ in _metrics(rows) if value in _feature_counts()]
    if not counts:
        return rows
    has = pl.any_horizontal(col(counts).is_not_null())
    takes = ~has & has.any().over("picture")
    names = [name for count in counts for name in metric_columns(count)]
    rows = rows.with_columns(features_of=pl.coalesce("features_of", "decoded_sha256"))
    first = {name: col(name).get(has.arg_max()).over("picture") for name in (*names, "features_of")}
    return rows.with_columns(
        **{name: pl.when(takes).then(of).otherwise(name) for name, of in first.items()}
    )


def _feature_counts() -> set[str]:
    return {metric_class(name).column for name in FEATURE_SPACES}


def _metrics(rows: pl.DataFrame) -> list[tuple[str, str | None]]:
    """Return column and present protocol of metrics and of features; any is a user's metric's."""
    known = [metric_class(name) for name in (*METRICS, *FEATURE_SPACES)]
    of: list[tuple[str, str | None]] = [
        (metric.column, metric.protocol) for metric in known if metric.column in rows.columns
    ]
    return of + [(column, None) for column in own_columns(rows.columns)]


def _worth(value: str, present: str | None) -> pl.Expr:
    """Return 2 for a value's present protocol (None: any) and 1 for a value."""
    rule = col(metric_columns(value)[1])
    preferred = rule.is_not_null() if present is None else rule.eq_missing(pl.lit(present))
    return 2 * preferred.cast(pl.Int8) + col(value).is_not_null().cast(pl.Int8)
