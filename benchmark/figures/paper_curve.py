"""Rate curves of the paper: panels of curves with a legend by groups, a table and a caption."""

from collections.abc import Mapping, Sequence

from benchmark.analysis.rate_distortion import NoDelta, bd_rate
from benchmark.analysis.systems import GROUPED_SYSTEMS, PAPER_SYSTEMS, System
from benchmark.figures.bd_table import doubtful_note
from benchmark.figures.captions import (
    by_name,
    grouped,
    listed,
    protocol_sentence,
    published_sentences,
    scale_sentences,
    training_sentences,
)
from benchmark.figures.labels import Drawing
from benchmark.figures.rate_curve import draw_panels
from benchmark.figures.style import Style
from benchmark.figures.table import DOUBTFUL, NOTHING, Table
from benchmark.published.curves import Panel, SystemCurve, records

OUTLIER = "JPEG"  # at its lowest qualities it would press all others together
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
    names, heading = list(_by_name(panels)), f"{dataset}, {images} images"
    figure = draw_panels(panels, styles, heading, names, outlier=OUTLIER, groups=True)
    caption = _caption(panels, dataset, images, anchor, systems)
    return Drawing(figure, caption, records(panels), _table(panels, anchor))


def _by_name(panels: Sequence[Panel]) -> dict[str, SystemCurve]:
    """Return one curve for each name, in the order of the systems, measured before published."""
    rank = {system.label: place for place, system in enumerate(GROUPED_SYSTEMS)}
    curves = {curve.name: curve for panel in panels for curve in panel.curves}
    ordered = sorted(curves.values(), key=lambda one: (rank[one.system.label], not one.measured))
    return {curve.name: curve for curve in ordered}


def _caption(
    panels: Sequence[Panel], dataset: str, images: int, anchor: str, systems: Sequence[System]
) -> str:
    curves = [curve for panel in panels for curve in panel.curves]
    measures = [panel.measure for panel in panels]
    parts = [
        f"{listed([measure.axis_label for measure in measures])} against rate on {dataset}: means "
        f"over {images} images, rates as the mean of each image's bpp."
    ]
    parts += scale_sentences(measures)
    measured = grouped(
        (MEASURED[point.how], f"{curve.name} ({point.source})")
        for curve in curves
        for point in curve.points
        if curve.measured
    )
    parts += [f"{how}: {', '.join(names)}." for how, names in measured.items()]
    parts += published_sentences(panels)
    notes = [(point.note, curve.name) for curve in curves for point in curve.points if point.note]
    parts += [f"{by_name({note: names})}." for note, names in grouped(notes).items()]
    parts += [protocol_sentence(panel.measure, panel.names_by_protocol) for panel in panels]
    parts += training_sentences(panels)
    there = {curve.system.name for curve in curves}
    absent = [one.name for one in systems if one.published and one.name not in there]
    if absent:
        parts.append(f"Without numbers here: {', '.join(absent)}.")
    return "\n".join([*parts, f"BD-rates of the table are against {anchor}."])


def _table(panels: Sequence[Panel], anchor: str) -> Table:
    """Return a row for each curve: its points and rates, and BD-rates against the anchor's."""
    labels = [panel.measure.label.partition(" (")[0] for panel in panels]
    rows: list[tuple[str, ...]] = []
    doubtful: list[tuple[str, str]] = []
    for name, known in _by_name(panels).items():
        mine = [next((c for c in panel.curves if c.name == name), None) for panel in panels]
        rates = [point.bpp for curve in mine if curve for point in curve.points]
        cells = [
            known.system.name,
            "here" if known.measured else "published",
            str(max(len(curve.points) for curve in mine if curve)),
            f"{min(rates):.3f}" + f" to {max(rates):.3f}" * (min(rates) < max(rates)),
        ]
        for panel, label, curve in zip(panels, labels, mine, strict=True):
            of_anchor = [c for c in (*panel.measured, *panel.published) if c.system.name == anchor]
            if not of_anchor or curve is None or curve.system.name == anchor:
                cells.append(NOTHING)
                continue
            delta = bd_rate(of_anchor[0].rates(panel.measure), curve.rates(panel.measure))
            if isinstance(delta, NoDelta):
                cells.append(NOTHING)
                continue
            cells.append(f"{delta.value:+.1f}" + DOUBTFUL * delta.doubtful)
            if delta.doubtful:
                doubtful.append((known.system.name, f"{label} {100 * delta.overlap:.0f} %"))
        rows.append(tuple(cells))
    notes = [f"Against {anchor}, over the rates drawn; negative saves bits at equal quality."]
    decades = [panel.measure.label for panel in panels if panel.measure.scale == "decades"]
    notes += [f"{listed(decades)} by its logarithm."] * bool(decades)
    headers = ["system", "from", "points", "bpp", *(f"BD-rate, {one} (%)" for one in labels)]
    return Table(tuple(headers), tuple(rows), 2, (*notes, *doubtful_note(doubtful)))
