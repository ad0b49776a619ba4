"""Absolute limits of a check, as applications have them, parsed from text.

ssimulacra2 at least 70 at 0.5 bpp    the mean over images, interpolated on each one's curve
encode at most 40 ms                  the mean over images, at the slowest setting
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from benchmark.errors import UsageError

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

    def kept_by(self, value: float) -> bool:
        """Return whether a value is within the limit, which itself is."""
        return value >= self.value if self.least else value <= self.value


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
        number = float(parts["number"])
        bpp = None if parts["bpp"] is None else float(parts["bpp"])
    except ValueError:
        raise UsageError(
            f"--require {text!r} is not of the form 'ssimulacra2 at least 70 at 0.5 bpp' or "
            "'encode at most 40 ms'"
        ) from None
    least = parts["side"].lower() in (">=", "at least")
    words = f"at {'least' if least else 'most'} {number:g}"
    if bpp is not None:
        if bpp <= 0:
            raise UsageError(f"--require {text!r}: a rate is above 0")
        from benchmark.rows.schema import metric_names

        (name,) = metric_names([parts["what"]])
        return Requirement(f"{name} {words} at {bpp:g} bpp", name, least, number, bpp)
    what = parts["what"].lower()
    if what not in SECONDS:
        raise UsageError(f"--require {text!r}: seconds are those of encode or decode")
    unit = parts["unit"].lower()
    return Requirement(f"{what} {words} {unit}", SECONDS[what], least, number * UNITS[unit], None)
