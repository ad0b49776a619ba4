"""`bench check`, `bench baseline` and `bench history`: verdicts; references; checkpoints."""

import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.options import refuse_several
from benchmark.commands.verb import Verbs, command_line
from benchmark.errors import BenchError, Unavailable, UsageError, refused_path
from benchmark.measure.request import Request
from benchmark.option import ARGUMENT, COMPARED, MANNER, ORIGIN, TARGET, opt, some
from benchmark.system.atomic import write_files
from benchmark.system.text import counted

if TYPE_CHECKING:
    from benchmark.check.history import State
    from benchmark.measure.record import Outcome
    from benchmark.measure.select import Matrix

NO_VERDICT = 4
MEASURED_AS = "timing jobs timeout_seconds device limit points data_dir weights_dir"
CHECKS = Path("results/checks")
NewRows = Annotated[Path, opt(TARGET, "Folder of the new rows, to resume in.", refuses="folder")]
DATASET = opt(COMPARED, "Dataset or folder; default: the reference's.", completes="dataset")
METRICS = opt(COMPARED, "Default: psnr,ms_ssim,lpips, of sets.", many="listed", completes="metrics")
SETS = "Two sets of rows, the reference first: a dataset's or results folder, or a baseline."
REQUIRE = "Limits, repeatable: 'psnr at least 30 at 0.5 bpp', 'encode at most 40 ms'."
CHECKPOINTS = "Values of the codec's option checkpoint; files of one state with commas."
Margins = Annotated[str, opt(MANNER, "Changes that still count as equal: bd_rate=1%,lpips=1%.")]


