"""The table of means, cells and notes on networks, tables as text, markdown, LaTeX and csv."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.system.text import csv_cells, markdown_text, one_line

if TYPE_CHECKING:  # a table is printed without numpy
    from benchmark.compare.interval import DrawSpread
    from benchmark.compare.published.curves import SystemCurve
    from benchmark.metrics.measure import Measure
    from benchmark.rows.comparable import Mean
    from benchmark.rows.summarise import Edition, Summary

NOTHING, ENDLESS, DOUBTFUL, FEW_MARK = "–", "∞", "†", "‡"
DOUBTFUL_NOTE = f"{DOUBTFUL} The curves share less than half of the range that both span."
MINUS = re.compile(r"(?<![^\s\[(])-(?=\d)")  # hyphens that begin a number
NETWORK_HEADERS = (
    *("work (kMAC/px)", "training (10^15 MAC)"),
    *("optimiser", "steps of a network"),
)
DRAWS_NOTE = (
    "Over draws: the lowest and the highest mean of a drawing. Over images: the 95 % interval of "
    "the mean over drawings."
)
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$",
    "#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "α": r"$\alpha$", "β": r"$\beta$", NOTHING: "--", ENDLESS: r"$\infty$", DOUBTFUL: r"$^\dagger$",
    FEW_MARK: r"$^\ddagger$",
}  # fmt: skip


class Table(NamedTuple):
    """A table with cells as text. The first `words` columns are text, the others numbers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int
    notes: tuple[str, ...] = ()  # sentences that belong under it

    def filled(self, always: int = 0) -> "Table":
        """Return the table without empty columns, whose number of `words` must not change.

        The first `always` columns stay.
        """
        kept = [
            place
            for place, cells in enumerate(zip(*self.rows, strict=True))
            if place < always or any(cell not in ("", NOTHING) for cell in cells)
        ]
        headers, *rows = (tuple(row[n] for n in kept) for row in (self.headers, *self.rows))
        return self._replace(headers=headers, rows=tuple(rows))


def means_table(summary: "Summary", measures: "Sequence[Measure]") -> Table:
    """Return a row for each point; each mean is over the row's images unless it says otherwise.

    Columns without any value are left out.
    """
    from benchmark.metrics.distribution_metric import FEW_IMAGES
    from benchmark.rows.summarise import REAL_TO_ESTIMATED, SECONDS

    where = f"{FEW_MARK} Over fewer than {FEW_IMAGES} images"
    few = f"{where}, where such a metric is biased or scattered."
    points = summary.points
    failed = any(point.failed for point in points)
    headers = ["codec", "setting", "images", "bpp", *(measure.label for measure in measures)]
    headers += ["real / estimated bits", "encode (s)", "decode (s)"]
    headers += ["failed"] if failed else []
    rows = []
    for point in points:
        images = f"{point.images} of {summary.images}" if point.missing else str(point.images)
        bpp = NOTHING if point.bpp is None else f"{point.bpp:.4f}"
        cells = [point.label, str(point.setting), images, bpp]
        for measure in measures:
            mean = point.means[measure.column]
            marked = FEW_MARK * (mean.value is not None and measure.few(mean.images))
            cells.append(_mean(mean, point.images, f".{decimals(measure.label)}f", marked))
        estimated = point.means.get(REAL_TO_ESTIMATED)
        cells.append(_mean(estimated, point.images, ".4f") if estimated else NOTHING)
        cells += [_mean(point.means[name], point.images, ".2g") for name in SECONDS]
        rows.append((*cells, *([str(point.failed or "")] if failed else [])))
    text = "".join(cell for row in rows for cell in row[3:])
    notes = ["A count in brackets: the mean is over that number of images only."] * ("(" in text)
    identical = f"{ENDLESS} n: n images came back identical; they are not in the mean."
    notes += [identical] * (ENDLESS in text) + [few] * (FEW_MARK in text)
    notes += chosen_notes(summary.labels)
    return Table(tuple(headers), tuple(rows), 2, tuple(notes)).filled(always=4)


def draws_table(spreads: "Sequence[DrawSpread]") -> Table:
    """Return a row for each spread over drawings, with the spread over images beside it."""
    rows = []
    for spread in spreads:
        form = f".{decimals(spread.measure.label)}f"
        draws, images = (
            " to ".join(f"{end:{form}}" for end in ends) if ends else NOTHING
            for ends in (spread.over_draws, spread.over_images)
        )
        start = spread.label, str(spread.setting), spread.measure.label, str(spread.draws)
        rows.append((*start, f"{spread.mean:{form}}", draws, images))
    headers = ("codec", "setting", "metric", "draws", "mean", "over draws", "over images")
    return Table(headers, tuple(rows), 3, (DRAWS_NOTE,) if rows else ())


def decimals(label: str) -> int:
    """Return the decimals of a metric's values, by its label with unit."""
    return 2 if "dB" in label else 4


def _mean(mean: "Mean", images: int, form: str, mark: str = "") -> str:
    endless = f"{ENDLESS} {mean.infinite}" if mean.infinite else ""
    if mean.value is None:
        return endless or NOTHING
    count = str(mean.images) if mean.images != images else ""
    inside = ", ".join(part for part in (count, endless) if part)
    return f"{mean.value:{form}}{mark}" + (f" ({inside})" if inside else "")


