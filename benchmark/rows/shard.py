"""Shards, parquet files of rows: named by the sha256 of their bytes, checked whenever one is read.

    <sha256>.parquet                rows measured or imported here
    shipped-NAME.parquet            rows bundled with the project; their sha256 is on record in
    .shipped-NAME.parquet.sha256    this file, which `sha256sum --check` reads
    <32 digits>.parquet             written by earlier versions, which did not record a sha256

Plain readers of parquet ignore the record, whose name begins with a dot. Parquet's own checksums
are of pages alone. A few kilobytes of parquet can hold any number of repeated or absent values, so
the memory that a file may take is bounded; real shards take up to seven times their size.
"""

import errno
import hashlib
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmark.codec import BoolArray
from benchmark.rows.schema import CELL_COLUMNS, REAL, nulls, schema_of, table_schema
from benchmark.system.atomic import write_results
from benchmark.system.digest import SHA256
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

Keys = NDArray[np.uint32]
BUILD = ("fingerprint", "revision")  # columns
KEY_BYTES = 8  # of a cell's key, by which repeated ones are sought
MIXING = np.uint64(0x9E3779B97F4A7C15)  # of which a product's upper half has bits of all bytes
ALIKE = (1 << 20) - 1
LARGEST_BYTES = 1 << 32  # of a shard: some forty million rows
LARGEST_WHOLE = 1 << 53  # integers up to which float64, with which rows are averaged, is exact
FREE_BYTES = 64 << 20  # of memory for a table, however small its file
TIMES_PACKED = 100  # further bytes of memory for each byte of the file
VALUE_BYTES = 8  # of a number, the widest type of fixed width
SHIPPED = "shipped"  # prefix of the shards that are bundled with the project
# Texts that no two rows share
UNLIKE = ("cell", "stream_sha256", "decoded_sha256", "features_of", "finished_utc")
NEVER_NULL = (
    "cell", "status", "codec", "variant", "setting_name", "setting_value", "image",
)  # fmt: skip
IS_NAME = re.compile(r"[^./]")
MEASURED = ("width_px", "height_px", "num_bytes", "bpp")  # of every row that did not fail
QUANTITIES = {name for name, kind, *_ in CELL_COLUMNS if kind == REAL} - {"setting_value"}
LARGEST_REAL = 1e30  # no mean or ratio of such numbers overflows; a PSNR may be infinite
LEAST = {"width_px": 1, "height_px": 1, "num_bytes": 0}


class BadShard(Exception):  # noqa: N818 - not raised out of `rows`
    """A shard whose rows cannot be used; the message says why, without the name of the file."""

    def __init__(self, why: str, damaged: bool = False) -> None:
        super().__init__(why)
        self.damaged = damaged  # it is not as it was written


def write_shard(folder: Path, table: pa.Table, bundled: str = "") -> Path:
    """Write rows as one shard, which is on the disk on return, and return its path.

    A shard of the same content is the same file. bundled: the name of one that is bundled with the
    project. Raises `StoreError`.
    """
    content = to_parquet(table)
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{f'{SHIPPED}-{bundled}' if bundled else digest}.parquet"
    record = {record_of(path): f"{digest}  {path.name}\n".encode()} if bundled else {}
    write_results({path: content, **record})
    return path


def record_of(path: Path) -> Path:
    """Return the path of the record of a bundled shard's sha256."""
    return path.with_name(f".{path.name}.sha256")


def to_parquet(table: pa.Table) -> memoryview:
    """Return a table as the bytes of a parquet file."""
    sink = pa.BufferOutputStream()
    alike = [name for name in table.column_names if name not in UNLIKE]
    pq.write_table(table, sink, compression="zstd", use_dictionary=alike)
    return memoryview(sink.getvalue())


def recorded_sha256(path: Path) -> str | None:
    """Return the sha256 that a shard has to have; None if an earlier version wrote it."""
    if SHA256.fullmatch(path.stem):
        return path.stem
    if path.name.startswith(SHIPPED) and (record := record_of(path)).exists():
        text = read_regular(record, LARGEST_FILE_BYTES).decode(errors="replace")
        return text.partition(" ")[0]
    return None


