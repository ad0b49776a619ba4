"""Merge versions of rows into one row per cell and origin; rows of equal pictures share values.

A cell has several rows if a failed one was tried again, a finished one was timed or rescored, or
two runs measured it. Rows are preferred in this order: successful, timed, coded here (not from a
pack), latest. Rows measured here and bundled rows are two origins.

A metric's value belongs to two pictures and a protocol. The decoded picture is identified by the
sha256 of its pixels, or by its stream and the build that decodes it: between processors such
pictures differ at most by rounding (`bench audit rows`, docs/experiments/processors.md). Rows of
the same pictures share value, protocol and reason of a metric, preferably of the current protocol;
they also share features (`features_of` names the pixels, if not the row's own), but nothing else.

A build is one program, library or weight file (`fingerprint`) and one revision of its adapter
(`revision`). Tables have columns of `rows.schema`; empty columns may be absent. Strings may be
categories, and digests may be numbers (`Store.means_table`).
"""

import polars as pl
from polars import col

from benchmark.registry import FEATURE_SPACES, METRICS, metric_class
from benchmark.rows.schema import metric_columns, user_columns

VARIANT, BUILD = ("codec", "variant"), ("fingerprint", "revision")
OK, BUNDLED = col("status") == "ok", col("bundled").fill_null(False)
IMAGE = pl.coalesce("image_sha256", "image")


def merge_versions(table: pl.DataFrame, features: bool = False) -> pl.DataFrame:
    """Merge all versions of cells into one row per cell and origin, in no fixed order.

    features: also share features between different pixels of a picture; only for tables in memory.
    """
    keys = _keys_of_pictures(table)
    is_duplicated = pl.any_horizontal(pl.all().is_not_null() & pl.all().is_duplicated())
    is_shared = keys.select(is_duplicated).to_series() | table["cell"].is_duplicated()
    if not is_shared.any():
        return table
    rows = pl.concat([table.filter(is_shared), keys.filter(is_shared)], how="horizontal")
    rows = rows.with_columns(picture=_number_pictures(rows)).sort(_sort_keys(), maintain_order=True)
    rows = _share_values(rows, features)
    is_attested = (
        col("attested").fill_null(False).any().over("cell", "stream_sha256", "decoded_sha256")
    )
    rows = rows.with_columns(attested=pl.when(is_attested).then(True).otherwise("attested"))
    best_rows = rows.filter(pl.struct("cell", BUNDLED).is_first_distinct())
    return pl.concat([table.filter(~is_shared), best_rows.select(table.columns)])


def prefer_own_rows(table: pl.DataFrame) -> pl.DataFrame:
    """Remove bundled rows of cells that were also measured here."""
    own_cells = table.filter(~BUNDLED)["cell"].drop_nulls()
    is_duplicate = table.select(
        BUNDLED & col("cell").is_in(own_cells.implode()).fill_null(False)
    ).to_series()
    return table.filter(~is_duplicate) if is_duplicate.any() else table


def _sort_keys() -> list[pl.Expr]:
    age_rank = col("finished_utc").fill_null("").rank("dense", descending=True)
    timed, recorded = (col(name).fill_null(False) for name in ("timing", "recorded"))
    return [BUNDLED, ~OK, ~timed, recorded, age_rank]


def _keys_of_pictures(table: pl.DataFrame) -> pl.DataFrame:
    """Return two keys of each decoded picture, `stream` and `pixels`; null: unknown."""
    key_columns = {"stream": ("stream_sha256", *BUILD), "pixels": ("decoded_sha256",)}
    is_known = {
        name: OK & pl.all_horizontal(col("image_sha256", columns[0]).is_not_null())
        for name, columns in key_columns.items()
    }
    return table.select(
        pl.when(is_known[name]).then(pl.struct("image_sha256", *columns).hash()).alias(name)
        for name, columns in key_columns.items()
    )


