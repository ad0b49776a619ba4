"""`bench published check`: our measured points against published ones of the same codec."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands import options
from benchmark.errors import UsageError

if TYPE_CHECKING:
    pass


published = typer.Typer(
    help="Numbers from papers and repositories.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@published.callback()
def _group() -> None:
    """Numbers from papers and repositories."""


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
    from benchmark.analysis.rate_distortion import Measure
    from benchmark.analysis.stored import datasets_with_results, read_results
    from benchmark.commands.output import print_table
    from benchmark.figures.table import Table
    from benchmark.published.agreement import COLUMNS, TOLERANCE_DB, NotCompared, agreements
    from benchmark.published.points import IMAGES
    from benchmark.published.read import read_points
    from benchmark.registry import METRICS

    names = [name for name in METRICS if Measure.named(name).column in COLUMNS]
    measures = [Measure.named(name) for name in names]
    points = read_points(results)
    rows, notes, differ = [], [], False
    for name in datasets_with_results(results, dataset):
        if name not in IMAGES:
            continue
        summary = read_results(results, name, "all", names, False, False).summary
        if summary.images != IMAGES[name]:
            notes.append(f"not compared: {name}: {summary.images} of its {IMAGES[name]} images")
            continue
        for one in agreements(summary, points, name, measures):
            if isinstance(one, NotCompared):
                notes.append(f"not compared: {one.label}, {one.column}, {name}: {one.why}")
                continue
            differ |= one.verdict == "differs"
            rows.append(
                (
                    name,
                    one.label,
                    one.published,
                    one.column,
                    one.verdict,
                    str(one.points),
                    f"{one.mean_db:+.3f}",
                    f"{one.largest_db:+.3f}",
                    f"{one.at_bpp:.3f}",
                )
            )
            notes += [f"{one.verdict}: {one.label}, {one.column}, {name}: {one.why}"] * bool(
                one.why
            )
    if not rows and not notes:
        known = ", ".join(IMAGES)
        raise UsageError(
            f"nothing to compare: {results} has no rows of a published codec on {known}."
        )
    headers = (
        "dataset", "codec", "published", "metric", "verdict",
        "points", "mean (dB)", "largest (dB)", "at bpp",
    )  # fmt: skip
    said = f"Measured minus published at equal rate; up to {TOLERANCE_DB:g} dB agrees."
    print_table(Table(headers, tuple(rows), 5, (said, *notes)))
    if differ:
        raise typer.Exit(1)


def list_published() -> None:
    """System, variant, dataset, metric, protocol, origin and count of the published points."""
    from benchmark.published.points import inventory
    from benchmark.published.read import read_points

    headers = ("system", "variant", "dataset", "metric", "protocol", "how", "points")
    lines = [headers, *inventory(read_points(Path("results")))]
    widths = [max(len(line[place]) for line in lines) for place in range(len(headers))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)]
        print("  ".join([*cells, line[-1].rjust(widths[-1])]))
