"""Checkpoints over time: rows of states to BD-rates against references, and which are worse.

A BD-rate is that of mean curves: against the first state, a baseline and an anchor.
A state is worse where `bench check` would say that it has regressed against the best state before
it; all states, metrics and variants are one family for Holm's correction.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import polars as pl

from benchmark.codec import CODING
from benchmark.compare import curves as rd
from benchmark.compare.bd import rate_intervals
from benchmark.compare.check.check import Finding, judge
from benchmark.compare.check.compare import Changes, changes
from benchmark.compare.check.pairing import (
    WEIGHTS,
    NotComparable,
    RowSet,
    VariantPair,
    pair_up,
    rows_of,
    specs_in,
    with_weights,
    without_weights,
)
from benchmark.compare.check.request import parse_margins
from benchmark.compare.curves import Delta
from benchmark.compare.interval import Interval
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric, protocols
from benchmark.rows.means import summarise
from benchmark.rows.reduce import with_distribution_metrics
from benchmark.rows.shard import alike
from benchmark.rows.summary import curves
from benchmark.rows.systems import label_of
from benchmark.spec import CodecSpec

FIRST = "the first"
CONFIDENCE = 0.95  # of each kind of claim, over all metrics


class State(NamedTuple):
    """A checkpoint with its rows, of one codec's variants."""

    name: str  # "step 36,000"
    step: int  # of training, or the state's number
    rows: RowSet


class Change(NamedTuple):
    """A state beside a reference under one metric."""

    state: State
    variant: str  # label of the codec variant, without weights
    metric: Metric
    against: str  # "the first", the baseline's name, or the anchor's label
    rate: Delta  # BD-rate of the mean curves, percent
    interval: Interval | None


class Judged(NamedTuple):
    """A state beside the best one before it; by values at equal rate where none has a BD-rate."""

    state: State
    best: State
    finding: Finding


class History(NamedTuple):
    """States in the order of steps, what became of them, and sentences on what is left out."""

    states: tuple[State, ...]
    images: int
    changes: tuple[Change, ...]
    judged: tuple[Judged, ...]
    notes: tuple[str, ...]

    @property
    def worse(self) -> list[Judged]:
        """The states that are worse than the best before them, the first one first."""
        return [of for of in self.judged if of.finding.verdict == "regressed"]


def history_of(
    states: Sequence[State],
    references: Mapping[str, RowSet],
    metrics: Sequence[str],
    margin: str = "",
) -> History:
    """Compare states, in the order given, with the first and the references.

    references: rows by the names that tables have: of the codec's variants themselves, or of one
    variant of another codec. metrics: names in the registry. Everything is over the images that all
    have. Raises `UsageError` for a margin that is none, and where no variant has two states.
    """
    result: list[Change] = []
    notes: dict[str, None] = {}
    pairs: list[tuple[State, State, VariantPair, Changes]] = []
    images = most = 0
    variants = (without_weights(spec) for state in states for spec in specs_in(state.rows.rows))
    for variant in dict.fromkeys(variants):
        tables = {str(n): _relabelled(of.rows, variant, n, metrics) for n, of in enumerate(states)}
        own = {name: states[int(name)] for name, table in tables.items() if table.height}
        notes |= {
            f"{of.name} has no {variant.text}": None for of in states if of not in own.values()
        }
        most = max(most, len(own))
        if len(own) < 2:
            continue
        tables = {name: tables[name] for name in own}
        for name, rows in references.items():
            table = _relabelled(rows, variant, name, metrics)
            tables[name] = table if table.height else _with_values(rows, metrics)
        labels = {n: label_of(*of.select("codec", "variant").row(0)) for n, of in tables.items()}
        whole = pl.concat(alike([*tables.values()]))
        summary = summarise(whole, {**protocols(metrics), "coding": CODING}, common=True)
        images, label = summary.images, label_of(variant.name, variant.variant)
        anchors = {FIRST: labels[next(iter(own))], **{name: labels[name] for name in references}}
        for metric, (name, anchor) in product(map(Metric.named, metrics), anchors.items()):
            points = curves(summary, metric)
            intervals = rate_intervals(summary, metric, anchor)
            for number, state in own.items():
                rate: Delta = Delta(why="it has no complete point")
                if points.keys() >= {anchor, labels[number]}:
                    sides = [points[of] for of in (anchor, labels[number])]
                    before, after = (rd.mean_curve(side, metric) for side in sides)
                    rate = rd.bd_rate(before, after, any_overlap=True)
                interval = intervals.get(labels[number]) if rate.value is not None else None
                result.append(Change(state, label, metric, name, rate, interval))
        for name in metrics:
            pairs += _beside_best([*own.values()], variant, name, notes)
    if most < 2:
        raise UsageError(
            f"a history needs two states, and there {'is one' if most else 'are none'} of a codec "
            "variant: train with --milestone-steps, or name checkpoints"
        )
    margins = parse_margins(margin)

    def with_change(finding: Finding, pair: VariantPair) -> Finding:
        if not finding.out_of_reach:  # else its number is without the images that count
            return finding
        (at_rate,) = judge([changes(pair, finding.metric, "BD-metric")], margins, CONFIDENCE)
        return at_rate._replace(verdict=finding.verdict, why=finding.why)

    findings = judge([of for *_, of in pairs], margins, CONFIDENCE)
    beside = [
        Judged(state, best, with_change(finding, pair))
        for (state, best, pair, _), finding in zip(pairs, findings, strict=True)
    ]
    beside.sort(key=lambda of: states.index(of.state))
    return History(tuple(states), images, tuple(result), tuple(beside), tuple(notes))


