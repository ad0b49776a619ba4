"""Margins: the changes that still count as equal, as in `--margin bd_rate=1%,lpips=0.002`.

Keys are `bd_rate` (metrics judged by rate), `bd_metric` (metrics judged by their own value),
`time`, or one metric by name, which takes precedence. Percent is of the rate, of the reference's
mean value, or of its seconds; a plain number is in the metric's own units.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from benchmark.errors import UnknownName, UsageError
from benchmark.registry import DISTRIBUTION_METRICS, METRICS
from benchmark.user_file import names_file

RATE, METRIC, TIME = "bd_rate", "bd_metric", "time"


class Margin(NamedTuple):
    """The greatest change of a mean that still counts as equal."""

    value: float
    percent: bool

    def __str__(self) -> str:
        return f"{self.value:g} %" if self.percent else f"{self.value:g}"


DEFAULTS: Mapping[str, Margin] = {
    RATE: Margin(1.0, percent=True),
    METRIC: Margin(1.0, percent=True),
    TIME: Margin(25.0, percent=True),
}
DEFAULT_TEXT = ",".join(f"{key}={margin.value:g}%" for key, margin in DEFAULTS.items())


def parse_margins(text: str) -> dict[str, Margin]:
    """Return margins by key, the defaults where the text has none; raise `UsageError`.

    >>> parse_margins("bd_rate=2%,lpips=0.002")["lpips"]
    Margin(value=0.002, percent=False)
    >>> parse_margins("")["bd_rate"]
    Margin(value=1.0, percent=True)
    """
    margins = dict(DEFAULTS)
    known = (*DEFAULTS, *METRICS, *DISTRIBUTION_METRICS)
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, amount = part.partition("=")
        if not equals:
            raise UsageError(f"--margin {part!r} is not of the form metric=1% or metric=0.01")
        if key not in known and not names_file(key):
            raise UnknownName("margin", key, known)
        percent = amount.endswith("%")
        try:
            value = float(amount.removesuffix("%"))
        except ValueError:
            value = math.nan
        if not (0 < value < math.inf):
            raise UsageError(f"--margin {part!r}: a margin is a positive number, or percent")
        if not percent and key in DEFAULTS:
            raise UsageError(f"--margin {part!r}: {key} is in percent; write {key}={amount}%")
        margins[key] = Margin(value, percent)
    return margins
