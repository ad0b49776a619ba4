"""Counts, lists, groups; text of strangers, shown and parsed (json, toml, csv), or why not.

In terminals, csv and markdown such a text is shown, not obeyed. Every parser of files of others
runs in `parsing`, which turns whatever it raises into `BadFile`; names have no control signs.
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
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
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

GREEK = {  # letters in names of codecs
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "theta": "θ",
    "lambda": "λ", "mu": "μ", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
}  # fmt: skip
# Characters that move the cursor, end a line, turn the direction of writing or are no character.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_HALVES, _NO_BYTE = map(re.compile, ("[\ud800-\udfff]", "[\ud800-\udc7f\udd00-\udfff]"))
_CONTROLS = re.compile(f"{_CONTROL.pattern}+")
LARGEST_WHOLE = 1e15  # below it, every whole number is a float, too
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that spreadsheets compute


def name_text(name: str) -> str:
    r"""Return the text that files and tables have of a file's name: bytes of no UTF-8 as escapes.

    >>> name_text("b\udcff.png")
    'b\\xff.png'
    """
    if not _HALVES.search(name):
        return name
    name = _NO_BYTE.sub(lambda sign: ascii(sign[0])[1:-1], name)
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def utf8(text: str) -> bytes:
    """Encode a text in UTF-8, as `name_text` has it."""
    return name_text(text).encode()


def json_bytes(record: object) -> bytes:
    """Return a record of msgspec's types as JSON, its texts as of `name_text`."""
    record = _each_text(name_text, msgspec.to_builtins(record))
    return f"{json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1)}\n".encode()


