"""Rate curves: the one renderer of panels of curves, and the figures of reports made of them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.analysis.builds import mixed_sentences
from benchmark.analysis.summarise import Summary
from benchmark.figures.captions import (
    LOWER,
    axis_words,
    few_sentences,
    grouped,
    panels_note,
    published_rates,
    published_sources,
    reading_errors,
    scale_sentences,
    told,
)
from benchmark.figures.drawing import RATE_LABEL, Drawing, frame, plain_ticks, title
from benchmark.figures.emphasis import Cast, everyone, overview
from benchmark.figures.layout.curve_names import in_legend, name_curves
from benchmark.figures.layout.legend import flat_legend, lay_out, settle
from benchmark.figures.layout.wrapping import wrapped
from benchmark.figures.marks import Marks, training_sentences
from benchmark.figures.style import (
    BAND_OPACITY,
    BAR_POINTS,
    CAP_POINTS,
    DOUBLE_COLUMN_INCHES,
    MOST_MARKERS,
    PANEL_INCHES,
    REPORT,
    SINGLE_COLUMN_INCHES,
    CurveLayout,
    Role,
    Style,
    figure_style,
    line,
)
from benchmark.metrics.measure import Measure
from benchmark.published.curves import CurvePoint, Panel, SystemCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

CROP_BPP = 3.0  # beyond it lies what compression papers do not compare
MOST_IN_OVERVIEW = 8
WIDE_RATIO = 10  # between the values of a metric on a logarithmic axis


def draw_rate_curves(
    summary: Summary | None,
    panels: Sequence[Panel],
    styles: Mapping[str, Style],
    dataset: str,
    linear_rate: bool = False,
    overview_against: str = "",
) -> Drawing | None:
    """Draw one panel for each metric, labels at the ends of curves, and a legend of the others.

    None where no points can be drawn. One panel is a column wide (3.25 in), several share two
    columns (6.875 in). Rates are on a logarithmic axis unless asked otherwise: sweeps are
    geometric, and on a linear one a dozen codecs meet in the lowest quarter. `summary` is of the
    measured curves, None where there are published ones alone; `styles` goes by `System.label`.
    overview_against: the label of the anchor of BD-rates that choose at most eight curves; empty
    where all are to be drawn.
    """
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        return None
    from matplotlib.figure import Figure

    whole = panels
    cast = overview(panels, overview_against, MOST_IN_OVERVIEW) if overview_against else None
    cast = cast or everyone(panels)
    panels = [_cut_to(cast, panel) for panel in panels]
    marks = Marks.of(panels)
    with figure_style():
        width = SINGLE_COLUMN_INCHES if len(panels) == 1 else DOUBLE_COLUMN_INCHES
        figure = Figure(figsize=(width, PANEL_INCHES), layout="constrained")
        every_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        drawn = [
            draw_panel(axes, panel, styles, linear_rate, roles=cast.roles)
            for axes, panel in zip(every_axes, panels, strict=True)
        ]
        counts = " or ".join(str(count) for count in _images(panels))
        title(every_axes[0], wrapped(f"{dataset}, {counts} images", 0.8 * width))
        for axes, panel in zip(every_axes, panels, strict=True):
            axes.set_ylabel(f"{axes.get_ylabel()}{marks.of_axis(panel)}")
        order = [curve.name for curve in _ordered(summary, panels)]
        order += [curve.name for one in panels for curve in one.published]
        lay_out(figure)
        left = name_curves(every_axes, drawn, cast.roles, marks.name)
        left.sort(key=lambda one: order.index(one[0].name))
        entries = [in_legend(handle, marks.name(curve)) for curve, handle in left]
        flat_legend(figure, entries, "\n".join([*panels_note(panels), *marks.notes]))
        settle(figure)
    shown = [panel for panel in whole if panel.measured]
    said = _caption(summary, shown, dataset) if summary and shown else _bare(whole, dataset)
    parts = [said, *cast.sentences, *training_sentences(panels), *_published_caption(panels)]
    return Drawing(figure, " ".join(parts))


def _cut_to(cast: Cast, panel: Panel) -> Panel:
    return panel._replace(curves=tuple(one for one in panel.curves if one.name in cast.roles))


def draw_panel(
    axes: "Axes",
    panel: Panel,
    styles: Mapping[str, Style],
    linear_rate: bool = False,
    layout: CurveLayout = REPORT,
    outlier: str = "",
    roles: Mapping[str, Role] | None = None,
) -> "list[tuple[SystemCurve, Line2D]]":
    """Draw the curves of a panel, frame its axes, and return each with its line.

    Curves wholly beyond CROP_BPP are left out where others are not. The axis of values spans those
    of all curves but the system named `outlier`. `roles` go by the curves' names; by default own
    curves are heavier than others.
    """
    shown = inside_crop(panel)
    roles = everyone([panel]).roles if roles is None else roles
    lines = []
    for curve in shown:
        properties = curve_line(curve, styles[curve.system.label], layout, roles[curve.name])
        lines.append((curve, _draw(axes, curve, panel.measure, properties, roles[curve.name])))
    framing = [curve for curve in shown if curve.system.name != outlier] or shown
    _frame(axes, panel.measure, shown, framing, linear_rate, layout)
    return lines


def inside_crop(panel: Panel) -> list[SystemCurve]:
    """Return published curves, then measured ones with a point inside the crop, all if none has."""
    inside = [c for c in panel.measured if min(point.bpp for point in c.points) <= CROP_BPP]
    return [*panel.published, *(inside or panel.measured)]


def places(curve: SystemCurve, measure: Measure) -> tuple[list[float], list[float]]:
    """Return rates, and values as the axis has them."""
    return [p.bpp for p in curve.points], [measure.drawn(p.value) for p in curve.points]


def curve_line(curve: SystemCurve, style: Style, layout: CurveLayout, role: Role) -> dict[str, Any]:
    """Return Line2D properties of a curve."""
    return line(style, layout, curve.origin, sampled=curve.sampled, role=role)


def _draw(
    axes: "Axes", curve: SystemCurve, measure: Measure, properties: Mapping[str, Any], role: Role
) -> "Line2D":
    above = {"context": 0, "usual": 0.3, "own": 2}[role]
    order = 1.9 + 0.1 * curve.measured + above  # measured curves lie over published ones
    every = math.ceil(len(curve.points) / MOST_MARKERS) if not curve.measured else 1
    bpp, values = places(curve, measure)
    (handle,) = axes.plot(
        bpp, values, label=curve.name, markevery=every, zorder=order, **properties
    )
    colour = properties["color"]
    for point in curve.points:
        if point.interval is not None:
            low, high = (measure.drawn(end) for end in point.interval)
            axes.vlines(point.bpp, low, high, colors=colour, linewidth=0.7, alpha=0.6)
    if any(point.value_error or point.bpp_error for point in curve.points):
        _draw_errors(axes, curve, measure, colour)
    return handle


def _draw_errors(axes: "Axes", curve: SystemCurve, measure: Measure, colour: str) -> None:
    """Draw bars as long as the reading error, or a band around samples of a drawn line."""
    bpp, values = places(curve, measure)
    ends = [_ends(point, measure) for point in curve.points]
    if curve.sampled:
        low, high = zip(*ends, strict=True)
        axes.fill_between(bpp, low, high, color=colour, alpha=BAND_OPACITY, linewidth=0, zorder=1)
        return
    below = [value - low for value, (low, _) in zip(values, ends, strict=True)]
    above = [high - value for value, (_, high) in zip(values, ends, strict=True)]
    axes.errorbar(
        bpp, values, yerr=[below, above], xerr=[point.bpp_error or 0 for point in curve.points],
        fmt="none", ecolor=colour, elinewidth=BAR_POINTS, capsize=CAP_POINTS,
        capthick=BAR_POINTS, zorder=1.8,
    )  # fmt: skip


def _ends(point: CurvePoint, measure: Measure) -> tuple[float, float]:
    """Return the lowest and highest place that a digitised number may have on the axis."""
    error = point.value_error or 0
    low, high = sorted(measure.drawn(point.value + sign * error) for sign in (-1, 1))
    return low, high


def _frame(
    axes: "Axes",
    measure: Measure,
    shown: Sequence[SystemCurve],
    framing: Sequence[SystemCurve],
    linear_rate: bool,
    layout: CurveLayout,
) -> None:
    """Set limits from the points inside the crop, ticks, and the words on the axes."""
    every = [point.bpp for curve in shown for point in curve.points]
    rates = [bpp for bpp in every if bpp <= CROP_BPP] or every
    values = [
        measure.drawn(point.value)
        for curve in framing
        for point in curve.points
        if point.bpp <= max(rates)
    ]
    low, high = min(values), max(values)
    if measure.scale == "decades" and 0 < WIDE_RATIO * low < high:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        plain_ticks(axes.yaxis)
    else:
        margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        if layout.most_ticks:
            from matplotlib.ticker import MaxNLocator

            axes.yaxis.set_major_locator(MaxNLocator(layout.most_ticks, steps=[1, 2, 5, 10]))
    room = 1.04 if linear_rate else layout.room
    right = room * max(rates)
    beyond = [bpp for bpp in every if bpp > max(rates)]
    if beyond:
        right = min(right, math.sqrt(max(rates) * min(beyond)))  # so no marker is half shown
    if linear_rate:
        axes.set_xlim(0, right)
    else:
        axes.set_xscale("log")
        axes.set_xlim(min(rates) / room, right)
        plain_ticks(axes.xaxis, wide=right * room / min(rates) > 5)
    axes.set_xlabel(RATE_LABEL)
    axes.set_ylabel(axis_words(measure, few_images(shown)))
    frame(axes)


def few_images(curves: Iterable[SystemCurve]) -> int:
    """Return the least number of images of a distribution metric that are few; 0 for none."""
    found = [point.images or 0 for one in curves if one.few for point in one.points]
    return min(found, default=0)


def _ordered(summary: Summary | None, panels: Sequence[Panel]) -> list[SystemCurve]:
    """Return the measured curves of all panels in the order of the summary's codecs."""
    labels = summary.labels if summary else ()
    curves = [curve for one in panels for curve in one.measured]
    return sorted(curves, key=lambda curve: labels.index(curve.system.label))


