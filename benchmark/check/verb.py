"""`bench check`, `bench baseline` and `bench history`."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmark.answer import Answer, Column
from benchmark.commands import options, output
from benchmark.commands.options import refuse_several
from benchmark.commands.verb import Verbs
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.errors import BenchError, Unavailable, UsageError, describe_refused_path
from benchmark.measure.request import ImageOptions, Request
from benchmark.option import ARGUMENT, COMPARED, MANNER, TARGET, opt, subset
from benchmark.system.atomic import write_files
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.check.pairing import RowSet
    from benchmark.measure.record import Outcome
    from benchmark.measure.select import Matrix

NO_VERDICT = 4  # exit code
CONDITION_OPTIONS = "timing jobs timeout_seconds device points weights_dir"
CHECKS = Path("results/checks")
NewRows = Annotated[
    Path, opt(TARGET, "Folder for new rows; runs resume there.", path_check="folder")
]
DATASET = opt(COMPARED, "Dataset or folder; default: the reference's.")
METRICS = opt(
    COMPARED,
    "Metrics to judge; default: psnr, ms_ssim, lpips, and the reference's distribution metrics "
    "(FID, KID).",
    value_form="listed",
)
SETS = "Reference and new rows: dataset folders, results folders or baselines."
REQUIRE = "Limit (repeatable): 'psnr at least 30 at 0.5 bpp' or 'encode at most 40 ms'."
CHECKPOINTS = "Values for the option `checkpoint`; commas join a state's files, one per rate."
Margins = Annotated[str, opt(MANNER, "Maximum changes that count as equal: bd_rate=1%,lpips=1%.")]


class NoVerdict(BenchError):  # noqa: N818 - reads as what happened
    """Failure of a check itself; its exit code must not mean a regression."""

    exit_code = NO_VERDICT


def check(
    request: Annotated[
        Request, subset(f"dataset metrics results {CONDITION_OPTIONS}", ImageOptions)
    ],
    rule: Annotated[Rule, subset("bd")],
    rows: Annotated[tuple[str, ...], opt(ARGUMENT, SETS, value="A B", value_form="repeated")] = (),
    codec: Annotated[str, opt(COMPARED, "Codec to check.")] = "",
    checkpoint: Annotated[Path | None, opt(COMPARED, "Weights of the codec to check.")] = None,
    against: Annotated[str, opt(COMPARED, "Reference: a results folder or baseline.")] = "",
    reference_codec: Annotated[
        str, opt(COMPARED, "Codec in the reference; default: --codec.")
    ] = "",
    dataset: Annotated[str, DATASET] = "",
    metrics: Annotated[tuple[str, ...], METRICS] = (),
    margin: Margins = "",
    confidence: Annotated[
        float,
        opt(
            MANNER,
            "Confidence level of verdicts, corrected for the number of metrics.",
            minimum=0.5,
            maximum=0.9999,
        ),
    ] = 0.95,
    require: Annotated[tuple[str, ...], opt(MANNER, REQUIRE, value_form="repeated")] = (),
    common: Annotated[
        bool, opt(COMPARED, "Use only images and settings that codec and reference have in common.")
    ] = False,
    allow_few: options.AllowFew = False,
    markdown: Annotated[
        Path | None, opt(TARGET, "Write the verdict as markdown to this file.", path_check="file")
    ] = None,
    junit: Annotated[
        Path | None, opt(TARGET, "Write the verdict as JUnit XML to this file.", path_check="file")
    ] = None,
    results: NewRows = CHECKS,
    verbose: options.Verbose = False,
) -> Answer:
    """Check a checkpoint, codec or results folder for regressions.

    Prints the verdict, then one record per codec variant and metric. Exit code 0: equivalent,
    improved or not worse; 1: regressed; 3: undecided; 4: nothing measured, failed cells or not
    comparable; 2: invalid request; 130: interrupted.

    Examples:
      bench check --codec ours --checkpoint my.safetensors --against results/kodak
      bench check results/kodak other/kodak --codec jpeg --markdown verdict.md
    """
    from benchmark.check import row_sets, text, verdict
    from benchmark.check.candidate import measure_candidate
    from benchmark.check.limits import parse_limits, parse_margins
    from benchmark.check.pairing import NotComparable

    parse_margins(margin)
    parse_limits(require)
    refuse_several("--codec", codec)
    refuse_several("--reference-codec", reference_codec)
    if not (against and codec and not rows) and (len(rows) != 2 or against or checkpoint):
        raise UsageError(
            "bench check takes two sets of rows, A B, or --codec with --against: see `bench check "
            "--help`"
        )
    if rows and (request.points or request.limit):
        raise UsageError("two sets of rows are compared completely: omit --points and --limit")
    with _errors_without_verdict():
        try:
            if rows:
                compared_sets = row_sets.read_two_row_sets(rows[0], rows[1], dataset)
            else:
                folders = row_sets.dataset_folders(against)
                run = partial(_measure_on_stderr, verbose)
                with output.interruptible():
                    compared_sets = measure_candidate(
                        codec, request, folders, run, checkpoint=checkpoint,
                        reference_codec=reference_codec, require=require, common=common,
                    )  # fmt: skip
            # Rows of a measured candidate need no selection
            answer = verdict.check(
                *compared_sets, request.metrics, codec=codec if rows else "",
                reference_codec=reference_codec if rows else "", margin=margin, bd=rule.bd,
                confidence=confidence, require=require, common=common, allow_few=allow_few,
            )  # fmt: skip
        except NotComparable as error:
            answer = text.make_answer(
                codec, against, "not comparable", str(error), confidence, rule
            )
        for path, content in ((markdown, text.check_markdown), (junit, text.junit_xml)):
            if path is not None:
                write_files(path.parent, {path.name: content(answer)}, what="verdict")
    return answer


@contextmanager
def _errors_without_verdict() -> Iterator[None]:
    try:
        yield
    except (UsageError, Unavailable):
        raise
    except Exception as error:
        if describe_refused_path(error):
            raise
        is_expected = isinstance(error, BenchError)
        raise NoVerdict(str(error) if is_expected else traceback.format_exc()) from error


def _measure_on_stderr(verbose: bool, request: Request, matrix: "Matrix") -> "Outcome":
    """Run a request; report on standard error, so that standard output starts with the verdict."""
    from benchmark.commands.outcome import print_outcome, run_with_progress

    outcome = run_with_progress(request, matrix=matrix, details=verbose)
    with redirect_stdout(sys.stderr):
        print_outcome(outcome, USUAL_RULE, table=False, details=verbose)  # without a ranking
    sys.stderr.flush()
    return outcome


def history(
    request: Annotated[
        Request,
        subset(
            f"dataset metrics results {CONDITION_OPTIONS}", ImageOptions, metrics="psnr,ms_ssim"
        ),
    ],
    checkpoints: Annotated[
        tuple[str, ...], opt(ARGUMENT, CHECKPOINTS, value="CHECKPOINTS", value_form="repeated")
    ],
    rule: Annotated[Rule, subset("bd")],
    codec: Annotated[str, opt(COMPARED, "Codec that loads the checkpoints.")],
    margin: Margins = "",
    out: Annotated[
        Path | None,
        opt(TARGET, "Folder for the figure; default: RESULTS/history.", path_check="folder"),
    ] = None,
    results: NewRows = CHECKS,
    command: str = "",
) -> Answer:
    """Find the checkpoint at which a training run became worse.

    Measures each checkpoint once, and checks it against the first and the best so far. They are
    sorted by the numbers at the end of their names, if all have one. Prints one record per
    checkpoint and metric, and draws a figure.

    Exit code 0; 1: a checkpoint is worse; 2: invalid request; 130: interrupted.

    Examples:
      bench history runs/night/milestones/*.safetensors --codec ours
      bench history a.pth b.pth --codec compressai:model=mbt2018
    """
    from benchmark.check.history import compare_states, draw_history, sort_checkpoints
    from benchmark.show.figures.texts import write_figure

    refuse_several("--codec", codec)
    for path in checkpoints:
        if Path(path).is_dir():
            raise UsageError(f"{path} is a folder: name the checkpoints in it")
    if len(checkpoints) < 2:
        raise UsageError("a history needs at least two checkpoints: name files of one training run")
    with output.interruptible():
        ordered_checkpoints = sort_checkpoints(checkpoints)
        states = [
            (number, _measure_state(name, weights, request, codec))
            for name, number, weights in ordered_checkpoints
        ]
        answer = compare_states(states, request.metrics, rule, margin)
        drawing = draw_history(answer.records, codec, states[0][1].folder.name)
        files = write_figure("history", drawing, out or results / "history", command)
    return answer._replace(files=files)


def _measure_state(name: str, weights: str, request: Request, codec: str) -> "RowSet":
    from benchmark.check.pairing import RowSet, set_weights
    from benchmark.commands.outcome import run_with_progress
    from benchmark.spec import parse_codec

    spec = set_weights(parse_codec(codec), weights)
    outcome = run_with_progress(replace(request, codecs=(spec.text,)))
    if failures := outcome.failures:
        output.say([f"{name}: {counted(len(failures), 'cell')} failed: {failures[0].reason}"])
    return RowSet(name, outcome.matrix.store.folder, outcome.rows)


baseline = Verbs("""Save and list named references for `bench check`.

Examples:
  bench baseline save v1 --codecs ours
  bench check --codec ours --against v1
""")


@baseline.verb("save")
def save(
    name: Annotated[str, opt(ARGUMENT, "Name of the baseline, for `bench check --against`.")],
    codecs: options.StoredCodecs = "all",
    dataset: options.StoredDatasets = "all",
    results: options.Results = Path("results"),
) -> Answer:
    """Save the current rows as a named baseline: small files for version control.

    Examples:
      bench baseline save v1 --codecs ours,jpeg --dataset kodak
    """
    from benchmark.check import row_sets
    from benchmark.rows.stored import datasets_with_results

    row_sets.save_baseline(results, name, datasets_with_results(results, dataset), codecs)
    (saved_record,) = (
        record for record in row_sets.list_baselines(results) if record["name"] == name
    )
    return Answer([saved_record], BASELINES, files=[results / row_sets.FOLDER / name])


@baseline.verb("list")
def list_all(results: options.Results = Path("results")) -> Answer:
    """List the baselines with their rows and codecs.

    Examples:
      bench baseline list
    """
    from benchmark.check import row_sets

    records = row_sets.list_baselines(results)
    hint = f"No baselines in {results}: save one with `bench baseline save NAME`."
    return Answer(records, BASELINES, "" if records else hint)


BASELINES = (
    Column("name"),
    Column("rows", lambda record: ", ".join(f"{name} ({n})" for name, n in record["rows"].items())),
    Column("codecs", lambda record: ", ".join(record["codecs"])),
)
