"""Run a request: measure the cells that are missing, score rows that lack a metric. No printing."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import polars as pl
from polars import col

from benchmark.codec import CODING
from benchmark.errors import Unavailable, UsageError
from benchmark.measure.cells import (
    Conditions,
    Measured,
    Seconds,
    Task,
    cells_to_decode_twice,
    longest_first,
)
from benchmark.measure.estimate import CostModel, Need, WorkerPlan, needs_of, plan_workers
from benchmark.measure.local import Finished, Started, carry_out
from benchmark.measure.record import (
    Failure,
    Outcome,
    Progress,
    Recorder,
    Rescored,
    RunNotes,
    ShowsProgress,
    silent,
    title_of,
    without_value,
)
from benchmark.measure.remaining import Pace
from benchmark.measure.request import Request
from benchmark.measure.select import (
    Matrix,
    matrix_of,
    measured_before,
    open_matrix,
    open_stored,
    take_over,
)
from benchmark.measure.workers import worker_context
from benchmark.metrics.metric import absence_lines, computable, key_by_label, lacking
from benchmark.registry import metric_class, scored_by_image
from benchmark.rows.codecs import NamedCodecs, run_record
from benchmark.rows.schema import NOT_DETERMINISTIC, metric_names
from benchmark.rows.store import Store
from benchmark.rows.versions import one_per_cell
from benchmark.spec import CodecSpec
from benchmark.system.machine import available_memory, cores
from benchmark.system.settings import Device, isolated, use_device
from benchmark.system.text import counted

ENGINES = ("local", "ray")
# Yields tasks as they start and end, and about once a second None, or why nothing is done.
Engine = Callable[[Sequence[Task], Conditions], Iterator[Finished | Started | str | None]]
# Called with the planned cells, the metrics that cannot be computed here by reason, and the number
# of workers; None on a cluster.
Announces = Callable[[Matrix, Mapping[str, str], WorkerPlan | None], None]
LEFT_OUT = ("folder", "decode_twice")  # of a record: which streams were decoded twice comes later


@isolated
def run(
    request: Request,
    *,
    matrix: Matrix | None = None,
    progress: ShowsProgress = silent,
    announce: Announces = lambda matrix, lacking, workers: None,
) -> Outcome:
    """Measure what the results folder lacks of a request; finished cells are not measured again.

    matrix: of this request, if the caller has opened it already. announce: called before the first
    cell, with the cells, the metrics that cannot be computed here and why, and the workers here.
    A cell that fails is a row and a `Failure`. Raises `UsageError` or `Unavailable` for what cannot
    be run, before anything is measured. On `KeyboardInterrupt`, finished cells are stored.
    """
    metrics, here = metric_names(request.metrics), request.engine == "local"
    if request.verify and not request.keep:
        raise UsageError("--verify decodes kept streams again: drop --no-keep")
    if request.verify and not here:
        again = "run the same command afterwards with --engine local"
        raise UsageError(f"--verify decodes on this machine: {again}")
    request.use_folders()
    with backend_of(request) as backend:
        if here and matrix is None and not measured_before(request):
            worker_context()  # begins to load what workers need
        matrix = matrix or open_matrix(request)
        if taken := take_over(matrix, request):
            matrix = matrix_of(request, matrix.sources, matrix.selection, matrix.store)
        # What the nodes of a cluster lack is known once they have reported it.
        absent = lacking(metrics) if here else {}
        needs = needs_of(matrix.to_do or matrix.cells)
        workers = _workers(request, needs, metrics, absent) if here else None
        announce(matrix, absent, workers)
        jobs = workers.workers if workers else backend.jobs
        conditions = Conditions.of(request, matrix.store.folder, backend.device, jobs)
        outcome = _measure(request, matrix, conditions, backend, absent, progress)
    if taken:
        what = f"{counted(taken, 'cell')} taken over: of checks, or of unchanged weights"
        outcome = replace(outcome, remarks=(*outcome.remarks, what))
    return _verified(outcome, conditions, progress) if request.verify else outcome


@isolated
def rescore(
    request: Request,
    *,
    progress: ShowsProgress = silent,
    announce: Callable[[Mapping[str, str]], None] = lambda lacking: None,
    announce_code: Callable[[Mapping[str, int]], None] = lambda code: None,
) -> Rescored:
    """Compute the metrics that stored rows lack, from their kept streams; cells stay as they are.

    announce: called before the first row is decoded, with the metrics that cannot be computed here,
    each with the reason; no row is decoded for these. announce_code: called with the codecs that
    may not run (`NamedCodecs`) and their numbers of rows, which stay as they are. Raises
    `UsageError` or `Unavailable` for what cannot be done, as where no metric can be computed.
    """
    from benchmark.measure.score import scored, unscored
    from benchmark.rows.place import required_place
    from benchmark.rows.stored import stored_dataset

    results, named = request.results, NamedCodecs(",".join(request.codecs))
    place = required_place(results, request.dataset or stored_dataset(results, ""))
    request = request.of_stored(place)
    request.use_folders()
    absent = lacking(asked := metric_names(request.metrics))
    _refuse_all(asked, absent)
    sources, store = open_stored(request)
    images, table = sources.images, store.table()
    sides = {(image.height_px, image.width_px) for image in images}
    needs = [Need(codec, *side) for codec in table["codec"].unique().sort() for side in sides]
    workers = _workers(request, needs, asked, absent)
    conditions = Conditions.of(request, store.folder, use_device(request.device), workers.workers)
    if not table.height:
        raise UsageError(f"{store.folder} holds no rows: measure some with `bench run`")
    folder, may_run = store.folder, named.selects_to_run
    find = partial(unscored, table, images, folder=folder, again=True, may_run=may_run)
    tasks = find(names := computable(conditions.metrics, absent))
    wanted = {name for task in tasks for name in task.metrics}
    damaged = lacking([name for name in asked if wanted & {*scored_by_image([name])}], loaded=True)
    if not damaged.keys() <= absent.keys():
        absent |= damaged
        _refuse_all(asked, absent)
        tasks = find(names := computable(conditions.metrics, absent))
    announce(absent)
    announce_code(named.count_refused(table))
    seconds, cells = CostModel(table).seconds, [task.row["cell"] for task in tasks]
    before = scored(table, cells, names, folder)
    with progress("scoring", len(tasks)) as report:
        engine = _local_engine(seconds)
        failures = run_tasks(tasks, conditions, store, True, report, engine, seconds)
    rows = one_per_cell(store.table()).filter(col("cell").is_in(cells))
    after = scored(rows, cells, names, folder)
    filled = len(after - before)
    lack = len({cell for cell in cells for name in names if (cell, name) not in after})
    without = without_value(rows, names)
    return Rescored(table.height, len(tasks), lack, tuple(failures), filled, absent, without)


def _workers(
    request: Request, needs: Iterable[Need], asked: Sequence[str], absent: Mapping[str, str]
) -> WorkerPlan:
    """Return the workers that memory allows; a single worker where cells are timed."""
    metrics = computable(scored_by_image(asked), absent)
    jobs = 1 if request.timing else request.jobs
    return plan_workers(needs, metrics, jobs, cores(), available_memory())


def _refuse_all(asked: Sequence[str], absent: Mapping[str, str]) -> None:
    if len(absent) == len(asked):
        kinds = absence_lines(key_by_label(absent).items())
        raise Unavailable(f"nothing can be computed here: {'; '.join(kinds)}")


def _measure(
    request: Request,
    matrix: Matrix,
    conditions: Conditions,
    backend: "Backend",
    absent: Mapping[str, str],
    progress: ShowsProgress,
) -> Outcome:
    store, to_do = matrix.store, matrix.to_do
    reasons = matrix.table["reason"].cast(pl.String)
    random = matrix.table.filter(reasons.str.starts_with(NOT_DETERMINISTIC)).rows(named=True)
    twice = cells_to_decode_twice(to_do, {CodecSpec.of_row(row) for row in random})
    conditions = replace(conditions, decode_twice=twice)
    store.set_aside()
    to_score = _to_score(matrix, conditions.metrics, absent)
    if to_do:
        store.begin(conditions.run, _record(request, matrix, conditions, backend))
    seconds = CostModel(matrix.table).seconds
    engine, failures = backend.engine(seconds), []
    parts: dict[str, Sequence[Task]] = {"measuring": to_do, "scoring": to_score}
    for what, todo in parts.items():
        if todo:
            working = store.mark_running() if to_do else nullcontext()
            with working, progress(what, len(todo)) as report:
                work = todo, conditions, store, request.keep
                failures += run_tasks(*work, report, engine, seconds)
    if to_do:
        store.amend(conditions.run, {"ended": True})
    return Outcome(
        matrix,
        _rows(store.table() if to_do or to_score else matrix.table, matrix),
        metric_names(request.metrics),
        len(to_do),
        len(to_score),
        tuple(failures),
        tuple(backend.remarks),
        absent,
        anchor=request.anchor,
        bundled=request.bundled,
        named=request.codecs,
    )


def _to_score(matrix: Matrix, metrics: Sequence[str], absent: Mapping[str, str]) -> Sequence[Task]:
    """Return the rows of finished cells that lack a metric which can be computed here."""
    to_do = {cell.key for cell in matrix.to_do}
    done = {cell.key for cell in matrix.cells} - to_do
    if not done:
        return ()
    from benchmark.measure.score import unscored

    # A row of the cell's key may still name another codec, if a stranger wrote it.
    asked = {contender.spec for contender in matrix.selection.contenders}
    tasks = unscored(
        matrix.table,
        matrix.sources.images,
        computable(metrics, absent),
        matrix.store.folder,
        again=False,
        may_run=lambda row: CodecSpec.of_row(row) in asked,
    )
    return [task for task in tasks if task.key in done]


def _rows(table: pl.DataFrame, matrix: Matrix) -> pl.DataFrame:
    return one_per_cell(table.filter(col("cell").is_in([cell.key for cell in matrix.cells])))


def _record(
    request: Request, matrix: Matrix, conditions: Conditions, backend: "Backend"
) -> dict[str, object]:
    contenders = matrix.selection.contenders
    return run_record(
        sys.argv[1:],
        request=asdict(request),
        conditions={k: v for k, v in asdict(conditions).items() if k not in LEFT_OUT},
        dataset=matrix.sources.dataset.name,
        origin=matrix.sources.dataset.origin,
        images=len(matrix.sources.images),
        to_do=len(matrix.to_do),
        refused_images=[(of.what, f"{of.what} {of.why}") for of in matrix.sources.refused],
        codecs={contender.spec.text: asdict(contender.info) for contender in contenders},
        skipped_codecs={of.what: of.why for of in matrix.selection.skipped},
        packs={
            contender.spec.text: {"path": str(pack.path), "sha256": pack.sha256}
            for contender in contenders
            if (pack := contender.pack) is not None
        },
        protocols={
            "coding": CODING,
            **{kind.column: kind.protocol for kind in map(metric_class, conditions.metrics)},
        },
        **backend.facts,
    )


def _verified(outcome: Outcome, conditions: Conditions, progress: ShowsProgress) -> Outcome:
    """Decode every stream of the cells that is not verified yet; what differs counts as failed."""
    from benchmark.measure.verify import kept_rows, verify

    store = outcome.matrix.store
    asked = [contender.spec for contender in outcome.matrix.selection.contenders]
    codecs = NamedCodecs(",".join(spec.text for spec in asked))
    kept = kept_rows(store, codecs, asked.__contains__, [cell.key for cell in outcome.cells])
    notes = RunNotes(store, conditions.run)
    with progress("verifying", len(kept.rows)) as report:
        failures = *outcome.failures, *verify(kept, conditions, report, notes.tracebacks)
    notes.write()
    return replace(outcome, rows=_rows(store.table(), outcome.matrix), failures=failures)


def run_tasks(
    tasks: Sequence[Task],
    conditions: Conditions,
    store: Store,
    keep_streams: bool,
    report: Callable[[Progress], None],
    engine: Engine,
    seconds: Seconds = lambda task: None,
) -> list[Failure]:
    """Carry out tasks and store their rows, however it ends; seconds: expected, or None."""
    failures: list[Failure] = []
    finished, at, pace = 0, "", Pace(tasks, seconds)
    notes = RunNotes(store, conditions.run)
    recorder = Recorder(store, keep_streams, notes)
    try:
        for event in engine(tasks, conditions):
            if event is None or isinstance(event, str):
                recorder.tick()
                at = event or at
            else:
                pace.take(event)
                at = title_of(event.task)
            if isinstance(event, Finished):
                finished += 1
                failures += notes.add(event)
                if isinstance(event.outcome, Measured):
                    recorder.add(event.outcome)
            report(Progress(finished, len(failures), pace.left(), at))
    finally:
        recorder.close()
    return failures


@dataclass(frozen=True, slots=True)
class Backend:
    """Processes of this machine, or of the nodes of a cluster, that carry out tasks."""

    device: Device
    jobs: int | None  # tasks at the same time; None for as many as cores here
    engine: Callable[[Seconds], Engine]
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the run's record
    remarks: Iterable[str] = ()  # after the run: sentences on what nodes lacked


@contextmanager
def backend_of(request: Request) -> Iterator[Backend]:
    """Join what carries out a request's tasks, use its device, and leave it again.

    Raises `UsageError` for options that exclude each other, `Unavailable` without a cluster.
    """
    if request.engine not in ENGINES:
        raise UsageError(f"--engine {request.engine!r} is none of {', '.join(ENGINES)}")
    if request.engine == "local":
        yield Backend(use_device(request.device), request.jobs, _local_engine)
        return
    if request.timing:
        raise UsageError(
            "--timing measures one machine with nothing else running: drop --engine ray"
        )
    from benchmark.measure.ray import RayEngine, joined

    with joined() as nodes:
        device = use_device(request.device, any(node.gpus for node in nodes))
        remarks: dict[str, None] = {}

        def engine(seconds: Seconds) -> Engine:
            return RayEngine(nodes, seconds, remarks).carry_out

        jobs = request.jobs or max(int(sum(node.cpus for node in nodes)), 1)
        facts = {"engine": "ray", "nodes": [node._asdict() for node in nodes]}
        yield Backend(device, jobs, engine, facts, remarks)


def _local_engine(seconds: Seconds) -> Engine:
    return lambda tasks, conditions: carry_out(longest_first(tasks, seconds), conditions)
