"""BD-rates of checkpoints over steps: a panel for each metric, a line for each reference."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from benchmark.answer import NOTHING, Column
from benchmark.compare.check.check import Finding
from benchmark.compare.history import Change, History, Judged
from benchmark.metrics.metric import Metric
from benchmark.show import sections
from benchmark.show.bd_tables import PERCENT, delta_text, doubt_notes, ends_text, short_name
from benchmark.show.check_table import ERRORS
from benchmark.show.figures import texts
from benchmark.show.figures.style import (
    BAR_POINTS,
    MARKER_POINTS,
    SPARE_COLOURS,
    SPARE_MARKERS,
    figure_style,
)
from benchmark.show.table import Table, records
from benchmark.system.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

DASHES = ("-", "--", ":", "-.")  # of variants
BEFORE = "worse than the best before"
WORSE = f"{BEFORE} it"
RECORDED = (
    Column("", "state.step", key="step"),
    Column("", "state.name", key="state"),
    Column("", "variant", key="codec"),
    Column("", "metric.column", key="metric"),
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

    metrics, references, variants = (
        list(dict.fromkeys(getattr(change, name) for change in history.changes))
        for name in ("metric", "against", "variant")
    )
    handles: dict[str, Line2D] = {}
    with figure_style():
        figure, every_axes, width = texts.panel_figure(len(metrics))
        for axes, metric in zip(every_axes, metrics, strict=True):
            axes.axhline(0, color="black", linewidth=BAR_POINTS)
            for variant, against in product(variants, references):
                kind, place = (variant, metric, against), references.index(against)
                mine = [c for c in history.changes if (c.variant, c.metric, c.against) == kind]
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
            axes.set(xlabel="Step", ylabel="BD-rate (%)")
            texts.title(axes, sections.metric_names([metric]), width / len(metrics))
            sns.despine(ax=axes)
        marks = [*handles.values()]
        if history.worse:
            marks.append(Line2D([], [], linestyle="", marker="x", color="red", label=WORSE))
        texts.add_legend(figure, marks)
    caption = sections.brief(
        f"BD-rates of {counted(len(history.states), 'state')} of {codec} on {dataset} "
        f"({counted(history.images, 'image')}), by {sections.metric_names(metrics)}; negative "
        "saves bits.",
        f"Bands are {PERCENT} intervals over images.",
    )
    rows = records(RECORDED, history.changes)
    return texts.Drawing(figure, caption, rows, history_table(history))


def _draw(
    axes: "Axes", changes: Sequence[Change], worse: Sequence[Judged], **looks: str
) -> "Line2D":
    known = [
        (c.state.step, c.rate.value, *(c.interval or (c.rate.value,) * 2))
        for c in changes if c.rate.value is not None
    ]  # fmt: skip
    marked = {(j.state.name, j.finding.label, Metric.named(j.finding.metric)) for j in worse}
    steps, values, low, high = zip(*known, strict=True) if known else ((),) * 4
    (handle,) = axes.plot(steps, values, markersize=MARKER_POINTS, **looks)  # type: ignore[arg-type]
    axes.fill_between(steps, low, high, color=looks["color"], alpha=0.2, linewidth=0)
    for change in changes:
        if (change.state.name, change.variant, change.metric) in marked:
            at, where = getattr(change.rate, "value", None), axes.transData
            if at is None:  # its curve has no BD-rate: at the upper edge
                at, where = 0.97, axes.get_xaxis_transform()
            axes.plot([change.state.step], [at], "x", transform=where, color="red", markersize=9)
    return handle


def history_table(history: History) -> Table:
    """Return a row for each state and variant: BD-rates with intervals, and what is worse."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for change in history.changes:
        key = change.state.name, change.variant
        row = rows.setdefault(key, {"state": key[0], "codec": key[1], BEFORE: ""})
        ends = f"{delta_text(change.rate, '+z.1f')} {ends_text(change.interval)}".rstrip()
        row[f"{short_name(change.metric)} against {change.against}"] = ends
    for of in history.worse:
        row = rows[of.state.name, of.finding.label]
        row[BEFORE] = ", ".join(filter(None, (row[BEFORE], _amount(of.finding))))
    headers = dict.fromkeys(name for row in rows.values() for name in row)
    if len({variant for _, variant in rows}) == 1:
        del headers["codec"]
    cells = tuple(tuple(row.get(name, NOTHING) for name in headers) for row in rows.values())
    notes = [f"BD-rate (%); negative saves bits. In brackets {PERCENT} intervals over images."]
    notes += doubt_notes(of.rate for of in history.changes)
    return Table((*headers,), cells, [*headers].index(BEFORE) + 1, tuple(notes))


def _amount(of: Finding, ends: bool = False) -> str:
    """Return by how much a metric is worse: "PSNR +1.8 %", with `ends` and its interval."""
    name = of.metric_label.partition(" (")[0]
    if not of.change_percent:
        return f"{name} ({of.why})" if ends else name
    scale, form, unit = 1.0, ".1f", "%"
    if of.kind == "BD-metric" and of.change is not None and "(dB)" in of.metric_label:
        scale, form, unit = of.change / of.change_percent, ".2f", "dB at equal rate"
    both = [v * scale for v in (of.lower_percent, of.upper_percent) if v is not None]
    between = f" [{', '.join(f'{end:{form}}' for end in sorted(both))}]" if len(both) == 2 else ""
    why = f" ({of.why})" if of.why else ""
    return f"{name} {scale * of.change_percent:+z{form}} {unit}{(between + why) if ends else ''}"


def headline(history: History) -> str:
    """Return one line: the first state that is worse than the best before it, or that none is."""
    if not history.worse:
        without = [of.finding for of in history.judged if of.finding.verdict in ERRORS]
        lacking = f"{len(without)} of {counted(len(history.judged), 'comparison')} without verdict"
        text = f"{counted(len(history.states), 'state')}, {counted(history.images, 'image')}"
        known, more = ("known to be ", f"; {lacking}: {without[0].why}") if without else ("", "")
        return f"no state is {known}worse than one before: {text}{more}"
    state, best, finding = history.worse[0]
    named = f"{finding.label}, " if len({of.variant for of in history.changes}) > 1 else ""
    image = f", image {finding.worst[0].image}" if finding.worst else ""
    return f"regressed at {state.name}: {named}{_amount(finding, True)}{image}, beside {best.name}"
