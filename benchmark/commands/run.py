"""`bench run`: measure what is missing of codecs x settings x images, then say what there is."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options


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
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Decode each kept stream again in a process that has nothing else.",
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
    from benchmark.commands.output import finish, interruptible, run_with_progress
    from benchmark.plan.request import Request
    from benchmark.registry import metric_names, split_unescaped

    request = Request(
        codecs=tuple(split_unescaped(codecs, ",")),
        dataset=dataset,
        points=tuple(points or ()),
        metrics=metric_names(metrics),
        limit=limit,
        flatten=flatten,
        packs=tuple(packs or ()),
        timing=timing,
        engine=engine,
        device=device,
        jobs=jobs,
        address=address,
        gpus_per_worker=gpus_per_worker,
        keep=keep,
        verify=verify,
        results=results,
        data_dir=data_dir,
        weights_dir=weights_dir,
        vtm_dir=vtm_dir,
    )
    with interruptible("finished cells are kept; the same command resumes from there"):
        finish(run_with_progress(request, quiet=as_json), as_json, table, allow_few)
