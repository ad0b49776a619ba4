"""`bench published` and `bench bd`: curves of papers and files, compared with one another."""

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
from benchmark.compare.curves import Curve, curve_of, cut, dominated_text
from benchmark.compare.experiment import parse_rates
from benchmark.compare.rule import FORM_NAMES, USUAL_RULE, Form, Rule
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.option import ARGUMENT, COMPARED, MANNER, METRICS, ORIGIN, RESULTS, opt
from benchmark.published.curves import published_curves
from benchmark.published.points import (
    ALL_SYSTEMS,
    CURVE,
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
# Protocol ids of metrics as a paper has them, where the column does not name it.
REPORTED = {"psnr_db": "psnr-rgb", "ms_ssim": "ms-ssim-rgb", "ms_ssim_db": "ms-ssim-db-rgb"}

# Metrics that a curve's file may have.
BD_METRICS = ("psnr", "ms_ssim", "ssim", "lpips", "dists", "fid256", "kid256")
FORMS: tuple[Form, ...] = ("akima", "cubic")
DELTAS = (
    Column("BD-rate (%)", number_text, str),
    Column("BD-metric", partial(number_text, name="bd_metric", form="+z.3f"), str),
    Column("overlap", form=".0%"),
)
OF_POINTS = opt(COMPARED, "Dataset of the points, or 'all'.")
BETWEEN = opt(COMPARED, "Only points between two rates, in bpp: .01,.1.", value_form="listed")
LISTED = opt(ARGUMENT, "Systems to list the curves of; default: all.")
NAMES = opt(ARGUMENT, "Systems, such as tcm or VTM:CompressAI, or files of curves.")

published = Verbs("""Keep, show and compare numbers published in papers and repositories.

Examples:
  bench published list --dataset kodak --bpp .01,.1
  bench published show tcm
  bench published compare tcm mlic++ mine.csv
""")


@published.verb("list")
def list_all(
    names: Annotated[list[str] | None, LISTED] = None,
    dataset: Annotated[str, OF_POINTS] = "all",
    metrics: Annotated[str, METRICS] = "all",
    bpp: Annotated[tuple[str, ...], BETWEEN] = (),
    results: Annotated[Path, RESULTS] = Path("results"),
) -> Answer:
    """List published systems, a line each; of what is named, every curve with its rule.

    A dataset's parts, and curves of its pictures cut or resized, are listed with it: `pictures`
    says how they differ. Doubtful points are plotted and compared only as doubtful:NAME.

    Examples:
      bench published list --dataset kodak
      bench published list diffeic perco --bpp .01,.1 --metric lpips
    """
    asked = [f"{DOUBTFUL}{name.removeprefix(DOUBTFUL)}" for name in names or [ALL_SYSTEMS]]
    points = [*select(read_points(results, doubtful=True), asked)]
    known = sorted({parent_dataset(point.dataset)[0] for point in points})
    if dataset != "all":
        points = [p for p in points if dataset in (p.dataset, parent_dataset(p.dataset)[0])]
        if not points:
            raise UnknownName("dataset with published points", dataset, known)
    if metrics != "all":
        requested_metrics = [Metric.named(name) for name in metric_names(metrics)]
        wanted = {
            word
            for metric in requested_metrics
            for word in (metric.column, metric.name, metric.published)
            if word
        }
        points = [p for p in points if {p.metric, p.metric.removesuffix("_db")} & wanted]
    if bpp:
        low, high = _ends(bpp)
        points = [p for p in points if low <= p.bpp <= high]
    if not points:
        raise UsageError(f"nothing is published of that: leave out a filter, of {listed(known, 9)}")
    if names or bpp or (dataset, metrics) != ("all", "all"):
        columns = [Column(name) for name in CURVE]
        columns += [Column("bpp", _rates_text, str), Column("points", form="d")]
        return Answer(inventory(points), columns)
    counts = [Column(name, form="d") for name in ("variants", "metrics", "doubtful", "points")]
    return Answer([*overview(points)], [Column("system"), Column("datasets"), *counts])


def _ends(bpp: Sequence[str]) -> tuple[float, float]:
    """Return the lowest and highest rate of an option; raise `UsageError` for another."""
    rates = parse_rates(bpp)
    if len(rates) != 2 or rates[0] > rates[1]:
        raise UsageError(f"--bpp {','.join(bpp)} is not a range: .01,.1 is from .01 to .1 bpp")
    return rates[0], rates[1]


def _rates_text(record: Mapping[str, Any]) -> str:
    return range_text(record["lowest_bpp"], record["highest_bpp"], ".3f")


@published.verb("show")
def show(
    names: Annotated[list[str], NAMES],
    dataset: Annotated[str, OF_POINTS] = "all",
    results: Annotated[Path, RESULTS] = Path("results"),
) -> Answer:
    """Print the points of published systems with source, rule and doubts.

    Examples:
      bench published show tcm --dataset kodak
      bench published show doubtful:hpcm
    """
    points = _points(results, names, dataset)
    words = ("system", "variant", "dataset", "metric", "protocol", "setting")
    columns = [*map(Column, words), *(Column(name, form=".6g") for name in ("bpp", "value"))]
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
    """Compare every curve of these systems, of all sources, with the first; average nothing.

    Examples:
      bench published compare doubtful:vtm --dataset kodak
      bench published compare tcm mlic++ mine.csv
    """
    spelt = ",".join(name.replace(",", "\\,") for name in names)
    points = chosen_points(results, spelt, all_variants=True)
    records: list[dict[str, Any]] = []
    absent: list[Absent] = []
    for metric in map(Metric.named, metric_names(metrics)):
        curves = published_curves(points, dataset, metric)
        for place, curve in enumerate(curves if len(curves) > 1 else ()):
            facts = {
                "metric": metric.label,
                "curve": curve.title,
                "points": len(curve.points),
            }
            origin = {name: getattr(curve.points[0], name) for name in ("source", "protocol")}
            pair = missing_comparison(metric, rule, "")
            if place:
                both = [(each.title, each.rates) for each in (curves[0], curve)]
                pair = compare_curves(both[0][1], both[1][1], metric, rule)
                what = f"{curve.title}, {metric.label}"
                absent += [Absent(what, why) for why in remarks(pair, both, rule)]
            records.append(facts | origin | numbers_in(pair))
    columns = [*map(Column, ("metric", "curve", "source", "protocol")), Column("points", form="d")]
    summary = f"By {FORM_NAMES[rule.bd]}, against the first curve{rule.end_words}; no two averaged."
    if not records:
        summary = f"No two curves on {dataset} to compare."
    return Answer(records, [*columns, *DELTAS], summary + doubt_text(records, rule), absent)


def bd(
    anchor: Annotated[str, opt(ARGUMENT, "A file, or a published system: VTM:CompressAI.")],
    test: Annotated[str, opt(ARGUMENT, "The curve to compare with it, likewise.")],
    metrics: Annotated[str, opt(COMPARED, "Comma-separated; default: all that both have.")] = "",
    dataset: Annotated[str, opt(COMPARED, "Dataset of published points.")] = "kodak",
    *,
    rule: Rule,
    results: Annotated[Path, RESULTS] = Path("results"),
) -> Answer:
    """Compute BD-rate and BD-metric of TEST against ANCHOR, by Akima and by the older cubic form.

    Curves are compared as `bench report` compares them: on their Pareto fronts, with a mark where
    they share less than half of what they span.

    Files are csv, CompressAI's json or a table of a README, with columns such as bpp, psnr, ms-ssim
    (linear or in dB) and lpips. Papers differ by the form of interpolation, so both are given, with
    the share of the range that both curves reach.

    Examples:
      bench bd vtm.csv mine.json
      bench bd VTM:CompressAI mine.csv --metrics psnr
    """
    both_files = is_file(anchor) and is_file(test)
    points = () if both_files else read_points(results, doubtful=True)
    curves = [read_curve(text, dataset, results, points=points) for text in (anchor, test)]
    first, second = names = curves[0].name, curves[1].name
    records: list[dict[str, Any]] = []
    absent: list[Absent] = []
    for name in metric_names(metrics) if metrics else BD_METRICS:
        metric = Metric.named(name)
        series = [
            curve.series.get(metric.column) or curve.series.get(metric.published)
            for curve in curves
        ]
        if metrics and not all(series):
            lacking = curves[bool(series[0])]
            raise UsageError(f"{lacking.name} has no {metric.label}: name another metric")
        for form in dict.fromkeys((*FORMS, rule.bd)) if all(series) else ():
            of_form = replace(rule, bd=form)
            both = [curve_of(*known, metric) for known in series if known]
            pair = compare_curves(both[0], both[1], metric, of_form)
            known = {"metric": metric.label, "form": form, "crossing": pair["crossing"]}
            notes = [*remarks(pair, [*zip(names, both, strict=True)], of_form)]
            records.append(known | numbers_in(pair) | {"note": "; ".join(notes)})
            absent += [Absent(metric.label, why) for why in notes]
    if not records:
        raise UsageError(f"{first} and {second} have no metric in common")
    summary = f"{second} against {first}{rule.end_words}." + doubt_text(records, USUAL_RULE)
    facts = {"anchor": first, "test": second}
    columns = [Column("metric"), Column("form"), *DELTAS]
    return Answer(records, columns, summary, [*dict.fromkeys(absent)], facts)


def remarks(pair: Record, curves: Sequence[tuple[str, Curve]], rule: Rule) -> Iterator[str]:
    """Yield why there is no BD-rate, crossings of curves (anchor first), and points left out."""
    if pair["bd_rate_percent"] is None:
        hint = " (--any-overlap gives a number)" if pair["bd_rate_overlap"] else ""
        yield f"no BD-rate, since {pair['reason']}{hint}"
        return
    if pair["crossing"] is not None:
        yield f"the curves cross at {pair['crossing']:.4g}"
    for name, curve in curves:
        if points := dominated_text(cut(curve, rule)):
            yield f"{name} is below its own Pareto front, and left out, at {points}"


def numbers_in(comparison: Record) -> Record:
    """Return what is shown of a comparison of two curves."""
    return {
        "bd_rate_percent": comparison["bd_rate_percent"],
        "bd_metric": comparison["bd_metric"],
        "overlap": comparison["bd_rate_overlap"],
        "doubtful": comparison["doubtful"],
        "bd_metric_doubtful": comparison["bd_metric_doubtful"],
    }


def doubt_text(records: Sequence[Mapping[str, Any]], rule: Rule) -> str:
    """Return the note on doubtful BD-rates after another sentence, if one of these is doubtful."""
    marks = (record[mark] for record in records for mark in ("doubtful", "bd_metric_doubtful"))
    return f" {doubt_note(rule)}" if any(marks) else ""


@published.verb("add")
def add(
    file: Annotated[Path, opt(ARGUMENT, "csv, CompressAI's json, or a table of a README.")],
    system: Annotated[str, opt(ORIGIN, "Name of the system; one curve in the file.")],
    reference: Annotated[str, opt(ORIGIN, "DOI, else the address of the numbers.")],
    dataset: Annotated[
        str, opt(ORIGIN, "Dataset that the published values are averages over.")
    ] = "kodak",
    variant: Annotated[str, opt(ORIGIN, "Which variant, where there are several.")] = "",
    title: Annotated[str, opt(ORIGIN, "Title of the paper; default: the reference.")] = "",
    rule: Annotated[str, opt(MANNER, "How the values were computed, in your words.")] = "",
    results: options.ResultsTarget = Path("results"),
) -> None:
    """Check a curve and add it to the registry of a results folder.

    A curve that falls, or that no codec can have beside VTM's, is added as doubtful and not plotted
    unless asked for. To plot a file's curve without adding it: --published FILE.

    Examples:
      bench published add mine.json --system Mine --reference 10.1000/182
    """
    from benchmark.published.doubts import doubts, vtm_curve
    from benchmark.published.registry import add_paper

    named = {metric_class(name).column: name for name in (*IMAGE_METRICS, *DISTRIBUTION_METRICS)}
    doi = DOI.fullmatch(reference.strip())
    curve = read_curve(str(file), dataset, results, only_file=True)
    known = read_points(results, doubtful=True)
    points, sentences = list[PublishedPoint](), list[str]()
    for column, (bpp, values) in curve.series.items():
        metric = Metric.named(named[column]) if column in named else None
        anchor = vtm_curve(known, dataset, metric) if metric else None
        odd = doubts(metric, bpp, values, anchor) if metric else []
        sentences += odd
        name, shown = (metric and metric.published) or column, list(values)
        if column in curve.in_db:
            name, shown = "ms_ssim_db", [-10 * math.log10(1 - value) for value in values]
        points += [
            PublishedPoint(
                system=system, variant=variant, kind="point", dataset=dataset, bpp=rate,
                metric=name, value=value,
                protocol=f"{REPORTED.get(name, name.replace('_', '-'))}/reported",
                rate_protocol="bpp/reported", how="author_csv", reference=reference.strip(),
                source=title or reference, rule=rule, doubt="; ".join(odd),
            )
            for rate, value in zip(bpp, shown, strict=True)
        ]  # fmt: skip
    path = add_paper(results, title or reference, doi[1] if doi else "", points)
    names = ", ".join(dict.fromkeys(point.metric for point in points))
    print(f"{path}: {len(points)} points of {names}")
    output.print_lines(sentences, details=True)


def _points(results: Path, names: Sequence[str], dataset: str) -> list[PublishedPoint]:
    """Return the points of these names on a dataset; raise `UsageError` without any."""
    chosen = select(read_points(results, doubtful=True), names)
    points = [point for point in chosen if dataset in ("all", point.dataset)]
    if not points:
        known = ", ".join(sorted({point.dataset for point in chosen}))
        raise UsageError(f"{', '.join(names)} has no points on {dataset}: name one of {known}")
    return points


def _origins(points: Iterable[PublishedPoint]) -> Iterator[str]:
    lines: dict[str, None] = {}
    for p in points:
        where = f"{p.source}: {p.reference}" + (p.doi and f", doi:{p.doi}")
        of_values = p.rule and f"rule: {p.rule}", p.doubt and f"doubt: {p.doubt}"
        lines |= dict.fromkeys((where, *of_values))
    yield from filter(None, lines)
