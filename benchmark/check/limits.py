"""Parse margins of changes, and absolute limits.

bd_rate=1%,lpips=0.002                the maximum mean change that counts as equal
ssimulacra2 at least 70 at 0.5 bpp    the mean over images, interpolated on per-image curves
encode at most 40 ms                  the mean over images, at the slowest setting

The mean over the measured images decides whether a limit is met; its interval does not matter.
"""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl
from polars import col

from benchmark.check.changes import IN_DECIBELS, explain_missing_curve
from benchmark.compare.rank import RATE, Target, rank_at
from benchmark.errors import UnknownName, UsageError
from benchmark.metrics.metric import Metric
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, is_user_code, metric_called
from benchmark.rows.schema import metric_names
from benchmark.rows.summary import Summary
from benchmark.system.foreign_files import BadFile
from benchmark.system.text import counted, measured_number, number_in

DEFAULT_MARGINS = {"bd_rate": 1.0, "bd_metric": 1.0}  # in percent
LIMIT_PATTERN = re.compile(
    r"(?P<what>\S.*?)\s*(?P<side>>=|<=|\bat least\b|\bat most\b)\s*(?P<number>[-+.\de]+)\s*"
    r"(?:(?P<unit>ms|s)|at\s*(?P<bpp>[.\d]+)\s*bpp)",
    re.IGNORECASE,
)
SECONDS = {"encode": "encode_seconds", "decode": "decode_seconds"}
UNITS = {"ms": 1e-3, "s": 1.0}  # units in seconds
# Rows timed one at a time on this machine; seconds in packs come from other machines
IS_TIMED = col("timing").fill_null(False) & ~col("recorded").fill_null(False)


def parse_margins(text: str) -> dict[str, tuple[float, str]]:
    """Parse margins by key (`bd_rate`, `bd_metric`, or a metric's name) or raise `UsageError`.

    A margin is a number and "%" of the reference, or "" for the metric's units.
    """
    margins = {key: (value, "%") for key, value in DEFAULT_MARGINS.items()}
    names = (*DEFAULT_MARGINS, *METRICS, *DISTRIBUTION_METRICS)
    for entry in filter(None, (entry.strip() for entry in text.split(","))):
        key, equals, amount = entry.partition("=")
        if not equals:
            raise UsageError(f"--margin {entry!r} does not have the form metric=1% or metric=0.01")
        key = key if key in DEFAULT_MARGINS else metric_called(key.strip())
        if key not in names and not is_user_code(key):
            raise UnknownName("margin", key, names)
        amount = amount.strip()
        unit = "%" if amount.endswith("%") else ""
        try:
            value = measured_number(amount.removesuffix("%"), "a margin")
        except BadFile as error:
            raise UsageError(f"--margin {entry!r}: {error}") from error
        has_unit_margin = key not in DEFAULT_MARGINS and Metric.named(key).margin is not None
        if unit and has_unit_margin:
            raise UsageError(
                f"--margin {entry!r}: {key} takes the metric's unit, not percent: write {key}=0.5"
            )
        if not unit and key in (*DEFAULT_MARGINS, *IN_DECIBELS):
            raise UsageError(f"--margin {entry!r}: {key} is in percent: write {key}={amount}%")
        margins[key] = value, unit
    return margins


class Limit(NamedTuple):
    """Absolute limit on a metric at a rate, or on seconds."""

    text: str  # normalised text
    metric: str  # name in the registry, or a column of seconds
    is_minimum: bool
    value: float  # in the metric's units, or seconds
    bpp: float | None  # None for seconds

    def evaluate(self, summary: Summary, rows: pl.DataFrame) -> tuple[bool | None, str]:
        """Return whether a codec variant meets the limit (None: not measured), and the value."""
        if self.bpp is None:
            value, text = _timed_seconds(self, rows)
        else:
            value, text = _value_at_rate(self, summary)
        if value is None:
            return None, text
        is_met = value >= self.value if self.is_minimum else value <= self.value
        return is_met, f"it is {text}"


def parse_limits(texts: Iterable[str]) -> tuple[Limit, ...]:
    """Parse limits; raise `UsageError` or `UnknownName`."""
    return tuple(map(_parse_limit, texts))


def _parse_limit(text: str) -> Limit:
    limit_match = LIMIT_PATTERN.fullmatch(text.strip())
    number, bpp = (
        number_in(limit_match[group] or "inf") if limit_match else math.nan
        for group in ("number", "bpp")
    )
    if limit_match is None or not math.isfinite(number) or math.isnan(bpp):
        raise UsageError(
            f"--require {text!r} must be like 'ssimulacra2 at least 70 at 0.5 bpp' or "
            "'encode at most 40 ms'"
        )
    is_minimum, subject = (
        limit_match["side"].lower() in (">=", "at least"),
        limit_match["what"].lower(),
    )
    bound_text = f"at {'least' if is_minimum else 'most'} {number:g}"
    if limit_match["bpp"]:
        try:
            measured_number(limit_match["bpp"], "a rate")
        except BadFile as error:
            raise UsageError(f"--require {text!r}: {error}") from error
        (name,) = metric_names([limit_match["what"]])
        return Limit(f"{name} {bound_text} at {bpp:g} bpp", name, is_minimum, number, bpp)
    if subject not in SECONDS:
        raise UsageError(f"--require {text!r}: only encode and decode can have a time limit")
    unit = limit_match["unit"].lower()
    return Limit(
        f"{subject} {bound_text} {unit}", SECONDS[subject], is_minimum, number * UNITS[unit], None
    )


def _value_at_rate(limit: Limit, summary: Summary) -> tuple[float | None, str]:
    metric, target = Metric.named(limit.metric), Target(RATE, limit.bpp or 0.0)
    if metric.is_distribution and not metric.has_image_values:
        return None, f"{metric.label} has no value at a rate: choose another metric"
    (result,) = rank_at(summary, target, [metric], "set" if metric.is_distribution else "image")
    value, low, high = (result.record[f"{metric.column}{end}"] for end in ("", "_low", "_high"))
    if result.unreached_images:
        count, rate = counted(len(result.unreached_images), "image"), f"{limit.bpp:g} bpp"
        return None, f"the curves of {count} do not reach {rate}: measure more settings"
    if value is None:
        return None, explain_missing_curve(summary, metric)
    return value, f"{value:.4g}" + ("" if low is None else f" [{low:.4g}, {high:.4g}]")


def _timed_seconds(limit: Limit, rows: pl.DataFrame) -> tuple[float | None, str]:
    timed_rows = rows.filter(IS_TIMED)
    if num_untimed := rows.height - timed_rows.height:
        return None, f"{counted(num_untimed, 'row')} measured without `--timing`"
    means = timed_rows.group_by("setting_name", "setting_value").agg(col(limit.metric).mean())
    name, setting, value = max(
        means.drop_nulls().rows(), key=lambda row: row[2], default=("", 0, None)
    )
    return value, "no seconds" if value is None else f"{1000 * value:.4g} ms at {name}={setting:g}"
