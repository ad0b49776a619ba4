"""`bench check`: measure a codec or checkpoint, hold it against a reference, end with a verdict."""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.errors import BenchError, Unavailable, UsageError

if TYPE_CHECKING:
    from benchmark.check.candidate import Candidate
    from benchmark.check.check import Check, Wanted
    from benchmark.measure.outcome import Outcome
    from benchmark.plan.matrix import Matrix
    from benchmark.plan.request import Request

NO_VERDICT = 4


def check(
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[A B]",
            help="Two sets of rows to compare, the reference first: results/kodak, a results "
            "folder, or the name of a baseline.",
        ),
    ] = None,
    codec: Annotated[
        str, typer.Option(help="What is checked: ours, ours:beta=0, jpeg:optimize=1.")
    ] = "",
    checkpoint: Annotated[
        Path | None, typer.Option(help="The weights to check, of a codec that takes a checkpoint.")
    ] = None,
    against: Annotated[
        str, typer.Option(help="The reference: results/kodak, a results folder, or a baseline.")
    ] = "",
    reference_codec: Annotated[
        str, typer.Option(help="The codec of the reference, where it is called otherwise.")
    ] = "",
    dataset: Annotated[
        str, typer.Option(help="A dataset by name or a folder of images; default: the reference's.")
    ] = "",
    metrics: Annotated[
        str, typer.Option(help="Comma-separated metrics; default: psnr,ms_ssim,lpips and sets'.")
    ] = "",
    margin: Annotated[
        str,
        typer.Option(help="Changes that are still equal: bd_rate=1%,lpips=1%,time=25%."),
    ] = "",
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="Of each claim, over all metrics.")
    ] = 0.95,
    common: Annotated[
        bool, typer.Option("--common", help="Compare the images and settings that both have.")
    ] = False,
    points: options.Points = None,
    timing: Annotated[
        bool, typer.Option("--timing", help="Measure one cell at a time, for seconds.")
    ] = False,
    fail_on_timing: Annotated[
        bool, typer.Option("--fail-on-timing", help="Let seconds decide as well.")
    ] = False,
    allow_few: options.AllowFew = False,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the verdict here, for a pull request.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write it as JUnit XML.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write it as json.")] = None,
    jobs: options.Jobs = None,
    device: options.DeviceName = "auto",
    limit: options.Limit = None,
    results: Annotated[
        Path, typer.Option(help="Folder of the new rows; the same command goes on there.")
    ] = Path("results/checks"),
    baselines: Annotated[
        Path, typer.Option(help="The results folder that holds the baselines.")
    ] = Path("results"),
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
    vtm_dir: options.VtmDir = None,
    flatten: options.Flatten = False,
) -> None:
    """Say whether a checkpoint, codec or set of rows is worse than a reference.

    Exit code 0 equivalent or improved, 1 regressed, 3 undecided, 4 nothing measured, failed cells
    or not comparable, 2 if what was asked for cannot be, 130 if interrupted.
    """
    from benchmark.check.candidate import Candidate
    from benchmark.check.check import Wanted
    from benchmark.check.margin import parse_margins
    from benchmark.registry import metric_names
    from benchmark.system.atomic import write_files

    sets = list(rows or ())
    runs = bool(against and codec and not sets)
    compares = len(sets) == 2 and not against and checkpoint is None
    if not (runs or compares):
        raise UsageError(
            "bench check takes two sets of rows, A B, or --codec with --against: `bench check "
            "--help` has both"
        )
    names = metric_names(metrics) if metrics else ()
    wanted = Wanted(
        names,
        parse_margins(margin),
        confidence,
        common=common,
        allow_few=allow_few,
        fail_on_timing=fail_on_timing,
    )
    try:
        if sets:
            wanted = wanted._replace(codec=codec, reference_codec=reference_codec)
            found = _two_sets(sets[0], sets[1], dataset, baselines, wanted)
        else:
            candidate = Candidate(
                codec, checkpoint, reference_codec, dataset, tuple(points or ()), names, timing,
                limit, common, results, data_dir, weights_dir, vtm_dir, flatten, jobs, device,
            )  # fmt: skip
            found = _candidate(candidate, against, baselines, wanted)
        _print(found)
        for path, text in _files(found, markdown, junit, as_json).items():
            write_files(path.parent, {path.name: text}, what="verdict")
    except (UsageError, Unavailable, typer.Exit):
        raise
    except Exception as error:  # whatever it is, 1 would say that something regressed
        told = str(error) if isinstance(error, BenchError) else traceback.format_exc()
        print(f"bench: {told}", file=sys.stderr)
        raise typer.Exit(NO_VERDICT) from None
    raise typer.Exit(found.exit_code)


