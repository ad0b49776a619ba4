"""`bench baseline`: named references for `bench check`, kept in results/baselines."""

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options
from benchmark.commands.verb import Verbs

baseline = Verbs("""Save and list named references for `bench check`.

Examples:
  bench baseline save v1 --codecs ours
  bench check --codec ours --against v1
""")


@baseline.command("save")
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
    from benchmark.analysis.stored import datasets_with_results
    from benchmark.check.baseline import rows_to_keep, save_baseline

    parts = [
        rows_to_keep(results / name.partition(":")[0], name, codecs)
        for name in datasets_with_results(results, dataset)
    ]
    folder = save_baseline(results, name, parts)
    for part in parts:
        print(f"{part.dataset}: {part.table.num_rows} rows of {', '.join(part.codecs)}")
    print(folder)


@baseline.command("list")
def list_all(results: options.Results = Path("results"), as_json: options.AsJson = False) -> None:
    """List the baselines with date, commit and contents.

    Examples:
      bench baseline list
    """
    from msgspec.structs import asdict

    from benchmark.check.baseline import list_baselines
    from benchmark.commands.output import print_table
    from benchmark.figures.table import Table

    found = list_baselines(results)
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
        return
    if not found:
        print(f"no baselines in {results}: `bench baseline save NAME` keeps one")
        return
    rows = tuple(
        (
            one.name,
            one.saved_utc,
            (one.commit or "")[:12],
            ", ".join(f"{dataset} ({rows})" for dataset, rows in one.rows.items()),
            ", ".join(one.codecs),
        )
        for one in found
    )
    print_table(Table(("name", "saved", "commit", "rows", "codecs"), rows, 5))
