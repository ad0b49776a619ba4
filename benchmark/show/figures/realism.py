"""Figures of realism against distortion: sweeps of all systems at some rates."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.answer import Column
from benchmark.codec import Float64Array
from benchmark.compare.realism_sweep import (
    MAX_MATCH_RATIO,
    PlotAtRate,
    RealismSweep,
    sweep_order,
    sweep_records,
)
from benchmark.metrics.metric import Metric
from benchmark.show import sections
from benchmark.show.figures import texts
from benchmark.show.figures.choice import SOURCES as CURVE_SOURCES
from benchmark.show.figures.rate_curve import line_properties
from benchmark.show.figures.style import (
    LINE_GREY,
    TEXT_POINTS,
    Style,
    figure_style,
)
from benchmark.show.table import Table
from benchmark.spec import CodecSpec

NUMBER = re.compile(r"[^\s=]+=[\d.]+")  # a setting with a number, not a position on a plotted line
LABEL_POINTS = 22.0, 9.0  # width and height of a setting's label

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_realism_plots(
    plots: Sequence[PlotAtRate],
    distortion: Metric,
    realism: Metric,
    styles: Mapping[CodecSpec, Style],
    dataset: str,
    images: str,
    few: Sequence[Metric] = (),
) -> texts.DrawnFigure:
    """Draw a panel per rate; better realism is higher.

    If lower values of realism are better, the axis is logarithmic and reversed. few: metrics over
    few images.
    """
    from matplotlib.ticker import MaxNLocator

    sweeps = [(plot.bpp, sweep) for plot in plots for sweep in plot.sweeps]
    steps = [(bpp, sweep.curve, step) for bpp, sweep in sweeps for step in sweep.steps]
    names = _sweep_names([sweep for _, sweep in sweeps])
    notes, curves = sections.few_sentences(few) if few else [], [s.curve for _, s in sweeps]
    curve_notes = sections.other_rules_note(curves), sections.curves_note(curves)
    note = " ".join(filter(None, [*notes, *curve_notes]))
    handles, lower_is_better = {}, realism.better == "lower"  # if so, the axis is logarithmic
    with figure_style():
        figure, all_axes, width = texts.panel_figure(len(plots), sharey=True)
        for axes, plot in zip(all_axes, plots, strict=True):
            for sweep in plot.sweeps:
                curve, name = sweep.curve, sweep.curve.name
                is_highlighted = sweep.style.facts.kind == "own"
                properties = line_properties(
                    styles[sweep.style.spec],
                    published=not sweep.curve.measured,
                    heavy=is_highlighted,
                )
                x = [step.distortion.value for step in sweep.steps]
                y = [step.realism.value for step in sweep.steps]
                properties |= {
                    "label": names[name],
                    "gid": curve.group,
                    "zorder": 2 + is_highlighted,
                }
                (handles[name],) = axes.plot(x, y, **properties)
            axes.set_xlabel(distortion.axis_label)
            axes.margins(x=0.1)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.spines[["top", "right"]].set_visible(False)
            texts.title(axes, f"{dataset} at {plot.bpp:g} bpp", min(width, 3))
        if lower_is_better:  # all panels have this axis
            _reverse_axis(all_axes[0], [step.realism.value for *_, step in steps])
        all_axes[0].set_ylabel(f"{realism.label}\n(better upwards)")
        ordered_sweeps = sorted((sweep for _, sweep in sweeps), key=sweep_order)
        has_groups = all(sweep.curve.group for sweep in ordered_sweeps)
        legend_handles = dict.fromkeys(handles[sweep.curve.name] for sweep in ordered_sweeps)
        texts.add_legend(figure, list(legend_handles), note, has_groups)
        # The layout must be final before labels are placed
        for axes, plot in zip(all_axes, plots, strict=True):
            _write_settings(axes, plot.sweeps)
    columns = (
        Column("rate", lambda row: f"{row[0]:g}"),
        Column("system", "1.name"),
        Column("setting", "2.setting"),
        Column("bpp", "2.realism.bpp", ".3f"),
        Column(distortion.label, "2.distortion.value", ".2f"),
        Column(realism.label, "2.realism.value", f".{realism.decimals}f"),
    )
    rates = sections.listed([f"{plot.bpp:g}" for plot in plots])
    caption = sections.make_caption(
        f"{sections.metric_names([realism])} against {sections.metric_names([distortion])} at "
        f"{rates} bpp on {dataset} ({images}); better is up and to the "
        f"{'right' if distortion.better == 'higher' else 'left'}.",
        f"Rates match within {100 * (MAX_MATCH_RATIO - 1):.0f} %; other systems are left out.",
        "Lines connect the settings of one system, from least to most realistic.",
        note,
    )
    records = [record for plot in plots for record in sweep_records(plot)]
    source_rows = {
        (curve.name, value.how, value.source, value.protocol): (curve, value)
        for _, curve, step in steps
        for value in step[1:]
    }
    sources = Table.create(SOURCES, source_rows.values(), absent="").drop_empty_columns()
    return texts.DrawnFigure(figure, caption, records, Table.create(columns, steps), sources)


SOURCE_COLUMNS = ("curve", "from", "how", "source", "protocol", "caveat")
SOURCES = [column for column in CURVE_SOURCES if column.name in SOURCE_COLUMNS]


def _reverse_axis(axes: "Axes", values: Sequence[float]) -> None:
    axes.set_yscale("log")
    texts.set_plain_ticks(axes.yaxis)
    axes.set_ylim(max(values) * 1.5, min(values) / 1.5)


def _write_settings(axes: "Axes", sweeps: Sequence[RealismSweep]) -> None:
    label_positions: list[Float64Array] = []
    for sweep in sweeps:
        steps = sweep.steps if len(sweep.steps) > 1 else ()
        labelled_steps = [
            step for step in (*steps[:1], *steps[:0:-1]) if NUMBER.fullmatch(step.setting)
        ]
        for step in labelled_steps:  # the ends first
            coordinate = step.distortion.value, step.realism.value
            label_position = (
                axes.transData.transform(coordinate) * 72 / axes.figure.dpi / LABEL_POINTS
            )
            if all(abs(label_position - position).max() >= 1 for position in label_positions):
                number = step.setting.rpartition("=")[2]
                axes.annotate(
                    number, coordinate, (4, 2), textcoords="offset points", ha="left", va="bottom",
                    fontsize=TEXT_POINTS, color=LINE_GREY,
                )  # fmt: skip
                label_positions.append(label_position)


def _sweep_names(sweeps: Sequence[RealismSweep]) -> dict[str, str]:
    names = {}
    # The longest sweep's name is kept
    for sweep in sorted(sweeps, key=lambda sweep: len(sweep.steps)):
        caveats, steps = sweep.curve.edition.run_facts.caveats, sweep.steps
        name = sections.mark_name(sweep.curve.name, caveats)
        if len(steps) > 1:
            first_setting, last_setting = (
                step.setting or "default" for step in (steps[0], steps[-1])
            )
            name += f", {first_setting} to {last_setting}"
        names[sweep.curve.name] = name
    return names


def absence_notes(plots: Sequence[PlotAtRate]) -> list[str]:
    """Return the measured sweeps' sentences on absent variants, without duplicates."""
    sweeps = [sweep for plot in plots for sweep in plot.sweeps]
    return list(dict.fromkeys(sentence for sweep in sweeps for sentence in sweep.absence_notes))
