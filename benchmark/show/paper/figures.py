"""Figures of one's own experiment: what a request asks for, made from stored rows."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import polars as pl

from benchmark.compare.bd import Comparison, compare
from benchmark.compare.cost import kmac, megapixel_seconds
from benchmark.compare.curves import Delta
from benchmark.compare.panel import Panel, SystemCurve, names_in_figures
from benchmark.compare.pictures import generation_curves, nearest_to
from benchmark.compare.realism_sweep import MATCHED, PlotAtRate, RealismSweep, realism_sweeps
from benchmark.datasets.dataset import profile
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.published.points import PublishedPoint
from benchmark.rows.experiment import named_in
from benchmark.rows.schema import metric_names
from benchmark.rows.shard import alike
from benchmark.rows.store import Store
from benchmark.rows.stored import read_one, rows_of_codecs
from benchmark.rows.summary import Edition, Summary
from benchmark.rows.systems import GROUPED_SYSTEMS, marked_bundled, short_names
from benchmark.show.figures.bd_bars import draw_bd_bars
from benchmark.show.figures.choice import choose, without_place
from benchmark.show.figures.cost import COSTS, CostPoint, draw_costs
from benchmark.show.figures.pictures import draw_generations
from benchmark.show.figures.rate_curve import OfDataset, choice_of, draw_datasets
from benchmark.show.figures.realism import draw_realism_plots, left_out
from benchmark.show.figures.style import Style, by_label, look, styles
from benchmark.show.figures.texts import Drawing, few_images
from benchmark.show.means import absent_sentences, not_shown
from benchmark.show.paper.crops import draw_crops
from benchmark.show.paper.evidence import METRICS, Evidence, evidence, of_datasets
from benchmark.show.paper.request import FigureRequest
from benchmark.show.paper.results import PaperFigure, PaperResults
from benchmark.show.sections import images_of, points_left_out
from benchmark.show.sections import metric_names as metric_words
from benchmark.spec import listed_datasets
from benchmark.system.text import range_text

RATES = (0.1, 0.2, 0.45)  # bpp, of plots of realism


def draw(verb: str, request: FigureRequest) -> PaperFigure:
    """Draw the figure of a verb; raises `UsageError` for what the results do not allow."""
    return FIGURES[verb](request)


def _rd(request: FigureRequest) -> PaperFigure:
    """Draw a row of panels for each dataset of the request."""
    names = listed_datasets(request.dataset) if request.dataset else [""]
    results = of_datasets(request, names, "rd")
    rows = [OfDataset(of.title, of.panels, of.summary, of.anchor) for of in results]
    looks = styles(dict.fromkeys(label for of in results for label in of.labels))
    named = [name for of in results for name in _named(request, of)]
    choice = choice_of(rows, tuple(dict.fromkeys(named)))
    drawing = draw_datasets(rows, looks, choice=choice)
    missed = without_place(choice, _asked(request))
    return _made(results, drawing, "no rd: no points can be drawn", *missed)


def _asked(request: FigureRequest) -> list[str]:
    """Return the names of the codecs that the figure was asked to show."""
    return [*request.codecs, *named_in(request.bundled)]


def _made(
    results: Sequence[Evidence], drawing: Drawing | None, absent: str, *more: str
) -> PaperFigure:
    """Return a figure with its sentences. absent: the sentence without a figure."""
    lacking = (text for of in results for text in of.lacking)
    rows = (text for of in results if of.stored for text in not_shown(of.stored.summary))
    points = (text for of in results for text in points_left_out(of.panels))
    sentences = (*more, *lacking, *points, *rows)
    return PaperFigure(drawing, sentences if drawing else (absent, *sentences))


def _named(request: FigureRequest, result: Evidence) -> tuple[str, ...]:
    """Return the codecs that were named, the anchor among them; none if none were."""
    return (result.anchor, *request.codecs) if request.codecs else ()


def _comparisons(result: Evidence, request: FigureRequest) -> list[Comparison]:
    if result.summary is None or result.anchor not in result.summary.labels:
        return []  # the anchor is a published curve, if any
    return [
        comparison
        for panel in result.panels
        for comparison in compare(result.summary, panel.metric, result.anchor, request.up_to_bpp)
    ]


def _bd(request: FigureRequest) -> PaperFigure:
    result = evidence(request, "bd")
    compared = _comparisons(result, request)
    choice = choose(result.panels, result.anchor, _named(request, result))
    panels = choice.of(result.panels)
    shown = panels, compared, result.styles, result.title, result.anchor
    drawing = draw_bd_bars(*shown, [*choice.absent], choice.lacking(panels), request.up_to_bpp)
    lack = "no codec has a BD-rate" if result.anchor else "name the published curve by --anchor"
    missed = without_place(choice, _asked(request))
    refused = (
        f"no BD-rate of {c.label} in {c.column}: {c.rate.why}"
        for c in compared
        if c.rate.value is None and c.label in choice.labels
    )
    return _made([result], drawing, f"no bd: {lack}", *missed, *refused)


def _complexity(request: FigureRequest) -> PaperFigure:
    for name in request.cost:
        if name not in COSTS:
            raise UnknownName("cost", name, COSTS)
    result = evidence(request, "complexity")
    summary = result.summary
    if summary is None:
        raise UsageError(f"nothing is measured on {result.name}: `bench run` does")
    choice = choose(result.panels[:1], result.anchor, _named(request, result))
    panels = choice.of(result.panels[:1])
    metric = panels[0].metric
    compared = _comparisons(result, request)
    rates = {each.label: each.rate for each in compared if each.column == metric.column}
    rates[result.anchor] = Delta(0.0, 1.0)
    points, lacking = [], []
    for curve in panels[0].measured:
        delta = rates.get(curve.system.label, Delta())
        if curve.edition is None or delta.value is None:
            continue
        for cost in request.cost or COSTS:
            if spent := cost_of(summary, curve.edition, cost):
                points.append(CostPoint(curve, cost, spent[0], delta, spent[1]))
            else:
                lacking.append(curve.name)
    of_anchor = panels[0].of_label(result.anchor)
    words, name = metric_words([metric]), of_anchor.name if of_anchor else result.anchor
    most = request.up_to_bpp
    where = result.title if most is None else f"{result.title} up to {most:g} bpp"
    drawing = draw_costs(points, result.styles, where, words, name)
    names = dict.fromkeys(name for name in lacking if name not in {p.curve.name for p in points})
    timed = f"complexity lacks {', '.join(names)}: no cost known; `bench run --timing` times it"
    return _made([result], drawing, "no complexity: no cost is known", *([timed] if names else ()))


def cost_of(summary: Summary, edition: Edition, cost: str) -> tuple[float, bool] | None:
    """Return the cost of a codec and whether it was measured; None where nothing says it."""
    points = [point for point in summary.points if point.label == edition.label]
    if cost == "seconds":
        return megapixel_seconds(points)
    work = kmac(points) if points else None
    return (work, True) if work else None


def _realism(request: FigureRequest) -> PaperFigure:
    result = evidence(request, "realism")
    if len(result.panels) != 2:
        names = metric_names(request.metrics or METRICS["realism"])
        lacks = absent_sentences(names, result.summary) if result.summary else []
        needs = "realism takes two metrics that rows have: --metrics psnr,lpips_squeeze"
        raise UsageError(". ".join((needs, *lacks)))
    known = styles(system.label for system in GROUPED_SYSTEMS) | {**result.styles}
    drawing, plots = realism_plots(
        result.panels, result.summary, result.points, result.name, request.rates or RATES,
        known, result.anchor, images_of(result.panels), request.codecs
    )  # fmt: skip
    absent = "no realism: no two points are near any of these rates (--bpp)"
    lacking = [*left_out(plots)]
    for bpp in request.rates or RATES:
        curves = result.panels[0].curves if request.codecs else ()
        if beyond := [words for curve in curves if (words := _beyond(curve, bpp))]:
            lacking.append(f"not at {bpp:g} bpp: {', '.join(beyond)}")
        if bpp not in [plot.bpp for plot in plots]:
            lacking.append(f"nothing drawn at {bpp:g} bpp, where fewer than two points are")
    return _made([result], drawing, absent, *(f"realism: {why}" for why in lacking))


def _beyond(curve: SystemCurve, bpp: float) -> str:
    """Return a curve's name with its rates if a rate is beyond them, else ""."""
    low, high = curve.points[0].bpp, curve.points[-1].bpp
    inside = low <= MATCHED * bpp and bpp <= MATCHED * high
    return "" if inside else f"{curve.name} ({range_text(low, high)} bpp)"


