"""Figures of the paper that show numbers: curves, plots of realism against distortion, seconds."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow.compute as pc

from benchmark import registry
from benchmark.analysis.builds import beta_of, realism_grid
from benchmark.analysis.summarise import Summary, summarise
from benchmark.analysis.systems import (
    FIELD_SYSTEMS,
    MATCHED,
    OURS,
    PAPER_SYSTEMS,
    measured_names,
    short_names,
)
from benchmark.datasets.dataset import profile
from benchmark.figures.complexity import draw_complexity
from benchmark.figures.paper_curve import draw_paper_curves
from benchmark.figures.realism import draw_realism_plots, draw_surface, left_out
from benchmark.figures.style import Style
from benchmark.metrics.measure import Measure
from benchmark.paper.results import PaperFigure, PaperResults, every_measure
from benchmark.published.complexity import measured_block, published_blocks
from benchmark.published.curves import Panel, measured_panel
from benchmark.published.paper_panel import field_panel, paper_panel, too_few
from benchmark.published.points import PublishedPoint
from benchmark.published.realism_sweep import PlotAtRate, realism_sweeps

RATES = (0.093, 0.143, 0.323)  # bpp, where most generative codecs have published points
MOST_BPP = 2.0  # of curves that values at these rates are taken from
REALISM_DATASET = "clic2020"
FIELD_RATES = (0.1, 0.2, 0.45)  # bpp, near to points of most networks trained here
FIELD_ANCHOR = next(one for one in FIELD_SYSTEMS if one.label == registry.FIELD_ANCHOR)


def curves(results: PaperResults, dataset: str, metrics: Sequence[str]) -> PaperFigure:
    """Draw metrics against rate, of every system that is measured or published."""
    facts = profile(dataset)
    here = _measured_panels(results, dataset, metrics)
    panels = _paper_panels(results, here, dataset, facts.most_bpp or MOST_BPP)
    panels = [panel for panel in panels if panel.curves]
    said = too_few(here, dataset)
    if not panels:
        return PaperFigure(None, (f"no curves of {dataset}: nothing published or measured", *said))
    summary = results.summary(dataset)
    measured = summary.labels if summary else ()
    own = [system for system in PAPER_SYSTEMS if system.group == OURS]
    absent = [system.name for system in own if system.measured not in measured]
    if absent:
        said.append(
            f"curves_{dataset} has only published points of {', '.join(absent)}: "
            f"`bench run --codecs ours --dataset {dataset}` adds measured ones"
        )
    images, styles = _images(panels), results.styles()
    drawing = draw_paper_curves(panels, styles, facts.title, images, facts.anchor)
    return PaperFigure(drawing, tuple(said))


def field_curves(results: PaperResults, dataset: str, metrics: Sequence[str]) -> PaperFigure:
    """Draw metrics against rate, of the networks that were trained here with one budget."""
    facts = profile(dataset)
    here = _measured_panels(results, dataset, metrics)
    panels = _field_panels(here, dataset, facts.most_bpp or MOST_BPP)
    panels = [panel for panel in panels if panel.curves]
    said = too_few(here, dataset)
    there = {curve.system.label for panel in panels for curve in panel.curves}
    networks = [system for system in FIELD_SYSTEMS if system.budget]
    if not any(system.label in there for system in networks):
        names = ",".join(dict.fromkeys(one.label.partition(":")[0] for one in networks))
        why = f"nothing measured of {names} (`bench run --codecs {names} --dataset {dataset}`)"
        return PaperFigure(None, (f"no field_{dataset}: {why}", *said))
    anchor = FIELD_ANCHOR.name if FIELD_ANCHOR.label in there else panels[0].curves[0].system.name
    images, styles = _images(panels), _field_styles(results)
    drawing = draw_paper_curves(panels, styles, facts.title, images, anchor, FIELD_SYSTEMS)
    return PaperFigure(drawing, tuple(said))


def realism_plots(results: PaperResults) -> PaperFigure:
    """Draw FID against PSNR at a few rates of CLIC2020."""
    name, dataset = "realism_plane", REALISM_DATASET
    here = _measured_panels(results, dataset, ("psnr", "fid256"))
    panels = _paper_panels(results, here, dataset, MOST_BPP)
    plots = _plots(panels, results.summary(dataset), results.points, dataset, RATES)
    if not plots:
        return PaperFigure(None, (f"no {name}: no system has PSNR and FID on CLIC2020",))
    said: tuple[str, ...] = ()
    if not any(sweep.measured for plot in plots for sweep in plot.sweeps):
        said = (f"{name} has only published points: no measured row on CLIC2020 has a FID",)
    facts = profile(dataset)
    psnr, fid = (panel.measure for panel in panels)
    images = facts.published_images or 0
    drawing = draw_realism_plots(plots, psnr, fid, results.styles(), facts.title, images)
    return PaperFigure(drawing, (*said, *(f"{name}: {one}" for one in left_out(plots))))


def field_realism(results: PaperResults, name: str, dataset: str, metric: str) -> PaperFigure:
    """Draw a metric of realism against PSNR, of the networks that were trained with one budget.

    name: of the figure, for its sentences.
    """
    here = _measured_panels(results, dataset, ("psnr", metric))
    panels = _field_panels(here, dataset, MOST_BPP)
    plots = _plots(panels, _of_budget(results.summary(dataset)), (), dataset, FIELD_RATES)
    said = too_few(here, dataset)
    measures = [panel.measure for panel in panels]
    if not plots:
        example = (
            f"bench run --codecs ours:{MATCHED},elic --dataset {dataset} --metrics psnr,{metric}"
        )
        why = f"no codec has PSNR and {measures[1].label} on {dataset} (`{example}`)"
        return PaperFigure(None, (f"no {name}: {why}", *said))
    images, styles = _images(panels), _field_styles(results)
    drawing = draw_realism_plots(
        plots, measures[0], measures[1], styles, profile(dataset).title, images
    )
    return PaperFigure(drawing, (*said, *(f"{name}: {one}" for one in left_out(plots))))


def realism_surface(results: PaperResults) -> PaperFigure:
    """Draw rate, distortion and realism of our codec at several beta."""
    reasons = []
    for dataset in results.datasets():
        summary = results.summary(dataset)
        if summary is not None:
            grid = realism_grid(summary, Measure.named("psnr"), every_measure())
            if not isinstance(grid, str):
                said = tuple(f"realism_surface: {sentence}" for sentence in grid.left_out)
                return PaperFigure(draw_surface(grid, profile(dataset).title), said)
            reasons.append(f"{dataset}: {grid}")
    why = "; ".join(reasons) or "nothing is measured"
    example = ",".join(f"{registry.OWN}:beta={beta}" for beta in (0, 1.28, 2.56, 3.84))
    lacking = f"no realism_surface: {why} (`bench run --codecs {example} --dataset kodak`)"
    return PaperFigure(None, (lacking,))


def complexity(results: PaperResults) -> PaperFigure:
    """Draw seconds of encoding and decoding: timed rows, and published ones."""
    blocks = published_blocks(results.complexities)
    for dataset in results.datasets():
        timed = results.contents(dataset).table
        timed = timed.filter(pc.fill_null(timed["timing"], False))
        summary = summarise(timed) if timed.num_rows else None
        names = {**short_names(summary.labels), **measured_names()} if summary else {}
        block = measured_block(summary, dataset, names)
        if block is not None:
            return PaperFigure(draw_complexity([block, *blocks]))
    said = (
        "complexity has only published seconds: no codec is timed on all images of a dataset "
        "(`bench run --timing`)"
    )
    return PaperFigure(draw_complexity(blocks), (said,))


def _measured_panels(results: PaperResults, dataset: str, metrics: Sequence[str]) -> list[Panel]:
    summary = results.summary(dataset)
    return [measured_panel(summary, Measure.named(name)) for name in metrics]


def _paper_panels(
    results: PaperResults, here: Sequence[Panel], dataset: str, up_to_bpp: float
) -> list[Panel]:
    return [paper_panel(one.measure, dataset, one, results.points, up_to_bpp) for one in here]


def _field_panels(here: Sequence[Panel], dataset: str, up_to_bpp: float) -> list[Panel]:
    return [field_panel(one.measure, dataset, one, up_to_bpp) for one in here]


def _field_styles(results: PaperResults) -> dict[str, Style]:
    """Return the styles of all systems; that of the budget looks as our codec does elsewhere."""
    known = results.styles()
    ours = {label: label.removesuffix(f":{MATCHED}") for label in known if MATCHED in label}
    return known | {label: known[plain] for label, plain in ours.items()}


def _of_budget(summary: Summary | None) -> Summary | None:
    """Return a summary without those networks of our codec that have another budget."""
    if summary is None:
        return None
    points, replaced = (
        tuple(one for one in many if beta_of(one.edition) is None or MATCHED in one.label)
        for many in (summary.points, summary.replaced)
    )
    return replace(summary, points=points, replaced=replaced)


def _images(panels: Sequence[Panel]) -> int:
    """Return the largest number of images that a point is a mean over."""
    return max(p.images or 0 for panel in panels for c in panel.curves for p in c.points)


def _plots(
    panels: Sequence[Panel],
    summary: Summary | None,
    points: Sequence[PublishedPoint],
    dataset: str,
    rates: Sequence[float],
) -> list[PlotAtRate]:
    """Return the plots at those rates near which any system has points."""
    distortion, realism = panels
    plots = [
        PlotAtRate(bpp, tuple(realism_sweeps(distortion, realism, summary, points, dataset, bpp)))
        for bpp in rates
    ]
    return [plot for plot in plots if plot.sweeps]
