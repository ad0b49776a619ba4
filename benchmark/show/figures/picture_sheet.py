"""Sheets of pictures and maps with their numbers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.answer import Column, decimals
from benchmark.codec import Pixels
from benchmark.metrics.maps import legend_value
from benchmark.metrics.metric import ErrorMap, MapScale
from benchmark.show.figures.style import GREY, SMALL_POINTS, figure_style
from benchmark.show.figures.texts import LINE_INCHES, Drawing, figure_width, wrapped
from benchmark.show.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP_INCHES, EDGE_INCHES, PAD_INCHES = 0.05, 0.02, 0.03
NO_BREAK = "\N{NO-BREAK SPACE}"
BOLD_WIDTH = 1.15  # of bold type, relative to the usual
STRIDE_PX = 8  # between the places that are compared
COLOURS = "inferno"  # black is no error; where.js has the same
GAP_PX = 4  # between a crop and its map
BAR_INCHES = 0.46  # below a row of maps, with its numbers and its label
BAR = 0.3, 0.4, 0.46, 0.08  # left and width, of the figure; above its edge and height, in inches
SIZE, RATE = "Size (kB)", "Rate (bpp)"  # labels of values
Box = tuple[int, int, int, int]  # left, top, width, height in pixels


class PictureTile(NamedTuple):
    """A picture with its heading and the numbers under it."""

    heading: str
    pixels: Pixels
    values: Mapping[str, float | None]  # by label with unit; None where there is no number
    record: Mapping[str, Any]  # for the csv; empty for the source
    box: Box | None = None  # of a framed part
    remark: str = ""  # after the rate, in brackets


def most_different(pictures: Sequence[NDArray[Any]], side: int) -> Box:
    """Return the square in which pictures of one size differ most, of equal ones the first.

    By the sum of their samples' variances. Pictures smaller than the square give the largest square
    inside them.

    >>> flat = np.zeros((64, 64, 3), np.uint8)
    >>> other = flat.copy()
    >>> other[40:48, 20:30] = 9
    >>> most_different([flat, other], 32)
    (0, 16, 32, 32)
    """
    side = min(side, *pictures[0].shape[:2])
    spread = np.stack([picture.astype(np.float32) for picture in pictures]).var(axis=0).sum(axis=2)
    whole = np.pad(spread.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    low, high = (slice(0, -side, STRIDE_PX), slice(side, None, STRIDE_PX))
    sums = whole[high, high] - whole[low, high] - whole[high, low] + whole[low, low]
    top, left = (STRIDE_PX * int(at) for at in np.unravel_index(sums.argmax(), sums.shape))
    return left, top, side, side


def draw_pictures(
    tiles: Sequence[PictureTile], columns: int, caption: str, notes: Sequence[str] = ()
) -> Drawing:
    """Draw tiles row by row over the width of a figure, each as wide as its neighbours.

    Rows are as high as their highest picture, words directly below each. Pixels are shown as they
    are, not interpolated where they are magnified. notes: of the table.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    total = figure_width(columns)
    width = (total - GAP_INCHES * (columns - 1) - 2 * EDGE_INCHES) / columns
    shown = [
        (tile, width * tile.pixels.shape[0] / tile.pixels.shape[1], _words(tile, width))
        for tile in tiles
    ]
    below = PAD_INCHES + LINE_INCHES * max(len(words) for *_, words in shown) + GAP_INCHES
    rows = [shown[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tall for _, tall, _ in row) for row in rows]
    whole = sum(heights) + len(rows) * below + 2 * EDGE_INCHES
    top = whole - EDGE_INCHES
    with figure_style():
        figure = Figure(figsize=(total, whole))
        for row, height in zip(rows, heights, strict=True):
            for place, (tile, tall, words) in enumerate(row):
                left = EDGE_INCHES + place * (width + GAP_INCHES)
                low = top - tall
                axes = figure.add_axes((left / total, low / whole, width / total, tall / whole))
                axes.imshow(tile.pixels, interpolation="nearest", aspect="auto")
                axes.set_axis_off()
                for colour, points in (("black", 2.2), ("white", 1.1)):  # seen on any picture
                    if tile.box:
                        frame = Rectangle(tile.box[:2], *tile.box[2:], fill=False)
                        frame.set(edgecolor=colour, linewidth=points)
                        axes.add_patch(frame)
                for line, (text, bold) in enumerate(words):
                    down = low - PAD_INCHES - LINE_INCHES * line
                    figure.text(
                        left / total, down / whole, text, fontsize=SMALL_POINTS, va="top",
                        color="#000000" if bold else GREY, weight="bold" if bold else "normal",
                    )  # fmt: skip
            top -= height + below
    recorded = [tile for tile in tiles if tile.record]
    labels = list(dict.fromkeys(label for tile in tiles for label in tile.values))
    cells = [Column("picture", "heading")]
    cells += [Column(label, partial(_value_at, label), f".{decimals(label)}f") for label in labels]
    if any(tile.remark for tile in recorded):
        cells.insert(2, Column("off the rate", "remark", str))
    table = Table.of(cells, recorded, notes) if recorded else None
    keys = dict.fromkeys(key for tile in recorded for key in tile.record)  # crops may differ
    records = [{key: tile.record.get(key) for key in keys} for tile in recorded]
    return Drawing(figure, caption, records, table)


