"""`bench baseline`: named references for `bench check`."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options, output
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
    from benchmark.figures.table import Table

    records = list_baselines(results)
    if as_json:
        output.print_json([asdict(record) for record in records])
    elif not records:
        print(f"no baselines in {results}: `bench baseline save NAME` keeps one")
    else:
        rows = []
        for record in records:
            sizes = ", ".join(f"{dataset} ({count})" for dataset, count in record.rows.items())
            commit = (record.commit or "")[:12]
            rows.append((record.name, record.saved_utc, commit, sizes, ", ".join(record.codecs)))
        output.print_table(Table(("name", "saved", "commit", "rows", "codecs"), tuple(rows), 5))
