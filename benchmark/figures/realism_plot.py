"""Distortion-realism plots: the realism sweeps of all systems at some rates."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.analysis.builds import RECORDED
from benchmark.analysis.systems import GROUPS, OURS
from benchmark.figures.captions import grouped, listed, origins_note
from benchmark.figures.contrast import readable
from benchmark.figures.drawing import Drawing, frame, plain_ticks, title
from benchmark.figures.layout.labels import Label, place_labels
from benchmark.figures.layout.legend import Entry, grouped_legend, lay_out, settle
from benchmark.figures.style import (
    DOUBLE_COLUMN_INCHES,
    PAPER,
    PAPER_PANEL_INCHES,
    Style,
    figure_style,
    line,
)
from benchmark.figures.table import Table
from benchmark.metrics.measure import Measure
from benchmark.published.realism_sweep import PlotAtRate, RealismSweep, SweepStep, rank, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_realism_plots(
    plots: Sequence[PlotAtRate],
    distortion: Measure,
    realism: Measure,
    styles: Mapping[str, Style],
    dataset: str,
    images: int,
) -> Drawing:
    """Draw one panel for each rate; the upper right corner is the best.

    Realism is on a logarithmic axis that is reversed.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    sweeps = [sweep for plot in plots for sweep in plot.sweeps]
    values = [step.realism.value for sweep in sweeps for step in sweep.steps]
    entries: dict[str, Entry] = {}
    with figure_style():
        figure = Figure(figsize=(DOUBLE_COLUMN_INCHES, PAPER_PANEL_INCHES), layout="constrained")
        every_axes = figure.subplots(1, len(plots), squeeze=False, sharey=True)[0]
        for axes, plot in zip(every_axes, plots, strict=True):
            for sweep in plot.sweeps:
                _draw(axes, sweep, styles[sweep.label])
            axes.set_yscale("log")
            plain_ticks(axes.yaxis)
            axes.set_xlabel(distortion.axis_label)
            axes.margins(x=0.16)
            frame(axes)
            title(axes, f"{dataset} at {plot.bpp:g} bpp")
        every_axes[0].set_ylim(max(values) * 1.5, min(values) / 1.5)
        every_axes[0].set_ylabel(f"{realism.label} (better upwards)")
        for sweep in sorted(sweeps, key=rank):  # as the first rate shows it that has it
            properties = _line(sweep, styles[sweep.label])
            if len(sweep.steps) == 1:
                properties["linestyle"] = ""
            handle = Line2D([], [], **properties)
            entries.setdefault(_name(sweep), Entry(sweep.group, _name(sweep), handle))
        grouped_legend(figure, list(entries.values()), GROUPS, _note(plots))
        lay_out(figure)
        for axes, plot in zip(every_axes, plots, strict=True):
            _label_ends(axes, plot.sweeps, styles)
        settle(figure)
    return Drawing(
        figure,
        _caption(plots, distortion, realism, dataset, images),
        [record for plot in plots for record in records(plot)],
        _table(plots, distortion, realism),
    )


def _line(sweep: RealismSweep, style: Style) -> dict[str, Any]:
    return line(style, PAPER, sweep.origin, role="own" if sweep.group == OURS else "usual")


def _draw(axes: "Axes", sweep: RealismSweep, style: Style) -> None:
    axes.plot(
        [step.distortion.value for step in sweep.steps],
        [step.realism.value for step in sweep.steps],
        label=_name(sweep),
        zorder=3 if sweep.group == OURS else 2,
        **_line(sweep, style),
    )


def _label_ends(axes: "Axes", sweeps: Sequence[RealismSweep], styles: Mapping[str, Style]) -> None:
    """Write the settings of the first and last step beside them, where there is room."""
    ends = [
        Label(
            step.setting,
            [(step.distortion.value, step.realism.value)],
            readable(styles[sweep.label].colour),
        )
        for sweep in sweeps
        if len(sweep.steps) > 1
        for step in (sweep.steps[0], sweep.steps[-1])
    ]
    place_labels(axes, ends)


def _name(sweep: RealismSweep) -> str:
    beside = sweep.group == OURS and not sweep.measured
    return f"{sweep.method} (published)" if beside else ", ".join([sweep.method, *sweep.caveats])


def _every_step(plots: Sequence[PlotAtRate]) -> Iterator[tuple[RealismSweep, SweepStep]]:
    for plot in plots:
        for sweep in plot.sweeps:
            for step in sweep.steps:
                yield sweep, step


def _rules(plots: Sequence[PlotAtRate], of_distortion: bool) -> dict[str, list[str]]:
    """Names by the protocol of one of the two metrics."""
    return grouped(
        ((step.distortion if of_distortion else step.realism).protocol, _name(sweep))
        for sweep, step in _every_step(plots)
    )


def _caption(
    plots: Sequence[PlotAtRate],
    distortion: Measure,
    realism: Measure,
    dataset: str,
    images: int,
) -> str:
    rates = listed([f"{plot.bpp:g}" for plot in plots])
    steps = list(_every_step(plots))
    parts = [
        f"{realism.label} against {distortion.label} at {rates} bpp on {dataset}: means over "
        f"{images} images. The axis of {realism.label} is logarithmic and reversed: better is "
        "up and to the right."
    ]
    if any("interpolated" in (step.distortion.how, step.realism.how) for _, step in steps):
        parts.append(
            f"Values at a rate are interpolated over its logarithm ({realism.label} by its own "
            "logarithm) between a curve's neighbouring points, or are those of a point within "
            "15 % of the rate where the curve ends; the csv says which."
        )
    origins = grouped(
        (f"{_how(sweep)} {value.source}", _name(sweep))
        for sweep, step in steps
        for value in (step.distortion, step.realism)
    )  # fmt: skip
    parts += [f"{', '.join(names)}: {origin}." for origin, names in origins.items()]
    for measure in (distortion, realism):
        rules = _rules(plots, measure is distortion)
        said = "Protocols mixed in" if len(rules) > 1 else "Protocol of"
        told = "; ".join(f"{rule} {', '.join(names)}" for rule, names in rules.items())
        parts.append(f"{said} {measure.label}: {told}.")
    parts += [f"{one[0].upper()}{one[1:]}." for one in left_out(plots)]
    return "\n".join(parts)


def _how(sweep: RealismSweep) -> str:
    if not sweep.measured:
        return "published,"
    return f"{RECORDED} with" if sweep.recorded else "measured here with"


def left_out(plots: Sequence[PlotAtRate]) -> list[str]:
    """Return the sentences on what measured sweeps leave out, each once."""
    sweeps = [sweep for plot in plots for sweep in plot.sweeps]
    return list(dict.fromkeys(sentence for sweep in sweeps for sentence in sweep.left_out))


def _note(plots: Sequence[PlotAtRate]) -> str:
    origins = origins_note(sweep.origin for plot in plots for sweep in plot.sweeps)
    note = f"{origins} Lines: the realism sweep of one system."
    mixed = any(len(_rules(plots, first)) > 1 for first in (True, False))
    return note + " Protocols mixed: the caption says whose is which." * mixed


def _table(plots: Sequence[PlotAtRate], distortion: Measure, realism: Measure) -> Table:
    rows = [
        (
            f"{plot.bpp:g}",
            _name(sweep),
            step.setting,
            f"{step.realism.bpp:.3f}",
            f"{step.distortion.value:.2f}",
            f"{step.realism.value:.2f}",
        )
        for plot in plots
        for sweep, step in _every_step([plot])
    ]
    headers = ("rate", "system", "setting", "bpp", distortion.label, realism.label)
    return Table(headers, tuple(rows), 3)
