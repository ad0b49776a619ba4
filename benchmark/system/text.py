"""Format numbers, lists and groups as text; display and parse untrusted text safely."""

import csv
import json
import math
import re
import shlex
import struct
import tarfile
import tomllib
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar
from zipfile import BadZipFile

import msgspec

from benchmark.system.foreign_files import (
    MAX_FOREIGN_FILE_BYTES,
    MAX_SHOWN_CHARACTERS,
    BadFile,
    read_regular,
)

GREEK = {  # letters in names of codecs
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "theta": "θ",
    "lambda": "λ", "mu": "μ", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
}  # fmt: skip
# Characters that move the cursor, end a line or change the writing direction, and surrogates
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_SURROGATES, _NOT_ESCAPED_BYTE = map(
    re.compile, ("[\ud800-\udfff]", "[\ud800-\udc7f\udd00-\udfff]")
)
_CONTROLS = re.compile(f"{_CONTROL.pattern}+")
MAX_INTEGER = 1e15  # a float can hold every integer below it
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # spreadsheets compute cells with these


def name_text(name: str) -> str:
    r"""Return a file's name as valid Unicode, with bytes that are not UTF-8 as escapes.

    >>> name_text("b\udcff.png")
    'b\\xff.png'
    """
    if not _SURROGATES.search(name):
        return name
    name = _NOT_ESCAPED_BYTE.sub(lambda character: ascii(character[0])[1:-1], name)
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def bench_command(verb: str, *arguments: object, **options: object) -> str:
    """Return a command line of `bench`, quoted for a shell, without false and empty options.

    >>> bench_command("run", codecs="jpeg,webp", dataset="my photos", data_dir="", verify=True)
    "bench run --codecs jpeg,webp --dataset 'my photos' --verify"
    >>> bench_command("pack import", "my pack.zip", points=("jpeg.quality=1", "webp.quality=2"))
    "bench pack import 'my pack.zip' --points jpeg.quality=1 --points webp.quality=2"
    """
    line = ["bench", *verb.split(), *map(str, arguments)]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        for item in value if isinstance(value, list | tuple) else [value]:
            line += [flag] if item is True else [flag, str(item)] if item else []
    return shlex.join(line)


def utf8(text: str) -> bytes:
    """Encode a text in UTF-8, escaped by `name_text`."""
    return name_text(text).encode()


def json_bytes(record: object) -> bytes:
    """Encode a record of msgspec's types as JSON, with strings escaped by `name_text`."""
    record = _map_texts(name_text, msgspec.to_builtins(record))
    return f"{json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1)}\n".encode()


def visible(text: str, keep_lines: bool = False) -> str:
    """Escape control characters; keep_lines: leave line feeds and tabs as they are."""
    line_characters = "\n\t" if keep_lines else ""
    return _CONTROL.sub(
        lambda character: (
            character[0] if character[0] in line_characters else ascii(character[0])[1:-1]
        ),
        text,
    )


def one_line(text: str) -> str:
    """Return a text with each run of control characters replaced by a blank."""
    return text if text.isprintable() else _CONTROLS.sub(" ", text)


def number_in(text: str) -> float:
    """Parse a text as a number, NaN if it is not one.

    >>> number_in(".5"), number_in("half"), number_in("0_1")  # Python alone would read 1
    (0.5, nan, nan)
    """
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def measured_number(text: str, name: str, whole: bool = False) -> float:
    """Parse a measured number, finite and above 0, or raise `BadFile` with its name.

    >>> measured_number("0.25", "bpp"), measured_number("1544.0", "num_bytes", whole=True)
    (0.25, 1544.0)
    """
    number = number_in(text) if text.isascii() else math.nan
    if not 0 < number < MAX_INTEGER or (whole and not number.is_integer()):
        kind = "whole" if whole else "finite"
        raise BadFile(f"{name} must be a {kind} number above 0, not {text!r}")
    return number


