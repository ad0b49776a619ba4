"""Figures of rate curves: one panel per metric, one row of panels per dataset."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.compare.curve import Curve, Panel
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import GROUPS
from benchmark.show import sections
from benchmark.show.figures import style as looks
from benchmark.show.figures import texts
from benchmark.show.figures.choice import Choice, highest_rate, sources_table
from benchmark.show.figures.style import BAR_POINTS, LINE_POINTS, MARKER_POINTS, WIDTHS, Style, look
from benchmark.spec import CodecSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SOME_ABSENT = "Some codecs are absent from some panels."
MIN_LOG_RATIO = 10  # ratio of a metric's values above which their axis is logarithmic
MARGIN, LINEAR_MARGIN = 1.12, 1.04  # ratios of the ends of an axis to the outermost rates
PUBLISHED_LINE_POINTS, EDGE_POINTS = 0.8, 0.8
STAR_SCALE = 1.4  # a star looks smaller than other markers of the same size
HEAVY_SCALE = 1.8  # relative width of the project's and the user's curves
SAMPLED_DASHES = (1.0, 1.4)
MAX_TICKS = 7  # of a linear axis of values
MAX_MARKERS = 14  # of a published curve; some csv files have a hundred points

DatasetPanels = tuple[str, Sequence[Panel]]  # the dataset's title, and a panel for each metric


def draw_rate_curves(
    datasets: Sequence[DatasetPanels],
    styles: Mapping[CodecSpec, Style],
    choice: Choice,
    *,
    anchor: CodecSpec | None = None,
    outlier: str = "",
    groups: bool = False,
) -> texts.DrawnFigure | None:
    """Draw one panel per metric, and a legend; None if there is no point to plot.

    Several datasets are rows of panels, a column per metric, with the same codecs and range of
    rates. The rate axis is logarithmic unless the look has `linear_rate`: sweeps are geometric, and
    on a linear axis, the curves of a dozen codecs would crowd the lowest quarter.

    anchor: BD-rate reference for one dataset. outlier: see `draw_panel`. groups: group the legend.
    """
    rows, absences = _chosen_rows(datasets, choice)
    if not rows:
        return None
    panels = [panel for _, dataset_panels in rows for panel in dataset_panels]
    curves = [*chain(*panels)]
    metrics = list(dict.fromkeys(curve.metric for curve in curves))
    handles: dict[str, Line2D] = {}
    with looks.figure_style():
        limits = rate_limits(curves)
        figure, grid, inches = _make_axes(rows, metrics)
        for (title, dataset_panels), row_axes in zip(rows, grid, strict=True):
            for axes, panel in zip(row_axes, dataset_panels, strict=True):
                for curve, handle in draw_panel(axes, panel, styles, outlier, limits):
                    handles.setdefault(curve.name, handle)
            texts.title(row_axes[0], f"{title}, {sections.images_text(dataset_panels)}", inches)
        ordered_handles = [handles[name] for name in choice.curves if name in handles]
        if groups:
            ordered_handles.sort(key=lambda handle: (*GROUPS, "").index(handle.get_gid()))
        value_limits = (axes.get_ylim() for axes in chain(*grid))
        framing_curves = [[c for c in panel if c.title != outlier] for panel in panels]
        frame_notes = (
            _note_rates_beyond(curves, limits[1]),
            _note_values_below(framing_curves, value_limits, limits[1]),
        )
        curve_notes = sections.curves_note(curves), *frame_notes
        rules_note = sections.other_rules_note(curves)
        texts.add_legend(
            figure, ordered_handles, " ".join(filter(None, (rules_note, *curve_notes))), groups
        )
    num_chosen, num_left_out = len(choice.curves), len(choice.left_out)
    dataset_texts = [f"{title} ({sections.images_text(panels)})" for title, panels in rows]
    subject = (
        f"{sections.metric_names(metrics)} against rate on "
        f"{sections.listed(dataset_texts)}, means over images."
    )
    full_caption = " ".join([subject, *absences, rules_note])
    full_caption_fits = bool(sections.make_caption(full_caption))
    has_intervals = any(point.interval for curve in curves for point in curve.points)
    seeds = sorted({str(len(point.seeds)) for c in curves for point in c.points if point.seeds})
    caption = sections.make_caption(
        *(
            [subject, rules_note, *absences]
            if full_caption_fits
            else [subject, rules_note, SOME_ABSENT]
        ),
        *sections.scale_sentences(metrics),
        "Bars: 95 % intervals." if has_intervals else None,
        f"Bands: lowest to highest of {sections.listed(seeds)} seeds." if seeds else None,
        *curve_notes,
        f"{num_chosen} of {num_chosen + num_left_out} curves." if num_left_out else None,
    )
    sources = sources_table(curves)
    if len(rows) == 1:
        table = texts.rate_table(panels, anchor, choice.rule)
        return texts.DrawnFigure(figure, caption, texts.point_records(curves), table, sources)
    records = [
        {"dataset": title, **point_record}
        for title, dataset_panels in rows
        for point_record in texts.point_records(chain(*dataset_panels))
    ]
    return texts.DrawnFigure(figure, caption, records, None, sources)


def _chosen_rows(
    datasets: Sequence[DatasetPanels], choice: Choice
) -> tuple[list[DatasetPanels], list[str]]:
    rows, absences = list[DatasetPanels](), list[str]()
    for title, all_panels in datasets:
        if panels := choice.select(all_panels):
            prefix = f"{title}: " if len(datasets) > 1 else ""
            present_metrics = {panel[0].metric for panel in panels}
            absent_metrics = [
                panel[0].metric for panel in all_panels if panel[0].metric not in present_metrics
            ]
            names = sections.metric_names(absent_metrics)
            absences += [f"{prefix}{names}: no values for these codecs."] if names else []
            absences += [f"{prefix}{sentence}" for sentence in choice.missing_sentences(panels)]
            rows.append((title, _drop_lone_points(panels)))
    return rows, absences


def _make_axes(
    rows: Sequence[DatasetPanels], metrics: Sequence[Metric]
) -> "tuple[Figure, list[list[Axes]], float]":
    """Return a figure, the axes of each dataset's panels, and the width of titles in inches."""
    width = texts.figure_width(len(metrics))
    if 1 in (len(rows), len(metrics)) or width == WIDTHS["column"]:
        figure, all_axes, width = texts.panel_figure(sum(len(panels) for _, panels in rows))
        # Titles of datasets are side by side; a single title may extend over all panels.
        columns = texts.panels_per_row(len(rows)) if len(rows) > 1 else 1
        axes = iter(all_axes)
        return (
            figure,
            [[*islice(axes, len(dataset_panels))] for _, dataset_panels in rows],
            0.8 * width / columns,
        )
    height = looks.PANEL_INCHES * len(rows)
    figure, grid = texts.new_figure(width, height, len(rows), len(metrics))
    axes_by_row = []
    for (_, panels), grid_row in zip(rows, grid, strict=True):
        axes_by_metric = dict(zip(metrics, grid_row, strict=True))
        present_metrics = [panel[0].metric for panel in panels]
        for metric in axes_by_metric.keys() - {*present_metrics}:
            axes_by_metric[metric].remove()
        axes_by_row.append([axes_by_metric[metric] for metric in present_metrics])
    return figure, axes_by_row, 0.8 * width


