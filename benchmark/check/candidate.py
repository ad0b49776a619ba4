"""A codec or checkpoint to check: its settings and images are the reference's, then measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.check.check import USUAL
from benchmark.check.pairing import NotComparable, RowSet, settings_of, without_weights
from benchmark.check.row_sets import read_rows
from benchmark.codec import Setting
from benchmark.codec_spec import CodecSpec, names_code, parse_codec, resolve
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import CODECS, DATASETS, DISTRIBUTION_METRICS, metric_class, scored_by_image
from benchmark.system.settings import isolated

if TYPE_CHECKING:
    from benchmark.measure.outcome import Outcome
    from benchmark.plan.matrix import Matrix, Sources
    from benchmark.plan.request import Request

    Measures = Callable[[Request, Matrix, Sequence[str]], Outcome]

SHOWN = 3


class Candidate(NamedTuple):
    """A codec to check, and how its missing cells are measured."""

    codec: str  # its spec
    checkpoint: Path | None  # weights to check, of a codec that takes a checkpoint
    reference_codec: str  # spec of its counterpart in the reference; empty for the same codec
    common: bool  # compare the images and settings that both have
    # Empty where the reference decides: the dataset (""), points, and metrics. Its codecs are not
    # looked at.
    request: "Request"


@isolated
def measure_candidate(
    candidate: Candidate,
    folders: Mapping[str, Path],
    run: "Measures",
) -> tuple[RowSet, RowSet]:
    """Return the reference's rows of the codec, and its new rows at their settings and images.

    folders: of the reference, by dataset. run: measures a request whose matrix is open, and knows
    by which of its metrics the rows will be judged; cells that the results folder has already are
    not measured again. Raises `NotComparable` before anything
    is measured if the images or settings are not the same.
    """
    from benchmark.plan.matrix import open_sources, with_stored_name
    from benchmark.system.settings import use_device

    use_device(candidate.request.device)
    request = replace(candidate.request, dataset=candidate.request.dataset or _only(folders))
    request.use_folders()
    sources = with_stored_name(open_sources(request), folders)
    stored = sources.dataset.store_name
    if len(folders) == 1 and stored not in folders and not candidate.request.dataset:
        stored = next(iter(folders))
    if stored not in folders:
        asked = f"the images in {request.dataset}" if sources.dataset.folder_title else stored
        raise UsageError(f"the reference has no rows of {asked}: it has {', '.join(folders)}")
    reference = read_rows(folders[stored], sources.dataset.name)
    if (request.results / sources.dataset.store_name).resolve() == folders[stored].resolve():
        raise UsageError(
            f"{folders[stored]} is where the reference lies: let --results name another folder"
        )
    counterparts = _counterparts(candidate, reference)
    texts = pa.array(sorted(set(counterparts.values())))
    kept = pc.is_in(_specs(reference.rows), value_set=texts)
    reference = reference._replace(rows=reference.rows.filter(kept))
    if request.limit is not None:
        here = pa.array([source.sha256 for source in sources.images], pa.string())
        rows = reference.rows.filter(pc.is_in(reference.rows["image_sha256"], value_set=here))
        reference = reference._replace(rows=rows)
    _refuse_other_images(reference, sources, candidate.common)
    return _measure(candidate, request, reference, counterparts, run)


def _only(folders: Mapping[str, Path]) -> str:
    """Return the name of the reference's dataset, if it says which images are meant."""
    if len(folders) > 1:
        raise UsageError(
            f"the reference has rows of {', '.join(folders)}: say which with --dataset"
        )
    (name,) = folders
    if name not in DATASETS:
        raise UsageError(f"{name} is no dataset by name: say where its images are with --dataset")
    return name


def _counterparts(candidate: Candidate, reference: RowSet) -> dict[CodecSpec, str]:
    """Map each variant to measure to the text of its counterpart in the reference."""
    kinds = reference.rows.group_by(["codec", "variant"]).aggregate([]).to_pylist()
    specs = [CodecSpec.of(kind["codec"], kind["variant"] or "") for kind in kinds]
    asked = parse_codec(candidate.codec)
    if candidate.reference_codec:
        (before,) = _resolved(candidate.reference_codec)
        found = dict.fromkeys(resolve(asked), before)
    elif asked.options:
        found = {one: without_weights(one) for one in resolve(asked)}
    else:
        bare = sorted(without_weights(spec) for spec in specs if spec.name == asked.name)
        _refuse_code(asked, bare)
        found = {spec: spec for spec in bare}
    matched = {}
    for spec, before in found.items():
        texts = [one.text for one in specs if before in (one, without_weights(one))]
        if not texts:
            raise UnknownName("codec of the reference", before.text, [one.text for one in specs])
        if len(texts) > 1:
            raise UsageError(
                f"the reference has {' and '.join(sorted(texts))}: say which with --reference-codec"
            )
        matched[_with(spec, candidate.checkpoint)] = texts[0]
    if not matched:
        raise UnknownName("codec of the reference", asked.name, {one.text for one in specs})
    return matched


