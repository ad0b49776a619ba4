"""`bench published check`: our measured points compared with published ones of the same codec."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options

published = typer.Typer(
    help="Compare with numbers published in papers and repositories.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@published.callback()
def _group() -> None:
    """Compare with numbers published in papers and repositories."""


@published.command("check")
def check(
    dataset: Annotated[
        str, typer.Option(help="A dataset that has results, or 'all' of them.")
    ] = "all",
    results: options.Results = Path("results"),
) -> None:
    """Compare measured points with published ones of the same codec, dataset and rules.

    Exit code 1 where they differ by more than anything known explains.
    """
    from benchmark.commands.output import print_table
    from benchmark.report.agreement import check_published

    found = check_published(results, dataset)
    print_table(found.table)
    if found.differs:
        raise typer.Exit(1)


def list_published() -> None:
    """Print system, variant, dataset, metric, protocol, origin and count of published points."""
    from benchmark.published.points import inventory, read_points

    headers = ("system", "variant", "dataset", "metric", "protocol", "how", "points")
    lines = [headers, *inventory(read_points(Path("results")))]
    widths = [max(len(line[place]) for line in lines) for place in range(len(headers))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)]
        print("  ".join([*cells, line[-1].rjust(widths[-1])]))
