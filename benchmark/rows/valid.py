"""Versions of rows: which is valid for a cell, and which builds are one.

A cell has several rows when a failed one was tried again, a finished one was timed or rescored, or
two runs measured it. The best one is valid: measured or imported here rather than bundled, then
without failure, then timed, then coded here rather than bundled, then later. Each metric is
taken from the best of the versions that agree or have the same stream and have it under its present
protocol, value, protocol and reason together; counts of features, of the same pixels too. Two rows
agree if both failed, or if their streams have equal length and their pixels are equal or differ by
rounding, as PSNR says. Between processors PSNR was measured to differ by up to 4.6e-5 dB at equal
streams and by 1.3e-4 dB where a symbol differs (docs/experiments/processors.md). A cell has two
rows, one of them bundled, if any cell of the same codec and build came out otherwise here: failed,
or with a row that does not agree.

A build is one program, library or weight file (`fingerprint`) and one revision of its adapter
(`revision`). Bundled rows are of the build that they name, unless a cell that was measured here too
came out otherwise. Builds whose rows are equal in the cells that both have are one.

Tables have columns of `rows.schema`; those without any value may be absent where nothing else is
said, texts may be categories, and digests numbers (`Store.means_table`).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from polars import col

from benchmark.registry import FEATURE_SPACES, METRICS, metric_named
from benchmark.rows.schema import metric_columns, own_columns

# The largest differences in PSNR of rows that agree, with equal streams and without.
ROUNDING_DB, SYMBOL_DB = 1e-4, 1e-3
VARIANT, BUILD = ("codec", "variant"), ("fingerprint", "revision")
CODEC_BUILD = ("codec", *BUILD)
PLACE = (*VARIANT, "setting_name", "setting_value")
COMPARED = ("status", "num_bytes", "decoded_sha256", "psnr_db", "psnr_db_protocol")
OK, BUNDLED = col("status") == "ok", col("bundled").fill_null(False)
IMAGE = pl.coalesce("image_sha256", "image")
BUILD_NAME = pl.concat_str(col(BUILD).cast(pl.String).fill_null(""), separator=" ")
TEXTS = ("codec", "variant", "setting_name", "fingerprint")

Other = Callable[[str], pl.Expr]  # the column of this name of other rows


def valid_rows(table: pl.DataFrame) -> pl.DataFrame:
    """Return one row per cell, or two (see the module), with what others know of the same stream.

    `table` has every version of every cell, own and bundled, and all columns that are read here.
    """
    return with_equal_builds(share_values(merge_versions(table, borrow=True)))


def merge_versions(table: pl.DataFrame, borrow: bool = False) -> pl.DataFrame:
    """Return one row per cell, or two (see the module); single rows come first, as they are.

    borrow: take features too of rows that agree, whose pixels the column `features_of` then has.
    """
    repeated = table["cell"].is_duplicated()
    if not repeated.any():
        return table
    valid = _merged(table.filter(repeated), borrow)
    return pl.concat([table.filter(~repeated), valid.select(table.columns)])


def share_values(table: pl.DataFrame) -> pl.DataFrame:
    """Fill in metrics that other builds of a codec variant have of the same stream.

    The rows have to agree (see the module); of features, their pixels have to be equal. `table` has
    the rows that `merge_versions` returns.
    """
    if not _several_builds(table):
        return table
    known = pl.all_horizontal(col("image_sha256", "stream_sha256", "decoded_sha256").is_not_null())
    key = pl.struct(*VARIANT, "image_sha256", "stream_sha256").hash()
    content = table.select(content=pl.when(known).then(key)).to_series()
    shared = content.is_not_null() & content.is_duplicated()
    if not shared.any():
        return table
    some = table.filter(shared).with_columns(content.filter(shared))
    alike = agrees(_firsts(some, "content")[1])
    some = some.with_columns(others=pl.when(~alike).then("decoded_sha256")).reverse()
    group = ("content", "others")  # the last of equal ones gives
    filled = _with_values(some, group, (*group, "decoded_sha256"))
    filled = _with_features(filled, some, group)
    return pl.concat([table.filter(~shared), filled.reverse().select(table.columns)])


def with_equal_builds(table: pl.DataFrame) -> pl.DataFrame:
    """Name one of several equal builds in the column `build` of their rows.

    Equal are builds of a codec that share cells if all the streams there are equal, byte for byte,
    and the rows agree; bundled rows that differ from the same build here equal no other.
    """
    if not _several_builds(table):
        return table
    builds = table.select(CODEC_BUILD).unique()
    builds = builds.with_columns(builds.select(number=rank_of(CODEC_BUILD)))
    rows = table.join(builds, on=CODEC_BUILD, how="left", nulls_equal=True, maintain_order="left")
    place = pl.struct(*PLACE, "coding_protocol", IMAGE).hash()
    some = rows.select("number", "stream_sha256", *COMPARED, place=place)
    some = some.filter(col("stream_sha256").is_not_null() & OK & ~apart_rows(rows))
    some = some.sort("place", "number", maintain_order=True)

    def before(name: str) -> pl.Expr:
        return col(name).shift(1)

    equal = (col("stream_sha256") == before("stream_sha256")) & agrees(before)
    pair = (col("place") == before("place")) & (before("number") != col("number"))
    pairs = some.select("number", other=before("number"), equal=equal, pair=pair).filter("pair")
    equal_ones = pairs.group_by("other", "number").agg(col("equal").all()).filter("equal")
    lowest = {number: number for number in builds["number"]}
    for pair_of in equal_ones.select("other", "number").sort("other", "number").rows():
        low, high = sorted(lowest[number] for number in pair_of)
        lowest |= {number: low for number, of in lowest.items() if of == high}
    counts = Counter(lowest.values())
    names = dict(builds.select("number", BUILD_NAME).rows())
    build = {number: names[of] for number, of in lowest.items() if counts[of] > 1}
    named = col("number").replace_strict(build, default=None, return_dtype=pl.String)
    return rows.with_columns(build=named).drop("number")


def agrees(other: Other) -> pl.Expr:
    """Mark the rows that agree with others, of one cell each."""
    limit = pl.when(col("stream_sha256").eq_missing(other("stream_sha256"))).then(ROUNDING_DB)
    near = psnr_differences(other) <= limit.otherwise(SYMBOL_DB)
    pixels = col("decoded_sha256").eq_missing(other("decoded_sha256"))
    rule = col("psnr_db_protocol").eq_missing(other("psnr_db_protocol"))
    size = col("num_bytes").eq_missing(other("num_bytes"))
    failed = (other("status") == "ok") == OK
    measured = OK & (other("status") == "ok")
    alike = size & (pixels | (rule & near.fill_null(False)))
    return pl.when(measured).then(alike).otherwise(failed)


def psnr_differences(other: Other) -> pl.Expr:
    """Return how much the PSNR of rows differs from that of others, dB; null where one has none."""
    # Of lossless images: infinite less infinite
    return (col("psnr_db") - other("psnr_db")).abs().fill_nan(None)


def agreeing(rows: pl.DataFrame, others: pl.DataFrame) -> pl.Series:
    """Mark the rows that agree with those of another table, one by one.

    Rows of equal pixels whose PSNR by one rule differs contradict each other.
    """

    def other(name: str) -> pl.Expr:
        return pl.lit(others[name])

    same = pl.all_horizontal(col(n) == other(n) for n in ("decoded_sha256", "psnr_db_protocol"))
    contradicted = same & (psnr_differences(other) > ROUNDING_DB)
    return rows.select(agrees(other) & ~contradicted.fill_null(False)).to_series()


def apart_rows(table: pl.DataFrame) -> pl.Series:
    """Mark the bundled rows of codecs and builds that came out otherwise here."""
    # `merge_versions` leaves two rows only where they differ.
    twice = table.filter(BUNDLED).join(table.filter(~BUNDLED), on="cell", how="semi")
    return _bundled_of(table, twice)


def one_per_cell(table: pl.DataFrame) -> pl.DataFrame:
    """Leave out bundled rows beside another row of their cell, which was measured here."""
    own = table.filter(~BUNDLED)["cell"].drop_nulls()
    beside = table.select(BUNDLED & col("cell").is_in(own.implode()).fill_null(False)).to_series()
    return table.filter(~beside) if beside.any() else table


def rank_of(names: Sequence[str]) -> pl.Expr:
    """Number rows from 1 on by their values, ordered as these (texts by letters), null last."""
    return pl.struct(
        part
        for name in names
        for part in (
            col(name).is_null().alias(f"{name}?"),
            col(name).cast(pl.String) if name in TEXTS else name,
        )
    ).rank("dense")


def _several_builds(table: pl.DataFrame) -> bool:
    kinds = table.select(*VARIANT, *BUILD).unique()
    return kinds.height > kinds.select(VARIANT).unique().height


def _bundled_of(table: pl.DataFrame, others: pl.DataFrame) -> pl.Series:
    """Mark the bundled rows of the builds of others."""
    builds = others.select(pl.struct(CODEC_BUILD).unique().implode()).to_series()
    return table.select(apart=BUNDLED & pl.struct(CODEC_BUILD).is_in(builds)).to_series()


def _merged(table: pl.DataFrame, borrow: bool) -> pl.DataFrame:
    """Return the valid rows, in the order in which their cells first appear."""
    late = col("finished_utc").fill_null("").rank("dense", descending=True)
    timed, recorded = (col(name).fill_null(False) for name in ("timing", "recorded"))
    rows = table.with_row_index("at")
    rows = rows.sort(BUNDLED, ~OK, ~timed, recorded, late, maintain_order=True)
    _, best = _firsts(rows, "cell")
    rows = rows.with_columns(alike=agrees(best), at=col("at").min().over("cell"))
    differing = rows.filter(BUNDLED & ~best("bundled").fill_null(False) & ~col("alike"))
    rows = rows.with_columns(_bundled_of(rows, differing))
    # Rows that agree with the best of their cell have what rows of its stream have.
    stream, pixels = (
        pl.when("alike").then(best(name)).otherwise(name)
        for name in ("stream_sha256", "decoded_sha256")
    )
    content = ("cell", "stream", "pixels")
    rows = rows.with_columns(stream=stream, pixels=pl.when(stream.is_null()).then(pixels))
    filled = _with_values(rows, content, (*content, "decoded_sha256"))
    filled = _with_features(filled, rows, content) if borrow else filled
    is_valid, valid = _firsts(filled, "cell", "apart")
    same = col("attested").fill_null(False)
    for name in ("stream_sha256", "decoded_sha256"):
        same &= col(name).eq_missing(valid(name))
    filled = filled.with_columns(same=same)
    attested = pl.when(col("same").any().over("cell", "apart")).then(True).otherwise("attested")
    filled = filled.with_columns(attested=attested).filter(is_valid)
    return filled.sort("at", maintain_order=True)


def _with_values(rows: pl.DataFrame, content: Sequence[str], pixels: Sequence[str]) -> pl.DataFrame:
    """Fill in each metric from the first of the rows that have most of it in a group.

    content, pixels: columns by which rows may give each other metrics, or features.
    """
    worths = {f"worth {value}": _worth(value, rule) for value, rule, _ in _metrics(rows)}
    valued = rows.select(*content, **worths)
    _, first = _firsts(valued, *content)
    differ = valued.select(pl.any_horizontal(col(n) != first(n) for n in worths)).to_series()
    if not differ.any():
        return rows
    key = rows.select(pl.struct(content).hash()).to_series()
    lacking = key.is_in(key.filter(differ).unique().implode())
    if not lacking.all():  # few groups have anything to fill in
        placed = rows.with_row_index("place")
        filled = _with_values(placed.filter(lacking), content, pixels)
        return pl.concat([placed.filter(~lacking), filled]).sort("place").drop("place")
    fill = {}
    for value, rule, is_metric in _metrics(rows):
        group, worth = content if is_metric else pixels, _worth(value, rule)
        better = OK & (worth.max().over(group) > worth)
        for name in metric_columns(value):
            giver = col(name).get(worth.arg_max()).over(group)
            fill[name] = pl.when(better).then(giver).otherwise(name)
    return rows.with_columns(**fill)


def _with_features(
    filled: pl.DataFrame, rows: pl.DataFrame, content: Sequence[str]
) -> pl.DataFrame:
    """Give `filled`, the same rows with their metrics, the features of others if it has none."""
    counts = [value for value, _, is_metric in _metrics(rows) if not is_metric]
    if not counts:
        return filled
    has = pl.any_horizontal(col(counts).is_not_null()).alias("has")
    gives = rows.select(has).to_series()
    lacks = filled.select(~has & OK).to_series()
    names = [name for count in counts for name in metric_columns(count)]
    own = rows.select(
        *content, *names, features_of=pl.coalesce("features_of", "decoded_sha256"), gives=gives
    )
    taken = own.select(
        col("gives").any().over(content).alias("any"),
        *(col(n).get(col("gives").arg_max()).over(content) for n in (*names, "features_of")),
    )
    takes = lacks & taken["any"]
    if not takes.any():
        return filled
    of = {n: pl.when(takes).then(taken[n]).otherwise(n) for n in (*names, "features_of")}
    return filled.with_columns(**of)


def _firsts(rows: pl.DataFrame, *group: str) -> tuple[pl.Series, Any]:
    """Mark the first row of each group; return a function that gives its values to all of it."""
    keyed = rows.select(key=pl.struct(group).hash()).with_row_index("row")
    first = keyed.select(col("row").first().over("key")).to_series()
    return first == keyed["row"], lambda name: pl.lit(rows[name].gather(first))


def _metrics(rows: pl.DataFrame) -> list[tuple[str, str | None, bool]]:
    """Return column, present protocol and whether it is a metric, of metrics and of features."""
    known = [(metric_named(n), n in METRICS) for n in (*METRICS, *FEATURE_SPACES)]
    of: list[tuple[str, str | None, bool]] = [
        (metric.column, metric.protocol, is_metric)
        for metric, is_metric in known
        if metric.column in rows.columns
    ]
    # Of a user's metric, whose file is not known here, any protocol is as good.
    return of + [(column, None, True) for column in own_columns(rows.columns)]


def _worth(value: str, present: str | None) -> pl.Expr:
    """Return 2 for a value's present protocol (None: any) and 1 for a value."""
    rule = col(metric_columns(value)[1])
    preferred = rule.is_not_null() if present is None else rule.eq_missing(pl.lit(present))
    return 2 * preferred.cast(pl.Int8) + col(value).is_not_null().cast(pl.Int8)
