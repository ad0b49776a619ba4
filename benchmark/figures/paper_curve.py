"""Rate curves of the paper: panels of curves with a legend by groups, a table and a caption."""

import re
from collections.abc import Mapping, Sequence

from benchmark.analysis.rate_distortion import Delta, NoDelta, bd_rate
from benchmark.analysis.systems import GROUPED_SYSTEMS, GROUPS, PAPER_SYSTEMS, System
from benchmark.figures.bd_table import doubtful_note
from benchmark.figures.captions import (
    grouped,
    listed,
    panels_note,
    published_rates,
    published_sources,
    scale_sentences,
    told,
)
from benchmark.figures.drawing import Drawing, title
from benchmark.figures.emphasis import everyone
from benchmark.figures.layout.legend import Entry, grouped_legend, settle
from benchmark.figures.marks import Marks, training_sentences
from benchmark.figures.rate_curve import curve_line, draw_panel
from benchmark.figures.style import (
    DOUBLE_COLUMN_INCHES,
    PAPER,
    PAPER_PANEL_INCHES,
    Style,
    figure_style,
)
from benchmark.figures.table import DOUBTFUL, NOTHING, Table
from benchmark.published.curves import Panel, SystemCurve, records

OUTLIER = "JPEG"  # at its lowest qualities it would press all others together
# In the version of a network trained here, and of the one that its training began with.
CROPS = re.compile(r"(\d+) crops of (\d+) px(?:, begun from checkpoint \w+ of (\d+) crops)?")
AFTER = " after {:,}"  # crops that the network had seen when its training began
# In the version of a mean of networks: those that it names, of which all but the first are of runs.
MEAN = re.compile(r"mean of checkpoints (.+), each but the first trained on ")
MEASURED = {"measured": "Measured", "recorded": "Measured and recorded (a pack, or bundled rows)"}


def draw_paper_curves(
    panels: Sequence[Panel],
    styles: Mapping[str, Style],
    dataset: str,
    images: int,
    anchor: str,
    systems: Sequence[System] = PAPER_SYSTEMS,
) -> Drawing:
    """Draw one panel for each metric over two columns of a page, a legend by groups below.

    `styles` goes by `System.label`; `anchor` is the system that the table's BD-rates are against.
    `systems` are those that the figure is about: the caption names the ones without numbers.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    marks, roles = Marks.of(panels), everyone(panels).roles
    entries = []
    with figure_style():
        figure = Figure(figsize=(DOUBLE_COLUMN_INCHES, PAPER_PANEL_INCHES), layout="constrained")
        every_axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(every_axes, panels, strict=True):
            draw_panel(axes, panel, styles, layout=PAPER, outlier=OUTLIER)
        for name, curve in _by_name(panels).items():
            same = [c for one in panels for c in one.curves if c.name == name]
            sampled = all(one.sampled for one in same)
            properties = curve_line(
                curve._replace(sampled=sampled), styles[curve.system.label], PAPER, roles[name]
            )
            handle = Line2D([], [], **properties)
            entries.append(Entry(curve.system.group, marks.name(curve), handle))
        for axes, panel in zip(every_axes, panels, strict=True):
            axes.set_ylabel(f"{axes.get_ylabel()}{marks.of_axis(panel)}")
        title(every_axes[0], f"{dataset}, {images} images")
        grouped_legend(figure, entries, GROUPS, "\n".join([*panels_note(panels), *marks.notes]))
        settle(figure)
    caption = _caption(panels, dataset, images, anchor, systems)
    return Drawing(figure, caption, records(panels), _table(panels, anchor))


def _by_name(panels: Sequence[Panel]) -> dict[str, SystemCurve]:
    """Return one curve for each name, in the order of the systems, measured before published."""
    found = {curve.name: curve for one in panels for curve in one.curves}
    rank = {system.label: place for place, system in enumerate(GROUPED_SYSTEMS)}
    ordered = sorted(found.values(), key=lambda one: (rank[one.system.label], not one.measured))
    return {curve.name: curve for curve in ordered}


def _hides(one: Panel) -> bool:
    """Return whether the outlier has points beyond the axis that the others' values span."""
    values = [
        (curve.system.name == OUTLIER, one.measure.drawn(point.value))
        for curve in one.curves
        for point in curve.points
    ]
    shown = [value for outlier, value in values if not outlier]
    others = [value for outlier, value in values if outlier]
    return bool(others and shown) and (min(others) < min(shown) or max(others) > max(shown))