def _share_values(rows: pl.DataFrame, features: bool) -> pl.DataFrame:
    ranks = [_rank_values(*metric).alias(metric[0]) for metric in _metric_protocols(rows)]
    differs = pl.any_horizontal(
        col(metric).max() > col(metric).min() for metric, _ in _metric_protocols(rows)
    )
    pictures = rows.select("picture", *ranks).group_by("picture").agg(is_incomplete=differs)
    is_affected = rows["picture"].is_in(pictures.filter("is_incomplete")["picture"].implode())
    if not is_affected.any():
        return rows
    rows = rows.with_row_index("position")
    affected_rows = rows.filter(is_affected)
    affected_rows = affected_rows.with_columns(**_filled_columns(affected_rows))
    affected_rows = _share_features(affected_rows) if features else affected_rows
    all_rows = pl.concat([rows.filter(~is_affected), affected_rows.select(rows.columns)])
    return all_rows.sort("position").drop("position")


def _number_pictures(rows: pl.DataFrame) -> pl.Series:
    """Number decoded pictures: rows with equal `stream` or `pixels` have the same number."""
    rows = rows.select("stream", "pixels", picture=pl.int_range(pl.len()))
    while True:
        previous = rows["picture"]
        for name in ("stream", "pixels"):
            lowest_number = col("picture").min().over(name)
            picture = pl.when(col(name).is_null()).then("picture").otherwise(lowest_number)
            rows = rows.with_columns(picture=picture)
        if previous.equals(rows["picture"]):
            return previous


def _filled_columns(rows: pl.DataFrame) -> dict[str, pl.Expr]:
    """Return columns with the best value of each picture (metrics) or pixels (features)."""
    columns = {}
    for column, protocol in _metric_protocols(rows):
        group = "picture" if column not in _feature_counts() else "pixels"
        rank = _rank_values(column, protocol)
        is_filled = (rank.max().over(group) > rank) & col(group).is_not_null()
        for name in metric_columns(column):
            best_value = col(name).get(rank.arg_max()).over(group)
            columns[name] = pl.when(is_filled).then(best_value).otherwise(name)
    return columns


def _share_features(rows: pl.DataFrame) -> pl.DataFrame:
    counts = [value for value, _ in _metric_protocols(rows) if value in _feature_counts()]
    if not counts:
        return rows
    has_features = pl.any_horizontal(col(counts).is_not_null())
    is_filled = ~has_features & has_features.any().over("picture")
    names = [name for count in counts for name in metric_columns(count)]
    rows = rows.with_columns(features_of=pl.coalesce("features_of", "decoded_sha256"))
    shared_values = {
        name: col(name).get(has_features.arg_max()).over("picture")
        for name in (*names, "features_of")
    }
    return rows.with_columns(
        **{
            name: pl.when(is_filled).then(value).otherwise(name)
            for name, value in shared_values.items()
        }
    )


def _feature_counts() -> set[str]:
    return {metric_class(name).column for name in FEATURE_SPACES}


def _metric_protocols(rows: pl.DataFrame) -> list[tuple[str, str | None]]:
    """Return the columns and current protocols (None: any) of metrics and features."""
    classes = [metric_class(name) for name in (*METRICS, *FEATURE_SPACES)]
    protocols: list[tuple[str, str | None]] = [
        (metric.column, metric.protocol) for metric in classes if metric.column in rows.columns
    ]
    return protocols + [(column, None) for column in user_columns(rows.columns)]


def _rank_values(column: str, current_protocol: str | None) -> pl.Expr:
    """Return 2 for a value of the current protocol (None: any) and 1 for another value."""
    protocol = col(metric_columns(column)[1])
    is_current = (
        protocol.is_not_null()
        if current_protocol is None
        else protocol.eq_missing(pl.lit(current_protocol))
    )
    return 2 * is_current.cast(pl.Int8) + col(column).is_not_null().cast(pl.Int8)
