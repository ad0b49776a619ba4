"""The texts of a figure as the renderer will draw them: who leaves the canvas, who meets whom."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmark.show.figures.style import figure_style

SLACK_PIXELS = 1.0  # a text's box is a little larger than its letters


def shown_texts(figure: Figure) -> list[Text]:
    """Return the texts that are drawn; tick labels only of ticks that the axes show."""
    figure.draw_without_rendering()
    texts: list[Any] = figure.findobj(Text)
    ticks = {label for axis in figure.findobj(Axis) for label, _ in _tick_labels(axis)}
    result = [text for text in texts if text not in ticks]
    result += [
        label for axis in figure.findobj(Axis) for label, inside in _tick_labels(axis) if inside
    ]
    return [text for text in result if text.get_visible() and text.get_text().strip()]


def crowding(figure: Figure) -> list[str]:
    """Return a sentence for each text that leaves the canvas and for each two that overlap."""
    with figure_style():  # as files are written: ticks that are added take their type from it
        texts = shown_texts(figure)
        boxes = [Text.get_window_extent(text).padded(-SLACK_PIXELS) for text in texts]
    canvas = figure.bbox
    outside = [
        f"{text.get_text()!r} leaves the canvas"
        for text, box in zip(texts, boxes, strict=True)
        if min(box.x0, box.y0, canvas.x1 - box.x1, canvas.y1 - box.y1) < -SLACK_PIXELS
    ]
    return outside + [
        f"{label.get_text()!r} overlaps {neighbour.get_text()!r}"
        for (label, first), (neighbour, second) in combinations(zip(texts, boxes, strict=True), 2)
        if first.overlaps(second)
    ]


def words_in(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


def _tick_labels(axis: Axis) -> Iterator[tuple[Text, bool]]:
    low, high = sorted(axis.get_view_interval())
    hidden = not axis.get_visible() or not axis.axes.axison
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        inside = low <= tick.get_loc() <= high and not hidden
        yield tick.label1, inside and tick.label1.get_visible()
        yield tick.label2, inside and tick.label2.get_visible()
