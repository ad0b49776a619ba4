"""The columns of the table of measurements, one row per cell; keys of cells."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark import plugins
from benchmark.codec import BoolArray, CodecInfo, Setting
from benchmark.errors import UnknownName, UsageError
from benchmark.registry import (
    DISTRIBUTION_METRICS,
    FEATURE_SPACES,
    METRICS,
    is_brought,
    metric_named,
)
from benchmark.spec import CodecSpec

TEXT, WHOLE, REAL, YES_NO = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TIME, TIME_FORMAT = pa.timestamp("ms"), "%Y-%m-%dT%H:%M:%S+00:00"  # of lean tables
CHUNK_ROWS = 1 << 16  # of columns of nulls

CELL_COLUMNS: tuple[tuple[str, pa.DataType, str, str], ...] = (
    ("cell", TEXT, "", "sha256 of everything that decides the stream; a row's identity"),
    ("run", TEXT, "", "runs/<run>.json holds commit, machine, versions"),
    ("codec", TEXT, "", "name in the registry, or path.py:Class"),
    ("variant", TEXT, "", "options that differ from the defaults: subsampling=444"),
    ("setting_name", TEXT, "", "name of the rate control: quality"),
    ("setting_value", REAL, "", "its value"),
    ("dataset", TEXT, "", "name of the dataset the image was taken from"),
    ("image", TEXT, "", "name within the dataset"),
    ("image_sha256", TEXT, "", "of the source's pixels"),
    ("width_px", WHOLE, "px", "of the source"),
    ("height_px", WHOLE, "px", "of the source"),
    ("source_lossy", YES_NO, "", "the source's file is itself lossily coded"),
    ("status", TEXT, "", "ok or failed"),
    ("stage", TEXT, "", "where it failed: load, encode, decode, verify, worker"),
    ("reason", TEXT, "", "why it failed"),
    ("num_bytes", WHOLE, "bytes", "of the whole stream, header included"),
    ("container_bytes", WHOLE, "bytes", "of num_bytes, the file format's; null where unknown"),
    ("bytes_origin", TEXT, "", "measured, or declared by a list"),
    ("bpp", REAL, "bit/px", "8 num_bytes / (width_px height_px)"),
    ("stream_sha256", TEXT, "", "of the stream; its name under streams/"),
    ("decoded_sha256", TEXT, "", "of the decoded pixels"),
    ("encode_seconds", REAL, "s", "wall clock of the one call"),
    ("decode_seconds", REAL, "s", "wall clock of the one call"),
    ("encode_inside_seconds", REAL, "s", "of a worker's own clock; null: coded in this process"),
    ("decode_inside_seconds", REAL, "s", "of a worker's own clock; null: coded in this process"),
    ("encode_peak_bytes", WHOLE, "bytes", "most memory of the call: of the process with all it "
     "has loaded, on cuda of the GPU; null where it cannot be measured"),
    ("decode_peak_bytes", WHOLE, "bytes", "the same"),
    ("estimated_bits", REAL, "bit", "of the stream, by the codec's own probabilities"),
    ("parameters", WHOLE, "", "of the codec's networks, as declared"),
    ("encode_kmac", REAL, "kMAC/px", "multiply-accumulates of the encoder, as declared"),
    ("decode_kmac", REAL, "kMAC/px", "multiply-accumulates of the decoder, as declared"),
    ("generation", WHOLE, "", "times that the picture was coded; null: once"),
    ("timing", YES_NO, "", "measured alone, by bench run --timing"),
    ("jobs", WHOLE, "", "cells measured at the same time"),
    ("threads", WHOLE, "", "threads of every numeric library"),
    ("machine", TEXT, "", "processor and core count"),
    ("device", TEXT, "", "where the codec ran: cpu or cuda"),
    ("codec_version", TEXT, "", "CodecInfo.version"),
    ("command", TEXT, "", "CodecInfo.command"),
    ("timed", TEXT, "", "CodecInfo.timed: what the seconds contain"),
    ("fingerprint", TEXT, "", "CodecInfo.fingerprint"),
    ("revision", WHOLE, "", "CodecInfo.revision of the adapter"),
    ("caveat", TEXT, "", "what has to be said of the codec: random weights"),
    ("chroma", TEXT, "", "CodecInfo.chroma: 4:2:0 or 4:4:4; null: not stated"),
    ("tuned_for", TEXT, "", "CodecInfo.tuned_for: the metric optimised; null: not stated"),
    ("coding_protocol", TEXT, "", "protocol id of coding and bpp"),
    ("finished_utc", TEXT, "", "ISO 8601"),
    ("recorded", YES_NO, "", "of a pack, or bundled with the project: seconds count in no mean"),
    ("bundled", YES_NO, "", "came with the project or a pack; set where rows are read"),
    ("build", TEXT, "", "a build with equal streams; set where rows are read"),
    ("features_of", TEXT, "", "pixels of the row that gave the features; set where rows are read"),
    ("attested", YES_NO, "", "a fresh process decoded the stream to the same pixels; else null"),
)  # fmt: skip


WHERE_READ = ("bundled", "build", "features_of")  # columns that no file has

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


def cell_key(
    codec: CodecSpec,
    info: CodecInfo,
    setting: Setting,
    source_sha256: str,
    width_px: int,
    coding_protocol: str,
    generation: int = 1,
) -> str:
    """Return the hexadecimal sha256 of everything that decides the stream, a cell's identity.

    Another library, weight file, adapter revision or coding rule is another cell, so that a row is
    neither taken for one of another version nor measured again. generation: times that the picture
    was coded; keys of the first have no word of it.
    """
    start = _start_of_key(codec, info.fingerprint, info.revision, setting)
    parts = [
        *(source_sha256, width_px, coding_protocol),
        *([f"generation {generation}"] if generation > 1 else []),
    ]
    return hashlib.sha256(f"{start}, {json.dumps(parts)[1:]}".encode()).hexdigest()


@lru_cache(1024)
def _start_of_key(codec: CodecSpec, fingerprint: str, revision: int, setting: Setting) -> str:
    parts = codec.name, codec.variant, fingerprint, revision, setting.name, float(setting.value)
    return json.dumps(parts)[:-1]


def table_schema() -> pa.Schema:
    """Return the schema of all columns, with units and meanings as field metadata."""
    return _table_schema(tuple(METRICS), tuple(FEATURE_SPACES))


@cache
def _table_schema(metrics: tuple[str, ...], feature_spaces: tuple[str, ...]) -> pa.Schema:
    fields = [_field(*column) for column in CELL_COLUMNS]
    for name in metrics:
        metric = metric_named(name)
        fields += _metric_fields(metric.column, metric.label, f"{metric.better} is better")
    for name in feature_spaces:
        meaning = f"patches whose {name} features are kept"
        fields += _metric_fields(metric_named(name).column, "", meaning, WHOLE)
    return pa.schema(fields)


def _metric_fields(column: str, unit: str, meaning: str, kind: Any = REAL) -> list[pa.Field]:
    value, protocol, reason = metric_columns(column)
    of = f"the features behind {value}" if kind == WHOLE else value
    return [
        _field(value, kind, unit, f"{meaning}; null has a reason"),
        _field(protocol, TEXT, "", f"protocol id of {of}"),
        _field(reason, TEXT, "", f"why {value} is null"),
    ]


def own_columns(names: Iterable[str]) -> list[str]:
    """Return the columns that the schema lacks and that have a protocol and reason, in order."""
    all_names, known = dict.fromkeys(names), set(table_schema().names)
    has_all = (name for name in all_names if {*metric_columns(name)} <= all_names.keys())
    return [name for name in has_all if name not in known]


def schema_of(names: Iterable[str]) -> pa.Schema:
    """Return the schema of a table with these columns: all of the schema, then users' metrics."""
    own = own_columns(names)
    fields = [
        field for column in own for field in _metric_fields(column, "", "a metric of a user's file")
    ]
    return pa.schema([*table_schema(), *fields])


