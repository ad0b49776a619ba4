"""Checkpoints over time: each is checked beside the first, and beside the best one before it.

A state is worse where `bench check` would say that it has regressed against the best state before
it; all states, metrics and variants are one family for Holm's correction.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import Any, NamedTuple

from benchmark.answer import Column, with_interval
from benchmark.check.changes import Finding, changes
from benchmark.check.limits import parse_margins
from benchmark.check.pairing import (
    NotComparable,
    RowSet,
    VariantPair,
    pair_up,
    without_weights,
)
from benchmark.check.text import ERRORS
from benchmark.check.verdict import CONFIDENCE, judge
from benchmark.errors import UsageError
from benchmark.rows.stored import specs_in
from benchmark.spec import CodecSpec
from benchmark.system.text import counted

STEP = re.compile(r"(?:^|[-_])(\d+)(?:\.[A-Za-z]\w*)*$")  # "36000" of ours-36000.safetensors
NOTE = f"Positive is worse; each bound in brackets holds with {100 * CONFIDENCE:g} % confidence."


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
    """A state beside another under one metric."""

    state: State
    other: State
    finding: Finding


class History(NamedTuple):
    """States in their order, what became of them, and sentences on what is left out."""

    states: tuple[State, ...]
    images: int
    of_first: tuple[Beside, ...]
    of_best: tuple[Beside, ...]  # by values at equal rate where a state has no BD-rate
    notes: tuple[str, ...]

    @property
    def worse(self) -> list[Beside]:
        """The states that are worse than the best before them, the first one first."""
        return [of for of in self.of_best if of.finding.verdict == "regressed"]


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


def history_of(states: Sequence[State], metrics: Sequence[str], margin: str = "") -> History:
    """Compare states, in the order given, with the first and with the best before them.

    metrics: names in the registry. Raises `UsageError` for a margin that is none, and where no
    variant has two states.
    """
    margins, notes = parse_margins(margin), dict[str, None]()
    first: list[tuple[VariantPair, Beside]] = []
    best: list[tuple[VariantPair, Beside]] = []
    of_states = {state.name: [*map(without_weights, specs_in(state.rows.rows))] for state in states}
    for variant in dict.fromkeys(spec for specs in of_states.values() for spec in specs):
        own = [state for state in states if variant in of_states[state.name]]
        notes |= {f"{of.name} has no {variant.text}": None for of in states if of not in own}
        for metric in metrics:
            first += _beside(own, variant, metric, notes, best=False)
            best += _beside(own, variant, metric, notes, best=True)
    if not first:
        why = f": {next(iter(notes))}" if len(states) > 1 and notes else ""
        raise UsageError(f"a history needs two states of a codec variant: name checkpoints{why}")

    def judged(pairs: Sequence[tuple[VariantPair, Beside]]) -> tuple[Beside, ...]:
        findings = judge([of.finding for _, of in pairs], margins, CONFIDENCE)
        both = zip(pairs, findings, strict=True)
        beside = [of._replace(finding=with_change(finding, pair)) for (pair, of), finding in both]
        return tuple(sorted(beside, key=lambda of: states.index(of.state)))

    def with_change(finding: Finding, pair: VariantPair) -> Finding:
        if not finding.out_of_reach:  # else its number is without the images that count
            return finding
        (at_rate,) = judge([changes(pair, finding.metric, "BD-metric")], margins, CONFIDENCE)
        known = {name: getattr(finding, name) for name in ("verdict", "why", "out_of_reach")}
        return replace(at_rate, **known)

    images = max(len(pair.images) for pair, _ in first)
    return History(tuple(states), images, judged(first), judged(best), tuple(notes))


def _beside(
    states: Sequence[State], variant: CodecSpec, metric: str, notes: dict[str, None], best: bool
) -> Iterator[tuple[VariantPair, Beside]]:
    """Yield each state with the first, or the `best` before it, and the changes of its images."""
    other = states[0]
    for state in states[1:]:
        try:
            before, after = (of.rows._replace(name=of.name) for of in (other, state))
            named = variant.text
            (pair,), _ = pair_up(before, after, [metric], named, common=True, allow_few=True)
        except NotComparable as why:
            notes[f"{state.name}: {why}"] = None
            continue
        change = changes(pair, metric)
        yield pair, Beside(state, other, change)
        if not best:
            continue
        # Nothing that comes later can be told from a state that has no curves of its own.
        if len(change.percent):
            better = change.percent.mean() < 0 and not change.unknown
        else:
            itself = pair._replace(reference=pair.test, equal=())
            better = len(changes(itself, metric).percent) > 0
        other = state if better and not change.out_of_reach else other


def records_of(history: History) -> list[dict[str, Any]]:
    """Return a record for each state, variant and metric: its changes beside two others.

    They are beside the first, in percent, then beside the best before it, by which the verdict is.
    """

    def key(of: Beside) -> tuple[str, str, str]:
        return of.state.name, of.finding.label, of.finding.metric

    first = {key(of): of for of in history.of_first}
    best = {key(of): of for of in history.of_best}
    records = []
    for state, codec, metric in first | best:
        both = first.get((state, codec, metric)), best.get((state, codec, metric))
        known = both[0] or both[1]
        record: dict[str, Any] = {
            "number": known and known.state.number, "state": state, "codec": codec,
            "metric": metric, "by": known and known.finding.kind,
        }  # fmt: skip
        for prefix, of in zip(("first", "best"), both, strict=True):
            finding = of.finding if of else None
            record[prefix] = of and of.other.name
            for end, name in {"": "change", "_low": "lower", "_high": "upper"}.items():
                value = finding and getattr(finding, f"{name}_percent")
                record[f"{prefix}_change_percent{end}"] = value
        judged = both[1] and both[1].finding
        records.append(
            {**record, "verdict": judged and judged.verdict, "why": judged and judged.why}
        )
    return records


def headline(history: History) -> str:
    """Return one line: the first state that is worse than the best before it, or that none is."""
    if not history.worse:
        without = [of.finding for of in history.of_best if of.finding.verdict in ERRORS]
        lacking = f"{len(without)} of {counted(len(history.of_best), 'comparison')} without verdict"
        text = f"{counted(len(history.states), 'state')}, {counted(history.images, 'image')}"
        known, more = ("known to be ", f"; {lacking}: {without[0].why}") if without else ("", "")
        return f"no state is {known}worse than one before: {text}{more}"
    state, best, of = history.worse[0]
    named = f"{of.label}, " if len({of.finding.label for of in history.of_best}) > 1 else ""
    ends = {"x": of.change_percent, "x_low": of.lower_percent, "x_high": of.upper_percent}
    amount = "" if None in ends.values() else f" {_with_ends('x', ends)} ({of.kind})"
    why = f" ({of.why})" if of.why and of.out_of_reach else ""
    image = f", image {of.worst[0].image}" if of.worst else ""
    metric = of.metric_label.partition(" (")[0]
    return f"regressed at {state.name}: {named}{metric}{amount}{why}{image}, beside {best.name}"