def coloured(values: ErrorMap, scale: MapScale, end: float) -> Pixels:
    """Return a map in colours from 0 to `end`, in the legend's unit; NaN is grey."""
    from matplotlib import colormaps

    colours = colormaps[COLOURS].with_extremes(bad="#808080")
    return np.asarray(colours(legend_value(values, scale) / end, bytes=True))[..., :3]


def above(pixels: Pixels, lower: Pixels) -> Pixels:
    """Return a crop above its map."""
    gap = np.full((GAP_PX, *pixels.shape[1:]), 255, np.uint8)
    return np.concatenate([pixels, gap, lower])


def add_bar(figure: "Figure", scale: MapScale, end: float) -> None:
    """Make room below a figure, and draw the scale's bar there."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    before = figure.get_figheight()
    height = before + BAR_INCHES

    def raised(place: float) -> float:
        return (place * before + BAR_INCHES) / height

    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position((box.x0, raised(box.y0), box.width, box.height * before / height))
    for text in figure.texts:
        text.set_y(raised(text.get_position()[1]))
    figure.set_figheight(height)
    left, width, low, tall = BAR
    with figure_style():
        axes = figure.add_axes((left, (low - tall) / height, width, tall / height))
        colours = ScalarMappable(Normalize(0, end), COLOURS)
        bar = figure.colorbar(colours, axes, orientation="horizontal", extend="max")
        bar.set_label(scale.label, fontsize=SMALL_POINTS, labelpad=1)
        bar.set_ticks([0, end / 2, end])
        bar.ax.tick_params(labelsize=SMALL_POINTS, pad=1.5, length=2)


def _value_at(label: str, tile: PictureTile) -> float | None:
    return tile.values.get(label)


def _words(tile: PictureTile, inches: float) -> list[tuple[str, bool]]:
    """Return lines, and whether each is bold: heading, size, rate, each value with its name."""
    known = {label: value for label, value in tile.values.items() if value is not None}
    remark = f" ({tile.remark})" if tile.remark else ""
    first = [f"{known[SIZE]:.1f} kB"] if SIZE in known else []
    first += [f"{known[RATE]:.3f} bpp{remark}"] if RATE in known else []
    rest = [
        f"{label.partition(' (')[0]} {value:.2f}{NO_BREAK}dB" if "dB" in label
        else f"{label.partition(' (')[0]} {value:.3f}"
        for label, value in known.items() if label not in (SIZE, RATE)
    ]  # fmt: skip
    # A name and its number stay on one line, if they fit.
    kept = [
        text if "\n" in wrapped(f"{text},", inches) else text.replace(" ", NO_BREAK)
        for text in (*first, *rest)
    ]
    values = wrapped(", ".join(kept), inches).replace(NO_BREAK, " ").splitlines()
    lines = [(line, True) for line in wrapped(tile.heading, inches / BOLD_WIDTH).splitlines()]
    return lines + [(line, False) for line in values]
