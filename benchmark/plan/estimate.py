"""Estimate how long cells will take, from rows measured earlier and typical times. Pure."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import Typical
from benchmark.codec_spec import CodecSpec, facts_of
from benchmark.plan.cells import Cell

Basis = Literal["measured", "typical", "unknown"]
Curve = tuple[tuple[float, float], ...]  # values of a setting, rising, and seconds per megapixel
Kind = tuple[str, str, str, str]  # codec, variant, device, name of the setting
Work = tuple[str, tuple[Typical, ...]]


class TimeEstimate(NamedTuple):
    """Seconds of coding on one core, and the cells that nothing, or little, is known about."""

    seconds: float
    unknown: int
    typical: int = 0  # cells whose codec was never measured, but has a typical time


class CostModel:
    """Seconds of coding a cell, learned from the rows of a table.

    Seconds per pixel of the same codec, variant, device and setting: all seconds over all pixels,
    since large images decide how long a run takes. Of a setting that was not measured, what the
    measured ones of its variant say, or else of its codec: they scale the codec's typical curve, or
    where it has none, are interpolated between (the logarithm over the setting, flat outside). Of a
    codec never measured, the typical time. Metrics come on top. What a pack has recorded took its
    time elsewhere: it is not learned from, and takes none.
    """

    def __init__(self, table: pa.Table) -> None:
        sums: dict[Kind, dict[float, _Sum]] = defaultdict(dict)
        for row in _sums(table):
            kind = (row["codec"], row["variant"], row["device"], row["setting_name"])
            sums[kind][row["setting_value"]] = _Sum(row["seconds_sum"], row["pixels_sum"])
        self._by_variant = dict(sums)
        self._by_work: dict[tuple[Work, str, str], dict[float, _Sum]] = defaultdict(dict)
        for (codec, variant, device, name), values in sums.items():
            whole = self._by_work[_work(CodecSpec.of(codec, variant)), device, name]
            for value, one in values.items():
                whole[value] = whole.get(value, _Sum(0, 0)) + one

    def seconds(self, cell: Cell) -> float | None:
        """Return the expected seconds of a cell; None if nothing is known of the codec."""
        if cell.pack is not None:
            return 0.0
        rate = self._rate(cell)
        return None if rate is None else rate * cell.source.width_px * cell.source.height_px

    def basis(self, cell: Cell) -> Basis:
        """Return whether the expected seconds come from measured rows or from typical times."""
        if cell.pack is not None or self._measured(cell):
            return "measured"
        return "typical" if _typical(cell) else "unknown"

    def _measured(self, cell: Cell) -> Mapping[float, "_Sum"]:
        codec, variant, device, name = (
            cell.codec.name,
            cell.codec.variant,
            cell.info.device,
            cell.setting.name,
        )
        own = self._by_variant.get((codec, variant, device, name))
        return own or self._by_work.get((_work(cell.codec), device, name), {})

    def _rate(self, cell: Cell) -> float | None:
        """Return the expected seconds per pixel."""
        measured, typical, value = self._measured(cell), _typical(cell), float(cell.setting.value)
        if value in measured:
            return measured[value].rate
        if not measured:
            return interpolated(typical, value) / 1e6 if typical else None
        if typical:
            expected = math.fsum(
                interpolated(typical, at) / 1e6 * one.pixels for at, one in measured.items()
            )
            found = math.fsum(one.seconds for one in measured.values())
            return interpolated(typical, value) / 1e6 * (found / expected)
        return interpolated([(at, measured[at].rate) for at in sorted(measured)], value)


class _Sum(NamedTuple):
    seconds: float
    pixels: float

    def __add__(self, other: object) -> "_Sum":
        assert isinstance(other, _Sum)
        return _Sum(self.seconds + other.seconds, self.pixels + other.pixels)

    @property
    def rate(self) -> float:
        return self.seconds / self.pixels


def interpolated(curve: Sequence[tuple[float, float]], at: float) -> float:
    """Interpolate the logarithm of a curve linearly; outside its points, return the nearest value.

    >>> interpolated([(10, 1.0), (20, 100.0)], 15), interpolated([(10, 1.0), (20, 100.0)], 40)
    (10.0, 100.0)
    """
    for (left, low), (right, high) in pairwise(curve):
        if left <= at <= right:
            if low <= 0 or high <= 0:  # a clock too coarse for it
                return max(low, high)
            share = (at - left) / (right - left)
            return float(low ** (1 - share) * high**share)
    return curve[0][1] if at < curve[0][0] else curve[-1][1]


def estimate(cells: Sequence[Cell], model: CostModel) -> TimeEstimate:
    """Return the sum of the seconds that the model expects of the cells."""
    known = [model.seconds(cell) for cell in cells]
    return TimeEstimate(
        math.fsum(one for one in known if one is not None),
        known.count(None),
        sum(model.basis(cell) == "typical" for cell in cells),
    )


def _typical(cell: Cell) -> Curve:
    """Return the typical curve of a cell's codec, device and setting; empty if there is none.

    The curve of a codec comes from its class (`Facts.typical`).
    """
    for one in facts_of(cell.codec).typical:
        if one.device == cell.info.device and one.setting in (cell.setting.name, ""):
            return one.seconds
    return ()


def _work(codec: CodecSpec) -> Work:
    """Return a key that variants of a codec share which take about the same time."""
    return codec.name, facts_of(codec).typical


def _sums(table: pa.Table) -> list[dict[str, Any]]:
    keys = ["codec", "variant", "device", "setting_name", "setting_value"]
    seconds = pc.add(table["encode_seconds"], table["decode_seconds"])
    pixels = pc.multiply(table["width_px"], table["height_px"])
    coded_here = pc.invert(pc.fill_null(table["recorded"], False))
    timed = table.select(keys).append_column("seconds", seconds)
    timed = timed.append_column("pixels", pixels).filter(pc.and_(pc.is_valid(seconds), coded_here))
    sums = timed.group_by(keys).aggregate([("seconds", "sum"), ("pixels", "sum")])
    found: list[dict[str, Any]] = sums.to_pylist()
    return found
