"""Margins of changes, and absolute limits: what a check tolerates, parsed from text.

bd_rate=1%,lpips=0.002                the greatest change of a mean that still counts as equal
ssimulacra2 at least 70 at 0.5 bpp    the mean over images, interpolated on each one's curve
encode at most 40 ms                  the mean over images, at the slowest setting

A limit is kept or not by the mean of these very images; its interval, in the sentence beside the
verdict, decides nothing.
"""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.check.changes import IN_DECIBELS, why_no_curve
from benchmark.compare.rank import RATE, Target, rank_at
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, is_brought, metric_called
from benchmark.rows.schema import metric_names
from benchmark.rows.summary import Summary
from benchmark.system.foreign_files import BadFile
from benchmark.system.text import counted, measured_number, number_in

PERCENT = {"bd_rate": 1.0, "bd_metric": 1.0}  # margins by default
FORM = re.compile(
    r"(?P<what>\S.*?)\s*(?P<side>>=|<=|\bat least\b|\bat most\b)\s*(?P<number>[-+.\de]+)\s*"
    r"(?:(?P<unit>ms|s)|at\s*(?P<bpp>[.\d]+)\s*bpp)",
    re.IGNORECASE,
)
SECONDS = {"encode": "encode_seconds", "decode": "decode_seconds"}
UNITS = {"ms": 1e-3, "s": 1.0}
# Timed alone, and here; rows of a pack have the seconds of another machine.
ALONE = col("timing").fill_null(False) & ~col("recorded").fill_null(False)


def parse_margins(text: str) -> dict[str, tuple[float, str]]:
    """Return margins by key, the defaults where the text has none; raise `UsageError`.

    Keys are `bd_rate` (metrics judged by rate), `bd_metric` (by their own value), or one metric by
    name, which takes precedence. A margin is a number and "%", of the reference's, or "", in the
    metric's units, which a metric that is judged by BD-rate does not have.

    >>> margins = parse_margins("bd_rate=2%,lpips_alex=0.002")
    >>> margins["bd_rate"], margins["bd_metric"], margins["lpips"]
    ((2.0, '%'), (1.0, '%'), (0.002, ''))
    """
    margins = {key: (value, "%") for key, value in PERCENT.items()}
    known = (*PERCENT, *METRICS, *DISTRIBUTION_METRICS)
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, amount = part.partition("=")
        if not equals:
            raise UsageError(f"--margin {part!r} is not of the form metric=1% or metric=0.01")
        key = key if key in PERCENT else metric_called(key.strip())
        if key not in known and not is_brought(key):
            raise UnknownName("margin", key, known)
        amount = amount.strip()
        unit = "%" if amount.endswith("%") else ""
        try:
            value = measured_number(amount.removesuffix("%"), "a margin")
        except BadFile as error:
            raise UsageError(f"--margin {part!r}: {error}") from error
        if not unit and key in (*PERCENT, *IN_DECIBELS):
            raise UsageError(f"--margin {part!r}: {key} is in percent; write {key}={amount}%")
        margins[key] = value, unit
    return margins


class Limit(NamedTuple):
    """An absolute limit: of a metric at a rate, or of seconds."""

    text: str  # in one form, whatever it was written like
    metric: str  # in the registry, or a column of seconds
    least: bool  # the value has to be at least `value`, else at most
    value: float  # in the metric's units, or seconds
    bpp: float | None  # None for seconds

    def kept_by(self, summary: Summary, rows: pl.DataFrame) -> tuple[bool | None, str]:
        """Return whether a codec variant, by its summary and rows, keeps it, and a sentence.

        None where nothing was measured, the sentence then says why; else it has the value, which
        keeps the limit if it is the limit itself.
        """
        value, words = _seconds(self, rows) if self.bpp is None else _at_rate(self, summary)
        if value is None:
            return None, words
        return (value >= self.value if self.least else value <= self.value), f"it is {words}"


def parse_limits(texts: Iterable[str]) -> tuple[Limit, ...]:
    """Return limits; raise `UsageError` or `UnknownName` for what is none.

    >>> parse_limits(["SSIMULACRA 2 at least 70 at .5 bpp"])[0].text
    'ssimulacra2 at least 70 at 0.5 bpp'
    >>> parse_limits(["encode<=40ms"])[0][1:]
    ('encode_seconds', False, 0.04, None)
    """
    return tuple(map(_parsed, texts))


def _parsed(text: str) -> Limit:
    parts = FORM.fullmatch(text.strip())
    number, bpp = (number_in(parts[of] or "inf") if parts else math.nan for of in ("number", "bpp"))
    if parts is None or not math.isfinite(number) or math.isnan(bpp):
        raise UsageError(
            f"--require {text!r} is not of the form 'ssimulacra2 at least 70 at 0.5 bpp' or "
            "'encode at most 40 ms'"
        )
    least, what = parts["side"].lower() in (">=", "at least"), parts["what"].lower()
    words = f"at {'least' if least else 'most'} {number:g}"
    if parts["bpp"]:
        try:
            measured_number(parts["bpp"], "a rate")
        except BadFile as error:
            raise UsageError(f"--require {text!r}: {error}") from error
        (name,) = metric_names([parts["what"]])
        return Limit(f"{name} {words} at {bpp:g} bpp", name, least, number, bpp)
    if what not in SECONDS:
        raise UsageError(f"--require {text!r}: seconds are those of encode or decode")
    unit = parts["unit"].lower()
    return Limit(f"{what} {words} {unit}", SECONDS[what], least, number * UNITS[unit], None)


def _at_rate(limit: Limit, summary: Summary) -> tuple[float | None, str]:
    metric, target = Metric.named(limit.metric), Target(RATE, limit.bpp or 0.0)
    if metric.of_sets and not metric.by_image:
        return None, f"{metric.label} has no value at a rate"
    (of,) = rank_at(summary, target, [metric], "set" if metric.of_sets else "image")
    value, low, high = (of.record[f"{metric.column}{end}"] for end in ("", "_low", "_high"))
    if of.short:
        count, rate = counted(len(of.short), "image"), f"{limit.bpp:g} bpp"
        return None, f"the curves of {count} do not reach {rate}: measure more settings"
    if value is None:
        return None, why_no_curve(summary, metric)
    return value, f"{value:.4g}" + ("" if low is None else f" [{low:.4g}, {high:.4g}]")


def _seconds(limit: Limit, rows: pl.DataFrame) -> tuple[float | None, str]:
    alone = rows.filter(ALONE)
    if lacking := rows.height - alone.height:
        return None, f"{counted(lacking, 'row')} without `--timing`"
    means = alone.group_by("setting_name", "setting_value").agg(col(limit.metric).mean())
    name, at, value = max(means.drop_nulls().rows(), key=lambda row: row[2], default=("", 0, None))
    return value, "no seconds" if value is None else f"{1000 * value:.4g} ms at {name}={at:g}"
