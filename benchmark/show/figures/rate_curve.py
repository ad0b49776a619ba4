"""Figures of rate curves: a panel for each metric, a row of them for each dataset."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.compare.system_curve import Panel, SystemCurve
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import GROUPS
from benchmark.show import sections
from benchmark.show.figures import style as looks
from benchmark.show.figures import texts
from benchmark.show.figures.choice import Choice, most_rate, sources_table
from benchmark.show.figures.style import BAR_POINTS, LINE_POINTS, MARKER_POINTS, WIDTHS, Style, look
from benchmark.spec import CodecSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

LACKING = "Some panels lack some of the codecs."
WIDE_RATIO = 10  # between the values of a metric on a logarithmic axis
ROOM, LINEAR_ROOM = 1.12, 1.04  # factor between the outermost rates and the ends of an axis
PUBLISHED_LINE_POINTS, EDGE_POINTS = 0.8, 0.8
STAR = 1.4  # a star looks smaller than other markers of its size
OWN = 1.8  # own curves are heavier
SAMPLED_DASHES = (1.0, 1.4)
MOST_TICKS = 7  # on a linear axis of values
MOST_MARKERS = 14  # on one published curve; some csv files have a hundred points

OfDataset = tuple[str, Sequence[Panel]]  # its title, and a panel for each metric


def draw_rate_curves(
    datasets: Sequence[OfDataset],
    styles: Mapping[CodecSpec, Style],
    choice: Choice,
    *,
    anchor: CodecSpec | None = None,
    outlier: str = "",
    groups: bool = False,
) -> texts.Drawing | None:
    """Draw a panel for each metric and a legend; None where no points can be plotted.

    Several datasets are rows of panels, a column for each metric, with the same codecs and range of
    rates. Rates are on a logarithmic axis unless the look says otherwise: sweeps are geometric, and
    on a linear one a dozen codecs meet in the lowest quarter.

    styles: by codec variant. anchor: what the BD-rates of one dataset's table are against.
    outlier: see `draw_panel`. groups: put the legend's entries under their groups.
    """
    rows, lacking = _shown(datasets, choice)
    if not rows:
        return None
    panels = [panel for _, of in rows for panel in of]
    curves = [*chain(*panels)]
    metrics = list(dict.fromkeys(curve.metric for curve in curves))
    handles: dict[str, Line2D] = {}
    with looks.figure_style():
        limits = rate_limits(curves)
        figure, grid, inches = _axes_of(rows, metrics)
        for (title, of), every_axes in zip(rows, grid, strict=True):
            for axes, panel in zip(every_axes, of, strict=True):
                for curve, handle in draw_panel(axes, panel, styles, outlier, limits):
                    handles.setdefault(curve.name, handle)
            texts.title(every_axes[0], f"{title}, {sections.images_of(of)}", inches)
        ordered = [handles[name] for name in choice.kept if name in handles]
        if groups:
            ordered.sort(key=lambda handle: (*GROUPS, "").index(handle.get_gid()))
        of_axes = (axes.get_ylim() for axes in chain(*grid))
        framing = [[c for c in panel if c.title != outlier] for panel in panels]
        outside = _beyond(curves, limits[1]), _below(framing, of_axes, limits[1])
        signs = sections.curves_note(curves), *outside
        rules = sections.other_rules_note(curves)
        texts.add_legend(figure, ordered, " ".join(filter(None, (rules, *signs))), groups)
    count = len(choice.kept)
    shown = (
        f"{sections.metric_names(metrics)} against rate on "
        f"{sections.listed([f'{title} ({sections.images_of(of)})' for title, of in rows])}, "
        "means over images."
    )
    whole = " ".join([shown, *lacking, rules])
    fits = bool(sections.brief(whole))
    intervals = any(point.interval for curve in curves for point in curve.points)
    seeds = sorted({str(len(point.seeds)) for c in curves for point in c.points if point.seeds})
    caption = sections.brief(
        *([shown, rules, *lacking] if fits else [shown, rules, LACKING]),
        *sections.scale_sentences(metrics),
        "Bars: 95 % intervals." if intervals else None,
        f"Bands: lowest to highest of {sections.listed(seeds)} seeds." if seeds else None,
        *signs,
        f"{count} of {count + len(choice.absent)} curves." if choice.absent else None,
    )
    sources = sources_table(curves)
    if len(rows) == 1:
        table = texts.rate_table(panels, anchor, choice.rule)
        return texts.Drawing(figure, caption, texts.point_records(curves), table, sources)
    marks = [
        {"dataset": title, **mark} for title, of in rows for mark in texts.point_records(chain(*of))
    ]
    return texts.Drawing(figure, caption, marks, None, sources)


def _shown(datasets: Sequence[OfDataset], choice: Choice) -> tuple[list[OfDataset], list[str]]:
    """Return the datasets with the chosen curves, and sentences on what a panel lacks."""
    rows, lacking = list[OfDataset](), list[str]()
    for title, every in datasets:
        if panels := choice.of(every):
            where = f"{title}: " if len(datasets) > 1 else ""
            there = {panel[0].metric for panel in panels}
            absent = [panel[0].metric for panel in every if panel[0].metric not in there]
            names = sections.metric_names(absent)
            lacking += [f"{where}{names}: no values of these codecs."] if names else []
            lacking += [f"{where}{sentence}" for sentence in choice.lacking(panels)]
            rows.append((title, _without_lone_points(panels)))
    return rows, lacking


def _axes_of(
    rows: Sequence[OfDataset], metrics: Sequence[Metric]
) -> "tuple[Figure, list[list[Axes]], float]":
    """Return a figure, the axes of each dataset's panels, and the inches that a title may take.

    One dataset, or one metric, is panels beside each other; else a row is a dataset, and in a
    column's width all are below each other.
    """
    width = texts.figure_width(len(metrics))
    if 1 in (len(rows), len(metrics)) or width == WIDTHS["column"]:
        figure, every, width = texts.panel_figure(sum(len(panels) for _, panels in rows))
        # Titles stand beside each other; that of one dataset may go on over its other panels.
        columns = texts.panels_in_a_row(len(rows)) if len(rows) > 1 else 1
        axes = iter(every)
        return figure, [[*islice(axes, len(of))] for _, of in rows], 0.8 * width / columns
    height = looks.PANEL_INCHES * len(rows)
    figure, grid = texts.new_figure(width, height, len(rows), len(metrics))
    result = []
    for (_, panels), in_row in zip(rows, grid, strict=True):
        mine = dict(zip(metrics, in_row, strict=True))
        there = [panel[0].metric for panel in panels]
        for metric in mine.keys() - {*there}:
            mine[metric].remove()
        result.append([mine[metric] for metric in there])
    return figure, result, 0.8 * width


def _without_lone_points(panels: Sequence[Panel]) -> list[Panel]:
    """Return panels without published curves that have one point there and more in another."""
    published = [curve for curve in chain(*panels) if not curve.measured]
    others = {curve.name for curve in published if len(curve.points) > 1}

    def is_lone(curve: SystemCurve) -> bool:
        return not curve.measured and len(curve.points) == 1 and curve.name in others

    return [[curve for curve in panel if not is_lone(curve)] or panel for panel in panels]


def rate_limits(curves: Iterable[SystemCurve]) -> tuple[float, float]:
    """Return the ends of the axis of rates, around all points up to `most_rate`.

    The first point beyond them is so far away that no marker is half shown.
    """
    curves, linear = [*curves], look().linear_rate
    every, most = [point.bpp for curve in curves for point in curve.points], most_rate(curves)
    inside = [bpp for bpp in every if bpp <= most] or every
    low, high = min(inside), max(inside)
    beyond = min((bpp for bpp in every if bpp > high), default=math.inf)
    right = min((LINEAR_ROOM if linear else ROOM) * high, math.sqrt(high * beyond))
    return 0.0 if linear else low / ROOM, right


def _beyond(curves: Sequence[SystemCurve], most: float) -> str:
    """Return the sentence on curves that go on beyond the axis; empty without any."""
    ends = {curve.name: curve.points[-1].bpp for curve in curves if curve.points[0].bpp <= most}
    names = [f"{name} to {end:.2g} bpp" for name, end in ends.items() if end > most]
    return f"Beyond the frame: {', '.join(names)}." if names else ""


def draw_panel(
    axes: "Axes",
    panel: Panel,
    styles: Mapping[CodecSpec, Style],
    outlier: str = "",
    limits: tuple[float, float] | None = None,
) -> "list[tuple[SystemCurve, Line2D]]":
    """Draw the curves of a panel, frame its axes, and return each with its line.

    Curves wholly beyond the axis are left out. The axis of values spans those of all curves but
    the system named `outlier`. limits: `rate_limits` of the figure; default: of this panel.
    """
    limits = limits or rate_limits(panel)
    inside = [curve for curve in panel if min(p.bpp for p in curve.points) <= limits[1]]
    ordered = sorted(inside or panel, key=lambda curve: curve.measured)
    lines = [(curve, _draw(axes, curve, styles[curve.spec])) for curve in ordered]
    _set_frame(axes, ordered, outlier, limits)
    return lines


def _draw(axes: "Axes", curve: SystemCurve, style: Style) -> "Line2D":
    own, metric = curve.edition.facts.kind == "own", curve.metric
    properties = line(style, published=not curve.measured, sampled=curve.sampled, own=own)
    every = math.ceil(curve.marks / MOST_MARKERS) if not curve.measured else 1
    order = 2 + 0.05 * curve.sampled + 0.1 * curve.measured + 0.2 * own
    bpp, values = curve.plotted
    name = sections.marked(curve.name, curve.edition.ran.caveats)
    properties |= {"label": name, "gid": curve.group}
    marks = slice(0, curve.marks, every)
    (handle,) = axes.plot(bpp, values, markevery=marks, zorder=order, **properties)
    for point in curve.points:
        if point.interval is not None:
            ends = [metric.plotted(end) for end in point.interval]
            axes.vlines(point.bpp, ends[0], ends[1], colors=style.colour, linewidth=0.7, alpha=0.6)
    if means := [point for point in curve.points if point.seeds]:
        values_of_seeds = [[metric.plotted(value) for _, value in p.seeds] for p in means]
        lowest, highest = [*map(min, values_of_seeds)], [*map(max, values_of_seeds)]
        band = [point.bpp for point in means], lowest, highest
        axes.fill_between(*band, color=style.colour, alpha=0.18, linewidth=0, zorder=1)
        axes.vlines(*band, colors=style.colour, linewidth=BAR_POINTS)  # also of one point
    if any(point.value_error or point.bpp_error for point in curve.points):
        low, high = (
            [metric.plotted(p.value + sign * (p.value_error or 0)) for p in curve.points]
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


def _set_frame(axes: "Axes", panel: Panel, outlier: str, limits: tuple[float, float]) -> None:
    """Set limits from the points inside the frame, ticks, and the words on the axes."""
    from matplotlib.ticker import MaxNLocator

    metric, (left, right) = panel[0].metric, limits
    framing = [curve for curve in panel if curve.title != outlier] or panel
    every = [point for curve in framing for point in curve.points]
    points = [point for point in every if point.bpp <= right] or every
    values = _framed_values(framing, right) or [metric.plotted(point.value) for point in points]
    ends = [metric.plotted(end) for point in points for end in point.interval or ()]
    ends += [metric.plotted(value) for point in points for _, value in point.seeds]
    low, high = min(values), max(values)
    if metric.scale == "decades" and 0 < WIDE_RATIO * low < high:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        texts.plain_ticks(axes.yaxis)
    else:
        low, high = min([low, *ends]), max([high, *ends])
        margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(MOST_TICKS, steps=[1, 2, 5, 10]))
    if ends_of_axis := look().value_range(metric):
        axes.set_ylim(ends_of_axis)
    if left:
        axes.set_xscale("log")
        texts.plain_ticks(axes.xaxis, wide=right / left > 5)
    axes.set_xlim(left, right)
    axes.set_xlabel(texts.RATE_LABEL)
    axes.set_ylabel(texts.axis_words(metric, texts.few_images(panel)))
    axes.spines[["top", "right"]].set_visible(False)


def _framed_values(panel: Panel, most_bpp: float) -> list[float]:
    """Return the values that an axis spans where it leaves out those below 0; empty: all of them.

    So does that of a metric that is better when higher, if every curve has two points above: a
    scale whose zero says nothing, as SSIMULACRA 2's, would show these in its upper half alone.
    """
    of_curves = []
    for curve in panel:
        plotted = (curve.metric.plotted(p.value) for p in curve.points if p.bpp <= most_bpp)
        of_curves.append([value for value in plotted if value >= 0])
    if panel[0].metric.better == "lower" or any(len(values) < 2 for values in of_curves):
        return []
    return [*chain(*of_curves)]


def _below(panels: Iterable[Panel], limits: Iterable[tuple[float, float]], most_bpp: float) -> str:
    """Return the sentence on curves that go on below the axis of values; empty without any."""
    parts = []
    for panel, (low, _) in zip(panels, limits, strict=True):
        for curve in panel:
            shown = [curve.metric.plotted(p.value) for p in curve.points if p.bpp <= most_bpp]
            if least := [value for value in shown if value < low]:
                parts.append(f"{curve.name} to {min(least):.3g}")
    return f"Below the frame: {', '.join(dict.fromkeys(parts))}." if parts else ""


def line(
    style: Style, *, published: bool = False, sampled: bool = False, own: bool = False
) -> dict[str, Any]:
    """Return matplotlib's Line2D properties of a curve.

    Published points are open markers on a thin line. sampled: read off a plotted line, dots without
    markers. own: of our codec or the user's, heavier than the others.
    """
    dashes = SAMPLED_DASHES if sampled else style.dashes
    size = (STAR if style.marker == "*" else 1) * (OWN**0.5 if own else 1)
    return {
        "color": style.colour,
        "marker": "" if sampled else style.marker,
        "markersize": MARKER_POINTS * size,
        "markerfacecolor": "white" if published else style.colour,
        "markeredgecolor": style.colour,
        "markeredgewidth": EDGE_POINTS,
        "linewidth": (OWN if own else 1) * (PUBLISHED_LINE_POINTS if published else LINE_POINTS),
        "linestyle": (0, dashes) if dashes else "-",
    }
