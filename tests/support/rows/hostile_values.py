"""Values that no run writes, for each column of stored rows, and tables that hold them."""

import hashlib
from typing import Any

import polars as pl

from benchmark.rows.schema import CELL_COLUMNS, metric_columns
from benchmark.rows.shard import schema_of

TEXTS = (
    None, "", ".", "/", "..", "../../x", "/etc/passwd", "a/../b", "a,b:c=d\\", "=1+1", "{}", "%s",
    "a\nb", "\x1b[2J\x00", "\u202e<script>", "nan", "x" * 100_000,
)  # fmt: skip
REALS = (None, float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 5e-324, 1e308)
WHOLES = (None, 0, -1, 1, 2**53, 2**62)
VALUES = {pl.String: TEXTS, pl.Float64: REALS, pl.Int64: WHOLES, pl.Boolean: (None, True, False)}
SCHEMA = schema_of()
COLUMNS = (*(column.name for column in CELL_COLUMNS), *metric_columns("psnr_db"))
HOSTILE = [(name, value) for name in COLUMNS for value in VALUES[SCHEMA[name]]]


def with_value(table: pl.DataFrame, name: str, value: Any) -> pl.DataFrame:
    """Return a table whose column has the value in every row."""
    return table.with_columns(pl.lit(value, SCHEMA[name]).alias(name))


def another_cell(row: pl.DataFrame, number: int) -> pl.DataFrame:
    """Return a row as one of a setting of its own, by number."""
    key = hashlib.sha256(f"{number}".encode()).hexdigest()
    setting = row["setting_value"][0] + (number + 1) / 10_000
    return with_value(with_value(row, "cell", key), "setting_value", setting)