def realism_plots(
    panels: Sequence[Panel],
    summary: Summary | None,
    points: Sequence[PublishedPoint],
    dataset: str,
    rates: Sequence[float],
    looks: Mapping[str, Style],
    anchor: str,
    images: str,
    named: Sequence[str] = (),
) -> tuple[Drawing | None, list[PlotAtRate]]:
    """Draw the systems of two panels, of distortion and of realism, at some rates.

    None where no system has both at any rate. looks: styles by label.
    """
    choice = choose(panels, anchor, named)
    # A system's name without mark has its method and its choice of realism.
    named_as, plain = ((names_in_figures(summary, of) if summary else {}) for of in (True, False))
    marked = {label for label, name in named_as.items() if name != plain[label]}

    def unmarked(curve: SystemCurve) -> SystemCurve:
        label, name = curve.system.label, curve.system.name
        return curve.called(plain[label] if label in marked and name == named_as[label] else name)

    cut = [
        panel._replace(curves=tuple(unmarked(c) for c in panel.curves if c.name in choice.kept))
        for panel in panels
    ]
    few = [panel.metric for panel in panels if few_images(panel)]
    titles = {
        of.system.label: choice.title(n) for n, of in choice.kept.items() if n in choice.alike
    }

    def called(sweep: RealismSweep) -> RealismSweep:
        system, edition = sweep.curve.system, sweep.curve.edition
        is_marked = edition is not None and edition.label in marked
        named_by = {system.label: marked_bundled(system.name, is_marked)} | titles
        name = (named_by | by_label(look().label, [system.label]))[system.label]
        return sweep._replace(curve=sweep.curve.called(name))

    plots = []
    for bpp in rates:
        sweeps = tuple(map(called, realism_sweeps(cut, summary, bpp)))
        if sum(len(sweep.steps) for sweep in sweeps) > 1:  # a lone point compares nothing
            plots.append(PlotAtRate(bpp, sweeps))
    if not plots:
        return None, []
    first, second = (panel.metric for panel in panels)
    title = profile(dataset).title
    return draw_realism_plots(plots, first, second, looks, title, images, few), plots