def _images(panels: Sequence[Panel]) -> list[int]:
    """Return the numbers of images that the means are over: of measured curves, if any."""
    curves = [curve for one in panels for curve in one.measured]
    curves = curves or [curve for one in panels for curve in one.curves]
    return sorted({point.images for curve in curves for point in curve.points if point.images})


def _caption(summary: Summary, panels: Sequence[Panel], dataset: str) -> str:
    def named(labels: set[str]) -> str:
        return ", ".join(label for label in summary.labels if label in labels)

    average = "mean of each image's bpp" if summary.average == "per_image" else "pooled bpp"
    measures = [panel.measure for panel in panels]
    ids = [summary.protocols[name] for name in ("coding", *(m.column for m in measures))]
    counts = " or ".join(str(count) for count in _images(panels))
    parts = [f"{dataset}: means over {counts} images ({average}; protocols {', '.join(ids)})."]
    if summary.dropped:
        parts.append(f"Restricted to the images that all points have; left out: {summary.dropped}.")
    parts += scale_sentences(measures)
    drawn = [curve for panel in panels for curve in panel.measured]
    beyond = {c.system.label for c in drawn if any(p.bpp > CROP_BPP for p in c.points)}
    if beyond:
        parts.append(f"Points of {named(beyond)} beyond {CROP_BPP:g} bpp are not shown.")
    refused = {one.label for panel in panels for one in panel.excluded}
    if refused:
        parts.append(f"Points of {named(refused)} that are not comparable are left out.")
    recorded = {curve.system.label for curve in drawn if curve.recorded}
    if recorded:
        parts.append(f"Recorded elsewhere, not coded here: {named(recorded)}.")
    parts += mixed_sentences(summary)
    of_sets = [measure for measure in measures if measure.of_sets]
    if of_sets:
        labels = ", ".join(measure.label for measure in of_sets)
        parts.append(f"{labels}: one value of the whole set, no mean.")
    bars = [measure.label for measure in of_sets if measure.by_image]
    if bars:
        parts.append(
            f"Bars are 95 % intervals of {', '.join(bars)} over images, by the infinitesimal "
            "jackknife."
        )
    parts += few_sentences(panel.measure for panel in panels if few_images(panel.measured))
    caveats = grouped((caveat, c.system.name) for c in drawn for caveat in c.caveats)
    parts += [f"{told({caveat: names})}." for caveat, names in caveats.items()]
    return " ".join(parts)


def _bare(panels: Sequence[Panel], dataset: str) -> str:
    """Return the caption of a figure in which nothing is measured."""
    ids = [protocol for panel in panels for protocol in panel.names_by_protocol]
    counts = " or ".join(str(count) for count in _images(panels))
    said = f"{dataset}: means over {counts} images (protocols {', '.join(ids)})."
    return " ".join([said] + [LOWER] * any(one.measure.better == "lower" for one in panels))


def _published_caption(panels: Sequence[Panel]) -> list[str]:
    """Return sentences on sources, reading errors, rates and protocols of published curves."""
    found = published_sources(curve for one in panels for curve in one.curves)
    found += [sentence for one in panels for sentence in reading_errors(one)]
    found += published_rates(panels)
    for one in panels:
        others = list(one.names_by_protocol.items())[1:]
        if others:
            rules = "; ".join(f"{protocol} {', '.join(names)}" for protocol, names in others)
            said = f"Protocols mixed in {one.measure.label}: {rules}"
            found.append(f"{said}; all others {one.own_protocol}.")
    return found
