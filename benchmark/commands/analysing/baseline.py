"""`bench baseline`: named references for `bench check`, kept in results/baselines."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands import options

baseline = typer.Typer(
    help="Save and list named references for `bench check`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@baseline.callback()
def _group() -> None:
    """Save and list named references for `bench check`."""


@baseline.command("save")
def save(
    name: Annotated[str, typer.Argument(help="Name of the baseline, for `bench check --against`.")],
    codecs: Annotated[
        str, typer.Option(help="Comma-separated codecs to keep, or 'all' that have results.")
    ] = "all",
    dataset: Annotated[
        str, typer.Option(help="A dataset that has results, or 'all' of them.")
    ] = "all",
    results: options.Results = Path("results"),
) -> None:
    """Save the present rows under a name: small files for version control, never overwritten."""
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
def list_all(results: options.Results = Path("results")) -> None:
    """List the baselines with date, commit and contents."""
    from benchmark.check.baseline import list_baselines
    from benchmark.commands.output import print_table
    from benchmark.figures.table import Table

    found = list_baselines(results)
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
