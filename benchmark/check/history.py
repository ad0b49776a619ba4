"""Checkpoints over time: each is checked beside the first, and beside the best one before it.

A state is worse where `bench check` would say that it has regressed against the best state before
it; all states, metrics and variants are one family for Holm's correction.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import PurePath
from typing import Any

from benchmark.answer import Answer, Column, with_interval
from benchmark.check.changes import Change, changes
from benchmark.check.limits import parse_margins
from benchmark.check.pairing import NotComparable, RowSet, VariantPair, pair_up, without_weights
from benchmark.check.text import VERDICTS
from benchmark.check.verdict import CONFIDENCE, Finding, judge
from benchmark.compare.rule import Rule
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.stored import specs_in
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

States = Sequence[tuple[int, RowSet]]  # numbers of checkpoints, and rows by the name of each
STEP = re.compile(r"(?:^|[-_])(\d+)(?:\.[A-Za-z]\w*)*$")  # "36000" of ours-36000.safetensors
NOTE = f"Positive is worse; each bound in brackets holds with {100 * CONFIDENCE:g} % confidence."
ENDS = {"": "change", "_low": "lower", "_high": "upper"}  # of names in records, and of findings
EDGE = 0.97  # of the axes: where a state has its cross that has no change


def _with_ends(name: str, record: Mapping[str, Any]) -> str | None:
    return with_interval(record, name, "+z.2f", " %")


COLUMNS = (
    Column("state"),
    Column("codec"),
    Column("metric"),
    Column("by"),
    Column("beside the first", partial(_with_ends, "first_change_percent"), str),
    Column("best before", "best"),
    Column("beside it", partial(_with_ends, "best_change_percent"), str),
    Column("images", form="d"),
    Column("verdict"),
)


def in_order(checkpoints: Sequence[str]) -> list[tuple[str, int, str]]:
    """Return name, number and text of checkpoints, by the numbers that their names end with.

    Where one has none, or two have the same, they stay as they are and are numbered from 1 on.

    >>> in_order(["r/ours-2000.safetensors", "r/ours-400.safetensors"])[0]
    ('ours-400', 400, 'r/ours-400.safetensors')
    >>> in_order(["b.pth", "a.pth"])
    [('b', 1, 'b.pth'), ('a', 2, 'a.pth')]
    """
    steps = [end and int(end[1]) for end in map(STEP.search, checkpoints)]
    numbers = [*range(1, len(steps) + 1)]
    if None not in steps and len({*steps}) == len(steps):
        numbers = [step or 0 for step in steps]
    names = [PurePath(text).name.partition(".")[0] for text in checkpoints]
    names = names if len({*names}) == len(names) else [*checkpoints]
    return sorted(zip(names, numbers, checkpoints, strict=True), key=lambda of: of[1])


def history_of(states: States, metrics: Sequence[str], rule: Rule, margin: str = "") -> Answer:
    """Return a record for each state after the first, variant and metric, in the order given.

    It has the changes beside the first, then those beside the best before it, in percent, and the
    verdict by these; a change is None where an image is out of reach. metrics: names in the
    registry. Raises `UsageError` for a margin that is none, and where no variant has two states.
    """
    margins, notes = parse_margins(margin), dict[str, None]()
    variants = [[*map(without_weights, specs_in(rows.rows))] for _, rows in states]
    compared: list[tuple[dict[str, Any], Change, Change]] = []
    for variant in dict.fromkeys(chain(*variants)):
        own = [of for of, has in zip(states, variants, strict=True) if variant in has]
        for (_, rows), has in zip(states, variants, strict=True):
            if variant not in has:
                notes[f"{rows.name} has no {variant.text}"] = None
        for metric in metrics:
            compared += _compared(own, variant.text, metric, notes, rule)
    if not compared:
        why = f": {next(iter(notes))}" if notes else ""
        raise UsageError(f"a history needs two states of a codec variant: name checkpoints{why}")
    names = [rows.name for _, rows in states]
    compared.sort(key=lambda of: names.index(of[0]["state"]))
    named, *both = zip(*compared, strict=True)
    judged = (judge(beside, margins, CONFIDENCE) for beside in both)
    records = [of | _numbers(*findings) for of, *findings in zip(named, *judged, strict=True)]
    worse = any(of["verdict"] == "regressed" for of in records)
    summary, title = "\n".join([NOTE, *notes]), headline(records)
    return Answer(records, COLUMNS, summary, code=int(worse), title=title)


def _compared(
    states: States, variant: str, metric: str, notes: dict[str, None], rule: Rule
) -> Iterator[tuple[dict[str, Any], Change, Change]]:
    """Yield names of each state, its change beside the first, and beside the best before it."""
    (first_number, first), best = states[0], states[0][1]
    for number, rows in states[1:]:
        try:
            of_first, of_best = (_paired(of, rows, variant, metric) for of in (first, best))
        except NotComparable as why:
            notes[f"{rows.name}: {why}"] = None
            continue
        change = changes(of_best, metric, rule)
        names = {
            "number": number, "state": rows.name, "first": first.name,
            "first_number": first_number, "best": best.name,
        }  # fmt: skip
        yield names, changes(of_first, metric, rule), change
        # Nothing that comes later can be told from a state that has no curves of its own.
        if len(change.percent):
            better = change.percent.mean() < 0 and not change.unknown
        else:
            itself = of_best._replace(reference=of_best.test, equal=())
            better = len(changes(itself, metric, rule).percent) > 0
        best = rows if better and not change.out_of_reach else best


def _paired(before: RowSet, after: RowSet, variant: str, metric: str) -> VariantPair:
    (pair,), _ = pair_up(before, after, [metric], variant, common=True, allow_few=True)
    return pair


def _numbers(first: Finding, best: Finding) -> dict[str, Any]:
    changed = {
        f"{side}_change_percent{end}": None if of["out_of_reach"] else of[f"{name}_percent"]
        for side, of in (("first", first), ("best", best))
        for end, name in ENDS.items()
    }
    worst = best["worst"][0]["image"] if best["worst"] else None
    return {
        "codec": best["label"], "metric": best["metric"], "by": best["kind"],
        "images": best["images"], **changed, "worst_image": worst, "verdict": best["verdict"],
        "why": best["why"],
    }  # fmt: skip


def headline(records: Sequence[Mapping[str, Any]]) -> str:
    """Return one line: the first state that is worse than the best before it, or that none is."""
    worse = next((of for of in records if of["verdict"] == "regressed"), None)
    if worse is None:
        without = [of["why"] for of in records if VERDICTS[of["verdict"]][0]]
        if not without:
            return "no state is worse than one before"
        lacking = f"{len(without)} of {counted(len(records), 'comparison')} without verdict"
        return f"no state is known to be worse than one before; {lacking}: {without[0]}"
    named = f"{worse['codec']}, " if len({of["codec"] for of in records}) > 1 else ""
    amount = _with_ends("best_change_percent", worse)
    how = f"{amount} ({worse['by']}), image {worse['worst_image']}" if amount else worse["why"]
    metric = Metric.named(worse["metric"]).label.removesuffix(" (dB)")
    return f"regressed at {worse['state']}: {named}{metric} {how}, beside {worse['best']}"


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
