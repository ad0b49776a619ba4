"""The shards of a store: listed, locked, read together; damaged ones are left out, with a warning.

Texts that rows share are dictionaries, and columns without any value share memory. Three digests,
which no two rows share, are two thirds of what a million rows take: means are read without them
(`Store.means_table`).
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.codec import BoolArray
from benchmark.errors import DamagedResults, StoreError
from benchmark.registry import FEATURE_SPACES, METRICS, metric_named
from benchmark.rows.schema import (
    TIME,
    WHERE_READ,
    filled_up,
    metric_columns,
    nulls,
    only_text,
    table_schema,
)
from benchmark.rows.shard import (
    BUILD,
    SHIPPED,
    UNLIKE,
    BadShard,
    Keys,
    key_starts,
    may_repeat,
    read_shard,
    several_builds,
    stamp_of,
    write_shard,
)
from benchmark.rows.streams import DAMAGED, set_aside
from benchmark.system.atomic import lock, require_inside
from benchmark.system.machine import give_back_memory

SMALL_BYTES = 1 << 17  # smaller shards are read once
LEAN_ROWS = 100_000  # that are made lean together
GIVEN_BACK = 20  # of these; after so many, memory that was freed is returned
NOT_OF_MEANS = ("cell", "stream_sha256", "decoded_sha256", "bpp", "jobs", "threads")
VARIANT_AND_BUILD = ["codec", "variant", *BUILD]
OF_CELLS = ["cell", "generation", *VARIANT_AND_BUILD]

TIME_LENGTH = len("2026-01-01T00:00:00.000+00:00")
NARROW = {
    **dict.fromkeys(("width_px", "height_px", "num_bytes", "revision"), pa.int32()),
    "finished_utc": TIME,
}


class NotLean(Exception):  # noqa: N818 - not raised out of `rows`
    """Rows that need all their columns, in the types of the schema."""


class Lean:
    """Makes tables lean: columns that have one value in all rows share their memory."""

    def __init__(self) -> None:
        self._repeated: dict[tuple[pa.DataType, int], pa.Array] = {}

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the table in narrow types, columns in one chunk; `of_type` makes them wide.

        Raises `NotLean` for numbers that need more bits, and for times of another form than rows
        are written with.
        """
        rows, columns = len(table), []
        null = nulls(rows)
        for name, values in zip(table.column_names, table.columns, strict=True):
            if (text := only_text(values)) is not None:
                zeros = self._repeat(0, rows, pa.int32())
                column = pa.DictionaryArray.from_arrays(zeros, pa.array([text]))
            elif values.null_count == rows:
                column = null(NARROW.get(name, values.type))
            elif name in NARROW:
                column = self._shared(_narrow(name, values))
            else:
                column = values.combine_chunks()
            columns.append(column)
        return pa.Table.from_arrays(columns, table.column_names)

    def _shared(self, values: pa.ChunkedArray) -> pa.Array:
        low, high = pc.min_max(values).as_py().values()
        if low == high and not values.null_count and values.type != TIME:
            return self._repeat(low, len(values), values.type)
        return values.combine_chunks()

    def _repeat(self, value: int, rows: int, kind: pa.DataType) -> pa.Array:
        longest = self._repeated.get((kind, value), ())
        if len(longest) < rows:
            longest = self._repeated[kind, value] = pa.repeat(pa.scalar(value, kind), rows)
        return longest.slice(0, rows)


