"""Pairs of codec variants from two row sets, with the same images, settings and protocols."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.codec import CODING, Setting
from benchmark.errors import BenchError, UnknownName
from benchmark.metrics.metric import protocols as current_protocols
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.rows.comparable import ComparableRows
from benchmark.rows.edition import label_of
from benchmark.rows.means import summarise
from benchmark.rows.reduce import add_distribution_metrics
from benchmark.rows.schema import metric_columns
from benchmark.rows.stored import rows_of, settings_of, specs_in
from benchmark.rows.summary import Summary
from benchmark.rows.versions import IMAGE, OK
from benchmark.spec import CodecSpec
from benchmark.system.text import counted, listed

WEIGHTS_OPTION = "checkpoint"  # option for a codec's weights, which does not change the codec
SIZE_OPTION = "size"  # option for bundled weights, which a checkpoint cannot replace
CELL = ("setting_name", "setting_value", IMAGE)


class NotComparable(BenchError):  # noqa: N818 - the name states what happened
    """Two row sets cannot be compared; the message says why."""


class RowSet(NamedTuple):
    """Rows of a dataset, and their name in messages."""

    name: str  # "results/kodak"
    folder: Path  # folder of the store, for distribution metrics
    rows: pl.DataFrame  # all columns of `rows.schema`, one row per cell


class VariantPair(NamedTuple):
    """Codec variant and its counterpart in the reference, with the same images and settings."""

    label: str  # of the tested codec, without its weights
    reference: Summary
    test: Summary
    rows: pl.DataFrame  # rows of the tested codec, one per cell
    images: tuple[str, ...]  # image names; image i of the summaries is images[i]
    # Equal pixels and sizes on both sides at every setting, so all metrics are equal
    identical_images: tuple[str, ...] = ()


def pair_up(
    reference: RowSet,
    test: RowSet,
    metrics: Sequence[str],
    codec: str = "",
    reference_codec: str = "",
    common: bool = False,
    allow_few: bool = False,
) -> tuple[list[VariantPair], tuple[str, ...]]:
    """Pair the codec variants of two row sets, ignoring checkpoints; describe unpaired variants.

    codec: name or label of the variants in `test`; "": all. reference_codec: in `reference`; "":
    the same. common: use only common images and settings. allow_few: also compute distribution
    metrics of few images. Raises `NotComparable`, and `UnknownName` for a codec without rows.
    """
    references = _find_variants(reference, reference_codec or codec)
    tests = _find_variants(test, codec)
    matched_specs = [(references.pop(key), tests.pop(key)) for key in [*tests] if key in references]
    if not matched_specs and len(references) == len(tests) == 1:
        matched_specs = [(references.popitem()[1], tests.popitem()[1])]
    if not matched_specs:
        raise NotComparable(
            f"no codec in common: {reference.name} has {_list_labels(references)}, {test.name} has "
            f"{_list_labels(tests)}; choose with --codec and --reference-codec"
        )
    sides = (references, reference, test), (tests, test, reference)
    notes = tuple(
        f"no counterpart in {other_set.name} for {_list_labels(unpaired_specs)} of {row_set.name}"
        for unpaired_specs, row_set, other_set in sides
        if unpaired_specs
    )
    sets = reference, test
    return [_make_pair(sets, specs, metrics, common, allow_few) for specs in matched_specs], notes


def drop_weights(spec: CodecSpec) -> CodecSpec:
    """Return a spec without the option for weights."""
    return spec.remove_options([WEIGHTS_OPTION])


def set_weights(spec: CodecSpec, weights: str) -> CodecSpec:
    """Return a spec with other weights."""
    options = {**dict(spec.options), WEIGHTS_OPTION: weights}
    return spec._replace(options=tuple(sorted(options.items())))


def mismatch_error(
    subject: str, names: Sequence[str], values: Sequence[set[str]], hint: str = ""
) -> NotComparable:
    """Return the error for row sets with different images or settings."""
    differences = [
        f"only {name} has {listed(sorted(values_of_set - other_values))}"
        for name, values_of_set, other_values in zip(names, values, reversed(values), strict=True)
        if values_of_set - other_values
    ]
    if values[0] & values[1]:
        hint = f"; compare only common {subject} with --common"
    return NotComparable(f"the {subject} differ: {', '.join(differences)}{hint}")


def _find_variants(row_set: RowSet, codec: str) -> dict[str, CodecSpec]:
    variants: dict[str, CodecSpec] = {}
    specs = specs_in(row_set.rows)
    for spec in specs:
        bare_text = drop_weights(spec).text
        if codec in ("", spec.name, spec.text, label_of(spec), bare_text):
            first_spec = variants.setdefault(bare_text, spec)
            if first_spec != spec:
                raise NotComparable(
                    f"{row_set.name} has {first_spec.text} and {spec.text}: choose one with "
                    "--codec or --reference-codec"
                )
    if not variants and codec:
        raise UnknownName(f"codec of {row_set.name}", codec, map(label_of, specs))
    if not variants:
        raise NotComparable(f"{row_set.name} has no rows")
    return variants


def _list_labels(variants: Mapping[str, CodecSpec]) -> str:
    return listed([*map(label_of, variants.values())])


def _make_pair(
    sets: tuple[RowSet, RowSet],
    specs: tuple[CodecSpec, CodecSpec],
    metrics: Sequence[str],
    common: bool,
    allow_few: bool,
) -> VariantPair:
    distribution_metrics = [name for name in metrics if name in DISTRIBUTION_METRICS]
    tables = [_newest_cells(row_set, spec) for row_set, spec in zip(sets, specs, strict=True)]
    image_metrics = [name for name in metrics if name not in DISTRIBUTION_METRICS]
    names = [row_set.name for row_set in sets]
    common_protocols = _common_protocols(names, tables, image_metrics)
    protocols = current_protocols(distribution_metrics) | common_protocols
    images = {key: name for table in reversed(tables) for key, name in _image_keys(table)}
    settings, keys = _common_cells(names, [*map(label_of, specs)], tables, images, common)
    paired_rows = []
    for row_set, table in zip(sets, tables, strict=True):
        is_shared = [setting in settings and key in keys for setting, key in _cell_keys(table)]
        rows = table.filter(pl.Series(is_shared)).sort(CELL)
        if distribution_metrics:
            arguments = rows, row_set.folder, distribution_metrics
            rows = add_distribution_metrics(*arguments, allow_few=allow_few).table
        paired_rows.append(rows)
    summaries = [summarise(rows, protocols) for rows in paired_rows]
    # Images are equal if their pixels and sizes are known and equal at every setting
    pixels, sizes = (
        [rows[column].cast(pl.String) for rows in paired_rows]
        for column in ("decoded_sha256", "num_bytes")
    )
    is_equal = ((pixels[0] == pixels[1]) & (sizes[0] == sizes[1])).fill_null(False)
    changed_keys = {key for _, key in _cell_keys(paired_rows[0].filter(~is_equal))}
    ordered_keys = sorted(keys)  # in the order of `summarise`
    return VariantPair(
        label_of(drop_weights(specs[1])),
        summaries[0],
        summaries[1],
        paired_rows[1],
        tuple(images[key] for key in ordered_keys),
        tuple(images[key] for key in ordered_keys if key not in changed_keys),
    )


def _newest_cells(row_set: RowSet, spec: CodecSpec) -> pl.DataFrame:
    """Return the newest edition's row for each cell; raise `NotComparable` if any failed."""
    table = rows_of(row_set.rows, [spec])
    protocols = sorted({*table["coding_protocol"].drop_nulls()})
    protocol = CODING if CODING in protocols else "".join(protocols[-1:])
    cells = table[ComparableRows(table, protocol, newest_only=True).index]
    failed_cells = cells.filter(~OK.fill_null(False))
    if failed_cells.height:
        failures = [
            f"{Setting(row['setting_name'], row['setting_value'])} {row['image']}: {row['stage']}: "
            f"{row['reason']}"
            for row in failed_cells.rows(named=True)
        ]
        subject = f"{counted(failed_cells.height, 'cell')} of {label_of(spec)} in {row_set.name}"
        raise NotComparable(f"{subject} failed: {listed(failures)}")
    return cells


