"""`bench check`: measure a codec or checkpoint, compare it with a reference, give a verdict."""

import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.commands.completion import complete_codecs, complete_dataset, complete_metrics
from benchmark.commands.refusals import refuse_several, target_file, target_folder
from benchmark.errors import BenchError, Unavailable, UsageError, refused_path

if TYPE_CHECKING:
    from benchmark.check.candidate import Candidate
    from benchmark.check.check import Check, CheckOptions
    from benchmark.measure.outcome import Outcome
    from benchmark.plan.matrix import Matrix
    from benchmark.plan.request import Request

NO_VERDICT = 4


def check(
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="A B",
            help="Two sets of rows to compare, the reference first: results/kodak, a results "
            "folder, or the name of a baseline.",
        ),
    ] = None,
    codec: Annotated[
        str,
        typer.Option(
            help="The codec to check: ours, ours:beta=0, jpeg:optimize=1.",
            rich_help_panel=options.COMPARED,
            autocompletion=complete_codecs,
        ),
    ] = "",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The weights to check, for a codec that takes a checkpoint.",
            rich_help_panel=options.COMPARED,
        ),
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            help="The reference: results/kodak, a results folder, or a baseline.",
            rich_help_panel=options.COMPARED,
        ),
    ] = "",
    reference_codec: Annotated[
        str,
        typer.Option(
            help="The codec of the reference, if it has another name than --codec.",
            rich_help_panel=options.COMPARED,
            autocompletion=complete_codecs,
        ),
    ] = "",
    dataset: Annotated[
        str,
        typer.Option(
            help="A dataset by name or a folder of images; default: the reference's.",
            rich_help_panel=options.COMPARED,
            autocompletion=complete_dataset,
        ),
    ] = "",
    metrics: Annotated[
        str,
        typer.Option(
            help="Comma-separated metrics; default: psnr,ms_ssim,lpips and distribution metrics.",
            rich_help_panel=options.COMPARED,
            autocompletion=complete_metrics,
        ),
    ] = "",
    margin: Annotated[
        str,
        typer.Option(
            help="Changes that still count as equal: bd_rate=1%,lpips=1%,time=25%.",
            rich_help_panel=options.MANNER,
        ),
    ] = "",
    confidence: Annotated[
        float,
        typer.Option(
            min=0.5,
            max=0.9999,
            help="Confidence of each kind of claim, over all metrics together.",
            rich_help_panel=options.MANNER,
        ),
    ] = 0.95,
    common: Annotated[
        bool,
        typer.Option(
            "--common",
            help="Compare only the images and settings that both have.",
            rich_help_panel=options.COMPARED,
        ),
    ] = False,
    points: options.Points = None,
    timing: options.Timing = False,
    fail_on_timing: Annotated[
        bool,
        typer.Option(
            "--fail-on-timing",
            help="Let seconds decide the verdict as well.",
            rich_help_panel=options.MANNER,
        ),
    ] = False,
    allow_few: options.AllowFew = False,
    markdown: Annotated[
        Path | None,
        typer.Option(
            help="Write the verdict to this markdown file, for a pull request.",
            rich_help_panel=options.TARGET,
            callback=target_file,
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(
            help="Write the verdict to this JUnit XML file.",
            rich_help_panel=options.TARGET,
            callback=target_file,
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            help="Write the verdict to this JSON file.",
            rich_help_panel=options.TARGET,
            callback=target_file,
        ),
    ] = None,
    as_json: options.AsJson = False,
    jobs: options.Jobs = None,
    timeout: options.Timeout = None,
    device: options.DeviceName = "auto",
    limit: options.Limit = None,
    results: Annotated[
        Path,
        typer.Option(
            help="Folder of the new rows; the same command resumes there.",
            rich_help_panel=options.TARGET,
            callback=target_folder,
        ),
    ] = Path("results/checks"),
    baselines: Annotated[
        Path,
        typer.Option(
            help="The results folder that holds the baselines.", rich_help_panel=options.ORIGIN
        ),
    ] = Path("results"),
    data_dir: options.DataDir = None,
    weights_dir: options.WeightsDir = None,
    vtm_dir: options.VtmDir = None,
    flatten: options.Flatten = False,
    verbose: options.Verbose = False,
) -> None:
    """Say whether a checkpoint, codec or set of rows is worse than a reference.

    Exit code 0 equivalent or improved, 1 regressed, 3 undecided, 4 nothing measured, failed cells
    or not comparable, 2 if the request cannot be carried out, 130 if interrupted.

    Examples:
      bench check --codec ours --checkpoint my.safetensors --against results/kodak
      bench check results/kodak other/kodak --codec jpeg --markdown verdict.md
    """
    from benchmark.check.candidate import Candidate
    from benchmark.check.check import CheckOptions
    from benchmark.check.check import check as compare
    from benchmark.check.margin import parse_margins
    from benchmark.check.row_sets import refuse_unknown_codec, two_row_sets
    from benchmark.plan.request import Request
    from benchmark.registry import metric_names
    from benchmark.system.atomic import write_files

    sets = list(rows or ())
    refuse_several("--codec", codec)
    refuse_several("--reference-codec", reference_codec)
    runs = bool(against and codec and not sets)
    compares = len(sets) == 2 and not against and checkpoint is None
    if not (runs or compares):
        raise UsageError(
            "bench check takes two sets of rows, A B, or --codec with --against: `bench check "
            "--help` has both"
        )
    names = metric_names(metrics) if metrics else ()
    asked = CheckOptions(
        names,
        parse_margins(margin),
        confidence,
        common=common,
        allow_few=allow_few,
        fail_on_timing=fail_on_timing,
    )
    try:
        if sets:
            reference, new = two_row_sets(sets[0], sets[1], dataset, baselines)
            for text in filter(None, (codec, reference_codec)):
                refuse_unknown_codec(text, (reference, new))
            asked = asked._replace(codec=codec, reference_codec=reference_codec)
            found = compare(reference, new, asked)
        else:
            request = Request(
                dataset=dataset,
                points=tuple(points or ()),
                metrics=names,
                limit=limit,
                flatten=flatten,
                timing=timing,
                device=device,
                jobs=jobs,
                timeout_seconds=timeout,
                results=results,
                data_dir=data_dir,
                weights_dir=weights_dir,
                vtm_dir=vtm_dir,
            )
            candidate = Candidate(codec, checkpoint, reference_codec, common, request)
            found = _measured(candidate, against, baselines, asked, as_json, verbose)
        if as_json:
            print(json.dumps(found.for_machines(), indent=1))
        else:
            _print(found)
        for path, text in _files(found, markdown, junit, json_file).items():
            write_files(path.parent, {path.name: text}, what="verdict")
    except (UsageError, Unavailable, typer.Exit):
        raise
    except Exception as error:  # whatever it is, 1 would say that something regressed
        if refused_path(error):
            raise
        told = str(error) if isinstance(error, BenchError) else traceback.format_exc()
        print(f"bench: {told}", file=sys.stderr)
        raise typer.Exit(NO_VERDICT) from None
    raise typer.Exit(found.exit_code)


