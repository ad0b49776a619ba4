"""Changes of checkpoints over steps: a panel for each metric, a line for each codec variant."""

import math

from benchmark.check.history import COLUMNS, History, records_of
from benchmark.metrics.metric import Metric
from benchmark.show import sections
from benchmark.show.figures import texts
from benchmark.show.figures.style import (
    BAR_POINTS,
    MARKER_POINTS,
    SPARE_COLOURS,
    SPARE_MARKERS,
    figure_style,
)
from benchmark.show.table import Table
from benchmark.system.text import counted

EDGE = 0.97  # of the axes: where a state has its cross that has no change


def draw_history(history: History, codec: str, dataset: str) -> texts.Drawing:
    """Draw the changes of states beside the first; a cross is on those that are worse."""
    import seaborn as sns
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    names = [*dict.fromkeys(of.finding.metric for of in history.of_first)]
    variants = [*dict.fromkeys(of.finding.label for of in history.of_first)]
    crosses = {(of.state.name, of.finding.label, of.finding.metric) for of in history.worse}
    handles: dict[str, Line2D] = {}
    with figure_style():
        figure, every_axes, width = texts.panel_figure(len(names))
        for axes, name in zip(every_axes, names, strict=True):
            axes.axhline(0, color="black", linewidth=BAR_POINTS)
            for place, variant in enumerate(variants):
                own = [
                    of for of in history.of_first
                    if (of.finding.label, of.finding.metric) == (variant, name)
                ]  # fmt: skip
                # The change of a state out of reach is not in the units of the others.
                bare = [of.finding.change_percent is None or of.finding.out_of_reach for of in own]
                known = [of for of, without in zip(own, bare, strict=True) if not without]
                steps = [of.state.number for of in known]
                values = [of.finding.change_percent or 0.0 for of in known]
                looks = (
                    SPARE_COLOURS[place % len(SPARE_COLOURS)],
                    SPARE_MARKERS[place % len(SPARE_MARKERS)],
                )
                (handles[variant],) = axes.plot(
                    [own[0].other.number, *steps], [0, *values], color=looks[0], marker=looks[1],
                    markersize=MARKER_POINTS, label=variant,
                )  # fmt: skip
                low, high = (
                    [getattr(of.finding, end) or math.nan for of in known]
                    for end in ("lower_percent", "upper_percent")
                )
                axes.fill_between(steps, low, high, color=looks[0], alpha=0.2, linewidth=0)
                for of, without in zip(own, bare, strict=True):
                    if (of.state.name, variant, name) in crosses:
                        where = axes.get_xaxis_transform() if without else axes.transData
                        at = EDGE if without else of.finding.change_percent or 0.0
                        x = of.state.number
                        axes.plot(x, at, "x", transform=where, color="red", markersize=9)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.margins(x=0.06, y=0.1)
            axes.set(xlabel="Step", ylabel="Change (%)")
            texts.title(axes, sections.metric_names([Metric.named(name)]), width / len(names))
            sns.despine(ax=axes)
        marks = [*handles.values()]
        if crosses:
            label = "worse than the best before it"
            marks.append(Line2D([], [], linestyle="", marker="x", color="red", label=label))
        texts.add_legend(figure, marks)
    caption = sections.brief(
        f"Changes of {counted(len(history.states), 'state')} of {codec} on {dataset} "
        f"({counted(history.images, 'image')}) beside the first, by "
        f"{sections.metric_names(map(Metric.named, names))}: bits at equal quality where it is in "
        "dB, else the value at equal rate; positive is worse.",
        "Bands: bounds of 95 % confidence.",
    )
    records = records_of(history)
    return texts.Drawing(figure, caption, records, Table.of(COLUMNS, records).filled())
