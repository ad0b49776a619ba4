"""`bench published check`: our measured points compared with published ones of the same codec."""

import json
from pathlib import Path

import typer

from benchmark.commands import options
from benchmark.commands.verb import Verbs

published = Verbs("""Compare with numbers published in papers and repositories.

Examples:
  bench published check
""")


@published.command("check")
def check(
    dataset: options.StoredDatasets = "all",
    results: options.Results = Path("results"),
    as_json: options.AsJson = False,
) -> None:
    """Compare measured points with published ones of the same codec, dataset and rules.

    Exit code 1 where they differ by more than anything known explains.

    Examples:
      bench published check
      bench published check --dataset kodak --json
    """
    from benchmark.commands.output import print_table, table_for_machines
    from benchmark.report.agreement import check_published

    found = check_published(results, dataset)
    if as_json:
        facts = {"differs": found.differs, **table_for_machines(found.table)}
        print(json.dumps(facts, indent=1))
    else:
        print_table(found.table)
    if found.differs:
        raise typer.Exit(1)


def list_published(as_json: bool = False) -> None:
    """Print system, variant, dataset, metric, protocol, origin and count of published points."""
    from benchmark.published.points import inventory, read_points

    headers = ("system", "variant", "dataset", "metric", "protocol", "how", "points")
    lines = [headers, *inventory(read_points(Path("results")))]
    if as_json:
        print(json.dumps([dict(zip(headers, line, strict=True)) for line in lines[1:]], indent=1))
        return
    widths = [max(len(line[place]) for line in lines) for place in range(len(headers))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)]
        print("  ".join([*cells, line[-1].rjust(widths[-1])]))
