"""Tables: columns, rendered as text, markdown, LaTeX, HTML and csv. Pure functions."""

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from html import escape
from io import StringIO
from typing import Any, NamedTuple

from benchmark.answer import NOTHING, OTHER_RULE, Column
from benchmark.system.text import GREEK, csv_cell, markdown_text, one_line

INFINITE_MARK, DOUBT_MARK, FEW_MARK = "∞", "†", "‡"
WIDE_MARK = "≈"  # before a value interpolated between distant points
MINUS = re.compile(r"(?<![^\s\[(])-(?=\d)")  # hyphens that begin a number
UNSUPPORTED_BY_PDFLATEX = re.compile(r"[\u0300-\u1fff\u2300-\U0010ffff]")
GREEK_LATEX = {letter: rf"$\{word}$" for word, letter in GREEK.items()}
LATEX = GREEK_LATEX | {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    NOTHING: "--", INFINITE_MARK: r"$\infty$", "±": r"$\pm$", DOUBT_MARK: r"$^\dagger$",
    FEW_MARK: r"$^\ddagger$", WIDE_MARK: r"$\approx$", OTHER_RULE: r"\S{}",
}  # fmt: skip


Marks = Mapping[tuple[int, int], str]  # "best" or "second", by row and column of a cell
NO_MARKS: Marks = {}


class Table(NamedTuple):
    """A table of formatted cells; the first `words` columns are text, the others are numbers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int
    notes: tuple[str, ...] = ()  # sentences below the table

    @classmethod
    def create(
        cls,
        columns: Iterable[Column],
        rows: Iterable[Any],
        notes: Iterable[str] = (),
        absent: str = NOTHING,
    ) -> "Table":
        """Return a table of the columns with a name. absent: text of empty cells."""
        named_columns = [column for column in columns if column.name]
        cells = tuple(tuple(column.text(row, absent) for column in named_columns) for row in rows)
        words = next(
            (index for index, column in enumerate(named_columns) if column.form), len(named_columns)
        )
        return cls(tuple(column.name for column in named_columns), cells, words, tuple(notes))

    def drop_empty_columns(self, num_fixed: int = 0) -> "Table":
        """Return the table without empty columns; the first `num_fixed` columns always stay."""
        filled_columns = [
            column
            for column, cells in enumerate(zip(*self.rows, strict=True))
            if column < num_fixed or any(cell not in ("", NOTHING) for cell in cells)
        ]
        headers, *rows = (
            tuple(row[n] for n in filled_columns) for row in (self.headers, *self.rows)
        )
        words = sum(column < self.words for column in filled_columns)
        return self._replace(headers=headers, rows=tuple(rows), words=words)


def records(columns: Iterable[Column], rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Return a record per row, with the columns that have a key, for csv and JSON."""
    keyed_columns = [column for column in columns if column.key]
    return [{column.key: column.value(row) for column in keyed_columns} for row in rows]


def plain(table: Table) -> str:
    """Return aligned columns with two spaces between; numbers at the right, notes below."""
    columns = []
    for column, cells in enumerate(zip(table.headers, *table.rows, strict=True)):
        texts = [one_line(cell) for cell in cells]
        align, width = str.ljust if column < table.words else str.rjust, max(map(len, texts))
        columns.append([align(text, width) for text in texts])
    lines = ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    return "\n".join([*lines, *map(one_line, table.notes)]) + "\n"


