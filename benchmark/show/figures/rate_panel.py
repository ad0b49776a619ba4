"""Panels of curves against rate: lines, markers, bars and frame; a curve explained."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.panel import Panel, SystemCurve
from benchmark.metrics.measure import Measure
from benchmark.rows.systems import kind
from benchmark.show import sections
from benchmark.show.figures import texts
from benchmark.show.figures.choice import is_own
from benchmark.show.figures.style import BAR_POINTS, LINE_POINTS, MARKER_POINTS, Style, figure_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CROP_BPP = 4.0  # beyond it lies what compression papers do not compare, but for own curves
WIDE_RATIO = 10  # between the values of a metric on a logarithmic axis
ROOM = 1.12  # factor between the outermost rates and the ends of a logarithmic axis
PUBLISHED_LINE_POINTS, EDGE_POINTS = 0.8, 0.8
STAR = 1.4  # a star looks smaller than other markers of its size
OWN = 1.5  # own curves are heavier
PUBLISHED_DASHES, SAMPLED_DASHES = (0, (3, 1.1)), (0, (5, 1.4, 1, 1.4))
MOST_TICKS = 7  # on a linear axis of values
MOST_MARKERS = 14  # on one published curve; some csv files have a hundred points


class Frame(NamedTuple):
    """Range of the rates that the panels of a figure show, in bpp."""

    low: float
    high: float
    most: float  # no point above it is inside
    beyond: float  # the lowest rate of a point above `high`; infinite without any


def frame_of(panels: Iterable[Panel]) -> Frame:
    """Return the range of all points up to CROP_BPP, and of all points of own curves."""
    curves = [curve for panel in panels for curve in panel.curves]
    every = [point.bpp for curve in curves for point in curve.points]
    own = [point.bpp for curve in curves if is_own(curve) for point in curve.points]
    most = max([CROP_BPP, *own])
    inside = [bpp for bpp in every if bpp <= most] or every
    beyond = min((bpp for bpp in every if bpp > max(inside)), default=math.inf)
    return Frame(min(inside), max(inside), most, beyond)


def draw_panel(
    axes: "Axes",
    panel: Panel,
    styles: Mapping[str, Style],
    linear_rate: bool = False,
    outlier: str = "",
    frame: Frame | None = None,
) -> "list[tuple[SystemCurve, Line2D]]":
    """Draw the curves of a panel, frame its axes, and return each with its line.

    Curves wholly beyond the frame are left out. The axis of values spans those of all curves but
    the system named `outlier`. frame: of the figure; default: of this panel.
    """
    frame = frame or frame_of([panel])
    inside = [c for c in panel.curves if min(p.bpp for p in c.points) <= frame.high]
    ordered = sorted(inside, key=lambda curve: curve.measured)
    seen = panel._replace(curves=tuple(ordered))
    lines = [
        (curve, _draw(axes, curve, panel.measure, styles[curve.system.label]))
        for curve in seen.curves
    ]
    _set_frame(axes, seen, linear_rate, outlier, frame)
    return lines


def _draw(axes: "Axes", curve: SystemCurve, measure: Measure, style: Style) -> "Line2D":
    own = kind(curve.system) == "own"
    properties = line(style, published=not curve.measured, sampled=curve.sampled, own=own)
    every = math.ceil(len(curve.points) / MOST_MARKERS) if not curve.measured else 1
    order = 2 + 0.05 * curve.sampled + 0.1 * curve.measured + 0.2 * own
    bpp, values = curve.plotted(measure)
    name = sections.marked(curve.name, curve.caveats)
    properties |= {"label": name, "gid": curve.system.group}
    (handle,) = axes.plot(bpp, values, markevery=every, zorder=order, **properties)
    for point in curve.points:
        if point.interval is not None:
            ends = [measure.plotted(end) for end in point.interval]
            axes.vlines(point.bpp, ends[0], ends[1], colors=style.colour, linewidth=0.7, alpha=0.6)
    if any(point.value_error or point.bpp_error for point in curve.points):
        low, high = (
            [measure.plotted(p.value + sign * (p.value_error or 0)) for p in curve.points]
            for sign in (-1, 1)
        )
        if curve.sampled:
            axes.fill_between(bpp, low, high, color=style.colour, alpha=0.18, linewidth=0, zorder=1)
        else:
            spans = np.abs(np.array([low, high]) - values)
            rates = [point.bpp_error or 0 for point in curve.points]
            bars: Any = {"ecolor": style.colour, "elinewidth": BAR_POINTS, "capthick": BAR_POINTS}
            axes.errorbar(bpp, values, spans, rates, fmt="none", capsize=1.2, zorder=1.8, **bars)
    return handle


def _set_frame(axes: "Axes", panel: Panel, linear_rate: bool, outlier: str, frame: Frame) -> None:
    """Set limits from the points inside the frame, ticks, and the words on the axes."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    measure = panel.measure
    framing = [curve for curve in panel.curves if curve.system.name != outlier] or panel.curves
    points = [point for curve in framing for point in curve.points if point.bpp <= frame.high]
    values = [measure.plotted(point.value) for point in points]
    ends = [measure.plotted(end) for point in points for end in point.interval or ()]
    low, high = min(values), max(values)
    if measure.scale == "decades" and 0 < WIDE_RATIO * low < high:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        texts.plain_ticks(axes.yaxis)
    else:
        low, high = min([low, *ends]), max([high, *ends])
        margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(MOST_TICKS, steps=[1, 2, 5, 10]))
    room = 1.04 if linear_rate else ROOM
    # so no marker is half shown
    right = min(room * frame.high, math.sqrt(frame.high * frame.beyond))
    if linear_rate:
        axes.set_xlim(0, right)
    else:
        axes.set_xscale("log")
        axes.set_xlim(frame.low / room, right)
        texts.plain_ticks(axes.xaxis, wide=right * room / frame.low > 5)
    axes.set_xlabel(texts.RATE_LABEL)
    axes.set_ylabel(texts.axis_words(measure, texts.few_images(panel)))
    sns.despine(ax=axes)


