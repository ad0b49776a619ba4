"""Trails through distortion and realism in; the plane of both at some rates, drawn, out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.analysis.rate_distortion import Measure
from benchmark.analysis.systems import GROUPS, OURS
from benchmark.figures.labels import Label, place_labels
from benchmark.figures.plate import (
    Entry,
    Plate,
    appearance,
    frame,
    legend_and_note,
    listed,
    plain_ticks,
)
from benchmark.figures.style import DOUBLE_COLUMN_INCHES, Look, paper_style, title
from benchmark.figures.table import Table
from benchmark.published.traversal import Trail, rank, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = 2.5


class Plane(NamedTuple):
    """What lies at one rate."""

    bpp: float
    trails: tuple[Trail, ...]


def draw_plane(
    planes: Sequence[Plane],
    distortion: Measure,
    realism: Measure,
    looks: Mapping[str, Look],
    dataset: str,
    images: int,
) -> Plate:
    """One panel a rate; realism is on a logarithmic axis that is turned round: the upper right
    corner is the best.
    """
    from matplotlib.figure import Figure

    with paper_style():
        figure = Figure(figsize=(DOUBLE_COLUMN_INCHES, PANEL_INCHES), layout="constrained")
        every_axes = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0]
        for axes, plane in zip(every_axes, planes, strict=True):
            for trail in plane.trails:
                _draw(axes, trail, looks[trail.look])
            _frame(axes, distortion)
            title(axes, f"{dataset} at {plane.bpp:g} bpp")
        _limits(every_axes[0], planes)
        every_axes[0].set_ylabel(f"{realism.label} (better upwards)")
        legend_and_note(figure, _entries(planes, looks), GROUPS, _note(planes))
        for axes, plane in zip(every_axes, planes, strict=True):
            _label_ends(axes, plane.trails, looks)
    return Plate(
        figure,
        _caption(planes, distortion, realism, dataset, images),
        [record for plane in planes for record in records(plane.bpp, plane.trails)],
        _table(planes, distortion, realism),
    )


def _draw(axes: "Axes", trail: Trail, look: Look) -> None:
    properties = appearance(look, trail.measured, trail.group == OURS)
    axes.plot(
        [step.distortion.value for step in trail.steps],
        [step.realism.value for step in trail.steps],
        label=_name(trail),
        zorder=3 if trail.group == OURS else 2,
        **properties,
    )


def _label_ends(axes: "Axes", trails: Sequence[Trail], looks: Mapping[str, Look]) -> None:
    """First and last step of a trail by their setting."""
    ends = [
        Label(step.setting, step.distortion.value, step.realism.value, looks[trail.look].colour)
        for trail in trails
        if len(trail.steps) > 1
        for step in (trail.steps[0], trail.steps[-1])
    ]
    place_labels(axes, ends)


def _name(trail: Trail) -> str:
    beside = trail.group == OURS and not trail.measured
    return f"{trail.name} (published)" if beside else ", ".join([trail.name, *trail.caveats])


def _frame(axes: "Axes", distortion: Measure) -> None:
    axes.set_yscale("log")
    plain_ticks(axes.yaxis)
    axes.set_xlabel(distortion.axis_label)
    axes.margins(x=0.16)
    frame(axes)


def _limits(axes: "Axes", planes: Sequence[Plane]) -> None:
    values = [
        step.realism.value for plane in planes for trail in plane.trails for step in trail.steps
    ]
    axes.set_ylim(max(values) * 1.5, min(values) / 1.5)


def _entries(planes: Sequence[Plane], looks: Mapping[str, Look]) -> list[Entry]:
    """Each name once, as the first rate shows it that has it."""
    found: dict[str, Entry] = {}
    for trail in sorted((trail for plane in planes for trail in plane.trails), key=rank):
        found.setdefault(_name(trail), _entry(trail, looks[trail.look]))
    return list(found.values())


def _entry(trail: Trail, look: Look) -> Entry:
    from matplotlib.lines import Line2D

    properties = appearance(look, trail.measured, trail.group == OURS)
    if len(trail.steps) == 1:
        properties["linestyle"] = ""
    return Entry(trail.group, _name(trail), Line2D([], [], **properties))


def _caption(
    planes: Sequence[Plane],
    distortion: Measure,
    realism: Measure,
    dataset: str,
    images: int,
) -> str:
    rates = listed([f"{plane.bpp:g}" for plane in planes])
    steps = [step for plane in planes for trail in plane.trails for step in trail.steps]
    parts = [
        f"{realism.label} against {distortion.label} at {rates} bpp on {dataset}: means over "
        f"{images} images. The axis of {realism.label} is logarithmic and turned round: better is "
        "up and to the right."
    ]
    if any("interpolated" in (step.distortion.how, step.realism.how) for step in steps):
        parts.append(
            "Values at a rate are interpolated over its logarithm between a curve's neighbouring "
            f"points ({realism.label} by its own logarithm), or those of a point within 15 % of "
            "the rate where the curve ends; the csv says which."
        )
    for (source, measured), names in _origins(planes).items():
        origin = f"measured here with {source}" if measured else f"published, {source}"
        parts.append(f"{', '.join(names)}: {origin}.")
    for measure in (distortion, realism):
        rules = _rules(planes, measure is distortion)
        said = "Protocols mixed in" if len(rules) > 1 else "Protocol of"
        told = "; ".join(f"{rule} {', '.join(names)}" for rule, names in rules.items())
        parts.append(f"{said} {measure.label}: {told}.")
    return "\n".join(parts)


def _note(planes: Sequence[Plane]) -> str:
    note = "Open markers: published. Lines: one system, realism turned up."
    if any(trail.measured for plane in planes for trail in plane.trails):
        note = f"Filled markers: measured by this benchmark. {note}"
    mixed = any(len(_rules(planes, first)) > 1 for first in (True, False))
    return note + " Protocols mixed: the caption says whose is which." * mixed


def _rules(planes: Sequence[Plane], of_distortion: bool) -> dict[str, dict[str, None]]:
    """Names by protocol."""
    found: dict[str, dict[str, None]] = {}
    for trail in (trail for plane in planes for trail in plane.trails):
        for step in trail.steps:
            value = step.distortion if of_distortion else step.realism
            found.setdefault(value.protocol, {})[_name(trail)] = None
    return found


def _origins(planes: Sequence[Plane]) -> dict[tuple[str, bool], dict[str, None]]:
    """Names by source, and whether that is a measurement."""
    found: dict[tuple[str, bool], dict[str, None]] = {}
    for trail in (trail for plane in planes for trail in plane.trails):
        for step in trail.steps:
            for value in (step.distortion, step.realism):
                found.setdefault((value.source, trail.measured), {})[_name(trail)] = None
    return found


def _table(planes: Sequence[Plane], distortion: Measure, realism: Measure) -> Table:
    rows = [
        (
            f"{plane.bpp:g}",
            _name(trail),
            step.setting,
            f"{step.realism.bpp:.3f}",
            f"{step.distortion.value:.2f}",
            f"{step.realism.value:.2f}",
        )
        for plane in planes
        for trail in plane.trails
        for step in trail.steps
    ]
    return Table(
        ("rate", "system", "setting", "bpp", distortion.label, realism.label), tuple(rows), 3
    )
