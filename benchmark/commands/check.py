"""`bench check`: measure a codec or checkpoint, compare it with a reference, give a verdict."""

import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.options import opt, refuse_several
from benchmark.commands.verb import takes
from benchmark.errors import BenchError, Unavailable, UsageError, refused_path
from benchmark.option import COMPARED, MANNER, ORIGIN, TARGET, option
from benchmark.plan.request import Request

if TYPE_CHECKING:
    from benchmark.check.candidate import Candidate
    from benchmark.check.check import Check, CheckOptions
    from benchmark.measure.outcome import Outcome
    from benchmark.plan.matrix import Matrix

NO_VERDICT = 4


@takes(
    Request,
    "points timing jobs timeout_seconds device limit results data_dir weights_dir vtm_dir flatten",
    results=option(
        Path("results/checks"),
        TARGET,
        "Folder of the new rows; the same command resumes there.",
        refuses="folder",
    ),
)
def check(
    request: Request,
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="A B",
            help="Two sets of rows to compare, the reference first: results/kodak, a results "
            "folder, or the name of a baseline.",
        ),
    ] = None,
    codec: Annotated[
        str, opt(COMPARED, "The codec to check: ours, jpeg:optimize=1.", completes="codecs")
    ] = "",
    checkpoint: Annotated[
        Path | None, opt(COMPARED, "The weights to check, for a codec that takes a checkpoint.")
    ] = None,
    against: Annotated[
        str, opt(COMPARED, "The reference: results/kodak, a results folder, or a baseline.")
    ] = "",
    reference_codec: Annotated[
        str, opt(COMPARED, "The reference's codec, if it is not --codec.", completes="codecs")
    ] = "",
    dataset: Annotated[
        str,
        opt(
            COMPARED,
            "A dataset, or folder of images; default: the reference's.",
            completes="dataset",
        ),
    ] = "",
    metrics: Annotated[
        str,
        opt(
            COMPARED, "Comma-separated; default: psnr,ms_ssim,lpips, of sets.", completes="metrics"
        ),
    ] = "",
    margin: Annotated[
        str, opt(MANNER, "Changes that still count as equal: bd_rate=1%,lpips=1%,time=25%.")
    ] = "",
    confidence: Annotated[
        float,
        opt(MANNER, "Confidence of each kind of claim, over all metrics.", min=0.5, max=0.9999),
    ] = 0.95,
    common: Annotated[
        bool, opt(COMPARED, "Compare only the images and settings that both have.")
    ] = False,
    fail_on_timing: Annotated[bool, opt(MANNER, "Let seconds decide the verdict as well.")] = False,
    allow_few: options.AllowFew = False,
    markdown: Annotated[
        Path | None,
        opt(TARGET, "Write the verdict to this markdown file, for a pull request.", refuses="file"),
    ] = None,
    junit: Annotated[
        Path | None, opt(TARGET, "Write the verdict to this JUnit XML file.", refuses="file")
    ] = None,
    json_file: Annotated[
        Path | None, opt(TARGET, "Write the verdict to this JSON file.", refuses="file")
    ] = None,
    as_json: options.AsJson = False,
    baselines: Annotated[Path, opt(ORIGIN, "The results folder that holds the baselines.")] = Path(
        "results"
    ),
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
    from benchmark.check.row_sets import refuse_unknown_codec, two_row_sets
    from benchmark.check.verdict import parse_margins
    from benchmark.check.verdict_table import check_markdown, junit_xml
    from benchmark.plan.request import metric_names
    from benchmark.system.atomic import write_files

    sets = list(rows or ())
    refuse_several("--codec", codec)
    refuse_several("--reference-codec", reference_codec)
    runs = against and codec and not sets
    if not runs and (len(sets) != 2 or against or checkpoint):
        raise UsageError(
            "bench check takes two sets of rows, A B, or --codec with --against: `bench check "
            "--help` has both"
        )
    names = metric_names(metrics) if metrics else ()
    asked = CheckOptions(names, parse_margins(margin), confidence, "", "", common, allow_few)
    asked = asked._replace(fail_on_timing=fail_on_timing)
    try:
        if sets:
            reference, new = two_row_sets(sets[0], sets[1], dataset, baselines)
            for text in filter(None, (codec, reference_codec)):
                refuse_unknown_codec(text, (reference, new))
            asked = asked._replace(codec=codec, reference_codec=reference_codec)
            found = compare(reference, new, asked)
        else:
            new_request = replace(request, dataset=dataset, metrics=names)
            candidate = Candidate(codec, checkpoint, reference_codec, common, new_request)
            found = _measured(candidate, against, baselines, asked, as_json, verbose)
        if as_json:
            print(json.dumps(found.for_machines(), indent=1))
        else:
            _print(found)
        text = json.dumps(found.for_machines(), indent=1)
        made = (markdown, check_markdown), (junit, junit_xml), (json_file, lambda _: f"{text}\n")
        for path, content in made:
            if path is not None:
                write_files(path.parent, {path.name: content(found)}, what="verdict")
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

    def run(request: "Request", matrix: "Matrix", judged: Sequence[str]) -> "Outcome":
        outcome = output.run_with_progress(
            request, matrix=matrix, quiet=quiet, details=verbose, judged=judged
        )
        if not quiet:
            output.print_outcome(outcome, with_table=False, details=verbose)
        return outcome

    folders = dataset_folders(against, baselines)
    try:
        with output.interruptible("finished cells are kept; the same command resumes from there"):
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

    for line in subjects(found):
        print(line)
    for table in (settings_table(found), timing_table(found)):
        if table is not None:
            print()
            output.print_table(table)
    if found.findings:
        print()
        output.print_table(findings_table(found))
    print()
    for line in [*sentences(found), headline(found)]:
        print(line)
