"""Rate curves of a data frame on matplotlib axes."""

from typing import TYPE_CHECKING

from benchmark.errors import UsageError
from benchmark.figures.captions import panels_note
from benchmark.figures.labels import add_legend
from benchmark.figures.rate_curve import draw_panel
from benchmark.figures.style import drawn_in, figure_style, styles
from benchmark.interface.rows import Source, summarised
from benchmark.metrics.measure import Measure
from benchmark.plan.request import metric_names
from benchmark.published.curves import measured_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_INCHES = (6.875, 4.0)  # of a new figure, with the legend below the axes


def plot(
    source: Source,
    metric: str = "psnr",
    *,
    ax: "Axes | None" = None,
    common: bool = False,
    allow_few: bool = False,
    font: str = "sans",
) -> "Axes":
    """Draw a metric against bits per pixel, one curve per codec variant, in the report's style.

    Points that are not over the same images as the others are left out, as in `bench report`.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        Rows of one dataset, from `load`, or what `load` takes.
    metric : str
        Name of a metric.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new pyplot figure, with the legend below them.
    common, allow_few : bool
        As in `summary`.
    font : str
        Typeface: "sans", or "serif" for papers set in Times. Axes that are given keep their own.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    UsageError
        If no point of the metric can be drawn.
    UnknownName
        If there is no such font.
    """
    import matplotlib.pyplot as plt

    (name,) = metric_names([metric])
    measure = Measure.named(name)
    found = summarised(source, (name,), common, "per_image", allow_few)
    panel = measured_panel(found, measure)
    if not panel.curves:
        raise UsageError(f"no point of {name} can be drawn: `summary` counts its values")
    if ax is not None:
        draw_panel(ax, panel, styles(found.labels))
        for text in ax.legend(fontsize="x-small", frameon=False).get_texts():
            text.set_parse_math(False)
        return ax
    with drawn_in(font=font), figure_style():
        figure, axes = plt.subplots(figsize=SIZE_INCHES, layout="constrained")
        handles = [handle for _, handle in draw_panel(axes, panel, styles(found.labels))]
        add_legend(figure, handles, panels_note([panel]))
    return axes
