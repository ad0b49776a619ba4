"""Measure a codec or checkpoint at the settings and on the images of its reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
from polars import col

from benchmark.check.limits import parse_limits
from benchmark.check.pairing import (
    SIZE_OPTION,
    NotComparable,
    RowSet,
    drop_weights,
    mismatch_error,
    set_weights,
)
from benchmark.check.row_sets import read_rows
from benchmark.check.verdict import USUAL_METRICS
from benchmark.errors import UnknownName, UsageError
from benchmark.measure.record import Outcome
from benchmark.measure.request import Request, move_settings_to_points
from benchmark.measure.select import (
    Matrix,
    Sources,
    open_matrix,
    open_sources,
    set_stored_name,
)
from benchmark.registry import CODECS, DISTRIBUTION_METRICS, metric_class, per_image_names
from benchmark.rows.place import required_place
from benchmark.rows.shard import align_columns
from benchmark.rows.stored import points_option, rows_of, settings_of, specs_in
from benchmark.spec import CodecSpec, base_refers_to_code, parse_codec, refers_to_code, resolve
from benchmark.system.settings import isolated, use_device
from benchmark.system.text import listed

COMMON_IMAGES_HINT = "compare the first images with --limit, or the common images with --common"


@isolated
def measure_candidate(
    codec: str,
    request: Request,
    folders: Mapping[str, Path],
    run: Callable[[Request, Matrix], Outcome],
    *,
    checkpoint: Path | None = None,
    reference_codec: str = "",
    require: Sequence[str] = (),
    common: bool = False,
) -> tuple[RowSet, RowSet]:
    """Measure a codec at the reference's settings and on its images; return the rows of both.

    folders: the reference's folders by dataset. If `dataset`, `points` or `metrics` of `request`
    is empty, the reference's are used. Raises `NotComparable` early if images or settings differ.
    """
    use_device(request.device)
    (codec,), option_points = move_settings_to_points([codec], {})
    option_texts = (
        f"{codec_name}.{name}={value!r}"
        for (codec_name, name), values in option_points.items()
        for value in values
    )
    dataset, points = _find_dataset(request.dataset, folders), (*request.points, *option_texts)
    request = replace(request, dataset=dataset, points=points)
    request.use_folders()
    sources = set_stored_name(open_sources(request), folders)
    stored_name = sources.dataset.store_name
    if stored_name not in folders:
        title = f"the images in {request.dataset}" if sources.dataset.folder_title else stored_name
        raise UsageError(f"the reference has rows of {', '.join(folders)}, but no rows of {title}")
    if (request.results / stored_name).resolve() == folders[stored_name].resolve():
        raise UsageError(
            f"{folders[stored_name]} holds the reference: name another folder with --results"
        )
    reference = read_rows(folders[stored_name], sources.dataset.name)
    counterparts = _find_counterparts(codec, checkpoint, reference_codec, specs_in(reference.rows))
    rows = rows_of(reference.rows, counterparts.values())
    if request.limit is not None:
        rows = rows.filter(col("image_sha256").is_in([source.sha256 for source in sources.images]))
    reference = reference._replace(rows=rows)
    _require_same_images(reference, sources, common)

    columns = {name: metric_class(*per_image_names([name])).column for name in DISTRIBUTION_METRICS}
    is_empty = {name: rows[column].null_count() == rows.height for name, column in columns.items()}
    distribution_metrics = [name for name in columns if not is_empty[name]]
    limited_metrics = [limit.metric for limit in parse_limits(require) if limit.bpp is not None]
    requested_metrics = request.metrics or (*USUAL_METRICS, *distribution_metrics)
    metrics = tuple(dict.fromkeys((*requested_metrics, *limited_metrics)))
    outcomes = []
    for spec, counterpart in counterparts.items():
        variant_rows = rows_of(rows, [counterpart])
        points = request.points or points_option(spec.name, variant_rows)
        spec_request = replace(
            request, codecs=(spec.with_all_options.text,), points=points, metrics=metrics
        )
        try:
            matrix = open_matrix(spec_request)
        except UnknownName as error:
            if request.points:
                raise
            raise UsageError(
                f"{spec.label} has no settings like those of {counterpart.label}: compare their "
                "curves with `bench report`"
            ) from error
        stored_settings = set(map(str, settings_of(variant_rows)))
        settings = stored_settings | {str(cell.setting) for cell in matrix.cells}
        if settings > stored_settings and not common:
            names = reference.name, spec.label
            raise mismatch_error("settings", names, (stored_settings, settings))
        outcomes.append(run(spec_request, matrix))  # failed cells are rows too
    if request.points:
        requested_settings = {cell.setting for outcome in outcomes for cell in outcome.cells}
        is_requested = [setting in requested_settings for setting in settings_of(rows)]
        reference = reference._replace(rows=rows.filter(pl.Series(is_requested, dtype=pl.Boolean)))
    folder = outcomes[0].matrix.store.folder
    # The results folder may also hold rows of other checkpoints
    rows = pl.concat(align_columns([outcome.rows for outcome in outcomes]))
    return reference, RowSet(str(folder), folder, rows)


def _find_dataset(name: str, folders: Mapping[str, Path]) -> str:
    """Return the source of the reference's dataset `name`; without a name, of the only one."""
    if not name and len(folders) > 1:
        raise UsageError(
            f"the reference has rows of {', '.join(folders)}: choose one with --dataset"
        )
    name = name or next(iter(folders))
    return required_place(folders[name].parent, name) if name in folders else name


