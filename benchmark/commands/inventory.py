"""`bench list` and `bench doctor`: what can be measured, and what of it runs on this machine."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.options import opt
from benchmark.commands.verb import takes
from benchmark.option import COMPARED
from benchmark.plan.request import Request

if TYPE_CHECKING:
    from benchmark.audit.installation import Availability, Entry


def list_names(
    published: Annotated[
        bool, opt(COMPARED, "List published numbers instead: system, dataset, metric, protocol.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """List codecs, datasets and metrics, each with a title and what it lacks here.

    A codec is ready, in a pack (its recorded streams stand in), or needs options; what it lacks is
    in brackets. `bench doctor` has versions, licences and whole reasons.

    Examples:
      bench list
      bench list --published --json
    """
    if published:
        from benchmark.commands.references import list_published

        list_published(as_json)
        return
    from benchmark.audit import installation

    result = {
        "codecs": installation.list_codecs(),
        "datasets": installation.list_datasets(),
        "metrics": installation.list_metrics(),
    }
    if as_json:
        print(json.dumps({kind: _by_name(ones) for kind, ones in result.items()}, indent=1))
        return
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    for kind, ones in result.items():
        print(kind)
        for one in ones:
            needs = f"({one.lacks}) " if one.lacks else ""
            line = f"  {one.name:<14} {one.state:<8} {needs}{one.title}".rstrip()
            print(line if width is None or len(line) <= width else f"{line[: width - 1]}…")


def _by_name(ones: "Iterable[Entry]") -> dict[str, dict[str, str]]:
    return {one.name: {"state": one.state, "title": one.title, "lacks": one.lacks} for one in ones}


@takes(Request, "data_dir weights_dir vtm_dir")
def doctor(
    request: Request,
    results: Annotated[
        Path | None,
        typer.Argument(metavar="[RESULTS]", help="Folder of results to verify instead."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Say which codecs, metrics and datasets can be used here, and what the others lack.

    With a folder of results, read all of it instead, and name every shard, stream and record that
    is damaged or missing, with the remedy. Exit code 0, 1 if there is one, 2 for a folder without
    results.

    Examples:
      bench doctor
      bench doctor results
      bench doctor --data-dir data --weights-dir weights --json
    """
    if results is not None:
        raise typer.Exit(_verify_results(results, as_json))
    from benchmark.audit import installation

    request.use_folders()
    machine = installation.examine_machine(request.data_dir)
    result = {
        "codecs": installation.examine_codecs(),
        "metrics": installation.examine_metrics(),
        "datasets": installation.examine_datasets(request.data_dir),
    }
    if as_json:
        parts = {part: [one._asdict() for one in ones] for part, ones in result.items()}
        print(json.dumps({"machine": dict(machine), **parts}, indent=1))
        return
    _show("machine", machine)
    for part, ones in result.items():
        _show(part, _lines(ones))


def _verify_results(results: Path, as_json: bool) -> int:
    """Print what is wrong with a folder of results; return the exit code."""
    from benchmark.audit.stored_results import verify_results

    wrong, told = False, []
    for one in verify_results(results):
        wrong |= one.wrong
        if as_json:
            findings = [result._asdict() for result in one.findings]
            told.append({**one._asdict(), "findings": findings, "wrong": one.wrong})
            continue
        print(
            f"{one.dataset}: {one.shards} shards, {one.streams} streams and {one.records} records "
            f"read; {'something is damaged' if one.wrong else 'all is whole'}"
        )
        for result in one.findings:
            print(f"  {result.state:<11}{result.path}: {result.what}; {result.remedy}")
    if as_json:
        print(json.dumps(told, indent=1))
    return 1 if wrong else 0


def _lines(findings: Iterable["Availability"]) -> list[tuple[str, ...]]:
    return [
        (
            finding.name,
            finding.state,
            f"{finding.what} [{finding.licence}]" if finding.licence else finding.what,
        )
        for finding in findings
    ]


def _show(title: str, lines: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in lines[0][:-1]:
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, *others in lines:
        table.add_row(f"  {name}", *map(Text, others))
    console = Console(highlight=False, file=output.unfiltered(sys.stdout))
    console.print(title)
    console.print(table)
