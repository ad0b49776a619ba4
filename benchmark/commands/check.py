"""`bench check` and `bench baseline`: a verdict on a codec beside a reference; named references."""

import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.options import refuse_several
from benchmark.commands.verb import Verbs, takes
from benchmark.compare.check.request import CheckRequest
from benchmark.errors import BenchError, Unavailable, UsageError, refused_path
from benchmark.measure.request import Request
from benchmark.option import MANNER, TARGET, opt, option
from benchmark.system.atomic import write_files

if TYPE_CHECKING:
    from benchmark.compare.check.check import Check
    from benchmark.measure.record import Outcome
    from benchmark.measure.select import Matrix

NO_VERDICT = 4


@takes(CheckRequest)
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
    asked: CheckRequest,
    request: Request,
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="A B",
            help="Two sets of rows to compare, the reference first: results/kodak, a results "
            "folder, or the name of a baseline.",
        ),
    ] = None,
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
    from benchmark.compare.check.check import check as compare
    from benchmark.compare.check.row_sets import refuse_unknown_codec, two_row_sets
    from benchmark.show.check_table import check_markdown, junit_xml

    sets = list(rows or ())
    refuse_several("--codec", asked.codec)
    refuse_several("--reference-codec", asked.reference_codec)
    runs = asked.against and asked.codec and not sets
    if not runs and (len(sets) != 2 or asked.against or asked.checkpoint):
        raise UsageError(
            "bench check takes two sets of rows, A B, or --codec with --against: `bench check "
            "--help` has both"
        )
    if sets and (request.points or request.limit):
        raise UsageError("two sets of rows are compared whole: leave out --points and --limit")
    try:
        if sets:
            reference, new = two_row_sets(sets[0], sets[1], asked.dataset, asked.baselines)
            for text in filter(None, (asked.codec, asked.reference_codec)):
                refuse_unknown_codec(text, (reference, new))
            done = compare(reference, new, asked)
        else:
            done = _measured(asked, request, as_json, verbose)
        if as_json:
            output.print_json(done.for_machines())
        else:
            _print(done, verbose)
        files: dict[Path | None, Callable[[], str]] = {
            asked.markdown: lambda: check_markdown(done),
            asked.junit: lambda: junit_xml(done),
            asked.json_file: lambda: f"{output.json_text(done.for_machines())}\n",
        }
        for path, content in files.items():
            if path is not None:
                write_files(path.parent, {path.name: content()}, what="verdict")
    except (UsageError, Unavailable, typer.Exit):
        raise
    except Exception as error:  # whatever it is, 1 would say that something regressed
        if refused_path(error):
            raise
        message = str(error) if isinstance(error, BenchError) else traceback.format_exc()
        print(f"bench: {message}", file=sys.stderr)
        raise typer.Exit(NO_VERDICT) from None
    raise typer.Exit(done.exit_code)


def _measured(asked: CheckRequest, request: Request, quiet: bool, verbose: bool) -> "Check":
    from benchmark.commands.outcome import print_outcome, run_with_progress
    from benchmark.compare.check.candidate import measure_candidate
    from benchmark.compare.check.check import Check
    from benchmark.compare.check.check import check as compare
    from benchmark.compare.check.pairing import NotComparable
    from benchmark.compare.check.row_sets import dataset_folders

    def run(request: Request, matrix: "Matrix", judged: Sequence[str]) -> "Outcome":
        outcome = run_with_progress(
            request, matrix=matrix, quiet=quiet, details=verbose, judged=judged
        )
        if not quiet:
            with redirect_stdout(sys.stderr):  # what is printed begins with the verdict
                print_outcome(outcome, table=False, details=verbose)
            sys.stderr.flush()
        return outcome

    folders = dataset_folders(asked.against, asked.baselines)
    try:
        with output.interruptible():
            reference, new = measure_candidate(asked, request, folders, run)
    except NotComparable as why:
        return Check(asked.codec, asked.against, "not comparable", str(why), asked)
    # Specs of what was measured; rows have labels, and their codecs were chosen above.
    return compare(reference, new, replace(asked, codec="", reference_codec=""))


def _print(check: "Check", details: bool) -> None:
    """Print verdict and reasons; with `details`, then the tables and sentences behind them."""
    from benchmark.show import check_table as verdict_table

    if not details:
        print(*verdict_table.first_lines(check), sep="\n")
        return
    print(verdict_table.headline(check), *verdict_table.subject_sentences(check), sep="\n")
    for table in (verdict_table.findings_table(check), *verdict_table.details(check)):
        if table is not None:
            print()
            output.print_table(table)
    print("", *verdict_table.sentences(check), sep="\n")


baseline = Verbs("""Save, accept and list named references for `bench check`.

Examples:
  bench baseline save v1 --codecs ours
  bench check --codec ours --against v1
""")


@baseline.verb("save")
def save(
    name: Annotated[str, typer.Argument(help="Name of the baseline, for `bench check --against`.")],
    codecs: options.StoredCodecs = "all",
    dataset: options.StoredDatasets = "all",
    results: options.Results = Path("results"),
) -> None:
    """Save the present rows under a name: small files for version control, never overwritten.

    Examples:
      bench baseline save v1 --codecs ours,jpeg --dataset kodak
    """
    from benchmark.compare.check.row_sets import rows_to_keep, save_baseline
    from benchmark.rows.stored import datasets_with_results

    parts = [
        rows_to_keep(results / name.partition(":")[0], name, codecs)
        for name in datasets_with_results(results, dataset)
    ]
    folder = save_baseline(results, name, parts)
    for part in parts:
        print(f"{part.dataset}: {part.table.height} rows of {', '.join(part.codecs)}")
    print(folder)


@baseline.verb("accept")
def accept(
    name: Annotated[str, typer.Argument(help="Name of a baseline that was saved.")],
    why: Annotated[str, opt(MANNER, "The reason, for whoever reads the file later.")],
    who: Annotated[str, opt(MANNER, "Who accepts it; default: git's user.name.")] = "",
    results: options.Results = Path("results"),
) -> None:
    """Make a baseline what `bench check --against accepted` compares with, from now on.

    Who, when and why are added to a file for version control.

    Examples:
      bench baseline accept v1 --why "the first checkpoint in the product"
    """
    from benchmark.compare.check.row_sets import accept_baseline
    from benchmark.system.machine import user

    print(accept_baseline(results, name, who or user(), why))


@baseline.verb("list")
def list_all(results: options.Results = Path("results"), as_json: options.AsJson = False) -> None:
    """List the baselines with date, commit and contents.

    Examples:
      bench baseline list
    """
    from msgspec.structs import asdict

    from benchmark.answer import Column
    from benchmark.compare.check.row_sets import acceptances, list_baselines
    from benchmark.show.table import Table

    records = list_baselines(results)
    accepted = {of.name: f"{of.accepted_utc[:10]}, {of.who}" for of in acceptances(results)}
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
            Column("accepted", lambda of: accepted.get(of.name)),
        )
        output.print_table(Table.of(columns, records))
