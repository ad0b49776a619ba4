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
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmark.errors import DamagedResults, StoreError
from benchmark.registry import names_file
from benchmark.rows.schema import (
    bundled_beside_own,
    filled_up,
    plain,
    schema_of,
    table_schema,
)
from benchmark.rows.shard_folder import (
    Lean,
    NotLean,
    ShardFolder,
    joined,
    measured,
    system_allocator,
    with_true,
)
from benchmark.rows.streams import StreamFolder
from benchmark.rows.versions import (
    merge_versions,
    share_values,
    with_equal_builds,
)
from benchmark.system.atomic import require_inside, write_results
from benchmark.system.bundled import begin_with_bundled
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, is_regular, read_regular
from benchmark.system.machine import give_back_memory

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


class Store(ShardFolder, StreamFolder, RunRecords):
    """The results of one dataset, below `results/<dataset>`: rows, streams, records of runs."""

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

    def means_table(self) -> pa.Table:
        """Return `table` for means, in as little memory as these take.

        Texts are dictionaries, times of the form that rows are written with are timestamps, and
        whole numbers have 32 bits where these do. Digests and rates that decide nothing are null:
        those of rows alone in their cell, where no codec variant has several builds.
        """
        with system_allocator():
            try:
                single, several = self._split()
                kept = {*measured(single).column_names, *measured(several).column_names}
                names, schema = [n for n in single.column_names if n in kept], single.schema
                table = single.select(names)
                if several.num_rows:
                    merged = Lean()(merge_versions(several.select(names), borrow=True))
                    table = pa.concat_tables([table, merged]).unify_dictionaries()
            except NotLean:
                return self.table()
            del single, several
            give_back_memory()
            return filled_up(table, schema)

    def read(self) -> Stored:
        """Read all rows once, for their table and for which cells are done."""
        with system_allocator():
            own, shipped = self._read(None), self._read(None, shipped=True)
            several = own["generation"].null_count < own.num_rows
            once = own.filter(own["generation"].is_null()) if several else own
            table = measured(joined(None, [once, with_true(shipped, "bundled")]))
            own = own.select(OWN)
            del once, shipped  # a million rows take gigabytes
            table = with_equal_builds(share_values(merge_versions(table, borrow=True)))
            return Stored(plain(table), own)

    def done(self) -> set[str]:
        """Return the keys of the cells with a row without failure, measured here or imported."""
        return set(_finished(self._read(["cell", "status"]), False)["cell"].to_pylist())

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
            with system_allocator():
                self._merge(small)
            give_back_memory()

    def _merge(self, paths: Iterable[Path]) -> None:
        tables = dict(self._tables(None, paths))
        if len(tables) > 1:
            valid = merge_versions(joined(None, [*tables.values()]))
            merged = self._write_shard(plain(valid))
            for path in tables.keys() - {merged}:  # it may have come out as one of them
                path.unlink()

    def ship(self, name: str, rows: pa.Table) -> Path:
        """Write rows to be bundled with the project as the shard `shipped-<name>`."""
        table = with_true(rows, "recorded").select(table_schema().names).cast(table_schema())
        return self._write_shard(table, name)


def stores_below(results: Path) -> dict[str, Path]:
    """Return the folders of a results folder that hold rows, by their names.

    Without one that is called as a Python file: as the name of a dataset it would be loaded.
    """
    begin_with_bundled(results)
    folders = (path.parent for path in sorted(results.glob("*/per_image")))
    return {folder.name: folder for folder in folders if not names_file(folder.name)}


def _finished(table: pa.Table, timed: bool) -> pa.Table:
    ok = pc.equal(table["status"], "ok")
    return table.filter(pc.and_(ok, table["timing"]) if timed else ok)


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
