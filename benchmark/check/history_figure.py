"""Changes of checkpoints over steps: a panel for each metric, a line for each codec variant."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.check.history import COLUMNS
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


def draw_history(records: Sequence[Mapping[str, Any]], codec: str, dataset: str) -> texts.Drawing:
    """Draw the changes of states beside the first; a cross is on those that are worse."""
    import seaborn as sns
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    names = [*dict.fromkeys(of["metric"] for of in records)]
    variants = [*dict.fromkeys(of["codec"] for of in records)]
    handles: dict[str, Line2D] = {}
    with figure_style():
        figure, every_axes, width = texts.panel_figure(len(names))
        for axes, name in zip(every_axes, names, strict=True):
            axes.axhline(0, color="black", linewidth=BAR_POINTS)
            for place, variant in enumerate(variants):
                own = [of for of in records if (of["codec"], of["metric"]) == (variant, name)]
                known = [of for of in own if of["first_change_percent"] is not None]
                steps = [of["number"] for of in known]
                colour = SPARE_COLOURS[place % len(SPARE_COLOURS)]
                (handles[variant],) = axes.plot(
                    [own[0]["first_number"], *steps],
                    [0, *(of["first_change_percent"] for of in known)],
                    color=colour, marker=SPARE_MARKERS[place % len(SPARE_MARKERS)],
                    markersize=MARKER_POINTS, label=variant,
                )  # fmt: skip
                low, high = (
                    [of[f"first_change_percent_{end}"] or math.nan for of in known]
                    for end in ("low", "high")
                )
                axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
                for of in own:
                    if of["verdict"] == "regressed":
                        at = of["first_change_percent"]
                        where = axes.get_xaxis_transform() if at is None else axes.transData
                        y = EDGE if at is None else at
                        axes.plot(of["number"], y, "x", transform=where, color="red", markersize=9)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.margins(x=0.06, y=0.1)
            axes.set(xlabel="Step", ylabel="Change (%)")
            texts.title(axes, sections.metric_names([Metric.named(name)]), width / len(names))
            sns.despine(ax=axes)
        marks = [*handles.values()]
        if any(of["verdict"] == "regressed" for of in records):
            label = "worse than the best before it"
            marks.append(Line2D([], [], linestyle="", marker="x", color="red", label=label))
        texts.add_legend(figure, marks)
    states = len({of["state"] for of in records} | {of["first"] for of in records})
    images = max(of["images"] for of in records)
    caption = sections.brief(
        f"Changes of {counted(states, 'state')} of {codec} on {dataset} "
        f"({counted(images, 'image')}) beside the first, by "
        f"{sections.metric_names(map(Metric.named, names))}: bits at equal quality where it is in "
        "dB, else the value at equal rate; positive is worse.",
        "Bands: bounds of 95 % confidence.",
    )
    return texts.Drawing(figure, caption, [*records], Table.of(COLUMNS, records).filled())
