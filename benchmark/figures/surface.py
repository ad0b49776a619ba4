"""A grid of rate, distortion and realism in; the surface it spans and its lines of one rate out.

After Blau and Michaeli, "Rethinking Lossy Compression: The Rate-Distortion-Perception Tradeoff"
(ICML 2019), whose surface is the least rate at each distortion and perceptual quality; this one is
what one network does.
"""

from typing import TYPE_CHECKING, Any

from benchmark.analysis.grid import BETWEEN_PICTURES, Grid, records
from benchmark.figures.labels import Label, place_labels
from benchmark.figures.plate import Plate, frame
from benchmark.figures.rate_curve import FEW, is_few
from benchmark.figures.style import DOUBLE_COLUMN_INCHES, paper_style, title
from benchmark.figures.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_INCHES = 2.9
MOST_LABELS = 5  # of rates
COLOURS = "cividis"  # told apart by colour-blind readers
VIEW = {"elev": 24, "azim": -128}


def draw_surface(found: Grid, dataset: str) -> Plate:
    """The surface on the left; on the right the same seen from above, a line a rate."""
    import matplotlib as mpl
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    colours = mpl.colormaps[COLOURS]
    scale = Normalize(min(found.betas), max(found.betas))
    with paper_style():
        figure = Figure(figsize=(DOUBLE_COLUMN_INCHES, HEIGHT_INCHES))
        solid: Any = figure.add_axes((0.0, 0.0, 0.53, 1.04), projection="3d")
        flat = figure.add_axes((0.575, 0.15, 0.33, 0.73))
        bar = figure.add_axes((0.93, 0.15, 0.014, 0.73))
        _draw_solid(solid, found, colours, scale)
        _draw_flat(flat, found, colours, scale)
        figure.colorbar(mpl.cm.ScalarMappable(scale, colours), cax=bar, label="β")
        title(flat, "\n".join([f"{dataset}, {found.images} images", *found.caveats]))
        place_labels(flat, _rates(found))
    return Plate(figure, _caption(found, dataset), records(found), _table(found))


def _draw_solid(axes: Any, found: Grid, colours: Any, scale: Any) -> None:
    x, y, z = found.distortion_values, found.realism_values, found.bpp
    faces = colours(scale([[beta] * len(found.settings) for beta in found.betas]))
    axes.plot_surface(
        x, y, z, facecolors=faces, rcount=len(x), ccount=len(x[0]), alpha=0.55, linewidth=0,
        shade=False,
    )  # fmt: skip
    for row, beta in enumerate(found.betas):
        axes.plot(x[row], y[row], z[row], color=colours(scale(beta)), linewidth=1)
    for column in range(len(found.settings)):
        axes.plot(x[:, column], y[:, column], z[:, column], color="#777777", linewidth=0.6)
    axes.set_xlabel(found.distortion.axis_label, labelpad=-5)
    axes.set_ylabel(_realism(found), labelpad=-5)
    axes.set_zlabel("Rate (bit per pixel)", labelpad=-4, rotation=90)
    axes.tick_params(labelsize=6, pad=-2)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color((1, 1, 1, 0))
        axis.set_major_locator(_few_ticks())
    axes.view_init(**VIEW)
    axes.set_box_aspect((1.15, 1.15, 0.9), zoom=0.97)


def _draw_flat(axes: "Axes", found: Grid, colours: Any, scale: Any) -> None:
    x, y = found.distortion_values, found.realism_values
    for column, setting in enumerate(found.settings):
        axes.plot(x[:, column], y[:, column], color="#777777", linewidth=0.7, label=setting)
    for row, beta in enumerate(found.betas):
        axes.scatter(x[row], y[row], s=9, color=colours(scale(beta)), zorder=3)
    axes.margins(x=0.2, y=0.1)
    axes.set_xlabel(found.distortion.axis_label)
    axes.set_ylabel(_realism(found))
    frame(axes)


def _realism(found: Grid) -> str:
    few = ", few" * is_few(found.realism, found.images)
    return found.realism.axis_label + few + " ↓" * (found.realism.better == "lower")


def _rates(found: Grid) -> list[Label]:
    """The rates of some lines, at their least realistic points."""
    every = -(-len(found.settings) // MOST_LABELS)
    ends = found.bpp[0], found.distortion_values[0], found.realism_values[0]
    return [
        Label(f"{rate:.2g} bpp", x, y, "#333333")
        for rate, x, y in list(zip(*(end.tolist() for end in ends), strict=True))[::every]
    ]


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4, prune="both")


def _caption(found: Grid, dataset: str) -> str:
    betas = ", ".join(f"{beta:g}" for beta in found.betas)
    parts = [
        f"Rate, {found.distortion.label} and {found.realism.label} of CRDR over q and β "
        f"({betas}) on {dataset}: means over {found.images} images, measured here with "
        f"{', '.join([found.version, *found.caveats])} (protocols {', '.join(found.protocols)}). "
        "Right: the same points; each line is one q, the bytes hardly depend on β."
    ]
    if is_few(found.realism, found.images):
        parts.append(FEW)
    if found.realism.column in BETWEEN_PICTURES:
        parts.append(
            f"{found.realism.label} stands in for a distance between distributions, which takes at "
            "least 50 images; it compares each picture with its source."
        )
    return "\n".join(parts)


def _table(found: Grid) -> Table:
    headers = ("β", "setting", "bpp", found.distortion.label, found.realism.label)
    rows = tuple(
        (f"{beta:g}", setting, f"{found.bpp[i, j]:.3f}", f"{found.distortion_values[i, j]:.2f}",
         f"{found.realism_values[i, j]:.4f}")
        for i, beta in enumerate(found.betas)
        for j, setting in enumerate(found.settings)
    )  # fmt: skip
    return Table(headers, rows, 2)
