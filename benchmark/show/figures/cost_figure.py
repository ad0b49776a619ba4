"""Figures of quality against cost: BD-rates over seconds or multiply-accumulates."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from benchmark.answer import Column
from benchmark.compare.bd import Comparisons, Record
from benchmark.compare.cost import AT_BPP, kmac, megapixel_seconds
from benchmark.compare.curve import Curve, Panel
from benchmark.compare.rule import Rule
from benchmark.rows.edition import label_of
from benchmark.rows.summary import Summary
from benchmark.show import sections
from benchmark.show.bd_rates import doubt_mark, doubt_notes, number_text
from benchmark.show.figures import texts
from benchmark.show.figures.rate_curve import line_properties
from benchmark.show.figures.style import (
    BAR_POINTS,
    MARKER_POINTS,
    MAX_CURVES,
    TEXT_POINTS,
    Style,
    figure_style,
)
from benchmark.show.table import Table, records
from benchmark.spec import CodecSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = {  # label of the axis and text in the caption, by name of the cost
    "seconds": (
        "Coding time (s/MP)",
        f"seconds to encode and decode a megapixel at {AT_BPP:g} bpp",
    ),
    "kmac": ("Work (kMAC/pixel)", "multiply-accumulates to encode and decode a pixel"),
}
PANEL_INCHES = 1.9
NAME_OFFSETS = (0, 8, -8, 16, -16)  # points by which a name may be above its marker
POWERS_OF_TEN_RATIO = 100  # above this ratio of costs, only powers of ten have ticks
TYPICAL_NOTE = "Open markers: typical seconds on one core, not measured here."


class CostPoint(NamedTuple):
    """A codec's BD-rate and its cost."""

    curve: Curve
    cost: str  # a key of `COSTS`
    value: float
    comparison: Record  # with the anchor's curve
    measured: bool  # False: typical, as declared by the codec


def cost_points(
    panel: Panel, comparisons: Comparisons, summary: Summary, costs: Iterable[str]
) -> list[CostPoint]:
    """Return the known costs of the measured curves that have a BD-rate."""
    points = []
    for curve, cost in product(panel, costs):
        comparison = comparisons.get((curve.edition, curve.metric.column))
        if curve.measured and comparison and comparison["bd_rate_percent"] is not None:
            codec_points = summary.edition_points(curve.edition)
            seconds = megapixel_seconds(codec_points) if cost == "seconds" else None
            value = (
                seconds.value
                if seconds
                else kmac(codec_points)
                if cost == "kmac" and codec_points
                else None
            )
            if value:
                measured = seconds is None or seconds.timed
                points.append(CostPoint(curve, cost, value, comparison, measured))
    return points


COLUMNS = (
    Column("system", "curve.name", key="system"),
    Column("", lambda point: label_of(point.curve.spec), key="label"),
    Column("cost", lambda point: COSTS[point.cost][0]),
    Column("", "cost", key="cost"),
    Column("value", "value", ".3g", "value"),
    Column("from", lambda point: point.curve.edition.origin if point.measured else "typical", str),
    Column("BD-rate (%)", lambda point: number_text(point.comparison, form="+z.1f"), str),
    Column("", "comparison.bd_rate_percent", key="bd_rate"),
    Column("", "measured", key="measured"),
)


