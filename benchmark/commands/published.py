"""`bench published` and `bench bd`: list and compare curves from papers and files."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from msgspec.structs import asdict

from benchmark.answer import Absent, Answer, Column
from benchmark.commands import options, output
from benchmark.commands.verb import Verbs
from benchmark.compare.bd import Record, compare_curves, missing_comparison
from benchmark.compare.experiment import parse_rates
from benchmark.compare.rate_quality import RateQuality, curve_of, cut, dominated_text
from benchmark.compare.rule import FORM_NAMES, USUAL_RULE, Form, Rule
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.option import ARGUMENT, COMPARED, MANNER, METRICS, ORIGIN, RESULTS, opt
from benchmark.published.curves import published_curves
from benchmark.published.points import (
    ALL_SYSTEMS,
    CURVE_COLUMNS,
    DOUBTFUL,
    PublishedPoint,
    inventory,
    overview,
    parent_dataset,
    select,
)
from benchmark.published.registry import chosen_points, is_file, read_curve, read_points
from benchmark.registry import DISTRIBUTION_METRICS, metric_class
from benchmark.registry import METRICS as IMAGE_METRICS
from benchmark.rows.schema import metric_names
from benchmark.show.bd_rates import doubt_note, number_text
from benchmark.system.text import listed, range_text

DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,}/\S+)", re.IGNORECASE)
# Protocols of metrics in papers, if their name differs from the column's
REPORTED = {"psnr_db": "psnr-rgb", "ms_ssim": "ms-ssim-rgb", "ms_ssim_db": "ms-ssim-db-rgb"}

# Metrics that a file of a curve may have
BD_METRICS = ("psnr", "ms_ssim", "ssim", "lpips", "dists", "fid256", "kid256")
FORMS: tuple[Form, ...] = ("akima", "cubic")
DELTAS = (
    Column("BD-rate (%)", number_text, str),
    Column("BD-metric", partial(number_text, name="bd_metric", form="+z.3f"), str),
    Column("overlap", form=".0%"),
)
POINTS_DATASET = opt(COMPARED, "Dataset of the points, or 'all'.")
RATE_RANGE = opt(COMPARED, "Show only points between two rates (bpp): .01,.1.", value_form="listed")
SYSTEMS = opt(ARGUMENT, "Systems whose curves to list; default: all.")
NAMES = opt(ARGUMENT, "Systems, such as tcm or VTM:CompressAI, or files of curves.")

published = Verbs("""List, show, compare and add numbers published in papers and repositories.

Examples:
  bench published list --dataset kodak --bpp .01,.1
  bench published show tcm
  bench published compare tcm mlic++ mine.csv
