"""A summary in; figures of metrics against bits per pixel out, each with the caption it needs."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.figures.style import (
    DOUBLE_COLUMN_INCHES,
    SINGLE_COLUMN_INCHES,
    Look,
    legend_below,
    line,
    paper_style,
    short_names,
    title,
)
from benchmark.rate_distortion import Measure, curves, excluded
from benchmark.summarise import Edition, Point, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CROP_BPP = 3.0  # beyond it lies what compression papers do not compare
PANEL_INCHES = 2.35  # height without the legend
TICKS = (1.0, 2.0, 5.0)


class Drawing(NamedTuple):
    """A figure and what has to be said beside it."""

    figure: "Figure"
    caption: str


class Drawn(NamedTuple):
    """A codec's line in one panel, lowest rate first."""

    edition: Edition
    bpp: list[float]
    values: list[float]


def draw_rate_curves(
    summary: Summary,
    measures: Sequence[Measure],
    looks: Mapping[str, Look],
    dataset: str,
    linear_rate: bool = False,
) -> Drawing | None:
    """One panel a measure, one legend below; None where no point may be drawn.

    One panel is a column wide (3.25 in), several share two columns (6.875 in). Rates are on a
    logarithmic axis unless asked otherwise: sweeps are geometric, and on a linear one a dozen
    codecs meet in the lowest quarter.
    """
    panels = [(measure, _lines(curves(summary, measure), measure)) for measure in measures]
    panels = [(measure, lines) for measure, lines in panels if lines]
    if not panels:
        return None
    from matplotlib.figure import Figure

    names = short_names(summary.labels)
    handles = {}
    with paper_style():
        width = SINGLE_COLUMN_INCHES if len(panels) == 1 else DOUBLE_COLUMN_INCHES
        figure = Figure(figsize=(width, PANEL_INCHES), layout="constrained")
        every_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (measure, lines) in zip(every_axes, panels, strict=True):
            for label, (edition, bpp, values) in lines.items():
                (handles[label],) = axes.plot(
                    bpp,
                    values,
                    label=", ".join((names[label], *edition.caveats)),
                    **line(looks[label], bool(edition.caveats)),
                )
            _frame(axes, measure, list(lines.values()), linear_rate)
        title(every_axes[0], f"{dataset}, {_images(summary, measures)} images")
        legend_below(figure, [handles[label] for label in summary.labels if label in handles])
    return Drawing(figure, _caption(summary, [measure for measure, _ in panels], dataset))


def _lines(found: Mapping[str, Sequence[Point]], measure: Measure) -> dict[str, Drawn]:
    """Lines with any point inside the crop; all lines where none has."""
    lines = {}
    for label, points in found.items():
        means = [point.means[measure.column] for point in points]
        places = [(m.bpp, measure.drawn(m.value)) for m in means if m.bpp and m.value is not None]
        lines[label] = Drawn(points[0].edition, [x for x, _ in places], [y for _, y in places])
    inside = {label: drawn for label, drawn in lines.items() if min(drawn.bpp) <= CROP_BPP}
    return inside or lines


def _frame(axes: "Axes", measure: Measure, lines: Sequence[Drawn], linear_rate: bool) -> None:
    """Limits from the points inside the crop, and the words on the axes."""
    places = [(x, y) for drawn in lines for x, y in zip(drawn.bpp, drawn.values, strict=True)]
    inside = [(x, y) for x, y in places if x <= CROP_BPP] or places
    rates, values = [x for x, _ in inside], [y for _, y in inside]
    margin = 0.04 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
    axes.set_ylim(min(values) - margin, max(values) + margin)
    room = 1.04 if linear_rate else 1.15
    right = room * max(rates)
    beyond = [x for x, _ in places if x > max(rates)]
    if beyond:
        right = min(right, math.sqrt(max(rates) * min(beyond)))  # so no marker is half shown
    if linear_rate:
        axes.set_xlim(0, right)
    else:
        from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

        axes.set_xscale("log")
        axes.set_xlim(min(rates) / room, right)
        wide = right * room / min(rates) > 5  # else 1, 2 and 5 would leave one tick or none
        axes.xaxis.set_major_locator(LogLocator(subs=TICKS) if wide else MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("Rate (bit per pixel)")
    axes.set_ylabel(measure.axis_label + (" ↓" if measure.better == "lower" else ""))
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _images(summary: Summary, measures: Sequence[Measure]) -> str:
    counts = {
        point.means[measure.column].images
        for measure in measures
        for points in curves(summary, measure).values()
        for point in points
    }
    return " or ".join(str(count) for count in sorted(counts))


def _caption(summary: Summary, measures: Sequence[Measure], dataset: str) -> str:
    average = "mean of each image's bpp" if summary.average == "per_image" else "pooled bpp"
    ids = [summary.protocols[name] for name in ("coding", *(m.column for m in measures))]
    parts = [
        f"{dataset}: means over {_images(summary, measures)} images "
        f"({average}; protocols {', '.join(ids)})."
    ]
    if summary.dropped:
        parts.append(f"Restricted to the images that all points have; left out: {summary.dropped}.")
    if any(measure.saturating for measure in measures):
        parts.append("MS-SSIM is drawn as -10 log10(1 - mean MS-SSIM).")
    if any(measure.better == "lower" for measure in measures):
        parts.append("An arrow down: lower is better.")
    drawn = [p for m in measures for points in curves(summary, m).values() for p in points]
    beyond = {p.label for m in measures for p in drawn if (p.means[m.column].bpp or 0) > CROP_BPP}
    if beyond:
        names = ", ".join(label for label in summary.labels if label in beyond)
        parts.append(f"Points of {names} beyond {CROP_BPP:g} bpp are not shown.")
    refused = {label for measure in measures for label, _, _ in excluded(summary, measure)}
    if refused:
        names = ", ".join(label for label in summary.labels if label in refused)
        parts.append(f"Points of {names} that are not comparable are left out.")
    if any(point.edition.caveats for point in drawn):
        parts.append("Dashed lines with open markers carry the caveat in the legend.")
    return " ".join(parts)
