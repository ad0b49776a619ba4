"""Shards, parquet files of rows: named by the sha256 of their bytes, checked whenever one is read.

    <sha256>.parquet                rows measured or imported here
    shipped-NAME.parquet            rows bundled with the project; their sha256 is on record in
    .shipped-NAME.parquet.sha256    this file, which `sha256sum --check` reads
    <32 digits>.parquet             written by earlier versions, which did not record a sha256

Plain readers of parquet ignore the record, whose name begins with a dot. Parquet's own checksums
are of pages, without their headers and the footer. A few kilobytes of parquet can hold any number
of repeated or absent values, so the memory that a file may take is bounded; real shards take up to
seven times their size.
"""

import errno
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmark.rows.schema import schema_of, table_schema
from benchmark.system.atomic import write_results
from benchmark.system.digest import SHA256
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

LARGEST_BYTES = 1 << 32  # of a shard: some forty million rows
LARGEST_WHOLE = 1 << 53  # integers up to which float64, with which rows are averaged, is exact
FREE_BYTES = 64 << 20  # of memory for a table, however small its file
TIMES_PACKED = 100  # further bytes of memory for each byte of the file
VALUE_BYTES = 8  # of a number, the widest type of fixed width
SHIPPED = "shipped"  # prefix of the shards that are bundled with the project
# Texts that no two rows share
UNLIKE = ("cell", "stream_sha256", "decoded_sha256", "features_of", "finished_utc")
NEVER_NULL = ("cell", "status", "codec", "variant", "setting_name", "image")


class BadShard(Exception):  # noqa: N818 - not raised out of `rows`
    """A shard whose rows cannot be used; the message says why, without the name of the file."""

    def __init__(self, why: str, damaged: bool) -> None:
        super().__init__(why)
        self.damaged = damaged  # it is not as it was written


def write_shard(folder: Path, table: pa.Table) -> Path:
    """Write rows as one shard, which is on the disk on return, and return its path.

    A shard of the same content is the same file. Raises `StoreError`.
    """
    content = to_parquet(table)
    path = folder / f"{hashlib.sha256(content).hexdigest()}.parquet"
    write_results({path: content})
    return path


def write_shipped(path: Path, content: memoryview) -> None:
    """Write a bundled shard with the record of its sha256. Raises `StoreError`."""
    record = f"{hashlib.sha256(content).hexdigest()}  {path.name}\n"
    write_results({path: content, record_of(path): record.encode()})


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


def read_shard(path: Path, columns: list[str] | None, shared: Sequence[str]) -> pa.Table:
    """Read the rows of a shard, after its bytes were compared with their sha256.

    columns: names, None for all; an older shard may lack some. shared: names of columns of text
    that become dictionaries, which is four times as fast where rows share them. Raises `BadShard`,
    and `OSError` where the file cannot be opened.
    """
    table = read_parquet(path, columns, shared, _refuse_foreign_columns)
    _refuse_foreign_values(table)
    return table


def read_parquet(
    path: Path,
    columns: list[str] | None,
    shared: Sequence[str] = (),
    refuse: Callable[[pa.Schema], None] = lambda schema: None,
) -> pa.Table:
    """Read a parquet file as `read_shard` does, whatever its columns are.

    refuse: is given the schema of those columns before any is read, and may raise.
    """
    content = pa.py_buffer(_verified(path))
    # pq.read_table would import pyarrow.dataset, a quarter of the time that a finished run takes.
    try:
        metadata = pq.read_metadata(pa.BufferReader(content))
        fields = metadata.schema.to_arrow_schema()
        wanted = pa.schema([field for field in fields if columns is None or field.name in columns])
        refuse(wanted)
        if len(set(wanted.names)) < len(wanted):
            raise BadShard("it has several columns of one name", damaged=False)
        return _read_within(content, metadata, wanted, [n for n in shared if n in wanted.names])
    except MemoryError:
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # what Arrow raises
        reason = " ".join(str(error).split())
        raise BadShard(f"it is no whole parquet file ({reason})", damaged=True) from error


def most_unpacked(num_bytes: int) -> int:
    """Return the most bytes of memory that the columns of a file of `num_bytes` may take.

    >>> most_unpacked(0), most_unpacked(1 << 20)
    (67108864, 171966464)
    """
    return FREE_BYTES + TIMES_PACKED * num_bytes


