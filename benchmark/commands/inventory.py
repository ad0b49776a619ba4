"""`bench list` and `bench doctor`: what can be measured, and what of it runs on this machine."""

import sys
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import Annotated

import typer

from benchmark.commands import options, output
from benchmark.commands.verb import takes
from benchmark.measure.request import Request


def list_(
    as_json: options.AsJson = False,
) -> None:
    """List codecs, datasets and metrics, each with a title and what it lacks here.

    A codec is ready, in a pack (its recorded streams stand in), or needs options; what it lacks is
    in brackets. `bench doctor` has versions, licences and whole reasons.

    Examples:
      bench list
      bench list --json
    """
    from benchmark.review.audit import installation

    entries = installation.inventory()
    if as_json:
        facts: dict[str, dict[str, dict[str, str]]] = {}
        for kind, known in entries.items():
            facts[kind] = {entry.name: entry._asdict() for entry in known}
        output.print_json(facts)
        return
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    for kind, known in entries.items():
        print(kind)
        for entry in known:
            needs = f"({entry.lacks}) " if entry.lacks else ""
            start, text = f"  {entry.name:<14} {entry.state:<8} ", f"{needs}{entry.title}"
            line = f"{start}{text}".rstrip()
            if width is not None and len(line) > width:
                line = fill(text, width, initial_indent=start, subsequent_indent=" " * len(start))
            print(line)


@takes(Request, "data_dir weights_dir vtm_dir")
def doctor(
    request: Request,
    results: Annotated[
        Path | None, typer.Argument(metavar="RESULTS", help="Folder of results to verify instead.")
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
    from benchmark.review.audit import installation

    request.use_folders()
    machine = installation.examine_machine(request.data_dir)
    parts = {
        "codecs": installation.examine_codecs(),
        "metrics": installation.examine_metrics(),
        "datasets": installation.examine_datasets(request.data_dir),
    }
    if as_json:
        facts = {part: [entry._asdict() for entry in known] for part, known in parts.items()}
        output.print_json({"machine": dict(machine), **facts})
        return
    _show("machine", *machine)
    for part, known in parts.items():
        lines = (
            (
                entry.name,
                entry.state,
                f"{entry.what} [{entry.licence}]" if entry.licence else entry.what,
            )
            for entry in known
        )
        _show(part, *lines)


def _verify_results(results: Path, as_json: bool) -> int:
    """Print what is wrong with a folder of results; return the exit code."""
    from benchmark.review.audit.stored_results import verify_results

    wrong, records = False, []
    for dataset in verify_results(results):
        wrong |= dataset.wrong
        findings = [finding._asdict() for finding in dataset.findings]
        records.append({**dataset._asdict(), "findings": findings, "wrong": dataset.wrong})
        if not as_json:
            state = "something is damaged" if dataset.wrong else "all is whole"
            print(
                f"{dataset.dataset}: {dataset.shards} shards, {dataset.streams} streams and "
                f"{dataset.records} records read; {state}"
            )
            for finding in dataset.findings:
                print(f"  {finding.state:<11}{finding.path}: {finding.what}; {finding.remedy}")
    if as_json:
        output.print_json(records)
    return 1 if wrong else 0


def _show(title: str, *lines: tuple[str, ...]) -> None:
    print(title)
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for *cells, text in lines:
        start = "".join(f"  {cell:<{width}}" for cell, width in zip(cells, widths, strict=False))
        start, columns = f"{start}  ", get_terminal_size().columns
        print(fill(text, columns, initial_indent=start, subsequent_indent=" " * len(start)))
