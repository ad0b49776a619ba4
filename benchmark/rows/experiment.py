"""Rows that an experiment shows: of codecs measured here or named, of an anchor, of bundled ones.

Rows of a dataset were measured here, by the user's runs, or are bundled with the project. What is
bundled is shown where a command names it, as the anchor, or where nothing was measured here yet.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.errors import BenchError, UnknownName
from benchmark.facts import needs_options
from benchmark.registry import ALIASES, CODECS
from benchmark.rows.shard import alike
from benchmark.rows.systems import find_label, known_names, label_of
from benchmark.rows.valid import BUNDLED, IMAGE, VARIANT
from benchmark.spec import (
    CodecSpec,
    names_code,
    parse_codec,
    plain_codec,
    resolve,
    split_codecs,
    without_seed,
)

Pair = tuple[str, str]  # codec and variant, as rows have them


class Experiment(NamedTuple):
    """Rows of a dataset, divided into those that are shown and others of the same images."""

    rows: pl.DataFrame
    others: pl.DataFrame  # of which an anchor may be taken
    only_bundled: bool  # none of the rows that are shown was measured here

    def every_variant(self) -> pl.DataFrame:
        """Return the rows with those of all other variants and builds of their codecs."""
        same = col("codec").is_in(self.rows["codec"].unique().implode())
        return pl.concat([self.rows, self.others.filter(same)])


class Anchor(NamedTuple):
    """The codec variant that BD-rates are against."""

    label: str
    why: str = ""  # why it is not VTM, where none was named: a phrase


NO_ANCHOR = Anchor("")


def experiment_of(table: pl.DataFrame, codecs: str = "all", bundled: str = "") -> Experiment:
    """Divide the rows of a dataset (columns codec, variant, cell, image and bundled at least).

    codecs: comma-separated names (see `named_variants`), or "all" that were measured here. bundled:
    names of bundled codecs to add, or "all". Of a codec variant that was measured here, bundled
    rows are shown for the cells measured here alone; of others, for the images measured here.
    Raises `UnknownName` for a codec without rows.
    """
    pairs = pairs_of(table)
    measured = pairs_of(table.filter(~BUNDLED))
    asked, more = named_in(codecs), named_in(bundled) if bundled else None
    kept = named_variants(asked, pairs, measured) if asked else measured or pairs
    own = kept & measured
    whole = kept - own
    if more is not None:
        whole |= named_variants(more, pairs) if more else pairs
    here = table.filter(~BUNDLED & are_of(own))
    cells, images = here["cell"].drop_nulls(), here.select(IMAGE).to_series().unique()
    shown = are_of(own) & (~BUNDLED | col("cell").is_in(cells.implode()).fill_null(False))
    same = IMAGE.is_in(images.implode()) if here.height else pl.lit(True)
    marks = table.select(shown=shown | (are_of(whole) & same), same=same)
    others = table.filter(marks["same"] & ~marks["shown"])
    rows = table.filter(marks["shown"])
    return Experiment(rows, others, rows.filter(~BUNDLED).height == 0)


def others_of(rows: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a table that are of other codec variants, and of the same images."""
    images = rows.select(IMAGE).to_series().unique().implode()
    return table.filter(IMAGE.is_in(images) & ~are_of(pairs_of(rows)))


def pairs_of(table: pl.DataFrame) -> set[Pair]:
    """Return the codec variants of rows."""
    return {*table.select(VARIANT).unique().rows()}


def are_of(pairs: Collection[Pair]) -> pl.Expr:
    """Mark the rows of these codec variants."""
    marks = ((col("codec") == codec) & (col("variant") == variant) for codec, variant in pairs)
    return pl.any_horizontal(pl.lit(False), *marks).fill_null(False)


def with_bundled(
    rows: pl.DataFrame, others: pl.DataFrame, bundled: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return rows with those of bundled codecs, names or "all", taken from others, and the rest."""
    of = others.filter(BUNDLED)
    pairs = pairs_of(of)
    asked = named_in(bundled)
    more = are_of((named_variants(asked, pairs) if asked else pairs) if bundled else ())
    every = pl.concat(alike([rows, of.filter(more)]))
    return every, others.filter(~(BUNDLED & more))


def require_label(named: str, specs: Iterable[CodecSpec], table: pl.DataFrame) -> None:
    """Raise `UnknownName` where neither the codec variants nor rows have what is named."""
    pairs = {*((of.name, of.identity.variant) for of in specs), *pairs_of(table)}
    find_label(named, [label_of(*pair) for pair in sorted(pairs)])


def named_in(codecs: str) -> list[str]:
    """Return the codecs that were asked for; none for "all"."""
    names = split_codecs(codecs)
    return [] if "all" in names else names


def named_variants(
    names: Iterable[str], pairs: Collection[Pair], measured: Collection[Pair] = ()
) -> set[Pair]:
    """Return the codec variants, among those of rows, that names as `--codecs` has them mean.

    A name means the variants that `bench run` measures of it, of drawings all seeds; where rows
    have none of these, all variants of the codec. A label or a whole spec means the one variant.
    measured: variants that come first. Raises `UnknownName` for a name without rows.

    >>> sorted(named_variants(["jpeg", "vtm"], [("jpeg", ""), ("jpeg", "optimize=1"), ("vtm", "")]))
    [('jpeg', ''), ('vtm', '')]
    >>> named_variants(["jpeg"], [("jpeg", "optimize=1")])
    {('jpeg', 'optimize=1')}
    """
    result: set[Pair] = set()
    for name in dict.fromkeys(names):
        variants = _variants(name, measured) or _variants(name, pairs)
        if not variants:
            raise UnknownName("codec with results", name, known_names(sorted(pairs)))
        result |= variants
    return result


def _variants(name: str, pairs: Collection[Pair]) -> set[Pair]:
    usual, spellings = usual_variants(name), {name, plain_codec(name)}
    named, of_codec = set[Pair](), set[Pair]()
    for codec, variant in pairs:
        label, text = label_of(codec, variant), CodecSpec.of(codec, variant).text
        if (codec, without_seed(variant)) in usual or {label, text} & spellings:
            named.add((codec, variant))
        if {codec, label.partition(":")[0]} & spellings:
            of_codec.add((codec, variant))
    if named or of_codec:
        return named or of_codec
    with suppress(BenchError):
        spec = parse_codec(plain_codec(name))
        if names_code(spec):  # of a file that was moved
            return {pair for pair in pairs if label_of(*pair) == spec.label}
    return set()


def usual_variants(name: str) -> set[Pair]:
    """Return the codec variants that `bench run` measures of a name.

    None where it is no codec's, names code, which is not loaded for it, or needs options.

    >>> sorted(usual_variants("ours")), usual_variants("./mine.py:Mine"), usual_variants("folder")
    ([('ours', 'beta=0'), ('ours', 'beta=3.84')], set(), set())
    """
    if name in CODECS and needs_options(name):
        return set()
    with suppress(BenchError):
        spec = parse_codec(name)
        if name in ALIASES or not names_code(spec):
            return {(of.name, of.identity.variant) for of in resolve(spec)}
    return set()
