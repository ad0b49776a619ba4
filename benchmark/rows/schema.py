"""The columns of the table of measurements, one row per cell; keys of cells; a file's footer.

The footer of a parquet file says what its rows will take in memory, before any of them is read. It
is a struct of Thrift's compact protocol, of which four fields are wanted here. polars reads it too,
but does not say what it finds.
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
    is_brought,
    metric_called,
    metric_class,
    unknown_metric,
)
from benchmark.spec import CodecSpec

COLUMNS = Path(__file__).parent / "columns.toml"
KINDS = {kind.__name__: kind for kind in (str, int, float, bool)}


class Shown(NamedTuple):
    """Heading, format and scale of a cost in a report: its mean over a codec's settings."""

    heading: str
    form: str = ".3g"
    factor: float = 1.0


class Column(NamedTuple):
    """A column of the table; null stands for no value in any of them.

    Declared in `columns.toml` alone; where coding gives it, `measure.execute.Coded` has a field of
    its name.
    """

    name: str
    kind: type  # str, int (64 bits), float (64 bits) or bool
    meaning: str
    unit: str = ""
    shown: Shown | None = None  # in reports, as a cost of the codec


def _cell_columns() -> Iterator[Column]:
    """Yield the columns that every row has, from `columns.toml`."""
    for name, of in tomllib.loads(COLUMNS.read_text(encoding="utf-8")).items():
        shown = Shown(*of["shown"]) if "shown" in of else None
        yield Column(name, KINDS[of["type"]], of["meaning"], of.get("unit", ""), shown)


CELL_COLUMNS = tuple(_cell_columns())
NOT_DETERMINISTIC = "not deterministic"  # as the reason of a failed row begins
WHERE_READ = ("bundled", "features_of")  # columns that no file has

# Columns of a codec's information, by the field of `CodecInfo`; its licence is in run records.
INFO_COLUMNS = {
    "version": "codec_version",
    **{name: name for name in ("command", "timed", "fingerprint", "revision", "device")},
    **{name: name for name in ("caveat", "chroma", "tuned_for")},
}


def info_columns(info: CodecInfo) -> dict[str, Any]:
    """Return what a row has of a codec's information, by column."""
    columns = {column: getattr(info, field) for field, column in INFO_COLUMNS.items()}
    return {**columns, "chroma": info.chroma or None, "tuned_for": info.tuned_for or None}


def info_of(row: Mapping[str, Any], licence: str) -> CodecInfo:
    """Return the information on its codec that a row has."""
    fields = {field: row[column] for field, column in INFO_COLUMNS.items()}
    present = {field: value for field, value in fields.items() if value is not None}
    return CodecInfo(licence=licence, **present)


def is_declared(row: Mapping[str, Any]) -> bool:
    """Return whether a row's size is declared: it has a picture, and never had a stream."""
    return bool(row["bytes_origin"] == "declared")


def cell_key(
    codec: CodecSpec,
    info: CodecInfo,
    setting: Setting,
    source_sha256: str,
    width_px: int,
    coding_protocol: str,
) -> str:
    """Return the hexadecimal sha256 of everything that decides the stream, a cell's identity.

    Another library, weight file, adapter revision or coding rule is another cell, so that a row is
    neither taken for one of another version nor measured again.
    """
    start = _start_of_key(codec, info.fingerprint, info.revision, setting)
    parts = [source_sha256, width_px, coding_protocol]
    return hashlib.sha256(f"{start}, {json.dumps(parts)[1:]}".encode()).hexdigest()


@lru_cache(1024)
def _start_of_key(codec: CodecSpec, fingerprint: str, revision: int, setting: Setting) -> str:
    parts = codec.name, codec.variant, fingerprint, revision, setting.name, float(setting.value)
    return json.dumps(parts)[:-1]


def table_columns() -> tuple[Column, ...]:
    """Return all columns of the table."""
    return _table_columns(tuple(METRICS), tuple(FEATURE_SPACES))


@cache
def _table_columns(metrics: tuple[str, ...], feature_spaces: tuple[str, ...]) -> tuple[Column, ...]:
    columns = [*CELL_COLUMNS]
    for name in metrics:
        metric = metric_class(name)
        columns += _metric_columns(metric.column, f"{metric.better} is better", metric.label)
    for name in feature_spaces:
        meaning = f"patches whose {name} features are kept"
        columns += _metric_columns(metric_class(name).column, meaning, kind=int)
    return tuple(columns)


def _metric_columns(column: str, meaning: str, unit: str = "", kind: type = float) -> list[Column]:
    value, protocol, reason = metric_columns(column)
    of = f"the features behind {value}" if kind is int else value
    return [
        Column(value, kind, f"{meaning}; null has a reason", unit),
        Column(protocol, str, f"protocol id of {of}"),
        Column(reason, str, f"why {value} is null"),
    ]


def own_columns(names: Iterable[str]) -> list[str]:
    """Return the columns that the table lacks and that have a protocol and reason, in order."""
    all_names, known = dict.fromkeys(names), {*_names()}
    has_all = (name for name in all_names if {*metric_columns(name)} <= all_names.keys())
    return [name for name in has_all if name not in known]


def _names() -> list[str]:
    return [column.name for column in table_columns()]


def columns_of(names: Iterable[str]) -> tuple[Column, ...]:
    """Return all columns of the table, then those of users' metrics among the names."""
    own = (_metric_columns(name, "a metric of a user's file") for name in own_columns(names))
    return (*table_columns(), *chain(*own))


def metric_columns(column: str) -> tuple[str, str, str]:
    """Return a metric's three columns: its value, its protocol id, the reason why it is null."""
    return column, f"{column}_protocol", f"{column}_reason"


