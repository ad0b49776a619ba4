"""Run a request: measure missing cells, and score rows that lack a metric. Prints nothing."""

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
    Measured,
    RunConditions,
    Seconds,
    Task,
    cells_to_decode_twice,
    longest_first,
)
from benchmark.measure.estimate import CostModel, Need, WorkerPlan, memory_needs, plan_workers
from benchmark.measure.local import Finished, Started, carry_out
from benchmark.measure.record import (
    Failure,
    Outcome,
    Progress,
    ProgressFactory,
    Rescored,
    RowRecorder,
    RunNotes,
    count_nulls,
    no_progress,
    task_title,
)
from benchmark.measure.remaining import Pace
from benchmark.measure.request import Request
from benchmark.measure.select import (
    Matrix,
    copy_finished,
    make_matrix,
    may_have_rows,
    open_matrix,
    open_stored,
)
from benchmark.measure.workers import worker_context
from benchmark.metrics.metric import (
    absence_lines,
    drop_uncomputable,
    key_by_label,
    uncomputable_metrics,
)
from benchmark.registry import metric_class, per_image_names
from benchmark.rows.codecs import NamedCodecs, run_record
from benchmark.rows.schema import NOT_DETERMINISTIC, metric_names
from benchmark.rows.store import Store
from benchmark.rows.versions import prefer_own_rows
from benchmark.spec import CodecSpec
from benchmark.system.machine import available_memory, cores
from benchmark.system.settings import Device, isolated, use_device
from benchmark.system.text import counted

ENGINES = ("local", "ray")
# Yields tasks when they start and end; and about once a second None, or why no task is running.
Engine = Callable[[Sequence[Task], RunConditions], Iterator[Finished | Started | str | None]]
# Called with the planned cells, the reasons why metrics cannot be computed on this machine, and the
# plan of workers (None on a cluster).
Announcer = Callable[[Matrix, Mapping[str, str], WorkerPlan | None], None]
EXCLUDED_FIELDS = ("folder", "decode_twice")  # a run's record has "decoded_twice" instead


@isolated
def run(
    request: Request,
    *,
    matrix: Matrix | None = None,
    progress: ProgressFactory = no_progress,
    announce: Announcer = lambda matrix, reasons, workers: None,
) -> Outcome:
    """Measure the cells of a request that its results folder lacks; a failed cell gives a row.

    matrix: the cells of the request, if they are known. announce: called before the first cell, see
    `Announcer`. Raises `UsageError` or `Unavailable` before anything is measured. Finished cells
    are stored even on `KeyboardInterrupt`.
    """
    metrics, is_local = metric_names(request.metrics), request.engine == "local"
    if request.verify and not request.keep:
        raise UsageError("--verify decodes stored streams again: leave out --no-keep")
    if request.verify and not is_local:
        remedy = "run the same command afterwards with --engine local"
        raise UsageError(f"--verify decodes on this machine: {remedy}")
    request.use_folders()
    with open_backend(request) as backend:
        if is_local and matrix is None and not may_have_rows(request):
            worker_context()  # starts to import the modules of workers
        matrix = matrix or open_matrix(request)
        if num_copied := copy_finished(matrix, request):
            matrix = make_matrix(request, matrix.sources, matrix.selection, matrix.store)
        # The nodes of a cluster report later which metrics they cannot compute.
        absent_metrics = uncomputable_metrics(metrics) if is_local else {}
        needs = memory_needs(matrix.to_do or matrix.cells)
        workers = _plan_workers(request, needs, metrics, absent_metrics) if is_local else None
        announce(matrix, absent_metrics, workers)
        jobs = workers.workers if workers else backend.jobs
        conditions = RunConditions.create(request, matrix.store.folder, backend.device, jobs)
        outcome = _measure_matrix(request, matrix, conditions, backend, absent_metrics, progress)
    if num_copied:
        remark = (
            f"{counted(num_copied, 'cell')} copied from checks or from runs of the same weights"
        )
        outcome = replace(outcome, remarks=(*outcome.remarks, remark))
    return _verify_outcome(outcome, conditions, progress) if request.verify else outcome


