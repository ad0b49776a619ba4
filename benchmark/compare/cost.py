"""Costs of a codec, from its rows or else from its class: seconds at one rate, and work."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.facts import facts_of
from benchmark.measure.estimate import interpolate
from benchmark.rows.summary import TIMED, Point

AT_BPP = 0.3  # rate at which figures and tables state seconds


class Seconds(NamedTuple):
    """Seconds to encode and decode a megapixel."""

    value: float
    timed: bool  # True: timed alone; False: typical for one core, as declared by the codec


def megapixel_seconds(points: Sequence[Point]) -> Seconds | None:
    """Return the seconds at `AT_BPP`, or at the nearest setting outside a codec's range.

    They come from rows if all points were timed alone, else from the class; None: from neither.
    """
    if not points:
        return None
    seconds_by_column = [[point.means[name].value for point in points] for name in TIMED]
    if all(value for values in seconds_by_column for value in values):
        return Seconds(
            sum(filter(None, (mean_at_rate(points, name, AT_BPP) for name in TIMED))), True
        )
    typical_value = typical_seconds(points, AT_BPP, ("cpu",))
    return None if typical_value is None else Seconds(typical_value, False)


def mean_at_rate(points: Sequence[Point], name: str, bpp: float) -> float | None:
    """Return a column's mean at a rate, interpolated between settings; None: no values."""
    valued_points = [
        (point, value) for point in points if (value := point.means[name].value) is not None
    ]
    log_rates = _log_rates([point for point, _ in valued_points])
    values = [value for _, value in valued_points]
    return float(np.interp(math.log10(bpp), log_rates, values)) if valued_points else None


def typical_seconds(points: Sequence[Point], bpp: float, devices: Collection[str]) -> float | None:
    """Return the seconds per megapixel at a rate, as declared by the codec's class."""
    setting_names = points[0].setting.name, ""
    for declaration in facts_of(points[0].edition.spec).typical:
        if declaration.device in devices and declaration.setting in setting_names:
            settings = [float(point.setting.value) for point in points]
            setting = float(np.interp(math.log10(bpp), _log_rates(points), settings))
            return interpolate(declaration.seconds, setting)
    return None


def kmac(points: Sequence[Point]) -> float | None:
    """Return the work of encoding and decoding a pixel, in thousand multiply-accumulates.

    If the codec's class declares a total, which counts shared work once, it replaces the sum.
    """
    facts = facts_of(points[0].edition.spec)
    encode = largest_mean(points, "encode_kmac") or facts.work.encode_kmac
    decode = largest_mean(points, "decode_kmac") or facts.work.decode_kmac
    return facts.kmac or (encode + decode if encode and decode else None)


def largest_mean(points: Sequence[Point], column: str) -> float | None:
    """Return the largest mean of a column of `COSTS`; None: no values."""
    means = [point.means.get(column) for point in points]
    return max((mean.value for mean in means if mean and mean.value), default=None)


def _log_rates(points: Sequence[Point]) -> list[float]:
    return [math.log10(point.bpp or math.nan) for point in points]
