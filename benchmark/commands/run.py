"""`bench run`: measure what is missing of codecs × settings × images, then say what there is."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options

if TYPE_CHECKING:
    from benchmark.commands.outcome import Outcome
    from benchmark.measure.engine.choose import Place
    from benchmark.measure.workbench import Conditions
    from benchmark.plan.matrix import Matrix


def run(
    codecs: options.Codecs = "all",
    dataset: options.DatasetName = "sample",
    points: options.Points = None,
    metrics: options.Metrics = options.USUAL_METRICS,
    jobs: options.Jobs = None,
    device: options.DeviceName = "auto",
    engine: options.EngineName = "local",
    address: options.Address = "auto",
    gpus_per_worker: options.GpusPerWorker = 1.0,
    limit: options.Limit = None,
    results: options.Results = Path("results"),
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
    vtm_dir: options.VtmDir = None,
    packs: options.Packs = None,
    flatten: options.Flatten = False,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Keep the streams, for `bench rescore`.")
    ] = True,
    attest: Annotated[
        bool,
        typer.Option(
            "--attest", help="Decode each kept stream again in a process that has nothing else."
        ),
    ] = False,
    allow_few: options.AllowFew = False,
    timing: Annotated[
        bool, typer.Option("--timing", help="One cell at a time, nothing beside it.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table/--no-table", help="End with the table of means.")
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Code, decode and score images; finished cells are not measured again.

    Exit code 0, 1 if a cell or image failed, 2 if what was asked for cannot be run, 130 if
    interrupted.
    """
    from benchmark.commands.attest import attest_cells, refuse_attesting
    from benchmark.commands.outcome import finish
    from benchmark.commands.output import interruptible
    from benchmark.measure.engine.choose import choose_place
    from benchmark.measure.unscored import metric_names
    from benchmark.measure.workbench import Conditions
    from benchmark.plan.matrix import Request, open_matrix
    from benchmark.registry import scored_by_image
    from benchmark.system.programs import use_program_folder
    from benchmark.system.weights import use_weights_folder

    asked = metric_names(metrics)
    names = scored_by_image(asked)
    if attest:
        refuse_attesting(keep, engine)
    use_weights_folder(weights_dir)
    use_program_folder(options.VTM_VARIABLE, vtm_dir)
    request = Request(dataset, results, data_dir, limit, flatten, tuple(packs or ()))
    with interruptible("finished cells are kept; the same command goes on from there"):
        place = choose_place(engine, address, device, jobs, gpus_per_worker, timing)
        matrix = open_matrix(request, codecs, points or (), timing)
        if not as_json:
            _announce(matrix)
        folder = matrix.store.folder
        conditions = Conditions.here(names, place.device, flatten, place.jobs, timing, folder)
        with place.session():
            outcome = _measure(matrix, conditions, place, asked, keep, quiet=as_json)
        if attest:
            unattested = attest_cells(matrix, conditions, quiet=as_json)
            outcome = outcome.attested(unattested)
        for remark in place.remarks():
            print(f"bench: {remark}", file=sys.stderr)
        finish(outcome, as_json, table, allow_few)


def _measure(
    matrix: "Matrix",
    conditions: "Conditions",
    place: "Place",
    asked: tuple[str, ...],
    keep: bool,
    quiet: bool,
) -> "Outcome":
    from benchmark.commands.outcome import Outcome
    from benchmark.commands.progress import show_progress
    from benchmark.measure.run import run_tasks
    from benchmark.measure.unscored import unscored
    from benchmark.plan.estimate import CostModel, longest_first

    store, sources = matrix.store, matrix.sources
    failures = []
    table = store.table()
    engine = place.engine(CostModel(table))
    if matrix.to_do:
        _begin(matrix, conditions, place)
        tasks = longest_first(matrix.to_do, table)
        with show_progress("measuring", len(tasks), quiet) as report:
            failures = run_tasks(tasks, conditions, store, keep, report, engine)
        table = store.table()
    lacking = unscored(table, sources.images, conditions.metrics, store.folder, again=False)
    keys = {cell.key for cell in matrix.cells}
    lacking = [task for task in lacking if task.row["cell"] in keys]
    if lacking:
        with show_progress("scoring", len(lacking), quiet) as report:
            failures += run_tasks(lacking, conditions, store, keep, report, engine)
        table = store.table()
    return Outcome(matrix, table, asked, len(matrix.to_do), len(lacking), failures)


def _begin(matrix: "Matrix", conditions: "Conditions", place: "Place") -> None:
    from dataclasses import asdict

    from benchmark.protocol import protocols
    from benchmark.rows.provenance import run_record

    record = run_record(
        sys.argv[1:],
        conditions={k: v for k, v in asdict(conditions).items() if k != "folder"},
        dataset=matrix.sources.dataset.name,
        images=len(matrix.sources.images),
        refused_images=[(one.file.name, one.reason) for one in matrix.sources.refused],
        codecs={c.spec.text: asdict(c.info) for c in matrix.selection.contenders},
        skipped_codecs=dict(matrix.selection.skipped),
        packs={
            contender.spec.text: {"path": str(pack.path), "name": pack.name, "sha256": pack.sha256}
            for contender in matrix.selection.contenders
            if (pack := contender.pack) is not None
        },
        protocols=protocols(conditions.metrics),
        **place.facts,
    )
    matrix.store.begin(conditions.run, record)


def _announce(matrix: "Matrix") -> None:
    print(
        f"{matrix.sources.dataset.name}: {len(matrix.sources.images)} images, "
        f"{len(matrix.selection.contenders)} codecs, {len(matrix.cells)} cells, "
        f"{len(matrix.to_do)} to do",
        file=sys.stderr,
        flush=True,
    )
