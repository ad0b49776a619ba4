"""Figures of rate curves: a panel for each metric, a row of them for each dataset."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from benchmark.compare.panel import Panel
from benchmark.metrics.measure import PREFERENCE, Measure
from benchmark.registry import UNSTATED
from benchmark.rows.summary import Summary
from benchmark.rows.systems import GROUPS, trained_on
from benchmark.show import sections
from benchmark.show.figures import style as looks
from benchmark.show.figures import texts
from benchmark.show.figures.choice import AS_ONE, Choice, choose, renamed
from benchmark.show.figures.rate_panel import draw_panel, frame_of
from benchmark.show.figures.style import WIDTHS, Style, look
from benchmark.show.means import network_sentences

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

HOW = {"measured": "Measured", "recorded": "Bundled (with the project, or in a pack)"}
ORIGINS = {
    "author_csv": "", "author_json": "", "author_table": "", "author_script": "",
    "author_thread": ", a thread", "other_paper_plot_file": ", another paper's file",
    "table": ", a table", "digitised": ", read from a figure",
}  # fmt: skip
LACKING = "Some panels lack some of the codecs: see the details."


class OfDataset(NamedTuple):
    """Panels of one dataset: a row of a figure where there are several datasets."""

    title: str
    panels: Sequence[Panel]
    summary: Summary | None = None  # of the measured curves
    anchor: str = ""  # label that BD-rates are against


def draw_rate_curves(
    panels: Sequence[Panel],
    styles: Mapping[str, Style],
    dataset: str,
    summary: Summary | None = None,
    *,
    anchor: str = "",
    named: Sequence[str] = (),
    choice: Choice | None = None,
    outlier: str = "",
    groups: bool = False,
) -> texts.Drawing | None:
    """Draw the panels of one dataset, whose title `dataset` is: see `draw_datasets`."""
    of_dataset = OfDataset(dataset, panels, summary, anchor)
    return draw_datasets([of_dataset], styles, named, choice, outlier, groups)


def draw_datasets(
    datasets: Sequence[OfDataset],
    styles: Mapping[str, Style],
    named: Sequence[str] = (),
    choice: Choice | None = None,
    outlier: str = "",
    groups: bool = False,
) -> texts.Drawing | None:
    """Draw a panel for each metric and a legend; None where no points can be plotted.

    Several datasets are rows of panels, a column for each metric, with the same codecs and range of
    rates. Rates are on a logarithmic axis unless the look says otherwise: sweeps are geometric, and
    on a linear one a dozen codecs meet in the lowest quarter.

    styles: by `System.label`. named: the codecs that were asked for. choice: the curves to show, if
    not of these panels alone. outlier: see `draw_panel`. groups: put the legend's entries under
    their groups.
    """
    # Together: a published curve says so beside one that was measured on any of the datasets.
    every = renamed([panel for of in datasets for panel in of.panels])
    choice = choice or choose(every, datasets[0].anchor, named)
    parts = iter(every)
    called = [of._replace(panels=[*islice(parts, len(of.panels))]) for of in datasets]
    rows, lacking, lone = _shown(called, choice)
    if not rows:
        return None
    panels = [panel for of in rows for panel in of.panels]
    measures = list(dict.fromkeys(panel.measure for panel in panels))
    frame = frame_of(panels)
    handles: dict[str, Line2D] = {}
    with looks.figure_style():
        figure, grid, inches = _axes_of(rows, measures)
        for of, every_axes in zip(rows, grid, strict=True):
            for axes, panel in zip(every_axes, of.panels, strict=True):
                for curve, handle in draw_panel(
                    axes, panel, styles, look().linear_rate, outlier, frame
                ):
                    handles.setdefault(curve.name, handle)
            texts.title(every_axes[0], f"{of.title}, {sections.images_of(of.panels)}", inches)
        ordered = [handles[name] for name in map(choice.title, choice.kept) if name in handles]
        if groups:
            ordered.sort(key=lambda handle: (*GROUPS, "").index(handle.get_gid()))
        signs = sections.panels_note(panels), _cut(panels)
        texts.add_legend(figure, ordered, " ".join(filter(None, [*lacking, *signs])), groups)
    count = len(choice.kept)
    shown = (
        f"{sections.metric_names(measures)} against rate on "
        f"{sections.listed([f'{of.title} ({sections.images_of(of.panels)})' for of in rows])}, "
        "means over images."
    )
    whole = " ".join([shown, *lacking])
    caption = sections.brief(
        *([shown, *lacking] if sections.brief(whole) else [shown, LACKING]),
        *sections.scale_sentences(measures),
        "Bars: 95 % intervals." if _with_bars(panels) else None,
        *signs,
        f"{count} of {count + len(choice.absent)} curves." if choice.absent else None,
    )
    details = [text for of in rows for text in curve_details(of.panels, of.title, of.summary)]
    details += [*lacking, *sections.not_drawn(choice.absent), *lone]
    same = [choice.title(name) for name in choice.kept if name in choice.alike]
    details += [
        f"Of equal rates, and equal values within {100 * AS_ONE:.0f} % of the axis: {name}."
        for name in same
    ]
    if len(rows) == 1:
        table = texts.rate_table(panels, rows[0].anchor)
        return texts.Drawing(figure, caption, texts.point_records(panels), table, tuple(details))
    marks = [
        {"dataset": of.title, **mark} for of in rows for mark in texts.point_records(of.panels)
    ]
    return texts.Drawing(figure, caption, marks, None, tuple(dict.fromkeys(details)))


def _shown(
    datasets: Sequence[OfDataset], choice: Choice
) -> tuple[list[OfDataset], list[str], list[str]]:
    """Return the datasets with the chosen curves, and sentences on what a panel lacks or drops."""
    rows, lacking, lone = [], list[str](), list[str]()
    for of in datasets:
        if panels := choice.of(of.panels):
            where = f"{of.title}: " if len(datasets) > 1 else ""
            there = {panel.measure for panel in panels}
            absent = [of.measure for of in of.panels if of.measure not in there]
            names = sections.metric_names(absent)
            lacking += [f"{where}{names}: no values of these codecs."] if names else []
            lacking += [f"{where}{sentence}" for sentence in choice.lacking(panels)]
            panels, dropped = _without_lone_points(panels)
            lone += [f"{where}{sentence}" for sentence in dropped]
            rows.append(of._replace(panels=panels))
    return rows, lacking, lone


def _axes_of(
    rows: Sequence[OfDataset], measures: Sequence[Measure]
) -> "tuple[Figure, list[list[Axes]], float]":
    """Return a figure, the axes of each dataset's panels, and the inches that a title may take.

    One dataset, or one metric, is panels beside each other; else a row is a dataset, and in a
    column's width all are below each other.
    """
    if 1 in (len(rows), len(measures)):
        figure, every, width = texts.panel_figure(len(rows) * len(measures))
        # Titles stand beside each other; that of one dataset may go on over its other panels.
        columns = texts.panels_in_a_row(len(rows)) if len(rows) > 1 else 1
    else:
        width = texts.figure_width(len(measures))
        columns = 1 if width == WIDTHS["column"] else len(measures)
        down = len(rows) * len(measures) // columns
        figure, grid = texts.new_figure(width, looks.PANEL_INCHES * down, down, columns)
        every, columns = [*grid.ravel()], 1
    result, axes = [], iter(every)
    for of in rows:
        there = {panel.measure: None for panel in of.panels}
        mine = dict(zip(measures, islice(axes, len(measures)), strict=True))
        for measure in mine.keys() - there.keys():
            mine[measure].remove()
        result.append([mine[measure] for measure in there])
    return figure, result, 0.8 * width / columns


def _without_lone_points(panels: Sequence[Panel]) -> tuple[list[Panel], list[str]]:
    """Return panels without published curves that have one point there and more in another panel.

    Also return sentences on them.
    """
    curves = [curve for panel in panels for curve in panel.published]
    others = {curve.name for curve in curves if len(curve.points) > 1}
    result, sentences = [], []
    for panel in panels:
        lone = [c for c in panel.published if len(c.points) == 1 and c.name in others]
        kept = tuple(curve for curve in panel.curves if curve not in lone)
        result.append(panel._replace(curves=kept or panel.curves))
        if lone and kept:
            names = ", ".join(curve.name for curve in lone)
            sentences.append(f"Of one point in {panel.measure.label}, not drawn: {names}.")
    return result, sentences


def _cut(panels: Sequence[Panel]) -> str:
    """Return the sentence on curves that go on beyond the frame; empty without any."""
    most = frame_of(panels).high
    curves = {c.name: c.points for panel in panels for c in panel.curves if c.points[0].bpp <= most}
    ends = {name: points[-1].bpp for name, points in curves.items()}
    names = [f"{name} to {end:.2g} bpp" for name, end in ends.items() if end > most]
    return f"Beyond the frame: {', '.join(names)}." if names else ""


def _with_bars(panels: Sequence[Panel]) -> list[str]:
    return [p.measure.label for p in panels if any(q.interval for c in p.curves for q in c.points)]


def curve_details(panels: Sequence[Panel], dataset: str, summary: Summary | None) -> Iterator[str]:
    """Yield sentences on protocols, builds, caveats and what is left out."""
    curves = [(panel.measure, curve) for panel in panels for curve in panel.curves]
    points = [(measure, curve, point) for measure, curve in curves for point in curve.points]
    published = [mark for mark in points if not mark[1].measured]
    pooled = summary is not None and summary.average == "pooled"
    average = "all bits over all pixels" if pooled else "the mean of each image's bpp"
    yield f"{dataset}: means over {sections.images_of(panels)}; rates are {average}."
    yield from (
        sections.protocol_sentence(panel.measure, panel.names_by_protocol) for panel in panels
    )
    if summary is not None:
        yield f"Protocol of rates: {summary.protocols['coding']}."
        if summary.dropped:
            yield f"Restricted to the images that all points have; left out: {summary.dropped}."
        yield from sections.mixed_sentences(summary)
    origins = sections.grouped(
        (p.how, f"{c.name} ({p.source})") for _, c, p in points if c.measured
    )
    yield from (f"{HOW[how]}: {', '.join(names)}." for how, names in origins.items())
    if published:
        for origin, words in (("published", "Published"), ("file", "From a file")):
            sources = sections.grouped(
                (p.source + ORIGINS[p.how], c.system.name)
                for _, c, p in published
                if c.origin == origin
            )
            if sources:
                yield f"{words} (open markers, broken lines): {sections.by_name(sources)}."
    errors = sections.grouped(
        (measure.label, f"{c.system.name} ± {p.value_error:g}")
        for measure, c, p in published
        if p.value_error
    )
    yield from (f"Reading error in {metric}: {', '.join(of)}." for metric, of in errors.items())
    rules = sorted({p.rate_protocol for *_, p in published} - {"coding/1", UNSTATED})
    if rules:
        yield f"Published rates are as their sources count them ({sections.listed(rules)})."
    notes = sections.grouped((p.note, c.system.name) for _, c, p in published if p.note)
    yield from (f"{sections.by_name({note: names})}." for note, names in notes.items())
    trained = sections.grouped(
        (m.label, c.name) for m, c in curves if m.column in trained_on(c.system.label)
    )
    if trained:
        words = "; ".join(
            f"{metric} of {sections.listed(names)}" for metric, names in trained.items()
        )
        yield f"In the training loss: {words}."
    yield from network_sentences(curve for _, curve in curves)
    marked = sections.caveats(curve for _, curve in curves)
    yield from (f"{sections.by_name({text: names})}." for text, names in marked.items())
    most = frame_of(panels).high
    beyond = {c.name for _, c, p in points if c.measured and p.bpp > most}
    if beyond:
        yield f"Points beyond {most:.3g} bpp are not shown: {', '.join(sorted(beyond))}."
    refused = sections.grouped((key.why, key.label) for panel in panels for key in panel.excluded)
    for why, labels in refused.items():
        yield f"Points left out ({why}): {', '.join(labels)}."
    of_sets = [panel.measure.label for panel in panels if panel.measure.of_sets]
    if of_sets:
        yield f"{sections.listed(of_sets)}: one value of the whole set, no mean."
    for label in _with_bars(panels):
        over = (
            "raters and images" if label == PREFERENCE.label else "images (infinitesimal jackknife)"
        )
        yield f"Bars are 95 % intervals of {label} over {over}."
    yield from sections.few_sentences(panel.measure for panel in panels if texts.few_images(panel))
