"""Curves in files of others: csv, CompressAI's json, tables of a README, under the usual names."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import UsageError
from benchmark.registry import DISTRIBUTION_METRICS, METRICS, metric_called, metric_class, squeezed
from benchmark.system.foreign_files import BadFile, read_regular
from benchmark.system.text import number_in, one_line, parse_csv, parse_json

MOST_BYTES = 1 << 26
LARGEST, LARGEST_DB = 1e6, 200  # values of a metric, and of MS-SSIM in dB
CURVE_FILES = (".csv", ".json", ".md")  # endings by which an option knows a file
RATE = "bpp"
# Names of columns beside the words for metrics (`registry.metric_called`), as `squeezed` has them.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    RATE: ("bpp", "rate", "bitrate", "bitsperpixel", "bitperpixel", "rates"),
    "psnr_db": ("psnrs",),
    "ms_ssim": ("msssimlinear",),
    "ms_ssim_db": ("msssimdb", "msssimrgbdb", "dbmsssim"),
}
NAMES = {name: column for column, names in COLUMNS.items() for name in names}
CODEC = ("codec", "method", "model", "system", "name")  # columns that say whose a row is
IMAGE = ("image", "imagename", "file", "filename", "picture")  # and of which picture
# Words in brackets behind a name that say no more than it; with any other, a column is another.
BITS_PER_PIXEL = {"bpp", "bitsperpixel", "bitperpixel", "bitspixel", "bitpixel", "bitspx", "bitpx"}

Series = tuple[tuple[float, ...], tuple[float, ...]]  # rates in bit per pixel, values


class NamedCurve(NamedTuple):
    """A curve as its source has it, lowest rate first."""

    name: str
    series: Mapping[str, Series]  # by column: "psnr_db", "ms_ssim" (linear), ...
    in_db: tuple[str, ...] = ()  # columns that the source has in dB


def read_curves(path: Path) -> list[NamedCurve]:
    """Return the curves of a file, one for each codec that a column names.

    Reads csv (commas, semicolons, tabs; lines of # are comments), json with `results` of lists as
    CompressAI writes them or a list of objects, and the first table of a markdown file that has
    rates. MS-SSIM above 1 is in dB and becomes linear. Raises `UsageError` with the line or column.
    """
    try:
        text = read_regular(path, MOST_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): name a file of a curve"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8: {error}") from error
    json_file = path.suffix.lower() == ".json"
    try:
        named = _of_json(path, text) if json_file else _of_table(path, _cells(text))
    except BadFile as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    curves = [_curve(path, name, columns) for name, columns in named.items()]
    if not curves:
        raise UsageError(f"{path} has no row of numbers below its header")
    return curves


def _of_json(path: Path, text: str) -> dict[str, dict[str, list[float]]]:
    content = parse_json(text, object)
    if isinstance(content, list) and all(isinstance(row, dict) for row in content) and content:
        header = list(dict.fromkeys(key for row in content for key in row))
        rows = ([str(row.get(key, "")) for key in header] for row in content)
        return _of_table(path, [header, *rows])
    if not isinstance(content, dict):
        raise UsageError(f"{path} is neither an object with lists nor a list of objects")
    results = content.get("results", content)
    lists = results if isinstance(results, dict) else {}
    lists = {key: values for key, values in lists.items() if isinstance(values, list)}
    keys = list(lists)
    columns = {
        column: [_number(path, keys[index], value) for value in lists[keys[index]]]
        for index, column in _columns(path, keys).items()
    }
    return {str(content.get("name") or path.stem): columns}


def _cells(text: str) -> list[list[str]]:
    """Return the rows of the first table with rates: of markdown, else of a csv."""
    blocks = groupby(text.split("\n"), lambda line: line.lstrip().startswith("|"))
    tables = [[*block] for marked, block in blocks if marked]
    for table in tables:
        split = (re.sub(r"[*`~]", "", line).strip().strip("|").split("|") for line in table)
        rows = [[cell.strip() for cell in cells] for cells in split]
        rows = [cells for cells in rows if not all(re.fullmatch(":?-+:?", cell) for cell in cells)]
        if table is tables[-1] or (rows and {RATE} < {*map(column_of, rows[0])} - {""}):
            return rows
    lines = [line.cells for line in parse_csv(text, foreign=True)]
    if lines and len(lines[0]) == 1:
        # Columns of blanks, but for those before a unit
        return [re.split(r"\s+(?=[^(\[])", ",".join(cells).strip()) for cells in lines]
    return [[cell.strip() for cell in cells] for cells in lines]


def _of_table(path: Path, rows: Sequence[Sequence[str]]) -> dict[str, dict[str, list[float]]]:
    header = rows[0] if rows else []
    known = _columns(path, header)
    if RATE not in known.values() or len(known) < 2:
        raise UsageError(
            f"{path} needs a column of rates (bpp) and one of a metric (psnr, ms_ssim, ...); "
            f"its header is {', '.join(header) or 'empty'}"
        )
    for place, name in enumerate(header):
        if squeezed(name) in IMAGE and len({tuple(row[place : place + 1]) for row in rows[1:]}) > 1:
            raise UsageError(f"{path} has a row for each {name}: average those of a setting first")
    naming = next((n for n, name in enumerate(header) if squeezed(name) in CODEC), None)
    curves: dict[str, dict[str, list[float]]] = {}
    for number, cells in enumerate(rows[1:], 2):
        if any(cells[len(header) :]):
            raise UsageError(f"{path}: row {number} has more cells than its header")
        row = [*cells, *[""] * (len(header) - len(cells))]
        if any(row[index].strip() for index in known):
            name = (row[naming] if naming is not None else "") or path.stem
            columns = curves.setdefault(name, {column: [] for column in known.values()})
            for index, column in known.items():
                columns[column].append(_number(path, f"row {number}, {header[index]}", row[index]))
    return curves


def _curve(path: Path, name: str, columns: Mapping[str, Sequence[float]]) -> NamedCurve:
    if RATE not in columns or len(columns) < 2:
        raise UsageError(f"{path} lacks rates (bpp), or values of a metric beside them")
    if not all(columns.values()):
        raise UsageError(f"{path} has no numbers: its lists are empty")
    if len({len(values) for values in columns.values()}) > 1:
        raise UsageError(f"{path}: the columns of {name} have different lengths")
    rates = columns[RATE]
    if any(not 0 < rate < 1000 for rate in rates):
        raise UsageError(f"{path}: a rate of {name} is not between 0 and 1000 bit per pixel")
    order = sorted(range(len(rates)), key=rates.__getitem__)
    series: dict[str, Series] = {}
    decibels = []
    for column, values in columns.items():
        in_db = column == "ms_ssim_db" or (column == "ms_ssim" and max(values) > 1)
        if any(abs(value) > (LARGEST_DB if in_db else LARGEST) for value in values):
            raise UsageError(f"{path}: {name} has a {column} that no picture has")
        linear = [1 - 10 ** (-value / 10) for value in values] if in_db else values
        if column != RATE:
            pairs = tuple(rates[at] for at in order), tuple(linear[at] for at in order)
            series["ms_ssim" if in_db else column] = pairs
        if in_db:
            decibels.append("ms_ssim")
    return NamedCurve(one_line(name), series, tuple(decibels))


def _number(path: Path, where: str, value: Any) -> float:
    number = number_in(str(value))
    if not math.isfinite(number):
        raise UsageError(f"{path}: {where} must be a finite number, not {value!r}")
    return number


def _columns(path: Path, names: Sequence[str]) -> dict[int, str]:
    """Return our names of the columns that have one, by place; raise `UsageError` for one twice.

    MS-SSIM and its dB are one.
    """
    known = {index: column for index, name in enumerate(names) if (column := column_of(name))}
    first: dict[str, str] = {}
    for index, column in known.items():
        before = first.setdefault(column.removesuffix("_db"), names[index])
        if before is not names[index]:
            both = before if before == names[index] else f"{before} and {names[index]}"
            raise UsageError(f"{path} has a column twice ({both}): leave one of them")
    return known


def column_of(name: str) -> str:
    """Return our name of a column; empty for others, and for one of another unit or channel.

    >>> column_of("MS-SSIM [dB]"), column_of("Bit-rate (bpp)"), column_of("PSNR (RGB, dB)")
    ('ms_ssim_db', 'bpp', 'psnr_db')
    >>> column_of("image"), column_of("rate (kB)"), column_of("PSNR (U)")
    ('', '', '')
    """
    bare, *notes = re.split(r"[(\[,;]", name)
    for text, words in ((name, set[str]()), (bare, {*map(squeezed, notes)})):
        word = squeezed(text).removeprefix("avg").removeprefix("mean")
        known = metric_called(word)
        of_metric = metric_class(known).column if known in (*METRICS, *DISTRIBUTION_METRICS) else ""
        column = NAMES.get(word, of_metric)
        usual = BITS_PER_PIXEL if column == RATE else {"rgb"}
        if column and words <= usual | ({"db"} if column.endswith("_db") else set()) | {""}:
            return column
    return ""