def alike(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """Return tables with the same columns: those of users' metrics that one lacks are null."""
    schema = schema_of(name for table in tables for name in table.column_names)
    return [plain(table, schema) for table in tables]


def plain(table: pa.Table, schema: pa.Schema | None = None) -> pa.Table:
    """Return all columns of a schema, by default `schema_of` the table's; lacking ones are null."""
    schema = schema or schema_of(table.column_names)
    whole = filled_up(table, schema)
    columns = [of_type(whole[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def filled_up(table: pa.Table, schema: pa.Schema, rows: int | None = None) -> pa.Table:
    """Return the columns of a schema as the table has them; lacking ones are null.

    rows: their number, of a table that may have no column.
    """
    known, null = {*table.column_names}, nulls(len(table) if rows is None else rows)
    columns = [table[f.name] if f.name in known else null(f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema.names)


def of_type(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column in a type of the schema."""
    return pc.strftime(values, TIME_FORMAT) if values.type == TIME else values.cast(kind)


def nulls(rows: int) -> Callable[[pa.DataType], pa.ChunkedArray]:
    """Return a function that makes a column of nulls, once for all columns of a type.

    Its chunks share their memory.
    """

    def column(kind: pa.DataType) -> pa.ChunkedArray:
        chunk, rest = pa.nulls(min(rows, CHUNK_ROWS), kind), rows % CHUNK_ROWS
        chunks = [chunk] * (rows // CHUNK_ROWS) + [chunk.slice(0, rest)] * (rest > 0)
        return pa.chunked_array(chunks, kind)

    return cache(column)


def _field(name: str, kind: Any, unit: str, meaning: str) -> pa.Field:
    return pa.field(name, kind, metadata={"unit": unit, "meaning": meaning})


def metric_columns(column: str) -> tuple[str, str, str]:
    """Return a metric's three columns: its value, its protocol id, the reason why it is null."""
    return column, f"{column}_protocol", f"{column}_reason"


def metric_names(asked: str | Iterable[str]) -> tuple[str, ...]:
    """Return metrics as a tuple of names without duplicates; `all` stands for every metric.

    asked: names, each of the registry or `path.py:Class`, or a comma-separated text of them. Raises
    `UnknownName`, and `UsageError` for a file without such a metric or with a taken column.

    >>> metric_names("psnr, lpips,psnr")
    ('psnr', 'lpips')
    """
    known = (*METRICS, *DISTRIBUTION_METRICS)
    texts = [text.strip() for text in (asked.split(",") if isinstance(asked, str) else asked)]
    names = dict.fromkeys(name for text in texts for name in (known if text == "all" else (text,)))
    for name in names:
        if name not in known and not is_brought(name):
            raise UnknownName("metric", name, (*known, "path.py:Class"))
    if own := list(filter(is_brought, names)):
        _refuse_taken_columns(own)
    return tuple(names)


def _refuse_taken_columns(names: Iterable[str]) -> None:
    """Raise `UsageError` if a user's metric has a column of the harness's, or of another file's."""
    of_sets = (metric_columns(metric_named(name).column) for name in DISTRIBUTION_METRICS)
    taken = dict.fromkeys([*table_schema().names, *chain(*of_sets)], "the harness")
    for name in names:
        own = metric_columns(metric_named(name).column)
        for column in filter(taken.__contains__, own):
            where = f"{plugins.place_of(name)}: the column {column!r}"
            remedy = "give the metric another `column`"
            raise UsageError(f"{where} is one of {taken[column]} already: {remedy}")
        taken |= dict.fromkeys(own, name)


def replaced(table: pa.Table, column: str, values: pa.ChunkedArray) -> pa.Table:
    """Return the table with other values of a column, whose type stays."""
    at = table.schema.get_field_index(column)
    return table.set_column(at, table.schema.field(at), values)


def equals(column: pa.ChunkedArray, text: str) -> BoolArray:
    """Mark the rows of a column of text that equal `text`, bool of shape (rows,); null does not."""
    if (only := only_text(column)) is not None:
        return np.full(len(column), only == text)
    return np.asarray(pc.equal(column, text).fill_null(False).to_numpy(), np.bool_)


def marked(column: pa.ChunkedArray) -> BoolArray:
    """Mark the rows of a column of booleans that are true, bool of shape (rows,); null is not."""
    return np.asarray(column.fill_null(False).to_numpy(), np.bool_)


def only_text(column: pa.ChunkedArray) -> Any:
    """Return the text that all rows of a column of dictionaries have, None where they differ."""
    if not pa.types.is_dictionary(column.type) or column.null_count:
        return None
    known = [chunk.dictionary for chunk in column.chunks]
    texts = {values[0].as_py() if len(values) == 1 else None for values in known}
    return texts.pop() if len(texts) == 1 else None


def bundled_beside_own(table: pa.Table) -> BoolArray:
    """Mark the bundled rows of cells that have another row, measured here; shape (rows,)."""
    bundled = marked(table["bundled"])
    if not bundled.any() or bundled.all():
        return np.zeros(len(bundled), np.bool_)
    here = table["cell"].filter(pa.array(~bundled)).drop_null()
    return np.asarray(bundled & pc.is_in(table["cell"], value_set=here).to_numpy(), np.bool_)
