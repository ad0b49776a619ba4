"""Surface of rate, distortion and realism that one codec spans, and its lines of equal rate.

After Blau and Michaeli, "Rethinking Lossy Compression: The Rate-Distortion-Perception Tradeoff"
(ICML 2019), whose surface is the least rate at each distortion and perceptual quality; this one is
what one network does.
"""

from typing import TYPE_CHECKING, Any

from benchmark.analysis.grid import RealismGrid, records
from benchmark.figures.captions import FEW, axis_words
from benchmark.figures.drawing import RATE_LABEL, Drawing, frame, title
from benchmark.figures.labels import Label, place_labels
from benchmark.figures.style import (
    COLOUR_MAP,
    DOUBLE_COLUMN_INCHES,
    LABEL_GREY,
    LINE_GREY,
    figure_style,
)
from benchmark.figures.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_INCHES = 2.9
MOST_LABELS = 5  # of rates
VIEW = {"elev": 24, "azim": -128}


def draw_surface(found: RealismGrid, dataset: str) -> Drawing:
    """Draw the surface on the left and the same from above on the right, a line for each rate."""
    import matplotlib as mpl
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    colours = mpl.colormaps[COLOUR_MAP]
    scale = Normalize(min(found.betas), max(found.betas))
    with figure_style():
        figure = Figure(figsize=(DOUBLE_COLUMN_INCHES, HEIGHT_INCHES))
        solid: Any = figure.add_axes((0.0, 0.0, 0.53, 1.04), projection="3d")
        flat = figure.add_axes((0.575, 0.15, 0.315, 0.73))
        bar = figure.add_axes((0.915, 0.15, 0.014, 0.73))
        _draw_solid(solid, found, colours, scale)
        _draw_flat(flat, found, colours, scale)
        figure.colorbar(mpl.cm.ScalarMappable(scale, colours), cax=bar, label="β")
        title(flat, "\n".join([f"{dataset}, {found.images} images", *found.caveats]))
        place_labels(flat, _rates(found))
    return Drawing(figure, _caption(found, dataset), records(found), _table(found))


def _draw_solid(axes: Any, found: RealismGrid, colours: Any, scale: Any) -> None:
    x, y, z = found.distortion_values, found.realism_values, found.bpp
    faces = colours(scale([[beta] * len(found.settings) for beta in found.betas]))
    axes.plot_surface(
        x, y, z, facecolors=faces, rcount=len(x), ccount=len(x[0]), alpha=0.55, linewidth=0,
        shade=False,
    )  # fmt: skip
    for row, beta in enumerate(found.betas):
        axes.plot(x[row], y[row], z[row], color=colours(scale(beta)), linewidth=1)
    for column in range(len(found.settings)):
        axes.plot(x[:, column], y[:, column], z[:, column], color=LINE_GREY, linewidth=0.6)
    axes.set_xlabel(found.distortion.axis_label, labelpad=-5)
    axes.set_ylabel(axis_words(found.realism, found.realism.few(found.images)), labelpad=-5)
    axes.set_zlabel(RATE_LABEL, labelpad=-4, rotation=90)
    axes.tick_params(labelsize=6, pad=-2)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
        axis.set_major_locator(_few_ticks())
    axes.view_init(**VIEW)
    axes.set_box_aspect((1.15, 1.15, 0.9), zoom=0.97)


def _draw_flat(axes: "Axes", found: RealismGrid, colours: Any, scale: Any) -> None:
    x, y = found.distortion_values, found.realism_values
    for column, setting in enumerate(found.settings):
        axes.plot(x[:, column], y[:, column], color=LINE_GREY, linewidth=0.7, label=setting)
    for row, beta in enumerate(found.betas):
        axes.scatter(x[row], y[row], s=9, color=colours(scale(beta)), zorder=3)
    axes.margins(x=0.2, y=0.1)
    axes.set_xlabel(found.distortion.axis_label)
    axes.set_ylabel(axis_words(found.realism, found.realism.few(found.images)))
    frame(axes)


def _rates(found: RealismGrid) -> list[Label]:
    """Return labels for the rates of some lines, at their least realistic points."""
    every = -(-len(found.settings) // MOST_LABELS)
    ends = found.bpp[0], found.distortion_values[0], found.realism_values[0]
    return [
        Label(f"{rate:.2g} bpp", x, y, LABEL_GREY)
        for rate, x, y in list(zip(*(end.tolist() for end in ends), strict=True))[::every]
    ]


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, prune="both")


def _caption(found: RealismGrid, dataset: str) -> str:
    betas = ", ".join(f"{beta:g}" for beta in found.betas)
    parts = [
        f"Rate, {found.distortion.label} and {found.realism.label} of CRDR over q and β "
        f"({betas}) on {dataset}: means over {found.images} images, {found.origin} "
        f"(protocols {', '.join(found.protocols)}). "
        "Right: the same points; each line is one q, the bytes hardly depend on β."
    ]
    if found.realism.few(found.images):
        parts.append(FEW)
    if not found.realism.of_sets:
        parts.append(
            f"{found.realism.label} stands in for a distance between distributions, which takes at "
            "least 50 images; it compares each picture with its source."
        )
    parts += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in found.left_out]
    return "\n".join(parts)


def _table(found: RealismGrid) -> Table:
    headers = ("β", "setting", "bpp", found.distortion.label, found.realism.label)
    rows = tuple(
        (f"{beta:g}", setting, f"{found.bpp[i, j]:.3f}", f"{found.distortion_values[i, j]:.2f}",
         f"{found.realism_values[i, j]:.4f}")
        for i, beta in enumerate(found.betas)
        for j, setting in enumerate(found.settings)
    )  # fmt: skip
    return Table(headers, rows, 2)
