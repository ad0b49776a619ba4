"""Pairs of codec variants of two row sets, over the same images and settings, by the same rules."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.codec import CODING, Setting
from benchmark.errors import BenchError, UnknownName
from benchmark.metrics.metric import protocols as present_protocols
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.edition import label_of
from benchmark.rows.means import summarise
from benchmark.rows.reduce import with_distribution_metrics
from benchmark.rows.schema import metric_columns
from benchmark.rows.stored import rows_of, settings_of, specs_in
from benchmark.rows.summary import Summary
from benchmark.rows.versions import IMAGE, OK
from benchmark.spec import CodecSpec
from benchmark.system.text import counted, listed

WEIGHTS = "checkpoint"  # option that says which weights a codec runs with, not what it is
OF_OTHER_WEIGHTS = "size"  # option of bundled weights that no checkpoint replaces
CELL = ("setting_name", "setting_value", IMAGE)


class NotComparable(BenchError):  # noqa: N818 - reads as what happened
    """Two row sets cannot be compared; the message says why."""


class RowSet(NamedTuple):
    """Rows of one dataset, and their name in sentences."""

    name: str  # "results/kodak"
    folder: Path  # of the store, for distribution metrics
    rows: pl.DataFrame  # all columns of `rows.schema`, one row per cell


class VariantPair(NamedTuple):
    """A codec variant and its counterpart in the reference, at the same images and settings."""

    label: str  # of the codec that is checked, without its weights
    reference: Summary
    test: Summary
    rows: pl.DataFrame  # of the codec that is checked, one per cell
    images: tuple[str, ...]  # names; image i of the summaries is images[i]
    # Images whose pixels and numbers of bytes are the same on both sides at every setting. Of them,
    # every metric of the pixels is the same, measured or not.
    equal: tuple[str, ...] = ()


def pair_up(
    reference: RowSet,
    test: RowSet,
    metrics: Sequence[str],
    codec: str = "",
    reference_codec: str = "",
    common: bool = False,
    allow_few: bool = False,
) -> tuple[list[VariantPair], tuple[str, ...]]:
    """Pair the codec variants that both row sets have, whatever their checkpoints.

    Sentences on what is left out come second. If each has a single variant, these are a pair in any
    case. metrics: names; values under other protocol ids on the two sides are refused. codec,
    reference_codec: name or label to keep of `test` and of `reference`; empty for all, and the
    second for the first. common: compare the images and settings that both sides have. allow_few:
    also compute distribution metrics of few images. Raises `NotComparable`, and `UnknownName` for a
    codec without rows.
    """
    references, tests = _variants(reference, reference_codec or codec), _variants(test, codec)
    matched = [(references.pop(key), tests.pop(key)) for key in [*tests] if key in references]
    if not matched and len(references) == len(tests) == 1:
        matched = [(references.popitem()[1], tests.popitem()[1])]
    if not matched:
        raise NotComparable(
            f"no codec in common: {reference.name} has {_labels(references)}, {test.name} has "
            f"{_labels(tests)}; say which with --codec and --reference-codec"
        )
    notes = tuple(
        f"{_labels(rest)} of {whole.name} has no counterpart in {other.name}"
        for rest, whole, other in ((references, reference, test), (tests, test, reference))
        if rest
    )
    return [_pair((reference, test), of, metrics, common, allow_few) for of in matched], notes


def without_weights(spec: CodecSpec) -> CodecSpec:
    """Return the spec without the option that names weights."""
    return spec.without([WEIGHTS])


def with_weights(spec: CodecSpec, weights: str) -> CodecSpec:
    """Return the spec with the option that names weights."""
    options = {**dict(spec.options), WEIGHTS: weights}
    return spec._replace(options=tuple(sorted(options.items())))


def differ(
    what: str, names: Sequence[str], both: Sequence[set[str]], hint: str = ""
) -> NotComparable:
    """Return the refusal of two row sets that have other images or settings, `both` by name."""
    only = [
        f"only {name} has {listed(sorted(mine - other))}"
        for name, mine, other in zip(names, both, reversed(both), strict=True)
        if mine - other
    ]
    if both[0] & both[1]:
        hint = "; --common compares what both have"
    return NotComparable(f"the {what} are not the same: {', '.join(only)}{hint}")


def _variants(rows: RowSet, codec: str) -> dict[str, CodecSpec]:
    """Return the variants of a codec, or all of them, by their specs without weights."""
    variants: dict[str, CodecSpec] = {}
    specs = specs_in(rows.rows)
    for spec in specs:
        bare = without_weights(spec).text
        if codec in ("", spec.name, spec.text, _label(spec), bare):
            other = variants.setdefault(bare, spec)
            if other != spec:
                raise NotComparable(
                    f"{rows.name} has {other.text} and {spec.text}: say which with --codec or "
                    "--reference-codec"
                )
    if not variants and codec:
        raise UnknownName(f"codec of {rows.name}", codec, map(_label, specs))
    if not variants:
        raise NotComparable(f"{rows.name} has no rows")
    return variants


def _label(spec: CodecSpec) -> str:
    return label_of(spec)


def _labels(variants: Mapping[str, CodecSpec]) -> str:
    return listed([*map(_label, variants.values())])


def _pair(
    sets: tuple[RowSet, RowSet],
    specs: tuple[CodecSpec, CodecSpec],
    metrics: Sequence[str],
    common: bool,
    allow_few: bool,
) -> VariantPair:
    of_sets = [name for name in metrics if name in DISTRIBUTION_METRICS]
    tables = [_cells(of, spec) for of, spec in zip(sets, specs, strict=True)]
    of_images = [name for name in metrics if name not in DISTRIBUTION_METRICS]
    names = [of.name for of in sets]
    protocols = present_protocols(of_sets) | _protocols(names, tables, of_images)
    images = {key: name for of in reversed(tables) for key, name in _images(of)}
    settings, keys = _shared(names, [*map(_label, specs)], tables, images, common)
    sides = []
    for of, table in zip(sets, tables, strict=True):
        kept = [at in settings and key in keys for at, key in _keys(table)]
        rows = table.filter(pl.Series(kept)).sort(CELL)
        if of_sets:
            rows = with_distribution_metrics(rows, of.folder, of_sets, allow_few=allow_few).table
        sides.append(rows)
    summaries = [summarise(rows, protocols) for rows in sides]
    # Images with other pixels or bytes at any setting, or unknown ones
    pixels, sizes = (
        [rows[name].cast(pl.String) for rows in sides] for name in ("decoded_sha256", "num_bytes")
    )
    same = ((pixels[0] == pixels[1]) & (sizes[0] == sizes[1])).fill_null(False)
    other = {key for _, key in _keys(sides[0].filter(~same))}
    ordered = sorted(keys)  # as `summarise` numbers them
    return VariantPair(
        _label(without_weights(specs[1])),
        summaries[0],
        summaries[1],
        sides[1],
        tuple(images[key] for key in ordered),
        tuple(images[key] for key in ordered if key not in other),
    )


def _cells(side: RowSet, spec: CodecSpec) -> pl.DataFrame:
    """Return the rows of the newest edition of a variant, one for each cell; none has failed."""
    table = rows_of(side.rows, [spec])
    protocols = sorted({*table["coding_protocol"].drop_nulls()})
    protocol = CODING if CODING in protocols else "".join(protocols[-1:])
    cells = table[ComparableRows(table, protocol, newest_only=True).index]
    failed = cells.filter(~OK.fill_null(False))
    if failed.height:
        failures = [
            f"{Setting(row['setting_name'], row['setting_value'])} {row['image']}: {row['stage']}: "
            f"{row['reason']}"
            for row in failed.rows(named=True)
        ]
        count = f"{counted(failed.height, 'cell')} of {_label(spec)} of {side.name} failed"
        raise NotComparable(f"{count}: {listed(failures)}")
    return cells


def _keys(rows: pl.DataFrame) -> list[tuple[Setting, str]]:
    """Return setting and image of each row, by its sha256, or name where that is not known."""
    return [*zip(settings_of(rows), (key for key, _ in _images(rows)), strict=True)]


def _images(rows: pl.DataFrame) -> list[tuple[str, str]]:
    return rows.select(IMAGE.alias("key"), "image").rows()


def _protocols(
    names: Sequence[str], tables: Sequence[pl.DataFrame], metrics: Sequence[str]
) -> dict[str, str]:
    """Return the protocol ids to compare under; raise `NotComparable` if none is shared."""
    protocols = {}
    columns = [("coding", "coding_protocol", "coding_protocol", CODING)]
    columns += [
        (of.column, *metric_columns(of.column)[:2], of.protocol)
        for of in map(metric_class, metrics)
    ]
    for column, value, protocol, present in columns:
        first, second = (
            {*rows.filter(col(value).is_not_null())[protocol].drop_nulls()}
            if protocol in rows.columns  # else these rows lack a user's metric
            else set()
            for rows in tables
        )
        shared = first & second
        if first and second and not shared:
            again = "" if column == "coding" else "`bench rescore` can "
            raise NotComparable(
                f"{column} of {names[0]} is by the rule {listed(sorted(first))}, that of "
                f"{names[1]} by {listed(sorted(second))}: {again}measure it again"
            )
        protocols[column] = present if present in shared or not shared else min(shared)
    return protocols


def _shared(
    names: Sequence[str],
    labels: Sequence[str],
    tables: Sequence[pl.DataFrame],
    images: Mapping[str, str],
    common: bool,
) -> tuple[set[Setting], set[str]]:
    """Return the settings and keys of images to compare; raise `NotComparable` for others."""
    settings = [{*settings_of(table)} for table in tables]
    at = settings[0] & settings[1]
    if not at or (settings[0] != settings[1] and not common):
        raise differ("settings", names, [set(map(str, setting)) for setting in settings])
    counts = [Counter(key for setting, key in _keys(table) if setting in at) for table in tables]
    complete = [{key for key, count in of.items() if count == len(at)} for of in counts]
    if not common:
        for name, label, every, whole in zip(names, labels, counts, complete, strict=True):
            if lacking := sorted(images[key] for key in every.keys() - whole):
                raise NotComparable(
                    f"{label} of {name} lacks settings of {listed(lacking)}: measure what is "
                    "missing, or compare the rest with --common"
                )
        if complete[0] != complete[1]:
            raise differ("images", names, [{images[key] for key in whole} for whole in complete])
    if not complete[0] & complete[1]:
        raise NotComparable(f"{names[0]} and {names[1]} have no image in common")
    return at, complete[0] & complete[1]
