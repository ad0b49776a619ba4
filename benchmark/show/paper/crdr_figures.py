"""The figures of the CRDR paper: its systems measured here, and published points of the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from benchmark.compare.experiment import Experiment
from benchmark.compare.realism_sweep import PlotAtRate
from benchmark.compare.system_curve import Panel, measured_curves
from benchmark.datasets.dataset import profile
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.published.curves import paper_curves
from benchmark.published.registry import read_points
from benchmark.registry import DATASETS
from benchmark.rows.edition import GROUPED, OURS, OWN, PAPER_EDITIONS, find_in_catalogue
from benchmark.rows.packs.contents import dataset_contents, name_of, packs_beside
from benchmark.rows.reduce import summarise_with_distributions
from benchmark.rows.schema import metric_names
from benchmark.rows.store import stores_below
from benchmark.rows.summary import Summary, images_in
from benchmark.show.figures.choice import choose
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.realism import left_out
from benchmark.show.figures.style import styles
from benchmark.show.figures.texts import PaperFigure
from benchmark.show.paper import crops
from benchmark.show.paper.own_figures import realism_plots
from benchmark.show.sections import points_left_out
from benchmark.system.text import bench_command

RATES = (0.093, 0.143, 0.323)  # bpp, where most generative codecs have published points
MOST_BPP = 2.0  # of curves that values at these rates are taken from
OUTLIER = "JPEG"  # at its lowest qualities it would press all others together

CLIC = ("psnr", "fid256")
FIGURES: Mapping[str, Callable[[str, Experiment, Path | None], PaperFigure]] = {
    "curves_clic2020": lambda name, of, _: curves(of, name, "clic2020", CLIC),
    "curves_kodak": lambda name, of, _: curves(of, name, "kodak", ("psnr", "ms_ssim", "lpips")),
    "realism_plane": lambda name, of, _: realism(of, name, "clic2020", CLIC),
    "crops": lambda _, of, data_dir: first_crops(of, data_dir),
}


def draw_crdr(
    of: Experiment, names: str, data_dir: Path | None = None
) -> Iterator[tuple[str, PaperFigure]]:
    """Draw the named figures, comma-separated or "all", and yield each when it is made.

    Raises `UnknownName` for other names.
    """
    asked = list(FIGURES) if names == "all" else [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)
    for name in asked:
        yield name, FIGURES[name](name, of, data_dir)


def curves(of: Experiment, name: str, dataset: str, metrics: Sequence[str]) -> PaperFigure:
    """Draw metrics against rate, of every system that is measured or published."""
    facts, summary = profile(dataset), _summary(of, dataset)
    panels = _panels(of, summary, dataset, metrics, facts.most_bpp or MOST_BPP)
    known = [m for m in map(Metric.named, metrics) if summary and m.column in summary.protocols]
    sentences = points_left_out(summary, known)
    counts = {images_in(summary, metric) for metric in known if summary}
    if few := [n for n in sorted(counts) if n != (facts.published_images or n)]:
        lacking = f"{few[0]} of {facts.published_images} images"
        sentences.append(f"{dataset}: measured rows are not drawn: {lacking}")
    measured = {find_in_catalogue(curve.spec) for curve in chain(*panels) if curve.measured}
    wanted = [edition for edition in PAPER_EDITIONS if edition.facts.group == OURS]
    absent = [edition for edition in wanted if edition not in measured]
    measure = f"`{bench_command('run', codecs=OWN, dataset=dataset)}`"
    if not panels:
        return PaperFigure(None, (f"no {name}: nothing measured ({measure})", *sentences))
    if absent:
        names = ", ".join(edition.facts.title for edition in absent)
        sentences.append(f"{name} has only published points of {names}: {measure} adds measured")
    anchor = next((of.spec for of in PAPER_EDITIONS if of.facts.title == facts.anchor), None)
    datasets, choice = [(facts.title, panels)], choose(panels, of.rule, anchor)
    options: Any = {"anchor": anchor, "outlier": OUTLIER, "groups": True}
    looks = styles(GROUPED)
    return PaperFigure(draw_rate_curves(datasets, looks, choice, **options), sentences)


def realism(of: Experiment, name: str, dataset: str, metrics: Sequence[str]) -> PaperFigure:
    """Draw a metric of realism against one of distortion at a few rates."""
    summary = _summary(of, dataset)
    panels = _panels(of, summary, dataset, metrics, MOST_BPP)
    drawing, plots = None, list[PlotAtRate]()
    if len(panels) == len(metrics):
        looks = styles(GROUPED)
        drawing, plots = realism_plots(panels, summary, dataset, RATES, looks, None)
    labels = " and ".join(Metric.named(metric).label for metric in metrics)
    measure = bench_command("run", codecs=OWN, dataset=dataset, metrics=",".join(metrics))
    lacking = f"{labels} on {dataset} (`{measure}`)"
    if drawing is None:
        return PaperFigure(None, (f"no {name}: no codec has {lacking}",))
    sentences = [f"{name}: {why}" for why in left_out(plots)]
    if not any(sweep.curve.measured for plot in plots for sweep in plot.sweeps):
        sentences.append(f"{name} has only published points: no measured codec has {lacking}")
    return PaperFigure(drawing, sentences)


def first_crops(of: Experiment, data_dir: Path | None) -> PaperFigure:
    """Draw a part of a photograph of the first dataset that has kept streams of two codecs."""
    there = {name_of(row) for pack in packs_beside(of.results) for row in pack.rows.values()}
    there |= stores_below(of.results).keys()
    known = dict.fromkeys(name.partition(":")[0] for name in reversed(DATASETS))
    for dataset in (*known, *sorted(there - known.keys())):  # the largest first
        with suppress(UsageError):  # none is verified
            if dataset in there:
                figure = crops.crops(replace(of, dataset=dataset), data_dir=data_dir)
                if figure.drawing is not None:
                    return figure
    why = "no dataset has its photographs and kept streams of two codecs here"
    return PaperFigure(None, (f"no crops: {why} (`./run_all.sh` makes some)",))


def _summary(of: Experiment, dataset: str) -> Summary | None:
    """Return the means of all rows, with those of packs; None without any."""
    table = dataset_contents(of.results, dataset, packs_beside(of.results)).table
    table = table.filter("attested") if of.verified_only else table
    folder = of.results / dataset
    return summarise_with_distributions(table, folder, metric_names("all")) if len(table) else None


def _panels(
    of: Experiment,
    summary: Summary | None,
    dataset: str,
    metrics: Sequence[str],
    up_to_bpp: float,
) -> list[Panel]:
    """Return panels of the paper's systems below a rate, of the metrics that have any."""
    points, panels = read_points(of.results), list[Panel]()
    for metric in map(Metric.named, metrics):
        here = measured_curves(summary, metric)
        panels.append(paper_curves(metric, dataset, here, points, up_to_bpp))
    return [panel for panel in panels if panel]
