"""Rate curves: the renderer of a panel of curves, the figures of reports, which eight they show."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.analysis.builds import mixed_sentences
from benchmark.analysis.rate_distortion import Delta, bd_rate
from benchmark.analysis.summarise import Summary
from benchmark.analysis.systems import family, kind, option_count, plainness
from benchmark.figures.captions import (
    CAVEAT,
    LOWER,
    axis_words,
    by_name,
    caveats,
    few_images,
    few_sentences,
    panels_note,
    protocol_sentence,
    published_sentences,
    scale_sentences,
    training_sentences,
)
from benchmark.figures.labels import RATE_LABEL, Drawing, add_legend, new_figure, plain_ticks, title
from benchmark.figures.style import (
    BAR_POINTS,
    DOUBLE_COLUMN_INCHES,
    PANEL_INCHES,
    SINGLE_COLUMN_INCHES,
    Style,
    figure_style,
    line,
)
from benchmark.metrics.measure import Measure
from benchmark.published.curves import Panel, SystemCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

CROP_BPP = 3.0  # beyond it lies what compression papers do not compare
MOST_CURVES, MOST_OWN = 8, 3
WIDE_RATIO = 10  # between the values of a metric on a logarithmic axis
ROOM = 1.12  # factor between the outermost rates and the ends of a logarithmic axis
MOST_TICKS = 7  # on a linear axis of values
MOST_MARKERS = 14  # on one published curve; some csv files have a hundred points


def draw_rate_curves(
    summary: Summary | None,
    panels: Sequence[Panel],
    styles: Mapping[str, Style],
    dataset: str,
    linear_rate: bool = False,
    anchor: str = "",
    most: int | None = MOST_CURVES,
) -> Drawing | None:
    """Draw one panel for each metric and a legend; None where no points can be drawn.

    One panel is a column wide (3.25 in), several share two columns (6.875 in). Rates are on a
    logarithmic axis unless asked otherwise: sweeps are geometric, and on a linear one a dozen
    codecs meet in the lowest quarter.

    summary: of the measured curves, None where there are published ones alone. styles: by
    `System.label`. anchor: label that BD-rates are against. most: number of curves, chosen as in
    `chosen_names`; None for all.
    """
    whole = [panel for panel in panels if panel.curves]
    if not whole:
        return None
    names = chosen_names(whole, anchor, most)
    cut = [
        panel._replace(curves=tuple(one for one in panel.curves if one.name in names))
        for panel in whole
    ]
    panels = [panel for panel in cut if panel.curves]
    heading = f"{dataset}, {_images(panels)} images"
    figure = draw_panels(panels, styles, heading, names, linear_rate)
    parts = _caption(summary, panels, dataset)
    parts += [*training_sentences(panels), *published_sentences(panels)]
    mixed = [one for one in panels if len(one.names_by_protocol) > 1]
    parts += [protocol_sentence(one.measure, one.names_by_protocol) for one in mixed]
    absent = [name for name in chosen_names(whole, anchor, None) if name not in names]
    if absent:
        parts.append(f"Not drawn, as a figure has at most {most} curves: {', '.join(absent)}.")
    return Drawing(figure, " ".join(parts))


def draw_panels(
    panels: Sequence[Panel],
    styles: Mapping[str, Style],
    heading: str,
    names: Sequence[str],
    linear_rate: bool = False,
    outlier: str = "",
    groups: bool = False,
) -> "Figure":
    """Draw panels side by side, and a legend in the order of `names`, by groups if asked for."""
    handles: dict[str, Line2D] = {}
    with figure_style():
        width = SINGLE_COLUMN_INCHES if len(panels) == 1 else DOUBLE_COLUMN_INCHES
        figure, axes = new_figure(width, PANEL_INCHES, 1, len(panels))
        for one, panel in zip(axes[0], panels, strict=True):
            for curve, handle in draw_panel(one, panel, styles, linear_rate, outlier):
                handles.setdefault(curve.name, handle)
        title(axes[0, 0], heading, 0.8 * width)
        ordered = [handles[name] for name in names if name in handles]
        add_legend(figure, ordered, panels_note(panels), groups)
    return figure


def chosen_names(panels: Sequence[Panel], anchor: str, most: int | None) -> list[str]:
    """Return the names of at most so many curves in the order of the legend, published ones last.

    They are own ones (the plain variant, each other own codec, the strongest with fewest options,
    the strongest), the anchor, published ones, which were asked for, the best standard and the best
    learned codec, and the best of each further family. Strength is the BD-rate against `anchor`, a
    label, in the first panel.
    """
    every = [curve for panel in panels for curve in (*panel.measured, *panel.published)]
    curves = {curve.name: curve for curve in sorted(every, key=lambda one: not one.measured)}
    if most is None or len(curves) <= most:
        return list(curves)
    measure = panels[0].measure
    rates = {curve.name: curve.rates(measure) for curve in panels[0].curves}
    reference = {c.system.label: rates[c.name] for c in panels[0].curves}.get(anchor)

    def strength(curve: SystemCurve) -> float:
        both = reference is not None and curve.name in rates
        delta = bd_rate(reference, rates[curve.name]) if reference and both else None
        return delta.value if isinstance(delta, Delta) else math.inf

    ranked = sorted(curves.values(), key=strength)
    families = {curve.name: family(curve.system.label) for curve in ranked}
    own = [curve for curve in ranked if kind(curve.system) == "own"]
    plain = sorted(own, key=lambda one: plainness(one.system.label))
    simple = sorted(own, key=lambda one: option_count(one.system.label))
    codecs = {families[curve.name]: curve for curve in reversed(plain)}
    mine = list(dict.fromkeys([*plain[:1], *codecs.values(), *simple[:1], *own[:1]]))[:MOST_OWN]
    wanted = [*mine, *(one for one in ranked if one.system.label == anchor)]
    wanted += [one for one in ranked if not one.measured]
    for sort in ("standard", "learned"):
        others = [one for one in ranked if families[one.name] != family(anchor)]
        wanted += [one for one in others if kind(one.system) == sort][:1]
    known = {families[one.name] for one in wanted}
    bests = {families[one.name]: one for one in reversed(ranked)}
    wanted += [one for one in ranked if one in bests.values() and families[one.name] not in known]
    kept = list(dict.fromkeys(one.name for one in [*wanted, *ranked]))[:most]
    return [name for name in curves if name in kept]


def draw_panel(
    axes: "Axes",
    panel: Panel,
    styles: Mapping[str, Style],
    linear_rate: bool = False,
    outlier: str = "",
) -> "list[tuple[SystemCurve, Line2D]]":
    """Draw the curves of a panel, frame its axes, and return each with its line.

    Measured curves wholly beyond CROP_BPP are left out where others are not. The axis of values
    spans those of all curves but the system named `outlier`.
    """
    inside = [one for one in panel.measured if min(p.bpp for p in one.points) <= CROP_BPP]
    shown = panel._replace(curves=(*panel.published, *(inside or panel.measured)))
    lines = [
        (one, _draw(axes, one, panel.measure, styles[one.system.label])) for one in shown.curves
    ]
    _frame(axes, shown, linear_rate, outlier)
    return lines


def _draw(axes: "Axes", curve: SystemCurve, measure: Measure, style: Style) -> "Line2D":
    own = kind(curve.system) == "own"
    properties = line(style, published=not curve.measured, sampled=curve.sampled, own=own)
    every = math.ceil(len(curve.points) / MOST_MARKERS) if not curve.measured else 1
    order = 2 + 0.1 * curve.measured + 0.2 * own
    bpp, values = curve.drawn(measure)
    properties |= {"label": curve.name + CAVEAT * bool(curve.caveats), "gid": curve.system.group}
    (handle,) = axes.plot(bpp, values, markevery=every, zorder=order, **properties)
    for point in curve.points:
        if point.interval is not None:
            ends = [measure.drawn(end) for end in point.interval]
            axes.vlines(point.bpp, ends[0], ends[1], colors=style.colour, linewidth=0.7, alpha=0.6)
    if any(point.value_error or point.bpp_error for point in curve.points):
        low, high = (
            [measure.drawn(p.value + sign * (p.value_error or 0)) for p in curve.points]
            for sign in (-1, 1)
        )
        if curve.sampled:
            axes.fill_between(bpp, low, high, color=style.colour, alpha=0.18, linewidth=0, zorder=1)
        else:
            spans = np.abs(np.array([low, high]) - values)
            rates = [point.bpp_error or 0 for point in curve.points]
            look: Any = {"ecolor": style.colour, "elinewidth": BAR_POINTS, "capthick": BAR_POINTS}
            axes.errorbar(bpp, values, spans, rates, fmt="none", capsize=1.2, zorder=1.8, **look)
    return handle


def _frame(axes: "Axes", panel: Panel, linear_rate: bool, outlier: str) -> None:
    """Set limits from the points inside the crop, ticks, and the words on the axes."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    measure = panel.measure
    every = [point.bpp for curve in panel.curves for point in curve.points]
    rates = [bpp for bpp in every if bpp <= CROP_BPP] or every
    framing = [one for one in panel.curves if one.system.name != outlier] or panel.curves
    points = [point for curve in framing for point in curve.points if point.bpp <= max(rates)]
    values = [measure.drawn(point.value) for point in points]
    low, high = min(values), max(values)
    if measure.scale == "decades" and 0 < WIDE_RATIO * low < high:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        plain_ticks(axes.yaxis)
    else:
        margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(MOST_TICKS, steps=[1, 2, 5, 10]))
    room = 1.04 if linear_rate else ROOM
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
    axes.set_ylabel(axis_words(measure, few_images(panel)))
    sns.despine(ax=axes)


