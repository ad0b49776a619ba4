"""Rows and streams on disk: shards are written once, atomically; streams are named by sha256.

    results/<dataset>/per_image/*.parquet   rows; shards may hold several versions of a cell
                     /per_image/shipped*    rows bundled with the project
                     /runs/<run>.json       records of runs
                     /streams/ab/abcd...    the bytes
                     /pictures/ab/abcd....png   decoded pictures of rows without a stream
                     /damaged/*             shards and streams that were found damaged
                     /README.md             how to read the rows

A cell's row is never edited: another version is another row, and `Store.table` returns the best one
(`rows.versions`). Stored data survives a power failure: streams are on disk before the shard that
names them, and the shard before `append` returns. A damaged shard is skipped with a warning, and
its cells are measured again.
"""

import json
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
from polars import col

from benchmark.errors import DamagedResults, Notice, StoreError
from benchmark.registry import is_python_file
from benchmark.rows.schema import CELL_COLUMNS, READER_COLUMNS, metric_columns, read_footer
from benchmark.rows.shard import (
    NON_NULL_COLUMNS,
    SHIPPED,
    BadShard,
    fill_columns,
    make_storable,
    read_shard,
    schema_of,
    write_shard,
)
from benchmark.rows.streams import DAMAGED, StreamFolder, set_aside
from benchmark.rows.versions import OK, merge_versions
from benchmark.system.atomic import lock, require_inside, write_results
from benchmark.system.foreign_files import MAX_FOREIGN_FILE_BYTES, BadFile, is_regular, read_regular
from benchmark.system.machine import begin_with_bundled
from benchmark.system.text import read_json

Row = dict[str, Any]

SMALL_SHARD_ROWS = 50_000  # smaller shards are merged at the end of a run
VERSION_COLUMNS = ["cell", "status", "timing", "run", "stream_sha256", "num_bytes"]
UNUSED_COLUMNS = ("bpp", "jobs", "threads")  # not read by means
DIGESTS = ("cell", "stream_sha256", "decoded_sha256", "features_of")  # only tested for equality
README = (
    "Read the rows of this folder with `benchmark.load`, which counts no image twice: the parquet "
    "files of `per_image` hold several versions of a row, and bundled rows beside rows measured "
    "here.\n"
)