""")


@published.verb("list")
def list_all(
    names: Annotated[list[str] | None, SYSTEMS] = None,
    dataset: Annotated[str, POINTS_DATASET] = "all",
    metrics: Annotated[str, METRICS] = "all",
    bpp: Annotated[tuple[str, ...], RATE_RANGE] = (),
    results: Annotated[Path, RESULTS] = Path("results"),
) -> Answer:
    """List published systems, one per line; with names, every curve of these, with its rule.

    A dataset is listed with its parts, and with curves on cropped or resized pictures (see column
    `pictures`). Doubtful points are plotted and compared only as doubtful:NAME.

    Examples:
      bench published list --dataset kodak
      bench published list diffeic perco --bpp .01,.1 --metric lpips
    """
    requested_names = [
        f"{DOUBTFUL}{name.removeprefix(DOUBTFUL)}" for name in names or [ALL_SYSTEMS]
    ]
    points = [*select(read_points(results, doubtful=True), requested_names)]
    known_datasets = sorted({parent_dataset(point.dataset)[0] for point in points})
    if dataset != "all":
        points = [p for p in points if dataset in (p.dataset, parent_dataset(p.dataset)[0])]
        if not points:
            raise UnknownName("dataset with published points", dataset, known_datasets)
    if metrics != "all":
        requested_metrics = [Metric.named(name) for name in metric_names(metrics)]
        accepted_metrics = {
            word
            for metric in requested_metrics
            for word in (metric.column, metric.name, metric.published)
            if word
        }
        points = [p for p in points if {p.metric, p.metric.removesuffix("_db")} & accepted_metrics]
    if bpp:
        low, high = _parse_range(bpp)
        points = [p for p in points if low <= p.bpp <= high]
    if not points:
        raise UsageError(
            f"no published points match: leave out a filter; datasets: {listed(known_datasets, 9)}"
        )
    if names or bpp or (dataset, metrics) != ("all", "all"):
        columns = [Column(name) for name in CURVE_COLUMNS]
        columns += [Column("bpp", _rates_text, str), Column("points", form="d")]
        return Answer(inventory(points), columns)
    counts = [Column(name, form="d") for name in ("variants", "metrics", "doubtful", "points")]
    return Answer([*overview(points)], [Column("system"), Column("datasets"), *counts])


def _parse_range(bpp: Sequence[str]) -> tuple[float, float]:
    """Return the lowest and highest rate in an option; `UsageError` if it is not a range."""
    rates = parse_rates(bpp)
    if len(rates) != 2 or rates[0] > rates[1]:
        raise UsageError(f"--bpp {','.join(bpp)} is not a range: give two rates, such as .01,.1")
    return rates[0], rates[1]


def _rates_text(record: Mapping[str, Any]) -> str:
    return range_text(record["lowest_bpp"], record["highest_bpp"], ".3f")


@published.verb("show")
def show(
    names: Annotated[list[str], NAMES],
    dataset: Annotated[str, POINTS_DATASET] = "all",
    results: Annotated[Path, RESULTS] = Path("results"),
) -> Answer:
    """Print the points of published systems, with sources, rules and doubts.

    Examples:
      bench published show tcm --dataset kodak
      bench published show doubtful:hpcm
    """
    points = _points(results, names, dataset)
    text_columns = ("system", "variant", "dataset", "metric", "protocol", "setting")
    columns = [*map(Column, text_columns), *(Column(name, form=".6g") for name in ("bpp", "value"))]
    return Answer([*map(asdict, points)], columns, "\n".join(_origins(points)))


@published.verb("compare")
def compare(
    names: Annotated[list[str], NAMES],
    dataset: Annotated[str, opt(COMPARED, "Dataset of the points.")] = "kodak",
    metrics: Annotated[str, METRICS] = "psnr",
    *,
    rule: Rule,
    results: Annotated[Path, RESULTS] = Path("results"),
) -> Answer:
    """Compare all curves of some systems, from all sources, with the first; nothing is averaged.

    Examples:
      bench published compare doubtful:vtm --dataset kodak
      bench published compare tcm mlic++ mine.csv
    """
    names_text = ",".join(name.replace(",", "\\,") for name in names)
    points = chosen_points(results, names_text, all_variants=True)
    records: list[dict[str, Any]] = []
    absences: list[Absent] = []
    for metric in map(Metric.named, metric_names(metrics)):
        curves = published_curves(points, dataset, metric)
        for curve_index, curve in enumerate(curves if len(curves) > 1 else ()):
            facts = {
                "metric": metric.label,
                "curve": curve.title,
                "points": len(curve.points),
            }
            origin = {name: getattr(curve.points[0], name) for name in ("source", "protocol")}
            comparison = missing_comparison(metric, rule, "")
            if curve_index:
                named_curves = [(curves[0].title, curves[0].rates), (curve.title, curve.rates)]
                comparison = compare_curves(curves[0].rates, curve.rates, metric, rule)
                curve_text = f"{curve.title}, {metric.label}"
                absences += [
                    Absent(curve_text, why) for why in remarks(comparison, named_curves, rule)
                ]
            records.append(facts | origin | numbers_in(comparison))
    columns = [*map(Column, ("metric", "curve", "source", "protocol")), Column("points", form="d")]
    summary = f"{FORM_NAMES[rule.bd]}, against the first curve{rule.end_words}; not averaged."
    if not records:
        summary = f"No two curves on {dataset} can be compared."
    return Answer(records, [*columns, *DELTAS], summary + doubt_text(records, rule), absences)


def bd(
    anchor: Annotated[
        str, opt(ARGUMENT, "Csv or json file, or a published system (VTM:CompressAI).")
    ],
    test: Annotated[str, opt(ARGUMENT, "Curve to compare with ANCHOR, of the same form.")],
    metrics: Annotated[
        str, opt(COMPARED, "Comma-separated metrics; default: all that both curves have.")
    ] = "",
    dataset: Annotated[str, opt(COMPARED, "Dataset of published points.")] = "kodak",
    *,
    rule: Rule,
    results: Annotated[Path, RESULTS] = Path("results"),
) -> Answer:
    """Compute BD-rate and BD-metric of TEST against ANCHOR, by Akima and by the older cubic form.

    Curves are compared like in `bench report`: on their Pareto fronts, and with a mark if they
    share less than half of their joint range.

    Files are csv, CompressAI's json or a README with a table; columns are bpp, psnr, ms-ssim
    (linear or in dB), lpips and so on. Papers differ in the form of interpolation, so both are
    shown, with the share of the range that both curves reach (overlap).

    Examples:
      bench bd vtm.csv mine.json
      bench bd VTM:CompressAI mine.csv --metrics psnr
    """
    both_files = is_file(anchor) and is_file(test)
    points = () if both_files else read_points(results, doubtful=True)
    curves = [read_curve(text, dataset, results, points=points) for text in (anchor, test)]
    anchor_name, test_name = names = curves[0].name, curves[1].name
    records: list[dict[str, Any]] = []
    absences: list[Absent] = []
    for name in metric_names(metrics) if metrics else BD_METRICS:
        metric = Metric.named(name)
        series = [
            curve.series.get(metric.column) or curve.series.get(metric.published)
            for curve in curves
        ]
        if metrics and not all(series):
            curve = curves[bool(series[0])]
            raise UsageError(f"{curve.name} has no {metric.label}: choose another metric")
        for form in dict.fromkeys((*FORMS, rule.bd)) if all(series) else ():
            form_rule = replace(rule, bd=form)
            metric_curves = [curve_of(*values, metric) for values in series if values]
            comparison = compare_curves(metric_curves[0], metric_curves[1], metric, form_rule)
            facts = {"metric": metric.label, "form": form, "crossing": comparison["crossing"]}
            notes = [*remarks(comparison, [*zip(names, metric_curves, strict=True)], form_rule)]
            records.append(facts | numbers_in(comparison) | {"note": "; ".join(notes)})
            absences += [Absent(metric.label, why) for why in notes]
    if not records:
        raise UsageError(f"{anchor_name} and {test_name} have no metric in common")
    summary = f"{test_name} against {anchor_name}{rule.end_words}."
    summary += doubt_text(records, USUAL_RULE)
    facts = {"anchor": anchor_name, "test": test_name}
    columns = [Column("metric"), Column("form"), *DELTAS]
    return Answer(records, columns, summary, [*dict.fromkeys(absences)], facts)


def remarks(
    comparison: Record, curves: Sequence[tuple[str, RateQuality]], rule: Rule
) -> Iterator[str]:
    """Yield the reason for no BD-rate, or crossings and points left out; curves: anchor first."""
    if comparison["bd_rate_percent"] is None:
        hint = " (--any-overlap gives a number)" if comparison["bd_rate_overlap"] else ""
        yield f"no BD-rate, since {comparison['reason']}{hint}"
        return
    if comparison["crossing"] is not None:
        yield f"the curves cross at {comparison['crossing']:.4g}"
    for name, curve in curves:
        if points := dominated_text(cut(curve, rule)):
            yield f"{name} has points below its Pareto front, which are left out: {points}"


def numbers_in(comparison: Record) -> Record:
    """Return the printed fields of a comparison of two curves."""
    return {
        "bd_rate_percent": comparison["bd_rate_percent"],
        "bd_metric": comparison["bd_metric"],
        "overlap": comparison["bd_rate_overlap"],
        "doubtful": comparison["doubtful"],
        "bd_metric_doubtful": comparison["bd_metric_doubtful"],
    }


def doubt_text(records: Sequence[Mapping[str, Any]], rule: Rule) -> str:
    """Return a note on doubtful BD-rates, to append to a sentence; "" if none is doubtful."""
    marks = (record[mark] for record in records for mark in ("doubtful", "bd_metric_doubtful"))
    return f" {doubt_note(rule)}" if any(marks) else ""


@published.verb("add")
def add(
    file: Annotated[
        Path, opt(ARGUMENT, "File of a curve: csv, CompressAI's json, or a README with a table.")
    ],
    system: Annotated[str, opt(ORIGIN, "Name of the system whose curve is in the file.")],
    reference: Annotated[str, opt(ORIGIN, "DOI of the source, or else its URL.")],
    dataset: Annotated[
        str, opt(ORIGIN, "Dataset over which the published values are averaged.")
    ] = "kodak",
    variant: Annotated[str, opt(ORIGIN, "Variant of the system, if it has several.")] = "",
    title: Annotated[str, opt(ORIGIN, "Title of the paper; default: the reference.")] = "",
    rule: Annotated[str, opt(MANNER, "Description of how the values were computed.")] = "",
    results: options.ResultsTarget = Path("results"),
) -> None:
    """Check a curve and add it to the registry of a results folder.

    A curve that falls with rate, or is implausibly far from VTM's, is added as doubtful and plotted
    only if named. To plot a file's curve without adding it, use --published FILE.

    Examples:
      bench published add mine.json --system Mine --reference 10.1000/182
    """
    from benchmark.published.doubts import doubts, vtm_curve
    from benchmark.published.registry import add_paper

    names_by_column = {
        metric_class(name).column: name for name in (*IMAGE_METRICS, *DISTRIBUTION_METRICS)
    }
    doi = DOI.fullmatch(reference.strip())
    curve = read_curve(str(file), dataset, results, only_file=True)
    registered_points = read_points(results, doubtful=True)
    points, sentences = list[PublishedPoint](), list[str]()
    for column, (bpp, values) in curve.series.items():
        metric = Metric.named(names_by_column[column]) if column in names_by_column else None
        anchor = vtm_curve(registered_points, dataset, metric) if metric else None
        doubt_texts = doubts(metric, bpp, values, anchor) if metric else []
        sentences += doubt_texts
        name, reported_values = (metric and metric.published) or column, list(values)
        if column in curve.db_columns:
            name, reported_values = "ms_ssim_db", [-10 * math.log10(1 - value) for value in values]
        points += [
            PublishedPoint(
                system=system, variant=variant, kind="point", dataset=dataset, bpp=rate,
                metric=name, value=value,
                protocol=f"{REPORTED.get(name, name.replace('_', '-'))}/reported",
                rate_protocol="bpp/reported", how="author_csv", reference=reference.strip(),
                source=title or reference, rule=rule, doubt="; ".join(doubt_texts),
            )
            for rate, value in zip(bpp, reported_values, strict=True)
        ]  # fmt: skip
    path = add_paper(results, title or reference, doi[1] if doi else "", points)
    names = ", ".join(dict.fromkeys(point.metric for point in points))
    print(f"{path}: {len(points)} points of {names}")
    output.print_lines(sentences, details=True)


def _points(results: Path, names: Sequence[str], dataset: str) -> list[PublishedPoint]:
    """Return the points of these names on a dataset; raise `UsageError` if there are none."""
    selected_points = select(read_points(results, doubtful=True), names)
    points = [point for point in selected_points if dataset in ("all", point.dataset)]
    if not points:
        known_datasets = ", ".join(sorted({point.dataset for point in selected_points}))
        raise UsageError(
            f"{', '.join(names)} has no points on {dataset}: choose one of {known_datasets}"
        )
    return points


def _origins(points: Iterable[PublishedPoint]) -> Iterator[str]:
    lines: dict[str, None] = {}
    for point in points:
        source_text = f"{point.source}: {point.reference}" + (point.doi and f", doi:{point.doi}")
        value_texts = point.rule and f"rule: {point.rule}", point.doubt and f"doubt: {point.doubt}"
        lines |= dict.fromkeys((source_text, *value_texts))
    yield from filter(None, lines)