def read_shard(
    path: Path, columns: list[str] | None, shared: Sequence[str], known_whole: bool = False
) -> pa.Table:
    """Read rows as `read_parquet` does; raise `BadShard` for what this version never writes."""
    table = read_parquet(path, columns, shared, known_whole)
    names = table.schema.names
    known = _types()
    if not known.keys() >= {*names}:  # a user's metrics
        known = {field.name: field.type for field in schema_of(names)}
    for field, values in zip(table.schema, table.columns, strict=True):
        name, kind = field.name, field.type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        if name not in known:
            raise BadShard(f"it has the column {name!r}, unknown to this version")
        if plain != known[name]:
            raise BadShard(f"its column {name!r} is of {plain}, not {known[name]}")
        _refuse_values(name, values)
    if "image" in names and not all(map(IS_NAME.search, pc.unique(table["image"]).to_pylist())):
        raise BadShard("it has images without a name")
    if "status" in names:
        foreign = {*pc.unique(table["status"]).to_pylist()} - {"ok", "failed"}
        if foreign:
            raise BadShard(f"it has rows of the status {min(foreign)!r}")
        lacking = [name for name in MEASURED if name in names and table[name].null_count]
        measured = pc.equal(table["status"], "ok") if lacking else None
        for name in lacking:
            if table[name].filter(measured).null_count:
                raise BadShard(f"it has measured rows without a value of {name!r}")
    return table


def _refuse_values(name: str, values: pa.ChunkedArray) -> None:
    """Raise `BadShard` for values that no run writes into a column."""
    if name in NEVER_NULL and values.null_count:
        raise BadShard(f"it has rows without a value of {name!r}")
    if values.null_count == len(values):
        return
    if pa.types.is_integer(values.type):
        lowest, highest = pc.min_max(values).as_py().values()
        least = LEAST.get(name, -LARGEST_WHOLE)
        if lowest is not None and not least <= lowest <= highest <= LARGEST_WHOLE:
            raise BadShard(f"it has numbers of {name!r} beyond 2^53 or below {least}")
    if pa.types.is_floating(values.type):
        own = name in QUANTITIES or name == "setting_value"
        sound = pc.less_equal(pc.abs(values), LARGEST_REAL)
        sound = sound if own else pc.or_(sound, pc.equal(values, math.inf))
        if name in QUANTITIES:
            above = pc.greater_equal(values, 1 / LARGEST_REAL)
            sound = pc.and_(sound, pc.or_(above, pc.equal(values, 0)))
        if pc.all(sound).as_py() is False:
            raise BadShard(f"it has values of {name!r} that are no numbers of a measurement")


def stamp_of(path: Path) -> tuple[int, ...]:
    """Return facts about a file that change with its bytes; empty where there is none."""
    try:
        facts = path.stat()
    except OSError:
        return ()
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def read_parquet(
    path: Path, columns: list[str] | None, shared: Sequence[str] = (), known_whole: bool = False
) -> pa.Table:
    """Read a parquet file, after its bytes were compared with their sha256.

    known_whole: they were, a moment ago, and `stamp_of` is the same.

    columns: names, None for all; an older shard may lack some. shared: names of columns of text
    that become dictionaries, which is four times as fast where rows share them. Raises `BadShard`,
    and `OSError` where the file cannot be opened.
    """
    content = _in_arrow(_verified(path, known_whole))
    # pq.read_table would import pyarrow.dataset, a quarter of the time that a finished run takes.
    try:
        return _read_within(content, columns, {*shared})
    except MemoryError:
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # what Arrow raises
        reason = " ".join(str(error).split())
        raise BadShard(f"it is no whole parquet file ({reason})", damaged=True) from error


def _verified(path: Path, known_whole: bool) -> bytes:
    try:
        content = read_regular(path, LARGEST_BYTES)
        recorded = None if known_whole else recorded_sha256(path)
    except OSError as error:
        if error.errno == errno.EIO:
            raise BadShard("the disk cannot read it", damaged=True) from error
        raise
    if recorded is not None and hashlib.sha256(content).hexdigest() != recorded:
        raise BadShard("its bytes do not match their recorded sha256", damaged=True)
    return content


def _in_arrow(content: bytes) -> pa.Buffer:
    """Return bytes in memory of Arrow's own, which its threads may release at any time.

    Releasing memory of Python's while the interpreter ends would abort the process.
    """
    buffer = pa.allocate_buffer(len(content))
    memoryview(buffer).cast("B")[:] = content
    return buffer