def _images(panels: Sequence[Panel]) -> str:
    """Return the numbers of images that the means are over: of measured curves, if any."""
    curves = [curve for panel in panels for curve in panel.measured]
    curves = curves or [curve for panel in panels for curve in panel.curves]
    counts = {point.images for curve in curves for point in curve.points if point.images}
    return " or ".join(map(str, sorted(counts)))


def _caption(summary: Summary | None, panels: Sequence[Panel], dataset: str) -> list[str]:
    curves = [curve for panel in panels for curve in panel.measured]
    means = f"{dataset}: means over {_images(panels)} images"
    if summary is None or not curves:
        ids = [protocol for panel in panels for protocol in panel.names_by_protocol]
        lower = any(panel.measure.better == "lower" for panel in panels)
        return [f"{means} (protocols {', '.join(ids)})."] + [LOWER] * lower

    def named(sentence: str, labels: set[str]) -> list[str]:
        names = [label for label in summary.labels if label in labels]
        return [sentence.format(", ".join(names))] * bool(names)

    measured = [panel for panel in panels if panel.measured]
    measures = [panel.measure for panel in measured]
    average = "mean of each image's bpp" if summary.average == "per_image" else "pooled bpp"
    ids = [summary.protocols[name] for name in ("coding", *(m.column for m in measures))]
    parts = [f"{means} ({average}; protocols {', '.join(ids)})."]
    if summary.dropped:
        parts.append(f"Restricted to the images that all points have; left out: {summary.dropped}.")
    parts += scale_sentences(measures)
    beyond = {c.system.label for c in curves if any(p.bpp > CROP_BPP for p in c.points)}
    parts += named(f"Points of {{}} beyond {CROP_BPP:g} bpp are not shown.", beyond)
    refused = {one.label for panel in measured for one in panel.excluded}
    parts += named("Points of {} that are not comparable are left out.", refused)
    recorded = {curve.system.label for curve in curves if curve.recorded}
    parts += named("Recorded elsewhere, not coded here: {}.", recorded)
    parts += mixed_sentences(summary)
    of_sets = ", ".join(measure.label for measure in measures if measure.of_sets)
    parts += [f"{of_sets}: one value of the whole set, no mean."] * bool(of_sets)
    bars = ", ".join(one.label for one in measures if one.of_sets and one.by_image)
    text = f"Bars are 95 % intervals of {bars} over images (infinitesimal jackknife)."
    parts += [text] * bool(bars)
    parts += few_sentences(panel.measure for panel in measured if few_images(panel))
    return parts + [f"{text}." for text in [by_name(caveats(curves))] if text]