def markdown(table: Table, marks: Marks = NO_MARKS) -> str:
    """Return a pipe table and notes; escapes HTML and links. Best is bold, second italic."""
    alignments = [
        ":---" if column < table.words else "---:" for column in range(len(table.headers))
    ]
    emphases = {"best": "**", "second": "*", "": ""}
    lines = ["| " + " | ".join(map(_markdown_cell, table.headers)) + " |"]
    for row_number, row in enumerate(table.rows):
        row_emphases = (emphases[marks.get((row_number, column), "")] for column in range(len(row)))
        cells = (
            f"{emphasis}{_markdown_cell(cell)}{emphasis}"
            for emphasis, cell in zip(row_emphases, row, strict=True)
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines.insert(1, "|" + "|".join(alignments) + "|")
    notes = ["", *(f"- {markdown_text(note)}" for note in table.notes)] if table.notes else []
    return "\n".join([*lines, *notes]) + "\n"


def _markdown_cell(cell: str) -> str:
    return markdown_text(cell).replace("|", "\\|")


def latex(
    table: Table,
    marks: Marks = NO_MARKS,
    groups: Sequence[tuple[str, int]] = (),
    headers: Sequence[str] = (),
    rule_rows: Collection[int] = (),
) -> str:
    """Return a booktabs tabular with notes as comments.

    The best cells are bold, the second best are underlined. If values of the first column repeat,
    space separates groups of rows. groups: titles above columns, each with its number of columns;
    headers: column headers below titles. rule_rows: numbers of the rows that follow a rule.
    """

    def line(cells: Sequence[str], row: int = -1) -> str:
        texts = [
            _emphasise(escape_latex(c), marks.get((row, column), ""))
            for column, c in enumerate(cells)
        ]
        return " & ".join(texts) + r" \\"

    alignment = "l" * table.words + "r" * (len(table.headers) - table.words)
    lines = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule"]
    lines += [*_group_lines(groups), line(headers or table.headers), r"\midrule"]
    has_groups = len({row[0] for row in table.rows}) < len(table.rows)
    previous_group = table.rows[0][0] if table.rows else ""
    for row_number, row in enumerate(table.rows):
        if row_number in rule_rows:
            lines.append(r"\midrule")
        elif has_groups and row[0] != previous_group:
            lines.append(r"\addlinespace")
        lines.append(line(row, row_number))
        previous_group = row[0]
    notes = [f"% {escape_latex(note)}" for note in table.notes]
    text = "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes]) + "\n"
    extra_letters = " ".join(sorted({*UNSUPPORTED_BY_PDFLATEX.findall(text)}))
    engine = (
        f", and LuaLaTeX or XeLaTeX with a font that has {extra_letters}" if extra_letters else ""
    )
    return rf"% needs \usepackage{{booktabs}}{engine}" + f"\n{text}"


def _emphasise(text: str, mark: str) -> str:
    if mark == "best":
        return rf"\textbf{{\boldmath {text}}}" if "$" in text else rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if mark else text


def _group_lines(groups: Sequence[tuple[str, int]]) -> Iterator[str]:
    cells, rules, column = [], [], 1
    for title, count in groups:
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{escape_latex(title)}}}")
        rules += [rf"\cmidrule(lr){{{column}-{column + count - 1}}}"] if title else []
        column += count
    if rules:
        yield " & ".join(cells) + r" \\"
        yield " ".join(rules)


def escape_latex(text: str) -> str:
    r"""Escape text for LaTeX; a hyphen before a number becomes a minus, a line break a blank.

    >>> escape_latex("a_b 5%"), escape_latex("-3.5 [-4, 2]"), escape_latex("∞")
    ('a\\_b 5\\%', '$-$3.5 [$-$4, 2]', '$\\infty$')
    """
    texts = MINUS.split(one_line(text))
    return "$-$".join(
        "".join(LATEX.get(character, character) for character in text) for text in texts
    )


def html(
    table: Table,
    name: str,
    names: Mapping[str, str],
    links: Sequence[str] = (),
    wordy: bool = False,
) -> str:
    """Return a table that scrolls if it is wider than the page, with notes below.

    names: replacements for labels in the first column. links: addresses for the rows' second cells,
    "" for no link. wordy: cells have long texts, which are wrapped.
    """
    kinds = ["text" if column < table.words else "number" for column in range(len(table.headers))]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(header)}</th>'
        for kind, header in zip(kinds, table.headers, strict=True)
    )
    lines, previous_title = [], ""
    for row_number, row in enumerate(table.rows):
        title = breakable(names.get(row[0], row[0]))
        cells = [f'<th scope="row" class="text">{title}</th>']
        for kind, cell in list(zip(kinds, row, strict=True))[1:]:
            text = escape(MINUS.sub("−", cell)) if kind == "number" else breakable(cell)
            cells.append(f'<td class="{kind}">{text}</td>')
        if links and links[row_number]:
            link = f'<a href="{escape(links[row_number])}">{escape(row[1])}</a>'
            cells[1] = f'<td class="text">{link}</td>'
        class_text = ' class="first"' if row[0] != previous_title else ""
        previous_title = row[0]
        lines.append(f"<tr{class_text}>{''.join(cells)}</tr>")
    notes = "".join(f'<p class="caption">{escape(note)}</p>' for note in table.notes)
    table_class = ' class="wordy"' if wordy else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f"<table{table_class}><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>{notes}"
    )


def breakable(name: str) -> str:
    """Return a name as HTML that may break between parts, but not inside a word.

    >>> breakable("hyperprior:weights=matched")
    'hyperprior:<wbr>weights=<wbr>matched'
    """
    return "<wbr>".join(map(escape, re.split(r"(?<=[:=/_])(?=.)", name)))


def csv_text(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return records with equal keys as csv; escape texts that a spreadsheet would evaluate."""
    stream = StringIO()
    writer = csv.DictWriter(stream, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(cell) for name, cell in line.items()} for line in lines)
    return stream.getvalue()
