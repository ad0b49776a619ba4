"""Labels beside points, each placed where it covers least."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmark.system.arrays import Float64Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

# Offsets in points and the alignment that goes with each, the best first.
PLACES = (
    (0, 4.5, "center", "bottom"), (0, -4.5, "center", "top"), (-5, 0, "right", "center"),
    (5, 0, "left", "center"), (-3.5, 3.5, "right", "bottom"), (3.5, 3.5, "left", "bottom"),
    (-3.5, -3.5, "right", "top"), (3.5, -3.5, "left", "top"), (-10, 8, "right", "bottom"),
    (10, 8, "left", "bottom"), (-10, -8, "right", "top"), (10, -8, "left", "top"),
)  # fmt: skip
BETWEEN = 12  # places of a line's segment that count as covered
LABEL_COST, OUTSIDE_COST = 40.0, 60.0  # in covered points
PAD_PIXELS = 1.0


class Label(NamedTuple):
    """A text at a point, in data coordinates of the axes."""

    text: str
    x: float
    y: float
    colour: str


def place_labels(axes: "Axes", labels: Sequence[Label], points: float = 5.6) -> None:
    """Annotate the axes, whose layout and limits must be final; earlier labels choose first.

    points: size of the type.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]
    covered = _covered(axes)
    taken: list[Bbox] = []
    for label in labels:
        best: tuple[float, Annotation, Bbox] | None = None
        for rank, place in enumerate(PLACES):
            note = _annotate(axes, label, place, points)
            box = note.get_window_extent().padded(PAD_PIXELS)
            cost = 0.1 * rank + _cost(box, covered, taken, axes.get_window_extent())
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = cost, note, box
            else:
                note.remove()
        if best is not None:
            taken.append(best[2])


def _annotate(
    axes: "Axes", label: Label, place: tuple[float, float, str, str], points: float
) -> "Annotation":
    right, up, horizontal, vertical = place
    return axes.annotate(
        label.text, (label.x, label.y), xytext=(right, up), textcoords="offset points",
        fontsize=points, ha=horizontal, va=vertical, color=label.colour, zorder=5,
    )  # fmt: skip


def _covered(axes: "Axes") -> Float64Array:
    """Return pixels of shape (points, 2) at markers, counted several times, and along lines."""
    found = [np.empty((0, 2))]
    for line in axes.get_lines():
        places = line.get_transform().transform(np.column_stack(line.get_data()).astype(float))
        found += [places] * 3
        share = np.linspace(0, 1, BETWEEN, endpoint=False)[1:, None]
        if line.get_linestyle() not in ("", "None", "none"):
            for start, end in pairwise(places):
                found.append(start + share * (end - start))
    return np.concatenate(found)


def _cost(box: "Bbox", covered: Float64Array, taken: Sequence["Bbox"], axes_box: "Bbox") -> float:
    grown = box.padded(2.5 * PAD_PIXELS)
    inside = (
        (covered[:, 0] > grown.x0) & (covered[:, 0] < grown.x1)
        & (covered[:, 1] > grown.y0) & (covered[:, 1] < grown.y1)
    )  # fmt: skip
    outside = (
        box.x0 < axes_box.x0 or box.x1 > axes_box.x1 or box.y0 < axes_box.y0 or box.y1 > axes_box.y1
    )
    overlaps = sum(bool(box.overlaps(other)) for other in taken)
    cost = np.count_nonzero(inside) + LABEL_COST * overlaps + OUTSIDE_COST * outside
    return float(cost)
