"""Distribution metrics of a dataset's sets of images on disk, reduced from features.

    results/<dataset>/sets/<sha256>.parquet    values and each image's influence, written once
                          /shipped*            those bundled with the project

A reduction's key names the metric's protocol and the pixels of every pair of the set; equal keys
have equal values.
"""

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmark.errors import DamagedResults, StoreError
from benchmark.metrics.distribution_metric import Reduced
from benchmark.rows.shard import SHIPPED, BadShard, read_parquet, write_shard
from benchmark.system.atomic import require_inside

TEXTS = dict.fromkeys(("key", "column", "protocol"), pl.String())
SCHEMA = pl.Schema({**TEXTS, "value": pl.Float64(), "influence": pl.List(pl.Float64)})
MOST_SHARDS = 16  # of reductions; beyond it they are put together


class Pair(NamedTuple):
    """A source and its decoded image, by the sha256 of their pixels."""

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
    return hashlib.sha256(json.dumps([protocol, sorted(pairs)]).encode()).hexdigest()


class Reductions:
    """Reduced distribution metrics of a dataset, in `results/<dataset>/sets`."""

    def __init__(self, store_folder: Path) -> None:
        self._store_folder, self.folder = store_folder, store_folder / "sets"
        self._shards: list[Path] = []  # that were read and are not bundled
        self._known: dict[str, Reduction] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            reductions = _read(path)
            self._known |= {reduction.key: reduction for reduction in reductions or ()}
            if reductions is not None and not path.name.startswith(SHIPPED):
                self._shards.append(path)

    def get(self, key: str) -> Reduced | None:
        """Return the value that was reduced under a key, or None."""
        known = self._known.get(key)
        return known.reduced if known else None

    def add(self, new: Sequence[Reduction]) -> None:
        """Keep them; a folder that cannot be written costs only the time to reduce again."""
        if not new:
            return
        self._known |= {reduction.key: reduction for reduction in new}
        together = len(self._shards) >= MOST_SHARDS
        with suppress(StoreError):
            require_inside(self._store_folder, self.folder / "any")
            path = write_shard(self.folder, _table(self._known.values() if together else new))
            for old in {*self._shards} - {path} if together else ():
                old.unlink(missing_ok=True)
            self._shards = [path] if together else [*self._shards, path]

    def lacking_in(self, other: "Reductions") -> list[Reduction]:
        """Return the reductions that the other folder does not have."""
        return [self._known[key] for key in self._known if key not in other._known]

    def ship(self, name: str, others: "Reductions") -> Path:
        """Write the reductions of another folder as bundled ones, replacing earlier ones."""
        reductions = [others._known[key] for key in sorted(others._known)]
        return write_shard(self.folder, _table(reductions), name)


def _table(reductions: Iterable[Reduction]) -> pl.DataFrame:
    rows = [
        (each.key, each.column, each.protocol, each.reduced.value, each.reduced.influence)
        for each in reductions
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def _read(path: Path) -> list[Reduction] | None:
    """Return the reductions of a file; None, with a warning, where it is damaged."""
    try:
        table = read_parquet(path)
        if table.schema != SCHEMA:
            raise BadShard("its columns are not those of reduced metrics")
    except BadShard as bad:
        remedy = "its metrics are reduced again; remove it"
        warnings.warn(DamagedResults(f"{path} is left out: {bad}; {remedy}", path), stacklevel=2)
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}; remove it") from error
    return [
        Reduction(key, column, protocol, Reduced(value, None if i is None else np.array(i)))
        for key, column, protocol, value, i in table.rows()
    ]
