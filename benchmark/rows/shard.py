"""Shards: parquet files of rows, named by the sha256 of their bytes and checked when read.

    <sha256>.parquet                rows measured or imported here
    shipped-NAME.parquet            rows bundled with the project; their sha256 is recorded in
    .shipped-NAME.parquet.sha256    this file, in the format of `sha256sum --check`
    <32 digits>.parquet             written by earlier versions, without a recorded sha256

Parquet readers ignore the record, whose name begins with a dot; parquet's own checksums cover only
pages. A few kilobytes of parquet can hold any number of repeated or absent values, so the memory
that a file may take is bounded; real shards take up to seven times their size.
"""

import errno
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
from polars import col

from benchmark.errors import StoreError
from benchmark.rows.schema import CELL_COLUMNS, TableColumn, columns_of, metric_columns, read_footer
from benchmark.system.atomic import write_results
from benchmark.system.digest import SHA256
from benchmark.system.foreign_files import MAX_EXACT_INT, MAX_FOREIGN_FILE_BYTES, read_regular
from benchmark.system.text import name_text

MAX_SHARD_BYTES = 1 << 32  # about forty million rows
MIN_ALLOWED_BYTES = 64 << 20  # memory that the table of any file may take
ALLOWED_EXPANSION = 100  # additional bytes of memory per byte of the file
VALUE_BYTES = 8  # memory of a number
SHIPPED = "shipped"  # prefix of the shards that are bundled with the project
NON_NULL_COLUMNS = (
    "cell", "status", "codec", "variant", "setting_name", "setting_value", "image",
)  # fmt: skip
REQUIRED_COLUMNS_IF_OK = ("width_px", "height_px", "num_bytes", "bpp")
QUANTITIES = {column.name for column in CELL_COLUMNS if column.kind is float} - {"setting_value"}
MAX_REAL = 1e30  # means and ratios of numbers up to this do not overflow
MAX_SIDE_PX = 1 << 26  # maximum side of an image: the number of pixels is an exact float
NUMBER_RANGES = {
    "width_px": (1, MAX_SIDE_PX), "height_px": (1, MAX_SIDE_PX), "num_bytes": (0, MAX_EXACT_INT),
    **dict.fromkeys(("parameters", "container_bytes"), (0, MAX_EXACT_INT)),
}  # fmt: skip
# Columns of earlier versions that are ignored: peak memory that included memory left over from
# scoring, and the number of times a picture was coded.
RETIRED_COLUMNS = ("encode_peak_bytes", "decode_peak_bytes", "generation")
MAX_CHARACTERS = 4000  # longer texts are truncated to this, unless they identify the row


class BadShard(Exception):  # noqa: N818 - never raised outside `rows`
    """Shard whose rows cannot be used; the message says why, without the file's name."""

    def __init__(self, message: str, damaged: bool = False) -> None:
        super().__init__(message)
        self.damaged = damaged  # whether the file's bytes have changed since it was written


# Exceptions for an invalid value; polars raises OverflowError for integers, and UnicodeError is a
# ValueError.
INVALID_VALUE_ERRORS = (BadShard, OverflowError, TypeError, ValueError, pl.exceptions.PolarsError)


# Tables of rows


def schema_of(names: Iterable[str] = ()) -> pl.Schema:
    """Return the types of all standard columns, and of users' metrics in `names`."""
    return _schema(columns_of(names))


@lru_cache(8)
def _schema(columns: tuple[TableColumn, ...]) -> pl.Schema:
    return pl.Schema({column.name: column.kind for column in columns})