def _generations(request: FigureRequest) -> PaperFigure:
    """Quality against generation, of each codec at its setting nearest to a rate."""
    result = read_one(request.results, request.dataset, "all", ["psnr"], whole=True)
    name, store = result.name, Store(request.results / result.name.partition(":")[0])
    rows = store.generations()
    if not rows.height:
        raise UsageError(f"{name} has no rows of generations: `bench run --generations 5`")
    if request.verified_only:
        raise UsageError("--verified-only leaves nothing: no row of generations is verified")
    once = result.table.select([name for name in rows.columns if name in result.table.columns])
    every = rows_of_codecs(pl.concat(alike([once, rows])), ",".join(request.codecs) or "all")
    metrics = [Metric.named(name) for name in request.metrics or METRICS["generations"]]
    curves = generation_curves(every, [metric.column for metric in metrics])
    if not curves:
        raise UsageError(f"{name} has no image with every generation: run the same again")
    rate = request.rates[0] if request.rates else median(curve.bpp[0] for curve in curves)
    curves = nearest_to(curves, rate)
    labels = [curve.label for curve in curves]
    names = short_names(labels, {}) | by_label(look().label, labels)
    drawing = draw_generations(curves, metrics, styles(labels), names, profile(name).title)
    return PaperFigure(drawing, () if drawing else ("no generations: no metric has a value",))


FIGURES: Mapping[str, Callable[[FigureRequest], PaperFigure]] = {
    "rd": _rd,
    "bd": _bd,
    "crops": lambda request: draw_crops(
        PaperResults(request.results, request.data_dir, request.verified_only), request
    ),
    "complexity": _complexity,
    "realism": _realism,
    "generations": _generations,
}