def csv_cell(value: Any) -> Any:
    """Return a value for csv: an apostrophe precedes text that a spreadsheet would compute.

    >>> csv_cell("=1+1"), csv_cell("-3.5"), csv_cell(-3.5), csv_cell("a=1\\x1b")
    ("'=1+1", '-3.5', -3.5, 'a=1\\\\x1b')
    """
    if not isinstance(value, str):
        return value
    is_formula = value.startswith(_FORMULA_STARTS) and math.isnan(number_in(value))
    text = visible(value, keep_lines=True)
    return f"'{text}" if is_formula else text


def csv_delimiter(header: str) -> str:
    """Return which of comma, semicolon and tab is most frequent in a header; comma if none."""
    return max(",;\t", key=header.count)


def markdown_text(text: str) -> str:
    """Escape HTML and links in a text for a line of markdown; code in backticks stays code."""
    parts = one_line(text).split("`")
    if len(parts) % 2 == 0:  # a backtick is unpaired: nothing is code
        return _escape_prose("\\`".join(parts))
    return "`".join(part if index % 2 else _escape_prose(part) for index, part in enumerate(parts))


def _escape_prose(text: str) -> str:
    return re.sub(r"\](?=[(\[:])", r"]\\", text.replace("<", "&lt;"))


def range_text(low: float, high: float, form: str = ".2f") -> str:
    """Format a range of rates: "0.10 to 1.25", or "0.50" if both ends are equal."""
    return f"{low:{form}} to {high:{form}}" if high > low else f"{low:{form}}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return the count and the noun; plural: the noun's plural if it is not formed with `s`.

    >>> counted(1, "codec"), counted(24, "image"), counted(2, "row is", "rows are")
    ('1 codec', '24 images', '2 rows are')
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def listed(names: Sequence[str], max_names: int = 3) -> str:
    """Join the first names with commas, and count the others: "a, b, c and 1 more"."""
    note = f" and {len(names) - max_names} more" if len(names) > max_names else ""
    return ", ".join(names[:max_names]) + note


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def group_by_key(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Group pairs (key, value) into {key: values}, in order of first occurrence."""
    groups: dict[Key, list[Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


MAX_REASON_CHARACTERS = 300  # longest quotation of a parser's message
MAX_DOTS = 250  # in a TOML key, since parsing time grows with the square of their number
REFUSALS = (
    ValueError, LookupError, TypeError, ArithmeticError, EOFError, NotImplementedError,
    csv.Error, struct.error, zlib.error, BadZipFile, tarfile.TarError,
)  # fmt: skip


@contextmanager
def parsing(form: str) -> Iterator[None]:
    """Turn exceptions of a parser, except `OSError`, into `BadFile`; form: "JSON"."""
    try:
        yield
    except BadFile:
        raise
    except msgspec.ValidationError as error:
        raise BadFile(f"it is {form} with an invalid value: {_shorten_error(error)}") from error
    except RecursionError as error:
        raise BadFile(f"it cannot be read as {form}: it is nested too deeply") from error
    except MemoryError as error:
        raise BadFile(f"it is {form} that needs more memory than is available") from error
    except REFUSALS as error:
        raise BadFile(f"it is not {form}: {_shorten_error(error)}") from error


def _shorten_error(error: Exception) -> str:
    return one_line(str(error))[:MAX_REASON_CHARACTERS]


def parse_json(content: bytes | str, kind: type[Value]) -> Value:
    """Parse strict UTF-8 JSON as a msgspec type; raises `BadFile`, also if a key is repeated."""
    with parsing("JSON"):
        text = _decode_text(content)
        value = json.loads(
            text,
            object_pairs_hook=_refuse_repeated,
            parse_constant=_refuse_constant,
            parse_float=_parse_finite,
        )
        return msgspec.convert(_map_texts(one_line, value), kind)


def parse_toml(content: bytes | str, kind: type[Value]) -> Value:
    """Parse TOML as a msgspec type; raises `BadFile`."""
    with parsing("TOML"):
        text = _decode_text(content)
        if any(part.count(".") > MAX_DOTS for part in re.split("[=\n]", text)):
            raise ValueError(f"a line has more than {MAX_DOTS} dots")
        return msgspec.convert(_map_texts(one_line, tomllib.loads(text)), kind)


def read_json(path: Path, kind: type[Value], max_bytes: int = MAX_FOREIGN_FILE_BYTES) -> Value:
    """Parse a regular file with `parse_json`; raises `BadFile` or `OSError`."""
    return parse_json(read_regular(path, max_bytes), kind)


def read_toml(path: Path, kind: type[Value], max_bytes: int = MAX_FOREIGN_FILE_BYTES) -> Value:
    """Parse a regular file with `parse_toml`; raises `BadFile` or `OSError`."""
    return parse_toml(read_regular(path, max_bytes), kind)


class Line(NamedTuple):
    """A line of a csv file; empty lines are left out."""

    number: int  # counted from 1
    cells: list[str]


def parse_csv(content: bytes | str, foreign: bool = False) -> list[Line]:
    """Parse a UTF-8 csv; raises `BadFile`, also for a cell of more than 131,072 characters.

    foreign: commas, semicolons or tabs separate cells, and blanks may follow them. Lines that begin
    with # are comments, unless they have as many cells as the header and no blank after the #.
    """
    with parsing("csv"):
        text = _decode_text(content)
        if not foreign:
            reader = csv.reader(StringIO(text, newline=""))
            return [Line(reader.line_num, [*map(one_line, cells)]) for cells in reader if cells]
        lines = StringIO(text, newline="")
        header = next((line for line in lines if line.strip() and not line.startswith("#")), "")
        delimiter = csv_delimiter(header)
        lines.seek(0)
        record: list[str] = []  # lines of the current record that have been read

        def skip_comments() -> Iterator[str]:
            for line in lines:
                has_other_width = line.count(delimiter) != header.count(delimiter)
                may_be_comment = has_other_width or line[1:2].isspace()
                is_comment = not line.strip() or (line.startswith("#") and may_be_comment)
                record.extend([] if is_comment and not record else [line])
                yield line if record else "\n"

        result = []
        reader = csv.reader(skip_comments(), delimiter=delimiter, skipinitialspace=True)
        for cells in reader:
            record.clear()
            result += [Line(reader.line_num, cells)] if cells else []
        return result


class Sheet(NamedTuple):
    """Csv with a header: each line has one cell per column."""

    names: list[str]
    lines: list[Line]

    def records(self) -> list[dict[str, str]]:
        """Return the lines as {name: cell}."""
        return [dict(zip(self.names, line.cells, strict=True)) for line in self.lines]


def parse_sheet(content: bytes | str, foreign: bool = False) -> Sheet:
    """Parse a csv with a header; `BadFile` for repeated names or lines with more or fewer cells."""
    header, *lines = parse_csv(content, foreign) or [Line(1, [])]
    with parsing("csv"):
        names = [name.strip() for name in header.cells]
        _refuse_repeated([(name.lower(), "") for name in names])
        for line in lines:
            if len(line.cells) != len(names):
                mismatch = f"{len(line.cells)} cells, but the header has {len(names)}"
                raise BadFile(f"line {line.number} of the csv has {mismatch}")
        return Sheet(names, lines)


def _decode_text(content: bytes | str) -> str:
    return (
        content.removeprefix("\ufeff") if isinstance(content, str) else content.decode("utf-8-sig")
    )


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        ((repeated_name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"it has {repeated_name[:MAX_SHOWN_CHARACTERS]!r} twice")
    return result


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant}, which is not a number")


def _parse_finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse_constant(text)


def _map_texts(escape: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {escape(name): _map_texts(escape, entry) for name, entry in value.items()}
    return (
        [_map_texts(escape, entry) for entry in value] if isinstance(value, list | tuple) else value
    )