@isolated
def rescore(
    request: Request,
    *,
    progress: ProgressFactory = no_progress,
    announce: Callable[[Mapping[str, str]], None] = lambda reasons: None,
    announce_refused_codecs: Callable[[Mapping[str, int]], None] = lambda counts: None,
) -> Rescored:
    """Compute missing metrics of stored rows, from their streams.

    announce: called before the first row, with reasons why metrics cannot be computed here.
    announce_refused_codecs: called with the number of rows of each codec that may not run.
    Raises `UsageError`, and `Unavailable` if, for example, no metric can be computed.
    """
    from benchmark.measure.score import find_unscored_tasks, scored_pairs
    from benchmark.rows.place import required_place
    from benchmark.rows.stored import stored_dataset

    results, codecs = request.results, NamedCodecs(",".join(request.codecs))
    dataset = required_place(results, request.dataset or stored_dataset(results, ""))
    request = request.for_stored_rows(dataset)
    request.use_folders()
    absent_metrics = uncomputable_metrics(metrics := metric_names(request.metrics))
    _require_computable(metrics, absent_metrics)
    sources, store = open_stored(request)
    images, table = sources.images, store.table()
    sizes = {(image.height_px, image.width_px) for image in images}
    needs = [Need(codec, *size) for codec in table["codec"].unique().sort() for size in sizes]
    workers = _plan_workers(request, needs, metrics, absent_metrics)
    conditions = RunConditions.create(
        request, store.folder, use_device(request.device), workers.workers
    )
    if not table.height:
        raise UsageError(f"{store.folder} holds no rows: measure some with `bench run`")
    folder, may_run = store.folder, codecs.selects_to_run
    find_tasks = partial(
        find_unscored_tasks, table, images, folder=folder, retry=True, may_run=may_run
    )
    tasks = find_tasks(metrics_to_score := drop_uncomputable(conditions.metrics, absent_metrics))
    missing_names = {name for task in tasks for name in task.metrics}
    unusable_metrics = uncomputable_metrics(
        [name for name in metrics if missing_names & {*per_image_names([name])}], loaded=True
    )
    if not unusable_metrics.keys() <= absent_metrics.keys():
        absent_metrics |= unusable_metrics
        _require_computable(metrics, absent_metrics)
        metrics_to_score = drop_uncomputable(conditions.metrics, absent_metrics)
        tasks = find_tasks(metrics_to_score)
    announce(absent_metrics)
    announce_refused_codecs(codecs.count_refused(table))
    seconds, cells = CostModel(table).seconds, [task.row["cell"] for task in tasks]
    scored_before = scored_pairs(table, cells, metrics_to_score, folder)
    with progress("scoring", len(tasks)) as report:
        engine = _local_engine(seconds)
        failures = run_tasks(tasks, conditions, store, True, report, engine, seconds)
    rows = prefer_own_rows(store.table()).filter(col("cell").is_in(cells))
    scored_after = scored_pairs(rows, cells, metrics_to_score, folder)
    num_filled = len(scored_after - scored_before)
    num_still_null = len(
        {cell for cell in cells for name in metrics_to_score if (cell, name) not in scored_after}
    )
    null_counts = count_nulls(rows, metrics_to_score)
    row_counts = table.height, len(tasks), num_still_null
    return Rescored(*row_counts, tuple(failures), num_filled, absent_metrics, null_counts)


def _plan_workers(
    request: Request, needs: Iterable[Need], names: Sequence[str], absent_metrics: Mapping[str, str]
) -> WorkerPlan:
    metrics = drop_uncomputable(per_image_names(names), absent_metrics)
    jobs = 1 if request.timing else request.jobs
    return plan_workers(needs, metrics, jobs, cores(), available_memory())


