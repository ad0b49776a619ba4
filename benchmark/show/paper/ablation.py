"""Ablations: the file that a training of variants leaves, and their figure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import polars as pl
from polars import col

from benchmark.compare.interval import change_interval
from benchmark.compare.panel import Panel, measured_panel
from benchmark.datasets.dataset import profile
from benchmark.errors import StoreError
from benchmark.metrics.metric import Metric
from benchmark.rows.reduce import summarise_with_distributions
from benchmark.rows.store import Store
from benchmark.rows.summary import Summary
from benchmark.rows.systems import OWN as OWN_CODEC
from benchmark.rows.systems import label_of
from benchmark.show import sections
from benchmark.show.figures import style, texts
from benchmark.show.figures.choice import sources_table
from benchmark.show.figures.rate_curve import draw_panel
from benchmark.show.figures.style import PANEL_INCHES, WIDTHS, Style, figure_style
from benchmark.show.means import means_table
from benchmark.show.paper.results import PaperFigure, PaperResults, every_metric, every_metric_name
from benchmark.spec import parse_codec
from benchmark.system.foreign_files import BadFile
from benchmark.system.text import counted, read_json

SUFFIX = ".variants.json"  # of the file that names an ablation's variants, beside its results
OWN = style.families()[OWN_CODEC]  # the method itself looks as everywhere
# Okabe and Ito's colours without the method's own, and two of Tol's.
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#882255", "#999933")
CHANGES = (
    "Changes from {} at equal settings, at the variant's own rate; where lower is better, "
    "in percent of it; bars are 95 % intervals over images, resampled in pairs, and say nothing of "
    "another run of the training."
)


class Variants(msgspec.Struct, frozen=True):
    """Variants of a codec that an ablation compares."""

    labels: dict[str, str]  # names in figures, in order, by codec as `--codecs` has it
    own: str  # name of the variant that is the method's own, or ""
    trained: str  # a sentence on how the variants were trained


def ablation(results: PaperResults, kind: str) -> PaperFigure:
    """Draw the variants of a recipe, which `bench train` left below the results."""
    for path in sorted(results.folder.glob(f"*/{kind}{SUFFIX}")):
        try:
            variants = read_json(path, Variants)
        except (OSError, BadFile) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        for rows in sorted(path.parent.glob("results/*/per_image")):
            store = rows.parent
            table = Store(store).table()
            table = table.filter("attested") if results.verified_only else table
            summary = _summary(table, store, variants, every_metric_name())
            shown = [m for m in every_metric() if m.realism is not None or m.column == "psnr_db"]
            metrics = [metric for metric in shown if summary.values_of(metric.column)]
            name = profile(store.name).title
            drawing = draw_ablation(summary, metrics, variants.own, name, variants.trained)
            if drawing is not None and len(summary.labels) > 1:
                return PaperFigure(drawing._replace(table=means_table(summary, metrics)))
    lacking = (
        f"no ablation_{kind}: no rows of `bench train --recipe {kind} --out "
        f"{results.folder}/ablation ...` are below {results.folder}"
    )
    return PaperFigure(None, (lacking,))


def _summary(
    table: pl.DataFrame, folder: Path, variants: Variants, metrics: Sequence[str]
) -> Summary:
    """Return means of the variants' rows, by their names in figures."""
    specs = {parse_codec(text): label for text, label in variants.labels.items()}
    names = {label_of(spec.name, spec.variant): label for spec, label in specs.items()}
    kept = table.filter(col("variant").is_in([spec.variant for spec in specs]))
    return named(summarise_with_distributions(kept, folder, metrics), names)


def named(summary: Summary, names: Mapping[str, str]) -> Summary:
    """Return the summary with other labels, without points whose label has no name.

    Points come in the order of the names, each variant's by rate.
    """
    renamed = [
        replace(point, edition=replace(point.edition, label=name))
        for label, name in names.items()
        for point in summary.points
        if point.label == label
    ]
    return replace(summary, points=tuple(renamed))


def draw_ablation(
    summary: Summary, metrics: Sequence[Metric], own: str, dataset: str, trained: str
) -> texts.Drawing | None:
    """Draw a panel for each metric that has values; None where no points can be plotted.

    As variants may differ by less than a marker, it has the changes from the method itself, where
    that was measured: their values are in the table.
    own: label of the method that the others differ from. trained: a sentence for the caption on how
    the variants were trained.
    """
    every = (measured_panel(summary, metric) for metric in metrics)
    panels = [panel for panel in every if panel.curves]
    if not panels:
        return None
    markers = [marker for marker in style.SPARE_MARKERS if marker != OWN.marker]
    others = enumerate(label for label in summary.labels if label != own)
    styles = {label: Style(COLOURS[n % len(COLOURS)], markers[n]) for n, label in others}
    styles[own] = OWN
    compared = any(panel.of_label(own) and len(panel.curves) > 1 for panel in panels)
    handles = {}
    with figure_style():
        width = WIDTHS["column" if len(panels) == 1 else "page"]
        figure, (row,) = texts.new_figure(width, PANEL_INCHES, 1, len(panels))
        for axes, panel in zip(row, panels, strict=True):
            shown = _changes(panel, own, summary) if compared else panel
            for curve, handle in draw_panel(axes, shown, styles, linear_rate=True):
                handles[curve.system.label] = handle
        words = f", changes from {own}" if compared else ""
        inches = 0.8 * width / len(panels)
        texts.title(row[0], f"{dataset}, {counted(summary.images, 'image')}{words}", inches)
        entries = [handles[label] for label in summary.labels if label in handles]
        if compared:
            handles[own].set_label(f"{handles[own].get_label()} (reference)")
        texts.add_legend(figure, entries, sections.panels_note(panels))
    caption = sections.brief(
        f"{dataset} ({counted(summary.images, 'image')}): variants of one codec, real bitstreams.",
        trained,
        f"Changes from {own} at equal settings." if compared else None,
        sections.panels_note(panels),
        *sections.scale_sentences(panel.metric for panel in panels),
    )
    return texts.Drawing(
        figure, caption, texts.point_records(panels), sources=sources_table(panels)
    )


def _changes(panel: Panel, own: str, summary: Summary) -> Panel:
    """Return the differences of values from the method's own at equal settings, with intervals.

    Differences are in percent where lower is better, else in the unit of the axis.
    """
    metric, percent = panel.metric, panel.metric.better == "lower"
    points = {(point.label, str(point.setting)): point for point in summary.points}
    reference = panel.of_label(own)
    before = {point.setting: point.value for point in reference.points} if reference else {}
    curves = []
    for curve in panel.curves:
        label, changed = curve.system.label, []
        for point in curve.points:
            if old := before.get(point.setting):
                change = metric.plotted(point.value) - metric.plotted(old)
                change = 100 * (point.value / old - 1) if percent else change
                pair = points[label, point.setting], points[own, point.setting]
                ends = None if label == own else change_interval(*pair, metric, percent)
                changed.append(point._replace(value=change, interval=ends))
        if changed:
            curves.append(curve._replace(points=tuple(changed)))
    unit = "%" if percent else "dB" if "dB" in metric.axis_label else ""
    name = metric.label.partition(" (dB")[0]
    label = f"{name},\nchange ({unit})" if unit else f"{name},\nchange"
    return Panel(replace(metric, label=label, scale="linear", of_sets=False), tuple(curves))
