"""A summary in; figures of metrics against bits per pixel out, each with the caption it needs.

Published curves may lie over the measured ones, or stand alone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.analysis.interval import Interval, point_interval
from benchmark.analysis.rate_distortion import Measure, curves, excluded
from benchmark.analysis.summarise import Edition, Point, Summary
from benchmark.figures.published_curve import (
    Overlaid,
    draw_published,
    mark_protocols,
    places,
    published_caption,
    published_note,
)
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
from benchmark.metrics.distribution_metric import FEW_IMAGES
from benchmark.published.points import IMAGES, PublishedCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CROP_BPP = 3.0  # beyond it lies what compression papers do not compare
PANEL_INCHES = 2.35  # height without the legend
TICKS = (1.0, 2.0, 5.0)
# Metrics whose axis is logarithmic once values span more than this ratio: on a linear one,
# realistic codecs at an FID of 1 to 5 are one line under those at 50.
RATIOS = ("fid256", "fid256_inf", "kid256", "fd_alex", "fd_squeeze")
WIDE_RATIO = 10
FEW = f"few: over fewer than {FEW_IMAGES} images, where such metrics are biased."


class Drawing(NamedTuple):
    """A figure and what has to be said beside it."""

    figure: "Figure"
    caption: str


class Drawn(NamedTuple):
    """A codec's line in one panel, lowest rate first."""

    edition: Edition
    bpp: list[float]
    values: list[float]
    bars: Sequence[Interval | None]  # of each value, of distribution metrics
    few: bool  # a distribution metric, over few images


class Panel(NamedTuple):
    """What is drawn on one pair of axes."""

    measure: Measure
    lines: dict[str, Drawn]
    overlaid: Overlaid


def draw_rate_curves(
    summary: Summary | None,
    measures: Sequence[Measure],
    looks: Mapping[str, Look],
    dataset: str,
    linear_rate: bool = False,
    published: Mapping[str, Sequence[PublishedCurve]] | None = None,
) -> Drawing | None:
    """One panel a measure, one legend below; None where no point may be drawn.

    One panel is a column wide (3.25 in), several share two columns (6.875 in). Rates are on a
    logarithmic axis unless asked otherwise: sweeps are geometric, and on a linear one a dozen
    codecs meet in the lowest quarter. `published` has, by metric column, the curves to lay over the
    measured ones; without a summary they stand alone. `looks` goes by label and `look_label`.
    """
    panels = [_panel(summary, measure, published or {}) for measure in measures]
    panels = [panel for panel in panels if panel.lines or panel.overlaid.curves]
    if not panels:
        return None
    from matplotlib.figure import Figure

    names = short_names(summary.labels) if summary else {}
    handles: dict[str, Line2D] = {}
    others: dict[str, Line2D] = {}
    with paper_style():
        width = SINGLE_COLUMN_INCHES if len(panels) == 1 else DOUBLE_COLUMN_INCHES
        figure = Figure(figsize=(width, PANEL_INCHES), layout="constrained")
        every_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(every_axes, panels, strict=True):
            others |= draw_published(axes, panel.overlaid, looks)
            for label, (edition, bpp, values, bars, _) in panel.lines.items():
                (handles[label],) = axes.plot(
                    bpp,
                    values,
                    label=", ".join((names[label], *edition.caveats)),
                    **line(looks[label], bool(edition.caveats)),
                )
                for rate, bar in zip(bpp, bars, strict=True):
                    if bar is not None:
                        axes.vlines(
                            rate, *bar, colors=looks[label].colour, linewidth=0.7, alpha=0.6
                        )
            _frame(axes, panel, linear_rate)
        title(every_axes[0], f"{dataset}, {_images(summary, measures, dataset)} images")
        ordered = [handles[label] for label in names if label in handles]
        over = [panel.overlaid for panel in panels]
        mark_protocols(others, over)
        legend_below(figure, [*ordered, *others.values()], published_note(over))
    shown = [panel.measure for panel in panels if panel.lines]
    said = (
        _caption(summary, shown, dataset) if summary and shown else _bare_caption(panels, dataset)
    )
    return Drawing(figure, " ".join([said, *published_caption(over)]))


def _panel(
    summary: Summary | None, measure: Measure, published: Mapping[str, Sequence[PublishedCurve]]
) -> Panel:
    measured = summary is not None and measure.column in summary.protocols
    lines = _lines(curves(summary, measure), measure) if summary and measured else {}
    protocol = summary.protocols[measure.column] if summary and lines else None
    curves_over = tuple(published.get(measure.column, ()))
    return Panel(measure, lines, Overlaid(measure, protocol, curves_over))


