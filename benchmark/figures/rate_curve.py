"""Rate curves: the renderer of a panel of curves, the figures of reports, which eight they show."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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
from benchmark.figures.labels import (
    RATE_LABEL,
    Drawing,
    add_legend,
    new_figure,
    plain_ticks,
    title,
)
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
    handles: dict[str, Line2D] = {}
    with figure_style():
        width = SINGLE_COLUMN_INCHES if len(panels) == 1 else DOUBLE_COLUMN_INCHES
        figure, axes = new_figure(width, PANEL_INCHES, 1, len(panels))
        for one, panel in zip(axes[0], panels, strict=True):
            for curve, handle in draw_panel(one, panel, styles, linear_rate):
                handles.setdefault(curve.name, handle)
        title(axes[0, 0], f"{dataset}, {_images(panels)} images", 0.8 * width)
        ordered = sorted(handles, key=names.index)
        add_legend(figure, [handles[name] for name in ordered], panels_note(panels))
    shown = [panel for panel in panels if panel.measured]
    parts = _caption(summary, shown, dataset) if summary and shown else _bare(panels, dataset)
    parts += [*training_sentences(panels), *published_sentences(panels)]
    mixed = [one for one in panels if len(one.names_by_protocol) > 1]
    parts += [protocol_sentence(one.measure, one.names_by_protocol) for one in mixed]
    absent = [name for name in _names(whole) if name not in names]
    if absent:
        parts.append(f"Not drawn, as a figure has at most {most} curves: {', '.join(absent)}.")
    return Drawing(figure, " ".join(parts))


def chosen_names(panels: Sequence[Panel], anchor: str, most: int | None) -> list[str]:
    """Return the names of at most so many curves, in the order of the legend.

    They are own ones (the plain variant, the strongest of those with the fewest options, the
    strongest), the anchor, published ones, which were asked for, and then the best of each family:
    standard and learned codecs before further ones. Strength is the BD-rate against `anchor`, a
    label, in the first panel.
    """
    curves = {curve.name: curve for panel in panels for curve in panel.curves}
    if most is None or len(curves) <= most:
        return _names(panels)
    reference = next((one for one in panels[0].curves if one.system.label == anchor), None)
    ranked = sorted(curves.values(), key=lambda one: _strength(one, panels[0], reference))
    wanted = [*_own(ranked), *[one for one in ranked if one.system.label == anchor]]
    wanted += [one for one in ranked if not one.measured]
    others = [one for one in ranked if family(one.system.label) != family(anchor)]
    for sort in ("standard", "learned"):
        wanted += [one for one in others if kind(one.system) == sort][:1]
    families = {family(one.system.label): one for one in reversed(ranked)}
    known = {family(one.system.label) for one in wanted}
    wanted += [one for one in ranked if one is families[family(one.system.label)]
               and family(one.system.label) not in known]  # fmt: skip
    kept = list(dict.fromkeys(one.name for one in [*wanted, *ranked]))[:most]
    return [name for name in _names(panels) if name in kept]


def _own(ranked: Sequence[SystemCurve]) -> list[SystemCurve]:
    own = [curve for curve in ranked if kind(curve.system) == "own"]
    plain = sorted(own, key=lambda one: plainness(one.system.label))
    simple = sorted(own, key=lambda one: option_count(one.system.label))
    first = {family(one.system.label): one for one in reversed(plain)}  # codecs of the user, too
    return list(dict.fromkeys([*plain[:1], *first.values(), *simple[:1], *own[:1]]))[:MOST_OWN]


def _strength(curve: SystemCurve, panel: Panel, reference: SystemCurve | None) -> float:
    """Return the BD-rate of a curve in a panel; infinite where there is none."""
    here = next((one for one in panel.curves if one.name == curve.name), None)
    if here is None or reference is None:
        return math.inf
    delta = bd_rate(reference.rates(panel.measure), here.rates(panel.measure))
    return delta.value if isinstance(delta, Delta) else math.inf


def _names(panels: Sequence[Panel]) -> list[str]:
    """Return the names of all curves, measured ones first."""
    measured = [curve.name for panel in panels for curve in panel.measured]
    published = [curve.name for panel in panels for curve in panel.published]
    return list(dict.fromkeys(measured + published))


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
    shown = [*panel.published, *(inside or panel.measured)]
    lines = [_draw(axes, curve, panel.measure, styles[curve.system.label]) for curve in shown]
    framing = [curve for curve in shown if curve.system.name != outlier] or shown
    _frame(axes, panel.measure, shown, framing, linear_rate)
    return list(zip(shown, lines, strict=True))


def _draw(axes: "Axes", curve: SystemCurve, measure: Measure, style: Style) -> "Line2D":
    own = kind(curve.system) == "own"
    properties = line(style, published=not curve.measured, sampled=curve.sampled, own=own)
    every = math.ceil(len(curve.points) / MOST_MARKERS) if not curve.measured else 1
    order = 2 + 0.1 * curve.measured + 0.2 * own
    bpp, values = curve.drawn(measure)
    label = curve.name + CAVEAT * bool(curve.caveats)
    (handle,) = axes.plot(bpp, values, label=label, markevery=every, zorder=order, **properties)
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
            axes.errorbar(
                bpp, values, spans, rates, fmt="none", ecolor=style.colour, capsize=1.2,
                elinewidth=BAR_POINTS, capthick=BAR_POINTS, zorder=1.8,
            )  # fmt: skip
    return handle


def _frame(
    axes: "Axes",
    measure: Measure,
    shown: Sequence[SystemCurve],
    framing: Sequence[SystemCurve],
    linear_rate: bool,
) -> None:
    """Set limits from the points inside the crop, ticks, and the words on the axes."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    every = [point.bpp for curve in shown for point in curve.points]
    rates = [bpp for bpp in every if bpp <= CROP_BPP] or every
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
    axes.set_ylabel(axis_words(measure, few_images(shown)))
    sns.despine(ax=axes)


