"""`bench bd`: BD-rate of two curves in files, or of the registry of published points."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from benchmark.commands import options, output
from benchmark.commands.options import opt
from benchmark.errors import UsageError
from benchmark.option import COMPARED

if TYPE_CHECKING:
    from benchmark.analysis.rate_distortion import Delta, Form, NoDelta
    from benchmark.published.curve_file import NamedCurve

# Names of the registry's metrics whose columns a curve's file may have.
METRICS = ("psnr", "ms_ssim", "ssim", "lpips", "dists", "fid256", "kid256")
FORMS: tuple["Form", ...] = ("akima", "cubic")
HEADERS = ("metric", "form", "BD-rate (%)", "BD-metric", "overlap")
FILES = (".csv", ".json", ".md", ".txt", ".tsv", ".dat")


def bd(
    anchor: Annotated[
        str, typer.Argument(help="Anchor: a file, or a published system such as VTM:CompressAI.")
    ],
    test: Annotated[str, typer.Argument(help="The curve to compare with it, likewise.")],
    metrics: Annotated[
        str, opt(COMPARED, "Comma-separated metrics; default: all that both have.")
    ] = "",
    dataset: Annotated[str, opt(COMPARED, "Dataset of published points.")] = "kodak",
    as_json: options.AsJson = False,
    results: options.Results = Path("results"),
) -> None:
    """Compute BD-rate and BD-metric of TEST against ANCHOR, by Akima and by the older cubic form.

    Files are csv, CompressAI's json or a table of a README, with columns such as bpp, psnr, ms-ssim
    (linear or in dB) and lpips. Papers differ by the form of interpolation, so both are given, with
    the share of the range that both curves reach.

    Examples:
      bench bd vtm.csv mine.json
      bench bd VTM:CompressAI mine.csv --metrics psnr
    """
    from benchmark.analysis.rate_distortion import bd_metric, bd_rate, curve_of
    from benchmark.figures.table import Table
    from benchmark.metrics.measure import Measure
    from benchmark.plan.request import metric_names

    curves = [_curve_of(text, dataset, results) for text in (anchor, test)]
    rows = []
    for name in metric_names(metrics) if metrics else METRICS:
        measure = Measure.named(name)
        result = [
            curve.series.get(measure.column) or curve.series.get(measure.published)
            for curve in curves
        ]
        lacking = [curve.name for curve, series in zip(curves, result, strict=True) if not series]
        if lacking and metrics:
            raise UsageError(f"{lacking[0]} has no {measure.label}: name another metric")
        if not lacking:
            first, second = (curve_of(*series, measure) for series in result if series)
            for form in FORMS:
                rate = bd_rate(first, second, any_overlap=True, form=form)
                quality = bd_metric(first, second, measure, any_overlap=True, form=form)
                rows.append(Row(measure.label, form, rate, quality))
    names = [curve.name for curve in curves]
    if not rows:
        raise UsageError(f"{' and '.join(names)} have no metric in common")
    if as_json:
        print(
            json.dumps(
                {"anchor": names[0], "test": names[1], "rows": [row.record() for row in rows]},
                indent=1,
            )
        )
        return
    notes = dict.fromkeys(note for row in rows if (note := row.note()))
    cells = tuple(row.cells() for row in rows)
    print(f"{names[1]} against {names[0]}")
    output.print_table(Table(HEADERS, cells, words=2, notes=tuple(notes)))


class Row(NamedTuple):
    """Both numbers of a metric by a form of interpolation."""

    label: str
    form: "Form"
    rate: "Delta | NoDelta"
    quality: "Delta | NoDelta"

    def cells(self) -> tuple[str, ...]:
        """Return what the table shows."""
        values = (_value(self.rate), "+.2f"), (_value(self.quality), "+.3f")
        shown = ["–" if value is None else format(value, form) for value, form in values]
        overlap = "–" if self.rate.overlap is None else f"{self.rate.overlap:.0%}"
        return (self.label, self.form, *shown, overlap)

    def note(self) -> str:
        """Return why the BD-rate is not there, or says little."""
        if reason := getattr(self.rate, "reason", ""):
            return f"{self.label}: no BD-rate, since {reason}."
        doubt = "the curves share less than half of the range that they span"
        doubtful = getattr(self.rate, "doubtful", False)
        return f"{self.label}: {doubt}, so the number says little." if doubtful else ""

    def record(self) -> dict[str, object]:
        """Return the row for machines."""
        return {
            "metric": self.label,
            "form": self.form,
            "bd_rate_percent": _value(self.rate),
            "bd_metric": _value(self.quality),
            "overlap": self.rate.overlap,
            "note": self.note(),
        }


def _value(delta: "Delta | NoDelta") -> float | None:
    value: float | None = getattr(delta, "value", None)
    return value


def _curve_of(text: str, dataset: str, results: Path) -> "NamedCurve":
    """Read a file, or the published points of a system on the dataset."""
    from benchmark.published.curve_file import NamedCurve, read_curves
    from benchmark.published.points import read_points, select

    if Path(text).suffix.lower() in FILES or Path(text).exists():
        curves = read_curves(Path(text))
        if len(curves) > 1:
            names = ", ".join(curve.name for curve in curves)
            raise UsageError(f"{text} has the curves {names}: keep the rows of one in a file")
        return curves[0]
    series: dict[str, list[tuple[float, float]]] = {}
    variants: dict[str, set[tuple[str, ...]]] = {}
    for point in select(read_points(results), [text]):
        if point.dataset == dataset and point.kind == "point":
            variants.setdefault(point.metric, set()).add((point.variant, point.protocol))
            series.setdefault(point.metric, []).append((point.bpp, point.value))
    if not series:
        raise UsageError(f"{text} has no published curve on {dataset}: name another --dataset")
    several = {
        name for of_metric in variants.values() if len(of_metric) > 1 for name, _ in of_metric
    }
    if several:
        known = ", ".join(sorted(f"{text.partition(':')[0]}:{name}" for name in several))
        raise UsageError(f"{text} has several curves on {dataset}: name one of {known}")
    curves_by_metric = {}
    for metric, points in series.items():
        rates, values = zip(*sorted(points), strict=True)
        curves_by_metric[metric] = rates, values
    return NamedCurve(text, curves_by_metric)
