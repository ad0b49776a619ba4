"""Pairs of codec variants of two row sets, over the same images and settings.

What would make a comparison say something else than it seems to is refused: other protocols, images
or settings, and cells that failed. Rows are not read here; distribution metrics are looked up
beside them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.analysis.comparable import ComparableRows, label_of
from benchmark.analysis.summarise import Summary, summarise
from benchmark.codec import Setting
from benchmark.codec_spec import CodecSpec
from benchmark.errors import BenchError
from benchmark.metrics.metric import metric_columns
from benchmark.protocol import CODING
from benchmark.protocol import protocols as present_protocols
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.system.text import counted

# Options that say which weights a codec runs with, not what it is.
OF_WEIGHTS = ("checkpoint",)
SHOWN = 3  # names in a sentence

Cells = dict[tuple[Setting, str], int]  # (setting, key of the image) -> place of its row


class NotComparable(BenchError):  # noqa: N818 - reads as what happened
    """Two row sets cannot be compared; the message says why."""


class RowSet(NamedTuple):
    """Rows of one dataset, and their name in sentences."""

    name: str  # "results/kodak"
    folder: Path  # of the store, for distribution metrics
    rows: pa.Table  # columns of `schema.table_schema`, one row per cell


class PairedRows(NamedTuple):
    """The rows of one codec variant of a pair."""

    label: str
    version: str
    rows: pa.Table  # one per cell of the pair
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


class Pairing(NamedTuple):
    """Pairs of codec variants that can be compared, and sentences on what is left out."""

    pairs: tuple[VariantPair, ...]
    notes: tuple[str, ...]


class _Variant(NamedTuple):
    """Rows of the newest edition of one codec variant."""

    side: str
    label: str
    bare_label: str  # without its weights
    folder: Path
    rows: ComparableRows
    cells: Cells  # without those that failed
    names: Mapping[str, str]  # of images, by their keys


def pair_up(
    reference: RowSet,
    test: RowSet,
    metrics: Sequence[str],
    codec: str = "",
    reference_codec: str = "",
    common: bool = False,
    allow_few: bool = False,
) -> Pairing:
    """Pair the codec variants that both row sets have, whatever their checkpoints.

    If each has a single variant, these are a pair in any case.
    metrics: names; values under other protocol ids on the two sides are refused.
    codec, reference_codec: name or label to keep of `test` and of `reference`; empty for all, and
    the second for the first. common: compare the images and settings that both sides have.
    allow_few: also compute distribution metrics of few images. Raises `NotComparable`.
    """
    references = _variants(reference, reference_codec or codec)
    tests = _variants(test, codec)
    notes: list[str] = []
    if len(references) == len(tests) == 1:
        matched = [(references.popitem()[1], tests.popitem()[1])]
    else:
        both = [key for key in tests if key in references]
        matched = [(references.pop(key), tests.pop(key)) for key in both]
        notes = [
            f"{_listed(_labels(rest))} of {whole.name} has no counterpart in {other.name}"
            for rest, whole, other in ((references, reference, test), (tests, test, reference))
            if rest
        ]
    if not matched:
        raise NotComparable(
            f"no codec in common: {reference.name} has {_listed(_labels(references))}, {test.name} "
            f"has {_listed(_labels(tests))}; say which with --codec and --reference-codec"
        )
    pairs = [
        _pair(_variant(reference, specs[0]), _variant(test, specs[1]), metrics, common, allow_few)
        for specs in matched
    ]
    return Pairing(tuple(pairs), tuple(notes))


def without_weights(spec: CodecSpec) -> CodecSpec:
    """Return the spec without the options that name weights."""
    return spec._replace(options=tuple(one for one in spec.options if one[0] not in OF_WEIGHTS))


def _variants(rows: RowSet, asked: str) -> dict[str, CodecSpec]:
    """Map specs without weights, as text, to the specs of the rows."""
    found: dict[str, CodecSpec] = {}
    kinds = rows.rows.group_by(["codec", "variant"]).aggregate([]).to_pylist()
    for kind in sorted(kinds, key=lambda kind: (kind["codec"], kind["variant"] or "")):
        spec = CodecSpec.of(kind["codec"], kind["variant"] or "")
        bare = without_weights(spec)
        label = label_of(spec.name, spec.variant)
        if asked and asked not in (spec.name, spec.text, label, bare.text):
            continue
        other = found.setdefault(bare.text, spec)
        if other != spec:
            raise NotComparable(
                f"{rows.name} has {other.text} and {spec.text}: say which with --codec or "
                "--reference-codec"
            )
    if not found:
        what = f"rows of {asked}" if asked else "rows"
        raise NotComparable(f"{rows.name} has no {what}")
    return found


def _labels(variants: Mapping[str, CodecSpec]) -> list[str]:
    return [label_of(spec.name, spec.variant) for spec in variants.values()]


def _variant(side: RowSet, spec: CodecSpec) -> _Variant:
    of_spec = pc.and_(
        pc.equal(side.rows["codec"], spec.name), pc.equal(side.rows["variant"], spec.variant)
    )
    table = side.rows.filter(of_spec)
    label = label_of(spec.name, spec.variant)
    protocols = sorted(set(table["coding_protocol"].to_pylist()) - {None})
    coding = CODING if CODING in protocols else "".join(protocols[-1:])
    rows = ComparableRows(table, coding)
    _refuse_failed(rows, f"{label} of {side.name}")
    keys = pc.coalesce(table["image_sha256"], table["image"]).to_pylist()
    images, settings = table["image"].to_pylist(), settings_of(table)
    cells = {
        (settings[at], keys[at]): place for place, at in enumerate(rows.index.tolist())
    }  # fmt: skip
    names = dict(zip(keys, images, strict=True))
    bare = without_weights(spec)
    bare_label = label_of(bare.name, bare.variant)
    return _Variant(side.name, label, bare_label, side.folder, rows, cells, names)


def settings_of(table: pa.Table) -> list[Setting]:
    """Return the setting of each row."""
    pairs = zip(table["setting_name"].to_pylist(), table["setting_value"].to_pylist(), strict=True)
    return [Setting(name, value) for name, value in pairs]


def _refuse_failed(rows: ComparableRows, whose: str) -> None:
    failed = rows.table.take(pa.array(rows.index[rows.failed])).to_pylist()
    if failed:
        shown = [
            f"{Setting(row['setting_name'], row['setting_value'])} {row['image']}: {row['stage']}: "
            f"{row['reason']}"
            for row in failed[:SHOWN]
        ]
        more = "; ..." if len(failed) > SHOWN else ""
        raise NotComparable(
            f"{counted(len(failed), 'cell')} of {whose} failed: {'; '.join(shown)}{more}"
        )


def _pair(
    reference: _Variant, test: _Variant, metrics: Sequence[str], common: bool, allow_few: bool
) -> VariantPair:
    protocols = _protocols(
        reference, test, [name for name in metrics if name not in DISTRIBUTION_METRICS]
    )
    names = {**test.names, **reference.names}
    settings, images = _shared(reference, test, names, common)
    sets = [name for name in metrics if name in DISTRIBUTION_METRICS]
    wanted = {(setting, image) for setting in settings for image in images}
    sides = [_side(one, wanted, protocols, sets, allow_few) for one in (reference, test)]
    ordered = tuple(sorted(settings, key=lambda at: (at.name, at.value)))
    # `summarise` numbers images by the order of their keys.
    named = tuple(names[image] for image in sorted(images))
    other = _unequal(sides[0].rows, sides[1].rows)
    equal = tuple(names[image] for image in sorted(images) if image not in other)
    return VariantPair(test.bare_label, sides[0], sides[1], named, ordered, equal)


def _unequal(before: pa.Table, after: pa.Table) -> set[str]:
    """Return the keys of the images with other pixels or bytes at any setting, or unknown ones."""
    of_cells: list[dict[tuple[str, Setting], tuple[str | None, int]]] = []
    for rows in (before, after):
        images = pc.coalesce(rows["image_sha256"], rows["image"]).to_pylist()
        keys = zip(images, settings_of(rows), strict=True)
        content = (rows[name].to_pylist() for name in ("decoded_sha256", "num_bytes"))
        of_cells.append(dict(zip(keys, zip(*content, strict=True), strict=True)))
    first, second = of_cells
    same = {key for key, one in first.items() if one[0] is not None and one == second.get(key)}
    return {image for image, _ in first.keys() - same}


def _side(
    variant: _Variant,
    wanted: set[tuple[Setting, str]],
    protocols: Mapping[str, str],
    sets: Sequence[str],
    allow_few: bool,
) -> PairedRows:
    places = sorted(place for cell, place in variant.cells.items() if cell in wanted)
    rows = variant.rows.table.take(pa.array(variant.rows.index[places]))
    if sets:
        from benchmark.analysis.reduce import with_distribution_metrics

        rows = with_distribution_metrics(rows, variant.folder, sets, allow_few=allow_few)
    of_sets = {key: one for key, one in present_protocols(sets).items() if key != "coding"}
    summary = summarise(rows, {**protocols, **of_sets})
    version = summary.points[0].edition.version
    return PairedRows(variant.label, version, rows, summary)


def _protocols(reference: _Variant, test: _Variant, metrics: Sequence[str]) -> dict[str, str]:
    """Return the protocol ids to compare under; raise `NotComparable` if none is shared."""
    found = {}
    asked = {
        "coding": ("coding_protocol", "coding_protocol", CODING),
        **{
            kind.column: (*metric_columns(kind.column)[:2], kind.protocol)
            for kind in map(metric_class, metrics)
        },
    }
    for column, (value, protocol, present) in asked.items():
        ids = [_distinct(one.rows, value, protocol) for one in (reference, test)]
        shared = ids[0] & ids[1]
        if all(ids) and not shared:
            again = (
                "measure it again" if column == "coding" else "`bench rescore` measures it again"
            )
            raise NotComparable(
                f"{column} of {reference.side} is by the rule {_listed(sorted(ids[0]))}, that of "
                f"{test.side} by {_listed(sorted(ids[1]))}: {again}"
            )
        found[column] = present if present in shared or not shared else min(shared)
    return found


def _distinct(rows: ComparableRows, value: str, protocol: str) -> set[str]:
    if protocol not in rows.table.column_names:  # a user's metric that these rows lack
        return set()
    chosen = rows.table.take(pa.array(rows.index))
    return set(chosen[protocol].filter(pc.is_valid(chosen[value])).unique().to_pylist()) - {None}


def _shared(
    reference: _Variant, test: _Variant, names: Mapping[str, str], common: bool
) -> tuple[set[Setting], set[str]]:
    """Return the settings and images to compare; both sides have every cell of them."""
    settings = [{setting for setting, _ in one.cells} for one in (reference, test)]
    sides = reference.side, test.side
    if settings[0] != settings[1] and not common:
        raise NotComparable(_differ("settings", sides, [set(map(str, one)) for one in settings]))
    at = settings[0] & settings[1]
    if not at:
        raise NotComparable(_differ("settings", sides, [set(map(str, one)) for one in settings]))
    complete = [_images_at_all(one.cells, at) for one in (reference, test)]
    seen = [{image for setting, image in one.cells if setting in at} for one in (reference, test)]
    shared = complete[0] & complete[1]
    if not common:
        for one, whole, every in zip((reference, test), complete, seen, strict=True):
            if whole != every:
                lacking = sorted(names[image] for image in every - whole)
                raise NotComparable(
                    f"{one.label} of {one.side} lacks settings of {_listed(lacking)}: measure what "
                    "is missing, or compare the rest with --common"
                )
        if seen[0] != seen[1]:
            raise NotComparable(
                _differ("images", sides, [{names[image] for image in one} for one in seen])
            )
    if not shared:
        raise NotComparable(f"{sides[0]} and {sides[1]} have no image in common")
    return at, shared


def _images_at_all(cells: Iterable[tuple[Setting, str]], settings: set[Setting]) -> set[str]:
    counts = Counter(image for setting, image in cells if setting in settings)
    return {image for image, count in counts.items() if count == len(settings)}


def _differ(what: str, sides: tuple[str, str], both: Sequence[set[str]]) -> str:
    only = [
        f"only {side} has {_listed(sorted(mine - other))}"
        for side, mine, other in zip(sides, both, reversed(both), strict=True)
        if mine - other
    ]
    hint = "; --common compares what both have" if both[0] & both[1] else ""
    return f"the {what} are not the same: {', '.join(only)}{hint}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