def _read_within(source: pa.Buffer, columns: list[str] | None, shared: set[str]) -> pa.Table:
    """Read columns within bounds of memory; `shared` ones become dictionaries.

    The sizes that the file states are added up before any row is read, and texts in dictionaries
    are unfolded once they were counted. Not bounded is a page that unpacks to more than its row
    group claims. Columns without any value are not read, but made.
    """
    folded = shared
    try:
        file = pq.ParquetFile(pa.BufferReader(source), read_dictionary=[*folded])
    except KeyError:  # an older shard lacks some
        folded = set()
        file = pq.ParquetFile(pa.BufferReader(source))
    metadata = file.metadata
    fields = metadata.schema.to_arrow_schema()
    schema = pa.schema([field for field in fields if columns is None or field.name in columns])
    if len(set(schema.names)) < len(schema):
        raise BadShard("it has several columns of one name")
    most = FREE_BYTES + TIMES_PACKED * source.size

    def refuse(what: str, num_bytes: int) -> None:
        if num_bytes > most:
            raise BadShard(
                f"unpacked, it {what} {num_bytes:,} bytes of memory, and its {source.size:,} bytes "
                f"may take {most:,}"
            )

    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(at) for group in groups for at in range(group.num_columns)]
    unpacked = sum(max(0, group.total_byte_size) for group in groups)
    entries = sum(max(chunk.num_values, 0) for chunk in chunks)  # elements of lists are more
    claimed = VALUE_BYTES * max(entries, metadata.num_rows * metadata.num_columns) + unpacked
    refuse("claims", claimed)
    # Even if each row had every text of the file, they may fit: nothing has to be counted.
    count = claimed + metadata.num_rows * unpacked > most
    wanted = shared | {
        chunk.path_in_schema
        for chunk in chunks
        if count and any("DICTIONARY" in encoding for encoding in chunk.encodings)
    }
    texts = {field.name for field in schema if field.name in wanted and field.type == pa.string()}
    known = {chunk.path_in_schema for chunk in chunks if _has_values(chunk)}
    empty = {chunk.path_in_schema for chunk in chunks} - known
    if folded != texts:
        file = pq.ParquetFile(pa.BufferReader(source), metadata=metadata, read_dictionary=[*texts])
    read = file.read([name for name in schema.names if name not in empty])
    null, of_text = nulls(metadata.num_rows), pa.dictionary(pa.int32(), pa.string())
    columns = [
        null(of_text if field.name in texts else field.type)
        if field.name in empty
        else read[field.name]
        for field in schema
    ]
    # A table without columns keeps its number of rows.
    table = pa.Table.from_arrays(columns, schema.names) if columns else read
    if count:
        unfolded = sum(
            pc.sum(pc.binary_length(part.dictionary).take(part.indices)).as_py() or 0
            for name in texts
            for part in table[name].chunks
        )
        refuse("reaches", table.nbytes + unfolded)
    for name in texts - shared:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, schema.field(name), table[name].cast(pa.string()))
    return table


def _has_values(chunk: "pq.ColumnChunkMetaData") -> bool:
    """Return False if a column has null alone, by its statistics."""
    facts = chunk.statistics
    return facts is None or not facts.has_null_count or facts.null_count < chunk.num_values


@cache
def _types() -> dict[str, pa.DataType]:
    return {field.name: field.type for field in table_schema()}


def key_starts(column: pa.ChunkedArray) -> Keys:
    """Return a number of the first eight bytes of each text, shape (rows,); 0 for shorter ones."""
    starts = np.zeros(len(column), np.uint32)
    start = 0
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets or b"", np.int32)[chunk.offset :][: len(chunk) + 1]
        lengths, text = np.diff(ends), np.frombuffer(data or b"", np.uint8)
        if len(lengths) and (lengths == max(lengths[0], KEY_BYTES)).all():
            whole = text[ends[0] : ends[-1]].reshape(len(lengths), -1)
            long, first = np.arange(len(lengths)), whole[:, :KEY_BYTES].copy()
        else:
            long = np.flatnonzero(lengths >= KEY_BYTES)
            first = text[ends[long, None] + np.arange(KEY_BYTES)]
        number = first.view(np.uint64).ravel() * MIXING >> np.uint64(32)
        starts[start + long] = number
        start += len(chunk)
    return starts


def may_repeat(starts: Sequence[Keys]) -> list[BoolArray]:
    """Mark the numbers of arrays that are in any of them once more, shapes as theirs.

    Keys of cells are hexadecimal digests, whose repetitions are sought by `key_starts`.
    """
    keys = np.sort(np.concatenate([*starts, np.empty(0, np.uint32)]))
    twice = np.unique(keys[1:][keys[1:] == keys[:-1]])
    del keys
    alike = np.zeros(ALIKE + 1, np.bool_)  # by some bits: few others have to be compared
    alike[twice & ALIKE] = True
    marks = []
    for of in starts:
        mark = alike[of & ALIKE]
        mark[mark] = np.isin(of[mark], twice)
        marks.append(mark)
    return marks


def several_builds(table: pa.Table) -> bool:
    """Return whether any codec variant has rows of several builds."""
    kinds = table.group_by(["codec", "variant", *BUILD]).aggregate([])
    return bool(kinds.num_rows > kinds.group_by(["codec", "variant"]).aggregate([]).num_rows)
