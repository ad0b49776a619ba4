"""Figures of a user's own experiment, from stored rows."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Annotated

from benchmark.compare.bd import Comparisons, anchor_comparison, compare
from benchmark.compare.curve import Curve, Panel, variant_curve
from benchmark.compare.experiment import Experiment, Rates, parse_rates
from benchmark.compare.realism_sweep import (
    MAX_MATCH_RATIO,
    PlotAtRate,
    RealismSweep,
    realism_sweeps,
)
from benchmark.compare.rule import USUAL_RULE, Rule
from benchmark.datasets.dataset import profile
from benchmark.errors import UnknownName, UsageError
from benchmark.option import COMPARED, opt, subset
from benchmark.rows.edition import GROUPED, mark_bundled
from benchmark.rows.schema import metric_names
from benchmark.rows.summary import Summary
from benchmark.show.absences import absent_sentences, hidden_edition_lines
from benchmark.show.figures.bd_bars import draw_bd_bars
from benchmark.show.figures.choice import note_undrawn, pick_curves
from benchmark.show.figures.cost_figure import COSTS, cost_points, draw_costs
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.realism import absence_notes, draw_realism_plots
from benchmark.show.figures.style import Style, look, styles
from benchmark.show.figures.texts import DrawnFigure, PaperFigure, few_images
from benchmark.show.paper.crops import crops, maps
from benchmark.show.paper.experiment_curves import METRICS, ExperimentCurves, experiment_curves
from benchmark.show.sections import images_text, points_left_out
from benchmark.show.sections import metric_names as metric_words
from benchmark.spec import CodecSpec, listed_datasets
from benchmark.system.text import range_text

RATES = ("0.1", "0.2", "0.45")  # in bpp; one realism plot for each
COST = opt(COMPARED, "Costs to draw: seconds, kmac; default: both.", value_form="listed")


def rd(experiment: Experiment) -> PaperFigure:
    """Draw rate-distortion curves: a panel for each metric, a row for each dataset.

    At most eight curves: requested codecs, else `ours`, the anchor and the best of each family.
    FILE takes every option as a key, and tables [labels] and [colours]; options override it.

    Examples:
      bench figures rd --codecs ours,vtm,avif --published hific
      bench figures rd figures.toml --width column --label 'ours:beta=3.84=Ours'
    """
    names = listed_datasets(experiment.dataset) if experiment.dataset else [""]
    results = experiment_curves(experiment, names, "rd")
    styles_by_variant = styles(edition for result in results for edition in result.editions)
    anchors = (
        [result.anchor.text for result in results if result.anchor]
        if experiment.named_codecs
        else []
    )
    first_result, *other_results = sorted(results, key=lambda result: not result.anchor)
    panels = [*chain(first_result.panels, *(result.panels for result in other_results))]
    choice = pick_curves(
        panels, experiment.rule, first_result.anchor, [*anchors, *experiment.named_codecs]
    )
    datasets = [(result.title, result.panels) for result in results]
    drawing = draw_rate_curves(datasets, styles_by_variant, choice, anchor=first_result.anchor)
    undrawn_notes = note_undrawn(choice, experiment)
    return _paper_figure(results, drawing, "no rd figure: no points can be drawn", *undrawn_notes)


def _paper_figure(
    results: Sequence[ExperimentCurves], drawing: DrawnFigure | None, empty_note: str, *notes: str
) -> PaperFigure:
    missing_notes = (text for result in results for text in result.missing_notes)
    hidden_notes = (
        text
        for result in results
        if result.stored
        for text in hidden_edition_lines(result.stored.summary)
    )
    point_notes = (
        text for result in results for text in points_left_out(result.summary, result.metrics)
    )
    sentences = (*notes, *missing_notes, *point_notes, *hidden_notes)
    return PaperFigure(drawing, sentences if drawing else (empty_note, *sentences))


def _compare_anchor(result: ExperimentCurves, experiment: Experiment) -> Comparisons:
    anchor = result.anchor_edition
    if result.summary is None or anchor is None:
        return {}  # the anchor, if any, is a published curve
    return compare(result.summary, result.metrics, anchor, experiment.rule)


def _has_rate(comparisons: Comparisons, curve: Curve) -> bool:
    comparison = comparisons.get((curve.edition, curve.metric.column))
    return comparison is not None and comparison["bd_rate_percent"] is not None


def bd(experiment: Experiment) -> PaperFigure:
    """Draw BD-rates against an anchor as bars with 95 % intervals over images.

    Examples:
      bench figures bd --anchor vtm --metrics psnr,lpips_squeeze
    """
    (result,) = experiment_curves(experiment, [experiment.dataset], "bd")
    comparisons = _compare_anchor(result, experiment)
    choice = pick_curves(result.panels, experiment.rule, result.anchor, experiment.named_codecs)
    styles_by_variant = styles(result.editions)
    arguments = choice, comparisons, styles_by_variant, result.title, result.anchor
    drawing = draw_bd_bars(result.panels, *arguments)
    obstacle = (
        "no codec has a BD-rate" if result.anchor else "choose a published curve with --anchor"
    )
    undrawn_notes = note_undrawn(choice, experiment)
    reasons = (
        f"no BD-rate of {c['codec']} in {c['metric']}: {c['reason']}"
        for c in comparisons.values()
        if c["bd_rate_percent"] is None and c["codec"] in choice.labels
    )
    return _paper_figure([result], drawing, f"no bd: {obstacle}", *undrawn_notes, *reasons)


def complexity(
    experiment: Annotated[
        Experiment,
        subset(
            "results dataset codecs bundled metrics anchor images allow_few verified_only", Rule
        ),
    ],
    cost: Annotated[tuple[str, ...], COST] = (),
) -> PaperFigure:
    """Draw BD-rates against seconds, and against multiply-accumulates per pixel.

    Seconds come from rows that were timed alone (`bench run --timing`), else typical ones, as open
    markers.

    Examples:
      bench figures complexity --cost seconds
    """
    for name in cost:
        if name not in COSTS:
            raise UnknownName("cost", name, COSTS)
    (result,) = experiment_curves(experiment, [experiment.dataset], "complexity")
    summary = result.summary
    if summary is None:
        raise UsageError(f"no rows for {result.dataset}: measure some with `bench run`")
    choice = pick_curves(result.panels[:1], experiment.rule, result.anchor, experiment.named_codecs)
    (panel,) = choice.select(result.panels[:1])
    metric = panel[0].metric
    comparisons = {**_compare_anchor(result, experiment)}
    if anchor := result.anchor_edition:
        comparisons[anchor, metric.column] = anchor_comparison(metric, experiment.rule)
    points = cost_points(panel, comparisons, summary, cost or COSTS)
    anchor_curve = variant_curve(panel, result.anchor)
    words, name = metric_words([metric]), anchor_curve.name if anchor_curve else ""
    subject = f"{result.title}{experiment.rule.words}"
    drawing = draw_costs(points, styles(result.editions), subject, words, name, experiment.rule)
    drawn_names = {point.curve.name for point in points}
    absent_names = ", ".join(
        curve.name
        for curve in panel
        if curve.name not in drawn_names and _has_rate(comparisons, curve)
    )
    timing_note = (
        f"the complexity figure lacks {absent_names}, whose cost is unknown: measure it with "
        "`bench run --timing`"
    )
    return _paper_figure(
        [result],
        drawing,
        "no complexity figure: the cost of no codec is known",
        *([timing_note] if absent_names else ()),
    )


def realism(
    experiment: Annotated[
        Experiment,
        subset(
            "results dataset codecs bundled published metrics anchor images mix_protocols "
            "allow_few verified_only"
        ),
    ],
    bpp: Rates = RATES,
) -> PaperFigure:
    """Draw a metric of realism against one of distortion at some rates.

    --metrics names both, distortion first. Settings of one codec are joined, from the least to the
    most realistic.

    Examples:
      bench figures realism --metrics psnr,fd_squeeze --bpp 0.1,0.2
    """
    (result,) = experiment_curves(experiment, [experiment.dataset], "realism")
    rates = parse_rates(bpp)
    if len(result.panels) != 2:
        names = metric_names(experiment.metrics or METRICS["realism"])
        absences = absent_sentences(names, result.summary) if result.summary else []
        requirement = "realism needs two metrics with values: --metrics psnr,lpips_squeeze"
        raise UsageError(". ".join((requirement, *absences)))
    styles_by_variant = styles(GROUPED) | styles(result.editions)
    drawing, plots = realism_plots(
        result.panels,
        result.summary,
        result.dataset,
        rates,
        styles_by_variant,
        result.anchor,
        experiment.named_codecs,
    )
    empty_note = "no realism figure: no two points are near one of the rates in --bpp"
    gap_notes = [*absence_notes(plots)]
    for rate in rates:
        curves = result.panels[0] if experiment.named_codecs else ()
        if curves_elsewhere := [
            rate_text for curve in curves if (rate_text := _rates_elsewhere(curve, rate))
        ]:
            gap_notes.append(f"not at {rate:g} bpp: {', '.join(curves_elsewhere)}")
        if rate not in [plot.bpp for plot in plots]:
            gap_notes.append(f"nothing drawn at {rate:g} bpp: fewer than two points are near")
    return _paper_figure([result], drawing, empty_note, *(f"realism: {note}" for note in gap_notes))


def _rates_elsewhere(curve: Curve, bpp: float) -> str:
    low, high = curve.points[0].bpp, curve.points[-1].bpp
    is_reached = low <= MAX_MATCH_RATIO * bpp and bpp <= MAX_MATCH_RATIO * high
    return "" if is_reached else f"{curve.name} ({range_text(low, high)} bpp)"


def realism_plots(
    panels: Sequence[Panel],
    summary: Summary | None,
    dataset: str,
    rates: Sequence[float],
    styles_by_variant: Mapping[CodecSpec, Style],
    anchor: CodecSpec | None,
    requested_codecs: Sequence[str] = (),
) -> tuple[DrawnFigure | None, list[PlotAtRate]]:
    """Draw distortion against realism at some rates; None if no system has both metrics."""
    choice = pick_curves(panels, USUAL_RULE, anchor, requested_codecs)
    curves = [curve for curve in chain(*panels) if curve.name in choice.curves]
    bundled_editions = summary.bundled if summary else ()
    distortion, realism = (panel[0].metric for panel in panels)
    few_image_metrics = [panel[0].metric for panel in panels if few_images(panel)]

    def apply_title(sweep: RealismSweep) -> RealismSweep:
        title = mark_bundled(sweep.curve.title, sweep.curve.edition in bundled_editions)
        title = look().titles([sweep.style]).get(sweep.style, title)
        return sweep._replace(curve=sweep.curve._replace(title=title))

    plots = []
    for bpp in rates:
        sweeps = tuple(
            map(apply_title, realism_sweeps(curves, (distortion, realism), summary, bpp))
        )
        if sum(len(sweep.steps) for sweep in sweeps) > 1:  # a single point allows no comparison
            plots.append(PlotAtRate(bpp, sweeps))
    if not plots:
        return None, []
    title_and_images = profile(dataset).title, images_text(panels)
    return draw_realism_plots(
        plots, distortion, realism, styles_by_variant, *title_and_images, few_image_metrics
    ), plots


FIGURES: Mapping[str, Callable[..., PaperFigure]] = {
    draw.__name__: draw for draw in (rd, bd, crops, maps, complexity, realism)
}
