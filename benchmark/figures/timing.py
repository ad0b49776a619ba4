"""Encode and decode seconds per megapixel of rows that were timed alone."""

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

from benchmark.analysis.rate_distortion import curves, excluded
from benchmark.analysis.summarise import TIMED, Point, Summary
from benchmark.analysis.systems import short_names
from benchmark.figures.drawing import Drawing, frame, title
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

ROW_INCHES, NOTE_INCHES = 0.16, 0.11
NOTE_CHARACTERS = 64
LONG_NAME_CHARACTERS = 22
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
    from matplotlib.ticker import LogLocator, NullFormatter

    letters, notes = _notes(summary, labels)
    names = short_names(summary.labels)
    with figure_style():
        lines = len(notes.splitlines())
        height = 0.7 + ROW_INCHES * len(labels) + NOTE_INCHES * lines
        wide = max(len(names[label]) for label in labels) > LONG_NAME_CHARACTERS
        width = DOUBLE_COLUMN_INCHES if wide else SINGLE_COLUMN_INCHES
        figure = Figure(figsize=(width, height), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for axes, measure, found, what in zip(
            panels, MEASURES, timed, ("Encode", "Decode"), strict=True
        ):
            for row, label in enumerate(labels):
                _draw_codec(axes, row, found.get(label, []), measure, styles[label])
            axes.set_xscale("log")
            axes.set_xlabel(f"{what} (s/MP)")
            axes.xaxis.set_major_locator(LogLocator(numticks=5))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.tick_params(axis="y", length=0)
            frame(axes)
            axes.spines["left"].set_visible(False)
        left, right = panels[0].get_xlim()
        panels[0].set_xlim(10 ** math.floor(math.log10(left)), 10 ** math.ceil(math.log10(right)))
        panels[0].set_yticks(
            range(len(labels)), [names[label] + letters[label] for label in labels]
        )
        panels[0].set_ylim(len(labels) - 0.5, -0.5)
        images = {p.means[TIMED[0]].images for found in timed for ps in found.values() for p in ps}
        counts = " or ".join(str(count) for count in sorted(images))
        title(panels[0], f"{dataset}, {counts} images")
        if notes:
            figure.supxlabel(notes, x=0.02, ha="left", fontsize=6)
    return Drawing(figure, _caption(summary, dataset, counts, letters))


def _draw_codec(
    axes: "Axes", row: int, points: Sequence[Point], measure: Measure, style: Style
) -> None:
    seconds = [point.means[measure.column].value for point in points]
    found = [value for value in seconds if value]
    if found:
        caveat = bool(points[0].edition.caveats)
        axes.plot(found, [row] * len(found), **line(style, REPORT, caveat=caveat))


def _notes(summary: Summary, labels: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return the superscript of each codec, and the note on superscripts and open markers."""
    editions = {point.label: point.edition for point in summary.points if point.label in labels}
    kinds = list(dict.fromkeys(editions[label].timed for label in labels))
    letters = {kind: chr(ord("a") + place) for place, kind in enumerate(kinds)}
    notes = [f"{letter}  {kind}" for kind, letter in letters.items()] if len(kinds) > 1 else []
    caveats = {caveat for label in labels for caveat in editions[label].caveats}
    if caveats:
        notes.append(f"open markers: {', '.join(sorted(caveats))}")
    wrapped = "\n".join(fill(note, NOTE_CHARACTERS, subsequent_indent="    ") for note in notes)
    if len(kinds) < 2:
        return dict.fromkeys(labels, ""), wrapped
    return {label: f"$^{letters[editions[label].timed]}$" for label in labels}, wrapped


def _caption(summary: Summary, dataset: str, images: str, letters: Mapping[str, str]) -> str:
    parts = [
        f"{dataset}: encode and decode seconds per megapixel, means over {images} images, one mark "
        f"for each setting; measured with nothing running beside it on {summary.machine}."
    ]
    devices = {p.label: p.edition.devices for p in summary.points if p.label in letters}
    gpu = [label for label, used in devices.items() if "cuda" in used]
    if gpu:
        parts.append(f"On a GPU: {', '.join(gpu)}.")
    if any(letters.values()):
        parts.append("Letters say what the seconds contain.")
    refused = {label for measure in MEASURES for label, _, _ in excluded(summary, measure)}
    if refused:
        names = ", ".join(label for label in summary.labels if label in refused)
        parts.append(f"Not or not wholly timed there: {names}.")
    return " ".join(parts)
