"""Checkpoints over time: each is checked beside the first, and beside the best one before it.

A state is worse where `bench check` would say that it has regressed against the best state before
it; all states, metrics and variants are one family for Holm's correction.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import NamedTuple

from benchmark.answer import NOTHING, Column
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
from benchmark.show.table import Table
from benchmark.spec import CodecSpec
from benchmark.system.text import counted

STEP = re.compile(r"(?:^|[-_])(\d+)(?:\.[A-Za-z]\w*)*$")  # "36000" of ours-36000.safetensors
CHANGE, WORSE = "beside the first", "worse than the best before"
RECORDED = (
    Column("", "state.number", key="number"),
    Column("", "state.name", key="state"),
    Column("", "other.name", key="beside"),
    Column("", "finding.label", key="codec"),
    Column("", "finding.metric", key="metric"),
    Column("", "finding.kind", key="by"),
    Column("", "finding.change_percent", key="change_percent"),
    Column("", "finding.lower_percent", key="lower_percent"),
    Column("", "finding.upper_percent", key="upper_percent"),
    Column("", "finding.verdict", key="verdict"),
    Column("", "finding.why", key="why"),
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


def history_table(history: History) -> Table:
    """Return a row for each state and variant: changes with bounds, and what is worse."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for of in history.of_first:
        key = of.state.name, of.finding.label
        row = rows.setdefault(key, {"state": key[0], "codec": key[1], WORSE: ""})
        row[f"{_metric(of.finding)} {CHANGE}"] = _amount(of.finding, True).partition(" ")[2]
    for of in history.worse:
        row = rows[of.state.name, of.finding.label]
        row[WORSE] = ", ".join(filter(None, (row[WORSE], _amount(of.finding))))
    headers = dict.fromkeys(name for row in rows.values() for name in row)
    if len({variant for _, variant in rows}) == 1:
        del headers["codec"]
    cells = tuple(tuple(row.get(name) or NOTHING for name in headers) for row in rows.values())
    note = (
        f"Positive is worse; each bound in brackets holds with {100 * CONFIDENCE:g} % confidence."
    )
    return Table((*headers,), cells, [*headers].index(WORSE) + 1, (note,))


def headline(history: History) -> str:
    """Return one line: the first state that is worse than the best before it, or that none is."""
    if not history.worse:
        without = [of.finding for of in history.of_best if of.finding.verdict in ERRORS]
        lacking = f"{len(without)} of {counted(len(history.of_best), 'comparison')} without verdict"
        text = f"{counted(len(history.states), 'state')}, {counted(history.images, 'image')}"
        known, more = ("known to be ", f"; {lacking}: {without[0].why}") if without else ("", "")
        return f"no state is {known}worse than one before: {text}{more}"
    state, best, finding = history.worse[0]
    named = f"{finding.label}, " if len({of.finding.label for of in history.of_best}) > 1 else ""
    image = f", image {finding.worst[0].image}" if finding.worst else ""
    return f"regressed at {state.name}: {named}{_amount(finding, True)}{image}, beside {best.name}"


def _metric(of: Finding) -> str:
    return of.metric_label.partition(" (")[0]


def _amount(of: Finding, ends: bool = False) -> str:
    """Return by how much a metric is worse: "PSNR +1.8 %", with `ends` and its bounds."""
    if of.change_percent is None:
        return f"{_metric(of)} ({of.why})" if ends else _metric(of)
    scale, form, unit = 1.0, ".1f", "%"
    if of.kind == "BD-metric" and of.change and "(dB)" in of.metric_label:
        scale, form, unit = of.change / of.change_percent, ".2f", "dB at equal rate"
    both = [v * scale for v in (of.lower_percent, of.upper_percent) if v is not None]
    between = f" [{', '.join(f'{end:{form}}' for end in sorted(both))}]" if len(both) == 2 else ""
    why = f" ({of.why})" if of.why and of.out_of_reach else ""
    bounds = between + why if ends else ""
    return f"{_metric(of)} {scale * of.change_percent:+z{form}} {unit}{bounds}"
