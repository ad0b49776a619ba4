"""Columns of a parquet file of any origin, read within a bound of the memory that they take.

A few kilobytes of parquet can stand for any number of rows: repeated values, absent values and
compressed pages cost next to nothing. The bounds of this file are our choice; shards of real rows
take up to seven times their size.
"""

from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FREE_BYTES = 64 << 20  # of a table, however small its file
TIMES_PACKED = 100  # beyond that, for each byte of the file
FEW_BYTES = 1 << 19  # of the texts of one column, which need not be counted exactly
VALUE_BYTES = 8  # of a number, which is the widest type of fixed width
BATCH_ROWS = 512  # of columns of text that are counted while they are read
# The text of one entry may stand in each row of a batch. Arrow ends a dictionary at 1 MiB, and the
# thousand values that it was writing.
LARGEST_DICTIONARY_BYTES = 5 << 18
# The header of a page, in Thrift's compact protocol, begins with three numbers of 32 bits: the
# type of the page, its size unpacked and its size.
NUMBER_FOLLOWS, DICTIONARY_PAGE = 0x15, 2


class TooLarge(ValueError):  # noqa: N818 - not raised out of `rows.files`
    """A file whose columns take more memory than it may; the message is the end of a sentence."""


def most_unpacked(num_bytes: int) -> int:
    """Return the most bytes of memory that the columns of a file of `num_bytes` may take.

    >>> most_unpacked(0), most_unpacked(1 << 20)
    (67108864, 171966464)
    """
    return FREE_BYTES + TIMES_PACKED * num_bytes


def read_within(
    source: pa.Buffer, metadata: pq.FileMetaData, names: Sequence[str], shared: Sequence[str]
) -> pa.Table:
    """Read a file's columns of those names, which differ; `shared` ones become dictionaries.

    What the file says of its rows and row groups is added up before any of it is read. Texts whose
    size that does not tell are counted while they are read, dictionaries as the texts that they
    stand for. Raises `TooLarge`. Not bounded is a page that unpacks to more than its row group
    claims.
    """
    most = most_unpacked(source.size)
    file = pq.ParquetFile(pa.BufferReader(source), metadata=metadata, read_dictionary=[*shared])
    schema = file.schema_arrow
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    # All values at their widest, and the row groups as they unpack
    unpacked = sum(max(0, group.total_byte_size) for group in groups)
    claimed = VALUE_BYTES * metadata.num_rows * metadata.num_columns + unpacked
    loose = [name for name in names if _has_any_length(schema.field(name).type)]
    nested = any(pa.types.is_nested(schema.field(name).type) for name in loose)
    if not nested and claimed + metadata.num_rows * unpacked <= most:
        return file.read([*names])  # a small file: even if each row held every text of it
    claimed += sum(_elements_beyond_rows(group, loose) for group in groups) * VALUE_BYTES
    if claimed > most:
        raise TooLarge(_told(f"claims {claimed:,}", most, source))
    if claimed + _texts_at_most(source, metadata, schema, loose) <= most:
        table = file.read([*names])
        loose = []
    else:
        table = file.read([name for name in names if name not in loose])
    unpacked = table.nbytes + sum(map(_longest_texts, table.columns))
    if unpacked > most:
        unpacked = table.nbytes + sum(map(_all_texts, table.columns))
    batches = []
    for batch in file.iter_batches(BATCH_ROWS, columns=loose) if loose else ():
        unpacked += batch.nbytes
        if unpacked > most:
            break
        batches.append(batch)
    if unpacked > most:
        raise TooLarge(_told(f"reaches {unpacked:,}", most, source))
    if not loose:
        return table
    read = pa.Table.from_batches(batches, pa.schema([schema.field(name) for name in loose]))
    for name, column in zip(loose, read.columns, strict=True):
        table = table.append_column(name, column)
    return table.select([*names])


def _elements_beyond_rows(group: pq.RowGroupMetaData, names: Collection[str]) -> int:
    """Return how many more values than rows columns have: elements of lists."""
    return sum(max(0, chunk.num_values - group.num_rows) for _, chunk in _chunks(group, names))


