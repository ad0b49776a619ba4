"""The csv of published seconds, memory and parameters in; typed numbers, a system each, out. Pure.

`results/published/complexity.csv` is made by `tools/import_published.py`.
"""

import csv
from collections.abc import Mapping
from io import StringIO
from typing import NamedTuple

from benchmark.analysis.systems import SYSTEMS
from benchmark.errors import StoreError
from benchmark.published.points import slug
from benchmark.published.traversal import family_of

COLUMNS = (
    "system", "metric", "value", "unit", "dataset", "machine", "how", "source", "reference",
)  # fmt: skip
ENCODE, DECODE = "encode_seconds", "decode_seconds"


class Complexity(NamedTuple):
    """What one source says of one system; seconds are of an image of the dataset."""

    system: str
    look: str  # label that `figures.style.looks` knows it by
    values: Mapping[str, float]  # by metric
    dataset: str
    machine: str
    source: str
    reference: str


def parse_complexity(text: str) -> tuple[Complexity, ...]:
    """Every system of the csv, in its order.

    Raises `StoreError` for other columns, and for a row that is no number or has no source.
    """
    reader = csv.DictReader(StringIO(text, newline=""))
    if reader.fieldnames != list(COLUMNS):
        raise StoreError(f"the published seconds have other columns than {', '.join(COLUMNS)}")
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for row in reader:
        key = tuple(row[name] for name in ("system", "dataset", "machine", "source", "reference"))
        if not all(key):
            raise StoreError(f"line {reader.line_num} of the published seconds lacks its origin")
        try:
            found.setdefault(key, {})[row["metric"]] = float(row["value"])
        except ValueError as error:
            raise StoreError(f"line {reader.line_num} of the published seconds: {error}") from error
    known = {family_of(system)[0]: system.look for system in reversed(SYSTEMS)}
    return tuple(
        Complexity(key[0], known.get(key[0], slug(key[0])), values, *key[1:])
        for key, values in found.items()
    )