def _images(panels: Sequence[Panel]) -> str:
    """Return the numbers of images that the means are over: of measured curves, if any."""
    curves = [curve for panel in panels for curve in panel.measured]
    curves = curves or [curve for panel in panels for curve in panel.curves]
    counts = {point.images for curve in curves for point in curve.points if point.images}
    return " or ".join(map(str, sorted(counts)))


def _caption(summary: Summary, panels: Sequence[Panel], dataset: str) -> list[str]:
    def named(labels: set[str]) -> str:
        return ", ".join(label for label in summary.labels if label in labels)

    average = "mean of each image's bpp" if summary.average == "per_image" else "pooled bpp"
    measures = [panel.measure for panel in panels]
    ids = [summary.protocols[name] for name in ("coding", *(m.column for m in measures))]
    parts = [f"{dataset}: means over {_images(panels)} images ({average}; "
             f"protocols {', '.join(ids)})."]  # fmt: skip
    if summary.dropped:
        parts.append(f"Restricted to the images that all points have; left out: {summary.dropped}.")
    parts += scale_sentences(measures)
    curves = [curve for panel in panels for curve in panel.measured]
    beyond = {c.system.label for c in curves if any(p.bpp > CROP_BPP for p in c.points)}
    if beyond:
        parts.append(f"Points of {named(beyond)} beyond {CROP_BPP:g} bpp are not shown.")
    refused = {one.label for panel in panels for one in panel.excluded}
    if refused:
        parts.append(f"Points of {named(refused)} that are not comparable are left out.")
    recorded = {curve.system.label for curve in curves if curve.recorded}
    if recorded:
        parts.append(f"Recorded elsewhere, not coded here: {named(recorded)}.")
    parts += mixed_sentences(summary)
    of_sets = [measure for measure in measures if measure.of_sets]
    if of_sets:
        labels = ", ".join(measure.label for measure in of_sets)
        parts.append(f"{labels}: one value of the whole set, no mean.")
    bars = ", ".join(measure.label for measure in of_sets if measure.by_image)
    if bars:
        parts.append(f"Bars are 95 % intervals of {bars} over images (infinitesimal jackknife).")
    parts += few_sentences(panel.measure for panel in panels if few_images(panel.measured))
    found = caveats(curves)
    return parts + [f"{by_name(found)}."] * bool(found)


def _bare(panels: Sequence[Panel], dataset: str) -> list[str]:
    """Return the sentences on a figure in which nothing is measured."""
    ids = [protocol for panel in panels for protocol in panel.names_by_protocol]
    lower = any(panel.measure.better == "lower" for panel in panels)
    means = f"{dataset}: means over {_images(panels)} images (protocols {', '.join(ids)})."
    return [means] + [LOWER] * lower
