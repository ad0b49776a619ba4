"""The columns of the table of measurements, one row per cell; keys of cells."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from itertools import chain
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
    metric_named,
    unknown_metric,
)
from benchmark.spec import CodecSpec


class Shown(NamedTuple):
    """Heading, format and scale of a cost in a report: its mean over a codec's settings."""

    heading: str
    form: str = ".3g"
    factor: float = 1.0


class Column(NamedTuple):
    """A column of the table; null stands for no value in any of them.

    Declared here alone; where coding gives it, `measure.execute.Coded` has a field of its name.
    """

    name: str
    kind: type  # str, int (64 bits), float (64 bits) or bool
    meaning: str
    unit: str = ""
    shown: Shown | None = None  # in reports, as a cost of the codec


CELL_COLUMNS = (
    Column("cell", str, "sha256 of everything that decides the stream; a row's identity"),
    Column("run", str, "runs/<run>.json holds commit, machine, versions"),
    Column("codec", str, "name in the registry, or path.py:Class"),
    Column("variant", str, "options that differ from the defaults: subsampling=444"),
    Column("setting_name", str, "name of the rate control: quality"),
    Column("setting_value", float, "its value"),
    Column("dataset", str, "name of the dataset the image was taken from"),
    Column("image", str, "name within the dataset"),
    Column("image_sha256", str, "of the source's pixels"),
    Column("width_px", int, "of the source", "px"),
    Column("height_px", int, "of the source", "px"),
    Column("source_lossy", bool, "the source's file is itself lossily coded"),
    Column("status", str, "ok or failed"),
    Column("stage", str, "where it failed: load, encode, decode, verify, worker"),
    Column("reason", str, "why it failed"),
    Column("num_bytes", int, "of the whole stream, header included", "bytes"),
    Column("container_bytes", int, "of num_bytes, the file format's; null where unknown", "bytes"),
    Column("bytes_origin", str, "measured, or declared by a list"),
    Column("bpp", float, "8 num_bytes / (width_px height_px)", "bit/px"),
    Column("stream_sha256", str, "of the stream; its name under streams/"),
    Column("decoded_sha256", str, "of the decoded pixels"),
    Column("encode_seconds", float, "wall clock of the one call", "s"),
    Column("decode_seconds", float, "wall clock of the one call", "s"),
    Column("encode_inside_seconds", float, "of a worker's own clock; null: coded in "
           "this process", "s"),
    Column("decode_inside_seconds", float, "of a worker's own clock; null: coded in "
           "this process", "s"),
    Column("parameters", int, "of the codec's networks, as declared",
           shown=Shown("parameters (million)", ".3g", 1e-6)),
    Column("encode_kmac", float, "multiply-accumulates of the encoder, as declared", "kMAC/px",
           Shown("encode (kMAC/px)")),
    Column("decode_kmac", float, "multiply-accumulates of the decoder, as declared", "kMAC/px",
           Shown("decode (kMAC/px)")),
    Column("encode_peak_bytes", int, "most memory of the call: of the process with all it has "
           "loaded, on cuda of the GPU; null where it cannot be measured", "bytes",
           Shown("encode, most memory (MB)", ".0f", 1e-6)),
    Column("decode_peak_bytes", int, "the same", "bytes",
           Shown("decode, most memory (MB)", ".0f", 1e-6)),
    Column("estimated_bits", float, "of the stream, by the codec's own probabilities", "bit"),
    Column("generation", int, "times that the picture was coded; null: once"),
    Column("timing", bool, "measured alone, by bench run --timing"),
    Column("jobs", int, "cells measured at the same time"),
    Column("threads", int, "threads of every numeric library"),
    Column("machine", str, "processor and core count"),
    Column("device", str, "where the codec ran: cpu or cuda"),
    Column("codec_version", str, "CodecInfo.version"),
    Column("command", str, "CodecInfo.command"),
    Column("timed", str, "CodecInfo.timed: what the seconds contain"),
    Column("fingerprint", str, "CodecInfo.fingerprint"),
    Column("revision", int, "CodecInfo.revision of the adapter"),
    Column("caveat", str, "what has to be said of the codec: random weights"),
    Column("chroma", str, "CodecInfo.chroma: 4:2:0 or 4:4:4; null: not stated"),
    Column("tuned_for", str, "CodecInfo.tuned_for: the metric optimised; null: not stated"),
    Column("coding_protocol", str, "protocol id of coding and bpp"),
    Column("finished_utc", str, "ISO 8601"),
    Column("recorded", bool, "of a pack, or bundled with the project: seconds count in no mean"),
    Column("bundled", bool, "came with the project or a pack; set where rows are read"),
    Column("build", str, "a build with equal streams; set where rows are read"),
    Column("features_of", str, "pixels of the row that gave the features; set where rows are read"),
    Column("attested", bool, "a fresh process decoded the stream to the same pixels; else null"),
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


def table_columns() -> tuple[Column, ...]:
    """Return all columns of the table."""
    return _table_columns(tuple(METRICS), tuple(FEATURE_SPACES))


@cache
def _table_columns(metrics: tuple[str, ...], feature_spaces: tuple[str, ...]) -> tuple[Column, ...]:
    columns = [*CELL_COLUMNS]
    for name in metrics:
        metric = metric_named(name)
        columns += _metric_columns(metric.column, f"{metric.better} is better", metric.label)
    for name in feature_spaces:
        meaning = f"patches whose {name} features are kept"
        columns += _metric_columns(metric_named(name).column, meaning, kind=int)
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
    of_sets = (metric_columns(metric_named(name).column) for name in DISTRIBUTION_METRICS)
    taken = dict.fromkeys([*_names(), *chain(*of_sets)], "the harness")
    for name in names:
        own = metric_columns(metric_named(name).column)
        for column in filter(taken.__contains__, own):
            where = f"{plugins.place_of(name)}: the column {column!r}"
            remedy = "give the metric another `column`"
            raise UsageError(f"{where} is one of {taken[column]} already: {remedy}")
        taken |= dict.fromkeys(own, name)
