"""The stored row of each codec whose rate is nearest to one asked for."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

StoredRow = Mapping[str, Any]

FARTHEST = 1.6  # a codec whose nearest setting has a rate further off, by ratio, is left out


def nearest(
    rows: Mapping[str, Sequence[StoredRow]], bpp: float
) -> tuple[dict[str, StoredRow], list[str]]:
    """Return the row nearest to a rate by codec, and the codecs whose nearest is too far off."""
    found = {
        name: min(of_codec, key=lambda row: abs(math.log(row["bpp"] / bpp)))
        for name, of_codec in rows.items()
    }
    far = [
        name for name, row in found.items() if abs(math.log(row["bpp"] / bpp)) > math.log(FARTHEST)
    ]
    return {name: row for name, row in found.items() if name not in far}, far