def table_of(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows as a table with all columns; missing values are null."""
    names = dict.fromkeys(name for row in rows for name in row)
    schema = schema_of(names)
    if unknown_names := [name for name in names if name not in schema]:
        raise ValueError(f"unknown column {unknown_names[0]!r}")
    columns = ((name, [row.get(name) for row in rows], kind) for name, kind in schema.items())
    return pl.DataFrame([pl.Series(*column) for column in columns])


def make_storable(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows as a table that `read_shard` accepts.

    Invalid values become null. The reason is stored for a metric, a caveat for another column; a
    row without a size or rate fails. Text that is not UTF-8 is escaped, long text is truncated.
    Raises `StoreError` for a row without a required value.
    """
    stored_rows = [
        {name: _storable_text(name, value) for name, value in row.items()} for row in rows
    ]
    schema = schema_of(dict.fromkeys(name for row in rows for name in row))
    for is_repaired in (False, True):
        try:
            table = table_of(stored_rows)
            refuse_values(table)
            break
        except INVALID_VALUE_ERRORS as error:
            if is_repaired:
                raise StoreError(f"a row cannot be stored: {error}") from error
        for name, kind in schema.items():
            if _is_refused(name, [row.get(name) for row in stored_rows], kind):
                for row in stored_rows:
                    _remove_invalid(row, name, schema)
    return table


def refused_columns(row: Mapping[str, Any]) -> list[str]:
    """Return the columns of a row with values that `read_shard` refuses."""
    schema = schema_of(row)
    return [name for name, value in row.items() if _is_refused(name, [value], schema[name])]


def _is_refused(name: str, values: Sequence[Any], kind: Any) -> bool:
    try:
        refuse_values(pl.DataFrame([pl.Series(name, values, kind)]))
    except INVALID_VALUE_ERRORS:
        return True
    return False


def _remove_invalid(row: dict[str, Any], name: str, schema: pl.Schema) -> None:
    """Replace an invalid optional value by null, and record why."""
    if name in NON_NULL_COLUMNS or not _is_refused(name, [row.get(name)], schema[name]):
        return
    row[name] = None
    value, _, reason = metric_columns(name)
    if reason in schema:
        row[reason] = "not a valid measurement"
    elif name != "caveat":
        caveat = f"{value} left out: not a valid measurement"
        row["caveat"] = "; ".join(filter(None, (row.get("caveat"), caveat)))
    if name in REQUIRED_COLUMNS_IF_OK and row.get("status") == "ok":
        row |= {"status": "failed", "stage": "verify", "reason": row["caveat"]}


def _storable_text(name: str, value: Any) -> Any:
    if not isinstance(value, str) or (value.isascii() and len(value) <= MAX_CHARACTERS):
        return value
    if name not in NON_NULL_COLUMNS and len(value) > MAX_CHARACTERS:
        value = f"{value[:MAX_CHARACTERS]}..."
    return name_text(value)


def fill_columns(table: pl.DataFrame, names: Iterable[str] = ()) -> pl.DataFrame:
    """Return a table with all columns in order, and those of users' metrics in `names`."""
    schema = schema_of([*table.columns, *names])
    missing_columns = {
        name: pl.lit(None, kind) for name, kind in schema.items() if name not in table.columns
    }
    return table.with_columns(**missing_columns).select(schema.names())


def align_columns(tables: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Return tables with all columns, including those of users' metrics in any of them."""
    names = dict.fromkeys(name for table in tables for name in table.columns)
    return [fill_columns(table, names) for table in tables]


# Files


def write_shard(folder: Path, table: pl.DataFrame, bundled_name: str = "") -> Path:
    """Write rows as a shard; equal rows give equal bytes. May raise `StoreError`."""
    content = parquet_bytes(table)
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"{f'{SHIPPED}-{bundled_name}' if bundled_name else digest}.parquet"
    record = {record_of(path): f"{digest}  {path.name}\n".encode()} if bundled_name else {}
    write_results({path: content, **record})
    return path


def record_of(path: Path) -> Path:
    """Return the path of the file that records a bundled shard's sha256."""
    return path.with_name(f".{path.name}.sha256")


def parquet_bytes(table: pl.DataFrame, **facts: str) -> bytes:
    """Return a table as parquet bytes; metadata: units and meanings of columns, and `facts`."""
    buffer = BytesIO()
    columns = {column.name: column for column in columns_of(table.columns)}
    described_columns = [columns[name] for name in table.columns if name in columns]
    texts = {
        column.name: " ".join(filter(None, (column.unit, column.meaning)))
        for column in described_columns
    }
    table.rechunk().write_parquet(buffer, metadata=texts | facts)
    return buffer.getvalue()


def recorded_sha256(path: Path) -> str | None:
    """Return the expected sha256 of a shard; None if an earlier version wrote it."""
    if SHA256.fullmatch(path.stem):
        return path.stem
    if path.name.startswith(SHIPPED) and (record := record_of(path)).exists():
        return (
            read_regular(record, MAX_FOREIGN_FILE_BYTES).decode(errors="replace").partition(" ")[0]
        )
    return None


def read_shard(
    path: Path, columns: Sequence[str] | None = None, skip_empty: bool = False
) -> pl.DataFrame:
    """Read rows with `read_parquet`; raise `BadShard` for content not written by this version."""
    return _check_columns(read_parquet(path, columns, skip_empty))


def parse_shard(content: bytes) -> pl.DataFrame:
    """Parse the bytes of a shard; see `read_shard`."""
    return _check_columns(_parse_columns(content, None))


def _check_columns(table: pl.DataFrame) -> pl.DataFrame:
    if "generation" in table.columns:  # rows of recoded pictures are not averaged
        table = table.filter(col("generation").is_null())
    table = table.drop(RETIRED_COLUMNS, strict=False)
    schema = schema_of(table.columns)
    for name, kind in table.schema.items():
        if name not in schema:
            raise BadShard(f"it has the column {name!r}, which this version does not know")
        if kind != schema[name]:
            raise BadShard(f"its column {name!r} has the type {kind}, not {schema[name]}")
    refuse_values(table)
    return table


def read_parquet(
    path: Path, columns: Sequence[str] | None = None, skip_empty: bool = False
) -> pl.DataFrame:
    """Read a parquet file after checking its sha256.

    columns: names, None for all; older shards may lack some. skip_empty: omit columns without
    values, except required ones. Raises `BadShard`, or `OSError` if the file cannot be opened.
    """
    return _parse_columns(_read_verified(path), columns, skip_empty)


def read_fact(content: bytes, name: str) -> str:
    """Return a fact that was given to `parquet_bytes`, "" if absent; may raise `BadShard`."""
    with _convert_errors():
        return pl.read_parquet_metadata(BytesIO(content)).get(name, "")


def _parse_columns(
    content: bytes, columns: Sequence[str] | None, skip_empty: bool = False
) -> pl.DataFrame:
    with _convert_errors():
        return _read_bounded(content, columns, skip_empty)


@contextmanager
def _convert_errors() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    # Errors of polars, including Rust panics, and of an invalid footer
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException,
            ValueError, RecursionError) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise BadShard(f"it is not a complete parquet file ({reason})", damaged=True) from error


def _read_verified(path: Path) -> bytes:
    try:
        content = read_regular(path, MAX_SHARD_BYTES)
        recorded_digest = recorded_sha256(path)
    except OSError as error:
        if error.errno == errno.EIO:
            raise BadShard("the disk reported a read error", damaged=True) from error
        raise
    if recorded_digest is not None and hashlib.sha256(content).hexdigest() != recorded_digest:
        raise BadShard("its bytes do not match their recorded sha256", damaged=True)
    return content


def _read_bounded(content: bytes, columns: Sequence[str] | None, skip_empty: bool) -> pl.DataFrame:
    """Read columns; refuse a file that would take too much memory.

    Sizes that the file states are added up before any row is read. Lengths of strings, which rows
    may share, are added afterwards. A page larger than its row group states is not bounded.
    """
    footer, size = read_footer(content), len(content)
    if len({*footer.names}) < len(footer.names):
        raise BadShard("it has several columns with the same name")
    limit = MIN_ALLOWED_BYTES + ALLOWED_EXPANSION * size

    def require_allowed(origin: str, num_bytes: int) -> None:
        if num_bytes > limit:
            raise BadShard(
                f"{origin}, it would take {num_bytes:,} bytes of memory, but a file of {size:,} "
                f"bytes may take at most {limit:,}"
            )

    num_values = max(footer.values, footer.rows * len(footer.names))
    stated_bytes = VALUE_BYTES * num_values + footer.unpacked_bytes
    require_allowed("by the sizes that it states", stated_bytes)
    selected_names = [name for name in footer.names if columns is None or name in columns]
    if skip_empty:
        # A user's metric is recognised only if all its columns are read, so none is skipped.
        skipped_names = footer.empty.intersection(schema_of()).difference(
            NON_NULL_COLUMNS, REQUIRED_COLUMNS_IF_OK
        )
        selected_names = [name for name in selected_names if name not in skipped_names]
    # "columns": polars' default takes twice the processor time for shards with many columns.
    table = pl.read_parquet(content, columns=selected_names, parallel="columns")
    texts = table.select(cs.string().str.len_bytes().sum())
    require_allowed("with its strings", stated_bytes + sum(total.item() for total in texts))
    return table


def refuse_values(table: pl.DataFrame) -> None:
    """Raise `BadShard` if a table has values that are not allowed in a shard."""
    null_column = next(
        (n for n in NON_NULL_COLUMNS if n in table.columns and table[n].null_count()), None
    )
    if null_column:
        raise BadShard(f"it has rows without a value of {null_column!r}")
    checks: dict[str, pl.Expr] = {}
    for column in table:
        if column.null_count() < len(column):
            checks |= _number_checks(column.name, column.dtype)
    if "image" in table.columns:
        checks["it has images without a name"] = ~col("image").str.contains("[^./]")
    if "status" in table.columns:
        for name in REQUIRED_COLUMNS_IF_OK:
            if name in table.columns:
                is_missing = (col("status") == "ok") & col(name).is_null()
                checks[f"it has measured rows without a value of {name!r}"] = is_missing
    violations = table.select(**{message: invalid.any() for message, invalid in checks.items()})
    if messages := [column.name for column in violations if column.any()]:
        raise BadShard(messages[0])
    if "status" in table.columns and (
        unknown_statuses := {*table["status"].unique()} - {"ok", "failed"}
    ):
        raise BadShard(f"it has rows with the unknown status {min(unknown_statuses)!r}")


def _number_checks(name: str, kind: pl.DataType) -> dict[str, pl.Expr]:
    """Return an expression that marks invalid numbers, by its error message."""
    values = col(name)
    if kind == pl.Int64:
        minimum, maximum = NUMBER_RANGES.get(name, (-MAX_EXACT_INT, MAX_EXACT_INT))
        message = f"it has values of {name!r} that are not between {minimum:,} and {maximum:,}"
        return {message: ~values.is_between(minimum, maximum)}
    if kind == pl.Float64:
        invalid = values.abs() > MAX_REAL  # also NaN, which polars orders above all numbers
        if name in QUANTITIES:
            invalid |= (values < 1 / MAX_REAL) & (values != 0)
        elif name != "setting_value":
            invalid &= values != math.inf
        return {f"it has values of {name!r} that are not valid measurements": invalid}
    return {}
