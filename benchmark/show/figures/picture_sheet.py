"""Sheets of pictures and maps with their numbers."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.answer import Column
from benchmark.codec import Pixels
from benchmark.metrics.maps import legend_value
from benchmark.metrics.metric import ErrorMap, MapScale
from benchmark.show.figures.style import GREY, TEXT_POINTS, figure_style
from benchmark.show.figures.texts import LINE_INCHES, DrawnFigure, figure_width, wrap_text
from benchmark.show.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAP_INCHES, EDGE_INCHES, PAD_INCHES = 0.05, 0.02, 0.03
NO_BREAK = "\N{NO-BREAK SPACE}"
BOLD_WIDTH = 1.15  # width of bold relative to regular type
STRIDE_PX = 8  # step of the search for the most different square
COLOURS = "inferno"  # black means no error; where.js uses the same
GAP_PX = 4  # gap between a crop and its map
BAR_INCHES = 0.46  # height of the colour bar below the maps, with its numbers and its label
BAR = 0.3, 0.4, 0.46, 0.08  # left, width (shares of the figure); bottom, height (inches)
MAX_DECIMALS = 3  # maximum for a value below a picture
Box = tuple[int, int, int, int]  # left, top, width, height in pixels


class Quantity(NamedTuple):
    """A quantity whose values stand below pictures."""

    label: str  # of a column: "LPIPS (AlexNet)", "PSNR (dB)"
    name: str  # below a picture: "LPIPS", "PSNR"
    unit: str = ""  # "dB"
    decimals: int = 4  # in the table; below a picture, at most `MAX_DECIMALS`


SIZE, RATE = Quantity("Size (kB)", "Size", "kB"), Quantity("Rate (bpp)", "Rate", "bpp")


class PictureTile(NamedTuple):
    """A picture with its heading and the numbers under it."""

    heading: str
    pixels: Pixels
    values: Mapping[Quantity, float | None]  # None: no value
    record: Mapping[str, Any]  # for the csv; empty for the source
    box: Box | None = None  # part of the picture to frame
    remark: str = ""  # printed in brackets after the rate


def most_different_square(pictures: Sequence[NDArray[Any]], side: int) -> Box:
    """Return the square in which pictures of the same size differ most (the first of them).

    The difference is the sum of the samples' variances. In smaller pictures, the square has the
    picture's shorter side.

    >>> flat = np.zeros((64, 64, 3), np.uint8)
    >>> other = flat.copy()
    >>> other[40:48, 20:30] = 9
    >>> most_different_square([flat, other], 32)
    (0, 16, 32, 32)
    """
    side = min(side, *pictures[0].shape[:2])
    variances = (
        np.stack([picture.astype(np.float32) for picture in pictures]).var(axis=0).sum(axis=2)
    )
    integral = np.pad(variances.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    start, end = (slice(0, -side, STRIDE_PX), slice(side, None, STRIDE_PX))
    sums = integral[end, end] - integral[start, end] - integral[end, start] + integral[start, start]
    top, left = (STRIDE_PX * int(index) for index in np.unravel_index(sums.argmax(), sums.shape))
    return left, top, side, side


def draw_pictures(
    tiles: Sequence[PictureTile], columns: int, caption: str, notes: Sequence[str] = ()
) -> DrawnFigure:
    """Draw tiles of equal width row by row, over the full width of a figure.

    Rows are as tall as their tallest picture. Magnified pixels are not interpolated.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    total_width = figure_width(columns)
    width = (total_width - GAP_INCHES * (columns - 1) - 2 * EDGE_INCHES) / columns
    tile_layouts = [
        (tile, width * tile.pixels.shape[0] / tile.pixels.shape[1], _tile_lines(tile, width))
        for tile in tiles
    ]
    text_inches = (
        PAD_INCHES
        + LINE_INCHES * max(len(text_lines) for *_, text_lines in tile_layouts)
        + GAP_INCHES
    )
    rows = [tile_layouts[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile_height for _, tile_height, _ in row) for row in rows]
    height_inches = sum(heights) + len(rows) * text_inches + 2 * EDGE_INCHES
    top = height_inches - EDGE_INCHES
    with figure_style():
        figure = Figure(figsize=(total_width, height_inches))
        for row, height in zip(rows, heights, strict=True):
            for column, (tile, tile_height, text_lines) in enumerate(row):
                x_inches = EDGE_INCHES + column * (width + GAP_INCHES)
                bottom = top - tile_height
                axes = figure.add_axes(
                    (
                        x_inches / total_width,
                        bottom / height_inches,
                        width / total_width,
                        tile_height / height_inches,
                    )
                )
                axes.imshow(tile.pixels, interpolation="nearest", aspect="auto")
                axes.set_axis_off()
                for colour, points in (("black", 2.2), ("white", 1.1)):  # visible on any picture
                    if tile.box:
                        frame = Rectangle(tile.box[:2], *tile.box[2:], fill=False)
                        frame.set(edgecolor=colour, linewidth=points)
                        axes.add_patch(frame)
                for line, (text, bold) in enumerate(text_lines):
                    line_top = bottom - PAD_INCHES - LINE_INCHES * line
                    figure.text(
                        x_inches / total_width, line_top / height_inches, text, va="top",
                        fontsize=TEXT_POINTS,
                        color="#000000" if bold else GREY, weight="bold" if bold else "normal",
                    )  # fmt: skip
            top -= height + text_inches
    recorded_tiles = [tile for tile in tiles if tile.record]
    quantities = dict.fromkeys(quantity for tile in tiles for quantity in tile.values)
    table_columns = [Column("picture", "heading")]
    table_columns += [
        Column(q.label, partial(_tile_value, q), f".{q.decimals}f") for q in quantities
    ]
    if any(tile.remark for tile in recorded_tiles):
        table_columns.insert(2, Column("rate deviation", "remark", str))
    table = Table.create(table_columns, recorded_tiles, notes) if recorded_tiles else None
    keys = dict.fromkeys(key for tile in recorded_tiles for key in tile.record)
    records = [{key: tile.record.get(key) for key in keys} for tile in recorded_tiles]
    return DrawnFigure(figure, caption, records, table)