def _drop_lone_points(panels: Sequence[Panel]) -> list[Panel]:
    """Drop a published curve from panels in which it has one point, if another has several."""
    published = [curve for curve in chain(*panels) if not curve.measured]
    names_elsewhere = {curve.name for curve in published if len(curve.points) > 1}

    def is_lone(curve: Curve) -> bool:
        return not curve.measured and len(curve.points) == 1 and curve.name in names_elsewhere

    return [[curve for curve in panel if not is_lone(curve)] or panel for panel in panels]


def rate_limits(curves: Iterable[Curve]) -> tuple[float, float]:
    """Return the limits of the rate axis; markers beyond `highest_rate` do not touch the frame."""
    curves, is_linear = [*curves], look().linear_rate
    rates, limit = [point.bpp for curve in curves for point in curve.points], highest_rate(curves)
    shown_rates = [bpp for bpp in rates if bpp <= limit] or rates
    low, high = min(shown_rates), max(shown_rates)
    next_rate = min((bpp for bpp in rates if bpp > high), default=math.inf)
    right = min((LINEAR_MARGIN if is_linear else MARGIN) * high, math.sqrt(high * next_rate))
    return 0.0 if is_linear else low / MARGIN, right


def _note_rates_beyond(curves: Sequence[Curve], limit: float) -> str:
    ends = {curve.name: curve.points[-1].bpp for curve in curves if curve.points[0].bpp <= limit}
    names = [f"{name} to {end:.2g} bpp" for name, end in ends.items() if end > limit]
    return f"Beyond the frame: {', '.join(names)}." if names else ""


def draw_panel(
    axes: "Axes",
    panel: Panel,
    styles: Mapping[CodecSpec, Style],
    outlier: str = "",
    limits: tuple[float, float] | None = None,
) -> "list[tuple[Curve, Line2D]]":
    """Draw the curves of a panel, frame its axes, and return each curve with its line.

    Curves completely beyond the axis are left out. The value axis spans all curves except that of
    the system `outlier`. limits: `rate_limits` of the figure; default: of this panel.
    """
    limits = limits or rate_limits(panel)
    visible_curves = [curve for curve in panel if min(p.bpp for p in curve.points) <= limits[1]]
    ordered_curves = sorted(visible_curves or panel, key=lambda curve: curve.measured)
    lines = [(curve, _draw_curve(axes, curve, styles[curve.spec])) for curve in ordered_curves]
    _set_frame(axes, ordered_curves, outlier, limits)
    return lines


