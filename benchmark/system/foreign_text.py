"""Json, toml and csv of any origin as values, or one reason why not; names without control signs.

Every parser of files of others runs in `parsing`, which turns whatever it raises into `BadFile`.
"""

import csv
import json
import math
import re
import struct
import tarfile
import tomllib
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar
from zipfile import BadZipFile

import msgspec

from benchmark.system.foreign_files import (
    LARGEST_FILE_BYTES,
    SHOWN_CHARACTERS,
    BadFile,
    read_regular,
)
from benchmark.system.text import one_line

Value = TypeVar("Value")
SHOWN_REASON = 300  # characters of what a parser says
MOST_DOTS = 250  # of a key of TOML, whose time grows with the square of their number
REFUSALS = (
    ValueError, LookupError, TypeError, ArithmeticError, EOFError, NotImplementedError,
    csv.Error, struct.error, zlib.error, BadZipFile, tarfile.TarError,
)  # fmt: skip


@contextmanager
def parsing(form: str) -> Iterator[None]:
    """Raise `BadFile` for all that a parser of a form ("JSON") raises, but not for `OSError`."""
    try:
        yield
    except BadFile:
        raise
    except RecursionError as error:
        raise BadFile(f"it is no {form} that can be read: it is nested too deeply") from error
    except MemoryError as error:
        raise BadFile(f"it is {form} of more memory than there is") from error
    except REFUSALS as error:
        raise BadFile(f"it is no {form}: {one_line(str(error))[:SHOWN_REASON]}") from error


def parse_json(content: bytes | str, kind: type[Value]) -> Value:
    """Return strict JSON in UTF-8 as a type of msgspec; raise `BadFile`, for a key twice too."""
    with parsing("JSON"):
        text = _text(content)
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_real)
        return msgspec.convert(_lines(value), kind)


def parse_toml(content: bytes | str, kind: type[Value]) -> Value:
    """Return TOML as a type of msgspec; raise `BadFile`."""
    with parsing("TOML"):
        text = _text(content)
        if any(part.count(".") > MOST_DOTS for part in re.split("[=\n]", text)):
            raise ValueError(f"a line has more than {MOST_DOTS} points")
        return msgspec.convert(_lines(tomllib.loads(text)), kind)


def read_json(path: Path, kind: type[Value], most_bytes: int = LARGEST_FILE_BYTES) -> Value:
    """Return a regular file of JSON as `parse_json` does; raise `BadFile`, `OSError`."""
    return parse_json(read_regular(path, most_bytes), kind)


def read_toml(path: Path, kind: type[Value], most_bytes: int = LARGEST_FILE_BYTES) -> Value:
    """Return a regular file of TOML as `parse_toml` does; raise `BadFile`, `OSError`."""
    return parse_toml(read_regular(path, most_bytes), kind)


class Line(NamedTuple):
    """A line of a csv that is not empty."""

    number: int  # in the text, from 1
    cells: list[str]


def parse_csv(content: bytes | str, delimiter: str = ",", skip_space: bool = False) -> list[Line]:
    """Return the lines of a csv in UTF-8; raise `BadFile`, for a cell of over 131,072 signs too."""
    with parsing("csv"):
        text = StringIO(_text(content), newline="")
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=skip_space)
        return [Line(reader.line_num, [*map(one_line, cells)]) for cells in reader if cells]


class Sheet(NamedTuple):
    """A csv with a header: lines of as many cells as there are names."""

    names: list[str]
    lines: list[Line]

    def records(self) -> list[dict[str, str]]:
        """Return the lines by name."""
        return [dict(zip(self.names, line.cells, strict=True)) for line in self.lines]


def parse_sheet(content: bytes | str, delimiter: str = ",", skip_space: bool = False) -> Sheet:
    """Return a csv with a header; raise `BadFile`.

    A name twice, and a line with more or fewer cells than there are names, are refused.
    """
    header, *lines = parse_csv(content, delimiter, skip_space) or [Line(1, [])]
    with parsing("csv"):
        names = [name.strip() for name in header.cells]
        _once([(name.lower(), "") for name in names])
        for line in lines:
            if len(line.cells) != len(names):
                what = f"{len(line.cells)} cells below {len(names)} names"
                raise BadFile(f"line {line.number} of the csv has {what}")
        return Sheet(names, lines)


def read_sheet(path: Path) -> Sheet:
    """Return a regular file of csv as `parse_sheet` does; raise `BadFile`, `OSError`."""
    return parse_sheet(read_regular(path, LARGEST_FILE_BYTES))


def _text(content: bytes | str) -> str:
    return (
        content.removeprefix("\ufeff") if isinstance(content, str) else content.decode("utf-8-sig")
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"it has {twice[:SHOWN_CHARACTERS]!r} twice")
    return result


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant}, which is no number")


def _real(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse(text)


def _lines(value: Any) -> Any:
    """Return a value with every text in it on one line."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {one_line(name): _lines(of) for name, of in value.items()}
    return [_lines(of) for of in value] if isinstance(value, list) else value
