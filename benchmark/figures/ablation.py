"""Rate curves of an ablation's variants, and their changes from the method itself."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmark.analysis.interval import change_interval
from benchmark.analysis.summarise import Point, Summary
from benchmark.figures.captions import LOWER, axis_words, few_sentences, origins_note
from benchmark.figures.drawing import RATE_LABEL, Drawing, frame, title
from benchmark.figures.layout.legend import flat_legend, settle
from benchmark.figures.layout.wrapping import wrapped
from benchmark.figures.rate_curve import few_images, places
from benchmark.figures.style import (
    BAR_POINTS,
    DOUBLE_COLUMN_INCHES,
    FAMILIES,
    PANEL_INCHES,
    REPORT,
    SINGLE_COLUMN_INCHES,
    SPARE_MARKERS,
    VARIANT_COLOURS,
    Role,
    Style,
    figure_style,
    line,
)
from benchmark.metrics.measure import Measure
from benchmark.published.curves import Panel, SystemCurve, measured_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHANGE_INCHES = 1.45  # of the panels below
OWN = FAMILIES["ours"]  # the method itself looks as everywhere


def named(summary: Summary, names: Mapping[str, str]) -> Summary:
    """Return the summary with other labels, without points whose label has no name.

    Points come in the order of the names, each variant's by rate.
    """
    order = list(names)
    kept = [point for point in summary.points if point.label in names]
    renamed = [
        replace(point, edition=replace(point.edition, label=names[point.label]))
        for point in sorted(kept, key=lambda point: order.index(point.label))
    ]
    return replace(summary, points=tuple(renamed))


def draw_ablation(
    summary: Summary, measures: Sequence[Measure], own: str, dataset: str, trained: str
) -> Drawing | None:
    """Draw a panel for each measure that has values; None where no points can be drawn.

    Below, as variants may differ by less than a marker, stand the changes from the method itself.
    own: label of the method that the others differ from. trained: a sentence for the caption on how
    the variants were trained.
    """
    panels = [measured_panel(summary, measure) for measure in measures]
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        return None
    from matplotlib.figure import Figure

    references = [
        {curve.system.label: curve for curve in panel.curves}.get(own) for panel in panels
    ]
    compared = any(
        reference and len(panel.curves) > 1
        for reference, panel in zip(references, panels, strict=True)
    )
    styles = _styles(summary.labels, own)
    of = {(point.label, str(point.setting)): point for point in summary.points}
    handles = {}
    with figure_style():
        width = SINGLE_COLUMN_INCHES if len(panels) == 1 else DOUBLE_COLUMN_INCHES
        heights = [PANEL_INCHES, CHANGE_INCHES][: 1 + compared]
        figure = Figure(figsize=(width, sum(heights)), layout="constrained")
        rows = figure.subplots(len(heights), len(panels), squeeze=False, height_ratios=heights)
        for place, (panel, reference) in enumerate(zip(panels, references, strict=True)):
            measure, few = panel.measure, few_images(panel.curves)
            for curve in panel.curves:
                label = curve.system.label
                role: Role = "own" if label == own else "usual"
                properties = line(styles[label], REPORT, curve.origin, role=role)
                (handles[label],) = rows[0, place].plot(
                    *places(curve, measure), label=label, **properties
                )
                if compared:
                    _draw_changes(rows[1, place], curve, reference, measure, of, properties)
            _frame(rows[0, place], axis_words(measure, few))
            if compared:
                changed = replace(measure, label=_unit_of_change(measure), scale="linear")
                _frame(rows[1, place], axis_words(changed))
        said = "; ".join([f"{dataset}, {summary.images} images", *_caveats(summary)])
        title(rows[0, 0], wrapped(said, 0.8 * width))
        entries = [handles[label] for label in summary.labels if label in handles]
        note = origins_note(curve.origin for panel in panels for curve in panel.curves)
        flat_legend(figure, entries, note)
        settle(figure)
    caption = _caption(summary, panels, dataset, trained)
    if compared:
        caption += (
            f" Below: changes from {own} at equal settings, at the variant's own rate; "
            "where lower is better, in percent of it; bars are 95 % intervals over images, drawn "
            "in pairs, and say nothing of another run of the training."
        )
    return Drawing(figure, caption, records=_records(panels))


def _records(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Return one flat record per drawn point."""
    return [
        {
            "metric": panel.measure.column,
            "variant": curve.system.label,
            "setting": point.setting,
            "bpp": point.bpp,
            "value": point.value,
            "drawn": panel.measure.drawn(point.value),
            "images": point.images,
            "protocol": point.protocol,
            "version": point.source,
        }
        for panel in panels
        for curve in panel.curves
        for point in curve.points
    ]


