"""Rows and streams on disk: shards written once and whole, streams named by their sha256.

    results/<dataset>/per_image/*.parquet   rows; several shards may hold versions of one cell
                     /per_image/shipped*    rows bundled with the project, marked as recorded
                     /runs/<run>.json       where they come from
                     /streams/ab/abcd...    the bytes
                     /damaged/*             shards and streams that were set aside
                     /README.md             how to read the rows

Bundled rows never count as done. They stand until the cell is measured here, and beside the rows
measured here where the two are of different builds (`rows.editions`).
A cell's row is never edited. A later version of it (timed, rescored, tried again) is another row,
and `table` shows the one that stands.

What is stored survives a loss of power: streams are on the disk before the shard that names them,
and that is when `append` returns. A shard that is not as it was written is left out, with a
warning: its rows count as to do.
"""

import fcntl
import hashlib
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmark.errors import DamagedResults, StoreError
from benchmark.rows.files.run_records import RunRecords
from benchmark.rows.files.shard import (
    DAMAGED,
    SHIPPED,
    UNLIKE,
    BadShard,
    read_shard,
    set_aside,
    to_parquet,
    write_shard,
    write_shipped,
)
from benchmark.rows.files.streams import StreamFolder, cells_without_stream
from benchmark.rows.result_file import WaitingFiles, write_results
from benchmark.rows.schema import schema_of, table_schema
from benchmark.rows.versions import merge_versions, share_values

Row = dict[str, Any]

SMALL_SHARD_ROWS = 50_000  # shards below this are put together at the end of a run
OWN = ["cell", "status", "timing", "run", "stream_sha256", "num_bytes"]

# Arrow's own allocator asks the system anew for what it has just given back: half of the processor
# time that a million rows take (tests/speed/store.py).
pa.set_memory_pool(pa.system_memory_pool())


class Stored(NamedTuple):
    """All rows of a store at one time."""

    table: pa.Table  # one row per cell, or two; see `versions.merge_versions`
    own: pa.Table  # columns `OWN` of every version measured here or imported

    def done(self, timed: bool = False) -> set[str]:
        """Return what `Store.done` does."""
        return set(_finished(self.own, timed)["cell"].to_pylist())

    def without_stream(
        self, store: "Store", cells: Collection[str], timed: bool = False
    ) -> set[str]:
        """Return those of finished cells that have lost their streams (`cells_without_stream`)."""
        return cells_without_stream(store, _finished(self.own, timed), cells)


