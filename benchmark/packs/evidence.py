"""What results hold of a dataset: rows and streams of the store, and of packs what it lacks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from benchmark.packs.import_pack import row_of
from benchmark.packs.pack import INDEX, Line, Pack, open_pack, shipped_packs
from benchmark.rows.schema import table_schema
from benchmark.rows.store import Store
from benchmark.rows.versions import merge_versions

EARLIEST_RUN = "00000000T000000-pack"  # where a codec was run here as well, its own rows stand


class Evidence(NamedTuple):
    """A dataset's rows, one a cell, and where their streams are."""

    table: pa.Table  # columns of `schema.table_schema`
    store: Store
    lines: Mapping[str, tuple[Pack, Line]]  # by cell, of rows that a pack has and the store has not

    def stream(self, row: Mapping[str, Any]) -> bytes | None:
        """The bytes of a row; None where they were not kept.

        Raises `StoreError` or `BadPack` where they are damaged.
        """
        if row["cell"] in self.lines:
            pack, line = self.lines[row["cell"]]
            return pack.stream(line)
        return self.store.stream(row["stream_sha256"])

    def has_stream(self, row: Mapping[str, Any]) -> bool:
        """Whether there is a stream, its bytes not looked at."""
        return row["cell"] in self.lines or self.store.has_stream(row["stream_sha256"])


def packs_beside(results: Path) -> list[Pack]:
    """The packs of a results folder; those that the project ships where it has no such folder."""
    folder = results / "packs"
    if not folder.is_dir():
        return shipped_packs()
    found = [*folder.glob("*.tar"), *(index.parent for index in folder.glob(f"*/{INDEX}"))]
    return [open_pack(path) for path in sorted(found)]


def attested(table: pa.Table) -> pa.Table:
    """The rows whose stream a fresh process has decoded to the same pixels."""
    return table.filter(table["attested"].fill_null(False))


def gather(results: Path, dataset: str, packs: Sequence[Pack]) -> Evidence:
    """Everything of a dataset, by the name of its store; nothing at all is an empty table."""
    store = Store(results / dataset)
    table = store.table()
    done = store.done()
    lines: dict[str, tuple[Pack, Line]] = {}
    rows = []
    for pack in packs:
        for line in pack.lines.values():
            if (line.cells.get("dataset") or "").partition(":")[0] == dataset:
                row = row_of(pack, line, EARLIEST_RUN)
                if row["cell"] not in done and row["cell"] not in lines:
                    lines[row["cell"]] = pack, line
                    rows.append(row)
    if rows:
        added = pa.Table.from_pylist(rows, schema=table_schema())
        table = merge_versions(pa.concat_tables([table, added], promote_options="default"))
    return Evidence(table, store, lines)
