"""Requirements and the rows of a codec variant: kept or not, by the mean of these very images.

The interval of the mean is in the sentence beside it; it decides nothing.
"""

from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.compare.check.pairing import PairedRows
from benchmark.compare.check.requirement import Requirement
from benchmark.compare.rank import RATE, Target, rank_at
from benchmark.metrics.measure import Measure
from benchmark.system.text import counted


class Kept(NamedTuple):
    """Verdict on a requirement, by rows."""

    kept: bool | None  # None where nothing was measured
    why: str  # a sentence: the value, or why there is none
    images: int


def judge_requirement(asked: Requirement, rows: PairedRows) -> Kept:
    """Return whether the rows of a codec variant keep a requirement."""
    return _at_rate(asked, rows) if asked.bpp else _timed(asked, rows.rows)


def _at_rate(asked: Requirement, rows: PairedRows) -> Kept:
    measure, target = Measure.named(asked.metric), Target(RATE, asked.bpp or 0)
    if measure.of_sets and not measure.by_image:
        return Kept(None, f"{measure.label} has no value at a rate", 0)
    ranked = rank_at(rows.summary, target, [measure], "set" if measure.of_sets else "image")
    of = next((codec for codec in ranked if codec.label == rows.label), None)
    if of is None:
        why = rows.summary.why_without(measure.column) or "no value"
        return Kept(None, f"{measure.label}: {why}", 0)
    if of.short or measure.column not in of.values:
        count = counted(len(of.short) or rows.summary.images, "image")
        why = f"the curves of {count} do not reach {asked.bpp:g} bpp: measure more settings"
        return Kept(None, why, 0)
    value, interval = of.values[measure.column]
    ends = f" [{interval.low:.4g}, {interval.high:.4g}]" if interval else ""
    return Kept(asked.kept_by(value), f"it is {value:.4g}{ends}", of.images)


def _timed(asked: Requirement, rows: pl.DataFrame) -> Kept:
    recorded = col("recorded").fill_null(False)
    alone = rows.filter(col("timing").fill_null(False) & ~recorded)
    if lacking := rows.height - alone.height:
        return Kept(None, f"{counted(lacking, 'row')} without `--timing`", 0)
    means = alone.group_by("setting_name", "setting_value").agg(col(asked.metric).mean())
    name, at, value = max(means.drop_nulls().rows(), key=lambda row: row[2], default=("", 0, None))
    if value is None:
        return Kept(None, "no seconds", 0)
    why = f"it is {1000 * value:.4g} ms at {name}={at:g}"
    return Kept(asked.kept_by(value), why, alone["image"].n_unique())
