"""The figures of the CRDR paper: its systems measured here, and published points of the others.

`field` figures are of the networks that were trained here with one budget, and two programs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from benchmark.compare.builds import beta_of
from benchmark.compare.experiment import Experiment
from benchmark.compare.realism_sweep import PlotAtRate
from benchmark.compare.system_curve import Panel, measured_curves
from benchmark.datasets.dataset import profile
from benchmark.errors import UnknownName
from benchmark.metrics.metric import Metric
from benchmark.published.curves import field_curves, paper_curves, too_few
from benchmark.rows import systems
from benchmark.rows.summary import Summary
from benchmark.rows.systems import FIELD_SYSTEMS, MATCHED, OURS, OWN, PAPER_SYSTEMS, default_anchors
from benchmark.show.figures.choice import choose
from benchmark.show.figures.rate_curve import draw_rate_curves
from benchmark.show.figures.realism import left_out
from benchmark.show.figures.style import Style, styles
from benchmark.show.paper.crops import draw_crops
from benchmark.show.paper.figures import realism_plots
from benchmark.show.paper.results import PaperFigure, PaperResults

RATES = (0.093, 0.143, 0.323)  # bpp, where most generative codecs have published points
FIELD_RATES = (0.1, 0.2, 0.45)  # bpp, near to points of most networks trained here
MOST_BPP = 2.0  # of curves that values at these rates are taken from
OUTLIER = "JPEG"  # at its lowest qualities it would press all others together

CLIC = ("psnr", "fid256")
FIELD = ("psnr", "lpips_squeeze", "fd_squeeze")
FIGURES: Mapping[str, Callable[[str, PaperResults], PaperFigure]] = {
    "curves_clic2020": lambda name, of: curves(of, name, "clic2020", CLIC),
    "curves_kodak": lambda name, of: curves(of, name, "kodak", ("psnr", "ms_ssim", "lpips")),
    "field_clic2020": lambda name, of: curves(of, name, "clic2020", CLIC, True),
    "field_kodak": lambda name, of: curves(of, name, "kodak", FIELD, True),
    "field_realism_fd": lambda name, of: realism(of, name, "kodak", "fd_squeeze", True),
    "field_realism_lpips": lambda name, of: realism(of, name, "kodak", "lpips_squeeze", True),
    "realism_plane": lambda name, of: realism(of, name, "clic2020", "fid256"),
    "crops": lambda _, of: crops(of),
}


def draw_crdr(results: PaperResults, names: str) -> Iterator[tuple[str, PaperFigure]]:
    """Draw the named figures, comma-separated or "all", and yield each when it is made.

    Raises `UnknownName` for other names.
    """
    asked = list(FIGURES) if names == "all" else [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)
    for name in asked:
        yield name, FIGURES[name](name, results)


def curves(
    results: PaperResults, name: str, dataset: str, metrics: Sequence[str], field: bool = False
) -> PaperFigure:
    """Draw metrics against rate, of every system that is measured or published."""
    facts = profile(dataset)
    panels = _panels(results, dataset, metrics, field, facts.most_bpp or MOST_BPP)
    sentences = too_few(results.summary(dataset), map(Metric.named, metrics), dataset)
    measured = {curve.system.label for curve in chain(*panels) if curve.measured}
    known = FIELD_SYSTEMS if field else PAPER_SYSTEMS
    wanted = [system for system in known if (system.budget if field else system.group == OURS)]
    absent = [system for system in wanted if system.label not in measured]
    codecs = ",".join(dict.fromkeys(system.label.partition(":")[0] for system in absent))
    command = f"`bench run --codecs {codecs} --dataset {dataset}`"
    if not panels or (field and len(absent) == len(wanted)):
        return PaperFigure(None, (f"no {name}: nothing measured ({command})", *sentences))
    if absent and not field:
        names = ", ".join(system.name for system in absent)
        sentences.append(f"{name} has only published points of {names}: {command} adds measured")
    anchor = next((system.label for system in known if system.name == facts.anchor), "")
    if field:
        anchor = default_anchors(budget=True)[0]
        anchor = anchor if anchor in measured else panels[0][0].system.label
    options: Any = {"anchor": anchor, "outlier": OUTLIER, "groups": True}
    datasets, choice = [(facts.title, panels)], choose(panels, anchor)
    drawing = draw_rate_curves(datasets, _styles(field), choice, **options)
    return PaperFigure(drawing, tuple(sentences))


def realism(
    results: PaperResults, name: str, dataset: str, metric: str, field: bool = False
) -> PaperFigure:
    """Draw a metric of realism against PSNR at a few rates."""
    both = Metric.named("psnr"), Metric.named(metric)
    panels = _panels(results, dataset, ("psnr", metric), field, MOST_BPP)
    summary = results.summary(dataset)
    sentences = too_few(summary, both, dataset) if field else []
    if field and summary is not None:
        summary = _of_budget(summary)
    anchor = default_anchors(budget=True)[0] if field else ""
    rates, looks = FIELD_RATES if field else RATES, _styles(field)
    drawing, plots = None, list[PlotAtRate]()
    if len(panels) == len(both):
        drawing, plots = realism_plots(panels, summary, dataset, rates, looks, anchor)
    codecs = f"{OWN}:{MATCHED}" if field else OWN
    command = f"`bench run --codecs {codecs} --dataset {dataset} --metrics psnr,{metric}`"
    lacking = f"PSNR and {both[1].label} on {dataset} ({command})"
    if drawing is None:
        return PaperFigure(None, (f"no {name}: no codec has {lacking}", *sentences))
    if not any(sweep.curve.measured for plot in plots for sweep in plot.sweeps):
        sentences.append(f"{name} has only published points: no measured codec has {lacking}")
    return PaperFigure(drawing, (*sentences, *(f"{name}: {why}" for why in left_out(plots))))


def crops(results: PaperResults) -> PaperFigure:
    """Draw a part of a photograph of the first dataset that has kept streams of two codecs."""
    reasons = []
    for dataset in results.datasets():
        figure = draw_crops(results, Experiment(dataset=dataset))
        if figure.drawing is not None:
            return figure
        reasons += [f"{dataset}: {why}" for why in figure.why]
    why = "; ".join(dict.fromkeys(reasons)) or "nothing is measured (`./run_all.sh` does)"
    return PaperFigure(None, (f"no crops: {why}",))


def _panels(
    results: PaperResults, dataset: str, metrics: Sequence[str], field: bool, up_to_bpp: float
) -> list[Panel]:
    """Return panels of the figure's systems below a rate, of the metrics that have any."""
    panels = []
    for metric in map(Metric.named, metrics):
        here = measured_curves(results.summary(dataset), metric)
        panels.append(
            field_curves(dataset, here, up_to_bpp) if field
            else paper_curves(metric, dataset, here, results.points, up_to_bpp)
        )  # fmt: skip
    return [panel for panel in panels if panel]


def _styles(field: bool) -> dict[str, Style]:
    """Return the styles of all systems; in `field` figures our micro network looks as ours does."""
    known = styles(system.label for system in systems.GROUPED_SYSTEMS)
    ours = [label for label in known if MATCHED in label] if field else []
    return known | {label: known[label.removesuffix(f":{MATCHED}")] for label in ours}


def _of_budget(summary: Summary) -> Summary:
    """Return a summary without those networks of our codec that have another budget."""
    points, replaced = (
        tuple(p for p in of if beta_of(p.edition) is None or MATCHED in p.label)
        for of in (summary.points, summary.replaced)
    )
    return replace(summary, points=points, replaced=replaced)