def check(
    request: Annotated[Request, some(f"dataset metrics results {MEASURED_AS} vtm_dir flatten")],
    rows: Annotated[list[str] | None, opt(ARGUMENT, SETS, value="A B")] = None,
    codec: Annotated[str, opt(COMPARED, "Codec to check.", completes="codecs")] = "",
    checkpoint: Annotated[Path | None, opt(COMPARED, "Weights of it to check, a file.")] = None,
    against: Annotated[str, opt(COMPARED, "Reference: a results folder, or a baseline.")] = "",
    reference_codec: Annotated[
        str, opt(COMPARED, "The reference's codec, if it is not --codec.", completes="codecs")
    ] = "",
    margin: Margins = "",
    confidence: Annotated[
        float, opt(MANNER, "Of each kind of claim, over all metrics.", least=0.5, most=0.9999)
    ] = 0.95,
    require: Annotated[list[str] | None, opt(MANNER, REQUIRE)] = None,
    common: Annotated[bool, opt(COMPARED, "Only images and settings that both have.")] = False,
    allow_few: options.AllowFew = False,
    markdown: Annotated[
        Path | None, opt(TARGET, "Markdown file of it, for a pull request.", refuses="file")
    ] = None,
    junit: Annotated[Path | None, opt(TARGET, "JUnit XML file of it.", refuses="file")] = None,
    baselines: Annotated[Path, opt(ORIGIN, "Results folder of baselines.")] = Path("results"),
    dataset: Annotated[str, DATASET] = "",
    metrics: Annotated[tuple[str, ...], METRICS] = (),
    results: NewRows = CHECKS,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> None:
    """Say whether a checkpoint, codec or set of rows is worse than a reference.

    The verdict and its reasons come first; -v adds every number.

    Exit code 0 equivalent, improved or not worse, 1 regressed, 3 undecided, 4 nothing measured,
    failed cells or not comparable, 2 if the request cannot be carried out, 130 if interrupted.

    Examples:
      bench check --codec ours --checkpoint my.safetensors --against results/kodak
      bench check results/kodak other/kodak --codec jpeg --markdown verdict.md
    """
    from benchmark.check import row_sets, text, verdict
    from benchmark.check.candidate import measure_candidate
    from benchmark.check.limits import parse_limits, parse_margins
    from benchmark.check.pairing import NotComparable

    sets, limits = list(rows or ()), require or []
    parse_margins(margin)
    parse_limits(limits)
    refuse_several("--codec", codec)
    refuse_several("--reference-codec", reference_codec)
    if not (against and codec and not sets) and (len(sets) != 2 or against or checkpoint):
        raise UsageError(
            "bench check takes two sets of rows, A B, or --codec with --against: `bench check "
            "--help` has both"
        )
    if sets and (request.points or request.limit):
        raise UsageError("two sets of rows are compared whole: leave out --points and --limit")
    compare = partial(
        verdict.check, metrics=request.metrics, margin=margin, confidence=confidence,
        require=limits, common=common, allow_few=allow_few,
    )  # fmt: skip

    def run(request: Request, matrix: "Matrix", judged: Sequence[str]) -> "Outcome":
        from benchmark.commands.outcome import print_outcome, run_with_progress

        outcome = run_with_progress(
            request, matrix=matrix, quiet=as_json, details=verbose, judged=judged
        )
        if not as_json:
            with redirect_stdout(sys.stderr):  # what is printed begins with the verdict
                print_outcome(outcome, table=False, details=verbose)
            sys.stderr.flush()
        return outcome

    def checked() -> verdict.Check:
        if sets:
            both = row_sets.two_row_sets(sets[0], sets[1], request.dataset, baselines)
            for asked in filter(None, (codec, reference_codec)):
                row_sets.refuse_unknown_codec(asked, both)
            return compare(*both, codec=codec, reference_codec=reference_codec)
        folders = row_sets.dataset_folders(against, baselines)
        try:
            with output.interruptible():
                both = measure_candidate(
                    codec, request, folders, run, checkpoint=checkpoint,
                    reference_codec=reference_codec, require=limits, common=common,
                )  # fmt: skip
        except NotComparable as why:
            return verdict.Check(codec, against, "not comparable", str(why), confidence)
        # Codecs were chosen above: rows have labels, not the specs of what was measured.
        return compare(*both)

    try:
        done = checked()
        if as_json:
            output.print_json(done.for_machines())
        elif verbose:
            print(text.headline(done), *text.subject_sentences(done), sep="\n")
            for table in text.tables(done):
                print()
                output.print_table(table)
            print("", *text.sentences(done), sep="\n")
        else:
            print(*text.first_lines(done), sep="\n")
        files: dict[Path | None, Callable[[verdict.Check], str]] = {
            markdown: text.check_markdown, junit: text.junit_xml,
        }  # fmt: skip
        for path, content in files.items():
            if path is not None:
                write_files(path.parent, {path.name: content(done)}, what="verdict")
    except (UsageError, Unavailable, typer.Exit):
        raise
    except Exception as error:  # whatever it is, 1 would say that something regressed
        if refused_path(error):
            raise
        message = str(error) if isinstance(error, BenchError) else traceback.format_exc()
        print(f"bench: {message}", file=sys.stderr)
        raise typer.Exit(NO_VERDICT) from None
    raise typer.Exit(done.exit_code)


def history(
    request: Annotated[
        Request, some(f"dataset metrics results {MEASURED_AS}", metrics="psnr,ms_ssim")
    ],
    context: typer.Context,
    checkpoints: Annotated[list[str], opt(ARGUMENT, CHECKPOINTS, value="CHECKPOINTS")],
    codec: Annotated[str, opt(COMPARED, "Codec that takes them.", completes="codecs")],
    margin: Margins = "",
    out: Annotated[
        Path | None, opt(TARGET, "Folder; default: RESULTS/history.", refuses="folder")
    ] = None,
    results: NewRows = CHECKS,
) -> None:
    """Say at which checkpoint of a training a codec became worse.

    Each is measured once and checked beside the first and the best before it, in the order of the
    numbers that their names end with, else as they are named.

    Exit code 0, 1 if a checkpoint is worse, 2 if it cannot be done, 130 if interrupted.

    Examples:
      bench history runs/night/milestones/*.safetensors --codec ours
      bench history a.pth b.pth --codec compressai:model=mbt2018
    """
    from benchmark.check.history import headline, history_of, in_order
    from benchmark.check.history_figure import draw_history
    from benchmark.show.paper.results import PaperFigure, write_figure

    refuse_several("--codec", codec)
    for text in checkpoints:
        if Path(text).is_dir():
            raise UsageError(f"{text} is a folder: name the checkpoints in it")
    if len(checkpoints) < 2:
        raise UsageError("a history needs two checkpoints: name those of a training")
    with output.interruptible():
        request.use_folders()
        states = [_measured(*of, request, codec) for of in in_order(checkpoints)]
        result = history_of(states, request.metrics, margin)
        drawing = draw_history(result, codec, states[0].rows.folder.name)
        folder = out or request.results / "history"
        paths = write_figure("history", PaperFigure(drawing), folder, command_line(context))
    print(headline(result))
    if drawing.table is not None:
        output.print_table(drawing.table)
    output.print_lines([*result.notes], details=True)
    print(*paths, sep="\n")
    if result.worse:
        raise typer.Exit(1)


def _measured(name: str, number: int, weights: str, request: Request, codec: str) -> "State":
    """Measure a checkpoint, unless that was done before."""
    from benchmark.check.history import State
    from benchmark.check.pairing import RowSet, with_weights
    from benchmark.commands.outcome import run_with_progress
    from benchmark.spec import parse_codec

    spec = with_weights(parse_codec(codec), weights)
    outcome = run_with_progress(replace(request, codecs=(spec.text,)))
    if failures := outcome.failures:
        output.say([f"{name}: {counted(len(failures), 'cell')} failed: {failures[0].reason}"])
    return State(name, number, RowSet(name, outcome.matrix.store.folder, outcome.rows))


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
) -> None:
    """Save the present rows under a name: small files for version control, never overwritten.

    Examples:
      bench baseline save v1 --codecs ours,jpeg --dataset kodak
    """
    from benchmark.check.row_sets import FOLDER, save_baseline
    from benchmark.rows.stored import datasets_with_results

    record = save_baseline(results, name, datasets_with_results(results, dataset), codecs)
    for of_rows, count in record.rows.items():
        print(f"{of_rows}: {counted(count, 'row')}")
    print(f"{results / FOLDER / name}: {', '.join(record.codecs)}")


@baseline.verb("list")
def list_all(results: options.Results = Path("results"), as_json: options.AsJson = False) -> None:
    """List the baselines with date, commit and contents.

    Examples:
      bench baseline list
    """
    from msgspec.structs import asdict

    from benchmark.answer import Column
    from benchmark.check.row_sets import list_baselines
    from benchmark.show.table import Table

    records = list_baselines(results)
    if as_json:
        output.print_json([asdict(record) for record in records])
    elif not records:
        print(f"no baselines in {results}: `bench baseline save NAME` keeps one")
    else:
        columns = (
            Column("name"),
            Column("saved", "saved_utc"),
            Column("commit", lambda of: (of.commit or "")[:12]),
            Column("rows", lambda of: ", ".join(f"{name} ({n})" for name, n in of.rows.items())),
            Column("codecs", lambda of: ", ".join(of.codecs)),
        )
        output.print_table(Table.of(columns, records))
