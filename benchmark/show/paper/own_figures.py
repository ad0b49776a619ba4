"""Figures of one's own experiment, made from stored rows."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Annotated

from benchmark.compare.bd import Comparisons, anchor_comparison, compare
from benchmark.compare.experiment import Experiment, Rates, parse_rates
from benchmark.compare.realism_sweep import MATCHED, PlotAtRate, RealismSweep, realism_sweeps
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.compare.system_curve import Panel, SystemCurve, variant_curve
from benchmark.datasets.dataset import profile
from benchmark.errors import UnknownName, UsageError
from benchmark.option import COMPARED, opt, some
from benchmark.rows.edition import GROUPED, mark_bundled
from benchmark.rows.schema import metric_names
from benchmark.rows.summary import Summary
from benchmark.show.absences import absent_sentences, hidden_edition_lines
from benchmark.show.figures.bd_bars import draw_bd_bars
from benchmark.show.figures.choice import choose, note_undrawn
from benchmark.show.figures.cost_figure import COSTS, cost_points, draw_costs
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.realism import draw_realism_plots, left_out
from benchmark.show.figures.style import Style, look, styles
from benchmark.show.figures.texts import Drawing, PaperFigure, few_images
from benchmark.show.paper.crops import crops, maps
from benchmark.show.paper.experiment_curves import METRICS, ExperimentCurves, experiment_curves
from benchmark.show.sections import images_of, points_left_out
from benchmark.show.sections import metric_names as metric_words
from benchmark.spec import CodecSpec, listed_datasets
from benchmark.system.text import range_text

RATES = ("0.1", "0.2", "0.45")  # bpp, of plots of realism
COST = opt(COMPARED, "Costs to draw: seconds, kmac; default: both.", many="listed")


def rd(of: Experiment) -> PaperFigure:
    """Draw rate-distortion curves, a panel for each metric and a row of them for each dataset.

    At most eight curves: the codecs named, else `ours`, the anchor and the best of each family.
    FILE takes every option as a key, and tables [labels] and [colours]; options override it.

    Examples:
      bench figures rd --codecs ours,vtm,avif --published hific
      bench figures rd figures.toml --width column --label 'ours:beta=3.84=Ours'
    """
    names = listed_datasets(of.dataset) if of.dataset else [""]
    results = experiment_curves(of, names, "rd")
    looks = styles(edition for it in results for edition in it.editions)
    anchors = [it.anchor.text for it in results if it.anchor] if of.named else []
    first, *others = sorted(results, key=lambda it: not it.anchor)
    panels = [*chain(first.panels, *(it.panels for it in others))]
    choice = choose(panels, of.rule, first.anchor, [*anchors, *of.named])
    datasets = [(it.title, it.panels) for it in results]
    drawing = draw_rate_curves(datasets, looks, choice, anchor=first.anchor)
    missed = note_undrawn(choice, of)
    return _made(results, drawing, "no rd: no points can be drawn", *missed)


def _made(
    results: Sequence[ExperimentCurves], drawing: Drawing | None, absent: str, *more: str
) -> PaperFigure:
    """Return a figure with its sentences. absent: the sentence without a figure."""
    lacking = (text for of in results for text in of.lacking)
    rows = (text for of in results if of.stored for text in hidden_edition_lines(of.stored.summary))
    points = (text for of in results for text in points_left_out(of.summary, of.metrics))
    sentences = (*more, *lacking, *points, *rows)
    return PaperFigure(drawing, sentences if drawing else (absent, *sentences))


def _comparisons(result: ExperimentCurves, of: Experiment) -> Comparisons:
    anchor = result.anchor_edition
    if result.summary is None or anchor is None:
        return {}  # the anchor is a published curve, if any
    return compare(result.summary, result.metrics, anchor, of.rule)


def _has_rate(comparisons: Comparisons, curve: SystemCurve) -> bool:
    comparison = comparisons.get((curve.edition, curve.metric.column))
    return comparison is not None and comparison["bd_rate_percent"] is not None


def bd(of: Experiment) -> PaperFigure:
    """Draw BD-rates against an anchor as bars with 95 % intervals over images.

    Examples:
      bench figures bd --anchor vtm --metrics psnr,lpips_squeeze
    """
    (result,) = experiment_curves(of, [of.dataset], "bd")
    compared = _comparisons(result, of)
    choice = choose(result.panels, of.rule, result.anchor, of.named)
    looks = styles(result.editions)
    shown = choice, compared, looks, result.title, result.anchor
    drawing = draw_bd_bars(result.panels, *shown)
    lack = "no codec has a BD-rate" if result.anchor else "name the published curve by --anchor"
    missed = note_undrawn(choice, of)
    refused = (
        f"no BD-rate of {c['codec']} in {c['metric']}: {c['reason']}"
        for c in compared.values()
        if c["bd_rate_percent"] is None and c["codec"] in choice.labels
    )
    return _made([result], drawing, f"no bd: {lack}", *missed, *refused)


def complexity(
    of: Annotated[
        Experiment,
        some("results dataset codecs bundled metrics anchor images allow_few verified_only", Rule),
    ],
    cost: Annotated[tuple[str, ...], COST] = (),
) -> PaperFigure:
    """Draw BD-rates against seconds, and against multiply-accumulates per pixel.

    Seconds are of rows that were timed alone (`bench run --timing`), else typical ones, as open
    markers.

    Examples:
      bench figures complexity --cost seconds
    """
    for name in cost:
        if name not in COSTS:
            raise UnknownName("cost", name, COSTS)
    (result,) = experiment_curves(of, [of.dataset], "complexity")
    summary = result.summary
    if summary is None:
        raise UsageError(f"nothing is measured on {result.dataset}: `bench run` does")
    choice = choose(result.panels[:1], of.rule, result.anchor, of.named)
    (panel,) = choice.select(result.panels[:1])
    metric = panel[0].metric
    compared = {**_comparisons(result, of)}
    if anchor := result.anchor_edition:
        compared[anchor, metric.column] = anchor_comparison(metric, of.rule)
    points = cost_points(panel, compared, summary, cost or COSTS)
    of_anchor = variant_curve(panel, result.anchor)
    words, name = metric_words([metric]), of_anchor.name if of_anchor else ""
    where = f"{result.title}{of.rule.words}"
    drawing = draw_costs(points, styles(result.editions), where, words, name, of.rule)
    there = {point.curve.name for point in points}
    lacks = ", ".join(
        curve.name for curve in panel if curve.name not in there and _has_rate(compared, curve)
    )
    timed = f"complexity lacks {lacks}: no cost known; `bench run --timing` times it"
    return _made([result], drawing, "no complexity: no cost is known", *([timed] if lacks else ()))


def realism(
    of: Annotated[
        Experiment,
        some(
            "results dataset codecs bundled published metrics anchor images mix_protocols "
            "allow_few verified_only"
        ),
    ],
    bpp: Rates = RATES,
) -> PaperFigure:
    """Draw a metric of realism against one of distortion at some rates.

    --metrics names both, that of distortion first. Settings of one codec are joined, from the least
    to the most realistic.

    Examples:
      bench figures realism --metrics psnr,fd_squeeze --bpp 0.1,0.2
    """
    (result,), rates = experiment_curves(of, [of.dataset], "realism"), parse_rates(bpp)
    if len(result.panels) != 2:
        names = metric_names(of.metrics or METRICS["realism"])
        lacks = absent_sentences(names, result.summary) if result.summary else []
        needs = "realism takes two metrics that rows have: --metrics psnr,lpips_squeeze"
        raise UsageError(". ".join((needs, *lacks)))
    known = styles(GROUPED) | styles(result.editions)
    drawing, plots = realism_plots(
        result.panels, result.summary, result.dataset, rates, known, result.anchor, of.named
    )
    absent = "no realism: no two points are near any of these rates (--bpp)"
    lacking = [*left_out(plots)]
    for rate in rates:
        curves = result.panels[0] if of.named else ()
        if beyond := [words for curve in curves if (words := _beyond(curve, rate))]:
            lacking.append(f"not at {rate:g} bpp: {', '.join(beyond)}")
        if rate not in [plot.bpp for plot in plots]:
            lacking.append(f"nothing drawn at {rate:g} bpp, where fewer than two points are")
    return _made([result], drawing, absent, *(f"realism: {why}" for why in lacking))


def _beyond(curve: SystemCurve, bpp: float) -> str:
    """Return a curve's name with its rates if a rate is beyond them, else ""."""
    low, high = curve.points[0].bpp, curve.points[-1].bpp
    inside = low <= MATCHED * bpp and bpp <= MATCHED * high
    return "" if inside else f"{curve.name} ({range_text(low, high)} bpp)"