def _draw_curve(axes: "Axes", curve: Curve, style: Style) -> "Line2D":
    is_highlighted, metric = curve.edition.facts.kind == "own", curve.metric
    properties = line_properties(
        style, published=not curve.measured, sampled=curve.sampled, heavy=is_highlighted
    )
    step = math.ceil(curve.num_points / MAX_MARKERS) if not curve.measured else 1
    drawing_order = 2 + 0.05 * curve.sampled + 0.1 * curve.measured + 0.2 * is_highlighted
    bpp, values = curve.plotted
    name = sections.mark_name(curve.name, curve.edition.run_facts.caveats)
    properties |= {"label": name, "gid": curve.group}
    marked_points = slice(0, curve.num_points, step)
    (handle,) = axes.plot(bpp, values, markevery=marked_points, zorder=drawing_order, **properties)
    for point in curve.points:
        if point.interval is not None:
            ends = [metric.axis_position(end) for end in point.interval]
            axes.vlines(point.bpp, ends[0], ends[1], colors=style.colour, linewidth=0.7, alpha=0.6)
    if means := [point for point in curve.points if point.seeds]:
        seed_values = [[metric.axis_position(value) for _, value in p.seeds] for p in means]
        lowest, highest = [*map(min, seed_values)], [*map(max, seed_values)]
        band = [point.bpp for point in means], lowest, highest
        axes.fill_between(*band, color=style.colour, alpha=0.18, linewidth=0, zorder=1)
        axes.vlines(*band, colors=style.colour, linewidth=BAR_POINTS)  # also for a single point
    if any(point.value_error or point.bpp_error for point in curve.points):
        low, high = (
            [metric.axis_position(p.value + sign * (p.value_error or 0)) for p in curve.points]
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
    from matplotlib.ticker import MaxNLocator

    metric, (left, right) = panel[0].metric, limits
    framing_curves = [curve for curve in panel if curve.title != outlier] or panel
    all_points = [point for curve in framing_curves for point in curve.points]
    points = [point for point in all_points if point.bpp <= right] or all_points
    values = _framed_values(framing_curves, right) or [
        metric.axis_position(point.value) for point in points
    ]
    interval_ends = [metric.axis_position(end) for point in points for end in point.interval or ()]
    interval_ends += [metric.axis_position(value) for point in points for _, value in point.seeds]
    low, high = min(values), max(values)
    if metric.scale == "decades" and 0 < MIN_LOG_RATIO * low < high:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        texts.set_plain_ticks(axes.yaxis)
    else:
        low, high = min([low, *interval_ends]), max([high, *interval_ends])
        margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(MAX_TICKS, steps=[1, 2, 5, 10]))
    if ends_of_axis := look().axis_range(metric):
        axes.set_ylim(ends_of_axis)
    if left:
        axes.set_xscale("log")
        texts.set_plain_ticks(axes.xaxis, wide=right / left > 5)
    axes.set_xlim(left, right)
    axes.set_xlabel(texts.RATE_LABEL)
    axes.set_ylabel(texts.axis_words(metric, texts.few_images(panel)))
    axes.spines[["top", "right"]].set_visible(False)


def _framed_values(panel: Panel, max_bpp: float) -> list[float]:
    """Return the values that an axis spans if it omits negative values; []: span all values.

    They are omitted if higher is better and every curve has two values above 0: on scales
    with an arbitrary zero, such as SSIMULACRA 2, negative values would take half of the axis.
    """
    values_by_curve = []
    for curve in panel:
        values = (curve.metric.axis_position(p.value) for p in curve.points if p.bpp <= max_bpp)
        values_by_curve.append([value for value in values if value >= 0])
    if panel[0].metric.better == "lower" or any(len(values) < 2 for values in values_by_curve):
        return []
    return [*chain(*values_by_curve)]


def _note_values_below(
    panels: Iterable[Panel], limits: Iterable[tuple[float, float]], max_bpp: float
) -> str:
    curve_texts = []
    for panel, (low, _) in zip(panels, limits, strict=True):
        for curve in panel:
            values = [curve.metric.axis_position(p.value) for p in curve.points if p.bpp <= max_bpp]
            if values_below := [value for value in values if value < low]:
                curve_texts.append(f"{curve.name} to {min(values_below):.3g}")
    return f"Below the frame: {', '.join(dict.fromkeys(curve_texts))}." if curve_texts else ""


def line_properties(
    style: Style, *, published: bool = False, sampled: bool = False, heavy: bool = False
) -> dict[str, Any]:
    """Return matplotlib's Line2D properties of a curve.

    published: open markers on a thin line. sampled: read from a plotted line, so dotted without
    markers. heavy: for the codecs of the project and the user.
    """
    dashes = SAMPLED_DASHES if sampled else style.dashes
    size = (STAR_SCALE if style.marker == "*" else 1) * (HEAVY_SCALE**0.5 if heavy else 1)
    return {
        "color": style.colour,
        "marker": "" if sampled else style.marker,
        "markersize": MARKER_POINTS * size,
        "markerfacecolor": "white" if published else style.colour,
        "markeredgecolor": style.colour,
        "markeredgewidth": EDGE_POINTS,
        "linewidth": (HEAVY_SCALE if heavy else 1)
        * (PUBLISHED_LINE_POINTS if published else LINE_POINTS),
        "linestyle": (0, dashes) if dashes else "-",
    }