def _texts_at_most(
    source: pa.Buffer, metadata: pq.FileMetaData, schema: pa.Schema, loose: Collection[str]
) -> int:
    """Return at least the bytes of those texts that stand once in a dictionary for many rows.

    The longest text of a dictionary is taken for each row; a small dictionary is not looked into.
    Raises `TooLarge` for a dictionary that is larger than any writer makes it.
    """
    total = 0
    for number in range(metadata.num_row_groups):
        group, unknown = metadata.row_group(number), []
        for name, chunk in _chunks(group, loose):
            size = _dictionary_bytes(source, chunk)
            if group.num_rows * size <= FREE_BYTES // 16:
                total += group.num_rows * size
            elif pa.types.is_string(schema.field(name).type):
                unknown.append(name)
        if unknown:
            file = pq.ParquetFile(
                pa.BufferReader(source), metadata=metadata, read_dictionary=unknown
            )
            for batch in file.iter_batches(1, row_groups=[number], columns=unknown):
                lengths = (pc.max(pc.binary_length(one.dictionary)) for one in batch.columns)
                total += group.num_rows * sum(length.as_py() or 0 for length in lengths)
                break
    return total


def _chunks(
    group: pq.RowGroupMetaData, names: Collection[str]
) -> Iterator[tuple[str, pq.ColumnChunkMetaData]]:
    """Iterate over the chunks of columns, with the name of each column."""
    for chunk in (group.column(number) for number in range(group.num_columns)):
        name = chunk.path_in_schema.partition(".")[0]
        if name in names:
            yield name, chunk


def _dictionary_bytes(source: pa.Buffer, chunk: pq.ColumnChunkMetaData) -> int:
    """Return the size of the dictionary that a chunk begins with, 0 without one."""
    starts = (chunk.dictionary_page_offset, chunk.data_page_offset)
    start = min(place for place in starts if place is not None)
    kind, unpacked = _first_numbers(source.slice(max(0, start), 32).to_pybytes())
    if kind == DICTIONARY_PAGE and unpacked > LARGEST_DICTIONARY_BYTES:
        raise TooLarge(
            f"has {unpacked:,} bytes of different values of {chunk.path_in_schema!r} in one "
            f"dictionary, and {LARGEST_DICTIONARY_BYTES:,} are read"
        )
    return unpacked if kind == DICTIONARY_PAGE else 0


def _first_numbers(header: bytes) -> tuple[int, int]:
    """Return the type of a page and its size unpacked in bytes, from its first bytes.

    >>> _first_numbers(bytes.fromhex("150415808008 15 20"))
    (2, 65536)
    """
    found, at = [], 0
    for _ in range(2):
        if header[at : at + 1] != bytes([NUMBER_FOLLOWS]):
            raise TooLarge("has a page whose size cannot be told")
        number = shift = 0
        at += 1
        while at < len(header):
            number |= (header[at] & 0x7F) << shift
            shift += 7
            at += 1
            if header[at - 1] < 0x80:
                break
        found.append(number >> 1 ^ -(number & 1))  # zigzag
    return found[0], found[1]


def _longest_texts(column: pa.ChunkedArray) -> int:
    """Return the bytes of a column of dictionaries if each row held the longest of their texts.

    That is 0 for another column. The size of a small dictionary stands for its longest text.
    """
    total = 0
    for part in _dictionaries(column):
        size = len(part) * part.dictionary.nbytes
        if size > FEW_BYTES:
            size = len(part) * (pc.max(pc.binary_length(part.dictionary)).as_py() or 0)
        total += size
    return total


def _all_texts(column: pa.ChunkedArray) -> int:
    """Return the bytes of the texts that a column of dictionaries stands for; 0 for another."""
    lengths = (
        pc.binary_length(part.dictionary).take(part.indices) for part in _dictionaries(column)
    )
    return sum(pc.sum(one).as_py() or 0 for one in lengths)


def _dictionaries(column: pa.ChunkedArray) -> list[pa.DictionaryArray]:
    is_text = pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type)
    return column.chunks if is_text else []


def _has_any_length(kind: pa.DataType) -> bool:
    return not (pa.types.is_primitive(kind) or pa.types.is_dictionary(kind))


def _told(what: str, most: int, source: pa.Buffer) -> str:
    return f"{what} bytes of memory, and its {source.size:,} bytes may take {most:,}"