def _measured(
    candidate: "Candidate",
    against: str,
    baselines: Path,
    asked: "CheckOptions",
    quiet: bool,
    verbose: bool,
) -> "Check":
    from benchmark.check.candidate import measure_candidate
    from benchmark.check.check import Check
    from benchmark.check.check import check as compare
    from benchmark.check.pairing import NotComparable
    from benchmark.check.row_sets import dataset_folders
    from benchmark.commands.output import interruptible, print_outcome, run_with_progress

    def run(request: "Request", matrix: "Matrix", judged: Sequence[str]) -> "Outcome":
        outcome = run_with_progress(
            request, matrix=matrix, quiet=quiet, details=verbose, judged=judged
        )
        if not quiet:
            print_outcome(outcome, with_table=False, details=verbose)
        return outcome

    folders = dataset_folders(against, baselines)
    try:
        with interruptible("finished cells are kept; the same command resumes from there"):
            reference, new = measure_candidate(candidate, folders, run)
    except NotComparable as why:
        return Check(candidate.codec, against, "not comparable", str(why), asked)
    return compare(reference, new, asked)


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
    found: "Check", markdown: Path | None, junit: Path | None, json_file: Path | None
) -> dict[Path, str]:
    from benchmark.check.junit import junit_xml
    from benchmark.check.verdict_table import check_markdown

    files: dict[Path, str] = {}
    if markdown is not None:
        files[markdown] = check_markdown(found)
    if junit is not None:
        files[junit] = junit_xml(found)
    if json_file is not None:
        files[json_file] = json.dumps(found.for_machines(), indent=1) + "\n"
    return files
