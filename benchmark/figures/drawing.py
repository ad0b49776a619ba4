"""A figure with what stands beside it on disk, and the axes that all figures share."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.figures.layout.wrapping import drawable
from benchmark.figures.style import GREY, SMALL_POINTS
from benchmark.figures.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

RATE_LABEL = "Rate (bit per pixel)"


class Drawing(NamedTuple):
    """A figure, its caption and, for figures of the paper, its numbers."""

    figure: "Figure"
    caption: str
    records: Sequence[Mapping[str, Any]] = ()  # everything that is drawn, one flat record a mark
    table: Table | None = None


def frame(axes: "Axes") -> None:
    """Put the grid behind what is drawn, and remove the upper and right spines."""
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def title(axes: "Axes", text: str) -> None:
    """Write what is shown, small, above the left edge of the axes."""
    axes.set_title(drawable(text), loc="left", fontsize=SMALL_POINTS, color=GREY, pad=3)


def plain_ticks(axis: "Axis", wide: bool = True) -> None:
    """Write numbers, not powers of ten, on a logarithmic axis.

    wide: ticks at 1, 2 and 5, of which a range of less than a factor of 5 would show one or none.
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)) if wide else MaxNLocator(5))
    plain_numbers(axis)


def plain_numbers(axis: "Axis") -> None:
    """Write the numbers of major ticks as they are, and none at minor ticks."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