def _require_computable(metrics: Sequence[str], absent_metrics: Mapping[str, str]) -> None:
    if len(absent_metrics) == len(metrics):
        absences = absence_lines(key_by_label(absent_metrics).items())
        raise Unavailable(f"no metric can be computed here: {'; '.join(absences)}")


def _measure_matrix(
    request: Request,
    matrix: Matrix,
    conditions: RunConditions,
    backend: "Backend",
    absent_metrics: Mapping[str, str],
    progress: ProgressFactory,
) -> Outcome:
    store, to_do = matrix.store, matrix.to_do
    reasons = matrix.table["reason"].cast(pl.String)
    nondeterministic_rows = matrix.table.filter(reasons.str.starts_with(NOT_DETERMINISTIC)).rows(
        named=True
    )
    random_codecs = {CodecSpec.parse_row(row) for row in nondeterministic_rows}
    decode_twice = cells_to_decode_twice(to_do, random_codecs)
    conditions = replace(conditions, decode_twice=decode_twice)
    store.move_damaged_shards()
    to_score = _find_unscored(matrix, conditions.metrics, absent_metrics)
    if to_do:
        store.write_record(conditions.run, _describe_run(request, matrix, conditions, backend))
    seconds = CostModel(matrix.table).seconds
    engine, failures = backend.engine(seconds), []
    tasks_by_activity: dict[str, Sequence[Task]] = {"measuring": to_do, "scoring": to_score}
    for activity, tasks in tasks_by_activity.items():
        if tasks:
            running_mark = store.mark_running() if to_do else nullcontext()
            with running_mark, progress(activity, len(tasks)) as report:
                failures += run_tasks(
                    tasks, conditions, store, request.keep, report, engine, seconds
                )
    if to_do:
        store.amend(conditions.run, {"ended": True})
    return Outcome(
        matrix,
        _select_rows(store.table() if to_do or to_score else matrix.table, matrix),
        metric_names(request.metrics),
        len(to_do),
        len(to_score),
        tuple(failures),
        tuple(backend.remarks),
        absent_metrics,
        anchor=request.anchor,
        bundled=request.bundled,
        named=request.codecs,
    )


def _find_unscored(
    matrix: Matrix, metrics: Sequence[str], absent_metrics: Mapping[str, str]
) -> Sequence[Task]:
    to_do = {cell.key for cell in matrix.to_do}
    finished_cells = {cell.key for cell in matrix.cells} - to_do
    if not finished_cells:
        return ()
    from benchmark.measure.score import find_unscored_tasks

    # If a stranger wrote the row, it may have the cell's key but name another codec.
    specs = {contender.spec for contender in matrix.selection.contenders}
    tasks = find_unscored_tasks(
        matrix.table,
        matrix.sources.images,
        drop_uncomputable(metrics, absent_metrics),
        matrix.store.folder,
        retry=False,
        may_run=lambda row: CodecSpec.parse_row(row) in specs,
    )
    return [task for task in tasks if task.key in finished_cells]


def _select_rows(table: pl.DataFrame, matrix: Matrix) -> pl.DataFrame:
    return prefer_own_rows(table.filter(col("cell").is_in([cell.key for cell in matrix.cells])))


def _describe_run(
    request: Request, matrix: Matrix, conditions: RunConditions, backend: "Backend"
) -> dict[str, object]:
    contenders = matrix.selection.contenders
    return run_record(
        sys.argv[1:],
        request=asdict(request),
        conditions={k: v for k, v in asdict(conditions).items() if k not in EXCLUDED_FIELDS},
        dataset=matrix.sources.dataset.name,
        origin=matrix.sources.dataset.origin,
        images=len(matrix.sources.images),
        to_do=len(matrix.to_do),
        refused_images=[
            (absence.what, f"{absence.what} {absence.why}") for absence in matrix.sources.refused
        ],
        codecs={contender.spec.text: asdict(contender.info) for contender in contenders},
        skipped_codecs={absence.what: absence.why for absence in matrix.selection.skipped},
        packs={
            contender.spec.text: {"path": str(pack.path), "sha256": pack.sha256}
            for contender in contenders
            if (pack := contender.pack) is not None
        },
        protocols={
            "coding": CODING,
            **{metric.column: metric.protocol for metric in map(metric_class, conditions.metrics)},
        },
        **backend.facts,
    )


