"""Absolute limits of a check, as applications have them, parsed from text.

ssimulacra2 at least 70 at 0.5 bpp    the mean over images, interpolated on each one's curve
encode at most 40 ms                  the mean over images, at the slowest setting

A limit is kept or not by the mean of these very images; its interval, in the sentence beside the
verdict, decides nothing.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.compare.check.compare import why_no_curve
from benchmark.compare.check.pairing import PairedRows
from benchmark.compare.rank import RATE, Target, rank_at
from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.rows.schema import metric_names
from benchmark.system.text import counted

FORM = re.compile(
    r"(?P<what>\S.*?)\s*(?P<side>>=|<=|\bat least\b|\bat most\b)\s*(?P<number>[-+.\de]+)\s*"
    r"(?:(?P<unit>ms|s)|at\s*(?P<bpp>[.\d]+)\s*bpp)",
    re.IGNORECASE,
)
SECONDS = {"encode": "encode_seconds", "decode": "decode_seconds"}
UNITS = {"ms": 1e-3, "s": 1.0}


class Requirement(NamedTuple):
    """A limit: of a metric at a rate, or of seconds."""

    text: str  # in one form, whatever it was written like
    metric: str  # in the registry, or a column of seconds
    least: bool  # the value has to be at least `value`, else at most
    value: float  # in the metric's units, or seconds
    bpp: float | None  # None for seconds

    def judged(self, value: float, words: str, images: int) -> "Kept":
        """Return the verdict on a value, which is kept if it is the limit itself."""
        kept = value >= self.value if self.least else value <= self.value
        return Kept(kept, f"it is {words}", images)


def parse_requirements(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Return requirements; raise `UsageError` or `UnknownName` for what is none.

    >>> parse_requirements(["SSIMULACRA 2 at least 70 at .5 bpp"])[0].text
    'ssimulacra2 at least 70 at 0.5 bpp'
    >>> parse_requirements(["encode<=40ms"])[0][1:]
    ('encode_seconds', False, 0.04, None)
    """
    return tuple(map(_parsed, texts))


def _parsed(text: str) -> Requirement:
    parts = FORM.fullmatch(text.strip())
    try:
        if parts is None:
            raise ValueError
        number, bpp = float(parts["number"]), float(parts["bpp"] or "inf")
    except ValueError:
        raise UsageError(
            f"--require {text!r} is not of the form 'ssimulacra2 at least 70 at 0.5 bpp' or "
            "'encode at most 40 ms'"
        ) from None
    least, what = parts["side"].lower() in (">=", "at least"), parts["what"].lower()
    words = f"at {'least' if least else 'most'} {number:g}"
    if parts["bpp"]:
        if bpp <= 0:
            raise UsageError(f"--require {text!r}: a rate is above 0")
        (name,) = metric_names([parts["what"]])
        return Requirement(f"{name} {words} at {bpp:g} bpp", name, least, number, bpp)
    if what not in SECONDS:
        raise UsageError(f"--require {text!r}: seconds are those of encode or decode")
    unit = parts["unit"].lower()
    return Requirement(f"{what} {words} {unit}", SECONDS[what], least, number * UNITS[unit], None)


class Kept(NamedTuple):
    """Verdict on a requirement, by rows."""

    kept: bool | None  # None where nothing was measured
    why: str  # a sentence: the value, or why there is none
    images: int = 0


def judge_requirement(asked: Requirement, rows: PairedRows) -> Kept:
    """Return whether the rows of a codec variant keep a requirement."""
    if asked.bpp is None:
        return _timed(asked, rows.rows)
    metric, target = Metric.named(asked.metric), Target(RATE, asked.bpp)
    if metric.of_sets and not metric.by_image:
        return Kept(None, f"{metric.label} has no value at a rate")
    (of,) = rank_at(rows.summary, target, [metric], "set" if metric.of_sets else "image")
    if not (of.short or of.values):
        return Kept(None, why_no_curve(rows.summary, metric))
    if of.short or metric.column not in of.values:
        count, rate = counted(len(of.short) or rows.summary.images, "image"), f"{asked.bpp:g} bpp"
        return Kept(None, f"the curves of {count} do not reach {rate}: measure more settings")
    value, interval = of.values[metric.column]
    ends = f" [{interval.low:.4g}, {interval.high:.4g}]" if interval else ""
    return asked.judged(value, f"{value:.4g}{ends}", of.images)


def _timed(asked: Requirement, rows: pl.DataFrame) -> Kept:
    alone = rows.filter(col("timing").fill_null(False) & ~col("recorded").fill_null(False))
    if lacking := rows.height - alone.height:
        return Kept(None, f"{counted(lacking, 'row')} without `--timing`")
    means = alone.group_by("setting_name", "setting_value").agg(col(asked.metric).mean())
    name, at, value = max(means.drop_nulls().rows(), key=lambda row: row[2], default=("", 0, None))
    if value is None:
        return Kept(None, "no seconds")
    return asked.judged(value, f"{1000 * value:.4g} ms at {name}={at:g}", alone["image"].n_unique())
