"""A stranger's curve beside a reference, and what the likeliest rule predicts of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.metrics.measure import Measure
from benchmark.show.figures import texts
from benchmark.show.figures.style import Style, figure_style, line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REFERENCE, MINE, PREDICTED = Style("#332288", "X"), Style("#d55e00", "*"), Style("#117733", "o")


class PlacedCurve(NamedTuple):
    """Points in the order of their rates, under the name of a legend."""

    name: str
    bpp: Sequence[float]
    decibels: Sequence[float]  # NaN: no value


def draw_explained(
    measure: Measure, reference: PlacedCurve, mine: PlacedCurve, predicted: PlacedCurve | None
) -> "Figure":
    """Draw both curves, and the prediction as open markers, against bits per pixel."""
    import seaborn as sns

    with figure_style():
        figure, (axes,), _ = texts.panel_figure(1)
        curves = ((reference, REFERENCE), (mine, MINE), (predicted, PREDICTED))
        handles = [
            axes.plot(
                curve.bpp,
                curve.decibels,
                label=texts.wrapped(curve.name, 2.6),
                **line(style, published=style is PREDICTED),
            )[0]
            for curve, style in curves
            if curve is not None
        ]
        axes.set_xlabel(texts.RATE_LABEL)
        axes.set_xlim(left=0)
        axes.set_ylabel(texts.axis_words(measure))
        sns.despine(ax=axes)
        texts.add_legend(figure, handles)
    return figure
