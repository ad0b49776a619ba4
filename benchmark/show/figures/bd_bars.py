"""BD-rates as bars: a panel for each metric, a bar for each codec, with intervals."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING

from benchmark.answer import NOTHING
from benchmark.compare.bd import Comparison, compared
from benchmark.compare.rule import Rule
from benchmark.compare.system_curve import Panel, SystemCurve, of_variant
from benchmark.rows.edition import label_of
from benchmark.show import sections
from benchmark.show.bd_rates import bd_records, delta_text, doubt_notes
from benchmark.show.figures import texts
from benchmark.show.figures.choice import Choice, sources_table
from benchmark.show.figures.style import BAR_POINTS, SMALL_POINTS, WIDTHS, Style, figure_style, look
from benchmark.spec import CodecSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Bar = tuple[SystemCurve, Comparison]
ROW_INCHES, EDGE_INCHES = 0.17, 0.55  # of a line of a name; of the title and the axis
NAME_SHARE = 0.42  # of a column; longer names are broken
ROOM = 0.3  # of the span of values, beside the bars, for their numbers


def draw_bd_bars(
    panels: Sequence[Panel],
    choice: Choice,
    comparisons: Sequence[Comparison],
    styles: Mapping[CodecSpec, Style],
    dataset: str,
    anchor: CodecSpec | None,
) -> texts.Drawing | None:
    """Draw bars of BD-rates against the anchor, the best codec first; None without any.

    Bars of published curves are open, and have no interval. choice: the curves of the panels to
    show, and the rule that comparisons were made by.
    """
    panels, absent, rule = choice.of(panels), len(choice.absent), choice.rule
    lacking = choice.lacking(panels)
    pairs = [[*_compared(panel, comparisons, anchor, rule)] for panel in panels]
    panels = [panel for panel, all_of in zip(panels, pairs, strict=True) if all_of]
    pairs = [all_of for all_of in pairs if all_of]
    bars = [{curve.name: (curve, of) for curve, of in all_of} for all_of in pairs]
    every = [of for all_of in pairs for _, of in all_of]
    known = {curve.name: curve for all_of in reversed(pairs) for curve, _ in all_of}
    if all(of.rate.value is None for of in every):
        return None
    first = {curve.name: of.rate.number for curve, of in pairs[0] if of.rate.value is not None}
    places = {name: look().place(curve.edition) for name, curve in known.items()}
    names = sorted(known, key=lambda name: (places[name], first.get(name, math.inf)))
    width = texts.figure_width(len(panels))
    narrow = width == WIDTHS["column"] or len(panels) == 1
    words = {
        name: texts.wrapped(
            sections.marked(name, known[name].edition.ran.caveats), NAME_SHARE * WIDTHS["column"]
        )
        for name in names
    }
    # Panels beside each other have one list of names, those below each other each its own.
    rows = [[name for name in names if name in of or not narrow] for of in bars]
    heights = [
        EDGE_INCHES + ROW_INCHES * sum(words[name].count("\n") + 1 for name in mine)
        for mine in rows
    ]
    curves = [*chain(*panels)]
    doubts = doubt_notes((of.rate for of in every), rule)
    note = " ".join(filter(None, [*doubts, sections.curves_note(curves)]))
    lines = "Lines are 95 % intervals over images." if any(o.rate_interval for o in every) else ""
    against = next((curve.name for curve in curves if curve.spec == anchor), "")
    with figure_style():
        below = {"gridspec_kw": {"height_ratios": heights}} if narrow else {"sharey": True}
        figure, every_axes, _ = texts.panel_figure(len(panels), fmean(heights), **below)
        for axes, panel, of, mine in zip(every_axes, panels, bars, rows, strict=True):
            _draw(axes, [of.get(name) for name in mine], styles)
            axes.set_yticks(range(len(mine)), [words[name] for name in mine])
            axes.set_xlabel(f"BD-rate against {against} (%)")
            texts.title(axes, sections.metric_names([panel[0].metric]), width)
        texts.add_legend(figure, [], " ".join(filter(None, [lines, note])))
    metrics = sections.metric_names([of[0].metric for of in panels]) + rule.words
    caption = sections.brief(
        f"BD-rates against {against} on {dataset} by {metrics}; negative saves bits.",
        *lacking,
        lines,
        note,
        f"{len(names)} of {len(names) + absent} codecs." if absent else None,
    )
    records = bd_records(every, rule)
    table = texts.rate_table(panels, anchor, rule)
    return texts.Drawing(figure, caption, records, table, sources_table(curves))


def _compared(
    panel: Panel, comparisons: Sequence[Comparison], anchor: CodecSpec | None, rule: Rule
) -> Iterator[Bar]:
    """Yield a panel's curves beside the anchor's; published ones are named as figures do."""
    metric, other = panel[0].metric, of_variant(panel, anchor)
    known = {c.edition: c for c in comparisons if c.column == metric.column}
    for curve in sorted(panel, key=lambda curve: not curve.measured):
        if curve.edition in known:
            yield curve, known[curve.edition]
        elif other is not None and curve is not other:
            comparison = compared(other.rates, curve.rates, metric, rule)
            name = label_of(curve.spec) if curve.measured else curve.name
            comparison = comparison._replace(label=name, anchor=label_of(other.spec))
            yield curve, comparison._replace(column=metric.column)


def _outer(of: Comparison) -> float:
    """Return the end of a bar or of its interval that is farther from zero."""
    value = of.rate.number
    low, high = of.rate_interval or (value, value)
    return min(low, value) if value < 0 else max(high, value)


def _draw(axes: "Axes", bars: Sequence[Bar | None], styles: Mapping[CodecSpec, Style]) -> None:
    """Draw bars from the top, with their numbers beside them."""
    ends = [0.0]
    for row, bar in enumerate(bars):
        if bar is None:
            continue
        curve, of = bar
        if of.rate.value is None:
            axes.annotate(NOTHING, (0, row), (2, 0), textcoords="offset points", va="center")
            continue
        colour = styles[curve.spec].colour
        fill = colour if curve.measured else "white"
        axes.barh(row, of.rate.value, 0.62, color=fill, edgecolor=colour, linewidth=BAR_POINTS)
        if of.rate_interval:
            axes.plot(of.rate_interval, [row, row], color="black", linewidth=BAR_POINTS, zorder=3)
        saves = of.rate.value < 0
        axes.annotate(
            delta_text(of.rate, "+z.1f").replace("-", "−"),
            (_outer(of), row), (-2 if saves else 2, 0),
            textcoords="offset points", ha="right" if saves else "left", va="center",
            fontsize=SMALL_POINTS,
        )  # fmt: skip
        ends.append(_outer(of))
    low, high = min(ends), max(ends)
    room = ROOM * ((high - low) or 1.0)
    axes.set_xlim(low - room * (low < 0), high + room * (high > 0 or low == 0))
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.axvline(0, color="black", linewidth=BAR_POINTS)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.spines[["top", "right", "left"]].set_visible(False)