class Store(StreamFolder):
    """Results of one dataset in `results/<dataset>`: rows, streams, and records of runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._shards = folder, folder / "per_image"
        self._damaged_shards: set[Path] = set()  # found so far

    def write_record(self, run: str, record: Mapping[str, Any]) -> None:
        """Write a run's record, the run's first file, and a README on reading the rows."""
        files = {self._writable_run_path(run): _json(record)}
        if not (readme := self.folder / "README.md").exists():
            files[readme] = README.encode()
        write_results(files)

    def amend(self, run: str, facts: Mapping[str, Any]) -> None:
        """Add facts to a run's record, replacing existing ones."""
        path = self._writable_run_path(run)
        # Not read with `record`, so that tracebacks keep their lines.
        record = json.loads(path.read_bytes()) if self.record(run) else {}
        write_results({path: _json(record | {**facts})})

    def has_record(self, run: str) -> bool:
        """Return whether a run has a record; False for an invalid file name."""
        return Path(run).name == run and is_regular(self._run_path(run))

    def record(self, run: str) -> dict[str, Any]:
        """Return a run's record, {} if there is none; raise `StoreError` if it is damaged."""
        path = self._run_path(run)
        try:
            return read_json(path, Row)
        except FileNotFoundError:
            return {}
        except (OSError, BadFile) as error:
            raise StoreError(f"{path} cannot be read: {error}; restore or remove it") from error

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all runs, oldest first; warn about unreadable ones."""
        records = []
        for path in sorted((self.folder / "runs").glob("*.json")):
            try:
                records.append(self.record(path.stem))
            except StoreError as error:
                warnings.warn(f"a run's record is left out: {error}", DamagedResults, stacklevel=2)
        return records

    def keeps_streams(self, run: str) -> bool:
        """Return whether a run kept its streams; True if its record does not say."""
        try:
            request = self.record(run).get("request")
        except StoreError:
            return True
        return not (isinstance(request, dict) and request.get("keep") is False)

    def _writable_run_path(self, run: str) -> Path:
        path = self._run_path(run)
        require_inside(self.folder, path)
        return path

    def _run_path(self, run: str) -> Path:
        if Path(run).name != run:  # another author's rows may contain a path
            raise StoreError(f"{self.folder} has a row with the invalid run name {run!r}")
        return self.folder / "runs" / f"{run}.json"

    def append(self, rows: Sequence[Row]) -> None:
        """Make rows storable and write them as a shard, after their streams were stored."""
        self.add(make_storable(rows))

    def add(self, rows: pl.DataFrame) -> None:
        """Write a table with the columns of `versions` as one shard."""
        if rows.height:
            self.add_shard(rows)

    def images(self) -> set[str]:
        """Return the sha256 of the pixels of every image with a row, measured or bundled."""
        tables = (self.read_rows(bundled, ["cell", "image_sha256"]) for bundled in (False, True))
        return {digest for table in tables for digest in table["image_sha256"].unique()}

    def table(self) -> pl.DataFrame:
        """Return the best version of each cell, measured here and bundled; see `rows.versions`."""
        return self.read()[0]

    def means_table(self) -> pl.DataFrame:
        """Return `table` for means: strings as categories, digests hashed, no unused columns."""
        with self._lock(shared=True):
            measured_tables, bundled_tables = (
                [
                    _shrink_columns(rows)
                    for _, rows in self._read_tables(self._paths(is_bundled), skip_empty=True)
                ]
                for is_bundled in (False, True)
            )
        return merge_versions(
            concatenate([*measured_tables, *map(_mark_bundled, bundled_tables)]), features=True
        )

    def read(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return `table`, and VERSION_COLUMNS of all versions measured here."""
        measured_rows, bundled_rows = self.read_rows(), self.read_rows(bundled=True)
        all_rows = concatenate([measured_rows, _mark_bundled(bundled_rows)])
        rows = fill_columns(merge_versions(all_rows, features=True))
        return rows, measured_rows.select(VERSION_COLUMNS)

    def finished_cells(self) -> set[str]:
        """Return the keys of the cells with a successful row, measured here or imported."""
        return {*finished_rows(self.read_rows(columns=["cell", "status"]))["cell"]}

    def cells_without_stream(
        self, versions: pl.DataFrame, cells: Collection[str], timed: bool = False
    ) -> set[str]:
        """Return the cells whose streams are missing or truncated in every finished row.

        Contents are not read. Rows of runs with `--no-keep` or with a declared size need no stream.
        """
        rows = finished_rows(versions, timed).filter(col("cell").is_in([*cells]))
        lost_cells: set[str] = set()
        complete_cells: set[str] = set()
        keeps_streams = cache(self.keeps_streams)
        for row in rows.iter_rows(named=True):
            digest = row["stream_sha256"]
            is_complete = digest is None or self.has_stream(digest, row["num_bytes"])
            is_lost = not is_complete and keeps_streams(row["run"] or "")
            (lost_cells if is_lost else complete_cells).add(row["cell"])
        return lost_cells - complete_cells

    def versions(self, bundled: bool = False) -> pl.DataFrame:
        """Return every row of every cell: those measured here, or the bundled ones."""
        return fill_columns(self.read_rows(bundled))

    def measured_values(self, keys: Sequence[str], metrics: Iterable[str]) -> pl.DataFrame:
        """Return keys and metric columns (those that any row has) of every row measured here."""
        return self.read_rows(columns=[*keys, *chain(*map(metric_columns, metrics))])

    def compact(self) -> None:
        """Merge small shards into one, unless another run is reading or merging them."""
        with self._lock() as is_locked:
            small_shards = [path for path in self._paths() if _row_count(path) < SMALL_SHARD_ROWS]
            if is_locked and len(small_shards) > 1:
                self._merge(small_shards)

    def write_bundled(self, name: str, rows: pl.DataFrame) -> Path:
        """Write rows as the bundled shard `shipped-<name>`."""
        rows = fill_columns(rows.with_columns(recorded=pl.lit(True)))
        return self.add_shard(rows.select(schema_of().names()), name)

    def move_damaged_shards(self) -> list[Path]:
        """Move the damaged shards found so far, unless bundled or in use; return the new paths."""
        moved_paths = []
        with self._lock() as is_locked, suppress(OSError):
            for path in sorted(self._damaged_shards if is_locked else ()):
                if not path.name.startswith(SHIPPED):
                    moved_paths.append(set_aside(path, self.folder))
        return moved_paths

    def _paths(self, bundled: bool = False) -> list[Path]:
        paths = sorted(self._shards.glob("*.parquet"))
        return [path for path in paths if path.name.startswith(SHIPPED) == bundled]

    def read_rows(
        self, bundled: bool = False, columns: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Return the rows of all shards, measured here or bundled; columns: None for all.

        Locked: no shard is moved between listing and reading.
        """
        with self._lock(shared=True):
            tables = [rows for _, rows in self._read_tables(self._paths(bundled), columns)]
        rows = concatenate(tables)
        return rows if columns is None else rows.select(cs.by_name(columns, require_all=False))

    def _read_tables(
        self, paths: Iterable[Path], columns: Sequence[str] | None = None, skip_empty: bool = False
    ) -> Iterator[tuple[Path, pl.DataFrame]]:
        """Read shards one after another; warn about unusable ones."""
        for path in paths:
            try:
                rows = read_shard(path, columns, skip_empty)
                for name in sorted(NON_NULL_COLUMNS):
                    if name not in rows.columns and (columns is None or name in columns):
                        raise BadShard(f"it lacks the column {name!r}")
            except OSError as error:
                raise StoreError(f"{error.filename} cannot be read: {error.strerror}") from error
            except BadShard as error:
                self._warn(path, error)
                continue
            yield path, rows

    def _warn(self, path: Path, error: BadShard) -> None:
        if error.damaged:
            self._damaged_shards.add(path)
        remedy = "use the version that wrote the file, or remove it to measure its cells again"
        if path.name.startswith(SHIPPED):
            remedy = "get the bundled file again"
        elif error.damaged:
            remedy = f"its cells are measured again, and `bench run` moves it to {DAMAGED}/"
        warnings.warn(DamagedResults(f"{path} is left out: {error}; {remedy}", path), stacklevel=2)

    def _merge(self, paths: Iterable[Path]) -> None:
        tables = dict(self._read_tables(paths))
        if len(tables) > 1:
            merged_shard = self.add_shard(
                fill_columns(merge_versions(concatenate([*tables.values()])))
            )
            for path in tables.keys() - {merged_shard}:  # it may be one of them
                path.unlink()

    def add_shard(self, table: pl.DataFrame, bundled_name: str = "") -> Path:
        """Write rows as a new shard and return its path."""
        require_inside(self.folder, self._shards / "any")
        return write_shard(self._shards, table.drop(READER_COLUMNS, strict=False), bundled_name)

    @contextmanager
    def mark_running(self) -> Iterator[None]:
        """Mark the folder as in use by a run; warn at either end if another run uses it."""
        with ExitStack() as stack:
            descriptor = os.open(self.folder / "runs", os.O_RDONLY)
            stack.callback(os.close, descriptor)
            stack.callback(self._warn_if_used, descriptor)
            self._warn_if_used(descriptor)
            lock(descriptor, shared=True)
            yield

    def _warn_if_used(self, descriptor: int) -> None:
        try:
            lock(descriptor)
        except BlockingIOError:
            message = f"another run uses {self.folder}: both runs measure the cells that have "
            message += "no row yet; no row is lost"
            warnings.warn(message, Notice, stacklevel=4)

    @contextmanager
    def _lock(self, shared: bool = False) -> Iterator[bool]:
        """Lock the shards; yield False if another run locked them, or if there are none."""
        with ExitStack() as stack:
            try:
                descriptor = os.open(self._shards, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                is_locked = lock(descriptor, shared=shared)
            except OSError:  # nothing stored yet, or locked by another run
                is_locked = False
            yield is_locked


def stores_below(results: Path) -> dict[str, Path]:
    """Return the stores in a results folder by name, except for names of Python files."""
    begin_with_bundled(results)
    folders = (path.parent for path in sorted(results.glob("*/per_image")))
    return {folder.name: folder for folder in folders if not is_python_file(folder.name)}


def concatenate(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Concatenate tables, leaving out metrics (except PSNR) that no row has."""
    names = dict.fromkeys(name for table in tables for name in table.columns)
    valued_tables = [
        table.select(series for series in table if series.null_count() < table.height)
        for table in tables
    ]
    rows = pl.concat(valued_tables, how="diagonal") if valued_tables else pl.DataFrame()
    schema = schema_of(names)
    columns = dict.fromkeys(column.name for column in CELL_COLUMNS)
    for name in schema:
        value_columns = metric_columns(name)
        is_present = name == "psnr_db" or any(column in rows.columns for column in value_columns)
        if name not in columns and value_columns[1] in schema and is_present:
            columns |= dict.fromkeys(value_columns)
    missing_columns = {
        name: pl.lit(None, schema[name]) for name in columns if name not in rows.columns
    }
    return rows.with_columns(**missing_columns).select([*columns])


def _mark_bundled(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(bundled=pl.lit(True))


def _shrink_columns(rows: pl.DataFrame) -> pl.DataFrame:
    texts = cs.string() - cs.by_name(*DIGESTS, "finished_utc", require_all=False)
    digests = cs.by_name(*DIGESTS, require_all=False)
    hashed_digests = pl.when(digests.is_not_null()).then(digests.hash())
    rows = rows.drop(UNUSED_COLUMNS, strict=False)
    return rows.with_columns(texts.cast(pl.Categorical), hashed_digests)


def finished_rows(rows: pl.DataFrame, timed: bool = False) -> pl.DataFrame:
    """Return the successful rows; if `timed`, only the timed ones."""
    return rows.filter(OK & col("timing") if timed else OK)


def _row_count(path: Path) -> int:
    try:
        return read_footer(read_regular(path, MAX_FOREIGN_FILE_BYTES)).rows
    except (OSError, ValueError, RecursionError):
        return 0  # reported when the shard is read


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, sort_keys=True, default=str).encode()
