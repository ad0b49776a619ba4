"""Rows that an experiment shows: rows measured here or named, an anchor's, and bundled rows.

Bundled rows are shown if a command names them, as the anchor, or if nothing was measured here.
Rows of photographs that were removed from the dataset still count.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.errors import BenchError
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.names import find_editions
from benchmark.rows.shard import align_columns
from benchmark.rows.versions import BUNDLED, IMAGE, VARIANT
from benchmark.spec import CodecSpec, requested_names


class Anchor(NamedTuple):
    """Codec variant with which BD-rates compare."""

    spec: CodecSpec | None  # None if no rows have an anchor
    why: str = ""  # why the anchor is neither VTM nor the named codec
    error: BenchError | None = None  # why the named codec is not used

    @property
    def label(self) -> str:
        """Name of the codec variant in csv and JSON; "" without a variant."""
        return label_of(self.spec) if self.spec else ""


NO_ANCHOR = Anchor(None)
EDITION_COLUMNS = ("codec", "variant", "fingerprint", "revision", "codec_version")


def divide_rows(
    table: pl.DataFrame, codecs: str = "all", bundled: str = ""
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a dataset's rows into shown rows and other rows, which may include an anchor's.

    codecs: comma-separated names (see `rows.names`); "all": those measured here, or all if none.
    bundled: names of codecs whose bundled rows to show instead of your rows, or "all". Raises
    `UnknownName` for a codec without rows.
    """
    editions = editions_in(table)
    local_editions = [edition for edition in editions if not edition.bundled]
    codec_names, bundled_names = (
        requested_names(codecs),
        requested_names(bundled) if bundled else [],
    )
    if bundled and not bundled_names:
        variants = variants_of(editions)
    elif codec_names:
        variants = variants_of(find_editions(codec_names, editions, local_editions))
    else:
        variants = variants_of(local_editions) or variants_of(editions)
    added_variants = variants_of(find_editions(bundled_names, editions))
    bundled_specs = added_variants & variants_of(edition for edition in editions if edition.bundled)
    is_chosen = has_variant((variants | added_variants) - bundled_specs) | (
        has_variant(bundled_specs) & BUNDLED
    )
    is_shown = table.select(shown=is_chosen).to_series()
    return table.filter(is_shown), table.filter(~is_shown)


def add_variants(rows: pl.DataFrame, other_rows: pl.DataFrame) -> pl.DataFrame:
    """Add the rows of all other variants and builds of the same codecs."""
    same_codec = col("codec").is_in(rows["codec"].unique().implode())
    return pl.concat([rows, other_rows.filter(same_codec)])


def rows_of_other_variants(rows: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a table with other codec variants and the same images."""
    images = rows.select(IMAGE).to_series().unique().implode()
    return table.filter(IMAGE.is_in(images) & ~has_variant(specs_of(rows)))


def specs_of(table: pl.DataFrame) -> set[CodecSpec]:
    """Return the codec variants of rows."""
    return {CodecSpec.parse(*pair) for pair in table.select(VARIANT).unique().rows()}


def editions_in(table: pl.DataFrame) -> list[Edition]:
    """Return the editions of rows, with the facts that `names.find_editions` needs."""
    columns = [name for name in EDITION_COLUMNS if name in table.columns]
    rows = table.select(*columns, bundled=BUNDLED).unique().cast({pl.Categorical: pl.String})
    return sorted(map(Edition.parse_row, rows.rows(named=True)), key=lambda edition: edition.spec)


def variants_of(editions: Iterable[Edition]) -> set[CodecSpec]:
    """Return the codec variants of editions."""
    return {edition.spec for edition in editions}


def has_variant(specs: Collection[CodecSpec]) -> pl.Expr:
    """Mark the rows of these codec variants."""
    marks = ((col("codec") == spec.name) & (col("variant") == spec.variant) for spec in specs)
    return pl.any_horizontal(pl.lit(False), *marks).fill_null(False)


def add_bundled(
    rows: pl.DataFrame, other_rows: pl.DataFrame, bundled: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Move the bundled rows of codecs (names or "all") from `other_rows` to `rows`."""
    # Include the columns of a user's metric that only this run computed
    rows, other_rows = align_columns([rows, other_rows])
    if not bundled:
        return rows, other_rows
    editions = editions_in(other_rows.filter(BUNDLED))
    codec_names = requested_names(bundled)
    added_variants = variants_of(find_editions(codec_names, editions) if codec_names else editions)
    is_added = other_rows.select(added=BUNDLED & has_variant(added_variants)).to_series()
    return pl.concat([rows, other_rows.filter(is_added)]), other_rows.filter(~is_added)