def _cell_keys(rows: pl.DataFrame) -> list[tuple[Setting, str]]:
    """Return each row's setting and image key: the sha256, or the name if it is unknown."""
    return [*zip(settings_of(rows), (key for key, _ in _image_keys(rows)), strict=True)]


def _image_keys(rows: pl.DataFrame) -> list[tuple[str, str]]:
    return rows.select(IMAGE.alias("key"), "image").rows()


def _common_protocols(
    names: Sequence[str], tables: Sequence[pl.DataFrame], metrics: Sequence[str]
) -> dict[str, str]:
    """Return the protocols for comparisons, by column; `NotComparable` if none is common."""
    protocols = {}
    columns = [("coding", "coding_protocol", "coding_protocol", CODING)]
    columns += [
        (metric.column, *metric_columns(metric.column)[:2], metric.protocol)
        for metric in map(metric_class, metrics)
    ]
    for name, value_column, protocol_column, current_protocol in columns:
        reference_protocols, test_protocols = (
            {*rows.filter(col(value_column).is_not_null())[protocol_column].drop_nulls()}
            if protocol_column in rows.columns  # otherwise these rows lack a user's metric
            else set()
            for rows in tables
        )
        shared_protocols = reference_protocols & test_protocols
        if reference_protocols and test_protocols and not shared_protocols:
            hint = "" if name == "coding" else " with `bench rescore`"
            raise NotComparable(
                f"{name} has the protocol {listed(sorted(reference_protocols))} in {names[0]} and "
                f"{listed(sorted(test_protocols))} in {names[1]}: measure old rows again{hint}"
            )
        is_current = current_protocol in shared_protocols or not shared_protocols
        protocols[name] = current_protocol if is_current else min(shared_protocols)
    return protocols


def _common_cells(
    names: Sequence[str],
    labels: Sequence[str],
    tables: Sequence[pl.DataFrame],
    images: Mapping[str, str],
    common: bool,
) -> tuple[set[Setting], set[str]]:
    settings = [{*settings_of(table)} for table in tables]
    common_settings = settings[0] & settings[1]
    if not common_settings or (settings[0] != settings[1] and not common):
        raise mismatch_error("settings", names, [set(map(str, setting)) for setting in settings])
    complete_keys = []
    for name, label, table in zip(names, labels, tables, strict=True):
        counts = Counter(key for setting, key in _cell_keys(table) if setting in common_settings)
        complete_keys.append({key for key, n in counts.items() if n == len(common_settings)})
        incomplete_images = sorted(images[key] for key in counts.keys() - complete_keys[-1])
        if incomplete_images and not common:
            raise NotComparable(
                f"{label} in {name} lacks settings for {listed(incomplete_images)}: measure them, "
                "or compare the other images with --common"
            )
    if complete_keys[0] != complete_keys[1] and not common:
        image_sets = [{images[key] for key in keys} for keys in complete_keys]
        raise mismatch_error("images", names, image_sets)
    if not complete_keys[0] & complete_keys[1]:
        raise NotComparable(f"{names[0]} and {names[1]} have no image in common")
    return common_settings, complete_keys[0] & complete_keys[1]