def _relabelled(
    rows: RowSet, variant: CodecSpec, name: object, metrics: Sequence[str]
) -> pl.DataFrame:
    """Return the rows of a variant, of any weights, as those of a checkpoint of this name."""
    specs = [spec for spec in specs_in(rows.rows) if without_weights(spec) == variant]
    text = with_weights(variant, str(name)).variant
    table = _with_values(rows._replace(rows=rows_of(rows.rows, specs)), metrics)
    return table.with_columns(pl.lit(text, table.schema["variant"]).alias("variant"))


def _with_values(rows: RowSet, metrics: Sequence[str]) -> pl.DataFrame:
    """Return the rows with the columns of distribution metrics, which their features give."""
    return with_distribution_metrics(rows.rows, rows.folder, metrics, allow_few=True).table


def _beside_best(
    states: Sequence[State], variant: CodecSpec, metric: str, notes: dict[str, None]
) -> Iterator[tuple[State, State, VariantPair, Changes]]:
    """Yield each state with the best before it in a metric, and the changes of its images."""
    best = states[0]
    for state in states[1:]:
        try:
            sides = best.rows._replace(name=best.name), state.rows._replace(name=state.name)
            pairs, _ = pair_up(*sides, [metric], variant.text, common=True, allow_few=True)
        except NotComparable as why:
            notes[f"{state.name}: {why}"] = None
            continue
        of = changes(pairs[0], metric)
        yield state, best, pairs[0], of
        # Nothing that comes later can be told from a state that has no curves of its own.
        if len(of.percent):
            better = of.percent.mean() < 0 and not of.unknown
        else:
            itself = pairs[0]._replace(reference=pairs[0].test, equal=())
            better = len(changes(itself, metric).percent) > 0
        best = state if better and not of.out_of_reach else best


def states_of_rows(rows: RowSet, codec: str) -> list[State]:
    """Return the states of a store of checks: each checkpoint of a codec, the oldest rows first.

    Their steps are numbers from 1 on.
    """
    groups: dict[tuple[str, str], list[pl.DataFrame]] = {}
    for spec in specs_in(rows.rows):
        if codec in (spec.name, without_weights(spec).text):
            for of in rows_of(rows.rows, [spec]).partition_by("fingerprint"):
                key = dict(spec.options).get(WEIGHTS, ""), of["fingerprint"][0] or ""
                groups.setdefault(key, []).append(of)
    tables = {key: pl.concat(alike(of)) for key, of in groups.items()}
    result: list[State] = []
    oldest = {key: of.select(pl.col("finished_utc").min()).item() for key, of in tables.items()}
    for key in sorted(tables, key=lambda key: oldest[key]):
        name = f"state {len(result) + 1}, {key[0].rpartition('/')[2] or codec} {key[1][:8]}"
        result.append(State(name, len(result) + 1, rows._replace(rows=tables[key])))
    return result
