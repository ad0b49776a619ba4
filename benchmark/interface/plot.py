"""Rate curves of a data frame on matplotlib axes."""

from typing import TYPE_CHECKING

import pandas as pd

from benchmark.analysis.rate_distortion import Measure, curves
from benchmark.errors import UsageError
from benchmark.figures.style import line, looks
from benchmark.interface.tables import summarised
from benchmark.registry import metric_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(
    frame: pd.DataFrame,
    metric: str = "psnr",
    *,
    ax: "Axes | None" = None,
    common: bool = False,
    allow_few: bool = False,
) -> "Axes":
    """Draw a metric against bits per pixel, one curve per codec variant, in the report's style.

    Points that are not over the same images as the others are left out, as in `bench report`.

    Parameters
    ----------
    frame : DataFrame
        Rows of one dataset, from `load`.
    metric : str
        Name of a metric.
    ax : matplotlib Axes, optional
        Axes to draw on; by default those of a new pyplot figure.
    common, allow_few : bool
        As in `summary`.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    UsageError
        If no point of the metric can be drawn.
    """
    import matplotlib.pyplot as plt

    (name,) = metric_names([metric])
    measure = Measure.named(name)
    found = summarised(frame, (name,), common, "per_image", allow_few)
    drawn = curves(found, measure)
    if not drawn:
        raise UsageError(f"no point of {name} can be drawn: `summary` counts its values")
    axes = ax if ax is not None else plt.subplots()[1]
    styles = looks(found.labels)
    for label, points in drawn.items():
        means = [point.means[measure.column] for point in points]
        places = [(m.bpp, measure.drawn(m.value)) for m in means if m.bpp and m.value is not None]
        caveat = bool(points[0].edition.caveats)
        axes.plot(*zip(*places, strict=True), label=label, **line(styles[label], caveat))
    axes.set_xscale("log")
    axes.set_xlabel("rate (bpp)")
    axes.set_ylabel(measure.axis_label)
    axes.legend()
    return axes
