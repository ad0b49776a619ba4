"""Pairs of codec variants of two row sets, over the same images and settings, by the same rules."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from benchmark.codec import CODING, Setting
from benchmark.errors import BenchError
from benchmark.metrics.metric import protocols as present_protocols
from benchmark.registry import DISTRIBUTION_METRICS, metric_named
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.means import summarise
from benchmark.rows.reduce import with_distribution_metrics
from benchmark.rows.schema import metric_columns
from benchmark.rows.summary import Summary
from benchmark.rows.systems import label_of
from benchmark.rows.versions import IMAGE
from benchmark.spec import CodecSpec
from benchmark.system.text import by_key, counted, listed

WEIGHTS = "checkpoint"  # option that says which weights a codec runs with, not what it is
OF_OTHER_WEIGHTS = "size"  # option of bundled weights that no checkpoint replaces


class NotComparable(BenchError):  # noqa: N818 - reads as what happened
    """Two row sets cannot be compared; the message says why."""


class RowSet(NamedTuple):
    """Rows of one dataset, and their name in sentences."""

    name: str  # "results/kodak"
    folder: Path  # of the store, for distribution metrics
    rows: pl.DataFrame  # all columns of `rows.schema`, one row per cell


class PairedRows(NamedTuple):
    """The rows of one codec variant of a pair."""

    label: str
    version: str
    rows: pl.DataFrame  # one per cell of the pair
    summary: Summary


class VariantPair(NamedTuple):
    """A codec variant and its counterpart in the reference, at the same images and settings."""

    label: str  # of the codec that is checked, without its weights
    reference: PairedRows
    test: PairedRows
    images: tuple[str, ...]  # names; image i of the summaries is images[i]
    settings: tuple[Setting, ...]
    # Images whose pixels and numbers of bytes are the same on both sides at every setting. Of them,
    # every metric of the pixels is the same, measured or not.
    equal: tuple[str, ...] = ()


class _Variant(NamedTuple):
    """Rows of the newest edition of one codec variant."""

    side: str
    label: str
    folder: Path
    rows: ComparableRows
    cells: dict[tuple[Setting, str], int]  # place in `rows` by setting and key of the image
    names: dict[str, str]  # of images, by their keys

    def images(self, settings: set[Setting], least: int = 1) -> set[str]:
        """Return the keys of images that have at least so many of these settings."""
        counts = Counter(image for setting, image in self.cells if setting in settings)
        return {image for image, count in counts.items() if count >= least}


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
    also compute distribution metrics of few images. Raises `NotComparable`.
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
    pairs = []
    for before, after in matched:
        sides = _variant(reference, before), _variant(test, after)
        pairs.append(_pair(_label(without_weights(after)), sides, metrics, common, allow_few))
    return pairs, notes


def without_weights(spec: CodecSpec) -> CodecSpec:
    """Return the spec without the option that names weights."""
    return spec._replace(options=tuple(option for option in spec.options if option[0] != WEIGHTS))


def with_weights(spec: CodecSpec, weights: str) -> CodecSpec:
    """Return the spec with the option that names weights."""
    return spec._replace(options=tuple(sorted((*spec.options, (WEIGHTS, weights)))))


def specs_in(rows: pl.DataFrame) -> list[CodecSpec]:
    """Return the specs of the codec variants that rows have, sorted."""
    kinds = rows.select("codec", "variant").unique().rows()
    return sorted(CodecSpec.of(codec, variant or "") for codec, variant in kinds)


def rows_of(rows: pl.DataFrame, specs: Collection[CodecSpec]) -> pl.DataFrame:
    """Return the rows of these codec variants."""
    chosen = [CodecSpec.of(*pair) in specs for pair in rows.select("codec", "variant").rows()]
    return rows.filter(pl.Series(chosen, dtype=pl.Boolean))


def settings_of(rows: pl.DataFrame) -> list[Setting]:
    """Return the setting of each row."""
    return [Setting(*pair) for pair in rows.select("setting_name", "setting_value").rows()]


def points_of(codec: str, rows: pl.DataFrame) -> tuple[str, ...]:
    """Return the settings of rows as `--points` takes them."""
    values = by_key((name, f"{value:.17g}") for name, value in sorted(set(settings_of(rows))))
    return tuple(f"{codec}.{name}={','.join(of_name)}" for name, of_name in values.items())


def _variants(rows: RowSet, codec: str) -> dict[str, CodecSpec]:
    """Return the variants of a codec, or all of them, by their specs without weights."""
    variants: dict[str, CodecSpec] = {}
    for spec in specs_in(rows.rows):
        bare = without_weights(spec).text
        if codec in ("", spec.name, spec.text, _label(spec), bare):
            other = variants.setdefault(bare, spec)
            if other != spec:
                raise NotComparable(
                    f"{rows.name} has {other.text} and {spec.text}: say which with --codec or "
                    "--reference-codec"
                )
    if not variants:
        raise NotComparable(f"{rows.name} has no rows{f' of {codec}' if codec else ''}")
    return variants


def _label(spec: CodecSpec) -> str:
    return label_of(spec.name, spec.variant)


def _labels(variants: Mapping[str, CodecSpec]) -> str:
    return listed([*map(_label, variants.values())])


def _variant(side: RowSet, spec: CodecSpec) -> _Variant:
    table = rows_of(side.rows, [spec])
    protocols = sorted({*table["coding_protocol"].drop_nulls()})
    protocol = CODING if CODING in protocols else "".join(protocols[-1:])
    rows = ComparableRows(table, protocol, newest_only=True)
    if failed := rows.chosen(marked=rows.failed).rows(named=True):
        failures = [
            f"{Setting(row['setting_name'], row['setting_value'])} {row['image']}: {row['stage']}: "
            f"{row['reason']}"
            for row in failed
        ]
        count = f"{counted(len(failed), 'cell')} of {_label(spec)} of {side.name} failed"
        raise NotComparable(f"{count}: {listed(failures)}")
    keys, settings = image_keys(table), settings_of(table)
    cells = {(settings[at], keys[at]): place for place, at in enumerate(rows.index.tolist())}
    names = dict(zip(keys, table["image"], strict=True))
    return _Variant(side.name, _label(spec), side.folder, rows, cells, names)


def image_keys(rows: pl.DataFrame) -> list[str]:
    """Return the sha256 of each row's source, or the image's name where it is not known."""
    return rows.select(IMAGE).to_series().to_list()


def _pair(
    label: str,
    sides: tuple[_Variant, _Variant],
    metrics: Sequence[str],
    common: bool,
    allow_few: bool,
) -> VariantPair:
    of_sets = [name for name in metrics if name in DISTRIBUTION_METRICS]
    protocols = _protocols(sides, [name for name in metrics if name not in DISTRIBUTION_METRICS])
    names = {**sides[1].names, **sides[0].names}
    settings, images = _shared(sides, names, common)
    paired = []
    for side in sides:
        places = sorted(side.cells[setting, image] for setting in settings for image in images)
        rows = side.rows.table[side.rows.index[places]]
        if of_sets:
            rows = with_distribution_metrics(rows, side.folder, of_sets, allow_few=allow_few).table
        summary = summarise(rows, {**present_protocols(of_sets), **protocols})
        paired.append(PairedRows(side.label, summary.points[0].edition.version, rows, summary))
    first, second = (
        dict(zip(zip(image_keys(rows), settings_of(rows), strict=True),
                 rows.select("decoded_sha256", "num_bytes").rows(), strict=True))
        for rows in (side.rows for side in paired)
    )  # fmt: skip
    # Images with other pixels or bytes at any setting, or unknown ones
    other = {image for (image, at), (sha256, size) in first.items()
             if sha256 is None or (sha256, size) != second.get((image, at))}  # fmt: skip
    ordered = sorted(images)  # as `summarise` numbers them
    return VariantPair(
        label,
        paired[0],
        paired[1],
        tuple(names[image] for image in ordered),
        tuple(sorted(settings)),
        tuple(names[image] for image in ordered if image not in other),
    )


def _protocols(sides: tuple[_Variant, _Variant], metrics: Sequence[str]) -> dict[str, str]:
    """Return the protocol ids to compare under; raise `NotComparable` if none is shared."""
    protocols = {}
    columns = [("coding", "coding_protocol", "coding_protocol", CODING)]
    columns += [
        (kind.column, *metric_columns(kind.column)[:2], kind.protocol)
        for kind in map(metric_named, metrics)
    ]
    for column, value, protocol, present in columns:
        first, second = (_distinct(side.rows, value, protocol) for side in sides)
        shared = first & second
        if first and second and not shared:
            again = "" if column == "coding" else "`bench rescore` can "
            raise NotComparable(
                f"{column} of {sides[0].side} is by the rule {listed(sorted(first))}, that of "
                f"{sides[1].side} by {listed(sorted(second))}: {again}measure it again"
            )
        protocols[column] = present if present in shared or not shared else min(shared)
    return protocols


def _distinct(rows: ComparableRows, value: str, protocol: str) -> set[str]:
    if protocol not in rows.table.columns:  # a user's metric that these rows lack
        return set()
    chosen = rows.chosen(value, protocol) if value != protocol else rows.chosen(value)
    return {*chosen.filter(pl.col(value).is_not_null())[protocol].drop_nulls()}


def _shared(
    sides: tuple[_Variant, _Variant], names: Mapping[str, str], common: bool
) -> tuple[set[Setting], set[str]]:
    """Return the settings and keys of images to compare; raise `NotComparable` for others."""
    names_of = [side.side for side in sides]
    settings = [{setting for setting, _ in side.cells} for side in sides]
    at = settings[0] & settings[1]
    if not at or (settings[0] != settings[1] and not common):
        raise differ("settings", names_of, [set(map(str, setting)) for setting in settings])
    complete = [side.images(at, len(at)) for side in sides]
    if not common:
        for side, whole in zip(sides, complete, strict=True):
            if lacking := sorted(names[image] for image in side.images(at) - whole):
                raise NotComparable(
                    f"{side.label} of {side.side} lacks settings of {listed(lacking)}: measure "
                    "what is missing, or compare the rest with --common"
                )
        if complete[0] != complete[1]:
            images = [{names[image] for image in whole} for whole in complete]
            raise differ("images", names_of, images)
    if not complete[0] & complete[1]:
        raise NotComparable(f"{sides[0].side} and {sides[1].side} have no image in common")
    return at, complete[0] & complete[1]


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