def realism_plots(
    panels: Sequence[Panel],
    summary: Summary | None,
    dataset: str,
    rates: Sequence[float],
    looks: Mapping[CodecSpec, Style],
    anchor: CodecSpec | None,
    named: Sequence[str] = (),
) -> tuple[Drawing | None, list[PlotAtRate]]:
    """Draw the systems of two panels, of distortion and of realism, at some rates.

    None where no system has both at any rate. looks: styles by codec variant.
    """
    choice = choose(panels, USUAL_RULE, anchor, named)
    curves = [curve for curve in chain(*panels) if curve.name in choice.curves]
    marked = summary.bundled if summary else ()
    distortion, realism = (panel[0].metric for panel in panels)
    few = [panel[0].metric for panel in panels if few_images(panel)]

    def called(sweep: RealismSweep) -> RealismSweep:
        title = mark_bundled(sweep.curve.title, sweep.curve.edition in marked)
        title = look().titles([sweep.style]).get(sweep.style, title)
        return sweep._replace(curve=sweep.curve.retitled(title))

    plots = []
    for bpp in rates:
        sweeps = tuple(map(called, realism_sweeps(curves, (distortion, realism), summary, bpp)))
        if sum(len(sweep.steps) for sweep in sweeps) > 1:  # a lone point compares nothing
            plots.append(PlotAtRate(bpp, sweeps))
    if not plots:
        return None, []
    shown = profile(dataset).title, images_of(panels)
    return draw_realism_plots(plots, distortion, realism, looks, *shown, few), plots


FIGURES: Mapping[str, Callable[..., PaperFigure]] = {
    of.__name__: of for of in (rd, bd, crops, maps, complexity, realism)
}
