"""Columns of a parquet file of any origin, read within a bound of the memory that they take.

A few kilobytes of parquet can stand for any number of rows: repeated values, absent values and
compressed pages cost next to nothing. The bounds of this file are our choice; shards of real rows
take up to seven times their size.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

FREE_BYTES = 64 << 20  # of a table, however small its file
TIMES_PACKED = 100  # beyond that, for each byte of the file
VALUE_BYTES = 8  # of a number, which is the widest type of fixed width


class TooLarge(ValueError):  # noqa: N818 - not raised out of `rows.files`
    """A file whose columns take more memory than it may; the message is the end of a sentence."""


def most_unpacked(num_bytes: int) -> int:
    """Return the most bytes of memory that the columns of a file of `num_bytes` may take.

    >>> most_unpacked(0), most_unpacked(1 << 20)
    (67108864, 171966464)
    """
    return FREE_BYTES + TIMES_PACKED * num_bytes


def read_within(
    source: pa.Buffer,
    metadata: pq.FileMetaData,
    schema: pa.Schema,
    names: Sequence[str],
    shared: Sequence[str],
) -> pa.Table:
    """Read a file's columns of those names, which differ; `shared` ones become dictionaries.

    metadata, schema: of the file, the schema as Arrow's.

    What the file says of its rows and row groups is added up before any of it is read. Texts
    that the file has in dictionaries are read as such, and unfolded after they were counted.
    Raises `TooLarge`. Not bounded is a page that unpacks to more than its row group claims.
    """
    most = most_unpacked(source.size)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    unpacked = sum(max(0, group.total_byte_size) for group in groups)
    values = metadata.num_rows * metadata.num_columns
    if any(pa.types.is_nested(field.type) for field in schema):
        values += sum(map(_beyond_rows, groups))
    claimed = VALUE_BYTES * values + unpacked
    if claimed > most:
        raise TooLarge(_told(f"claims {claimed:,}", most, source))
    if claimed + metadata.num_rows * unpacked <= most:  # even if each row held every text of it
        return _read(source, metadata, names, shared)
    folded = {*shared, *_in_dictionaries(groups)}
    texts = [name for name in names if name in folded and schema.field(name).type == pa.string()]
    table = _read(source, metadata, names, texts)
    for text_bytes in (_texts_at_most, _text_bytes):
        unfolded = table.nbytes + sum(map(text_bytes, table.select(texts).columns))
        if unfolded <= most:
            break
    else:
        raise TooLarge(_told(f"reaches {unfolded:,}", most, source))
    for name in texts:
        if name not in shared:
            at = table.schema.get_field_index(name)
            table = table.set_column(at, schema.field(name), table[name].cast(pa.string()))
    return table


def _read(
    source: pa.Buffer, metadata: pq.FileMetaData, names: Sequence[str], coded: Sequence[str]
) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(source), metadata=metadata, read_dictionary=[*coded])
    return file.read([*names])


def _beyond_rows(group: pq.RowGroupMetaData) -> int:
    """Return how many more values than rows the columns have: elements of lists."""
    chunks = (group.column(number) for number in range(group.num_columns))
    return sum(max(0, chunk.num_values - group.num_rows) for chunk in chunks)


def _in_dictionaries(groups: Sequence[pq.RowGroupMetaData]) -> Iterator[str]:
    """Iterate over the columns whose values stand in dictionaries, some of them several times."""
    for group in groups:
        for chunk in (group.column(number) for number in range(group.num_columns)):
            if any("DICTIONARY" in one for one in chunk.encodings):
                yield chunk.path_in_schema


def _texts_at_most(column: pa.ChunkedArray) -> int:
    """Return the bytes of a column of dictionaries if each row held the longest of their texts."""
    longest = (pc.max(pc.binary_length(part.dictionary)).as_py() or 0 for part in column.chunks)
    return sum(len(part) * one for part, one in zip(column.chunks, longest, strict=True))


def _text_bytes(column: pa.ChunkedArray) -> int:
    """Return the bytes of the texts that a column of dictionaries stands for."""
    lengths = (pc.binary_length(part.dictionary).take(part.indices) for part in column.chunks)
    return sum(pc.sum(one).as_py() or 0 for one in lengths)


def _told(what: str, most: int, source: pa.Buffer) -> str:
    return f"{what} bytes of memory, and its {source.size:,} bytes may take {most:,}"