EXPLAINED = Style("#332288", "X"), Style("#d55e00", "*"), Style("#117733", "o")


def draw_explained(
    measure: Measure, curves: Sequence[tuple[str, Float64Array, Float64Array]]
) -> "Figure":
    """Draw a reference, a curve, and what a rule predicts of it (open markers), if any.

    curves: name, bits per pixel and values of each, shape (points,).
    """
    import seaborn as sns

    with figure_style():
        figure, (axes,), _ = texts.panel_figure(1)
        handles = []
        for (name, bpp, values), style in zip(curves, EXPLAINED, strict=False):
            order, look = np.argsort(bpp), line(style, published=style is EXPLAINED[-1])
            label = texts.wrapped(name, 2.6)
            handles += axes.plot(bpp[order], values[order], label=label, **look)
        axes.set_xlabel(texts.RATE_LABEL)
        axes.set_xlim(left=0)
        axes.set_ylabel(texts.axis_words(measure))
        sns.despine(ax=axes)
        texts.add_legend(figure, handles)
    return figure


def line(
    style: Style, *, published: bool = False, sampled: bool = False, own: bool = False
) -> dict[str, Any]:
    """Return matplotlib's Line2D properties of a curve.

    Published points are open markers on a broken line. sampled: read off a plotted line, without
    markers. own: of our codec or the user's, heavier than the others.
    """
    size = (STAR if style.marker == "*" else 1) * (OWN**0.5 if own else 1)
    return {
        "color": style.colour,
        "marker": "" if sampled else style.marker,
        "markersize": MARKER_POINTS * size,
        "markerfacecolor": "white" if published else style.colour,
        "markeredgecolor": style.colour,
        "markeredgewidth": EDGE_POINTS,
        "linewidth": (OWN if own else 1) * (PUBLISHED_LINE_POINTS if published else LINE_POINTS),
        "linestyle": SAMPLED_DASHES if sampled else PUBLISHED_DASHES if published else "-",
    }
