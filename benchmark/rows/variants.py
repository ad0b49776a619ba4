"""Rows that an experiment shows: of codecs measured here or named, of an anchor, of bundled ones.

Rows of a dataset were measured here, by the user's runs, or are bundled with the project. What is
bundled is shown where a command names it, as the anchor, or where nothing was measured here yet.
Rows outlive photographs: those of photographs that the dataset no longer has count.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import polars as pl
from polars import col

from benchmark.datasets.dataset import ImageFile, Source, probe
from benchmark.errors import BenchError, UnknownName, UsageError
from benchmark.facts import needs_options
from benchmark.registry import ALIASES, CODECS, DATASETS, names_file
from benchmark.rows.shard import alike
from benchmark.rows.store import Store, stores_below
from benchmark.rows.systems import find_label, known_names, label_of
from benchmark.rows.versions import BUNDLED, IMAGE, VARIANT
from benchmark.spec import (
    CodecSpec,
    named_in,
    names_code,
    parse_codec,
    plain_codec,
    resolve,
    without_seed,
)
from benchmark.system.machine import cores

Pair = tuple[str, str]  # codec and variant, as rows have them


class Anchor(NamedTuple):
    """The codec variant that BD-rates are against."""

    label: str
    why: str = ""  # why it is neither VTM nor the one that was named: a phrase
    refused: BenchError | None = None  # why the one that was named is not taken


NO_ANCHOR = Anchor("")


def divided(
    table: pl.DataFrame, codecs: str = "all", bundled: str = ""
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide the rows of a dataset into those that are shown and others, an anchor's among them.

    table: with the columns codec, variant and bundled at least. codecs: comma-separated names (see
    `named_variants`), or "all" that were measured here, or all where nothing was. bundled: names of
    bundled codecs to add, whose rows from here are left out, or "all". Which edition of a variant
    is shown is a question apart (`rows.comparable`). Raises `UnknownName` for a codec without rows.
    """
    pairs = pairs_of(table)
    measured = pairs_of(table.filter(~BUNDLED))
    asked, more = named_in(codecs), named_in(bundled) if bundled else []
    kept = named_variants(asked, pairs, measured) if asked else measured or pairs
    added = named_variants(more, pairs)
    both = added & pairs_of(table.filter(BUNDLED))
    kept = pairs if bundled and not more else (kept | added) - both
    marks = table.select(shown=are_of(kept) | (are_of(both) & BUNDLED)).to_series()
    return table.filter(marks), table.filter(~marks)


def every_variant(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Return rows with those of all other variants and builds of their codecs."""
    same = col("codec").is_in(rows["codec"].unique().implode())
    return pl.concat([rows, others.filter(same)])


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
    rows, others = alike([rows, others])  # of a user's metric that only this run computed
    of = others.filter(BUNDLED)
    pairs = pairs_of(of)
    asked = named_in(bundled)
    more = are_of((named_variants(asked, pairs) if asked else pairs) if bundled else ())
    every = pl.concat([rows, of.filter(more)])
    return every, others.filter(~(BUNDLED & more))


def require_label(named: str, specs: Iterable[CodecSpec], table: pl.DataFrame) -> None:
    """Raise `UnknownName` where neither the codec variants nor rows have what is named."""
    pairs = {*((of.name, of.identity.variant) for of in specs), *pairs_of(table)}
    find_label(named, [label_of(*pair) for pair in sorted(pairs)])


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
    if exact := {pair for pair in pairs if CodecSpec.of(*pair).text in spellings - {name}}:
        return exact  # the file that is meant, of those that another folder's shares its label with
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


def measured_place(results: Path, dataset: str) -> str:
    """Return the folder of images that rows of this name were measured on, if it is still there.

    A name that is a dataset's or a folder's stays, as does one without rows or such a folder.
    """
    if dataset in DATASETS or Path(dataset).exists() or dataset not in stores_below(results):
        return dataset
    store = Store(results / dataset)
    names = store.means_table()["image"].unique().to_list()
    return next((str(path) for path in _recorded_folders(store, names)), dataset)


def required_place(results: Path, dataset: str) -> str:
    """Return `measured_place`; raise `UsageError` for rows of images that no name leads to."""
    place = measured_place(results, dataset)
    known = place != dataset or dataset in DATASETS or Path(dataset).exists()
    if not known and dataset in stores_below(results):
        remedy = "say where its images are with --dataset"
        raise UsageError(f"{dataset} is no dataset by name: {remedy}")
    return place


def pixels_of(files: Sequence[ImageFile]) -> set[str]:
    """Return the sha256 of the pixels of images, of those with transparency as --flatten has it."""
    plain = probe(files, flatten=False, threads=cores())
    rest = [file for file, of in zip(files, plain, strict=True) if not isinstance(of, Source)]
    sources = [*plain, *probe(rest, flatten=True, threads=cores())]
    return {source.sha256 for source in sources if isinstance(source, Source)}


def _recorded_folders(store: Store, names: Collection[str]) -> Iterable[Path]:
    """Yield the folders that runs were of and that hold at least half of the named images.

    A stranger's record may name any folder: it is walked only if it has the rows' files.
    """
    for path in dict.fromkeys(map(_recorded, reversed(store.records()))):
        if path and 2 * sum(_is_below(path, name) for name in names) >= len(names):
            yield path


def _recorded(record: Mapping[str, Any]) -> Path | None:
    """Return the folder of images that a run was of, if its record names one that is here."""
    request = record.get("request")
    place = request.get("dataset") if isinstance(request, dict) else None
    if not isinstance(place, str) or place in DATASETS or names_file(place):
        return None
    with suppress(OSError, ValueError):  # too long a name, or one with a null character
        return Path(place) if Path(place).is_dir() else None
    return None


def _is_below(folder: Path, name: str) -> bool:
    inside = PurePosixPath(name)
    with suppress(OSError, ValueError):
        return not inside.is_absolute() and ".." not in inside.parts and (folder / name).is_file()
    return False
