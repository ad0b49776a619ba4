"""Checkpoints over time: each is checked beside the first, and beside the best one before it.

A state is worse where `bench check` would say that it has regressed against the best state before
it; all states, metrics and variants are one family for Holm's correction.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import PurePath
from typing import Any, NamedTuple

from benchmark.answer import Answer, Column, with_interval
from benchmark.check.changes import Finding, changes
from benchmark.check.limits import parse_margins
from benchmark.check.pairing import NotComparable, RowSet, VariantPair, pair_up, without_weights
from benchmark.check.text import ERRORS
from benchmark.check.verdict import CONFIDENCE, judge
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.stored import specs_in
from benchmark.system.text import counted

STEP = re.compile(r"(?:^|[-_])(\d+)(?:\.[A-Za-z]\w*)*$")  # "36000" of ours-36000.safetensors
NOTE = f"Positive is worse; each bound in brackets holds with {100 * CONFIDENCE:g} % confidence."
ENDS = {"": "change", "_low": "lower", "_high": "upper"}  # of names in records, and of findings


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
    Column("verdict"),
)


class State(NamedTuple):
    """A checkpoint with its rows, of one codec's variants."""

    name: str  # "ours-36000"
    number: int  # of a training's step, or the state's own
    rows: RowSet


class Beside(NamedTuple):
    """A state beside the first and beside the best before it, under one metric."""

    state: State
    others: tuple[State, State]
    findings: tuple[Finding, Finding]


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


def history_of(states: Sequence[State], metrics: Sequence[str], margin: str = "") -> Answer:
    """Return a record for each state after the first, variant and metric, in the order given.

    It has the changes beside the first, then those beside the best before it, in percent, and the
    verdict by these; a change is None where an image is out of reach. metrics: names in the
    registry. Raises `UsageError` for a margin that is none, and where no variant has two states.
    """
    margins, notes = parse_margins(margin), dict[str, None]()
    of_states = {state.name: [*map(without_weights, specs_in(state.rows.rows))] for state in states}
    beside: list[Beside] = []
    for variant in dict.fromkeys(spec for specs in of_states.values() for spec in specs):
        own = [state for state in states if variant in of_states[state.name]]
        notes |= {f"{of.name} has no {variant.text}": None for of in states if of not in own}
        for metric in metrics:
            beside += _beside(own, variant.text, metric, notes)
    if not beside:
        why = f": {next(iter(notes))}" if len(states) > 1 and notes else ""
        raise UsageError(f"a history needs two states of a codec variant: name checkpoints{why}")
    beside.sort(key=lambda of: states.index(of.state))
    judged = (judge([of.findings[at] for of in beside], margins, CONFIDENCE) for at in (0, 1))
    both = zip(beside, *judged, strict=True)
    records = [_record(of.state, of.others, findings) for of, *findings in both]
    worse = any(of["verdict"] == "regressed" for of in records)
    summary, title = "\n".join([NOTE, *notes]), headline(records)
    return Answer(records, COLUMNS, summary, code=int(worse), title=title)


def _beside(
    states: Sequence[State], variant: str, metric: str, notes: dict[str, None]
) -> Iterator[Beside]:
    """Yield each state with the first, the best before it, and the changes of its images."""
    best = states[0]
    for state in states[1:]:
        try:
            first, pair = (_paired(of, state, variant, metric) for of in (states[0], best))
        except NotComparable as why:
            notes[f"{state.name}: {why}"] = None
            continue
        change = changes(pair, metric)
        yield Beside(state, (states[0], best), (changes(first, metric), change))
        # Nothing that comes later can be told from a state that has no curves of its own.
        if len(change.percent):
            better = change.percent.mean() < 0 and not change.unknown
        else:
            itself = pair._replace(reference=pair.test, equal=())
            better = len(changes(itself, metric).percent) > 0
        best = state if better and not change.out_of_reach else best


def _paired(before: State, after: State, variant: str, metric: str) -> VariantPair:
    first, second = (of.rows._replace(name=of.name) for of in (before, after))
    (pair,), _ = pair_up(first, second, [metric], variant, common=True, allow_few=True)
    return pair


def _record(
    state: State, others: tuple[State, State], findings: Sequence[Finding]
) -> dict[str, Any]:
    changed = {
        f"{side}_change_percent{end}": (
            None if of.out_of_reach else getattr(of, f"{name}_percent")
        )
        for side, of in zip(("first", "best"), findings, strict=True)
        for end, name in ENDS.items()
    }  # fmt: skip
    (first, best), judged = others, findings[1]
    return {
        "number": state.number, "state": state.name, "codec": judged.label,
        "metric": judged.metric, "by": judged.kind, "images": len(judged.images),
        "first": first.name, "first_number": first.number, "best": best.name, **changed,
        "worst_image": judged.worst[0].image if judged.worst else None,
        "verdict": judged.verdict, "why": judged.why,
    }  # fmt: skip


def headline(records: Sequence[Mapping[str, Any]]) -> str:
    """Return one line: the first state that is worse than the best before it, or that none is."""
    worse = next((of for of in records if of["verdict"] == "regressed"), None)
    if worse is None:
        without = [of["why"] for of in records if of["verdict"] in ERRORS]
        if not without:
            return "no state is worse than one before"
        lacking = f"{len(without)} of {counted(len(records), 'comparison')} without verdict"
        return f"no state is known to be worse than one before; {lacking}: {without[0]}"
    named = f"{worse['codec']}, " if len({of["codec"] for of in records}) > 1 else ""
    amount = _with_ends("best_change_percent", worse)
    how = f"{amount} ({worse['by']}), image {worse['worst_image']}" if amount else worse["why"]
    metric = Metric.named(worse["metric"]).label.removesuffix(" (dB)")
    return f"regressed at {worse['state']}: {named}{metric} {how}, beside {worse['best']}"