def _read_within(
    source: pa.Buffer, metadata: pq.FileMetaData, schema: pa.Schema, shared: Sequence[str]
) -> pa.Table:
    """Read the columns of a schema within `most_unpacked`; `shared` ones become dictionaries.

    The sizes that the file states for its rows and row groups are added up before any is read.
    Texts that it has in dictionaries are read as such, and unfolded once they were counted. Not
    bounded is a page that unpacks to more than its row group claims. Columns of text or numbers
    without any value, as of metrics that were not measured, are not read, but made.
    """
    most = most_unpacked(source.size)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(at) for group in groups for at in range(group.num_columns)]
    unpacked = sum(max(0, group.total_byte_size) for group in groups)
    entries = sum(max(chunk.num_values, 0) for chunk in chunks)  # elements of lists are more
    entries = max(entries, metadata.num_rows * metadata.num_columns)
    claimed = VALUE_BYTES * entries + unpacked
    if claimed > most:
        raise _too_large(f"claims {claimed:,}", source)
    # Even if each row held every text of the file, they may fit: nothing has to be counted.
    count = claimed + metadata.num_rows * unpacked > most
    folded = {*shared}
    for chunk in chunks if count else ():
        if any("DICTIONARY" in encoding for encoding in chunk.encodings):
            folded.add(chunk.path_in_schema)
    texts = [one.name for one in schema if one.name in folded and one.type == pa.string()]
    values = {one.path_in_schema for one in chunks if _has_values(one)}
    empty = {one.path_in_schema for one in chunks}.intersection(schema.names) - values
    file = pq.ParquetFile(pa.BufferReader(source), metadata=metadata, read_dictionary=texts)
    table = file.read([name for name in schema.names if name not in empty])
    if empty:
        coded = pa.dictionary(pa.int32(), pa.string())
        types = {one.name: coded if one.name in texts else one.type for one in schema}
        table = _with_nulls(table, metadata.num_rows, pa.schema(types.items()))
    if count:
        unfolded = table.nbytes + sum(map(_text_bytes, table.select(texts).columns))
        if unfolded > most:
            raise _too_large(f"reaches {unfolded:,}", source)
    for name in {*texts} - {*shared}:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, schema.field(name), table[name].cast(pa.string()))
    return table


def _with_nulls(table: pa.Table, num_rows: int, schema: pa.Schema) -> pa.Table:
    """Return the columns of a schema, those that the table lacks without any value."""
    read = table.column_names
    columns = [table[x.name] if x.name in read else pa.nulls(num_rows, x.type) for x in schema]
    return pa.table(columns, schema)


def _has_values(chunk: pq.ColumnChunkMetaData) -> bool:
    """Return False if a column has null alone, by its statistics."""
    facts = chunk.statistics
    return facts is None or not facts.has_null_count or facts.null_count < chunk.num_values


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Return the bytes of the texts that a column of dictionaries stands for."""
    lengths = (pc.binary_length(part.dictionary).take(part.indices) for part in column.chunks)
    return sum(pc.sum(of_part).as_py() or 0 for of_part in lengths)


def _too_large(what: str, source: pa.Buffer) -> BadShard:
    most = most_unpacked(source.size)
    return BadShard(
        f"unpacked, it {what} bytes of memory, and its {source.size:,} bytes may take {most:,}",
        damaged=False,
    )


def _verified(path: Path) -> bytes:
    try:
        content = read_regular(path, LARGEST_BYTES)
        recorded = recorded_sha256(path)
    except OSError as error:
        if error.errno == errno.EIO:
            raise BadShard("the disk cannot read it", damaged=True) from error
        raise
    if recorded is not None and hashlib.sha256(content).hexdigest() != recorded:
        raise BadShard("its bytes do not match their recorded sha256", damaged=True)
    return content


def _refuse_foreign_columns(schema: pa.Schema) -> None:
    """Raise `BadShard` for columns or types that this version never writes."""
    names = schema.names
    known = _types()
    if not known.keys() >= {*names}:  # a user's metrics
        known = {field.name: field.type for field in schema_of(names)}
    for at, name in enumerate(names):
        if name not in known or names.index(name) != at:
            raise BadShard(f"it has the column {name!r}, unknown to this version", damaged=False)
        kind = schema.field(at).type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        if plain != known[name]:
            raise BadShard(f"its column {name!r} is of {plain}, not {known[name]}", damaged=False)


def _refuse_foreign_values(table: pa.Table) -> None:
    """Raise `BadShard` for nulls, a status or a number that this version never writes."""
    names = table.schema.names
    for name in NEVER_NULL:
        if name in names and table[name].null_count:
            raise BadShard(f"it has rows without a value of {name!r}", damaged=False)
    if "status" in names:
        foreign = {*pc.unique(table["status"]).to_pylist()} - {"ok", "failed"}
        if foreign:
            raise BadShard(f"it has rows of the status {min(foreign)!r}", damaged=False)
    for field in table.schema:
        if pa.types.is_integer(field.type):
            lowest, highest = pc.min_max(table[field.name]).as_py().values()
            if lowest is not None and not -LARGEST_WHOLE <= lowest <= highest <= LARGEST_WHOLE:
                raise BadShard(f"it has numbers of {field.name!r} beyond 2^53", damaged=False)


@cache
def _types() -> dict[str, pa.DataType]:
    return {field.name: field.type for field in table_schema()}