def metric_names(asked: str | Iterable[str]) -> tuple[str, ...]:
    """Return metrics as a tuple of names without duplicates; `all` stands for every metric.

    asked: names or other words for metrics of the registry, or `path.py:Class`; or a
    comma-separated text of them. Raises `UnknownName`, and `UsageError` for a file without such a
    metric or with a taken column.

    >>> metric_names("psnr, lpips,psnr_db")
    ('psnr', 'lpips')
    """
    known = (*METRICS, *DISTRIBUTION_METRICS)
    texts = [text.strip() for text in (asked.split(",") if isinstance(asked, str) else asked)]
    names = dict.fromkeys(
        name for text in texts for name in (known if text == "all" else (metric_called(text),))
    )
    for name in names:
        if name not in known and not is_brought(name):
            raise unknown_metric(name, (*known, "path.py:Class"))
    if own := list(filter(is_brought, names)):
        _refuse_taken_columns(own)
    return tuple(names)


def _refuse_taken_columns(names: Iterable[str]) -> None:
    """Raise `UsageError` if a user's metric has a column of the harness's, or of another file's."""
    of_sets = (metric_columns(metric_class(name).column) for name in DISTRIBUTION_METRICS)
    taken = dict.fromkeys([*_names(), *chain(*of_sets)], "the harness")
    for name in names:
        own = metric_columns(metric_class(name).column)
        for column in filter(taken.__contains__, own):
            where = f"{plugins.place_of(name)}: the column {column!r}"
            remedy = "give the metric another `column`"
            raise UsageError(f"{where} is one of {taken[column]} already: {remedy}")
        taken |= dict.fromkeys(own, name)


MAGIC, TAIL = b"PAR1", 8  # bytes after the footer: its length, and MAGIC
FIXED = {3: 1, 7: 8}  # bytes of a byte and of a float, by their kinds in the protocol
BOOLEANS, WHOLES, BINARY, LISTS, STRUCT = (1, 2), (4, 5, 6), 8, (9, 10), 12
MOST_SHIFTED = 63  # bits of a number


class Footer(NamedTuple):
    """Sizes of a parquet file as it states them; a stranger's may state anything."""

    rows: int
    names: list[str]  # of its columns
    values: int  # of all columns together; elements of lists are more than rows
    unpacked_bytes: int
    empty: frozenset[str]  # columns in which nothing but nulls is counted


def read_footer(content: bytes) -> Footer:
    """Return the footer of a file; raise `ValueError` or `RecursionError` where there is none."""
    length = int.from_bytes(content[-TAIL:-4], "little")
    start = len(content) - TAIL - length
    if content[-4:] != MAGIC or content[:4] != MAGIC or start < len(MAGIC):
        raise ValueError("its footer is lacking")
    try:
        fields, _ = _struct(content, start)
        groups = fields[4]
        chunks = [chunk[3] for group in groups for chunk in group[1]]
        values = sum(max(chunk[5], 0) for chunk in chunks)
        unpacked_bytes = sum(max(group[2], 0) for group in groups)
        names = _columns(fields[2])
        return Footer(max(fields[3], 0), names, values, unpacked_bytes, _empty(chunks))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError("its footer is of another form") from error


def _empty(chunks: list[dict[int, Any]]) -> frozenset[str]:
    """Return the columns of which each chunk has as many nulls as values, by its statistics."""
    empty: dict[str, bool] = {}
    for chunk in chunks:
        name = b".".join(chunk[3]).decode()
        nulls = chunk.get(12, {}).get(3, -1)
        empty[name] = empty.get(name, True) and nulls == chunk[5]
    return frozenset(name for name, without in empty.items() if without)


def _columns(schema: list[dict[int, Any]]) -> list[str]:
    """Return the names of the columns, from the tree of their parts: a root, then depth first."""
    names, nested = [], 0  # parts that are still to come of the column before
    for part in schema[1:]:
        if not nested:
            names.append(part[4].decode())
        nested = max(nested - 1, 0) + part.get(5, 0)
    return names


# Values of the protocol, each with the place of the byte after it; beyond the last one is an
# `IndexError`. Structs are dictionaries by the fields' numbers.


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    fields, number = dict[int, Any](), 0
    while head := data[at]:
        at += 1
        if step := head >> 4:
            number += step
        else:
            number, at = _signed(data, at)
        fields[number], at = _value(data, at, head & 15)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in WHOLES:
        return _signed(data, at)
    if kind == BINARY:
        size, at = _number(data, at)
        return data[at : at + size], at + size
    if kind == STRUCT:
        return _struct(data, at)
    if kind in BOOLEANS:
        return kind == BOOLEANS[0], at
    if kind in FIXED:
        return None, at + FIXED[kind]
    if kind in LISTS:
        head, values = data[at], []
        count, kind = head >> 4, head & 15
        count, at = _number(data, at + 1) if count == 15 else (count, at + 1)
        if count > len(data) - at:  # each takes a byte or more
            raise ValueError("its footer has a list that is longer than the file")
        for _ in range(count):
            value, at = _value(data, at, 3 if kind in BOOLEANS else kind)
            values.append(value)
        return values, at
    raise ValueError("its footer has a value of another kind")


def _signed(data: bytes, at: int) -> tuple[int, int]:
    number, at = _number(data, at)
    return number >> 1 ^ -(number & 1), at


def _number(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while (byte := data[at]) > 127:
        number |= (byte & 127) << shift
        shift += 7
        at += 1
        if shift > MOST_SHIFTED:
            raise ValueError("its footer has a number without end")
    return number | byte << shift, at + 1
