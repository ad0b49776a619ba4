"""How long cells will take, from rows measured earlier, and the order that follows. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.plan import Cell


class Estimate(NamedTuple):
    """Seconds of coding on one core, and the cells nothing is known about."""

    seconds: float
    unknown: int


def estimate(cells: Iterable[Cell], table: pa.Table) -> Estimate:
    """The sum of what `expected_seconds` says of the cells."""
    expected = expected_seconds(table)
    known = [expected(cell) for cell in cells]
    return Estimate(math.fsum(one for one in known if one is not None), known.count(None))


def longest_first(cells: Sequence[Cell], table: pa.Table) -> list[Cell]:
    """The same cells, those of each image by falling time; images stay in order.

    So that the last cells of a run, when some workers have nothing left to do, are short ones. A
    cell of unknown length comes before the others, the highest rate first.
    """
    expected = expected_seconds(table)
    place = {source: at for at, source in enumerate(dict.fromkeys(c.source for c in cells))}

    def key(at: int) -> tuple[int, float, int]:
        seconds = expected(cells[at])
        return place[cells[at].source], -math.inf if seconds is None else -seconds, -at

    return [cells[at] for at in sorted(range(len(cells)), key=key)]  # -at: sweeps rise


def expected_seconds(table: pa.Table) -> Callable[[Cell], float | None]:
    """A function: the seconds that coding a cell takes on one core, None where nothing is known.

    Seconds per pixel of the same codec, variant and setting; else of the same codec. Only encoding
    and decoding count: metrics come on top. What a pack has recorded took its time elsewhere: it
    is not learned from, and takes none.
    """
    by_setting = _rates(table, ["codec", "variant", "setting_name", "setting_value"])
    by_codec = _rates(table, ["codec"])

    def expected(cell: Cell) -> float | None:
        if cell.pack is not None:
            return 0.0
        spec, setting = cell.codec, cell.setting
        rate = by_setting.get((spec.name, spec.variant, setting.name, float(setting.value)))
        rate = rate if rate is not None else by_codec.get((spec.name,))
        return None if rate is None else rate * cell.source.width_px * cell.source.height_px

    return expected


def _rates(table: pa.Table, keys: Sequence[str]) -> dict[tuple[object, ...], float]:
    seconds = pc.add(table["encode_seconds"], table["decode_seconds"])
    pixels = pc.multiply(table["width_px"], table["height_px"])
    coded_here = pc.invert(pc.fill_null(table["recorded"], False))
    timed = table.select(list(keys)).append_column("seconds", seconds)
    timed = timed.append_column("pixels", pixels).filter(pc.and_(pc.is_valid(seconds), coded_here))
    sums = timed.group_by(list(keys)).aggregate([("seconds", "sum"), ("pixels", "sum")])
    return {
        tuple(row[key] for key in keys): row["seconds_sum"] / row["pixels_sum"]
        for row in sums.to_pylist()
    }
