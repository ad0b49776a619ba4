"""`bench bd`: two curves compared."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.commands import options, output
from benchmark.errors import UsageError
from benchmark.option import COMPARED, opt

if TYPE_CHECKING:
    pass

# Metrics that a curve's file may have.
BD_METRICS = ("psnr", "ms_ssim", "ssim", "lpips", "dists", "fid256", "kid256")


def bd(
    anchor: Annotated[
        str, typer.Argument(help="Anchor: a file, or a published system such as VTM:CompressAI.")
    ],
    test: Annotated[str, typer.Argument(help="The curve to compare with it, likewise.")],
    metrics: Annotated[
        str, opt(COMPARED, "Comma-separated metrics; default: all that both have.")
    ] = "",
    dataset: Annotated[str, opt(COMPARED, "Dataset of published points.")] = "kodak",
    any_overlap: options.AnyOverlap = False,
    as_json: options.AsJson = False,
    results: options.Results = Path("results"),
) -> None:
    """Compute BD-rate and BD-metric of TEST against ANCHOR, by Akima and by the older cubic form.

    Curves are compared as `bench report` compares them: on their Pareto fronts, with a mark where
    they share less than half of what they span, and by PCHIP where one has three points.

    Files are csv, CompressAI's json or a table of a README, with columns such as bpp, psnr, ms-ssim
    (linear or in dB) and lpips. Papers differ by the form of interpolation, so both are given, with
    the share of the range that both curves reach.

    Examples:
      bench bd vtm.csv mine.json
      bench bd VTM:CompressAI mine.csv --metrics psnr
    """
    from benchmark.compare.curves import curve_of
    from benchmark.compare.published.registry import read_curve
    from benchmark.metrics.metric import Metric
    from benchmark.rows.schema import metric_names
    from benchmark.show.pair_table import by_form, form_records, form_table

    curves = [read_curve(text, dataset, results) for text in (anchor, test)]
    first, second = (curve.name for curve in curves)
    rows: list[dict[str, Any]] = []
    for name in metric_names(metrics) if metrics else BD_METRICS:
        metric = Metric.named(name)
        columns = metric.column, metric.published
        series = [curve.series.get(columns[0]) or curve.series.get(columns[1]) for curve in curves]
        if all(series):
            both = [curve_of(*known, metric) for known in series if known]
            rows += by_form(metric, both[0], both[1], (first, second), any_overlap)
        elif metrics:
            lacking = curves[bool(series[0])]
            raise UsageError(f"{lacking.name} has no {metric.label}: name another metric")
    if not rows:
        raise UsageError(f"{first} and {second} have no metric in common")
    if as_json:
        output.print_json({"anchor": first, "test": second, "rows": [*form_records(rows)]})
    else:
        print(f"{second} against {first}")
        output.print_table(form_table(rows))
