"""Labels beside points and at the ends of curves, placed where they hide nothing or not at all."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmark.codec import Float64Array, Int64Array
from benchmark.figures.layout.wrapping import drawable, text_inches
from benchmark.figures.style import SMALL_POINTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

DISTANCES = (4.5, 8.0, 12.0, 17.0, 23.0)  # points from the labelled place, the nearest first
DIRECTIONS = 16  # that are tried at each distance
LEADER_FROM = 12.0  # points; from there on a thin line leads to the label
LEADER_STEPS = np.linspace(0.25, 1, 8)[:, None]
BETWEEN = 12  # places of a line's segment that count as covered
PAD_PIXELS = 2.0
CROSSING_PIXELS = 2.5  # nearer to a curve, a leader touches it
MARKER_PIXELS = 4.0  # nearer to each other, markers hide each other
NO_LINE = -1
Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels


class Label(NamedTuple):
    """A text for one of several places, in data coordinates; the first place is tried first."""

    text: str
    places: Sequence[tuple[float, float]]
    colour: str
    line: "Line2D | None" = None  # that it names: it stands no nearer to another one


class Covered(NamedTuple):
    """Places in pixels, shape (places, 2), and the number of the line that each belongs to."""

    at: Float64Array
    line: Int64Array
    edges: Float64Array  # around markers, which are wider than the places at their middle


class Candidate(NamedTuple):
    """A way to place a label."""

    cost: float
    box: Box
    at: tuple[float, float]
    offset: tuple[float, float]


def place_labels(
    axes: "Axes", labels: Sequence[Label], most_covered: int | None = None
) -> list[int]:
    """Annotate the axes, whose place and limits must be final; return the numbers of what fits.

    A label fits where it touches no other label, stays inside the axes, and hides at most
    `most_covered` sampled places of curves and markers (None: any number, as few as can be), the
    crossings of its leader included. Earlier labels choose first.
    """
    covered = _covered(axes)
    lines = list(axes.get_lines())
    taken: list[Box] = []
    placed = []
    for number, label in enumerate(labels):
        own = lines.index(label.line) if label.line else NO_LINE
        best = _best(label, own, axes, covered, taken)
        if best is None or (most_covered is not None and best.cost >= most_covered + 1):
            continue
        _annotate(axes, label, best)
        taken.append(_padded(best.box, PAD_PIXELS))
        if _has_leader(best.offset):
            leader = _leader(axes.transData.transform(best.at), best.box)
            owner = np.full(len(leader), own)
            covered = covered._replace(
                at=np.concatenate([covered.at, leader]), line=np.concatenate([covered.line, owner])
            )
        placed.append(number)
    return placed


def _best(
    label: Label, own: int, axes: "Axes", covered: Covered, taken: Sequence[Box]
) -> Candidate | None:
    """Return the cheapest way to place a label, near ones before far ones; None without any."""
    figure: Figure = axes.figure  # type: ignore[assignment]
    width, height = (figure.dpi * inches for inches in text_inches(label.text))
    best: Candidate | None = None
    for distance in DISTANCES:
        if best is not None and best.cost < 1:
            break
        for at in label.places:
            here = axes.transData.transform(at)
            for offset in _offsets(distance):
                box = _box(here, offset, figure.dpi / 72, width, height)
                if _outside(box, axes) or any(_meet(box, other) for other in taken):
                    continue
                cost = distance / 100 + float(
                    np.count_nonzero(_inside(covered.at, _padded(box, PAD_PIXELS)))
                    + np.count_nonzero(_inside(covered.edges, box))
                )
                if best is not None and cost >= best.cost:
                    continue
                cost += _confusion(here, box, own, covered, taken, _has_leader(offset))
                if cost < (best.cost if best else np.inf):
                    best = Candidate(cost, box, at, offset)
    return best


def _confusion(
    here: Float64Array,
    box: Box,
    own: int,
    covered: Covered,
    taken: Sequence[Box],
    has_leader: bool,
) -> float:
    """Return what it costs that a label could be taken for another line's; infinite where it hides.

    With a leader, that is the number of places of other lines that it crosses; without one, other
    lines must not come nearer to the text than the place that it is for.
    """
    others = covered.at[covered.line != own]
    if not has_leader:
        if own == NO_LINE:
            return 0.0
        gap = float(np.hypot(*(np.clip(here, box[:2], box[2:]) - here)))
        return float(np.count_nonzero(_inside(others, _padded(box, gap))))
    leader = _leader(here, box)
    if any(_inside(leader, other).any() for other in taken):
        return np.inf
    if own != NO_LINE and (np.hypot(*(others - here).T) < MARKER_PIXELS).any():
        return np.inf  # the leader would begin at both
    apart = np.hypot(*(leader[:, None] - others[None]).transpose(2, 0, 1))
    return float(np.count_nonzero(apart.min(axis=1, initial=np.inf) < CROSSING_PIXELS))


def _has_leader(offset: tuple[float, float]) -> bool:
    return bool(np.hypot(*offset) >= LEADER_FROM)


def _offsets(distance: float) -> list[tuple[float, float]]:
    """Return offsets in points, those to the right and left before those that lie askew."""
    angles = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    angles = angles[np.argsort(np.abs(np.sin(angles)), kind="stable")]
    return [(float(distance * np.cos(a)), float(distance * np.sin(a))) for a in angles]


def _aligned(offset: tuple[float, float]) -> tuple[str, str]:
    """Return which side of a text lies nearest to the place that it stands beside."""
    right, up = np.array(offset) / np.hypot(*offset)
    horizontal = "left" if right > 0.3 else "right" if right < -0.3 else "center"
    return horizontal, "bottom" if up > 0.3 else "top" if up < -0.3 else "center"


def _box(
    here: Float64Array, offset: tuple[float, float], scale: float, width: float, height: float
) -> Box:
    shares = {"left": 0.0, "bottom": 0.0, "center": 0.5, "right": 1.0, "top": 1.0}
    horizontal, vertical = _aligned(offset)
    left = here[0] + scale * offset[0] - shares[horizontal] * width
    low = here[1] + scale * offset[1] - shares[vertical] * height
    return left, low, left + width, low + height


def _padded(box: Box, pixels: float) -> Box:
    return box[0] - pixels, box[1] - pixels, box[2] + pixels, box[3] + pixels


def _leader(here: Float64Array, box: Box) -> Float64Array:
    """Return pixels of shape (points, 2) from a place to the nearest point of a box."""
    nearest = np.clip(here, box[:2], box[2:])
    return here + LEADER_STEPS * (nearest - here)


def _outside(box: Box, axes: "Axes") -> bool:
    wide, room = _padded(box, PAD_PIXELS), axes.bbox
    return bool(wide[0] < room.x0 or wide[2] > room.x1 or wide[1] < room.y0 or wide[3] > room.y1)


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(places: Float64Array, box: Box) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    x, y = places[:, 0], places[:, 1]
    inside = (x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])
    return np.asarray(inside, np.bool_)


def _annotate(axes: "Axes", label: Label, chosen: Candidate) -> None:
    horizontal, vertical = _aligned(chosen.offset)
    leader = {
        "arrowstyle": "-", "linewidth": 0.5, "color": label.colour, "shrinkA": 0, "shrinkB": 2,
    }  # fmt: skip
    axes.annotate(
        drawable(label.text), chosen.at, xytext=chosen.offset, textcoords="offset points",
        fontsize=SMALL_POINTS, ha=horizontal, va=vertical, color=label.colour, zorder=5,
        arrowprops=leader if _has_leader(chosen.offset) else None,
    ).set_in_layout(False)  # fmt: skip


def _covered(axes: "Axes") -> Covered:
    """Return places at markers, counted several times, along lines and along bars."""
    found, owners, edges = [np.empty((0, 2))], [np.empty(0, np.int64)], [np.empty((0, 2))]
    angles = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    for number, line in enumerate(axes.get_lines()):
        places = line.get_transform().transform(np.column_stack(line.get_data()).astype(float))
        share = np.linspace(0, 1, BETWEEN, endpoint=False)[1:, None]
        mine = [places] * 3
        if line.get_marker() not in ("", "None", "none", None):
            radius = axes.figure.dpi / 72 * line.get_markersize() / 2
            edges.append((places[:, None] + radius * circle).reshape(-1, 2))
        if line.get_linestyle() not in ("", "None", "none"):
            mine += [start + share * (end - start) for start, end in pairwise(places)]
        found += mine
        owners += [np.full(len(one), number) for one in mine]
    for bars in axes.collections:
        for path in bars.get_paths():
            ends = bars.get_transform().transform(path.vertices)
            found.append(ends)
            owners.append(np.full(len(ends), NO_LINE))
    return Covered(np.concatenate(found), np.concatenate(owners), np.concatenate(edges))
