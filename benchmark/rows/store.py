"""Rows and streams on disk: shards written once and whole, streams named by their sha256.

    results/<dataset>/per_image/*.parquet   rows; several shards may hold versions of one cell
                     /per_image/shipped*    rows bundled with the project, marked as recorded
                     /runs/<run>.json       where they come from
                     /streams/ab/abcd...    the bytes
                     /damaged/*             shards and streams that were set aside
                     /README.md             how to read the rows

A cell's row is never edited: a later version of it is another row, and `Store.table` returns the
valid one (`rows.versions`). What is stored survives a loss of power: streams are on the disk before
the shard that names them, and that when `append` returns. A damaged shard is left out, with a
warning: its rows count as to do.
"""

import json
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmark.errors import DamagedResults, StoreError
from benchmark.registry import FEATURE_SPACES, METRICS, metric_class, names_file
from benchmark.rows.schema import WHERE_READ, metric_columns, plain, schema_of, table_schema
from benchmark.rows.shard import SHIPPED, UNLIKE, BadShard, read_shard, write_shard
from benchmark.rows.streams import DAMAGED, StreamFolder, set_aside
from benchmark.rows.versions import (
    bundled_beside_own,
    merge_versions,
    share_values,
    with_equal_builds,
)
from benchmark.system.atomic import lock, require_inside, write_results
from benchmark.system.bundled import begin_with_bundled
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, is_regular, read_regular

Row = dict[str, Any]

SMALL_SHARD_ROWS = 50_000  # shards below this are put together at the end of a run
OWN = ["cell", "status", "timing", "run", "stream_sha256", "num_bytes"]
README = (
    "Read the rows of this folder with `benchmark.load`, which counts no image twice: the parquet "
    "files of `per_image` hold several versions of a row, and bundled rows beside rows measured "
    "here.\n"
)


