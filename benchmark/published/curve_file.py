"""Curves in other authors' files: csv, CompressAI's json, and markdown tables."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import UsageError
from benchmark.registry import (
    DISTRIBUTION_METRICS,
    METRICS,
    metric_called,
    metric_class,
    normalise_name,
)
from benchmark.system.foreign_files import BadFile, read_regular
from benchmark.system.text import number_in, one_line, parse_csv, parse_json

MAX_BYTES = 1 << 26
MAX_VALUE, MAX_DB = 1e6, 200  # maximum magnitude of a metric; maximum MS-SSIM in dB
CURVE_FILES = (".csv", ".json", ".md")  # an option's value with such a suffix is a file
RATE = "bpp"
# Names of columns in the form of `normalise_name`; `registry.metric_called` knows others
COLUMNS: Mapping[str, tuple[str, ...]] = {
    RATE: ("bpp", "rate", "bitrate", "bitsperpixel", "bitperpixel", "rates"),
    "psnr_db": ("psnrs",),
    "ms_ssim": ("msssimlinear",),
    "ms_ssim_db": ("msssimdb", "msssimrgbdb", "dbmsssim"),
}
COLUMNS_BY_NAME = {name: column for column, names in COLUMNS.items() for name in names}
CODEC_COLUMNS = ("codec", "method", "model", "system", "name")
IMAGE_COLUMNS = ("image", "imagename", "file", "filename", "picture")
# Bracketed units of a column of rates; a column with another unit has no rates
BITS_PER_PIXEL = {"bpp", "bitsperpixel", "bitperpixel", "bitspixel", "bitpixel", "bitspx", "bitpx"}

Series = tuple[tuple[float, ...], tuple[float, ...]]  # rates in bits per pixel, values


class NamedCurve(NamedTuple):
    """A codec's curves in a file, one per metric, lowest rate first."""

    name: str
    series: Mapping[str, Series]  # by column: "psnr_db", "ms_ssim" (linear), ...
    db_columns: tuple[str, ...] = ()  # columns that the source gives in dB


def read_curves(path: Path) -> list[NamedCurve]:
    """Read the curves of a file, one for each codec; raise `UsageError` with the line or column.

    Reads csv (commas, semicolons, tabs; # comments), json (CompressAI's lists under `results`,
    or a list of objects), and the first markdown table with rates. MS-SSIM above 1 is in dB.
    """
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}): name another file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}") from error
    is_json = path.suffix.lower() == ".json"
    try:
        columns_by_name = (
            _parse_json_curves(path, text) if is_json else _parse_table(path, _split_table(text))
        )
    except BadFile as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    curves = [_make_curve(path, name, columns) for name, columns in columns_by_name.items()]
    if not curves:
        raise UsageError(f"{path} has no rows of numbers below its header")
    return curves


def _parse_json_curves(path: Path, text: str) -> dict[str, dict[str, list[float]]]:
    content = parse_json(text, object)
    if isinstance(content, list) and all(isinstance(row, dict) for row in content) and content:
        header = list(dict.fromkeys(key for row in content for key in row))
        rows = ([str(row.get(key, "")) for key in header] for row in content)
        return _parse_table(path, [header, *rows])
    if not isinstance(content, dict):
        raise UsageError(f"{path} is neither an object with lists nor a list of objects")
    results = content.get("results", content)
    lists = results if isinstance(results, dict) else {}
    lists = {key: values for key, values in lists.items() if isinstance(values, list)}
    keys = list(lists)
    columns = {
        column: [_parse_number(path, keys[index], value) for value in lists[keys[index]]]
        for index, column in _find_columns(path, keys).items()
    }
    return {str(content.get("name") or path.stem): columns}


def _split_table(text: str) -> list[list[str]]:
    """Return the rows of the first markdown table with rates, or else of a csv."""
    blocks = groupby(text.split("\n"), lambda line: line.lstrip().startswith("|"))
    tables = [[*block] for is_table_line, block in blocks if is_table_line]
    for table in tables:
        split_lines = (re.sub(r"[*`~]", "", line).strip().strip("|").split("|") for line in table)
        rows = [[cell.strip() for cell in cells] for cells in split_lines]
        rows = [cells for cells in rows if not all(re.fullmatch(":?-+:?", cell) for cell in cells)]
        if table is tables[-1] or (rows and {RATE} < {*map(column_of, rows[0])} - {""}):
            return rows
    lines = [line.cells for line in parse_csv(text, foreign=True)]
    if lines and len(lines[0]) == 1:
        # Columns are separated by blanks, except before a unit in brackets
        return [re.split(r"\s+(?=[^(\[])", ",".join(cells).strip()) for cells in lines]
    return [[cell.strip() for cell in cells] for cells in lines]


