"""Rate curves of a data frame on matplotlib axes."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from benchmark.api.rows import Source, load, shown, summarised
from benchmark.compare.anchor import anchor_among
from benchmark.compare.panel import measured_panel
from benchmark.errors import UsageError
from benchmark.metrics.measure import Measure, remedies
from benchmark.option import arguments
from benchmark.rows.schema import metric_names
from benchmark.rows.stored import named_images
from benchmark.show.figures.choice import choose
from benchmark.show.figures.rate_curve import draw_panel
from benchmark.show.figures.style import WIDTHS, Look, drawn_as, figure_style, styles
from benchmark.show.figures.texts import add_legend
from benchmark.show.phrases import panels_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT_INCHES = 4.0  # of a new figure, with the legend below the axes


@arguments(Look)
def plot(
    source: Source,
    metric: str = "psnr",
    *,
    ax: "Axes | None" = None,
    codecs: str = "all",
    bundled: str = "",
    anchor: str = "",
    common: bool = False,
    allow_few: bool = False,
    **options: Any,
) -> "Axes":
    """Draw a metric against bits per pixel, one curve per codec variant, in the report's style.

    At most eight curves are plotted. Points that are not over the same images as the others are
    left out, as in `bench report`. Raises `UsageError` if no point of the metric can be plotted, or
    an option has a value that it cannot take.

    Parameters
    ----------
    source : DataFrame, path or Outcome
        Rows of one dataset, from `load`, or what `load` takes.
    metric : str
        Name of a metric.
    ax : matplotlib Axes, optional
        Axes to draw on, which keep their fonts; by default those of a new pyplot figure, with the
        legend below them.
    codecs, bundled, anchor : str
        Of a folder, which codecs to draw, as in `load`.
    common, allow_few : bool
        As in `summary`.
    {parameters}
    """
    import matplotlib.pyplot as plt

    look = Look.of(**options)
    (name,) = metric_names([metric])
    measure = Measure.named(name)
    rows = shown(source, codecs=codecs, bundled=bundled, anchor=anchor)
    frame = rows if isinstance(rows, pd.DataFrame) else load(rows)
    if look.images:
        frame = frame[frame["image"].isin(named_images(sorted(set(frame["image"])), look.images))]
    result = summarised(frame, (name,), common, "per_image", allow_few)
    with drawn_as(look):
        look.check(result.labels)
        panel = measured_panel(result, measure)
        known = str(frame.attrs.get("anchor") or anchor_among(result).label)
        panels = choose([panel], known).of([panel])
        if not panels:
            why = remedies([name], result.why_without(measure.column))
            raise UsageError(f"no point of {measure.label} can be drawn: {why}")
        styled = styles(result.labels)
        if ax is not None:
            draw_panel(ax, panels[0], styled, look.linear_rate)
            for text in ax.legend(fontsize="x-small", frameon=False).get_texts():
                text.set_parse_math(False)
            return ax
        with figure_style():
            size = WIDTHS[look.width or "page"], HEIGHT_INCHES
            figure, axes = plt.subplots(figsize=size, layout="constrained")
            lines = draw_panel(axes, panels[0], styled, look.linear_rate)
            add_legend(figure, [handle for _, handle in lines], panels_note(panels))
    return axes
