"""How long cells will take, from rows measured earlier. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.plan import Cell


class Estimate(NamedTuple):
    """Seconds of coding on one core, and the cells nothing is known about."""

    seconds: float
    unknown: int


def estimate(cells: Iterable[Cell], table: pa.Table) -> Estimate:
    """Seconds per pixel of the same codec, variant and setting; else of the same codec; else none.

    Only encoding and decoding count: metrics come on top, and parallel cells divide it.
    """
    by_setting = _rates(table, ["codec", "variant", "setting_name", "setting_value"])
    by_codec = _rates(table, ["codec"])
    seconds, unknown = 0.0, 0
    for cell in cells:
        spec, setting = cell.codec, cell.setting
        rate = by_setting.get((spec.name, spec.variant, setting.name, float(setting.value)))
        rate = rate if rate is not None else by_codec.get((spec.name,))
        if rate is None:
            unknown += 1
        else:
            seconds += rate * cell.source.width_px * cell.source.height_px
    return Estimate(seconds, unknown)


def _rates(table: pa.Table, keys: Sequence[str]) -> dict[tuple[object, ...], float]:
    seconds = pc.add(table["encode_seconds"], table["decode_seconds"])
    pixels = pc.multiply(table["width_px"], table["height_px"])
    timed = table.select(list(keys)).append_column("seconds", seconds)
    timed = timed.append_column("pixels", pixels).filter(pc.is_valid(seconds))
    sums = timed.group_by(list(keys)).aggregate([("seconds", "sum"), ("pixels", "sum")])
    return {
        tuple(row[key] for key in keys): row["seconds_sum"] / row["pixels_sum"]
        for row in sums.to_pylist()
    }
