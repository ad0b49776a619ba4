"""Figures of rate curves: a panel for each metric, a row of them for each dataset."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmark.compare.panel import Panel, SystemCurve
from benchmark.metrics.metric import Metric
from benchmark.rows.summary import Summary
from benchmark.rows.systems import GROUPS, kind
from benchmark.show import sections
from benchmark.show.figures import choice as choices
from benchmark.show.figures import style as looks
from benchmark.show.figures import texts
from benchmark.show.figures.choice import Frame
from benchmark.show.figures.style import BAR_POINTS, LINE_POINTS, MARKER_POINTS, WIDTHS, Style, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

LACKING = "Some panels lack some of the codecs."
WIDE_RATIO = 10  # between the values of a metric on a logarithmic axis
ROOM = 1.12  # factor between the outermost rates and the ends of a logarithmic axis
PUBLISHED_LINE_POINTS, EDGE_POINTS = 0.8, 0.8
STAR = 1.4  # a star looks smaller than other markers of its size
OWN = 1.8  # own curves are heavier
SAMPLED_DASHES = (1.0, 1.4)
MOST_TICKS = 7  # on a linear axis of values
MOST_MARKERS = 14  # on one published curve; some csv files have a hundred points


class OfDataset(NamedTuple):
    """Panels of one dataset: a row of a figure where there are several datasets."""

    title: str
    panels: Sequence[Panel]
    summary: Summary | None = None  # of the measured curves
    anchor: str = ""  # label that BD-rates are against


def draw_rate_curves(
    panels: Sequence[Panel],
    styles: Mapping[str, Style],
    dataset: str,
    summary: Summary | None = None,
    *,
    anchor: str = "",
    named: Sequence[str] = (),
    choice: choices.Choice | None = None,
    outlier: str = "",
    groups: bool = False,
) -> texts.Drawing | None:
    """Draw the panels of one dataset, whose title `dataset` is: see `draw_datasets`."""
    of_dataset = OfDataset(dataset, panels, summary, anchor)
    return draw_datasets([of_dataset], styles, named, choice, outlier, groups)


def draw_datasets(
    datasets: Sequence[OfDataset],
    styles: Mapping[str, Style],
    named: Sequence[str] = (),
    choice: choices.Choice | None = None,
    outlier: str = "",
    groups: bool = False,
) -> texts.Drawing | None:
    """Draw a panel for each metric and a legend; None where no points can be plotted.

    Several datasets are rows of panels, a column for each metric, with the same codecs and range of
    rates. Rates are on a logarithmic axis unless the look says otherwise: sweeps are geometric, and
    on a linear one a dozen codecs meet in the lowest quarter.

    styles: by `System.label`. named: the codecs that were asked for. choice: the curves to show, if
    not of these panels alone. outlier: see `draw_panel`. groups: put the legend's entries under
    their groups.
    """
    called = _called(datasets)
    choice = choice or choice_of(datasets, named)
    rows, lacking = _shown(called, choice)
    if not rows:
        return None
    panels = [panel for of in rows for panel in of.panels]
    metrics = list(dict.fromkeys(panel.metric for panel in panels))
    frame = choices.frame_of(panels)
    handles: dict[str, Line2D] = {}
    with looks.figure_style():
        figure, grid, inches = _axes_of(rows, metrics)
        for of, every_axes in zip(rows, grid, strict=True):
            for axes, panel in zip(every_axes, of.panels, strict=True):
                for curve, handle in draw_panel(
                    axes, panel, styles, look().linear_rate, outlier, frame
                ):
                    handles.setdefault(curve.name, handle)
            texts.title(every_axes[0], f"{of.title}, {sections.images_of(of.panels)}", inches)
        ordered = [handles[name] for name in map(choice.title, choice.kept) if name in handles]
        if groups:
            ordered.sort(key=lambda handle: (*GROUPS, "").index(handle.get_gid()))
        signs = sections.panels_note(panels), _cut(panels)
        texts.add_legend(figure, ordered, " ".join(filter(None, signs)), groups)
    count = len(choice.kept)
    shown = (
        f"{sections.metric_names(metrics)} against rate on "
        f"{sections.listed([f'{of.title} ({sections.images_of(of.panels)})' for of in rows])}, "
        "means over images."
    )
    whole = " ".join([shown, *lacking])
    fits = bool(sections.brief(whole))
    caption = sections.brief(
        *([shown, *lacking] if fits else [shown, LACKING]),
        *sections.scale_sentences(metrics),
        "Bars: 95 % intervals." if choices.with_bars(panels) else None,
        *signs,
        f"{count} of {count + len(choice.absent)} curves." if choice.absent else None,
    )
    sources = choices.sources_table(panels)
    if len(rows) == 1:
        table = texts.rate_table(panels, rows[0].anchor)
        return texts.Drawing(figure, caption, texts.point_records(panels), table, sources)
    marks = [
        {"dataset": of.title, **mark} for of in rows for mark in texts.point_records(of.panels)
    ]
    return texts.Drawing(figure, caption, marks, None, sources)


def choice_of(datasets: Sequence[OfDataset], named: Sequence[str] = ()) -> choices.Choice:
    """Return the curves that a figure of these datasets shows; named: see `choose`."""
    first, *others = sorted(_called(datasets), key=lambda of: not of.anchor)
    every = [panel for of in (first, *others) for panel in of.panels]
    return choices.choose(every, first.anchor, named)


def _called(datasets: Sequence[OfDataset]) -> list[OfDataset]:
    """Give curves their names: one that is published says so beside one measured on any of them."""
    parts = iter(choices.renamed([panel for of in datasets for panel in of.panels]))
    return [of._replace(panels=[*islice(parts, len(of.panels))]) for of in datasets]


def _shown(
    datasets: Sequence[OfDataset], choice: choices.Choice
) -> tuple[list[OfDataset], list[str]]:
    """Return the datasets with the chosen curves, and sentences on what a panel lacks."""
    rows, lacking = [], list[str]()
    for of in datasets:
        if panels := choice.of(of.panels):
            where = f"{of.title}: " if len(datasets) > 1 else ""
            there = {panel.metric for panel in panels}
            absent = [of.metric for of in of.panels if of.metric not in there]
            names = sections.metric_names(absent)
            lacking += [f"{where}{names}: no values of these codecs."] if names else []
            lacking += [f"{where}{sentence}" for sentence in choice.lacking(panels)]
            rows.append(of._replace(panels=_without_lone_points(panels)))
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
        figure, every, width = texts.panel_figure(sum(len(of.panels) for of in rows))
        # Titles stand beside each other; that of one dataset may go on over its other panels.
        columns = texts.panels_in_a_row(len(rows)) if len(rows) > 1 else 1
        axes = iter(every)
        return figure, [[*islice(axes, len(of.panels))] for of in rows], 0.8 * width / columns
    height = looks.PANEL_INCHES * len(rows)
    figure, grid = texts.new_figure(width, height, len(rows), len(metrics))
    result = []
    for of, in_row in zip(rows, grid, strict=True):
        mine = dict(zip(metrics, in_row, strict=True))
        there = [panel.metric for panel in of.panels]
        for metric in mine.keys() - {*there}:
            mine[metric].remove()
        result.append([mine[metric] for metric in there])
    return figure, result, 0.8 * width


def _without_lone_points(panels: Sequence[Panel]) -> list[Panel]:
    """Return panels without published curves that have one point there and more in another."""
    curves = [curve for panel in panels for curve in panel.published]
    others = {curve.name for curve in curves if len(curve.points) > 1}
    result = []
    for panel in panels:
        lone = [c for c in panel.published if len(c.points) == 1 and c.name in others]
        kept = tuple(curve for curve in panel.curves if curve not in lone)
        result.append(panel._replace(curves=kept or panel.curves))
    return result


def _cut(panels: Sequence[Panel]) -> str:
    """Return the sentence on curves that go on beyond the frame; empty without any."""
    most = choices.frame_of(panels).high
    curves = {c.name: c.points for panel in panels for c in panel.curves if c.points[0].bpp <= most}
    ends = {name: points[-1].bpp for name, points in curves.items()}
    names = [f"{name} to {end:.2g} bpp" for name, end in ends.items() if end > most]
    return f"Beyond the frame: {', '.join(names)}." if names else ""


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
    frame = frame or choices.frame_of([panel])
    inside = [c for c in panel.curves if min(p.bpp for p in c.points) <= frame.high]
    ordered = sorted(inside, key=lambda curve: curve.measured)
    seen = panel._replace(curves=tuple(ordered))
    lines = [
        (curve, _draw(axes, curve, panel.metric, styles[curve.system.label]))
        for curve in seen.curves
    ]
    _set_frame(axes, seen, linear_rate, outlier, frame)
    return lines


def _draw(axes: "Axes", curve: SystemCurve, metric: Metric, style: Style) -> "Line2D":
    own = kind(curve.system) == "own"
    properties = line(style, published=not curve.measured, sampled=curve.sampled, own=own)
    every = math.ceil(curve.marks / MOST_MARKERS) if not curve.measured else 1
    order = 2 + 0.05 * curve.sampled + 0.1 * curve.measured + 0.2 * own
    bpp, values = curve.plotted(metric)
    name = sections.marked(curve.name, curve.caveats)
    properties |= {"label": name, "gid": curve.system.group}
    marks = slice(0, curve.marks, every)
    (handle,) = axes.plot(bpp, values, markevery=marks, zorder=order, **properties)
    for point in curve.points:
        if point.interval is not None:
            ends = [metric.plotted(end) for end in point.interval]
            axes.vlines(point.bpp, ends[0], ends[1], colors=style.colour, linewidth=0.7, alpha=0.6)
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


def _set_frame(axes: "Axes", panel: Panel, linear_rate: bool, outlier: str, frame: Frame) -> None:
    """Set limits from the points inside the frame, ticks, and the words on the axes."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    metric = panel.metric
    framing = [curve for curve in panel.curves if curve.system.name != outlier] or panel.curves
    points = [point for curve in framing for point in curve.points if point.bpp <= frame.high]
    values = [metric.plotted(point.value) for point in points]
    ends = [metric.plotted(end) for point in points for end in point.interval or ()]
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
    axes.set_ylabel(texts.axis_words(metric, texts.few_images(panel)))
    sns.despine(ax=axes)


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
