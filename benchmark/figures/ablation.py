"""A summary whose codecs are variants of one; a figure of metrics against bits per pixel out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.analysis.rate_distortion import Measure, curves, excluded
from benchmark.analysis.summarise import Point, Summary
from benchmark.figures.rate_curve import FEW, Drawing, of_few
from benchmark.figures.style import (
    DOUBLE_COLUMN_INCHES,
    SINGLE_COLUMN_INCHES,
    SPARE_MARKERS,
    Look,
    legend_below,
    line,
    paper_style,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = 2.35  # height without the legend
CHANGE_INCHES = 1.45  # of the panels below
OWN = Look("#D55E00", "*")  # of the method itself, as everywhere
# Okabe and Ito's others and two of Tol's, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#882255", "#999933")


def named(summary: Summary, names: Mapping[str, str]) -> Summary:
    """The summary with other labels; points whose label has no name are left out.

    Points come in the order of the names, each variant's by rate.
    """
    order = list(names)
    kept = [point for point in summary.points if point.label in names]
    renamed = [
        replace(point, edition=replace(point.edition, label=names[point.label]))
        for point in sorted(kept, key=lambda point: order.index(point.label))
    ]
    return replace(summary, points=tuple(renamed))


def draw_ablation(
    summary: Summary, measures: Sequence[Measure], own: str, dataset: str, trained: str
) -> Drawing | None:
    """One panel a measure that has values, one curve a variant; None where no point may be drawn.

    Below, as variants may differ by less than a marker, the same as changes from the method itself.
    own: the label of the method that the others differ from. trained: on what budget, a sentence
    for the caption.
    """
    panels = [(measure, curves(summary, measure)) for measure in measures]
    panels = [(measure, found) for measure, found in panels if found]
    compared = any(own in found and len(found) > 1 for _, found in panels)
    if not panels:
        return None
    from matplotlib.figure import Figure

    looks = _looks(summary.labels, own)
    handles = {}
    with paper_style():
        width = SINGLE_COLUMN_INCHES if len(panels) == 1 else DOUBLE_COLUMN_INCHES
        heights = [PANEL_INCHES, CHANGE_INCHES][: 1 + compared]
        figure = Figure(figsize=(width, sum(heights)), layout="constrained")
        rows = figure.subplots(len(heights), len(panels), squeeze=False, height_ratios=heights)
        for place, (measure, found) in enumerate(panels):
            few = ", few" * any(of_few(points, measure) for points in found.values())
            mark = few + (" ↓" if measure.better == "lower" else "")
            for label, points in found.items():
                properties = line(looks[label], caveat=False)
                bpp, values = _places(points, measure)
                (handles[label],) = rows[0, place].plot(bpp, values, label=label, **properties)
                if compared:
                    changes = _changes(points, found.get(own, ()), measure)
                    rows[1, place].plot(*changes, **properties)
            _frame(rows[0, place], measure.axis_label + mark)
            if compared:
                _frame(rows[1, place], _unit_of_change(measure) + mark)
        title(rows[0, 0], "; ".join([f"{dataset}, {summary.images} images", *_caveats(summary)]))
        legend_below(figure, [handles[label] for label in summary.labels if label in handles])
    caption = _caption(summary, [measure for measure, _ in panels], dataset, trained)
    if compared:
        caption += (
            f" Below: changes from {own} at equal settings, at the variant's own rate; "
            "where lower is better, in percent of it."
        )
    return Drawing(figure, caption)


def _looks(labels: Sequence[str], own: str) -> dict[str, Look]:
    """By place; the method itself as everywhere."""
    markers = [marker for marker in SPARE_MARKERS if marker != OWN.marker]
    others = [label for label in labels if label != own]
    looks = {
        label: Look(COLOURS[place % len(COLOURS)], markers[place % len(markers)])
        for place, label in enumerate(others)
    }
    return looks | {own: OWN}


def _places(points: Sequence[Point], measure: Measure) -> tuple[list[float], list[float]]:
    means = [point.means[measure.column] for point in points]
    known = [(m.bpp, measure.drawn(m.value)) for m in means if m.bpp and m.value is not None]
    return [bpp for bpp, _ in known], [value for _, value in known]


def _changes(
    points: Sequence[Point], reference: Sequence[Point], measure: Measure
) -> tuple[list[float], list[float]]:
    """Rates, and how values differ from the reference's at equal settings, as the figure says."""
    by_setting = {point.setting: point.means[measure.column].value for point in reference}
    rates, changes = [], []
    for point in points:
        mean, old = point.means[measure.column], by_setting.get(point.setting)
        if mean.bpp and mean.value is not None and old:
            lower = 100 * (mean.value / old - 1)
            rates.append(mean.bpp)
            changes.append(
                lower
                if measure.better == "lower"
                else measure.drawn(mean.value) - measure.drawn(old)
            )
    return rates, changes


def _unit_of_change(measure: Measure) -> str:
    unit = "%" if measure.better == "lower" else "dB" if "dB" in measure.axis_label else ""
    return f"Change ({unit})" if unit else "Change"


def _frame(axes: "Axes", label: str) -> None:
    axes.set_xlim(left=0)
    axes.set_xlabel("Rate (bit per pixel)")
    axes.set_ylabel(label)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _caveats(summary: Summary) -> list[str]:
    return list(dict.fromkeys(c for point in summary.points for c in point.edition.caveats))


def _caption(summary: Summary, measures: Sequence[Measure], dataset: str, trained: str) -> str:
    ids = [summary.protocols[name] for name in ("coding", *(m.column for m in measures))]
    parts = [
        f"{dataset}: means over {summary.images} images, real bitstreams "
        f"(protocols {', '.join(ids)}).",
        trained,
    ]
    caveats = _caveats(summary)
    if caveats:
        parts.append(f"All of it: {', '.join(sorted(caveats))}.")
    if any(measure.better == "lower" for measure in measures):
        parts.append("An arrow down: lower is better.")
    if any(of_few(summary.points, measure) for measure in measures):
        parts.append(FEW)
    refused = {label for measure in measures for label, _, _ in excluded(summary, measure)}
    if refused:
        names = ", ".join(label for label in summary.labels if label in refused)
        parts.append(f"Points of {names} that are not comparable are left out.")
    return " ".join(parts)
