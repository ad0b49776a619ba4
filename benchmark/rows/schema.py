"""Columns of the table of measurements, keys of cells, and footers of parquet files.

A footer (in Thrift's compact protocol) states how much memory rows take; polars does not read it.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from benchmark import plugins
from benchmark.codec import CodecInfo, Setting
from benchmark.errors import UsageError
from benchmark.registry import (
    DISTRIBUTION_METRICS,
    FEATURE_SPACES,
    METRICS,
    is_user_code,
    metric_called,
    metric_class,
    unknown_metric,
)
from benchmark.spec import CodecSpec

COLUMNS = Path(__file__).parent / "columns.toml"
TYPES_BY_NAME = {kind.__name__: kind for kind in (str, int, float, bool)}


class CostFormat(NamedTuple):
    """Heading, format and factor of a cost's mean over settings, as shown in a report."""

    heading: str
    form: str = ".3g"
    factor: float = 1.0


class TableColumn(NamedTuple):
    """Column in `columns.toml`; null: no value. Coding columns are fields of `execute.Coded`."""

    name: str
    kind: type  # str, int (64 bits), float (64 bits) or bool
    meaning: str
    unit: str = ""
    cost_format: CostFormat | None = None  # format in reports, if the column is a cost


def _cell_columns() -> Iterator[TableColumn]:
    for name, declaration in tomllib.loads(COLUMNS.read_text(encoding="utf-8")).items():
        cost_format = CostFormat(*declaration["shown"]) if "shown" in declaration else None
        yield TableColumn(
            name,
            TYPES_BY_NAME[declaration["type"]],
            declaration["meaning"],
            declaration.get("unit", ""),
            cost_format,
        )


CELL_COLUMNS = tuple(_cell_columns())
NOT_DETERMINISTIC = "not deterministic"  # beginning of a failed row's reason
READER_COLUMNS = ("bundled", "features_of")  # set when rows are read; in no file

# Columns for a codec's information, by field of `CodecInfo`; the licence is in run records.
INFO_COLUMNS = {
    "version": "codec_version",
    **{name: name for name in ("command", "timed", "fingerprint", "revision", "device")},
    **{name: name for name in ("caveat", "chroma", "tuned_for")},
}


def info_columns(info: CodecInfo) -> dict[str, Any]:
    """Return a codec's information as values by column."""
    columns = {column: getattr(info, field) for field, column in INFO_COLUMNS.items()}
    return {**columns, "chroma": info.chroma or None, "tuned_for": info.tuned_for or None}


def info_of(row: Mapping[str, Any], licence: str) -> CodecInfo:
    """Return the codec information in a row."""
    fields = {field: row[column] for field, column in INFO_COLUMNS.items()}
    present_fields = {field: value for field, value in fields.items() if value is not None}
    return CodecInfo(licence=licence, **present_fields)


def is_declared(row: Mapping[str, Any]) -> bool:
    """Return whether a row's size is declared: it has a picture and never had a stream."""
    return bool(row["bytes_origin"] == "declared")


def cell_key(
    codec: CodecSpec,
    info: CodecInfo,
    setting: Setting,
    source_sha256: str,
    width_px: int,
    coding_protocol: str,
) -> str:
    """Return a cell's key: the hexadecimal sha256 of everything that determines its stream."""
    key_start = _key_start(codec, info.fingerprint, info.revision, setting)
    image_values = [source_sha256, width_px, coding_protocol]
    return hashlib.sha256(f"{key_start}, {json.dumps(image_values)[1:]}".encode()).hexdigest()


@lru_cache(1024)
def _key_start(codec: CodecSpec, fingerprint: str, revision: int, setting: Setting) -> str:
    values = codec.name, codec.variant, fingerprint, revision, setting.name, float(setting.value)
    return json.dumps(values)[:-1]


def table_columns() -> tuple[TableColumn, ...]:
    """Return all columns of the table."""
    return _table_columns(tuple(METRICS), tuple(FEATURE_SPACES))