class RunRecords:
    """The records of runs below the folder of a dataset's results, each named by its run."""

    folder: Path

    def begin(self, run: str, record: Mapping[str, Any]) -> None:
        """Write a run's record, the first file of a run, and beside it how to read the rows."""
        files = {self._written(run): _json(record)}
        if not (readme := self.folder / "README.md").exists():
            files[readme] = README.encode()
        write_results(files)

    def amend(self, run: str, facts: Mapping[str, Any]) -> None:
        """Add facts to a run's record, or replace those of the same names."""
        write_results({self._written(run): _json({**self.record(run), **facts})})

    def has_record(self, run: str) -> bool:
        """Return whether a run has a record; False for a name that no file can have."""
        return Path(run).name == run and is_regular(self._record_path(run))

    def record(self, run: str) -> dict[str, Any]:
        """Return a run's record; empty if there is none. Raises `StoreError` for a damaged one."""
        path = self._record_path(run)
        try:
            record = json.loads(read_regular(path, LARGEST_FILE_BYTES))
            if not isinstance(record, dict):
                raise ValueError("it is no record")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise StoreError(f"{path} cannot be read: {error}; restore or remove it") from error
        return record

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all runs, oldest first; warns of those that cannot be read."""
        records = []
        for path in sorted((self.folder / "runs").glob("*.json")):
            try:
                records.append(self.record(path.stem))
            except StoreError as error:
                warnings.warn(f"a run's record is left out: {error}", DamagedResults, stacklevel=2)
        return records

    def keeps_streams(self, run: str) -> bool:
        """Return whether a run kept its streams; True where its record does not say so."""
        try:
            request = self.record(run).get("request")
        except StoreError:
            return True
        return not (isinstance(request, dict) and request.get("keep") is False)

    def _written(self, run: str) -> Path:
        path = self._record_path(run)
        require_inside(self.folder, path)
        return path

    def _record_path(self, run: str) -> Path:
        if Path(run).name != run:  # in rows of a stranger it may be a path to elsewhere
            raise StoreError(f"{self.folder} has a row whose run is called {run!r}")
        return self.folder / "runs" / f"{run}.json"


class Stored(NamedTuple):
    """All rows of a store at one time."""

    # One row per cell, or two (`versions.merge_versions`), of pictures that were coded once
    table: pa.Table
    own: pa.Table  # columns `OWN` of every version measured here or imported, no bundled one

    def done(self, timed: bool = False) -> set[str]:
        """Return the keys of the cells with a row without failure (with `timed`, a timed one)."""
        return set(_finished(self.own, timed)["cell"].to_pylist())

    def without_stream(
        self, store: "Store", cells: Collection[str], timed: bool = False
    ) -> set[str]:
        """Return the cells of which every finished row lost its stream: missing, or another size.

        A row has lost nothing if its run kept no streams (`bench run --no-keep`), or if its size
        was declared by a list. Contents are not read: `bench doctor` does that.
        """
        rows = _finished(self.own, timed)
        rows = rows.filter(pc.is_in(rows["cell"], value_set=pa.array(cells, pa.string())))
        lost: set[str] = set()
        whole: set[str] = set()
        kept = cache(store.keeps_streams)
        for row in rows.to_pylist():
            digest = row["stream_sha256"]
            has = digest is None or store.has_stream(digest, row["num_bytes"])
            (whole if has or not kept(row["run"] or "") else lost).add(row["cell"])
        return lost - whole


class Store(StreamFolder, RunRecords):
    """The results of one dataset, below `results/<dataset>`: rows, streams, records of runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards = folder / "per_image"
        self._damaged: set[Path] = set()  # shards, as far as they were read

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows as one shard, complete or absent; their streams have to be kept before."""
        schema = schema_of(name for row in rows for name in row)
        self.add(pa.Table.from_pylist(list(rows), schema=schema))

    def add(self, rows: pa.Table) -> None:
        """Add a table, with the columns that `versions` returns, as one shard."""
        if rows.num_rows:
            self._write_shard(rows)

    def images(self) -> set[str]:
        """Return the sha256 of the pixels of every image that has a row, a bundled one too."""
        columns = [self._read(["image_sha256"], shipped)[0] for shipped in (False, True)]
        return {digest for column in columns for digest in pc.unique(column).to_pylist()}

    def table(self) -> pa.Table:
        """Return the best version of each cell, bundled ones among them; see `rows.versions`."""
        return self.read().table

    def read(self) -> Stored:
        """Read all rows once, for their table and for which cells are done."""
        with _system_allocator():
            own, shipped = self._read(None), self._read(None, shipped=True)
            several = own["generation"].null_count < own.num_rows
            once = own.filter(own["generation"].is_null()) if several else own
            table = _measured(_joined(None, [once, _with_true(shipped, "bundled")]))
            own = own.select(OWN)
            del once, shipped  # a million rows take gigabytes
            table = with_equal_builds(share_values(merge_versions(table, borrow=True)))
            return Stored(plain(table), own)

    def generations(self) -> pa.Table:
        """Return the best version of each row of a picture coded more than once."""
        own = self._read(None)
        return plain(merge_versions(own.filter(own["generation"].is_valid())))

    def versions(self, shipped: bool = False) -> pa.Table:
        """Return every row of every cell: those measured here, or the bundled ones."""
        return plain(self._read(None, shipped))

    def compact(self) -> None:
        """Merge small shards into one, unless another run is reading or doing the same."""
        with self._lock() as locked:
            small = [path for path in self._paths() if _row_count(path) < SMALL_SHARD_ROWS]
            if not locked or len(small) < 2:
                return
            read = {path: self._readable(path, *_columns(None)) for path in small}
            tables = {path: table for path, table in read.items() if table is not None}
            if len(tables) > 1:
                merged = self._write_shard(plain(merge_versions(_joined(None, tables.values()))))
                for path in tables.keys() - {merged}:  # it may have come out as one of them
                    path.unlink()

    def set_aside(self) -> list[Path]:
        """Move the damaged shards among those read before away; return their new paths.

        Bundled ones stay, and so do all in a folder that may only be read or that others read.
        """
        moved = []
        with self._lock() as locked, suppress(OSError):
            for path in sorted(self._damaged if locked else ()):
                if not path.name.startswith(SHIPPED):
                    moved.append(set_aside(path, self.folder))
        return moved

    def ship(self, name: str, rows: pa.Table) -> Path:
        """Write rows to be bundled with the project as the shard `shipped-<name>`."""
        table = _with_true(rows, "recorded").select(table_schema().names).cast(table_schema())
        return self._write_shard(table, name)

    def _paths(self, shipped: bool = False) -> list[Path]:
        paths = sorted(self._shards.glob("*.parquet"))
        return [path for path in paths if path.name.startswith(SHIPPED) == shipped]

    def _read(self, columns: list[str] | None, shipped: bool = False) -> pa.Table:
        names, shared = _columns(columns)
        # Locked, so that no shard is put away between listing and reading.
        with _system_allocator(), self._lock(shared=True):
            try:
                tables = [self._readable(path, names, shared) for path in self._paths(shipped)]
            except OSError as error:
                raise StoreError(f"{error.filename} cannot be read: {error.strerror}") from error
        return _joined(columns, [table for table in tables if table is not None])

    def _readable(
        self, path: Path, columns: list[str] | None, shared: list[str]
    ) -> pa.Table | None:
        """Read a shard, or warn of it and return None."""
        try:
            return read_shard(path, columns, shared)
        except BadShard as bad:
            if bad.damaged:
                self._damaged.add(path)
            remedy = "its rows count as to do; use the version that wrote it, or remove it"
            if path.name.startswith(SHIPPED):
                remedy = "get the bundled file again"
            elif bad.damaged:
                remedy = f"its rows count as to do, and `bench run` moves it to {DAMAGED}/"
            sentence = f"{path} is left out: {bad}; {remedy}"
            warnings.warn(DamagedResults(sentence, path), stacklevel=2)
            return None

    def _write_shard(self, table: pa.Table, bundled: str = "") -> Path:
        require_inside(self.folder, self._shards / "any")
        kept = [name for name in table.column_names if name not in WHERE_READ]
        return write_shard(self._shards, table.select(kept), bundled)

    @contextmanager
    def _lock(self, shared: bool = False) -> Iterator[bool]:
        """Lock the shards; yields False where another has the lock or there is none."""
        with ExitStack() as closed:
            try:
                handle = os.open(self._shards, os.O_RDONLY)
                closed.callback(os.close, handle)
                locked = lock(handle, shared=shared)
            except OSError:  # nothing stored yet, or taken
                locked = False
            yield locked


def stores_below(results: Path) -> dict[str, Path]:
    """Return the folders of a results folder that hold rows, by their names.

    Without one that is called as a Python file: as the name of a dataset it would be loaded.
    """
    begin_with_bundled(results)
    folders = (path.parent for path in sorted(results.glob("*/per_image")))
    return {folder.name: folder for folder in folders if not names_file(folder.name)}


@contextmanager
def _system_allocator() -> Iterator[None]:
    """Let Arrow allocate with the system's allocator: half of the time for a million rows."""
    pool = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)