def _two_sets(first: str, second: str, dataset: str, baselines: Path, wanted: "Wanted") -> "Check":
    from benchmark.check.candidate import rows_of
    from benchmark.check.check import check

    sets = {where: _dataset_folders(where, baselines) for where in (first, second)}
    shared = set(sets[first]) & set(sets[second])
    one_each = all(len(folders) == 1 for folders in sets.values())
    if not dataset and not one_each and len(shared) != 1:
        has = " and ".join(f"{where} of {', '.join(one)}" for where, one in sets.items())
        raise UsageError(f"there are rows in {has}: say which with --dataset")
    found = []
    for where, folders in sets.items():
        name = dataset.partition(":")[0] or next(iter(folders if one_each else shared))
        if name not in folders:
            raise UsageError(f"{where} has no rows of {name}: it has {', '.join(folders)}")
        found.append(rows_of(folders[name], dataset))
    return check(found[0], found[-1], wanted)


def _candidate(candidate: "Candidate", against: str, baselines: Path, wanted: "Wanted") -> "Check":
    from benchmark.check.candidate import measured
    from benchmark.check.check import Check, check
    from benchmark.check.pairing import NotComparable
    from benchmark.commands.outcome import print_outcome, run_with_progress
    from benchmark.commands.output import interruptible

    def run(request: "Request", matrix: "Matrix") -> "Outcome":
        outcome = run_with_progress(request, matrix=matrix)
        print_outcome(outcome, with_table=False)
        return outcome

    folders = _dataset_folders(against, baselines)
    try:
        with interruptible("finished cells are kept; the same command resumes from there"):
            reference, new = measured(candidate, folders, run)
    except NotComparable as why:
        return Check(candidate.codec, against, "not comparable", str(why), wanted)
    return check(reference, new, wanted)


def _dataset_folders(where: str, baselines: Path) -> dict[str, Path]:
    """Folders with rows by dataset, of a dataset's folder, a results folder or a baseline."""
    from benchmark.check.baseline import FOLDER, find_baseline, list_baselines

    folder = Path(where)
    if (folder / "per_image").is_dir():
        return {folder.resolve().name: folder}
    if not any(folder.glob("*/per_image")):
        names = [one.name for one in list_baselines(baselines)]
        if not names or os.sep in where:
            raise UsageError(
                f"{where} is no folder with results, nor a baseline in {baselines / FOLDER}"
            )
        folder = find_baseline(baselines, where)
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/per_image"))}


def _print(found: "Check") -> None:
    from benchmark.check.verdict_table import (
        findings_table,
        headline,
        sentences,
        settings_table,
        subjects,
        timing_table,
    )
    from benchmark.commands.output import print_table

    for line in subjects(found):
        print(line)
    for table in (settings_table(found), timing_table(found)):
        if table is not None:
            print()
            print_table(table)
    if found.findings:
        print()
        print_table(findings_table(found))
    print()
    for line in [*sentences(found), headline(found)]:
        print(line)


def _files(
    found: "Check", markdown: Path | None, junit: Path | None, as_json: Path | None
) -> dict[Path, str]:
    from benchmark.check.junit import junit_xml
    from benchmark.check.verdict_table import check_markdown

    files: dict[Path, str] = {}
    if markdown is not None:
        files[markdown] = check_markdown(found)
    if junit is not None:
        files[junit] = junit_xml(found)
    if as_json is not None:
        files[as_json] = json.dumps(found.for_machines(), indent=1) + "\n"
    return files
