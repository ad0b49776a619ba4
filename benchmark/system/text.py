"""Counts with nouns; text of strangers shown in terminals, csv and markdown, not obeyed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

GREEK = {  # letters in names of codecs
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "theta": "θ",
    "lambda": "λ", "mu": "μ", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
}  # fmt: skip
# Characters that move the cursor, end a line, turn the direction of writing or are no character.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROLS = re.compile(f"{_CONTROL.pattern}+")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that spreadsheets compute


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


def csv_cell(value: Any) -> Any:
    """Return a value for csv: a text that a spreadsheet would compute gets an apostrophe before it.

    Numbers, as such or as text, stay; control characters become visible, as in `visible`.

    >>> csv_cell("=1+1"), csv_cell("-3.5"), csv_cell(-3.5), csv_cell("a=1\\x1b")
    ("'=1+1", '-3.5', -3.5, 'a=1\\\\x1b')
    """
    if not isinstance(value, str):
        return value
    shown = visible(value, keep_lines=True)
    try:
        float(value)
    except ValueError:
        return f"'{shown}" if value.startswith(_FORMULA) else shown
    return shown


def csv_cells(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of csv with `csv_cell` of each value; None stays, and is an empty field."""
    return {name: csv_cell(value) for name, value in record.items()}


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