def _refuse_code(asked: CodecSpec, specs: Sequence[CodecSpec]) -> None:
    """Raise `UsageError` for programs or Python files that the reference names, and not the user.

    asked: the codec that the user gave by its name alone. specs: what the reference has of it.
    """
    for spec in specs:
        own = spec if asked.name in CODECS else spec._replace(name="jpeg")  # the file is the user's
        if names_code(own):
            raise UsageError(
                f"the reference itself names what would run, {spec.text!r}: look at it, and give "
                "it whole with --codec to run it"
            )


def _resolved(text: str) -> list[CodecSpec]:
    found = resolve(parse_codec(text))
    if len(found) != 1:
        names = " or ".join(spec.text for spec in found)
        raise UsageError(f"--reference-codec {text} is several: say {names}")
    return found


def _with(spec: CodecSpec, checkpoint: Path | None) -> CodecSpec:
    if checkpoint is None:
        return spec
    options = {**dict(spec.options), "checkpoint": str(checkpoint)}
    return spec._replace(options=tuple(sorted(options.items())))


def _refuse_other_images(reference: RowSet, sources: "Sources", common: bool) -> None:
    """Raise `NotComparable` for other images, before hours are spent on them."""
    rows = reference.rows
    names = dict(zip(rows["image_sha256"].to_pylist(), rows["image"].to_pylist(), strict=True))
    here = {source.sha256: source.file.name for source in sources.images}
    if not names.keys() & here.keys():
        raise NotComparable(
            f"no image of {sources.dataset.name} is one of those of {reference.name}"
        )
    if common or names.keys() == here.keys():
        return
    gone = sorted(name for sha256, name in names.items() if sha256 not in here)
    new = sorted(name for sha256, name in here.items() if sha256 not in names)
    said = [
        f"{len(these)} of {whose} ({', '.join(these[:SHOWN])}) are not in the other"
        for these, whose in ((gone, reference.name), (new, sources.dataset.name))
        if these
    ]
    refused = f"; {sources.refused[0].reason}" if sources.refused else ""
    raise NotComparable(
        f"the images are not the same: {', '.join(said)}{refused}; compare the first with --limit, "
        "or what both have with --common"
    )


def _measure(
    candidate: Candidate,
    request: "Request",
    reference: RowSet,
    counterparts: Mapping[CodecSpec, str],
    run: "Measures",
) -> tuple[RowSet, RowSet]:
    from benchmark.plan.matrix import open_matrix

    metrics = request.metrics or (*USUAL, *_distribution_metrics_of(reference.rows))
    found = []
    for spec, before in counterparts.items():
        rows = reference.rows.filter(pc.equal(_specs(reference.rows), before))
        points = request.points or _points(spec, rows)
        asked = replace(request, codecs=(spec.text,), points=points, metrics=metrics)
        matrix = open_matrix(asked)
        if not candidate.common:
            _refuse_other_settings(reference, {cell.setting for cell in matrix.cells}, rows)
        judged = request.metrics or _with_values(rows, metrics)
        found.append(run(asked, matrix, judged))  # failed cells are rows, and reported as such
    if request.points:
        settings = {cell.setting for outcome in found for cell in outcome.cells}
        at = [setting in settings for setting in settings_of(reference.rows)]
        reference = reference._replace(rows=reference.rows.filter(pa.array(at, pa.bool_())))
    folder = found[0].matrix.store.folder
    # The results folder may have rows of other checkpoints too, which these are not.
    return reference, RowSet(str(folder), folder, pa.concat_tables([one.rows for one in found]))


def _refuse_other_settings(reference: RowSet, asked: set[Setting], rows: pa.Table) -> None:
    lacking = asked - set(settings_of(rows))
    if lacking:
        names = ", ".join(map(str, sorted(lacking)))
        raise NotComparable(
            f"the settings are not the same: {reference.name} has no {names}; leave them out, or "
            "compare what both have with --common"
        )


def _distribution_metrics_of(rows: pa.Table) -> list[str]:
    """List the distribution metrics whose features the reference has."""
    return list(_with_values(rows, tuple(DISTRIBUTION_METRICS)))


def _with_values(rows: pa.Table, metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics that the reference's rows have values of, or features for."""
    columns = {name: metric_class(*scored_by_image([name])).column for name in metrics}
    return tuple(name for name in metrics if rows[columns[name]].null_count < rows.num_rows)


def _points(spec: CodecSpec, rows: pa.Table) -> tuple[str, ...]:
    """Return the reference's settings as `--points` takes them."""
    by_name: dict[str, list[float]] = {}
    for setting in sorted(set(settings_of(rows))):
        by_name.setdefault(setting.name, []).append(setting.value)
    return tuple(
        f"{spec.name}.{name}={','.join(format(value, '.17g') for value in values)}"
        for name, values in by_name.items()
    )


def _specs(rows: pa.Table) -> pa.Array:
    """Return the spec of each row as text."""
    pairs = zip(rows["codec"].to_pylist(), rows["variant"].to_pylist(), strict=True)
    return pa.array([CodecSpec.of(codec, variant or "").text for codec, variant in pairs])
