"""Costs of a codec, of its rows, else as its class declares: seconds at one rate, and work.

One rule of ranks, figures of costs, tables of papers and the README.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.facts import facts_of
from benchmark.measure.estimate import interpolated
from benchmark.rows.summary import TIMED, Point

AT_BPP = 0.3  # that figures and tables have seconds at


class Seconds(NamedTuple):
    """Seconds to encode and decode a megapixel."""

    value: float
    timed: bool  # alone; False: typical of one core, as the codec's class declares


def megapixel_seconds(points: Sequence[Point]) -> Seconds | None:
    """Return the seconds at `AT_BPP`, of the nearest setting beyond those of a codec's points.

    They are of the rows if those of all points were timed alone. None where nothing says them.
    """
    if not points:
        return None
    ways = [[point.means[name].value for point in points] for name in TIMED]
    if all(value for way in ways for value in way):
        return Seconds(sum(filter(None, (at_rate(points, name, AT_BPP) for name in TIMED))), True)
    typical = typical_seconds(points, AT_BPP, ("cpu",))
    return None if typical is None else Seconds(typical, False)


def at_rate(points: Sequence[Point], name: str, bpp: float) -> float | None:
    """Return the mean of a column at a rate, interpolated between settings; None without one."""
    known = [(point, value) for point in points if (value := point.means[name].value) is not None]
    rates, values = _log_rates([point for point, _ in known]), [value for _, value in known]
    return float(np.interp(math.log10(bpp), rates, values)) if known else None


def typical_seconds(points: Sequence[Point], bpp: float, devices: Collection[str]) -> float | None:
    """Return the seconds of a megapixel at a rate that the codec's class declares for a device."""
    names = points[0].setting.name, ""
    for declared in facts_of(points[0].edition.spec).typical:
        if declared.device in devices and declared.setting in names:
            settings = [float(point.setting.value) for point in points]
            setting = float(np.interp(math.log10(bpp), _log_rates(points), settings))
            return interpolated(declared.seconds, setting)
    return None


def kmac(points: Sequence[Point]) -> float | None:
    """Return the work of encoding and decoding a pixel, in thousand multiply-accumulates.

    Where the codec's class does not state it for both ways, with what they share once, it is the
    sum of the ways'.
    """
    facts = facts_of(points[0].edition.spec)
    encode = most(points, "encode_kmac") or facts.work.encode_kmac
    decode = most(points, "decode_kmac") or facts.work.decode_kmac
    return facts.kmac or (encode + decode if encode and decode else None)


def most(points: Sequence[Point], column: str) -> float | None:
    """Return the largest mean of a column of `COSTS`; None without one."""
    means = [point.means.get(column) for point in points]
    return max((mean.value for mean in means if mean and mean.value), default=None)


def _log_rates(points: Sequence[Point]) -> list[float]:
    return [math.log10(point.bpp or math.nan) for point in points]
