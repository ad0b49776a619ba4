"""`bench run` and `bench rescore`: measure missing cells; score rows that lack a metric."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.options import opt
from benchmark.commands.verb import takes
from benchmark.option import ORIGIN, TARGET, option
from benchmark.plan.request import Request

STORED = option(Path("results"), ORIGIN, "Folder of results.", refuses="stored")


@takes(Request)
def run(
    request: Request,
    allow_few: options.AllowFew = False,
    table: Annotated[
        bool, opt(TARGET, "Print the table of means at the end.", "--table/--no-table")
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
    from benchmark.commands.output import finish, interruptible, run_with_progress

    with interruptible("finished cells are kept; the same command resumes from there"):
        outcome = run_with_progress(request, quiet=as_json, details=verbose)
        finish(outcome, as_json, table, allow_few, verbose)


@takes(
    Request,
    "dataset metrics jobs timeout_seconds device limit results data_dir weights_dir flatten",
    metrics="all",
    results=STORED,
)
def rescore(
    request: Request,
    codecs: options.StoredCodecs = "all",
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
    from benchmark.commands.absent import metrics_not_measured
    from benchmark.commands.output import (
        interruptible,
        print_problems,
        say,
        say_not_run,
        show_progress,
    )
    from benchmark.measure.run import rescore as rescore_rows

    request = replace(request, codecs=tuple(split_unescaped(codecs, ",")))
    with interruptible("finished rows are kept; the same command resumes from there"):
        done = rescore_rows(
            request,
            progress=partial(show_progress, quiet=as_json),
            announce=lambda lacking: say([] if as_json else metrics_not_measured(lacking, verbose)),
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
