"""Rows that an experiment shows: of codecs measured here or named, of an anchor, of bundled ones.

Rows of a dataset were measured here, by the user's runs, or are bundled with the project. What is
bundled is shown where a command names it, as the anchor, or where nothing was measured here yet.
Rows outlive photographs: those of photographs that the dataset no longer has count.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.errors import BenchError
from benchmark.rows.edition import Edition, label_of
from benchmark.rows.names import find_editions
from benchmark.rows.shard import alike
from benchmark.rows.versions import BUNDLED, IMAGE, VARIANT
from benchmark.spec import CodecSpec, named_in


class Anchor(NamedTuple):
    """The codec variant that BD-rates are against."""

    spec: CodecSpec | None  # None: no rows have one
    why: str = ""  # why it is neither VTM nor the one that was named: a phrase
    refused: BenchError | None = None  # why the one that was named is not taken

    @property
    def label(self) -> str:
        """Name of the codec variant in csv and JSON; empty for none."""
        return label_of(self.spec) if self.spec else ""


NO_ANCHOR = Anchor(None)
EDITION_COLUMNS = ("codec", "variant", "fingerprint", "revision", "codec_version")


def divided(
    table: pl.DataFrame, codecs: str = "all", bundled: str = ""
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide the rows of a dataset into those that are shown and others, an anchor's among them.

    table: with the columns codec, variant and bundled at least. codecs: comma-separated names (see
    `rows.names`), or "all" that were measured here, or all where nothing was. bundled: names of
    bundled codecs to add, whose rows from here are left out, or "all". Which edition of a variant
    is shown is a question apart (`rows.comparable`). Raises `UnknownName` for a codec without rows.
    """
    editions = editions_in(table)
    measured_here = [edition for edition in editions if not edition.bundled]
    codec_names, bundled_names = named_in(codecs), named_in(bundled) if bundled else []
    if bundled and not bundled_names:
        chosen = variants_of(editions)
    elif codec_names:
        chosen = variants_of(find_editions(codec_names, editions, measured_here))
    else:
        chosen = variants_of(measured_here) or variants_of(editions)
    added = variants_of(find_editions(bundled_names, editions))
    only_bundled = added & variants_of(edition for edition in editions if edition.bundled)
    is_chosen = are_of((chosen | added) - only_bundled) | (are_of(only_bundled) & BUNDLED)
    marks = table.select(shown=is_chosen).to_series()
    return table.filter(marks), table.filter(~marks)


def every_variant(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Return rows with those of all other variants and builds of their codecs."""
    same = col("codec").is_in(rows["codec"].unique().implode())
    return pl.concat([rows, others.filter(same)])


def others_of(rows: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a table that are of other codec variants, and of the same images."""
    images = rows.select(IMAGE).to_series().unique().implode()
    return table.filter(IMAGE.is_in(images) & ~are_of(specs_of(rows)))


def specs_of(table: pl.DataFrame) -> set[CodecSpec]:
    """Return the codec variants of rows."""
    return {CodecSpec.of(*pair) for pair in table.select(VARIANT).unique().rows()}


def editions_in(table: pl.DataFrame) -> list[Edition]:
    """Return the editions of rows, with what their names follow from: `names.find_editions`."""
    columns = [name for name in EDITION_COLUMNS if name in table.columns]
    rows = table.select(*columns, bundled=BUNDLED).unique().cast({pl.Categorical: pl.String})
    return sorted(map(Edition.of_row, rows.rows(named=True)), key=lambda edition: edition.spec)


def variants_of(editions: Iterable[Edition]) -> set[CodecSpec]:
    """Return the codec variants of editions."""
    return {edition.spec for edition in editions}


def are_of(specs: Collection[CodecSpec]) -> pl.Expr:
    """Mark the rows of these codec variants."""
    marks = ((col("codec") == spec.name) & (col("variant") == spec.variant) for spec in specs)
    return pl.any_horizontal(pl.lit(False), *marks).fill_null(False)


def with_bundled(
    rows: pl.DataFrame, others: pl.DataFrame, bundled: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Move the bundled rows of these codecs, names or "all", from `others` to `rows`."""
    rows, others = alike([rows, others])  # of a user's metric that only this run computed
    if not bundled:
        return rows, others
    editions = editions_in(others.filter(BUNDLED))
    codec_names = named_in(bundled)
    added = variants_of(find_editions(codec_names, editions) if codec_names else editions)
    marks = others.select(added=BUNDLED & are_of(added)).to_series()
    return pl.concat([rows, others.filter(marks)]), others.filter(~marks)