def _verify_outcome(
    outcome: Outcome, conditions: RunConditions, progress: ProgressFactory
) -> Outcome:
    """Decode streams that are not verified yet; different pixels are failures."""
    from benchmark.measure.verify import verifiable_rows, verify

    store = outcome.matrix.store
    specs = [contender.spec for contender in outcome.matrix.selection.contenders]
    codecs = NamedCodecs(",".join(spec.text for spec in specs))
    unverified_rows = verifiable_rows(
        store, codecs, specs.__contains__, [cell.key for cell in outcome.cells]
    )
    notes = RunNotes(store, conditions.run)
    with progress("verifying", len(unverified_rows.rows)) as report:
        failures = *outcome.failures, *verify(unverified_rows, conditions, report, notes.tracebacks)
    notes.write()
    return replace(outcome, rows=_select_rows(store.table(), outcome.matrix), failures=failures)


def run_tasks(
    tasks: Sequence[Task],
    conditions: RunConditions,
    store: Store,
    keep_streams: bool,
    report: Callable[[Progress], None],
    engine: Engine,
    seconds: Seconds = lambda task: None,
) -> list[Failure]:
    """Execute tasks and store rows, even if interrupted. seconds: expected seconds of tasks."""
    failures: list[Failure] = []
    num_finished, title, pace = 0, "", Pace(tasks, seconds)
    notes = RunNotes(store, conditions.run)
    recorder = RowRecorder(store, keep_streams, notes)
    try:
        for event in engine(tasks, conditions):
            if event is None or isinstance(event, str):
                recorder.tick()
                title = event or title
            else:
                pace.process(event)
                title = task_title(event.task)
            if isinstance(event, Finished):
                num_finished += 1
                failures += notes.add(event)
                if isinstance(event.outcome, Measured):
                    recorder.add(event.outcome)
            report(Progress(num_finished, len(failures), pace.remaining_seconds(), title))
    finally:
        recorder.close()
    return failures


@dataclass(frozen=True, slots=True)
class Backend:
    """Processes of this machine or of a cluster's nodes that execute tasks."""

    device: Device
    jobs: int | None  # number of parallel tasks; None: one per core of this machine
    engine: Callable[[Seconds], Engine]
    facts: Mapping[str, Any] = field(default_factory=dict)  # facts for the run's record
    remarks: Iterable[str] = ()  # sentences on what nodes lack, complete when the run has ended


@contextmanager
def open_backend(request: Request) -> Iterator[Backend]:
    """Open a request's backend and use its device; raise `UsageError` or `Unavailable`."""
    if request.engine not in ENGINES:
        raise UsageError(f"--engine {request.engine!r} is not one of {', '.join(ENGINES)}")
    if request.engine == "local":
        yield Backend(use_device(request.device), request.jobs, _local_engine)
        return
    if request.timing:
        raise UsageError(
            "--timing needs a single machine with nothing else running: leave out --engine ray"
        )
    from benchmark.measure.ray import RayEngine, connect_cluster

    with connect_cluster() as nodes:
        device = use_device(request.device, any(node.gpus for node in nodes))
        remarks: dict[str, None] = {}

        def engine(seconds: Seconds) -> Engine:
            return RayEngine(nodes, seconds, remarks).carry_out

        jobs = request.jobs or max(int(sum(node.cpus for node in nodes)), 1)
        facts = {"engine": "ray", "nodes": [node._asdict() for node in nodes]}
        yield Backend(device, jobs, engine, facts, remarks)


def _local_engine(seconds: Seconds) -> Engine:
    return lambda tasks, conditions: carry_out(longest_first(tasks, seconds), conditions)
