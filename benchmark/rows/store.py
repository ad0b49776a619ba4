"""Rows and streams on disk: shards written once and whole, streams named by their sha256.

    results/<dataset>/per_image/*.parquet   rows; several shards may hold versions of one cell
                     /per_image/shipped*    rows bundled with the project, marked as recorded
                     /runs/<run>.json       where they come from
                     /streams/ab/abcd...    the bytes
                     /pictures/ab/abcd....png   decoded pictures of rows without a stream
                     /damaged/*             shards and streams that were set aside
                     /README.md             how to read the rows

A cell's row is never edited: a later version of it is another row, and `Store.table` returns the
one that counts (`rows.versions`). What is stored survives a loss of power: streams are on the disk
before the shard that names them, and that when `append` returns. A damaged shard is left out, with
a warning: its rows count as to do.
"""

import json
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
from polars import col

from benchmark.errors import DamagedResults, Notice, StoreError
from benchmark.registry import names_file
from benchmark.rows.schema import CELL_COLUMNS, WHERE_READ, metric_columns, read_footer
from benchmark.rows.shard import (
    NEVER_NULL,
    SHIPPED,
    BadShard,
    read_shard,
    schema_of,
    storable,
    whole,
    write_shard,
)
from benchmark.rows.streams import DAMAGED, StreamFolder, set_aside
from benchmark.rows.versions import OK, merge_versions
from benchmark.system.atomic import lock, require_inside, write_results
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, BadFile, is_regular, read_regular
from benchmark.system.machine import begin_with_bundled
from benchmark.system.text import read_json

Row = dict[str, Any]

SMALL_SHARD_ROWS = 50_000  # shards below this are put together at the end of a run
OWN = ["cell", "status", "timing", "run", "stream_sha256", "num_bytes"]
NOT_OF_MEANS = ("bpp", "jobs", "threads")
DIGESTS = ("cell", "stream_sha256", "decoded_sha256", "features_of")  # only compared in means
README = (
    "Read the rows of this folder with `benchmark.load`, which counts no image twice: the parquet "
    "files of `per_image` hold several versions of a row, and bundled rows beside rows measured "
    "here.\n"
)