@cache
def _table_columns(
    metrics: tuple[str, ...], feature_spaces: tuple[str, ...]
) -> tuple[TableColumn, ...]:
    columns = [*CELL_COLUMNS]
    for name in metrics:
        metric = metric_class(name)
        columns += _metric_columns(metric.column, f"{metric.better} is better", metric.label)
    for name in feature_spaces:
        meaning = f"patches whose {name} features are kept"
        columns += _metric_columns(metric_class(name).column, meaning, kind=int)
    return tuple(columns)


def _metric_columns(
    column: str, meaning: str, unit: str = "", kind: type = float
) -> list[TableColumn]:
    value, protocol, reason = metric_columns(column)
    subject = f"the features behind {value}" if kind is int else value
    return [
        TableColumn(value, kind, f"{meaning}; null has a reason", unit),
        TableColumn(protocol, str, f"protocol id of {subject}"),
        TableColumn(reason, str, f"why {value} is null"),
    ]


def user_columns(names: Iterable[str]) -> list[str]:
    """Return the value columns of users' metrics in `names`, in order."""
    all_names, table_names = dict.fromkeys(names), {*_table_column_names()}
    has_all = (name for name in all_names if {*metric_columns(name)} <= all_names.keys())
    return [name for name in has_all if name not in table_names]


def _table_column_names() -> list[str]:
    return [column.name for column in table_columns()]


def columns_of(names: Iterable[str]) -> tuple[TableColumn, ...]:
    """Return all columns of the table, then those of users' metrics in `names`."""
    added_columns = (
        _metric_columns(name, "a metric of a user's file") for name in user_columns(names)
    )
    return (*table_columns(), *chain(*added_columns))


def metric_columns(column: str) -> tuple[str, str, str]:
    """Return a metric's columns: value, protocol id, reason for null."""
    return column, f"{column}_protocol", f"{column}_reason"


