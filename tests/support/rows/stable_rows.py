"""Rows without what differs between two runs, and what a run that was cut off has lost."""

import json
from collections import defaultdict
from hashlib import sha256

import polars as pl

from benchmark.rows.schema import CELL_COLUMNS
from benchmark.rows.store import Store

SECONDS = {column.name for column in CELL_COLUMNS if column.unit == "s"}
VOLATILE = {"run", "finished_utc"} | SECONDS


def stable(store):
    return store.table().drop(VOLATILE).sort("cell").rows(named=True)


def only_store(results):
    (folder,) = (path.parent for path in results.glob("*/per_image"))
    return Store(folder)


def unreadable(store):
    """Files of a store that are there under their name and are not whole."""
    bad = [path for path in store.streams() if sha256(path.read_bytes()).hexdigest() != path.name]
    for read, pattern in ((pl.read_parquet, "per_image/*.parquet"), (read_json, "runs/*.json")):
        for path in store.folder.glob(pattern):
            try:
                read(path)
            except Exception:
                bad.append(path)
    return bad


def read_json(path):
    return json.loads(path.read_text())


def measured_twice(store):
    """Cells with rows of two measurements of this folder's runs, or of one merged into it.

    A shard and its compacted copy are one; a row of a pack is none, and stays beside a measured one
    until shards are compacted.
    """
    result = defaultdict(set)
    for row in store.versions().rows(named=True):
        if not row["recorded"]:
            result[row["cell"]].add((row["run"], row["finished_utc"]))
    return [cell for cell, versions in result.items() if len(versions) > 1]


def losses_of(store, earlier_cells):
    """What must not be, after a kill; and the cells that are stored now."""
    if store is None:
        return len(earlier_cells), set()
    cells = store.finished_cells()
    digests = store.table().filter(status="ok")["stream_sha256"]
    lost = len(earlier_cells - cells) + len(unreadable(store)) + len(measured_twice(store))
    return lost + sum(not store.has_stream(digest) for digest in digests), cells