def _parse_table(path: Path, rows: Sequence[Sequence[str]]) -> dict[str, dict[str, list[float]]]:
    header = rows[0] if rows else []
    column_names = _find_columns(path, header)
    if RATE not in column_names.values() or len(column_names) < 2:
        raise UsageError(
            f"{path} needs a column of rates (bpp) and one of a metric (psnr, ms_ssim, ...); "
            f"its header is {', '.join(header) or 'empty'}"
        )
    for index, name in enumerate(header):
        if (
            normalise_name(name) in IMAGE_COLUMNS
            and len({tuple(row[index : index + 1]) for row in rows[1:]}) > 1
        ):
            raise UsageError(f"{path} has a row for each {name}: average the rows of each setting")
    codec_index = next(
        (i for i, name in enumerate(header) if normalise_name(name) in CODEC_COLUMNS), None
    )
    curves: dict[str, dict[str, list[float]]] = {}
    for row_number, cells in enumerate(rows[1:], 2):
        if any(cells[len(header) :]):
            raise UsageError(f"{path}: row {row_number} has more cells than its header")
        row = [*cells, *[""] * (len(header) - len(cells))]
        if any(row[index].strip() for index in column_names):
            name = (row[codec_index] if codec_index is not None else "") or path.stem
            columns = curves.setdefault(name, {column: [] for column in column_names.values()})
            for index, column in column_names.items():
                columns[column].append(
                    _parse_number(path, f"row {row_number}, {header[index]}", row[index])
                )
    return curves


def _make_curve(path: Path, name: str, columns: Mapping[str, Sequence[float]]) -> NamedCurve:
    if RATE not in columns or len(columns) < 2:
        raise UsageError(f"{path} lacks rates (bpp) or values of a metric")
    if not all(columns.values()):
        raise UsageError(f"{path} has no numbers: its lists are empty")
    if len({len(values) for values in columns.values()}) > 1:
        raise UsageError(f"{path}: the columns of {name} have different lengths")
    rates = columns[RATE]
    if any(not 0 < rate < 1000 for rate in rates):
        raise UsageError(f"{path}: a rate of {name} is not between 0 and 1000 bits per pixel")
    order = sorted(range(len(rates)), key=rates.__getitem__)
    series: dict[str, Series] = {}
    db_columns = []
    for column, values in columns.items():
        is_in_db = column == "ms_ssim_db" or (column == "ms_ssim" and max(values) > 1)
        if any(abs(value) > (MAX_DB if is_in_db else MAX_VALUE) for value in values):
            raise UsageError(f"{path}: {name} has an impossible value of {column}")
        linear_values = [1 - 10 ** (-value / 10) for value in values] if is_in_db else values
        if column != RATE:
            curve = tuple(rates[i] for i in order), tuple(linear_values[i] for i in order)
            series["ms_ssim" if is_in_db else column] = curve
        if is_in_db:
            db_columns.append("ms_ssim")
    return NamedCurve(one_line(name), series, tuple(db_columns))


def _parse_number(path: Path, location: str, value: Any) -> float:
    number = number_in(str(value))
    if not math.isfinite(number):
        raise UsageError(f"{path}: {location} must be a finite number, not {value!r}")
    return number


def _find_columns(path: Path, names: Sequence[str]) -> dict[int, str]:
    """Return known columns by index; `UsageError` if a metric has two, as for MS-SSIM in dB."""
    columns = {index: column for index, name in enumerate(names) if (column := column_of(name))}
    names_by_column: dict[str, str] = {}
    for index, column in columns.items():
        first_name = names_by_column.setdefault(column.removesuffix("_db"), names[index])
        if first_name is not names[index]:
            repeated_names = (
                first_name if first_name == names[index] else f"{first_name} and {names[index]}"
            )
            raise UsageError(f"{path} has a quantity twice ({repeated_names}): delete one")
    return columns


def column_of(name: str) -> str:
    """Return this project's name for a column; "" for unknown names, other units or channels.

    >>> column_of("MS-SSIM [dB]"), column_of("Bit-rate (bpp)"), column_of("PSNR (RGB, dB)")
    ('ms_ssim_db', 'bpp', 'psnr_db')
    """
    bare_name, *raw_notes = re.split(r"[(\[,;]", name)
    for text, notes in ((name, set[str]()), (bare_name, {*map(normalise_name, raw_notes)})):
        word = normalise_name(text).removeprefix("avg").removeprefix("mean")
        metric = metric_called(word)
        metric_column = (
            metric_class(metric).column if metric in (*METRICS, *DISTRIBUTION_METRICS) else ""
        )
        column = COLUMNS_BY_NAME.get(word, metric_column)
        allowed_notes = BITS_PER_PIXEL if column == RATE else {"rgb"}
        if column and notes <= allowed_notes | ({"db"} if column.endswith("_db") else set()) | {""}:
            return column
    return ""