def plain(table: Table) -> str:
    """Return columns separated by two spaces, numbers aligned to the right, notes below."""
    columns = []
    for place, cells in enumerate(zip(table.headers, *table.rows, strict=True)):
        texts = [one_line(cell) for cell in cells]
        aligned, width = str.ljust if place < table.words else str.rjust, max(map(len, texts))
        columns.append([aligned(text, width) for text in texts])
    lines = ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]
    return "\n".join([*lines, *map(one_line, table.notes)]) + "\n"


def markdown(table: Table) -> str:
    """Return a pipe table, notes below; HTML and links in cells are shown, not followed.

    >>> print(markdown(Table(("codec", "bpp"), (("a|b", "1.0"),), 1)), end="")
    | codec | bpp |
    |:---|---:|
    | a\\|b | 1.0 |
    """
    rule = [":---" if place < table.words else "---:" for place in range(len(table.headers))]
    lines = [
        "| " + " | ".join(markdown_text(cell).replace("|", "\\|") for cell in line) + " |"
        for line in (table.headers, *table.rows)
    ]
    lines.insert(1, "|" + "|".join(rule) + "|")
    notes = ["", *(f"- {markdown_text(note)}" for note in table.notes)] if table.notes else []
    return "\n".join([*lines, *notes]) + "\n"


def latex(table: Table, names: Mapping[str, str]) -> str:
    """Return a booktabs tabular, notes as comments; `names` shortens cells that are codec labels.

    A little space separates the groups of a table whose first column repeats.
    """

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    kinds = "l" * table.words + "r" * (len(table.headers) - table.words)
    lines = [r"% needs \usepackage{booktabs}", rf"\begin{{tabular}}{{{kinds}}}", r"\toprule"]
    lines += [line(table.headers), r"\midrule"]
    grouped = len({row[0] for row in table.rows}) < len(table.rows)
    before = table.rows[0][0] if table.rows else ""
    for row in table.rows:
        lines += [r"\addlinespace"] if grouped and row[0] != before else []
        lines.append(line([names.get(cell, cell) for cell in row]))
        before = row[0]
    notes = [f"% {escape_latex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes]) + "\n"


def escape_latex(text: str) -> str:
    r"""Escape text for LaTeX; a hyphen before a number is a minus, a line break a blank.

    >>> escape_latex("a_b 5%"), escape_latex("-3.5 [-4, 2]"), escape_latex("∞")
    ('a\\_b 5\\%', '$-$3.5 [$-$4, 2]', '$\\infty$')
    """
    parts = MINUS.split(one_line(text))
    return "$-$".join("".join(LATEX.get(sign, sign) for sign in part) for part in parts)


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records with the same keys as csv, a header first; None is an empty field.

    Text that a spreadsheet would compute begins with an apostrophe.
    """
    stream = StringIO()
    writer = csv.DictWriter(stream, list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(csv_cells, records))
    return stream.getvalue()


def training_cells(edition: "Edition") -> tuple[str, str, str, str]:
    """Return the cells below `NETWORK_HEADERS`; empty for rows of other than bundled weights."""
    from benchmark.rows.systems import training

    kmac, (petamacs, optimiser, steps, fingerprint) = training(edition.label)
    if not (fingerprint and edition.build.fingerprint.startswith(fingerprint)):
        return ("", "", "", "")
    return f"{kmac:.1f}", "" if petamacs is None else f"{petamacs:.2f}", optimiser, steps


def chosen_notes(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the sentences on networks whose realism was chosen by a metric on a dataset.

    >>> chosen_notes(["jpeg", "ours:beta=0:size=micro", "ours:beta=3.84:size=micro"])
    ('Realism chosen on Kodak by LPIPS (SqueezeNet): ours:size=micro.',)
    """
    from benchmark.rows.systems import chosen_on, shared_label

    choices = [(chosen_on(label), label) for label in dict.fromkeys(labels)]
    return tuple(
        f"Realism chosen on {choice[0]} by {choice[1]}: "
        f"{shared_label([label for of, label in choices if of == choice])}."
        for choice in dict.fromkeys(choice for choice, _ in choices)
        if choice
    )


def network_sentences(curves: "Iterable[SystemCurve]") -> list[str]:
    """Return sentences on work and training of the curves' networks, and on how they were chosen.

    Networks are those that are bundled.
    """
    measured = {curve.name: curve.edition for curve in curves if curve.edition}
    names: dict[str, list[str]] = {}
    for name, edition in measured.items():
        if any(cells := training_cells(edition)):
            names.setdefault(", ".join(cell or "–" for cell in cells), []).append(name)
    parts = "; ".join(f"{', '.join(of)}: {cells}" for cells, of in names.items())
    heads = ", ".join(NETWORK_HEADERS)
    sentences = [f"{heads[0].upper()}{heads[1:]}: {parts}."] * bool(parts)
    return [*sentences, *chosen_notes(edition.label for edition in measured.values())]
