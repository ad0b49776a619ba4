"""`bench run`, `bench plan` and `bench rescore`: measure missing cells, or say what would be."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, outcome, output
from benchmark.commands.options import opt
from benchmark.commands.verb import takes
from benchmark.option import MANNER, ORIGIN, option
from benchmark.plan.request import Request
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.plan.estimate import WorkerPlan
    from benchmark.plan.simulate import ClusterForecast

STORED = option(Path("results"), ORIGIN, "Folder of results.", refuses="stored")


@takes(Request)
def run(
    request: Request,
    allow_few: options.AllowFew = False,
    table: options.Table = None,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
) -> None:
    """Encode, decode and score images, and store the rows.

    A cell is one codec variant at one setting on one image; finished cells are not measured again.

    Prints the codecs by BD-rate, best first. Exit code 0, 1 if a cell failed or a picture of a
    named dataset cannot be read (pictures of a folder are named and left out), 2 if the request
    cannot be run, 130 if interrupted.

    Examples:
      bench run --codecs jpeg,webp --dataset sample
      bench run --codecs ours,./mine.py:Mine --dataset photos --limit 10
      bench run --codecs jpeg --points jpeg.quality=10,30 --metrics psnr,ms_ssim
      bench run --codecs dirac:steps=100 --dataset kodak --draws 4
    """

    with output.interruptible("finished cells are kept; the same command resumes from there"):
        done = output.run_with_progress(request, quiet=as_json, details=verbose)
        outcome.finish(done, as_json, table, allow_few, verbose)


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
    from benchmark.measure.run import rescore as rescore_rows

    request = replace(request, codecs=tuple(split_unescaped(codecs, ",")))

    def announce(lacking: Mapping[str, str]) -> None:
        if not as_json:
            output.say(output.metrics_not_measured(lacking, verbose))

    with output.interruptible("finished rows are kept; the same command resumes from there"):
        done = rescore_rows(
            request,
            progress=partial(output.show_progress, quiet=as_json),
            announce=lambda names: (
                None if as_json else output.say(output.metrics_not_measured(names, verbose))
            ),
            announce_code=output.say_not_run,
        )
    if as_json:
        names = ("rows", "tried", "filled", "still_null")
        facts = {name: getattr(done, name) for name in names} | {"lacking": dict(done.lacking)}
        print(json.dumps({**facts, "failed": [failure._asdict() for failure in done.failures]}))
    else:
        outcome.print_lines(outcome.problem_lines(done.failures, (), ()), verbose)
        print(
            f"{done.rows} rows, {done.tried} lacked a metric that can be computed; {done.filled} "
            f"values filled in, {done.still_null} rows still without"
        )
    raise typer.Exit(1 if done.failures else 0)


@takes(
    Request,
    "codecs dataset points metrics jobs draws limit results data_dir weights_dir vtm_dir packs "
    "skip_missing flatten timing",
)
def plan(
    request: Request,
    nodes: Annotated[
        int | None, opt(MANNER, "Also simulate a Ray cluster of N nodes.", min=1)
    ] = None,
    workers_per_node: Annotated[
        int, opt(MANNER, "Cells to run at the same time on each node.", min=1)
    ] = 1,
    as_json: options.AsJson = False,
) -> None:
    """Count the cells of a run, all, done and to do; estimate their time and the memory they need.

    With --nodes, also say when a cluster would finish them. Then neither the dataset nor the codecs
    have to be on this machine, if the sizes of the dataset's images are known.

    Examples:
      bench plan --codecs jpeg,avif --dataset sample
      bench plan --codecs vtm --dataset clic2020 --nodes 64 --json
    """
    from benchmark.errors import Unavailable
    from benchmark.metrics.availability import computable, lacking
    from benchmark.plan.estimate import CostModel, estimate, needs_of, plan_workers
    from benchmark.plan.matrix import open_matrix
    from benchmark.plan.simulate import forecast, imagine
    from benchmark.registry import scored_by_image
    from benchmark.system.machine import available_memory, cores

    request.use_folders()
    try:
        matrix = open_matrix(request)
    except Unavailable as missing:
        imagined = imagine(request) if nodes else None
        if imagined is None or nodes is None:
            raise
        cells, model = imagined
        cluster = forecast(cells, model, nodes, workers_per_node)
        if as_json:
            print(json.dumps({"cells": len(cells), "cluster": cluster._asdict()}, indent=1))
        else:
            typical = counted(len(cells), "cell")
            print(f"{typical} of typical images, for planning only: {missing}")
            print(_cluster_line(cluster))
        return
    model = CostModel(matrix.table)
    workers = plan_workers(
        needs_of(matrix.to_do or matrix.cells),
        computable(scored_by_image(request.metrics), lacking(request.metrics)),
        1 if request.timing else request.jobs,
        cores(),
        available_memory(),
    )
    result = forecast(matrix.to_do, model, nodes, workers_per_node) if nodes else None
    guess = estimate(matrix.to_do, model)
    to_do = Counter(cell.codec.label for cell in matrix.to_do)
    cells_of = Counter(cell.codec.label for cell in matrix.cells)
    counts = {name: {"cells": n, "to_do": to_do[name]} for name, n in cells_of.items()}
    total = {"cells": len(matrix.cells), "to_do": len(matrix.to_do)}
    seconds = guess.seconds / workers.workers
    if as_json:
        facts = {
            "dataset": matrix.sources.dataset.name,
            "images": len(matrix.sources.images),
            **total,
            "coding_seconds": seconds,
            "workers": workers.workers,
            "worker_bytes": workers.worker_bytes,
            "available_bytes": workers.available_bytes,
            "cells_without_estimate": guess.unknown,
            "cells_by_typical_times": guess.typical,
            "codecs": counts,
            "refused": {one.file.name: one.reason for one in matrix.sources.refused},
            "skipped": matrix.selection.reasons,
            **({"cluster": result._asdict()} if result else {}),
        }
        print(json.dumps(facts, indent=1))
        return
    print(f"{matrix.sources.dataset.name}: {counted(len(matrix.sources.images), 'image')}")
    for label, one in {**counts, "total": total}.items():
        print(f"  {label:<40} {one['cells']:>7} cells {one['to_do']:>7} to do")
    print(
        f"coding takes about {seconds:.0f} s with {workers.workers} at a time, without metrics"
        + (f"; {guess.typical} cells estimated from typical times" if guess.typical else "")
        + (f"; {guess.unknown} cells without an estimate" if guess.unknown else "")
    )
    if matrix.to_do:
        print(_memory_line(workers))
    if result:
        print(_cluster_line(result))
    left_out = outcome.problem_lines((), matrix.sources.refused, matrix.selection.skipped)
    left_out += outcome.unread_lines(matrix.sources.dataset.unread)
    outcome.print_lines(left_out, details=False)


def _memory_line(workers: "WorkerPlan") -> str:
    if workers.remark:
        return workers.remark
    available = workers.available_bytes
    return f"a worker takes about {workers.worker_bytes / 1e9:.1f} GB for the largest image" + (
        f", and {available / 1e9:.1f} GB are available" if available is not None else ""
    )


def _cluster_line(found: "ClusterForecast") -> str:
    unknown, typical = found.cells_without_estimate, found.cells_by_typical_times
    return (
        f"on {found.nodes} nodes with {found.workers} workers: done after "
        f"{_hours(found.seconds)}, {100 * found.excess:.1f} % more than the ideal "
        f"{_hours(found.ideal_seconds)}; without metrics, transfers and start-up"
        + (f"; {typical} cells estimated from typical times" if typical else "")
        + (f"; without {unknown} cells that have no estimate" if unknown else "")
    )


def _hours(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours.

    >>> _hours(90.4), _hours(5400), _hours(360000)
    ('90 s', '90.0 min', '100.0 h')
    """
    if seconds < 300:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 36000 else f"{seconds / 3600:.1f} h"
