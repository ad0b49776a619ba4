"""Surface of rate, distortion and realism that one codec spans, drawn as its lines of equal rate.

After Blau and Michaeli, "Rethinking Lossy Compression: The Rate-Distortion-Perception Tradeoff"
(ICML 2019), whose surface is the least rate at each distortion and perceptual quality; this one is
what one network does.
"""

from typing import TYPE_CHECKING, Any

from benchmark.analysis.grid import RealismGrid, records
from benchmark.figures.captions import axis_words, few_sentences, origins_note
from benchmark.figures.drawing import Drawing, frame, title
from benchmark.figures.layout.labels import Label, place_labels
from benchmark.figures.layout.legend import flat_legend, lay_out, settle
from benchmark.figures.layout.wrapping import wrapped
from benchmark.figures.style import (
    COLOUR_MAP,
    LABEL_GREY,
    LINE_GREY,
    SINGLE_COLUMN_INCHES,
    Origin,
    figure_style,
    marker_fill,
)
from benchmark.figures.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_INCHES = 2.9
TITLE_INCHES = 2.1  # of its width
MOST_LABELS = 5  # of rates
DOT_POINTS = 4.0


def draw_surface(found: RealismGrid, dataset: str) -> Drawing:
    """Draw realism against distortion: a line for each rate, a colour for each beta."""
    import matplotlib as mpl
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    colours = mpl.colormaps[COLOUR_MAP]
    scale = Normalize(min(found.betas), max(found.betas))
    with figure_style():
        figure = Figure(figsize=(SINGLE_COLUMN_INCHES, HEIGHT_INCHES), layout="constrained")
        axes = figure.subplots()
        _draw_lines(axes, found, colours, scale)
        figure.colorbar(mpl.cm.ScalarMappable(scale, colours), ax=axes, label="β", aspect=30)
        said = "\n".join([f"{dataset}, {found.images} images", *found.caveats])
        title(axes, wrapped(said, TITLE_INCHES))
        lay_out(figure)
        flat_legend(figure, [], origins_note([_origin(found)], lines=False))
        place_labels(axes, _rates(found))
        settle(figure)
    return Drawing(figure, _caption(found, dataset), records(found), _table(found))


def _origin(found: RealismGrid) -> Origin:
    return "precomputed" if found.recorded else "measured"


def _draw_lines(axes: "Axes", found: RealismGrid, colours: Any, scale: Any) -> None:
    from matplotlib.colors import to_hex

    x, y = found.distortion_values, found.realism_values
    for column, setting in enumerate(found.settings):
        axes.plot(x[:, column], y[:, column], color=LINE_GREY, linewidth=0.7, label=setting)
    for row, beta in enumerate(found.betas):
        fill = marker_fill(to_hex(colours(scale(beta))), _origin(found))
        axes.plot(x[row], y[row], linestyle="", marker="o", markersize=DOT_POINTS, **fill, zorder=3)
    axes.margins(x=0.2, y=0.1)
    axes.set_xlabel(found.distortion.axis_label)
    few = found.images if found.realism.few(found.images) else 0
    axes.set_ylabel(axis_words(found.realism, few))
    frame(axes)


def _rates(found: RealismGrid) -> list[Label]:
    """Return labels for the rates of some lines, at their least realistic points."""
    every = -(-len(found.settings) // MOST_LABELS)
    ends = found.bpp[0], found.distortion_values[0], found.realism_values[0]
    return [
        Label(f"{rate:.2g} bpp", [(x, y)], LABEL_GREY)
        for rate, x, y in list(zip(*(end.tolist() for end in ends), strict=True))[::every]
    ]


def _caption(found: RealismGrid, dataset: str) -> str:
    betas = ", ".join(f"{beta:g}" for beta in found.betas)
    parts = [
        f"Rate, {found.distortion.label} and {found.realism.label} of CRDR over q and β "
        f"({betas}) on {dataset}: means over {found.images} images, {found.origin} "
        f"(protocols {', '.join(found.protocols)}). "
        "Each line is one q, the bytes hardly depend on β."
    ]
    if found.realism.few(found.images):
        parts += few_sentences([found.realism])
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
