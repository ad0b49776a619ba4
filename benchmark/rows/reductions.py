"""Reduced distribution metrics on disk, by what they were reduced from.

    results/<dataset>/sets/<sha256>.parquet   values and each image's influence, written once
                          /shipped*           those bundled with the project

A key names the protocol of the metric and the pixels of every pair in the set, so a value can
neither be stale nor be mistaken for that of other images; folders of several machines merge by
copying.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from benchmark.codec import Float64Array
from benchmark.errors import DamagedResults, StoreError
from benchmark.metrics.distribution_metric import Reduced
from benchmark.rows.files.shard import (
    SHIPPED,
    BadShard,
    read_parquet,
    to_parquet,
    write_shard,
    write_shipped,
)

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string()),
        pa.field("column", pa.string()),
        pa.field("protocol", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("influence", pa.list_(pa.float64())),
    ]
)
MOST_SHARDS = 16  # beyond it they are put together


class Pair(NamedTuple):
    """A source and what a codec made of it, by the sha256 of their pixels."""

    source: str
    decoded: str


class Reduction(NamedTuple):
    """A distribution metric with its inputs; influences are ordered as the sorted pairs."""

    key: str
    column: str
    protocol: str
    reduced: Reduced


def reduction_key(protocol: str, pairs: Iterable[Pair]) -> str:
    """Return a sha256 of the protocol and the pairs, equal for the same pairs in any order."""
    text = json.dumps([protocol, sorted(pairs)])
    return hashlib.sha256(text.encode()).hexdigest()


class Reductions:
    """Reduced distribution metrics of a dataset, in `results/<dataset>/sets`."""

    def __init__(self, store_folder: Path) -> None:
        self.folder = store_folder / "sets"
        self._read_from: list[Path] = []
        self._known: dict[str, Reduction] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            self._known |= {one.key: one for one in _read(path)}
            self._read_from += [] if path.name.startswith(SHIPPED) else [path]

    def get(self, key: str) -> Reduced | None:
        """Return the value that was reduced under a key, or None."""
        found = self._known.get(key)
        return found.reduced if found else None

    def add(self, new: Sequence[Reduction]) -> None:
        """Keep them; a folder that cannot be written costs only the time to reduce again."""
        if not new:
            return
        self._known |= {one.key: one for one in new}
        together = len(self._read_from) >= MOST_SHARDS
        with suppress(StoreError):
            path = write_shard(self.folder, _table(list(self._known.values()) if together else new))
            for old in self._read_from if together else ():
                if old != path:
                    old.unlink(missing_ok=True)
            self._read_from = [path] if together else [*self._read_from, path]

    def lacking_in(self, other: "Reductions") -> list[Reduction]:
        """Return the reductions that the other folder does not have."""
        return [one for key, one in self._known.items() if key not in other._known]

    def ship(self, name: str, others: "Reductions") -> Path:
        """Write the reductions of another folder as bundled ones, replacing earlier ones."""
        path = self.folder / f"{SHIPPED}-{name}.parquet"
        reductions = [others._known[key] for key in sorted(others._known)]
        write_shipped(path, to_parquet(_table(reductions)))
        return path


def _table(reductions: Sequence[Reduction]) -> pa.Table:
    rows = [
        {
            "key": one.key,
            "column": one.column,
            "protocol": one.protocol,
            "value": one.reduced.value,
            "influence": _numbers(one.reduced.influence),
        }
        for one in reductions
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _read(path: Path) -> list[Reduction]:
    """Return the reductions of a file; none, with a warning, where it is damaged."""
    try:
        table = read_parquet(path, None)
        if not table.schema.equals(SCHEMA):
            raise BadShard("its columns are not those of reduced metrics", damaged=False)
    except BadShard as bad:
        remedy = "its metrics are reduced again; remove it"
        said = f"{path} is left out: {bad}; {remedy}"
        warnings.warn(DamagedResults(said, path), stacklevel=2)
        return []
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}; remove it") from error
    rows = table.to_pylist()
    return [
        Reduction(
            row["key"],
            row["column"],
            row["protocol"],
            Reduced(row["value"], _influence(row["influence"])),
        )
        for row in rows
    ]


def _numbers(influence: Float64Array | None) -> list[float] | None:
    return None if influence is None else influence.tolist()


def _influence(numbers: list[float] | None) -> Float64Array | None:
    return None if numbers is None else np.array(numbers, np.float64)
