"""Answers to questions: records, the columns of their table, and what is absent."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

NOTHING = "–"  # shown in a table's cell without a value
OTHER_RULE = "§"  # mark of a curve whose rule differs from that of the others on the axis


class Absent(NamedTuple):
    """Something that an answer lacks, the reason, and the command that supplies it."""

    what: str
    why: str
    remedy: str = ""  # a command, without quotes; empty if none is known


class Column(NamedTuple):
    """A column of a table: its header, its value in a row, and its format.

    name: empty for a column that only the csv has. get: a function of a row, or attributes, keys
    and indices joined by dots, any of which may be missing; empty: the name. form: a format
    specification, or a function that returns text; "" for text aligned to the left. key: the name
    in the csv, where values are unformatted; empty: not in the csv.
    """

    name: str
    get: str | Callable[[Any], Any] = ""
    form: str | Callable[[Any], str] = ""
    key: str = ""

    def value(self, row: Any) -> Any:
        """Return the value in a row; None if it is missing.

        >>> Column("real").value(3j), Column("", "ends.1").value({"ends": (2, 5)})
        (0.0, 5)
        """
        if callable(self.get):
            return self.get(row)
        for name in (self.get or self.name).split("."):
            if isinstance(row, Mapping):
                row = row.get(name)
            elif name.isdigit():
                row = None if row is None else row[int(name)]
            else:
                row = getattr(row, name, None)
        return row

    def text(self, row: Any, absence_text: str) -> str:
        """Return the text of a row's cell; `absence_text` if there is no value."""
        value = self.value(row)
        if value is None:
            return absence_text
        return self.form(value) if callable(self.form) else f"{value:{self.form}}"


class Answer(NamedTuple):
    """Answer to a question: the content of `--json` and `--csv`, and a table for readers."""

    records: Sequence[Mapping[str, Any]]  # flat, JSON values only, the same keys in each
    columns: Sequence[Column]  # columns of a table with a row for each record
    summary: str = ""  # sentence below the table
    absent: Sequence[Absent] = ()
    facts: Mapping[str, Any] = {}  # shared by all records: number of images, protocols, metric
    code: int = 0  # exit code of the verb
    title: str = ""  # heading of the table: its subject, or the verdict
    files: Sequence[Any] = ()  # written files, those to open first


def interval_text(record: Mapping[str, Any], name: str, form: str, unit: str = "") -> str | None:
    """Format a number with its interval, from `<name>_low` to `<name>_high`, if it has one.

    >>> interval_text({"gain": 1.5, "gain_low": 1.0, "gain_high": 2.25}, "gain", "+z.1f", " dB")
    '+1.5 dB [+1.0, +2.2]'
    """
    value, low, high = (record.get(f"{name}{end}") for end in ("", "_low", "_high"))
    ends = "" if low is None else f" [{low:{form}}, {high:{form}}]"
    return None if value is None else f"{value:{form}}{unit}{ends}"


def seconds_text(value: float) -> str:
    """Format seconds with two digits.

    >>> seconds_text(0.00064), seconds_text(12.3), seconds_text(345.6)
    ('0.64 ms', '12 s', '346 s')
    """
    if value < 0.0995:
        return f"{1000 * value:.2g} ms"
    return f"{value:.2g} s" if value < 99.5 else f"{value:.0f} s"