def _styles(labels: Sequence[str], own: str) -> dict[str, Style]:
    """Return styles by place; the method itself looks as everywhere."""
    markers = [marker for marker in SPARE_MARKERS if marker != OWN.marker]
    others = [label for label in labels if label != own]
    found = {
        label: Style(VARIANT_COLOURS[place % len(VARIANT_COLOURS)], markers[place % len(markers)])
        for place, label in enumerate(others)
    }
    return found | {own: OWN}


def _draw_changes(
    axes: "Axes",
    curve: SystemCurve,
    reference: SystemCurve | None,
    measure: Measure,
    of: Mapping[tuple[str, str], Point],
    properties: Mapping[str, Any],
) -> None:
    """Draw differences of values from the reference's at equal settings, with their intervals.

    Differences are in percent where lower is better, else in the unit of the axis. `of`: points by
    label and setting.
    """
    by_setting = {p.setting: p.value for p in reference.points} if reference else {}
    percent = measure.better == "lower"
    rates, changes = [], []
    for point in curve.points:
        old = by_setting.get(point.setting)
        if reference is None or not old:
            continue
        drawn = measure.drawn(point.value) - measure.drawn(old)
        rates.append(point.bpp)
        changes.append(100 * (point.value / old - 1) if percent else drawn)
        if curve is not reference:
            before, after = (of[one.system.label, point.setting] for one in (reference, curve))
            ends = change_interval(after, before, measure, percent)
            if ends is not None:
                axes.vlines(point.bpp, *ends, colors=properties["color"], linewidth=BAR_POINTS)
    axes.plot(rates, changes, **properties)


def _unit_of_change(measure: Measure) -> str:
    unit = "%" if measure.better == "lower" else "dB" if "dB" in measure.axis_label else ""
    return f"Change ({unit})" if unit else "Change"


def _frame(axes: "Axes", label: str) -> None:
    axes.set_xlim(left=0)
    axes.set_xlabel(RATE_LABEL)
    axes.set_ylabel(label)
    frame(axes)


def _caveats(summary: Summary) -> list[str]:
    return list(dict.fromkeys(c for point in summary.points for c in point.edition.caveats))


def _caption(summary: Summary, panels: Sequence[Panel], dataset: str, trained: str) -> str:
    measures = [panel.measure for panel in panels]
    ids = [summary.protocols[name] for name in ("coding", *(m.column for m in measures))]
    parts = [
        f"{dataset}: means over {summary.images} images, real bitstreams "
        f"(protocols {', '.join(ids)}).",
        trained,
    ]
    caveats = _caveats(summary)
    if caveats:
        parts.append(f"All of it: {', '.join(sorted(caveats))}.")
    if any(measure.better == "lower" for measure in measures):
        parts.append(LOWER)
    parts += few_sentences(panel.measure for panel in panels if few_images(panel.curves))
    refused = {one.label for panel in panels for one in panel.excluded}
    if refused:
        names = ", ".join(label for label in summary.labels if label in refused)
        parts.append(f"Points of {names} that are not comparable are left out.")
    return " ".join(parts)