def metric_names(metrics: str | Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names of metrics (names, synonyms, `path.py:Class`; comma-separated).

    "all" is every metric. Raises `UnknownName`; `UsageError` for a file without a metric, or
    whose column already exists.
    """
    known_names = (*METRICS, *DISTRIBUTION_METRICS)
    texts = [text.strip() for text in (metrics.split(",") if isinstance(metrics, str) else metrics)]
    names = dict.fromkeys(
        name
        for text in texts
        for name in (known_names if text == "all" else (metric_called(text),))
    )
    for name in names:
        if name not in known_names and not is_user_code(name):
            raise unknown_metric(name, (*known_names, "path.py:Class"))
    if user_metrics := list(filter(is_user_code, names)):
        _refuse_taken_columns(user_metrics)
    return tuple(names)


def _refuse_taken_columns(names: Iterable[str]) -> None:
    """Raise `UsageError` if the harness or another file has a column of a user's metric."""
    set_columns = (metric_columns(metric_class(name).column) for name in DISTRIBUTION_METRICS)
    owners = dict.fromkeys([*_table_column_names(), *chain(*set_columns)], "the harness")
    for name in names:
        columns = metric_columns(metric_class(name).column)
        for column in filter(owners.__contains__, columns):
            subject = f"{plugins.place_of(name)}: the column {column!r}"
            remedy = "change `column` of the metric"
            raise UsageError(f"{subject} already belongs to {owners[column]}: {remedy}")
        owners |= dict.fromkeys(columns, name)


MAGIC, TAIL_BYTES = b"PAR1", 8  # the footer is followed by its length (4 bytes) and MAGIC
FIXED_BYTES = {3: 1, 7: 8}  # sizes of a byte and a double, by type code
BOOLEANS, INTEGERS, BINARY, LISTS, STRUCT = (1, 2), (4, 5, 6), 8, (9, 10), 12  # type codes
MAX_SHIFT_BITS = 63  # bit position of the last 7-bit group in a 64-bit number


class Footer(NamedTuple):
    """Sizes that a parquet file states, which may be wrong."""

    rows: int
    names: tuple[str, ...]  # columns
    values: int  # number of values in all columns; a list counts once per element
    unpacked_bytes: int
    empty: frozenset[str]  # columns with only nulls


def read_footer(content: bytes) -> Footer:
    """Read a file's footer; raise `ValueError` or `RecursionError` for an invalid one."""
    length = int.from_bytes(content[-TAIL_BYTES:-4], "little")
    start = len(content) - TAIL_BYTES - length
    if content[-4:] != MAGIC or content[:4] != MAGIC or start < len(MAGIC):
        raise ValueError("its footer is missing")
    return _parse_footer(content[start:-TAIL_BYTES])


@lru_cache(maxsize=256)  # a verb reads most shards several times
def _parse_footer(data: bytes) -> Footer:
    try:
        fields, _ = _parse_struct(data, 0)
        row_groups = fields[4]
        chunks = [chunk[3] for row_group in row_groups for chunk in row_group[1]]
        values = sum(max(chunk[5], 0) for chunk in chunks)
        unpacked_bytes = sum(max(row_group[2], 0) for row_group in row_groups)
        names = _column_names(fields[2])
        return Footer(max(fields[3], 0), names, values, unpacked_bytes, _null_columns(chunks))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError("its footer has an unknown form") from error


def _null_columns(chunks: list[dict[int, Any]]) -> frozenset[str]:
    is_null: dict[str, bool] = {}
    for chunk in chunks:
        name = b".".join(chunk[3]).decode()
        nulls = chunk.get(12, {}).get(3, -1)
        is_null[name] = is_null.get(name, True) and nulls == chunk[5]
    return frozenset(name for name, is_empty in is_null.items() if is_empty)


def _column_names(schema: list[dict[int, Any]]) -> tuple[str, ...]:
    """Return column names from the schema, a tree that begins with the root, depth first."""
    names, num_nested = [], 0  # number of elements of the last column that follow
    for element in schema[1:]:
        if not num_nested:
            names.append(element[4].decode())
        num_nested = max(num_nested - 1, 0) + element.get(5, 0)
    return tuple(names)


# Each parser returns a value and the offset after it; after the last byte, it raises `IndexError`.
# Structs are dictionaries by field number.


def _parse_struct(data: bytes, offset: int) -> tuple[dict[int, Any], int]:
    fields, number = dict[int, Any](), 0
    while header := data[offset]:
        offset += 1
        if step := header >> 4:
            number += step
        else:
            number, offset = _parse_signed(data, offset)
        fields[number], offset = _parse_value(data, offset, header & 15)
    return fields, offset + 1


def _parse_value(data: bytes, offset: int, type_code: int) -> tuple[Any, int]:
    if type_code in INTEGERS:
        return _parse_signed(data, offset)
    if type_code == BINARY:
        size, offset = _parse_varint(data, offset)
        return data[offset : offset + size], offset + size
    if type_code == STRUCT:
        return _parse_struct(data, offset)
    if type_code in BOOLEANS:
        return type_code == BOOLEANS[0], offset
    if type_code in FIXED_BYTES:
        return None, offset + FIXED_BYTES[type_code]
    if type_code in LISTS:
        header, values = data[offset], []
        count, type_code = header >> 4, header & 15
        count, offset = _parse_varint(data, offset + 1) if count == 15 else (count, offset + 1)
        if count > len(data) - offset:  # each value takes at least one byte
            raise ValueError("its footer has a list that is longer than the file")
        for _ in range(count):
            value, offset = _parse_value(data, offset, 3 if type_code in BOOLEANS else type_code)
            values.append(value)
        return values, offset
    raise ValueError("its footer has a value of an unknown kind")


def _parse_signed(data: bytes, offset: int) -> tuple[int, int]:
    number, offset = _parse_varint(data, offset)
    return number >> 1 ^ -(number & 1), offset


def _parse_varint(data: bytes, offset: int) -> tuple[int, int]:
    number = shift = 0
    while (byte := data[offset]) > 127:
        number |= (byte & 127) << shift
        shift += 7
        offset += 1
        if shift > MAX_SHIFT_BITS:
            raise ValueError("its footer has a number that does not end")
    return number | byte << shift, offset + 1
