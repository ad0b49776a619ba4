"""Maps of where decoded images are worse, in colours of one scale, and the bar of that scale."""

from typing import TYPE_CHECKING

import numpy as np

from benchmark.codec import Pixels
from benchmark.metrics.maps import shown
from benchmark.metrics.metric import ErrorMap, MapScale
from benchmark.show.figures.style import SMALL_POINTS, figure_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = "inferno"  # black is no error; where.js has the same
GAP_PX = 4  # between a crop and its map
BAR_INCHES = 0.46  # below a row of maps, with its numbers and its label
BAR = 0.3, 0.4, 0.46, 0.08  # left and width, of the figure; above its edge and height, in inches


def coloured(values: ErrorMap, scale: MapScale, end: float) -> Pixels:
    """Return a map in colours from 0 to `end`, in the legend's unit; NaN is grey."""
    from matplotlib import colormaps

    colours = colormaps[COLOURS].with_extremes(bad="#808080")
    return np.asarray(colours(shown(values, scale) / end, bytes=True))[..., :3]


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