def draw_costs(
    points: Sequence[CostPoint],
    styles: Mapping[CodecSpec, Style],
    dataset: str,
    metric: str,
    anchor: str,
    rule: Rule,
) -> texts.DrawnFigure | None:
    """Draw one panel per kind of cost, with a logarithmic axis; None: no points.

    Up to MAX_CURVES codecs are named next to their points; if there are more, in a legend.
    """
    from matplotlib.ticker import LogLocator

    points_by_cost = {cost: [point for point in points if point.cost == cost] for cost in COSTS}
    costs_present = [cost for cost in COSTS if points_by_cost[cost]]
    # Panels whose codecs all have the same cost are left out, if others remain.
    drawn_costs = [
        cost for cost in costs_present if len({point.value for point in points_by_cost[cost]}) > 1
    ] or costs_present
    if not drawn_costs:
        return None
    handles = {}
    with figure_style():
        figure, all_axes, width = texts.panel_figure(len(drawn_costs), PANEL_INCHES, sharey=True)
        for axes, cost in zip(all_axes, drawn_costs, strict=True):
            for point in points_by_cost[cost]:
                curve, name = point.curve, _name(point)
                is_highlighted = curve.edition.facts.kind == "own"
                properties = line_properties(
                    styles[curve.spec], published=not point.measured, heavy=is_highlighted
                )
                properties |= {"linestyle": "", "label": name, "zorder": 3}
                (handles[name],) = axes.plot(
                    point.value, point.comparison["bd_rate_percent"], **properties
                )
            axes.axhline(0, color="black", linewidth=BAR_POINTS)
            axes.set_xscale("log")
            values = [point.value for point in points_by_cost[cost]]
            low, high = min(values), max(values)
            axes.set_xlim(low / 1.5, high * 2)
            texts.set_plain_ticks(axes.xaxis, wide=high > 3 * low)
            if high > POWERS_OF_TEN_RATIO * low:
                axes.xaxis.set_major_locator(LogLocator(numticks=6))
            axes.margins(y=0.1)
            axes.set_xlabel(COSTS[cost][0])
            axes.spines[["top", "right"]].set_visible(False)
        all_axes[0].set_ylabel(f"BD-rate (%)\n{metric}")
        texts.title(all_axes[0], f"{dataset}, against {anchor}", 0.9 * width)
        has_typical = any(not point.measured for point in points)
        curve_notes = sections.curves_note([point.curve for point in points])
        doubt_sentences = doubt_notes((point.comparison["doubtful"] for point in points), rule)
        note = " ".join(
            filter(None, [TYPICAL_NOTE if has_typical else "", *doubt_sentences, curve_notes])
        )
        needs_legend = len(handles) > MAX_CURVES
        texts.add_legend(figure, [*handles.values()] if needs_legend else [], note)
        for axes, cost in zip(all_axes, drawn_costs, strict=True):
            if not needs_legend:
                _write_names(axes, points_by_cost[cost])  # after the layout is final
    caption = sections.make_caption(
        f"BD-rate in {metric} against {anchor} on {dataset}, over "
        f"{' and '.join(COSTS[cost][1] for cost in drawn_costs)}; better is down and to the left.",
        note,
    )
    return texts.DrawnFigure(
        figure, caption, records(COLUMNS, points), Table.create(COLUMNS, points)
    )


def _name(point: CostPoint) -> str:
    name = sections.mark_name(point.curve.name, point.curve.edition.run_facts.caveats)
    return f"{name}{doubt_mark(point.comparison)}"


def _write_names(axes: "Axes", points: Sequence[CostPoint]) -> None:
    from matplotlib.transforms import Bbox

    pixels_per_point = axes.figure.dpi / 72
    coordinates = [(point.value, point.comparison["bd_rate_percent"]) for point in points]
    positions = [axes.transData.transform(coordinate) for coordinate in coordinates]
    boxes = [
        Bbox([position, position]).padded(0.7 * MARKER_POINTS * pixels_per_point)
        for position in positions
    ]
    boxes.append(axes.lines[-1].get_window_extent())  # the anchor's line
    # Begin at the right, where names fit only to the left of points
    for point, coordinate in sorted(
        zip(points, coordinates, strict=True), key=lambda pair: -pair[0].value
    ):
        for offset, direction in product(NAME_OFFSETS, (1, -1)):
            text = axes.annotate(
                _name(point), coordinate, (6 * direction, offset), va="center_baseline",
                ha="left" if direction > 0 else "right", fontsize=TEXT_POINTS,
                textcoords="offset points",
            )  # fmt: skip
            box = text.get_window_extent()
            is_inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            is_inside &= axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
            if is_inside and not any(box.overlaps(other_box) for other_box in boxes):
                break
            if (offset, direction) != (NAME_OFFSETS[-1], -1):
                text.remove()
        boxes.append(box)