def _find_counterparts(
    codec_text: str, checkpoint: Path | None, reference_codec: str, specs: Sequence[CodecSpec]
) -> dict[CodecSpec, CodecSpec]:
    """Map specs to the reference's; `UsageError` if rows refer to code the user did not give."""
    codec, stored_texts = parse_codec(codec_text), [spec.text for spec in specs]
    if reference_codec:
        reference_specs = resolve(parse_codec(reference_codec))
        if len(reference_specs) != 1:
            texts = " or ".join(spec.text for spec in reference_specs)
            raise UsageError(f"--reference-codec {reference_codec} is ambiguous: give {texts}")
        counterparts = dict.fromkeys(resolve(codec), reference_specs[0].identity)
    elif codec.options:
        counterparts = {spec: drop_weights(spec.identity) for spec in resolve(codec)}
    else:
        specs_of_codec = [spec for spec in specs if spec.name == codec.name]
        if checkpoint is not None:
            specs_of_codec = [
                spec for spec in specs_of_codec if SIZE_OPTION not in dict(spec.options)
            ]
        bare_specs = sorted(map(drop_weights, specs_of_codec))
        for spec in bare_specs:
            # The user named the file itself, but not the code in its option `base`
            if (refers_to_code if codec.name in CODECS else base_refers_to_code)(spec):
                raise UsageError(
                    f"the reference's codec runs a program or file, {spec.text!r}: inspect it, and "
                    "to run it, give this full text to --codec"
                )
        counterparts = {spec: spec for spec in bare_specs}
    if not counterparts:
        raise UnknownName("codec of the reference", codec.name, stored_texts)
    matched_specs = {}
    for spec, counterpart in counterparts.items():
        matches = [
            candidate for candidate in specs if counterpart in (candidate, drop_weights(candidate))
        ]
        if not matches:
            raise UsageError(
                f"the reference has no rows of {counterpart.text}: choose one of "
                f"{listed(stored_texts)} with --reference-codec"
            )
        if len(matches) > 1:
            match_texts = " and ".join(sorted(candidate.text for candidate in matches))
            raise UsageError(f"the reference has {match_texts}: choose one with --reference-codec")
        matched_specs[set_weights(spec, str(checkpoint)) if checkpoint else spec] = matches[0]
    return matched_specs


def _require_same_images(reference: RowSet, sources: Sources, common: bool) -> None:
    rows = reference.rows
    names = dict(zip(rows["image_sha256"], rows["image"], strict=True))
    new_names = {source.sha256: source.file.name for source in sources.images}
    if not names.keys() & new_names.keys():
        raise NotComparable(f"{sources.dataset.name} and {reference.name} have no image in common")
    if not common and names.keys() != new_names.keys():
        unmatched_names = [
            {name for sha256, name in names_of_set.items() if sha256 not in other_names}
            for names_of_set, other_names in ((names, new_names), (new_names, names))
        ]
        refused_image_texts = [" ".join(sources.refused[0][:2])] if sources.refused else []
        set_names = reference.name, sources.dataset.name
        raise mismatch_error(
            "images",
            set_names,
            unmatched_names,
            "; ".join(["", *refused_image_texts, COMMON_IMAGES_HINT]),
        )