def visible(text: str, keep_lines: bool = False) -> str:
    r"""Return a text for a terminal, control characters as the escapes that Python writes.

    keep_lines: keep line feeds and tabs.

    >>> visible("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    kept = "\n\t" if keep_lines else ""
    return _CONTROL.sub(lambda sign: sign[0] if sign[0] in kept else ascii(sign[0])[1:-1], text)


def one_line(text: str) -> str:
    r"""Return a text without control characters, a blank in the place of several.

    >>> one_line("a\n\n\\input{b}")
    'a \\input{b}'
    """
    return text if text.isprintable() else _CONTROLS.sub(" ", text)


def number_in(text: str) -> float:
    """Return the number that a text is; not a number where it is none.

    >>> number_in(".5"), number_in("half"), number_in("0_1")  # as only Python writes 1
    (0.5, nan, nan)
    """
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def measured_number(text: str, name: str, whole: bool = False) -> float:
    """Return a number of a measurement: finite and above 0; raise `BadFile` with its name.

    >>> measured_number("0.25", "bpp"), measured_number("1544.0", "num_bytes", whole=True)
    (0.25, 1544.0)
    """
    number = number_in(text) if text.isascii() else math.nan
    if not 0 < number < LARGEST_WHOLE or (whole and not number.is_integer()):
        kind = "whole" if whole else "finite"
        raise BadFile(f"{name} is a {kind} number above 0, not {text!r}")
    return number


def csv_cell(value: Any) -> Any:
    """Return a value for csv: a text that a spreadsheet would compute gets an apostrophe before it.

    Numbers, as such or as text, stay; control characters become visible, as in `visible`.

    >>> csv_cell("=1+1"), csv_cell("-3.5"), csv_cell(-3.5), csv_cell("a=1\\x1b")
    ("'=1+1", '-3.5', -3.5, 'a=1\\\\x1b')
    """
    if not isinstance(value, str):
        return value
    computed = value.startswith(_FORMULA) and math.isnan(number_in(value))
    shown = visible(value, keep_lines=True)
    return f"'{shown}" if computed else shown


def csv_delimiter(header: str) -> str:
    """Return what divides the fields of a csv file of any origin, by its header.

    >>> csv_delimiter("image;setting"), csv_delimiter("image")
    (';', ',')
    """
    return max(",;\t", key=header.count)


def markdown_text(text: str) -> str:
    r"""Return a text for a line of markdown, without HTML and links; code in backticks stays code.

    >>> markdown_text("a<img src=x> [b](c) `x<y`")
    'a&lt;img src=x> [b]\\(c) `x<y`'
    """
    parts = one_line(text).split("`")
    if len(parts) % 2 == 0:  # a backtick without its like: none of them is code
        return _prose("\\`".join(parts))
    return "`".join(part if place % 2 else _prose(part) for place, part in enumerate(parts))


def _prose(text: str) -> str:
    return re.sub(r"\](?=[(\[:])", r"]\\", text.replace("<", "&lt;"))


def range_text(low: float, high: float, form: str = ".2f") -> str:
    """Format a range of rates.

    >>> range_text(0.1, 1.25), range_text(0.5, 0.5)
    ('0.10 to 1.25', '0.50')
    """
    return f"{low:{form}} to {high:{form}}" if high > low else f"{low:{form}}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return the count in digits and the noun, in the singular or the plural.

    plural: for what takes more than an `s`, such as a noun with its verb.

    >>> counted(1, "codec"), counted(0, "codec"), counted(24, "image")
    ('1 codec', '0 codecs', '24 images')
    >>> counted(1, "row is", "rows are"), counted(2, "row is", "rows are")
    ('1 row is', '2 rows are')
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first names with commas, and the number of the others.

    >>> listed(["a", "b", "c", "d"]), listed(["a"])
    ('a, b, c and 1 more', 'a')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def by_key(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Return the values of pairs (key, value) by key, in the order in which each first comes.

    >>> by_key([("b", 1), ("a", 2), ("b", 3)])
    {'b': [1, 3], 'a': [2]}
    """
    groups: dict[Key, list[Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


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
    except msgspec.ValidationError as error:
        raise BadFile(f"it is {form} with a value that cannot be: {_reason(error)}") from error
    except RecursionError as error:
        raise BadFile(f"it is no {form} that can be read: it is nested too deeply") from error
    except MemoryError as error:
        raise BadFile(f"it is {form} of more memory than there is") from error
    except REFUSALS as error:
        raise BadFile(f"it is no {form}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return one_line(str(error))[:SHOWN_REASON]


def parse_json(content: bytes | str, kind: type[Value]) -> Value:
    """Return strict JSON in UTF-8 as a type of msgspec; raise `BadFile`, for a key twice too."""
    with parsing("JSON"):
        text = _text(content)
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_real)
        return msgspec.convert(_each_text(one_line, value), kind)


def parse_toml(content: bytes | str, kind: type[Value]) -> Value:
    """Return TOML as a type of msgspec; raise `BadFile`."""
    with parsing("TOML"):
        text = _text(content)
        if any(part.count(".") > MOST_DOTS for part in re.split("[=\n]", text)):
            raise ValueError(f"a line has more than {MOST_DOTS} points")
        return msgspec.convert(_each_text(one_line, tomllib.loads(text)), kind)


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


def parse_csv(content: bytes | str, foreign: bool = False) -> list[Line]:
    """Return the lines of a csv in UTF-8; raise `BadFile`, for a cell of over 131,072 signs too.

    foreign: divided by commas, semicolons or tabs, with blanks behind them; texts as they are.
    Lines that begin with # are comments, but for one with as many fields as the header, and no
    blank behind the #.
    """
    with parsing("csv"):
        text = _text(content)
        if not foreign:
            reader = csv.reader(StringIO(text, newline=""))
            return [Line(reader.line_num, [*map(one_line, cells)]) for cells in reader if cells]
        lines = StringIO(text, newline="")
        header = next((line for line in lines if line.strip() and not line.startswith("#")), "")
        delimiter = csv_delimiter(header)
        lines.seek(0)
        record: list[str] = []  # lines of the one that is being read

        def without_comments() -> Iterator[str]:
            for line in lines:
                short = line.count(delimiter) != header.count(delimiter) or line[1:2].isspace()
                comment = not line.strip() or (line.startswith("#") and short)
                record.extend([] if comment and not record else [line])
                yield line if record else "\n"

        result = []
        reader = csv.reader(without_comments(), delimiter=delimiter, skipinitialspace=True)
        for cells in reader:
            record.clear()
            result += [Line(reader.line_num, cells)] if cells else []
        return result


class Sheet(NamedTuple):
    """A csv with a header: lines of as many cells as there are names."""

    names: list[str]
    lines: list[Line]

    def records(self) -> list[dict[str, str]]:
        """Return the lines by name."""
        return [dict(zip(self.names, line.cells, strict=True)) for line in self.lines]


def parse_sheet(content: bytes | str, foreign: bool = False) -> Sheet:
    """Return a csv with a header, `foreign` as in `parse_csv`; raise `BadFile`.

    A name twice, and a line with more or fewer cells than there are names, are refused.
    """
    header, *lines = parse_csv(content, foreign) or [Line(1, [])]
    with parsing("csv"):
        names = [name.strip() for name in header.cells]
        _once([(name.lower(), "") for name in names])
        for line in lines:
            if len(line.cells) != len(names):
                what = f"{len(line.cells)} cells below {len(names)} names"
                raise BadFile(f"line {line.number} of the csv has {what}")
        return Sheet(names, lines)


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


def _each_text(change: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): _each_text(change, of) for name, of in value.items()}
    return [_each_text(change, of) for of in value] if isinstance(value, list | tuple) else value
