"""Legends below the axes, flat or by groups of systems, with a note, and a figure made to fit."""

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, NamedTuple

from benchmark.figures.style import GREY, LEGEND_POINTS, NOTE_POINTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

FLAT_POINTS, FLAT_NOTE_POINTS = (6.5, 5.8), 6  # of a flat legend, the larger first
LEAST_LEGEND_POINTS = 4.5
FLAT_CHARACTERS_PER_INCH, CHARACTERS_PER_INCH = 21, 21.5  # of a note's type
NAME_CHARACTERS_PER_INCH = 16  # of a flat legend's larger type, beside the lines
ROW_INCHES = 0.118  # of a legend
NOTE_INCHES = 0.095  # of a line of a note
MOST_ROWS = 6  # of a legend's column, its heading apart
MOST_COLUMNS = 6  # of a flat legend
NARROW_GAP = 0.012  # of the figure's width, between columns of one group


class Entry(NamedTuple):
    """A line of a legend."""

    group: str
    name: str
    handle: "Line2D"


def flat_legend(figure: "Figure", handles: "Sequence[Line2D]", note: str = "") -> None:
    """Add a legend under the axes, in as many columns as fit, and make the figure taller for it.

    The note stands between the two, in lines that are no wider than the figure. Names that are
    wider than the figure are broken into lines.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    title = "\n".join(_lines(note, figure, FLAT_CHARACTERS_PER_INCH))
    widest = min(MOST_COLUMNS, len(handles))
    tried = [(columns, size) for size in FLAT_POINTS for columns in range(widest, 1, -1)]
    for columns, points in [*tried, (1, FLAT_POINTS[0]), (0, FLAT_POINTS[0])]:
        if columns == 0:  # not even one fits
            for handle in handles:
                handle.set_label(_broken_name(str(handle.get_label()), figure))
        legend = figure.legend(
            handles=list(handles), loc="outside lower center", ncols=max(columns, 1),
            fontsize=points, frameon=False, handlelength=1.8, handletextpad=0.5, columnspacing=0.8,
            labelspacing=0.3, borderpad=0.1, title=title, title_fontsize=FLAT_NOTE_POINTS,
        )  # fmt: skip
        box = legend.get_window_extent(renderer)
        if box.width <= figure.bbox.width or columns == 0:
            break
        legend.remove()
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + box.height / figure.dpi)


def grouped_legend(
    figure: "Figure", entries: Sequence[Entry], groups: Sequence[str], note: str = ""
) -> None:
    """Add entries under their groups' headings, side by side below the axes, and a note below them.

    The figure, laid out by the constrained engine, is made taller to hold them. A long group
    continues in another column.
    """
    columns = _columns(entries, groups)
    width, height = figure.get_size_inches()
    lines = _lines(note, figure, CHARACTERS_PER_INCH)
    rows = max((len(column) for _, column in columns), default=0)
    legend_inches = ROW_INCHES * (rows + 1) + 0.08 if columns else 0.0
    note_inches = NOTE_INCHES * len(lines) + 0.03 if lines else 0.0
    whole = height + legend_inches + note_inches
    figure.set_size_inches(width, whole)
    below = (legend_inches + note_inches) / whole
    engine = figure.get_layout_engine()
    if engine is None:
        raise ValueError("the figure has no layout engine")
    engine.set(rect=(0, below, 1, 1 - below))  # type: ignore[call-arg]
    if lines:
        figure.text(
            0.01, 0.02 / whole, "\n".join(lines), fontsize=NOTE_POINTS, va="bottom",
            color=GREY, linespacing=1.15,
        )  # fmt: skip
    _place_columns(figure, columns, below)


def _columns(entries: Sequence[Entry], groups: Sequence[str]) -> list[tuple[str, Sequence[Entry]]]:
    columns: list[tuple[str, Sequence[Entry]]] = []
    for group in groups:
        mine = [entry for entry in entries if entry.group == group]
        parts = -(-len(mine) // MOST_ROWS)
        size = -(-len(mine) // parts) if parts else 1
        for start in range(0, len(mine), size):
            columns.append((group if not start else "", mine[start : start + size]))
    return columns


def _place_columns(
    figure: "Figure", columns: Sequence[tuple[str, Sequence[Entry]]], top: float
) -> None:
    """Place legends of one column each with equal gaps, in smaller type where they would meet."""
    begun = [bool(heading) for heading, _ in columns]
    points = LEGEND_POINTS
    while True:
        legends = [_column(figure, heading, column, points) for heading, column in columns]
        widths = [legend.get_window_extent().width / figure.bbox.width for legend in legends]
        rest = 0.98 - sum(widths) - NARROW_GAP * begun.count(False)
        gap = rest / max(begun.count(True), 1)
        if gap >= NARROW_GAP or points <= LEAST_LEGEND_POINTS:
            break
        for legend in legends:
            legend.remove()
        points -= 0.2
    left = 0.01 - gap / 2
    for legend, width, first in zip(legends, widths, begun, strict=True):
        left += gap if first else NARROW_GAP
        legend.set_bbox_to_anchor((left, top))
        left += width


def _column(figure: "Figure", heading: str, column: Sequence[Entry], points: float) -> "Legend":
    legend = figure.legend(
        handles=[entry.handle for entry in column],
        labels=[entry.name for entry in column],
        title=heading or " ",
        loc="upper left",
        borderaxespad=0,
        borderpad=0.1,
        frameon=False,
        alignment="left",
        handlelength=2.1,
        handletextpad=0.5,
        labelspacing=0.25,
        fontsize=points,
        title_fontproperties={"size": points, "weight": "bold"},
    )
    legend.set_in_layout(False)
    return legend


def _broken_name(name: str, figure: "Figure") -> str:
    characters = int(figure.get_size_inches()[0] * NAME_CHARACTERS_PER_INCH)
    return "\n".join(wrap(name, characters, break_long_words=False, break_on_hyphens=False))


def _lines(note: str, figure: "Figure", characters_per_inch: float) -> list[str]:
    """Break a note into lines that are no wider than the figure."""
    characters = int(figure.get_size_inches()[0] * characters_per_inch)
    return [
        line
        for part in note.splitlines()
        for line in wrap(part, characters, break_on_hyphens=False)
    ]
