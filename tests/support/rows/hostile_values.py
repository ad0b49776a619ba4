"""Values that no run writes, for each column of stored rows, and tables that hold them."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from benchmark.rows.schema import CELL_COLUMNS, metric_columns, table_schema

TEXTS = (
    None, "", ".", "/", "..", "../../x", "/etc/passwd", "a/../b", "a,b:c=d\\", "=1+1", "{}", "%s",
    "a\nb", "\x1b[2J\x00", "\u202e<script>", "nan", "x" * 100_000,
)  # fmt: skip
REALS = (None, float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 5e-324, 1e308)
WHOLES = (None, 0, -1, 1, 2**53, 2**62)
VALUES = {"string": TEXTS, "double": REALS, "int64": WHOLES, "bool": (None, True, False)}
COLUMNS = (*(name for name, *_ in CELL_COLUMNS), *metric_columns("psnr_db"))
OTHER_TYPES = {
    "a list": lambda kind, size: pa.array([["a"]] * size),
    "a struct": lambda kind, size: pa.array([{"a": 1}] * size),
    "bytes": lambda kind, size: pa.array([b"\xff\xfe"] * size),
    "a date": lambda kind, size: pa.array([0] * size, pa.timestamp("ns")),
    "text": lambda kind, size: pa.array(["1"] * size) if kind != pa.string() else None,
    "a number": lambda kind, size: pa.array([1.5] * size) if kind != pa.float64() else None,
}


def hostile() -> Iterator[tuple[str, Any]]:
    """Return each column with each value, or each name of a type, that a stranger may give it."""
    schema = table_schema()
    for name in COLUMNS:
        for value in VALUES[str(schema.field(name).type)]:
            yield name, value
    for name in ("cell", "image", "setting_value", "width_px", "bpp", "timing"):
        for kind, make in OTHER_TYPES.items():
            if make(schema.field(name).type, 1) is not None:
                yield name, (kind,)


def with_value(table: pa.Table, name: str, value: Any) -> pa.Table:
    """Return a table whose column has the value in every row, or values of the type named."""
    at, field = table.schema.get_field_index(name), table_schema().field(name)
    if isinstance(value, tuple):
        column = OTHER_TYPES[value[0]](field.type, len(table))
    else:
        column = pa.array([value] * len(table), field.type)
    return table.append_column(name, column) if at < 0 else table.set_column(at, name, column)


def another_cell(row: pa.Table, number: int) -> pa.Table:
    """Return a row as one of a setting of its own, by number."""
    key = hashlib.sha256(f"{number}".encode()).hexdigest()
    setting = row["setting_value"][0].as_py() + (number + 1) / 10_000
    return with_value(with_value(row, "cell", key), "setting_value", setting)
