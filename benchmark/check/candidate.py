"""A codec or checkpoint to check: its settings and images are the reference's, then measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
from polars import col

from benchmark.check.limits import parse_limits
from benchmark.check.pairing import (
    OF_OTHER_WEIGHTS,
    NotComparable,
    RowSet,
    differ,
    with_weights,
    without_weights,
)
from benchmark.check.row_sets import read_rows
from benchmark.check.verdict import USUAL
from benchmark.errors import UnknownName, UsageError
from benchmark.measure.record import Outcome
from benchmark.measure.request import Request, with_settings_as_points
from benchmark.measure.select import (
    Matrix,
    Sources,
    open_matrix,
    open_sources,
    with_stored_name,
)
from benchmark.registry import CODECS, DISTRIBUTION_METRICS, metric_class, scored_by_image
from benchmark.rows.place import required_place
from benchmark.rows.shard import alike
from benchmark.rows.stored import points_of, rows_of, settings_of, specs_in
from benchmark.spec import CodecSpec, base_names_code, names_code, parse_codec, resolve
from benchmark.system.settings import isolated, use_device
from benchmark.system.text import listed

HINT = "--limit compares the first, --common what both have"


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
    """Return the reference's rows of the codec, and its new rows at their settings and images.

    request: how cells are measured; its codecs are of no account, and its dataset, points and
    metrics, if empty, are the reference's. folders: of the reference, by dataset. run: measures a
    request whose matrix is open; cells that the results folder has already are not measured again.
    Raises `NotComparable` before anything is measured if the images or settings are not the same.
    """
    use_device(request.device)
    (codec,), named = with_settings_as_points([codec], {})
    chosen = (f"{of}.{name}={value!r}" for (of, name), values in named.items() for value in values)
    dataset, points = request.dataset or _only(folders), (*request.points, *chosen)
    request = replace(request, dataset=dataset, points=points)
    request.use_folders()
    sources = with_stored_name(open_sources(request), folders)
    stored = sources.dataset.store_name
    if stored not in folders:
        what = f"the images in {request.dataset}" if sources.dataset.folder_title else stored
        raise UsageError(f"the reference has no rows of {what}: it has {', '.join(folders)}")
    if (request.results / stored).resolve() == folders[stored].resolve():
        raise UsageError(
            f"{folders[stored]} is where the reference lies: let --results name another folder"
        )
    reference = read_rows(folders[stored], sources.dataset.name)
    counterparts = _counterparts(codec, checkpoint, reference_codec, specs_in(reference.rows))
    rows = rows_of(reference.rows, counterparts.values())
    if request.limit is not None:
        rows = rows.filter(col("image_sha256").is_in([source.sha256 for source in sources.images]))
    reference = reference._replace(rows=rows)
    _refuse_other_images(reference, sources, common)

    columns = {name: metric_class(*scored_by_image([name])).column for name in DISTRIBUTION_METRICS}
    of_sets = [name for name, column in columns.items() if rows[column].null_count() < rows.height]
    limited = [of.metric for of in parse_limits(require) if of.bpp is not None]
    metrics = tuple(dict.fromkeys((*(request.metrics or (*USUAL, *of_sets)), *limited)))
    outcomes = []
    for spec, before in counterparts.items():
        of_spec = rows_of(rows, [before])
        points = request.points or points_of(spec.name, of_spec)
        whole = spec._replace(options=tuple(sorted((*spec.options, *spec.beside)))).text
        to_measure = replace(request, codecs=(whole,), points=points, metrics=metrics)
        try:
            matrix = open_matrix(to_measure)
        except UnknownName as unknown:
            if request.points:
                raise
            raise UsageError(
                f"{spec.label} has no settings like those of {before.label}: `bench report` "
                "compares their curves"
            ) from unknown
        stored_at = set(map(str, settings_of(of_spec)))
        asked = {str(cell.setting) for cell in matrix.cells}
        if asked - stored_at and not common:
            raise differ("settings", (reference.name, spec.label), (stored_at, stored_at | asked))
        outcomes.append(run(to_measure, matrix))  # failed cells are rows, and reported
    if request.points:
        settings = {cell.setting for outcome in outcomes for cell in outcome.cells}
        at = [setting in settings for setting in settings_of(rows)]
        reference = reference._replace(rows=rows.filter(pl.Series(at, dtype=pl.Boolean)))
    folder = outcomes[0].matrix.store.folder
    # The results folder may have rows of other checkpoints too, which these are not.
    return reference, RowSet(str(folder), folder, pl.concat(alike([of.rows for of in outcomes])))


def _only(folders: Mapping[str, Path]) -> str:
    if len(folders) > 1:
        raise UsageError(
            f"the reference has rows of {', '.join(folders)}: say which with --dataset"
        )
    ((name, folder),) = folders.items()
    return required_place(folder.parent, name)


def _counterparts(
    text: str, checkpoint: Path | None, reference_codec: str, specs: Sequence[CodecSpec]
) -> dict[CodecSpec, CodecSpec]:
    """Return the reference's spec by each to measure.

    Raises `UsageError` for programs or Python files that the reference names, and not the user.
    """
    codec, names = parse_codec(text), [spec.text for spec in specs]
    if reference_codec:
        before = resolve(parse_codec(reference_codec))
        if len(before) != 1:
            known = " or ".join(spec.text for spec in before)
            raise UsageError(f"--reference-codec {reference_codec} is several: say {known}")
        wanted = dict.fromkeys(resolve(codec), before[0].identity)
    elif codec.options:
        wanted = {spec: without_weights(spec.identity) for spec in resolve(codec)}
    else:
        mine = [spec for spec in specs if spec.name == codec.name]
        if checkpoint is not None:
            mine = [spec for spec in mine if OF_OTHER_WEIGHTS not in dict(spec.options)]
        bare = sorted(map(without_weights, mine))
        for spec in bare:
            # The user's own file is no such code, but what its option `base` names is.
            if (names_code if codec.name in CODECS else base_names_code)(spec):
                raise UsageError(
                    f"the reference itself names what would run, {spec.text!r}: look at it, and "
                    "give it whole with --codec to run it"
                )
        wanted = {spec: spec for spec in bare}
    if not wanted:
        raise UnknownName("codec of the reference", codec.name, names)
    matched = {}
    for spec, counterpart in wanted.items():
        same = [known for known in specs if counterpart in (known, without_weights(known))]
        if not same:
            raise UsageError(
                f"the reference has no rows of {counterpart.text}: --reference-codec takes one of "
                f"{listed(names)}"
            )
        if len(same) > 1:
            several = " and ".join(sorted(known.text for known in same))
            raise UsageError(f"the reference has {several}: say which with --reference-codec")
        matched[with_weights(spec, str(checkpoint)) if checkpoint else spec] = same[0]
    return matched


def _refuse_other_images(reference: RowSet, sources: Sources, common: bool) -> None:
    """Raise `NotComparable` for other images, before hours are spent on them."""
    rows = reference.rows
    names = dict(zip(rows["image_sha256"], rows["image"], strict=True))
    here = {source.sha256: source.file.name for source in sources.images}
    if not names.keys() & here.keys():
        raise NotComparable(
            f"no image of {sources.dataset.name} is one of those of {reference.name}"
        )
    if not common and names.keys() != here.keys():
        only = [
            {name for sha256, name in mine.items() if sha256 not in other}
            for mine, other in ((names, here), (here, names))
        ]
        refused = [" ".join(sources.refused[0][:2])] if sources.refused else []
        places = reference.name, sources.dataset.name
        raise differ("images", places, only, "; ".join(["", *refused, HINT]))
