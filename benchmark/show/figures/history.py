"""BD-rates of checkpoints over steps: a panel for each metric, a line for each reference."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

from benchmark.compare.curves import Delta
from benchmark.compare.history import Change, History, Judged
from benchmark.metrics.measure import Measure
from benchmark.show import sections
from benchmark.show.bd_tables import DOUBTFUL_NOTE, PERCENT, delta_text, ends_text, short_name
from benchmark.show.figures import texts
from benchmark.show.figures.style import (
    BAR_POINTS,
    MARKER_POINTS,
    SPARE_COLOURS,
    SPARE_MARKERS,
    figure_style,
)
from benchmark.show.table import Column, Table, records
from benchmark.system.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

DASHES = ("-", "--", ":", "-.")  # of variants
WORSE = "worse than the best before it"
RECORDED = (
    Column("", "state.step", key="step"),
    Column("", "state.name", key="state"),
    Column("", "variant", key="codec"),
    Column("", "measure.column", key="metric"),
    Column("", "against", key="against"),
    Column("", "rate.value", key="bd_rate_percent"),
    Column("", "interval.low", key="bd_rate_low_percent"),
    Column("", "interval.high", key="bd_rate_high_percent"),
    Column("", "rate.reason", key="why_none"),
)


def draw_history(history: History, codec: str, dataset: str) -> texts.Drawing:
    """Draw the BD-rates of states, with intervals; a cross is on those that are worse."""
    import seaborn as sns
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    measures = list(dict.fromkeys(change.measure for change in history.changes))
    references = list(dict.fromkeys(change.against for change in history.changes))
    variants = list(dict.fromkeys(change.variant for change in history.changes))
    handles: dict[str, Line2D] = {}
    with figure_style():
        figure, every_axes, width = texts.panel_figure(len(measures))
        for axes, measure in zip(every_axes, measures, strict=True):
            axes.axhline(0, color="black", linewidth=BAR_POINTS)
            for variant, against in product(variants, references):
                kind, place = (variant, measure, against), references.index(against)
                mine = [c for c in history.changes if (c.variant, c.measure, c.against) == kind]
                name = f"against {against}" + (f", {variant}" if len(variants) > 1 else "")
                handles[name] = _draw(
                    axes, mine, history.worse, label=name,
                    linestyle=DASHES[variants.index(variant) % len(DASHES)],
                    color=SPARE_COLOURS[place % len(SPARE_COLOURS)],
                    marker=SPARE_MARKERS[place % len(SPARE_MARKERS)],
                )  # fmt: skip
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axes.margins(x=0.06, y=0.1)
            axes.set_xlabel("Step")
            axes.set_ylabel("BD-rate (%)")
            texts.title(axes, sections.metric_names([measure]), width / len(measures))
            sns.despine(ax=axes)
        marks = [*handles.values()]
        if history.worse:
            marks.append(Line2D([], [], linestyle="", marker="x", color="red", label=WORSE))
        texts.add_legend(figure, marks)
    caption = sections.brief(
        f"BD-rates of {counted(len(history.states), 'state')} of {codec} on {dataset} "
        f"({counted(history.images, 'image')}), by {sections.metric_names(measures)}; negative "
        "saves bits.",
        f"Bands are {PERCENT} intervals over images.",
    )
    rows = records(RECORDED, history.changes)
    return texts.Drawing(figure, caption, rows, history_table(history), history.notes)


def _draw(
    axes: "Axes", changes: Sequence[Change], worse: Sequence[Judged], **looks: str
) -> "Line2D":
    """Draw a line of one metric; return its handle."""
    known = [
        (c.state.step, c.rate.value, *(c.interval or (c.rate.value,) * 2))
        for c in changes if isinstance(c.rate, Delta)
    ]  # fmt: skip
    marked = {(j.state.name, j.finding.label, Measure.named(j.finding.metric)) for j in worse}
    steps, values, low, high = zip(*known, strict=True) if known else ((),) * 4
    (handle,) = axes.plot(steps, values, markersize=MARKER_POINTS, **looks)  # type: ignore[arg-type]
    axes.fill_between(steps, low, high, color=looks["color"], alpha=0.2, linewidth=0)
    for change in changes:
        if (change.state.name, change.variant, change.measure) in marked:
            at, where = getattr(change.rate, "value", None), axes.transData
            if at is None:  # its curve has no BD-rate: at the upper edge
                at, where = 0.97, axes.get_xaxis_transform()
            axes.plot([change.state.step], [at], "x", transform=where, color="red", markersize=9)
    return handle


def history_table(history: History) -> Table:
    """Return a row for each state and variant: BD-rates with intervals, and what is worse."""
    cells = {(c.state.name, c.variant, c.measure, c.against): c for c in history.changes}
    kinds = dict.fromkeys((c.measure, c.against) for c in history.changes)
    rows = list(dict.fromkeys((c.state.name, c.variant) for c in history.changes))

    def rate(kind: tuple[Measure, str], row: tuple[str, str]) -> str | None:
        change = cells.get((*row, *kind))
        if change is None or not isinstance(change.rate, Delta):
            return None
        return f"{delta_text(change.rate, '+.1f')} {ends_text(change.interval)}".rstrip()

    def worse(row: tuple[str, str]) -> str:
        mine = [of for of in history.worse if (of.state.name, of.finding.label) == row]
        return ", ".join(_metric(of) for of in mine)

    several = len({variant for _, variant in rows}) > 1
    columns = [
        Column("state", "0"), *([Column("codec", "1")] if several else []),
        Column("worse than the best before", worse),
        *(Column(f"{short_name(of[0])} against {of[1]}", partial(rate, of), str) for of in kinds),
    ]  # fmt: skip
    notes = [f"BD-rate (%); negative saves bits. In brackets {PERCENT} intervals over images."]
    if any(isinstance(c.rate, Delta) and c.rate.doubtful for c in history.changes):
        notes.append(DOUBTFUL_NOTE)
    return Table.of(columns, rows, notes)


def _metric(of: Judged) -> str:
    change, name = of.finding.change_percent, of.finding.metric_label.partition(" (")[0]
    return name if change is None else f"{name} {change:+.1f} %"


def headline(history: History) -> str:
    """Return one line: the first state that is worse than the best before it, or that none is."""
    if not history.worse:
        without = [of.finding for of in history.judged if of.finding.verdict == "nothing measured"]
        lacking = f"{len(without)} of {len(history.judged)} comparisons have no numbers"
        text = f"{counted(len(history.states), 'state')}, {counted(history.images, 'image')}"
        more = f"; {lacking}: {without[0].why}" if without else ""
        return f"no state is worse than one before: {text}{more}"
    state, best, finding = history.worse[0]
    several = len({change.variant for change in history.changes}) > 1
    ends = (finding.lower_percent, finding.upper_percent)
    texts_of = [f"{end:.1f}" for end in ends if end is not None]
    numbers = f"[{', '.join(texts_of)}]" if len(texts_of) == len(ends) else f"({finding.why})"
    image = f", image {finding.worst[0].image}" if finding.worst else ""
    return (
        f"regressed at {state.name}: {f'{finding.label}, ' if several else ''}"
        f"{_metric(history.worse[0])} {numbers}{image}, beside {best.name}"
    )
