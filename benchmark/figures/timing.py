"""Encode and decode seconds per megapixel of rows that were timed alone."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.analysis.rate_distortion import curves, excluded
from benchmark.analysis.summarise import TIMED, Point, Summary
from benchmark.analysis.systems import short_names
from benchmark.figures.drawing import Drawing, frame, plain_numbers, title
from benchmark.figures.layout.legend import flat_legend, settle
from benchmark.figures.layout.wrapping import drawable, text_inches, wrapped
from benchmark.figures.style import (
    DOUBLE_COLUMN_INCHES,
    REPORT,
    SINGLE_COLUMN_INCHES,
    Style,
    figure_style,
    line,
)
from benchmark.metrics.measure import Measure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW_INCHES, EDGE_INCHES = 0.16, 0.7
LEAST_PANEL_INCHES = 0.75
NAME_SHARE = 0.45  # of the figure's width; longer names are broken into lines
MEASURES = tuple(Measure(column, column, "lower") for column in TIMED)


def draw_timing(summary: Summary, styles: Mapping[str, Style], dataset: str) -> Drawing | None:
    """Draw one row for each codec, one mark for each setting; None where no row was timed.

    Codecs whose seconds contain different things (a program's start, say) bear a letter, explained
    under the figure.
    """
    timed = [curves(summary, measure) for measure in MEASURES]
    labels = [label for label in summary.labels if any(label in found for found in timed)]
    if not labels:
        return None
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    marks, notes = _notes(summary, labels)
    short = short_names(summary.labels)
    with figure_style():
        figure = Figure(layout="constrained")
        names = {label: short[label] + marks[label] for label in labels}
        longest = max(text_inches(name)[0] for name in names.values())
        wide = longest + 2 * LEAST_PANEL_INCHES + 0.3 > SINGLE_COLUMN_INCHES
        width = DOUBLE_COLUMN_INCHES if wide else SINGLE_COLUMN_INCHES
        names = {label: wrapped(name, NAME_SHARE * width) for label, name in names.items()}
        lines = max(len(name.splitlines()) for name in names.values())
        figure.set_size_inches(width, EDGE_INCHES + ROW_INCHES * len(labels) * lines)
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, measure, found, what in zip(
            panels, MEASURES, timed, ("Encode", "Decode"), strict=True
        ):
            for row, label in enumerate(labels):
                _draw_codec(axes, row, found.get(label, []), measure, styles[label])
            axes.set_xscale("log")
            axes.set_xlabel(f"{what} (s/MP)")
            axes.xaxis.set_major_locator(LogLocator(numticks=5))
            plain_numbers(axes.xaxis)
            axes.tick_params(axis="y", length=0)
            frame(axes)
            axes.spines["left"].set_visible(False)
        left, right = panels[0].get_xlim()
        panels[0].set_xlim(10 ** math.floor(math.log10(left)), 10 ** math.ceil(math.log10(right)))
        panels[0].set_yticks(range(len(labels)), [drawable(names[label]) for label in labels])
        panels[0].set_ylim(len(labels) - 0.5, -0.5)
        images = {p.means[TIMED[0]].images for found in timed for ps in found.values() for p in ps}
        counts = " or ".join(str(count) for count in sorted(images))
        title(panels[0], wrapped(f"{dataset}, {counts} images", width / 2 - 0.3))
        flat_legend(figure, [], notes)
        settle(figure)
    return Drawing(figure, _caption(summary, dataset, counts, marks))


def _draw_codec(
    axes: "Axes", row: int, points: Sequence[Point], measure: Measure, style: Style
) -> None:
    seconds = [point.means[measure.column].value for point in points]
    found = [value for value in seconds if value]
    if found:
        axes.plot(found, [row] * len(found), **line(style, REPORT))


def _notes(summary: Summary, labels: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return the marks at each codec's name, and the lines of the note that explain them."""
    editions = {point.label: point.edition for point in summary.points if point.label in labels}
    kinds = list(dict.fromkeys(editions[label].timed for label in labels))
    letters = {kind: chr(ord("a") + place) for place, kind in enumerate(kinds)}
    caveats = sorted({caveat for label in labels for caveat in editions[label].caveats})
    stars = {caveat: "*" * (place + 1) for place, caveat in enumerate(caveats)}
    notes = [f"{letter}  {kind}" for kind, letter in letters.items()] if len(kinds) > 1 else []
    notes += [f"{star} {caveat}" for caveat, star in stars.items()]
    marks = {}
    for label, edition in editions.items():
        marks[label] = " ".join(stars[caveat] for caveat in edition.caveats)
        marks[label] += f"$^{letters[edition.timed]}$" if len(kinds) > 1 else ""
    return marks, "\n".join(notes)


def _caption(summary: Summary, dataset: str, images: str, marks: Mapping[str, str]) -> str:
    parts = [
        f"{dataset}: encode and decode seconds per megapixel, means over {images} images, one mark "
        f"for each setting; measured with nothing running beside it on {summary.machine}."
    ]
    devices = {p.label: p.edition.devices for p in summary.points if p.label in marks}
    gpu = [label for label, used in devices.items() if "cuda" in used]
    if gpu:
        parts.append(f"On a GPU: {', '.join(gpu)}.")
    if any("$" in mark for mark in marks.values()):
        parts.append("Letters say what the seconds contain.")
    refused = {label for measure in MEASURES for label, _, _ in excluded(summary, measure)}
    if refused:
        names = ", ".join(label for label in summary.labels if label in refused)
        parts.append(f"Not or not wholly timed there: {names}.")
    return " ".join(parts)
