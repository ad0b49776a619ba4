"""Legends below the axes, flat or by groups of systems, with a note, and a figure made to fit."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.figures.layout.wrapping import drawable, text_inches, wrapped
from benchmark.figures.style import GREY, SMALL_POINTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

HANDLE_LENGTH, HANDLE_PAD = 2.1, 0.5  # in the size of the type
HANDLE_INCHES = (HANDLE_LENGTH + HANDLE_PAD + 0.2) * SMALL_POINTS / 72
MOST_ROWS = 6  # of a legend's column, its heading apart
MOST_COLUMNS = 6  # of a flat legend
GAP_INCHES = 0.12  # between columns
EDGE_INCHES = 0.07  # of the figure, beside legend and note
PASSES = 2  # of the layout: the first may change tick labels
BAND_INCHES = 0.05  # between what stands one above the other


class Entry(NamedTuple):
    """A line of a legend."""

    group: str
    name: str
    handle: "Line2D"


class Column(NamedTuple):
    """Entries one above the other, with a heading or none."""

    heading: str
    entries: Sequence[Entry]


def flat_legend(figure: "Figure", handles: "Sequence[Line2D]", note: str = "") -> None:
    """Add handles by their labels in as many columns as fit below the axes, and a note below.

    The figure, laid out by the constrained engine, is made taller to hold them. Names that are
    wider than the figure are broken into lines, and those of a long legend where that makes room
    for a second column.
    """
    entries = [Entry("", str(one.get_label()), one) for one in handles]
    room = figure.get_size_inches()[0] - 2 * EDGE_INCHES
    columns = _most_columns(entries, room)
    if len(columns) == 1 and len(entries) > MOST_ROWS:
        half = (room - GAP_INCHES) / 2 - HANDLE_INCHES
        broken = [one._replace(name=wrapped(one.name, half)) for one in entries]
        columns = max(columns, _most_columns(broken, room), key=len)
    _add_below(figure, [columns] if columns else [], note)


def _most_columns(entries: Sequence[Entry], room: float) -> list[Column]:
    """Return entries in as many columns as fit side by side, one if no more do."""
    split: list[Column] = []
    for columns in range(min(MOST_COLUMNS, len(entries)), 0, -1):
        size = -(-len(entries) // columns)
        split = [Column("", entries[at : at + size]) for at in range(0, len(entries), size)]
        widths = [_width(column) for column in split]
        if sum(widths) + GAP_INCHES * (len(widths) - 1) <= room:
            break
    return split


def grouped_legend(
    figure: "Figure", entries: Sequence[Entry], groups: Sequence[str], note: str = ""
) -> None:
    """Add entries under their groups' headings, side by side below the axes, and a note below them.

    The figure, laid out by the constrained engine, is made taller to hold them. A long group
    continues in another column; columns that do not fit stand below the others.
    """
    room = figure.get_size_inches()[0] - 2 * EDGE_INCHES
    bands: list[list[Column]] = []
    used = room
    for column in _columns(entries, groups):
        width = _width(column)
        if used + GAP_INCHES + width > room:
            bands.append([])
            used = -GAP_INCHES
        bands[-1].append(column)
        used += GAP_INCHES + width
    _add_below(figure, bands, note)


def lay_out(figure: "Figure") -> None:
    """Give the axes their places, as labels inside them need."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def settle(figure: "Figure") -> None:
    """Lay the figure out once and for all, so that no later drawing moves what is placed."""
    for _ in range(PASSES):
        lay_out(figure)
    figure.set_layout_engine("none")


def _columns(entries: Sequence[Entry], groups: Sequence[str]) -> list[Column]:
    columns = []
    for group in groups:
        mine = [entry for entry in entries if entry.group == group]
        parts = -(-len(mine) // MOST_ROWS)
        size = -(-len(mine) // parts) if parts else 1
        for start in range(0, len(mine), size):
            columns.append(Column(group if not start else " ", mine[start : start + size]))
    return columns


def _width(column: Column) -> float:
    """Return the width of a column in inches, as it will be drawn."""
    names = [text_inches(entry.name)[0] + HANDLE_INCHES for entry in column.entries]
    return max([*names, 1.1 * text_inches(column.heading or " ")[0]])


def _add_below(figure: "Figure", bands: Sequence[Sequence[Column]], note: str) -> None:
    """Add bands of columns one above the other, then the note, and make the figure taller."""
    width, height = figure.get_size_inches()
    room = width - 2 * EDGE_INCHES
    lines = wrapped(note, room) if note else ""
    note_inches = text_inches(lines)[1] + BAND_INCHES if lines else 0.0
    drawn = [[_legend(figure, column, room) for column in band] for band in bands]
    heights = [max(_inches(one, figure)[1] for one in band) + BAND_INCHES for band in drawn]
    whole = height + sum(heights) + note_inches
    figure.set_size_inches(width, whole)
    engine = figure.get_layout_engine()
    if engine is None:
        raise ValueError("the figure has no layout engine")
    below = 1 - height / whole
    engine.set(rect=(0, below, 1, 1 - below))  # type: ignore[call-arg]
    top = sum(heights) + note_inches
    for band, tall in zip(drawn, heights, strict=True):
        widths = [_inches(legend, figure)[0] for legend in band]
        gap = (room - sum(widths)) / max(len(widths), 1)
        left = EDGE_INCHES
        for legend, wide in zip(band, widths, strict=True):
            legend.set_bbox_to_anchor((left / width, top / whole), transform=figure.transFigure)
            left += wide + gap
        top -= tall
    if lines:
        note_artist = figure.text(
            EDGE_INCHES / width, (note_inches - BAND_INCHES / 2) / whole, drawable(lines),
            fontsize=SMALL_POINTS, va="top", color=GREY,
        )  # fmt: skip
        note_artist.set_in_layout(False)


def _inches(legend: "Legend", figure: "Figure") -> tuple[float, float]:
    box = legend.get_window_extent()
    return box.width / figure.dpi, box.height / figure.dpi


def _legend(figure: "Figure", column: Column, room: float) -> "Legend":
    names = room - HANDLE_INCHES
    legend = figure.legend(
        handles=[entry.handle for entry in column.entries],
        labels=[drawable(wrapped(entry.name, names)) for entry in column.entries],
        title=column.heading or None,
        loc="upper left",
        borderaxespad=0,
        borderpad=0.1,
        frameon=False,
        alignment="left",
        handlelength=HANDLE_LENGTH,
        handletextpad=HANDLE_PAD,
        labelspacing=0.25,
        fontsize=SMALL_POINTS,
        title_fontproperties={"size": SMALL_POINTS, "weight": "bold"},
    )
    legend.set_in_layout(False)
    return legend
