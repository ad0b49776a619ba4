"""What every figure of the paper comes with, and the parts they share: grouped legends, notes."""

from collections.abc import Iterable, Mapping, Sequence
from string import ascii_lowercase
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.figures.style import MARKER_POINTS, Look
from benchmark.figures.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

LEGEND_POINTS, NOTE_POINTS = 6.3, 5.8
LEAST_LEGEND_POINTS = 4.5
NOTE_CHARACTERS_AN_INCH = 21.5  # of NOTE_POINTS type
ROW_INCHES = 0.118  # of a legend
NOTE_INCHES = 0.095  # of a line of a note
MOST_ROWS = 6  # of a legend's column, its heading apart
NARROW_GAP = 0.012  # of the figure's width, between columns of one group
GREY = "#555555"


class Plate(NamedTuple):
    """A figure of the paper, and what stands beside it on disk."""

    figure: "Figure"
    caption: str
    records: Sequence[Mapping[str, Any]]  # everything that is drawn, one flat record a mark
    table: Table | None = None


class Entry(NamedTuple):
    """A line of a legend."""

    group: str
    name: str
    handle: "Line2D"


def appearance(look: Look, measured: bool, emphasis: bool = False) -> dict[str, Any]:
    """Line2D properties of a system: filled markers where it was measured here, else open ones."""
    size = MARKER_POINTS * (1.5 if look.marker == "*" else 1) * (1.15 if emphasis else 1)
    return {
        "color": look.colour,
        "marker": look.marker,
        "markersize": size,
        "markerfacecolor": look.colour if measured else "white",
        "markeredgecolor": look.colour,
        "markeredgewidth": 0.8,
        "linewidth": 1.3 if emphasis else 0.8,
        "linestyle": "-" if measured else (0, (3, 1.1)),
    }


def legend_and_note(
    figure: "Figure", entries: Sequence[Entry], groups: Sequence[str], note: str = ""
) -> None:
    """Entries under their groups' headings, side by side below the axes, and a note below them.

    The figure, laid out by the constrained engine, is made taller to hold them. Entries of a group
    that is long go on in another column.
    """
    columns = _columns(entries, groups)
    width, height = figure.get_size_inches()
    lines = _broken(note, width)
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


def letters(protocols: Iterable[str]) -> dict[str, str]:
    """A letter for each rule, in order."""
    return dict(zip(dict.fromkeys(protocols), ascii_lowercase, strict=False))


def marked(name: str, own: Iterable[str]) -> str:
    """A legend's name with raised letters."""
    found = ",".join(sorted(set(own)))
    return f"{name}$^{{\\mathrm{{{found}}}}}$" if found else name


def frame(axes: "Axes") -> None:
    """What all axes have in common."""
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plain_ticks(axis: "Axis") -> None:
    """Numbers, not powers of ten, on a logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"]), listed(["a"])
    ('a, b and c', 'a')
    """
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


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
    """Legends of one column each, with equal gaps between them over the figure's width.

    In smaller type where they would run into each other.
    """
    begun = [bool(heading) for heading, _ in columns]
    points = LEGEND_POINTS
    while True:
        legends = [_legend(figure, heading, column, points) for heading, column in columns]
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


def _legend(figure: "Figure", heading: str, column: Sequence[Entry], points: float) -> "Legend":
    """One column, somewhere."""
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


def _broken(note: str, width_inches: float) -> list[str]:
    characters = int(width_inches * NOTE_CHARACTERS_AN_INCH)
    return [
        line
        for part in note.splitlines()
        for line in wrap(part, characters, break_on_hyphens=False)
    ]
