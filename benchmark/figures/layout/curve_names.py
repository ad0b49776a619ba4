"""Names at the ends of curves, and lines of a legend for curves that have no name there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmark.figures.contrast import readable
from benchmark.figures.layout.labels import Label, place_labels
from benchmark.figures.style import Role
from benchmark.published.curves import SystemCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MOST_COVERED = 0  # places of curves that a name may hide


def name_curves(
    every_axes: "Iterable[Axes]",
    drawn: "Sequence[Sequence[tuple[SystemCurve, Line2D]]]",
    roles: Mapping[str, Role],
    named: Callable[[SystemCurve], str],
) -> "list[tuple[SystemCurve, Line2D]]":
    """Write names at the ends of curves where they fit, each in one panel; return the others.

    `roles` go by the curves' names. Curves of the context choose first, as they have no colour to
    be found by in a legend.
    """
    waiting = {curve.name: (curve, handle) for one in drawn for curve, handle in reversed(one)}
    for axes, lines in zip(every_axes, drawn, strict=True):
        mine = [one for one in lines if one[0].name in waiting]
        mine.sort(key=lambda one: roles[one[0].name] != "context")
        labels = [
            Label(
                named(curve),
                _ends_inside(axes, handle),
                readable(str(handle.get_color())),
                handle,
            )
            for curve, handle in mine
        ]
        for number in place_labels(axes, labels, MOST_COVERED):
            del waiting[mine[number][0].name]
    return list(waiting.values())


def _ends_inside(axes: "Axes", line: "Line2D") -> list[tuple[float, float]]:
    """Return the last and the first point of a curve that the axes show."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    x, y = (np.asarray(one, float).tolist() for one in line.get_data())
    seen = [(a, b) for a, b in zip(x, y, strict=True) if left <= a <= right and low <= b <= high]
    return [seen[-1], seen[0]] if seen else []


def in_legend(line: "Line2D", label: str) -> "Line2D":
    """Return a line of a legend that looks as a curve does."""
    from matplotlib.lines import Line2D

    found = Line2D([], [])
    found.update_from(line)
    found.set_label(label)
    return found
