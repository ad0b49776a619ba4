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
from benchmark.rows.edition import label_of, labels
from benchmark.rows.shard import alike
from benchmark.rows.store import Store, stores_below
from benchmark.rows.versions import BUNDLED, IMAGE, VARIANT
from benchmark.spec import (
    SEED,
    CodecSpec,
    named_in,
    names_code,
    parse_codec,
    plain_codec,
    resolve,
)
from benchmark.system.machine import cores


class Anchor(NamedTuple):
    """The codec variant that BD-rates are against."""

    spec: CodecSpec | None  # None: no rows have one
    why: str = ""  # why it is neither VTM nor the one that was named: a phrase
    refused: BenchError | None = None  # why the one that was named is not taken

    @property
    def label(self) -> str:
        """Its name in csv and JSON; empty for none."""
        return label_of(self.spec) if self.spec else ""


NO_ANCHOR = Anchor(None)


def divided(
    table: pl.DataFrame, codecs: str = "all", bundled: str = ""
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Divide the rows of a dataset into those that are shown and others, an anchor's among them.

    table: with the columns codec, variant and bundled at least. codecs: comma-separated names (see
    `named_specs`), or "all" that were measured here, or all where nothing was. bundled: names of
    bundled codecs to add, whose rows from here are left out, or "all". Which edition of a variant
    is shown is a question apart (`rows.comparable`). Raises `UnknownName` for a codec without rows.
    """
    specs = specs_of(table)
    measured = specs_of(table.filter(~BUNDLED))
    asked, more = named_in(codecs), named_in(bundled) if bundled else []
    kept = named_specs(asked, specs, measured) if asked else measured or specs
    added = named_specs(more, specs)
    both = added & specs_of(table.filter(BUNDLED))
    kept = specs if bundled and not more else (kept | added) - both
    marks = table.select(shown=are_of(kept) | (are_of(both) & BUNDLED)).to_series()
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


def are_of(specs: Collection[CodecSpec]) -> pl.Expr:
    """Mark the rows of these codec variants."""
    marks = ((col("codec") == of.name) & (col("variant") == of.variant) for of in specs)
    return pl.any_horizontal(pl.lit(False), *marks).fill_null(False)


def with_bundled(
    rows: pl.DataFrame, others: pl.DataFrame, bundled: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return rows with those of bundled codecs, names or "all", taken from others, and the rest."""
    rows, others = alike([rows, others])  # of a user's metric that only this run computed
    of = others.filter(BUNDLED)
    specs = specs_of(of)
    asked = named_in(bundled)
    more = are_of((named_specs(asked, specs) if asked else specs) if bundled else ())
    every = pl.concat([rows, of.filter(more)])
    return every, others.filter(~(BUNDLED & more))


def require_named(name: str, specs: Iterable[CodecSpec], table: pl.DataFrame) -> None:
    """Raise `UnknownName` where neither the codec variants nor rows have what is named."""
    the_one_named(name, {*(of.identity for of in specs), *specs_of(table)})


def named_specs(
    names: Iterable[str], specs: Collection[CodecSpec], measured: Collection[CodecSpec] = ()
) -> set[CodecSpec]:
    """Return the codec variants, among those given, that names mean: in every option the same.

    A name means the variants that `bench run` measures of it, of drawings all seeds; where there
    are none of these, all variants of the codec. A label or a whole spec means the one variant.
    measured: variants that come first. Raises `UnknownName` for a name that means none.

    >>> known = [parse_codec(text) for text in ("jpeg", "jpeg:optimize=1", "vtm")]
    >>> sorted(spec.text for spec in named_specs(["jpeg", "vtm"], known))
    ['jpeg', 'vtm']
    >>> [spec.text for spec in named_specs(["jpeg"], known[1:])]
    ['jpeg:optimize=1']
    """
    result: set[CodecSpec] = set()
    for name in dict.fromkeys(names):
        found = _named(name, measured) or _named(name, specs)
        if not found:
            raise UnknownName("codec with results", name, known_names(specs))
        result |= found
    return result


def is_meant(name: str, spec: CodecSpec) -> bool:
    """Return whether a name means a codec variant; that of its codec means every variant.

    >>> [is_meant(name, parse_codec("ours:effort=2:beta=0")) for name in ("ours", "ours:beta=0")]
    [True, False]
    """
    return bool(_named(name, [spec]))


def the_one_named(name: str, specs: Collection[CodecSpec]) -> CodecSpec:
    """Return the one codec variant that a name means; raise `UnknownName` for none or several.

    >>> the_one_named("jpeg", [parse_codec("jpeg:optimize=1"), parse_codec("vtm")]).text
    'jpeg:optimize=1'
    """
    with suppress(UnknownName):
        if len(found := named_specs([name], specs)) == 1:
            return found.pop()
    raise UnknownName("codec with results", name, labels(sorted(specs)).values())


def _named(name: str, specs: Collection[CodecSpec]) -> set[CodecSpec]:
    usual, spellings = usual_variants(name), {name, plain_codec(name)}
    if exact := {spec for spec in specs if spec.text in spellings - {name}}:
        return exact  # the file that is meant, of those that another folder's shares its label with
    texts = {spec: {label_of(spec), spec.text} for spec in specs}
    if one := {spec for spec in specs if texts[spec] & spellings or _without_seed(spec) in usual}:
        return one
    if of_codec := {spec for spec in specs if {spec.name, _alias(spec)} & spellings}:
        return of_codec
    with suppress(BenchError):
        asked = parse_codec(plain_codec(name))
        if names_code(asked):  # of a file that was moved
            return {spec for spec in specs if label_of(spec) == asked.label}
    return set()


def _alias(spec: CodecSpec) -> str:
    """Return the codec's name as the label of a variant begins."""
    return label_of(spec).partition(":")[0]


def _without_seed(spec: CodecSpec) -> CodecSpec:
    return spec.without([SEED])


def known_names(specs: Iterable[CodecSpec]) -> set[str]:
    """Return the names shown of codec variants after "Known:": their codecs and labels.

    The two are one for a Python file's codec whose label is its name without folders.

    >>> sorted(known_names([parse_codec("jpeg:optimize=1"), parse_codec("./mine.py:Mine")]))
    ['jpeg', 'jpeg:optimize=1', 'mine.py:Mine']
    """
    names = set()
    for spec in specs:
        label = label_of(spec)
        names |= {label} if spec.name.rpartition("/")[2] == label else {spec.name, label}
    return names


def usual_variants(name: str) -> set[CodecSpec]:
    """Return the codec variants that `bench run` measures of a name.

    None where it is no codec's, names code, which is not loaded for it, or needs options.

    >>> sorted(spec.text for spec in usual_variants("ours")), usual_variants("./mine.py:Mine")
    (['ours:beta=0', 'ours:beta=3.84'], set())
    >>> usual_variants("folder")
    set()
    """
    if name in CODECS and needs_options(name):
        return set()
    with suppress(BenchError):
        spec = parse_codec(name)
        if name in ALIASES or not names_code(spec):
            return {of.identity for of in resolve(spec)}
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
