"""Changes of encoding and decoding seconds between the two codec variants of a pair."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from benchmark.analysis.comparable import ComparableRows
from benchmark.check.compare import Changes, Criterion, unjudged
from benchmark.check.pairing import VariantPair

TIMES = {"encode_seconds": "encoding", "decode_seconds": "decoding"}


def time_changes(pair: VariantPair) -> list[Changes]:
    """Return the changes of the seconds, if both sides were timed alone on the same machine."""
    both = pair.reference, pair.test
    sides = [ComparableRows(side.rows, side.summary.protocols["coding"]) for side in both]
    found = []
    for column, label in TIMES.items():
        how = Criterion(column, label, "ratio")
        why = _why_no_times(sides)
        if why:
            found.append(unjudged(how, why))
            continue
        before, after = (np.log(rows.numbers(column)) for rows in sides)
        images = sides[0].image  # both sides have the same cells, in one order
        logs = np.bincount(images, after - before) / np.bincount(images)
        found.append(Changes(how, pair.images, np.asarray(100 * np.expm1(logs), np.float64)))
    return found


def _why_no_times(sides: Sequence[ComparableRows]) -> str:
    machines: set[tuple[str, ...]] = set()
    for rows, whose in zip(sides, ("the reference", "what is checked"), strict=True):
        alone = (rows.numbers("timing") == 1) & (rows.numbers("recorded") != 1)
        if not alone.all():
            return f"{np.count_nonzero(~alone)} rows of {whose} were not timed (`--timing`)"
        for column in TIMES:
            if not (rows.numbers(column) > 0).all():
                return f"rows of {whose} have no seconds"
        chosen = rows.table.select(["machine", "device"]).take(pa.array(rows.index))
        machines |= set(zip(*chosen.to_pydict().values(), strict=True))
    if len(machines) > 1:
        return "they were timed on different machines"
    return ""
