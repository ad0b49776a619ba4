"""Rows and streams on disk: shards written once and whole, streams named by their sha256.

    results/<dataset>/per_image/*.parquet   rows; several shards may hold versions of one cell
                     /per_image/shipped*    rows bundled with the project, marked as recorded
                     /runs/<run>.json       where they come from
                     /streams/ab/abcd...    the bytes
                     /README.md             how to read the rows

Bundled rows never count as done. They stand until the cell is measured here, and beside the rows
measured here where the two are of different builds (`rows.editions`).
A cell's row is never edited. A later version of it (timed, rescored, tried again) is another row,
and `table` shows the one that stands.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmark.errors import StoreError
from benchmark.rows.result_file import write_result
from benchmark.rows.schema import schema_of, table_schema
from benchmark.rows.versions import merge_versions, share_values

Row = dict[str, Any]

SHIPPED = "shipped"  # prefix of the shards that are bundled with the project
SMALL_SHARD_ROWS = 50_000  # shards below this are put together at the end of a run
UNLIKE = ("cell", "stream_sha256", "decoded_sha256", "finished_utc")  # texts that no two rows share
README = (
    "Read the rows of this folder with `benchmark.load`, which counts no image twice: the parquet "
    "files of `per_image` hold several versions of a row, and bundled rows beside rows measured "
    "here.\n"
)
SHA256 = re.compile("[0-9a-f]{64}")

# Arrow's own allocator asks the system anew for what it has just given back: half of the processor
# time that a million rows take (tests/speed/store.py).
pa.set_memory_pool(pa.system_memory_pool())


class Stored(NamedTuple):
    """All rows of a store at one time."""

    table: pa.Table  # one row per cell, or two; see `versions.merge_versions`
    own: pa.Table  # cell, status and timing of every version measured here or imported

    def done(self, timed: bool = False) -> set[str]:
        """Return what `Store.done` does."""
        return _done(self.own, timed)


class Store:
    """The results of one dataset, below `results/<dataset>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards = folder / "per_image"

    def begin(self, run: str, record: dict[str, Any]) -> None:
        """Write a run's record; the first write, so an unwritable folder is found out at once."""
        if not (readme := self.folder / "README.md").exists():
            write_result(readme, README.encode())
        self._write_record(run, record)

    def amend(self, run: str, facts: dict[str, Any]) -> None:
        """Add facts to a run's record, or replace those of the same names."""
        self._write_record(run, {**self.record(run), **facts})

    def _write_record(self, run: str, record: dict[str, Any]) -> None:
        text = json.dumps(record, indent=1, sort_keys=True, default=str)
        write_result(self.folder / "runs" / f"{run}.json", text.encode())

    def record(self, run: str) -> dict[str, Any]:
        """Return a run's record; empty if there is none."""
        path = self.folder / "runs" / f"{run}.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read: {error}") from error
        return record

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all runs, oldest first."""
        return [self.record(path.stem) for path in sorted((self.folder / "runs").glob("*.json"))]

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows as one shard, complete or absent."""
        if rows:
            schema = schema_of(name for row in rows for name in row)
            self._write_shard(pa.Table.from_pylist(list(rows), schema=schema))

    def add(self, rows: pa.Table) -> None:
        """Add a table, with the columns that `versions` returns, as one shard."""
        if rows.num_rows:
            self._write_shard(rows)

    def keep(self, stream: bytes, digest: str | None = None) -> str:
        """Keep a stream under its sha256, and return that.

        digest: the sha256 of `stream`, if the caller has computed it.
        """
        digest = digest or hashlib.sha256(stream).hexdigest()
        path = self._stream_path(digest)
        if not path.exists():
            write_result(path, stream)
        return digest

    def stream(self, digest: str | None) -> bytes | None:
        """Return a kept stream, or None without one. Raises `StoreError` if it has changed."""
        path = self._stream_path(digest) if digest else None
        if path is None or not path.exists():
            return None
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise StoreError(f"{path} is damaged: its bytes do not match its name; remove it")
        return data

    def has_stream(self, digest: str | None) -> bool:
        """Return whether a stream was kept, without reading it."""
        known = digest is not None and SHA256.fullmatch(digest) is not None
        return known and self._stream_path(str(digest)).exists()

    def done(self, timed: bool = False) -> set[str]:
        """Return the keys of the cells with a row without failure (with `timed`, a timed one).

        Bundled rows never count.
        """
        return _done(self._read(["cell", "status", "timing"]), timed)

    def images(self) -> set[str]:
        """Return the sha256 of the pixels of every image that has a row, a bundled one too."""
        column = ["image_sha256"]
        return {
            sha256
            for shipped in (False, True)
            for sha256 in pc.unique(self._read(column, shipped)["image_sha256"]).to_pylist()
        }

    def table(self) -> pa.Table:
        """Return the best version of each cell, bundled ones among them; see `rows.versions`."""
        return self.read().table

    def read(self) -> "Stored":
        """Read all rows once, for their table and for which cells are done."""
        own, shipped = self._read(None), self._read(None, shipped=True)
        bundled = pa.array([True] * shipped.num_rows, pa.bool_())
        place = shipped.schema.get_field_index("bundled")
        table = _joined([own, shipped.set_column(place, "bundled", bundled)])
        table = share_values(merge_versions(table))
        return Stored(_plain(table), own.select(["cell", "status", "timing"]))

    def versions(self, shipped: bool = False) -> pa.Table:
        """Return every row of every cell: those measured here, or the bundled ones."""
        return _plain(self._read(None, shipped))

    def streams(self) -> Iterator[Path]:
        """Iterate over the files of kept streams, without reading them."""
        return (path for path in self.folder.glob("streams/??/*") if path.name[0] != ".")

    def compact(self) -> None:
        """Merge small shards into one, unless another run is reading or doing the same."""
        with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
            if not held:
                return
            small = [path for path in self._paths() if _row_count(path) < SMALL_SHARD_ROWS]
            if len(small) > 1:
                self._write_shard(_plain(merge_versions(_concatenated(small, None))))
                for path in small:
                    path.unlink()

    def ship(self, name: str, rows: pa.Table) -> Path:
        """Write rows to be bundled with the project as the shard `shipped-<name>`."""
        recorded = pa.array([True] * rows.num_rows, rows.schema.field("recorded").type)
        marked = rows.set_column(rows.schema.get_field_index("recorded"), "recorded", recorded)
        path = self._shards / f"{SHIPPED}-{name}.parquet"
        self._write_table(path, marked.select(table_schema().names).cast(table_schema()))
        return path

    def _paths(self, shipped: bool = False) -> list[Path]:
        paths = sorted(self._shards.glob("*.parquet"))
        return [path for path in paths if path.name.startswith(SHIPPED) == shipped]

    def _read(self, columns: list[str] | None, shipped: bool = False) -> pa.Table:
        with self._lock(fcntl.LOCK_SH):  # so that no shard is put away between listing and reading
            try:
                return _concatenated(self._paths(shipped), columns)
            except (OSError, pa.ArrowException) as error:
                raise StoreError(f"results in {self._shards} cannot be read: {error}") from error

    def _write_shard(self, table: pa.Table) -> None:
        self._write_table(self._shards / f"{uuid4().hex}.parquet", table)

    def _write_table(self, path: Path, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        kept = [name for name in table.column_names if name != "bundled"]  # the file's name says it
        pq.write_table(table.select(kept), sink, compression="zstd")
        write_result(path, memoryview(sink.getvalue()), durable=True)

    def _stream_path(self, digest: str) -> Path:
        if not SHA256.fullmatch(digest):  # in rows of a stranger it may be a path to elsewhere
            raise StoreError(f"{self.folder} has a row whose stream is called {digest!r}")
        return self.folder / "streams" / digest[:2] / digest

    @contextmanager
    def _lock(self, kind: int) -> Iterator[bool]:
        """Hold the lock of the shards; yields False where it is held by another or cannot be."""
        try:
            handle = os.open(self._shards, os.O_RDONLY)
        except OSError:
            yield False  # nothing stored yet
            return
        try:
            try:
                fcntl.flock(handle, kind)
                held = True
            except OSError:  # taken, or a file system without locks
                held = False
            yield held
        finally:
            os.close(handle)


def _done(table: pa.Table, timed: bool) -> set[str]:
    keep = pc.equal(table["status"], "ok")
    if timed:
        keep = pc.and_(keep, table["timing"])
    return set(table.filter(keep)["cell"].to_pylist())


def _concatenated(paths: Sequence[Path], columns: list[str] | None) -> pa.Table:
    """Read the rows of shards; texts that many rows share are dictionaries, four times as fast."""
    schema = table_schema()
    names = schema.names if columns is None else columns
    shared = [n for n in names if schema.field(n).type == pa.string() and n not in UNLIKE]
    fields = [schema.field(name) for name in names]
    coded = pa.schema(
        one.with_type(pa.dictionary(pa.int32(), pa.string())) if one.name in shared else one
        for one in fields
    )
    return _joined([coded.empty_table(), *(_read_shard(path, columns, shared) for path in paths)])


def _read_shard(path: Path, columns: list[str] | None, shared: Sequence[str]) -> pa.Table:
    # pq.read_table would import pyarrow.dataset, a quarter of the time that a finished run takes.
    metadata = pq.read_metadata(path)
    of_shard = set(metadata.schema.to_arrow_schema().names)  # an older one lacks later columns
    dictionaries = [name for name in shared if name in of_shard]
    return pq.ParquetFile(path, metadata=metadata, read_dictionary=dictionaries).read(columns)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate tables, with one dictionary per column; columns that a shard lacks are null."""
    return pa.concat_tables(tables, promote_options="default").unify_dictionaries()


def _plain(table: pa.Table) -> pa.Table:
    return table.cast(schema_of(table.column_names))


def _row_count(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)