def _finished(table: pa.Table, timed: bool) -> pa.Table:
    ok = pc.equal(table["status"], "ok")
    return table.filter(pc.and_(ok, table["timing"]) if timed else ok)


def _with_true(table: pa.Table, column: str) -> pa.Table:
    yes = pa.array([True] * table.num_rows, pa.bool_())
    return table.set_column(table.schema.get_field_index(column), column, yes)


def _columns(columns: list[str] | None) -> tuple[list[str] | None, list[str]]:
    """Return the columns to read, and those of text that many rows share (`read_parquet`)."""
    schema = table_schema()
    names = schema.names if columns is None else columns
    return columns, [n for n in names if schema.field(n).type == pa.string() and n not in UNLIKE]


def _joined(columns: list[str] | None, tables: Iterable[pa.Table]) -> pa.Table:
    """Concatenate tables of `columns`, None for all; columns that a shard lacks are null."""
    names, shared = _columns(columns)
    coded, schema = pa.dictionary(pa.int32(), pa.string()), table_schema()
    fields = [schema.field(name) for name in names or schema.names]
    empty = pa.schema(f.with_type(coded) if f.name in shared else f for f in fields).empty_table()
    return pa.concat_tables([empty, *tables], promote_options="default").unify_dictionaries()


def _measured(table: pa.Table) -> pa.Table:
    """Leave out the columns of the metrics, but for PSNR, that no row has any value of."""
    empty = {name for name in table.column_names if table[name].null_count == len(table)}
    metrics = (metric_class(name).column for name in {*METRICS, *FEATURE_SPACES} - {"psnr"})
    columns = map(metric_columns, metrics)
    return table.drop_columns([name for of in columns if empty.issuperset(of) for name in of])


def _row_count(path: Path) -> int:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return 0  # reading it will say what is wrong with it


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, sort_keys=True, default=str).encode()


def one_per_cell(table: pa.Table) -> pa.Table:
    """Leave out bundled rows beside another row of their cell, which was measured here."""
    beside = bundled_beside_own(table)
    return table.filter(pa.array(~beside)) if beside.any() else table
