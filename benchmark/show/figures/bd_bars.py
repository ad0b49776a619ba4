"""BD-rates as bars: a panel per metric, a bar per codec, with intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING

from benchmark.answer import NOTHING
from benchmark.compare.bd import Comparisons, Record, compare_curves
from benchmark.compare.curve import Curve, Panel, variant_curve
from benchmark.compare.rule import Rule
from benchmark.rows.edition import label_of
from benchmark.show import sections
from benchmark.show.bd_rates import doubt_mark, doubt_notes
from benchmark.show.figures import texts
from benchmark.show.figures.choice import Choice, sources_table
from benchmark.show.figures.style import BAR_POINTS, TEXT_POINTS, WIDTHS, Style, figure_style, look
from benchmark.spec import CodecSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Bar = tuple[Curve, Record]
ROW_INCHES, EDGE_INCHES = 0.17, 0.55  # heights: a line of a name; title and axis
NAME_SHARE = 0.42  # maximum share of a column's width; longer names are wrapped
NUMBER_MARGIN = 0.3  # space next to the bars for their numbers, as a share of the values' span


def draw_bd_bars(
    panels: Sequence[Panel],
    choice: Choice,
    comparisons: Comparisons,
    styles: Mapping[CodecSpec, Style],
    dataset: str,
    anchor: CodecSpec | None,
) -> texts.DrawnFigure | None:
    """Draw BD-rates as bars, best first; published ones are open. None: there is no BD-rate."""
    panels, num_left_out, rule = choice.select(panels), len(choice.left_out), choice.rule
    absences = choice.missing_sentences(panels)
    panel_bars = [[*_bars(panel, comparisons, anchor, rule)] for panel in panels]
    panels = [panel for panel, bars in zip(panels, panel_bars, strict=True) if bars]
    panel_bars = [bars for bars in panel_bars if bars]
    records = [record for bars in panel_bars for _, record in bars]
    if all(record["bd_rate_percent"] is None for record in records):
        return None
    curves_by_name = {curve.name: curve for bars in reversed(panel_bars) for curve, _ in bars}
    first_rates = {curve.name: record["bd_rate_percent"] for curve, record in panel_bars[0]}

    def sort_key(name: str) -> tuple[float, float]:
        rate = first_rates.get(name)
        return look().place(curves_by_name[name].edition), math.inf if rate is None else rate

    names = sorted(curves_by_name, key=sort_key)
    width = texts.figure_width(len(panels))
    is_narrow = width == WIDTHS["column"] or len(panels) == 1
    labels = {
        name: texts.wrap_text(
            sections.mark_name(name, curves_by_name[name].edition.run_facts.caveats),
            NAME_SHARE * WIDTHS["column"],
        )
        for name in names
    }
    # Panels side by side have one list of names; panels below each other have their own lists.
    bars_by_name = [{curve.name: (curve, record) for curve, record in bars} for bars in panel_bars]
    rows = [[name for name in names if name in bars or not is_narrow] for bars in bars_by_name]
    heights = [
        EDGE_INCHES + ROW_INCHES * sum(labels[name].count("\n") + 1 for name in row) for row in rows
    ]
    curves = [*chain(*panels)]
    doubt_sentences = doubt_notes((record["doubtful"] for record in records), rule)
    curve_notes = sections.other_rules_note(curves), sections.curves_note(curves)
    note = " ".join(filter(None, [*doubt_sentences, *curve_notes]))
    has_intervals = any(record["bd_rate_low_percent"] is not None for record in records)
    intervals_note = "Lines are 95 % intervals over images." if has_intervals else ""
    anchor_name = next((curve.name for curve in curves if curve.spec == anchor), "")
    with figure_style():
        layout = {"gridspec_kw": {"height_ratios": heights}} if is_narrow else {"sharey": True}
        figure, axes_row, _ = texts.panel_figure(len(panels), fmean(heights), **layout)
        for axes, panel, bars, row in zip(axes_row, panels, bars_by_name, rows, strict=True):
            _draw_bars(axes, [bars.get(name) for name in row], styles)
            axes.set_yticks(range(len(row)), [labels[name] for name in row])
            axes.set_xlabel(f"BD-rate against {anchor_name} (%)")
            texts.title(axes, sections.metric_names([panel[0].metric]), width)
        texts.add_legend(figure, [], " ".join(filter(None, [intervals_note, note])))
    metrics = sections.metric_names([panel[0].metric for panel in panels]) + rule.words
    caption = sections.make_caption(
        f"BD-rates against {anchor_name} on {dataset} in {metrics}; negative values mean fewer "
        "bits.",
        *absences,
        intervals_note,
        note,
        f"{len(names)} of {len(names) + num_left_out} codecs." if num_left_out else None,
    )
    table = texts.rate_table(panels, anchor, rule)
    return texts.DrawnFigure(figure, caption, records, table, sources_table(curves))


def _bars(
    panel: Panel, comparisons: Comparisons, anchor: CodecSpec | None, rule: Rule
) -> Iterator[Bar]:
    metric, anchor_curve = panel[0].metric, variant_curve(panel, anchor)
    for curve in sorted(panel, key=lambda curve: not curve.measured):
        if (curve.edition, metric.column) in comparisons:
            yield curve, comparisons[curve.edition, metric.column]
        elif anchor_curve is not None and curve is not anchor_curve:
            name = label_of(curve.spec) if curve.measured else curve.name
            names = {"codec": name, "anchor": label_of(anchor_curve.spec)}
            yield curve, compare_curves(anchor_curve.rates, curve.rates, metric, rule) | names


def _outer_end(comparison: Record) -> float:
    value: float = comparison["bd_rate_percent"]
    low, high = comparison["bd_rate_low_percent"], comparison["bd_rate_high_percent"]
    ends = [value] if low is None else [low, value, high]
    return min(ends) if value < 0 else max(ends)


def _draw_bars(axes: "Axes", bars: Sequence[Bar | None], styles: Mapping[CodecSpec, Style]) -> None:
    bar_ends = [0.0]
    for row, bar in enumerate(bars):
        if bar is None:
            continue
        curve, comparison = bar
        value, low = comparison["bd_rate_percent"], comparison["bd_rate_low_percent"]
        if value is None:
            axes.annotate(NOTHING, (0, row), (2, 0), textcoords="offset points", va="center")
            continue
        colour = styles[curve.spec].colour
        fill = colour if curve.measured else "white"
        axes.barh(row, value, 0.62, color=fill, edgecolor=colour, linewidth=BAR_POINTS)
        if low is not None:
            interval = low, comparison["bd_rate_high_percent"]
            axes.plot(interval, [row, row], color="black", linewidth=BAR_POINTS, zorder=3)
        saves_bits = value < 0
        axes.annotate(
            f"{value:+z.1f}{doubt_mark(comparison)}".replace("-", "−"),
            (_outer_end(comparison), row), (-2 if saves_bits else 2, 0),
            textcoords="offset points", ha="right" if saves_bits else "left", va="center",
            fontsize=TEXT_POINTS,
        )  # fmt: skip
        bar_ends.append(_outer_end(comparison))
    lowest, highest = min(bar_ends), max(bar_ends)
    margin = NUMBER_MARGIN * ((highest - lowest) or 1.0)
    right = highest + margin * (highest > 0 or lowest == 0)
    axes.set_xlim(lowest - margin * (lowest < 0), right)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=BAR_POINTS)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines[["top", "right", "left"]].set_visible(False)
