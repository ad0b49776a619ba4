"""Sheets of pictures with their names and numbers under them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.codec import Pixels
from benchmark.figures.drawing import Drawing
from benchmark.figures.layout.wrapping import drawable, wrapped
from benchmark.figures.style import DOUBLE_COLUMN_INCHES, GREY, SMALL_POINTS, figure_style
from benchmark.figures.table import NOTHING, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP_INCHES = 0.05
LINE_INCHES = 0.13
EDGE_INCHES = 0.02
BOLD_WIDTH = 1.15  # of bold type, relative to the usual


class PictureTile(NamedTuple):
    """A picture with its heading and the numbers under it."""

    heading: str
    pixels: Pixels
    values: Mapping[str, float | None]  # by label with unit; None where there is no number
    record: Mapping[str, Any]  # for the csv; empty for the source
    box: tuple[int, int, int] | None = None  # left, top, side of a frame around a part
    caveats: tuple[str, ...] = ()


def draw_pictures(tiles: Sequence[PictureTile], columns: int, caption: str) -> Drawing:
    """Draw tiles row by row over two columns of a page, each as wide as its neighbours.

    Rows are as high as their highest picture. Pixels are shown as they are, not interpolated where
    they are magnified.
    """
    from matplotlib.figure import Figure

    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    width = (DOUBLE_COLUMN_INCHES - GAP_INCHES * (columns - 1) - 2 * EDGE_INCHES) / columns
    heights = [
        width * max(tile.pixels.shape[0] / tile.pixels.shape[1] for tile in row) for row in rows
    ]
    with figure_style():
        figure = Figure()
        words = [_words(tile, width) for tile in tiles]
        below = 0.03 + LINE_INCHES * max(map(len, words))
        whole = sum(heights) + len(rows) * (below + GAP_INCHES) + 2 * EDGE_INCHES
        figure.set_size_inches(DOUBLE_COLUMN_INCHES, whole)
        every_word = iter(words)
        top = whole - EDGE_INCHES
        for row, height in zip(rows, heights, strict=True):
            for place, tile in enumerate(row):
                left = EDGE_INCHES + place * (width + GAP_INCHES)
                own = width * tile.pixels.shape[0] / tile.pixels.shape[1]
                box = (left, top - height + (height - own) / 2, width, own)
                axes = figure.add_axes(
                    (box[0] / DOUBLE_COLUMN_INCHES, box[1] / whole, width / DOUBLE_COLUMN_INCHES,
                     own / whole)
                )  # fmt: skip
                _show(axes, tile)
                for number, (text, bold) in enumerate(next(every_word)):
                    down = top - height - 0.03 - LINE_INCHES * number
                    figure.text(
                        left / DOUBLE_COLUMN_INCHES, down / whole, drawable(text),
                        fontsize=SMALL_POINTS,
                        color="#000000" if bold else GREY, weight="bold" if bold else "normal",
                        va="top",
                    )  # fmt: skip
            top -= height + below + GAP_INCHES
    return Drawing(figure, caption, [tile.record for tile in tiles if tile.record], _table(tiles))


def _show(axes: "Axes", tile: PictureTile) -> None:
    from matplotlib.patches import Rectangle

    axes.imshow(tile.pixels, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    if tile.box:
        left, top, side = tile.box
        for colour, points in (("black", 2.2), ("white", 1.1)):  # seen on any picture
            axes.add_patch(
                Rectangle((left, top), side, side, fill=False, edgecolor=colour, linewidth=points)
            )


def _words(tile: PictureTile, inches: float) -> list[tuple[str, bool]]:
    """Return lines, and whether each is bold: heading, rate and decibels, other values, caveats."""
    known = {label: value for label, value in tile.values.items() if value is not None}
    first = [f"{value:.3f} bpp" for label, value in known.items() if "(bpp)" in label]
    first += [f"{value:.2f} dB" for label, value in known.items() if "dB" in label]
    rest = [
        f"{label.partition(' (')[0]} {value:.4f}"
        for label, value in known.items()
        if "(bpp)" not in label and "dB" not in label
    ]
    found = [(tile.heading, True), *((", ".join(part), False) for part in (first, rest) if part)]
    found += [(caveat, False) for caveat in tile.caveats]
    return [
        (line, bold)
        for text, bold in found
        for line in wrapped(text, inches / BOLD_WIDTH if bold else inches).splitlines()
    ]


def _table(tiles: Sequence[PictureTile]) -> Table | None:
    labels = list(dict.fromkeys(label for tile in tiles for label in tile.values))
    rows = [
        (tile.heading, *(_cell(label, tile.values.get(label)) for label in labels))
        for tile in tiles
        if tile.record
    ]
    return Table(("picture", *labels), tuple(rows), 1) if rows else None


def _cell(label: str, value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"{value:.2f}" if "dB" in label else f"{value:.4f}"