def _narrow(name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        if not pa.types.is_string(values.type):
            return values.cast(NARROW[name])
        # The order of such texts is that of their times.
        lengths = pc.min_max(pc.binary_length(values)).as_py()
        strange = pc.or_(pc.match_substring(values, " "), pc.invert(pc.ends_with(values, "+00:00")))
        if {*lengths.values()} != {TIME_LENGTH} or pc.any(strange).as_py():
            raise NotLean(f"{name} has times of another form")
        return values.cast(pa.timestamp("ms", "UTC")).cast(TIME)
    except pa.ArrowInvalid as error:
        raise NotLean(f"{name}: {error}") from error


class _Piece(NamedTuple):
    """A large shard, or small ones."""

    paths: list[Path]
    stamp: tuple[int, ...]  # of a large shard, before it was read
    shipped: bool
    starts: Keys  # of its cells
    once: BoolArray  # marks rows of pictures that were coded once
    kinds: pa.Table  # distinct values of VARIANT_AND_BUILD
    rows: list[pa.Table]  # of small ones, all columns


class ShardFolder:
    """The shards of one dataset, below `results/<dataset>/per_image`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._shards = folder, folder / "per_image"
        self._damaged: set[Path] = set()  # shards, as far as they were read

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

    def _read(self, columns: list[str] | None, shipped: bool = False) -> pa.Table:
        """Return these columns, None for all, of every row: measured here, or else bundled."""
        # Locked, so that no shard is put away between listing and reading.
        with system_allocator(), self._lock(shared=True):
            return joined(columns, [of for _, of in self._tables(columns, self._paths(shipped))])

    def _split(self) -> tuple[pa.Table, pa.Table]:
        """Return the rows whose cell no other row has, without NOT_OF_MEANS, and the others.

        Raises `NotLean`, also where a codec variant may have several builds, which are compared by
        their digests. Shards are read twice, so that no more than the digests of one are in memory.
        Rows of pictures that were coded more than once are left out, bundled ones are marked.
        """
        with system_allocator(), self._lock(shared=True):
            pieces = [*self._pieces()]
            if len(pieces) > 2 * GIVEN_BACK:
                give_back_memory()
            if several_builds(joined(VARIANT_AND_BUILD, [piece.kinds for piece in pieces])):
                raise NotLean("a codec variant may have several builds")
            single, several, recent = list[pa.Table](), list[pa.Table](), list[pa.Table]()
            lean = Lean()
            marks = may_repeat([piece.starts for piece in pieces])
            for piece, repeated in zip(pieces, marks, strict=True):
                again = self._tables(None, piece.paths, piece.stamp)
                for table in piece.rows or [of for _, of in again]:
                    rows = _valued(with_true(table, "bundled") if piece.shipped else table)
                    several.append(_chosen(rows, piece.once & repeated))
                    names = [name for name in rows.column_names if name not in NOT_OF_MEANS]
                    recent.append(_chosen(rows.select(names), piece.once & ~repeated))
                if sum(map(len, recent)) >= LEAN_ROWS:
                    single, recent = [*single, lean(joined(None, recent))], []
                    if len(single) % GIVEN_BACK == 0:
                        give_back_memory()
            return joined(None, [*single, lean(joined(None, recent))]), joined(None, several)

    def _pieces(self) -> Iterator["_Piece"]:
        """Read the keys of large shards, and small shards whole, those in a row together."""
        for shipped in (False, True):
            for small, run in groupby(self._paths(shipped), _is_small):
                for paths in [[*run]] if small else ([path] for path in run):
                    columns, stamp = None if small else OF_CELLS, stamp_of(paths[0])
                    if tables := [of for _, of in self._tables(columns, paths)]:
                        rows = joined(columns, tables).combine_chunks()
                        once = np.asarray(rows["generation"].is_null())
                        kept = [rows] if small else []
                        kinds = rows.group_by(VARIANT_AND_BUILD).aggregate([])
                        yield _Piece(
                            paths, stamp, shipped, key_starts(rows["cell"]), once, kinds, kept
                        )

    def _tables(
        self, columns: list[str] | None, paths: Iterable[Path], stamp: tuple[int, ...] = ()
    ) -> Iterator[tuple[Path, pa.Table]]:
        """Read shards one after another; warn of those that cannot be used.

        stamp: of the only one, when its bytes were compared with their sha256.
        """
        names, shared = _columns(columns)
        for path in paths:
            try:
                yield path, read_shard(path, names, shared, bool(stamp) and stamp == stamp_of(path))
            except OSError as error:
                raise StoreError(f"{error.filename} cannot be read: {error.strerror}") from error
            except BadShard as bad:
                self._warn(path, bad)

    def _warn(self, path: Path, bad: BadShard) -> None:
        if bad.damaged:
            self._damaged.add(path)
        remedy = "its rows count as to do; use the version that wrote it, or remove it"
        if path.name.startswith(SHIPPED):
            remedy = "get the bundled file again"
        elif bad.damaged:
            remedy = f"its rows count as to do, and `bench run` moves it to {DAMAGED}/"
        sentence = f"{path} is left out: {bad}; {remedy}"
        warnings.warn(DamagedResults(sentence, path), stacklevel=2)

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


@contextmanager
def system_allocator() -> Iterator[None]:
    """Let Arrow allocate with the system's allocator: half of the time for a million rows."""
    pool = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)