def colour_map(values: ErrorMap, scale: MapScale, end: float) -> Pixels:
    """Return a map in colours from 0 to `end`, in the unit of the legend; NaN is grey."""
    from matplotlib import colormaps

    colours = colormaps[COLOURS].with_extremes(bad="#808080")
    return np.asarray(colours(legend_value(values, scale) / end, bytes=True))[..., :3]


def stack_map(pixels: Pixels, map_pixels: Pixels) -> Pixels:
    """Return a crop above its map."""
    gap = np.full((GAP_PX, *pixels.shape[1:]), 255, np.uint8)
    return np.concatenate([pixels, gap, map_pixels])


def add_bar(figure: "Figure", scale: MapScale, end: float) -> None:
    """Enlarge a figure at the bottom, and draw the scale's colour bar there."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure_height = figure.get_figheight()
    height = figure_height + BAR_INCHES

    def raise_position(position: float) -> float:
        return (position * figure_height + BAR_INCHES) / height

    for axes in figure.axes:
        box = axes.get_position()
        axes.set_position(
            (box.x0, raise_position(box.y0), box.width, box.height * figure_height / height)
        )
    for text in figure.texts:
        text.set_y(raise_position(text.get_position()[1]))
    figure.set_figheight(height)
    left, width, bottom, bar_height = BAR
    with figure_style():
        axes = figure.add_axes((left, (bottom - bar_height) / height, width, bar_height / height))
        colours = ScalarMappable(Normalize(0, end), COLOURS)
        bar = figure.colorbar(colours, axes, orientation="horizontal", extend="max")
        bar.set_label(scale.label, fontsize=TEXT_POINTS, labelpad=1)
        bar.set_ticks([0, end / 2, end])
        bar.ax.tick_params(labelsize=TEXT_POINTS, pad=1.5, length=2)


def _tile_value(quantity: Quantity, tile: PictureTile) -> float | None:
    return tile.values.get(quantity)


def _tile_lines(tile: PictureTile, inches: float) -> list[tuple[str, bool]]:
    """Return the lines of text below a picture, each with a flag for bold type."""
    values = {quantity: value for quantity, value in tile.values.items() if value is not None}
    remark = f" ({tile.remark})" if tile.remark else ""
    leading_texts = [f"{values[SIZE]:.1f} kB"] if SIZE in values else []
    leading_texts += [f"{values[RATE]:.3f} bpp{remark}"] if RATE in values else []
    other_texts = [
        f"{quantity.name} {value:.{min(quantity.decimals, MAX_DECIMALS)}f}"
        f"{f'{NO_BREAK}{quantity.unit}' if quantity.unit else ''}"
        for quantity, value in values.items()
        if quantity not in (SIZE, RATE)
    ]
    # A name and its number stay on one line, if they fit.
    unbroken_texts = [
        text if "\n" in wrap_text(f"{text},", inches) else text.replace(" ", NO_BREAK)
        for text in (*leading_texts, *other_texts)
    ]
    value_lines = wrap_text(", ".join(unbroken_texts), inches).replace(NO_BREAK, " ").splitlines()
    lines = [(line, True) for line in wrap_text(tile.heading, inches / BOLD_WIDTH).splitlines()]
    return lines + [(line, False) for line in value_lines]