def _caption(
    panels: Sequence[Panel], dataset: str, images: int, anchor: str, systems: Sequence[System]
) -> str:
    curves = [curve for one in panels for curve in one.curves]
    measures = [one.measure for one in panels]
    parts = [
        f"{listed([measure.axis_label for measure in measures])} against rate on {dataset}: means "
        f"over {images} images, rates as the mean of each image's bpp."
    ]
    parts += scale_sentences(measures)
    parts += budgets(curves)
    parts += sources(curves)
    for one in panels:
        found = one.names_by_protocol
        said = "Protocols mixed in" if len(found) > 1 else "Protocol of"
        rules = "; ".join(f"{rule} {', '.join(names)}" for rule, names in found.items())
        parts.append(f"{said} {one.measure.label}: {rules}.")
    parts += [*published_rates(panels), *training_sentences(panels)]
    hidden = [one.measure.label for one in panels if _hides(one)]
    if hidden:
        parts.append(f"{OUTLIER} continues beyond the axis of {listed(hidden)}.")
    there = {curve.system.name for curve in curves}
    absent = [one.name for one in systems if one.published and one.name not in there]
    if absent:
        parts.append(f"Without numbers here: {', '.join(absent)}.")
    parts.append(f"BD-rates of the table are against {anchor}.")
    return "\n".join(parts)


def budgets(curves: Sequence[SystemCurve]) -> list[str]:
    """Return the sentence on the crops that networks trained here have seen; none without any."""
    seen = [
        (
            f"{runs(point.source)}{int(crops):,} crops of {side} px"
            + (AFTER.format(int(before)) if before else ""),
            curve.system.name,
        )
        for curve in curves
        if curve.measured
        for point in curve.points
        for crops, side, before in CROPS.findall(point.source)
    ]
    if not seen:
        return []
    return [f"Crops that each network has seen in training: {told(grouped(seen))}."]


def runs(source: str) -> str:
    """Return "4 x " for a mean of four runs and what they began with, and nothing for one run."""
    named = MEAN.search(source)
    return f"{named.group(1).count(',')} x " if named else ""


def sources(curves: Sequence[SystemCurve]) -> list[str]:
    """Return sentences on the origin of every curve: measured, recorded, or which publication."""
    measured = grouped(
        (MEASURED[point.how], f"{curve.system.name} ({point.source})")
        for curve in curves
        if curve.measured
        for point in curve.points
    )
    notes = grouped(
        (point.note, curve.system.name)
        for curve in curves
        if not curve.measured
        for point in curve.points
        if point.note
    )
    found = [f"{how}: {', '.join(names)}." for how, names in measured.items()]
    found += published_sources(curves)
    return found + [f"{told({note: names})}." for note, names in notes.items()]


def _table(panels: Sequence[Panel], anchor: str) -> Table:
    """Return a row for each curve: its points and rates, and BD-rates against the anchor's."""
    headers = ["system", "from", "points", "bpp"]
    headers += [f"BD-rate, {one.measure.label.partition(' (')[0]} (%)" for one in panels]
    rows: list[tuple[str, ...]] = []
    doubtful: list[tuple[str, str]] = []
    for name, known in _by_name(panels).items():
        mine = [next((c for c in one.curves if c.name == name), None) for one in panels]
        rates = [point.bpp for curve in mine if curve for point in curve.points]
        cells = [
            name.removesuffix(" (published)"),
            "here" if known.measured else "published",
            str(max(len(curve.points) for curve in mine if curve)),
            f"{min(rates):.3f}" + f" to {max(rates):.3f}" * (min(rates) < max(rates)),
        ]
        for one, curve in zip(panels, mine, strict=True):
            found = _delta(one, curve, anchor)
            cells.append(NOTHING if isinstance(found, NoDelta) else _cell(found))
            if isinstance(found, Delta) and found.doubtful:
                share = f"{one.measure.label.partition(' (')[0]} {100 * found.overlap:.0f} %"
                doubtful.append((cells[0], share))
        rows.append(tuple(cells))
    notes = [f"Against {anchor}, over the rates drawn; negative saves bits at equal quality."]
    decades = [one.measure.label for one in panels if one.measure.scale == "decades"]
    if decades:
        notes.append(f"{listed(decades)} by its logarithm.")
    notes += doubtful_note(doubtful)
    return Table(tuple(headers), tuple(rows), 2, tuple(notes))


def _delta(one: Panel, curve: SystemCurve | None, name: str) -> Delta | NoDelta:
    """Return the BD-rate of a curve against the anchor's, measured before published."""
    anchors = [c for c in (*one.measured, *one.published) if c.system.name == name]
    if not anchors or curve is None or curve.system.name == name:
        return NoDelta("there is nothing to compare")
    return bd_rate(anchors[0].rates(one.measure), curve.rates(one.measure))


def _cell(delta: Delta) -> str:
    return f"{delta.value:+.1f}" + DOUBTFUL * delta.doubtful
