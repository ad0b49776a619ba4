"""The figures of the CRDR paper: systems measured here, and others' published points."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from benchmark.compare.curve import Panel, measured_curves
from benchmark.compare.experiment import Experiment
from benchmark.compare.realism_sweep import PlotAtRate
from benchmark.datasets.dataset import profile
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.published.curves import paper_curves
from benchmark.published.registry import read_points
from benchmark.registry import DATASETS
from benchmark.rows.edition import GROUPED, OURS, PAPER_EDITIONS, PROJECT_CODEC, find_in_catalogue
from benchmark.rows.packs.contents import dataset_contents, name_of, packs_with_results
from benchmark.rows.reduce import summarise_with_distributions
from benchmark.rows.schema import metric_names
from benchmark.rows.store import stores_below
from benchmark.rows.summary import Summary, count_images
from benchmark.show.figures.choice import pick_curves
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.realism import absence_notes
from benchmark.show.figures.style import styles
from benchmark.show.figures.texts import PaperFigure
from benchmark.show.paper import crops
from benchmark.show.paper.own_figures import realism_plots
from benchmark.show.sections import points_left_out
from benchmark.system.text import bench_command

RATES = (0.093, 0.143, 0.323)  # bpp at which most generative codecs have published points
MAX_BPP = 2.0  # maximum rate of curves that are interpolated at RATES
OUTLIER = "JPEG"  # its lowest qualities would stretch the axis

CLIC = ("psnr", "fid256")
FIGURES: Mapping[str, Callable[[str, Experiment, Path | None], PaperFigure]] = {
    "curves_clic2020": lambda name, experiment, _: curves(experiment, name, "clic2020", CLIC),
    "curves_kodak": lambda name, experiment, _: curves(
        experiment, name, "kodak", ("psnr", "ms_ssim", "lpips")
    ),
    "realism_plane": lambda name, experiment, _: realism(experiment, name, "clic2020", CLIC),
    "crops": lambda _, experiment, data_dir: first_crops(experiment, data_dir),
}


def draw_crdr(
    experiment: Experiment, names: str, data_dir: Path | None = None
) -> Iterator[tuple[str, PaperFigure]]:
    """Draw figures by name (comma-separated, or "all"); raise `UnknownName` if unknown."""
    requested_names = (
        list(FIGURES) if names == "all" else [name.strip() for name in names.split(",")]
    )
    for name in requested_names:
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)
    for name in requested_names:
        yield name, FIGURES[name](name, experiment, data_dir)


def curves(experiment: Experiment, name: str, dataset: str, metrics: Sequence[str]) -> PaperFigure:
    """Draw metrics against rate for all measured and published systems."""
    facts, summary = profile(dataset), _read_summary(experiment, dataset)
    panels = _paper_panels(experiment, summary, dataset, metrics, facts.most_bpp or MAX_BPP)
    present_metrics = [
        m for m in map(Metric.named, metrics) if summary and m.column in summary.protocols
    ]
    sentences = points_left_out(summary, present_metrics)
    counts = {count_images(summary, metric) for metric in present_metrics if summary}
    if other_counts := [
        count for count in sorted(counts) if count != (facts.published_images or count)
    ]:
        mismatch = f"{other_counts[0]} of {facts.published_images} images"
        sentences.append(f"{dataset}: measured rows are not drawn: {mismatch}")
    measured_editions = {
        find_in_catalogue(curve.spec) for curve in chain(*panels) if curve.measured
    }
    crdr_editions = [edition for edition in PAPER_EDITIONS if edition.facts.group == OURS]
    absent_editions = [edition for edition in crdr_editions if edition not in measured_editions]
    run_command = f"`{bench_command('run', codecs=PROJECT_CODEC, dataset=dataset)}`"
    if not panels:
        return PaperFigure(None, (f"no {name}: nothing measured ({run_command})", *sentences))
    if absent_editions:
        names = ", ".join(edition.facts.title for edition in absent_editions)
        sentences.append(
            f"{name} has only published points of {names}; {run_command} adds measured points"
        )
    anchor = next(
        (edition.spec for edition in PAPER_EDITIONS if edition.facts.title == facts.anchor), None
    )
    datasets, choice = [(facts.title, panels)], pick_curves(panels, experiment.rule, anchor)
    options: Any = {"anchor": anchor, "outlier": OUTLIER, "groups": True}
    styles_by_variant = styles(GROUPED)
    return PaperFigure(draw_rate_curves(datasets, styles_by_variant, choice, **options), sentences)


def realism(experiment: Experiment, name: str, dataset: str, metrics: Sequence[str]) -> PaperFigure:
    """Draw a realism metric against a distortion metric at a few rates."""
    summary = _read_summary(experiment, dataset)
    panels = _paper_panels(experiment, summary, dataset, metrics, MAX_BPP)
    drawing, plots = None, list[PlotAtRate]()
    if len(panels) == len(metrics):
        styles_by_variant = styles(GROUPED)
        drawing, plots = realism_plots(panels, summary, dataset, RATES, styles_by_variant, None)
    labels = " and ".join(Metric.named(metric).label for metric in metrics)
    run_command = bench_command(
        "run", codecs=PROJECT_CODEC, dataset=dataset, metrics=",".join(metrics)
    )
    requirement = f"{labels} on {dataset} (`{run_command}`)"
    if drawing is None:
        return PaperFigure(None, (f"no {name}: no codec has {requirement}",))
    sentences = [f"{name}: {reason}" for reason in absence_notes(plots)]
    if not any(sweep.curve.measured for plot in plots for sweep in plot.sweeps):
        sentences.append(f"{name} has only published points: no measured codec has {requirement}")
    return PaperFigure(drawing, sentences)


def first_crops(experiment: Experiment, data_dir: Path | None) -> PaperFigure:
    """Draw a part of a photograph, from the first dataset that has streams of two codecs."""
    names_here = {
        name_of(row)
        for pack in packs_with_results(experiment.results)
        for row in pack.rows.values()
    }
    names_here |= stores_below(experiment.results).keys()
    dataset_names = dict.fromkeys(name.partition(":")[0] for name in reversed(DATASETS))
    # The largest dataset comes first
    for dataset in (*dataset_names, *sorted(names_here - dataset_names.keys())):
        with suppress(UsageError):  # no row is verified
            if dataset in names_here:
                figure = crops.crops(replace(experiment, dataset=dataset), data_dir=data_dir)
                if figure.drawing is not None:
                    return figure
    reason = "no dataset here has its photographs and kept streams of two codecs"
    return PaperFigure(None, (f"no crops: {reason} (`./run_all.sh` makes some)",))


def _read_summary(experiment: Experiment, dataset: str) -> Summary | None:
    table = dataset_contents(
        experiment.results, dataset, packs_with_results(experiment.results)
    ).table
    table = table.filter("attested") if experiment.verified_only else table
    folder = experiment.results / dataset
    return summarise_with_distributions(table, folder, metric_names("all")) if len(table) else None


def _paper_panels(
    experiment: Experiment,
    summary: Summary | None,
    dataset: str,
    metrics: Sequence[str],
    up_to_bpp: float,
) -> list[Panel]:
    points, panels = read_points(experiment.results), list[Panel]()
    for metric in map(Metric.named, metrics):
        panel_curves = measured_curves(summary, metric)
        panels.append(paper_curves(metric, dataset, panel_curves, points, up_to_bpp))
    return [panel for panel in panels if panel]