class Store(StreamFolder):
    """The results of one dataset, below `results/<dataset>`: rows, streams, records of runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._shards = folder, folder / "per_image"
        self._damaged: set[Path] = set()  # shards, as far as they were read

    def begin(self, run: str, record: Mapping[str, Any]) -> None:
        """Write a run's record, the first file of a run, and beside it how to read the rows."""
        files = {self._written(run): _json(record)}
        if not (readme := self.folder / "README.md").exists():
            files[readme] = README.encode()
        write_results(files)

    def amend(self, run: str, facts: Mapping[str, Any]) -> None:
        """Add facts to a run's record, or replace those of the same names."""
        path = self._written(run)
        # Not as `record` returns it: tracebacks keep their lines.
        known = json.loads(path.read_bytes()) if self.record(run) else {}
        write_results({path: _json({**known, **facts})})

    def has_record(self, run: str) -> bool:
        """Return whether a run has a record; False for a name that no file can have."""
        return Path(run).name == run and is_regular(self._record_path(run))

    def record(self, run: str) -> dict[str, Any]:
        """Return a run's record; empty if there is none. Raises `StoreError` for a damaged one."""
        path = self._record_path(run)
        try:
            return read_json(path, Row)
        except FileNotFoundError:
            return {}
        except (OSError, BadFile) as error:
            raise StoreError(f"{path} cannot be read: {error}; restore or remove it") from error

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

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows, as `storable`, as one shard, complete or absent; streams are kept before."""
        self.add(storable(rows))

    def add(self, rows: pl.DataFrame) -> None:
        """Add a table, with the columns that `versions` returns, as one shard."""
        if rows.height:
            self._write_shard(rows)

    def images(self) -> set[str]:
        """Return the sha256 of the pixels of every image that has a row, a bundled one too."""
        parts = (self._read(shipped, ["cell", "image_sha256"]) for shipped in (False, True))
        return {digest for part in parts for digest in part["image_sha256"].unique()}

    def table(self) -> pl.DataFrame:
        """Return the best version of each cell, measured here and bundled; see `rows.versions`."""
        return self.read()[0]

    def means_table(self) -> pl.DataFrame:
        """Return `table` for means, in as little memory as these take.

        Texts are categories, and digests numbers that are equal where the digests are. Columns
        that means are not made of are absent, as are metrics without any value or reason.
        """
        with self._lock(shared=True):
            own, shipped = (
                [_lean(rows) for _, rows in self._tables(self._paths(shipped=of), filled=True)]
                for of in (False, True)
            )
        return merge_versions(joined([*own, *map(_bundled, shipped)]), features=True)

    def read(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Read all rows once: return `table`, and every version of those that are not bundled.

        The versions have the columns `OWN`, for `finished` and `without_stream`.
        """
        own, shipped = self._read(), self._read(shipped=True)
        rows = joined([own, _bundled(shipped)])
        return whole(merge_versions(rows, features=True)), own.select(OWN)

    def done(self) -> set[str]:
        """Return the keys of the cells with a row without failure, measured here or imported."""
        return {*finished(self._read(columns=["cell", "status"]))["cell"]}

    def without_stream(
        self, versions: pl.DataFrame, cells: Collection[str], timed: bool = False
    ) -> set[str]:
        """Return the cells of which every finished row lost its stream: missing, or another size.

        A row has lost nothing if its run kept no streams (`bench run --no-keep`), or if its size
        was declared by a list. Contents are not read: `bench doctor` does that.
        """
        rows = finished(versions, timed).filter(col("cell").is_in([*cells]))
        lost: set[str] = set()
        whole: set[str] = set()
        kept = cache(self.keeps_streams)
        for row in rows.iter_rows(named=True):
            digest = row["stream_sha256"]
            has = digest is None or self.has_stream(digest, row["num_bytes"])
            (whole if has or not kept(row["run"] or "") else lost).add(row["cell"])
        return lost - whole

    def versions(self, shipped: bool = False) -> pl.DataFrame:
        """Return every row of every cell: those measured here, or the bundled ones."""
        return whole(self._read(shipped))

    def compact(self) -> None:
        """Merge small shards into one, unless another run is reading or doing the same."""
        with self._lock() as locked:
            small = [path for path in self._paths() if _row_count(path) < SMALL_SHARD_ROWS]
            if locked and len(small) > 1:
                self._merge(small)

    def ship(self, name: str, rows: pl.DataFrame) -> Path:
        """Write rows to be bundled with the project as the shard `shipped-<name>`."""
        rows = whole(rows.with_columns(recorded=pl.lit(True))).select(schema_of().names())
        return self._write_shard(rows, name)

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

    def _paths(self, shipped: bool = False) -> list[Path]:
        paths = sorted(self._shards.glob("*.parquet"))
        return [path for path in paths if path.name.startswith(SHIPPED) == shipped]

    def _read(self, shipped: bool = False, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return every row measured here, or else bundled; of these columns, None for all."""
        # Locked, so that no shard is put away between listing and reading.
        with self._lock(shared=True):
            tables = [rows for _, rows in self._tables(self._paths(shipped), columns)]
        return joined(tables).select(columns or pl.all())

    def _tables(
        self, paths: Iterable[Path], columns: Sequence[str] | None = None, filled: bool = False
    ) -> Iterator[tuple[Path, pl.DataFrame]]:
        """Read shards one after another; warn of those that cannot be used."""
        for path in paths:
            try:
                rows = read_shard(path, columns, filled)
                if lacking := {*NEVER_NULL} & {*(columns or NEVER_NULL)} - {*rows.columns}:
                    raise BadShard(f"it lacks the column {min(lacking)!r}")
            except OSError as error:
                raise StoreError(f"{error.filename} cannot be read: {error.strerror}") from error
            except BadShard as bad:
                self._warn(path, bad)
                continue
            yield path, rows

    def _warn(self, path: Path, bad: BadShard) -> None:
        if bad.damaged:
            self._damaged.add(path)
        remedy = "its rows count as to do; use the version that wrote it, or remove it"
        if path.name.startswith(SHIPPED):
            remedy = "get the bundled file again"
        elif bad.damaged:
            remedy = f"its rows count as to do, and `bench run` moves it to {DAMAGED}/"
        warnings.warn(DamagedResults(f"{path} is left out: {bad}; {remedy}", path), stacklevel=2)

    def _merge(self, paths: Iterable[Path]) -> None:
        tables = dict(self._tables(paths))
        if len(tables) > 1:
            merged = self._write_shard(whole(merge_versions(joined([*tables.values()]))))
            for path in tables.keys() - {merged}:  # it may have come out as one of them
                path.unlink()

    def _write_shard(self, table: pl.DataFrame, bundled: str = "") -> Path:
        require_inside(self.folder, self._shards / "any")
        return write_shard(self._shards, table.drop(WHERE_READ, strict=False), bundled)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Mark the folder as one that a run works in; warn, at either end, of another that does."""
        with ExitStack() as closed:
            handle = os.open(self.folder / "runs", os.O_RDONLY)
            closed.callback(os.close, handle)
            closed.callback(self._warn_of_others, handle)
            self._warn_of_others(handle)
            lock(handle, shared=True)
            yield

    def _warn_of_others(self, handle: int) -> None:
        try:
            lock(handle)
        except BlockingIOError:
            what = f"another run works in {self.folder}, too: cells that neither has stored yet "
            what += "are measured by both, and no row is lost"
            warnings.warn(what, Notice, stacklevel=4)

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


def joined(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate tables, with all columns but those of metrics that no row knows anything of.

    PSNR's are always there: by it rows are compared.
    """
    names = dict.fromkeys(name for table in tables for name in table.columns)
    parts = [table.select(of for of in table if of.null_count() < table.height) for table in tables]
    rows = pl.concat(parts, how="diagonal") if parts else pl.DataFrame()
    schema = schema_of(names)
    known = dict.fromkeys(column.name for column in CELL_COLUMNS)
    for name in schema:
        of_metric = metric_columns(name)
        there = name == "psnr_db" or any(column in rows.columns for column in of_metric)
        if name not in known and of_metric[1] in schema and there:
            known |= dict.fromkeys(of_metric)
    missing = {n: pl.lit(None, schema[n]) for n in known if n not in rows.columns}
    return rows.with_columns(**missing).select([*known])


def _bundled(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(bundled=pl.lit(True))


def _lean(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a shard's rows for means, in narrow types."""
    texts = cs.string() - cs.by_name(*DIGESTS, "finished_utc", require_all=False)
    digests = cs.by_name(*DIGESTS, require_all=False)
    hashed = pl.when(digests.is_not_null()).then(digests.hash())
    rows = rows.drop(NOT_OF_MEANS, strict=False)
    return rows.with_columns(texts.cast(pl.Categorical), hashed)


def finished(rows: pl.DataFrame, timed: bool = False) -> pl.DataFrame:
    """Return the rows without failure; with `timed`, those that were timed."""
    return rows.filter(OK & col("timing") if timed else OK)


def _row_count(path: Path) -> int:
    try:
        return read_footer(read_regular(path, LARGEST_FILE_BYTES)).rows
    except (OSError, ValueError, RecursionError):
        return 0  # reading it will say what is wrong with it


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, sort_keys=True, default=str).encode()