def joined(columns: list[str] | None, tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate tables of `columns`, None for all; columns that a shard lacks are null."""
    names, shared = _columns(columns)
    coded, schema = pa.dictionary(pa.int32(), pa.string()), table_schema()
    fields = [schema.field(name) for name in names or schema.names]
    types = {f.name: coded if f.name in shared else f.type for f in fields}
    types |= {f.name: f.type for table in tables for f in table.schema if f.name in types}
    own = pa.schema(f.with_type(types[f.name]) for f in fields)
    schema = pa.unify_schemas([own, *(table.schema for table in tables)])
    valued = [_valued(table) for table in tables] or [own.empty_table()]
    rows = pa.concat_tables(valued, promote_options="default").unify_dictionaries()
    return filled_up(rows, schema, sum(map(len, tables)))


def _is_small(path: Path) -> bool:
    try:
        return path.stat().st_size < SMALL_BYTES
    except OSError:
        return False  # reading it will say what is wrong with it


def _chosen(table: pa.Table, marked: BoolArray) -> pa.Table:
    """Return the marked rows; columns that have one text in all rows share their indices."""
    if not marked.any():
        return table.slice(0, 0)
    alike = [name for name in table.column_names if only_text(table[name]) is not None]
    rows = table.drop_columns(alike).filter(pa.array(marked))
    zeros = pa.array(np.zeros(np.count_nonzero(marked), np.int32))
    for name in alike:
        texts = pa.DictionaryArray.from_arrays(zeros, table[name].chunk(0).dictionary)
        rows = rows.append_column(name, texts)
    return rows


def _valued(table: pa.Table) -> pa.Table:
    """Leave out the columns without any value."""
    names = table.column_names
    return table.select([name for name in names if table[name].null_count < len(table)])


def measured(table: pa.Table) -> pa.Table:
    """Leave out the columns of the metrics, but for PSNR, that no row has any value of."""
    empty = {name for name in table.column_names if table[name].null_count == len(table)}
    metrics = (metric_named(name).column for name in {*METRICS, *FEATURE_SPACES} - {"psnr"})
    columns = map(metric_columns, metrics)
    return table.drop_columns([name for of in columns if empty.issuperset(of) for name in of])


def with_true(table: pa.Table, column: str) -> pa.Table:
    """Return the table with true in every row of a column."""
    rest = table.drop_columns([column] * (column in table.column_names))
    return rest.append_column(column, pa.array(np.ones(len(table), np.bool_)))


def _columns(columns: list[str] | None) -> tuple[list[str] | None, list[str]]:
    """Return the columns to read, and those of text that many rows share (`read_parquet`)."""
    schema = table_schema()
    names = schema.names if columns is None else columns
    texts = (name for name in names if schema.field(name).type == pa.string())
    return columns, [name for name in texts if name not in UNLIKE + WHERE_READ]
