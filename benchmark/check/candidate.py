"""A codec or checkpoint and a reference in; both sets of rows, the new ones measured, out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.check.check import USUAL, read_rows
from benchmark.check.pairing import NotComparable, RowSet, without_weights
from benchmark.codec import Setting
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import (
    DATASETS,
    DISTRIBUTION_METRICS,
    CodecSpec,
    metric_class,
    parse_codec,
    resolve,
)

if TYPE_CHECKING:
    from benchmark.measure.outcome import Outcome
    from benchmark.plan.matrix import Matrix, Sources
    from benchmark.plan.request import Request

SHOWN = 3


class Candidate(NamedTuple):
    """What is checked, and how its missing cells are measured; fields as the options."""

    codec: str
    checkpoint: Path | None
    reference_codec: str
    dataset: str
    points: tuple[str, ...]
    metrics: tuple[str, ...]
    timing: bool
    limit: int | None
    common: bool
    results: Path
    data_dir: Path | None
    weights_dir: Path | None
    vtm_dir: Path | None
    flatten: bool
    jobs: int | None
    device: str


def rows_of(folder: Path, dataset: str = "") -> RowSet:
    """Rows of a dataset's folder; of clic2020:mobile, those of its part only."""
    found = read_rows(folder)
    subset = dataset.partition(":")[2]
    if subset:
        found = found._replace(rows=_of_part(found.rows, subset))
    return found


def measured(
    candidate: Candidate,
    folders: Mapping[str, Path],
    run: "Callable[[Request, Matrix], Outcome]",
) -> tuple[RowSet, RowSet]:
    """The reference's rows of this codec, and the new ones: its settings on its images.

    folders: of the reference, by dataset. run: measures a request whose matrix is open. What the
    results folder has already is not measured again. Raises `NotComparable` before anything is
    measured where the images are not the same.
    """
    from benchmark.plan.matrix import open_sources
    from benchmark.plan.request import Request
    from benchmark.system.device import use_device

    use_device(candidate.device)
    name = candidate.dataset or _only(folders)
    request = Request(
        dataset=name,
        results=candidate.results,
        data_dir=candidate.data_dir,
        weights_dir=candidate.weights_dir,
        vtm_dir=candidate.vtm_dir,
        limit=candidate.limit,
        flatten=candidate.flatten,
        timing=candidate.timing,
        jobs=candidate.jobs,
        device=candidate.device,
    )
    request.use_folders()
    sources = open_sources(request)
    stored = sources.dataset.store_name
    if len(folders) == 1 and stored not in folders and not candidate.dataset:
        stored = next(iter(folders))
    if stored not in folders:
        raise UsageError(f"the reference has no rows of {stored}: it has {', '.join(folders)}")
    reference = rows_of(folders[stored], sources.dataset.name)
    if (candidate.results / sources.dataset.store_name).resolve() == folders[stored].resolve():
        raise UsageError(
            f"{folders[stored]} is where the reference lies: let --results name another folder"
        )
    matched = _matched(candidate, reference)
    kept = pc.is_in(_texts(reference.rows), value_set=pa.array(sorted(set(matched.values()))))
    reference = reference._replace(rows=reference.rows.filter(kept))
    if candidate.limit is not None:
        here = pa.array([source.sha256 for source in sources.images], pa.string())
        rows = reference.rows.filter(pc.is_in(reference.rows["image_sha256"], value_set=here))
        reference = reference._replace(rows=rows)
    _same_images(reference, sources, candidate.common)
    return _measure(candidate, request, reference, matched, run)


def _only(folders: Mapping[str, Path]) -> str:
    """The name of the reference's dataset, if it says which images are meant."""
    if len(folders) > 1:
        raise UsageError(
            f"the reference has rows of {', '.join(folders)}: say which with --dataset"
        )
    (name,) = folders
    if name not in DATASETS:
        raise UsageError(f"{name} is no dataset by name: say where its images are with --dataset")
    return name


def _matched(candidate: Candidate, reference: RowSet) -> dict[CodecSpec, str]:
    """Variants to measure, each with the text of its counterpart in the reference."""
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


def _same_images(reference: RowSet, sources: "Sources", common: bool) -> None:
    """Before hours are spent on them."""
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
    matched: Mapping[CodecSpec, str],
    run: "Callable[[Request, Matrix], Outcome]",
) -> tuple[RowSet, RowSet]:
    from benchmark.plan.matrix import open_matrix

    metrics = candidate.metrics or (*USUAL, *_sets_of(reference.rows))
    matrices = []
    for spec, before in matched.items():
        rows = reference.rows.filter(pc.equal(_texts(reference.rows), before))
        points = candidate.points or _points(spec, rows)
        asked = replace(request, codecs=(spec.text,), points=tuple(points), metrics=tuple(metrics))
        matrix = open_matrix(asked)
        if not candidate.common:
            _refuse_other_settings(reference, {cell.setting for cell in matrix.cells}, rows)
        matrices.append(matrix)
        run(asked, matrix)  # failed cells are rows, and told with them
    new = _asked(matrices)
    if candidate.points:
        settings = {cell.setting for matrix in matrices for cell in matrix.cells}
        reference = reference._replace(rows=_at(reference.rows, settings))
    return reference, new


def _refuse_other_settings(reference: RowSet, asked: set[Setting], rows: pa.Table) -> None:
    lacking = {(one.name, float(one.value)) for one in asked} - set(_settings(rows))
    if lacking:
        names = ", ".join(str(Setting(*one)) for one in sorted(lacking))
        raise NotComparable(
            f"the settings are not the same: {reference.name} has no {names}; leave them out, or "
            "compare what both have with --common"
        )


def _asked(matrices: "list[Matrix]") -> RowSet:
    """Rows of the cells that were asked for, of this checkpoint alone."""
    store = matrices[0].store
    keys = pa.array([cell.key for matrix in matrices for cell in matrix.cells], pa.string())
    table = store.table()
    return RowSet(str(store.folder), store.folder, table.filter(pc.is_in(table["cell"], keys)))


def _sets_of(rows: pa.Table) -> list[str]:
    """Distribution metrics whose features the reference has."""
    spaces = {name: metric_class(metric_class(name).space).column for name in DISTRIBUTION_METRICS}
    return [name for name, column in spaces.items() if rows[column].null_count < rows.num_rows]


def _points(spec: CodecSpec, rows: pa.Table) -> list[str]:
    """The reference's settings, as `--points` takes them."""
    by_name: dict[str, list[float]] = {}
    for setting in sorted(set(_settings(rows))):
        by_name.setdefault(setting.name, []).append(setting.value)
    return [
        f"{spec.name}.{name}={','.join(format(value, '.17g') for value in values)}"
        for name, values in by_name.items()
    ]


def _settings(rows: pa.Table) -> list[Setting]:
    pairs = zip(rows["setting_name"].to_pylist(), rows["setting_value"].to_pylist(), strict=True)
    return [Setting(name, value) for name, value in pairs]


def _at(rows: pa.Table, settings: Iterable[Setting]) -> pa.Table:
    wanted = {(setting.name, float(setting.value)) for setting in settings}
    return rows.filter(pa.array([setting in wanted for setting in _settings(rows)], pa.bool_()))


def _of_part(rows: pa.Table, subset: str) -> pa.Table:
    return rows.filter(pc.starts_with(rows["image"], f"{subset}/"))


def _texts(rows: pa.Table) -> pa.Array:
    """The spec of each row as text."""
    pairs = zip(rows["codec"].to_pylist(), rows["variant"].to_pylist(), strict=True)
    return pa.array([CodecSpec.of(codec, variant or "").text for codec, variant in pairs])