class Store:
    """The results of one dataset, below `results/<dataset>`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards = folder / "per_image"
        self._streams = StreamFolder(folder)
        self._records = RunRecords(folder)
        self._damaged: set[Path] = set()  # shards, as far as they were read

    def begin(self, run: str, record: dict[str, Any]) -> None:
        """Write a run's record; the first write, so an unwritable folder is found out at once."""
        self._records.begin(run, record)

    def amend(self, run: str, facts: dict[str, Any]) -> None:
        """Add facts to a run's record, or replace those of the same names."""
        self._records.amend(run, facts)

    def has_record(self, run: str) -> bool:
        """Return whether a run has a record."""
        return self._records.has(run)

    def record(self, run: str) -> dict[str, Any]:
        """Return a run's record; empty if there is none. Raises `StoreError` for a damaged one."""
        return self._records.read(run)

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all runs, oldest first; warns of those that cannot be read."""
        return self._records.read_all()

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows as one shard, complete or absent; their streams have to be kept before."""
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
        write_results(self.stream_files({digest: stream}))
        return digest

    def keep_all(self, streams: Iterable[bytes]) -> None:
        """Keep streams under their sha256, many at a time: a disk takes as long for one."""
        with WaitingFiles() as waiting:
            for stream in streams:
                waiting.add(self.stream_files({hashlib.sha256(stream).hexdigest(): stream}))

    def stream_files(self, streams: Mapping[str, bytes]) -> dict[Path, bytes]:
        """Return the files to write so that streams, by their sha256, are kept."""
        return self._streams.files(streams)

    def stream(self, digest: str | None) -> bytes | None:
        """Return a kept stream, or None without one. Raises `StoreError` if it has changed."""
        return self._streams.read(digest) if digest else None

    def has_stream(self, digest: str | None, num_bytes: int | None = None) -> bool:
        """Return whether a stream was kept, and has `num_bytes` if that is given; reads nothing."""
        return self._streams.has(digest, num_bytes)

    def keeps_streams(self, run: str) -> bool:
        """Return whether a run kept its streams; True where its record does not say so."""
        return self._records.keeps_streams(run)

    def done(self, timed: bool = False) -> set[str]:
        """Return the keys of the cells with a row without failure (with `timed`, a timed one).

        Bundled rows never count.
        """
        table = self._read(["cell", "status", "timing"])
        return set(_finished(table, timed)["cell"].to_pylist())

    def images(self) -> set[str]:
        """Return the sha256 of the pixels of every image that has a row, a bundled one too."""
        return {
            sha256
            for shipped in (False, True)
            for sha256 in pc.unique(self._read(["image_sha256"], shipped)[0]).to_pylist()
        }

    def table(self) -> pa.Table:
        """Return the best version of each cell, bundled ones among them; see `rows.versions`."""
        return self.read().table

    def read(self) -> "Stored":
        """Read all rows once, for their table and for which cells are done."""
        own, shipped = self._read(None), self._read(None, shipped=True)
        bundled = pa.array([True] * shipped.num_rows, pa.bool_())
        place = shipped.schema.get_field_index("bundled")
        table = _joined(None, [own, shipped.set_column(place, "bundled", bundled)])
        table = share_values(merge_versions(table))
        return Stored(_plain(table), own.select(OWN))

    def versions(self, shipped: bool = False) -> pa.Table:
        """Return every row of every cell: those measured here, or the bundled ones."""
        return _plain(self._read(None, shipped))

    def streams(self) -> Iterator[Path]:
        """Iterate over the files of kept streams, without reading them."""
        return iter(self._streams)

    def compact(self) -> None:
        """Merge small shards into one, unless another run is reading or doing the same."""
        with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB) as held:
            if not held:
                return
            small = [path for path in self._paths() if _row_count(path) < SMALL_SHARD_ROWS]
            if len(small) < 2:
                return
            found = {path: self._readable(path, *_columns(None)) for path in small}
            tables = {path: table for path, table in found.items() if table is not None}
            if len(tables) > 1:
                merged = self._write_shard(_plain(merge_versions(_joined(None, tables.values()))))
                for path in tables.keys() - {merged}:  # it may have come out as one of them
                    path.unlink()

    def set_aside(self) -> list[Path]:
        """Move the damaged shards among those read before away; return their new paths.

        Their rows count as to do either way. Bundled ones stay, and so do all in a folder that may
        only be read or that others are reading.
        """
        moved = []
        with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB) as held, suppress(OSError):
            for path in sorted(self._damaged if held else ()):
                if not path.name.startswith(SHIPPED):
                    moved.append(set_aside(path, self.folder))
        return moved

    def ship(self, name: str, rows: pa.Table) -> Path:
        """Write rows to be bundled with the project as the shard `shipped-<name>`."""
        recorded = pa.array([True] * rows.num_rows, rows.schema.field("recorded").type)
        marked = rows.set_column(rows.schema.get_field_index("recorded"), "recorded", recorded)
        path = self._shards / f"{SHIPPED}-{name}.parquet"
        table = marked.select(table_schema().names).cast(table_schema())
        write_shipped(path, to_parquet(table.drop_columns(["bundled"])))
        return path

    def _paths(self, shipped: bool = False) -> list[Path]:
        paths = sorted(self._shards.glob("*.parquet"))
        return [path for path in paths if path.name.startswith(SHIPPED) == shipped]

    def _read(self, columns: list[str] | None, shipped: bool = False) -> pa.Table:
        names, shared = _columns(columns)
        with self._lock(fcntl.LOCK_SH):  # so that no shard is put away between listing and reading
            try:
                found = [self._readable(path, names, shared) for path in self._paths(shipped)]
            except OSError as error:
                raise StoreError(f"{error.filename} cannot be read: {error.strerror}") from error
        return _joined(columns, [table for table in found if table is not None])

    def _readable(
        self, path: Path, columns: list[str] | None, shared: list[str]
    ) -> pa.Table | None:
        """Read a shard, or warn of it and return None."""
        try:
            return read_shard(path, columns, shared)
        except BadShard as bad:
            if bad.damaged:
                self._damaged.add(path)
            said = f"{path} is left out: {bad}; {_remedy(path, bad)}"
            warnings.warn(DamagedResults(said, path), stacklevel=2)
            return None

    def _write_shard(self, table: pa.Table) -> Path:
        kept = [name for name in table.column_names if name != "bundled"]  # the file's name says it
        return write_shard(self._shards, table.select(kept))

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


def _finished(table: pa.Table, timed: bool) -> pa.Table:
    keep = pc.equal(table["status"], "ok")
    if timed:
        keep = pc.and_(keep, table["timing"])
    return table.filter(keep)


def _columns(columns: list[str] | None) -> tuple[list[str] | None, list[str]]:
    """Return the columns to read, and those of text that many rows share (`read_shard`)."""
    schema = table_schema()
    names = schema.names if columns is None else columns
    return columns, [n for n in names if schema.field(n).type == pa.string() and n not in UNLIKE]


def _joined(columns: list[str] | None, tables: Iterable[pa.Table]) -> pa.Table:
    """Concatenate tables of `columns`, None for all, with one dictionary per column.

    Columns that a shard lacks are null.
    """
    names, shared = _columns(columns)
    schema = table_schema()
    coded = pa.schema(
        one.with_type(pa.dictionary(pa.int32(), pa.string())) if one.name in shared else one
        for one in (schema.field(name) for name in names or schema.names)
    )
    together = pa.concat_tables([coded.empty_table(), *tables], promote_options="default")
    return together.unify_dictionaries()


def _plain(table: pa.Table) -> pa.Table:
    return table.cast(schema_of(table.column_names))


def _row_count(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return 0  # whoever reads it next says what is wrong with it


def _remedy(path: Path, bad: BadShard) -> str:
    if path.name.startswith(SHIPPED):
        return "get the bundled file again"
    if bad.damaged:
        return f"its rows count as to do, and `bench run` moves it to {DAMAGED}/"
    return "its rows count as to do; use the version that wrote it, or remove it"