def _lines(found: Mapping[str, Sequence[Point]], measure: Measure) -> dict[str, Drawn]:
    """Lines with any point inside the crop; all lines where none has."""
    lines = {}
    for label, points in found.items():
        rates, values, bars = [], [], []
        for point in points:
            mean = point.means[measure.column]
            if mean.bpp and mean.value is not None:
                rates.append(mean.bpp)
                values.append(measure.drawn(mean.value))
                bars.append(point_interval(point, measure) if measure.of_sets else None)
        lines[label] = Drawn(points[0].edition, rates, values, bars, of_few(points, measure))
    inside = {label: drawn for label, drawn in lines.items() if min(drawn.bpp) <= CROP_BPP}
    return inside or lines


def of_few(points: Iterable[Point], measure: Measure) -> bool:
    """Whether a distribution metric was taken of so few images that it is marked."""
    return any(is_few(measure, point.means[measure.column].images) for point in points)


def is_few(measure: Measure, images: int) -> bool:
    """The same of one set."""
    return measure.of_sets and images < FEW_IMAGES


def _frame(axes: "Axes", panel: Panel, linear_rate: bool) -> None:
    """Limits from the points inside the crop, and the words on the axes."""
    measure = panel.measure
    lines = [(drawn.bpp, drawn.values) for drawn in panel.lines.values()]
    lines += [places(curve, measure) for curve in panel.overlaid.curves]
    points = [(x, y) for line in lines for x, y in zip(*line, strict=True)]
    inside = [(x, y) for x, y in points if x <= CROP_BPP] or points
    rates, values = [x for x, _ in inside], [y for _, y in inside]
    margin = 0.04 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
    axes.set_ylim(min(values) - margin, max(values) + margin)
    if measure.column in RATIOS and 0 < WIDE_RATIO * min(values) < max(values):
        axes.set_yscale("log")
        axes.set_ylim(min(values) / 1.2, max(values) * 1.2)
        _plain_ticks(axes.yaxis)
    room = 1.04 if linear_rate else 1.15
    right = room * max(rates)
    beyond = [x for x, _ in points if x > max(rates)]
    if beyond:
        right = min(right, math.sqrt(max(rates) * min(beyond)))  # so no marker is half shown
    if linear_rate:
        axes.set_xlim(0, right)
    else:
        axes.set_xscale("log")
        axes.set_xlim(min(rates) / room, right)
        # else 1, 2 and 5 would leave one tick or none
        _plain_ticks(axes.xaxis, wide=right * room / min(rates) > 5)
    axes.set_xlabel("Rate (bit per pixel)")
    few = ", few" if any(drawn.few for drawn in panel.lines.values()) else ""
    axes.set_ylabel(measure.axis_label + few + (" ↓" if measure.better == "lower" else ""))
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _plain_ticks(axis: "Axis", wide: bool = True) -> None:
    """Numbers, not powers of ten, on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=TICKS) if wide else MaxNLocator(5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _images(summary: Summary | None, measures: Sequence[Measure], dataset: str) -> str:
    if summary is None:
        return str(IMAGES[dataset])
    counts = {
        point.means[measure.column].images
        for measure in measures
        if measure.column in summary.protocols
        for points in curves(summary, measure).values()
        for point in points
    }
    return " or ".join(str(count) for count in sorted(counts))


def _caption(summary: Summary, measures: Sequence[Measure], dataset: str) -> str:
    average = "mean of each image's bpp" if summary.average == "per_image" else "pooled bpp"
    ids = [summary.protocols[name] for name in ("coding", *(m.column for m in measures))]
    parts = [
        f"{dataset}: means over {_images(summary, measures, dataset)} images "
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
    recorded = {point.label for point in drawn if point.edition.recorded}
    if recorded:
        names = ", ".join(label for label in summary.labels if label in recorded)
        parts.append(f"Recorded elsewhere, not coded here: {names}.")
    of_sets = [measure.label for measure in measures if measure.of_sets]
    if of_sets:
        parts.append(
            f"{', '.join(of_sets)}: one value of the whole set, no mean; bars are 95 % intervals "
            "over images, by the infinitesimal jackknife."
        )
    if any(of_few(drawn, measure) for measure in measures):
        parts.append(FEW)
    if any(point.edition.caveats for point in drawn):
        parts.append("Dashed lines with open markers carry the caveat in the legend.")
    return " ".join(parts)


def _bare_caption(panels: Sequence[Panel], dataset: str) -> str:
    """Where nothing is measured."""
    ids = [protocol for panel in panels for protocol in panel.overlaid.protocols]
    lower = any(panel.measure.better == "lower" for panel in panels)
    said = f"{dataset}: means over {IMAGES[dataset]} images (protocols {', '.join(ids)})."
    return said + " An arrow down: lower is better." * lower
