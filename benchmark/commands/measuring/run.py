"""`bench run` and `bench rescore`: measure missing cells; score rows that lack a metric."""

import json
from functools import partial
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
    timeout: options.Timeout = None,
    device: options.DeviceName = "auto",
    engine: options.EngineName = "local",
    address: options.Address = "auto",
    gpus_per_worker: options.GpusPerWorker = 1.0,
    draws: options.Draws = None,
    limit: options.Limit = None,
    results: options.ResultsTarget = Path("results"),
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
    vtm_dir: options.VtmDir = None,
    packs: options.Packs = None,
    skip_missing: options.SkipMissing = False,
    flatten: options.Flatten = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep/--no-keep",
            help="Keep the streams, for `bench rescore` and `bench audit`.",
            rich_help_panel=options.TARGET,
        ),
    ] = True,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Verify by independent decode: decode each kept stream again in a fresh process.",
            rich_help_panel=options.MANNER,
        ),
    ] = False,
    allow_few: options.AllowFew = False,
    timing: options.Timing = False,
    table: Annotated[
        bool,
        typer.Option(
            "--table/--no-table",
            help="Print the table of means at the end.",
            rich_help_panel=options.TARGET,
        ),
    ] = True,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
) -> None:
    """Encode, decode and score images, and store the rows.

    A cell is one codec variant at one setting on one image; finished cells are not measured again.

    Exit code 0, 1 if a cell or image failed, 2 if the request cannot be run, 130 if
    interrupted.

    Examples:
      bench run --codecs jpeg,webp --dataset sample
      bench run --codecs ours,./mine.py:Mine --dataset photos --limit 10
      bench run --codecs jpeg --points jpeg.quality=10,30 --metrics psnr,ms_ssim
      bench run --codecs dirac:steps=100 --dataset kodak --draws 4
    """
    from benchmark.codec_spec import split_unescaped
    from benchmark.commands.output import finish, interruptible, run_with_progress
    from benchmark.plan.request import Request
    from benchmark.registry import metric_names

    request = Request(
        codecs=tuple(split_unescaped(codecs, ",")),
        dataset=dataset,
        points=tuple(points or ()),
        metrics=metric_names(metrics),
        draws=draws,
        limit=limit,
        flatten=flatten,
        packs=tuple(packs or ()),
        skip_missing=skip_missing,
        timing=timing,
        engine=engine,
        device=device,
        jobs=jobs,
        timeout_seconds=timeout,
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
        outcome = run_with_progress(request, quiet=as_json, details=verbose)
        finish(outcome, as_json, table, allow_few, verbose)


def rescore(
    dataset: options.DatasetName = "sample",
    codecs: options.StoredCodecs = "all",
    metrics: options.Metrics = "all",
    jobs: options.Jobs = None,
    timeout: options.Timeout = None,
    device: options.DeviceName = "auto",
    limit: options.Limit = None,
    results: options.Results = Path("results"),
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
    flatten: options.Flatten = False,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
) -> None:
    """Decode kept streams again and compute the metrics that stored rows lack.

    Metrics without their weights or programs are named before anything is decoded, and exit code 2
    says that none of those asked for can be computed.

    Examples:
      bench rescore --dataset sample --metrics ssim
      bench rescore --dataset kodak --metrics lpips --weights-dir weights
      bench rescore --dataset kodak --codecs ./mine.py:Mine --metrics ssim
    """
    from benchmark.codec_spec import split_unescaped
    from benchmark.commands.absent_metrics import before_measuring
    from benchmark.commands.output import (
        interruptible,
        print_problems,
        say,
        say_not_run,
        show_progress,
    )
    from benchmark.measure.run import rescore as rescore_rows
    from benchmark.plan.request import Request
    from benchmark.registry import metric_names

    request = Request(
        codecs=tuple(split_unescaped(codecs, ",")),
        dataset=dataset,
        metrics=metric_names(metrics),
        limit=limit,
        flatten=flatten,
        device=device,
        jobs=jobs,
        timeout_seconds=timeout,
        results=results,
        data_dir=data_dir,
        weights_dir=weights_dir,
    )
    with interruptible("finished rows are kept; the same command resumes from there"):
        done = rescore_rows(
            request,
            progress=partial(show_progress, quiet=as_json),
            announce=lambda lacking: say([] if as_json else before_measuring(lacking, verbose)),
            announce_code=say_not_run,
        )
    if as_json:
        facts: dict[str, object] = {"rows": done.rows, "tried": done.tried}
        facts |= {"filled": done.filled, "still_null": done.still_null}
        facts["lacking"] = dict(done.lacking)
        print(json.dumps({**facts, "failed": [failure._asdict() for failure in done.failures]}))
    else:
        print_problems(done.failures, (), ())
        print(
            f"{done.rows} rows, {done.tried} lacked a metric that can be computed; {done.filled} "
            f"values filled in, {done.still_null} rows still without"
        )
    raise typer.Exit(1 if done.failures else 0)
