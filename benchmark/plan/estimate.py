"""Estimate how long cells will take, from rows measured earlier and typical times. Pure."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec_spec import CodecSpec, parse_codec
from benchmark.plan.cells import Cell

Basis = Literal["measured", "typical", "unknown"]
Curve = tuple[tuple[float, float], ...]  # values of a setting, rising, and seconds per megapixel
Kind = tuple[str, str, str, str]  # codec, variant, device, name of the setting

# Encoding and decoding by default options on one core of a shared AMD EPYC, photographs of Kodak
# and `sample`; `ours` on cuda is an A100 (results/published/complexity.csv). They are a beginning:
# what is measured of a codec scales its curve, and a setting that is measured stands for itself.
TYPICAL: Mapping[tuple[str, str, str], Curve] = {
    ("raw", "cpu", "bits"): ((8, 0.01),),
    ("jpeg", "cpu", "quality"): ((5, 0.013), (50, 0.02), (95, 0.035)),
    ("jpegli", "cpu", "quality"): ((1, 0.03), (90, 0.04)),
    ("mozjpeg", "cpu", "quality"): ((5, 0.25), (90, 0.6)),
    ("webp", "cpu", "quality"): ((1, 0.15), (50, 0.18), (85, 0.26)),
    ("jpeg2000", "cpu", "ratio"): ((12, 0.45), (240, 0.4)),
    ("avif", "cpu", "crf"): ((18, 12), (34, 9), (60, 4)),
    ("jpegxl", "cpu", "distance"): ((0.5, 1.7), (3, 1.1), (15, 1.0)),
    ("x265", "cpu", "qp"): ((22, 4.4), (32, 3.3), (47, 1.9)),
    ("vvenc", "cpu", "qp"): ((22, 14), (32, 10), (37, 7), (42, 5.5), (47, 4)),
    ("vtm", "cpu", "qp"): ((22, 388), (27, 242), (32, 113), (37, 71), (42, 43), (47, 19)),
    ("compressai", "cpu", "quality"): ((1, 1.5), (3, 2.1), (8, 6)),
    ("msillm", "cpu", "quality"): ((1, 35), (6, 35)),
    ("ours", "cpu", "q"): ((0, 1.3), (4, 1.4)),
    ("ours", "cpu", "bpp"): ((0, 7),),
    ("ours", "cpu", "psnr"): ((0, 14),),
    ("ours", "cuda", "q"): ((0, 0.39), (4, 0.39)),
    ("charm", "cpu", "level"): ((1, 1.3),),
    ("elic", "cpu", "level"): ((1, 1.15),),
    ("ivr", "cpu", "q"): ((0, 1.1),),
    ("hific", "cpu", "level"): ((1, 2.4),),
    ("multirealism", "cpu", "level"): ((1, 0.9),),
    ("pqmim", "cpu", "level"): ((1, 9), (4, 10.6)),
}
# Codecs that draw behind the codec of their option `base`: seconds per megapixel and step, and the
# base and the number of steps unless said.
DRAWING: Mapping[tuple[str, str], tuple[float, str, int]] = {
    ("dirac", "cpu"): (0.3, "elic", 1),
    ("hfd", "cpu"): (0.3, "elic", 20),
}
# Encoders that search in steps: seconds per megapixel and step, and steps by the option `effort`.
SEARCHING: Mapping[tuple[str, str], tuple[float, tuple[int, ...]]] = {
    ("ours", "cpu"): (0.9, (0, 25, 200, 600)),
}


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
        self._by_codec: dict[Kind, dict[float, _Sum]] = defaultdict(dict)
        for (codec, variant, device, name), values in sums.items():
            whole = self._by_codec[_work(CodecSpec.of(codec, variant)), "", device, name]
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
        return own or self._by_codec.get((_work(cell.codec), "", device, name), {})

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
    """Return the typical curve of a codec; one that draws takes its base's time, and each step's.

    Where nothing is known of the base, the steps alone. Steps of a search come on top.
    """
    name, device, setting = cell.codec.name, cell.info.device, cell.setting.name
    if (name, device) not in DRAWING:
        searched = _searched(cell.codec, device)
        curve = TYPICAL.get((name, device, setting), ())
        return tuple((at, seconds + searched) for at, seconds in curve)
    base, steps = _drawing(cell.codec, *DRAWING[name, device][1:])
    drawn = steps * DRAWING[name, device][0]
    under = TYPICAL.get((parse_codec(base).name, device, setting), ((0, 0.0),))
    return tuple((at, seconds + drawn) for at, seconds in under)


def _drawing(codec: CodecSpec, base: str, steps: int) -> tuple[str, int]:
    """Return the base and the number of steps of a codec that draws, these two unless it says."""
    options = dict(codec.options)
    return options.get("base", base), int(options.get("steps", steps))


def _searched(codec: CodecSpec, device: str) -> float:
    """Return the seconds per megapixel of an encoder's search, 0 for one that does not search."""
    each, steps = SEARCHING.get((codec.name, device), (0.0, (0,)))
    effort = int(dict(codec.options).get("effort", 0))
    return each * steps[min(effort, len(steps) - 1)]


def _work(codec: CodecSpec) -> str:
    """Return what variants of a codec have in common that take about the same time."""
    if any(name == codec.name for name, _ in SEARCHING):
        return f"{codec.name}:{dict(codec.options).get('effort', 0)}"
    if not any(name == codec.name for name, _ in DRAWING):
        return codec.name
    base, steps = _drawing(codec, "", 0)
    return f"{codec.name}:{base}:{steps}"


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
