"""Rate curves: a panel for each metric, which other figures share."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmark.compare.panel import Panel, SystemCurve, records
from benchmark.metrics.measure import Measure
from benchmark.registry import UNSTATED
from benchmark.rows.summary import Summary
from benchmark.rows.systems import GROUPS, kind, trained_on
from benchmark.show import phrases
from benchmark.show.bd_tables import rate_table
from benchmark.show.figures import style as looks
from benchmark.show.figures import texts
from benchmark.show.figures.choice import AS_ONE, Choice, choose, is_own
from benchmark.show.figures.style import BAR_POINTS, Style, look
from benchmark.show.means import network_sentences

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

CROP_BPP = 4.0  # beyond it lies what compression papers do not compare, but for own curves
WIDE_RATIO = 10  # between the values of a metric on a logarithmic axis
ROOM = 1.12  # factor between the outermost rates and the ends of a logarithmic axis
MOST_TICKS = 7  # on a linear axis of values
MOST_MARKERS = 14  # on one published curve; some csv files have a hundred points
HOW = {"measured": "Measured", "recorded": "Bundled (with the project, or in a pack)"}
ORIGINS = {
    "author_csv": "", "author_json": "", "author_table": "", "author_script": "",
    "author_thread": ", a thread", "other_paper_plot_file": ", another paper's file",
    "table": ", a table", "digitised": ", read from a figure",
}  # fmt: skip


class Frame(NamedTuple):
    """Range of the rates that the panels of a figure show, in bpp."""

    low: float
    high: float
    most: float  # no point above it is inside
    beyond: float  # the lowest rate of a point above `high`; infinite without any


def frame_of(panels: Iterable[Panel]) -> Frame:
    """Return the range of all points up to CROP_BPP, and of all points of own curves."""
    curves = [curve for panel in panels for curve in panel.curves]
    every = [point.bpp for curve in curves for point in curve.points]
    own = [point.bpp for curve in curves if is_own(curve) for point in curve.points]
    most = max([CROP_BPP, *own])
    inside = [bpp for bpp in every if bpp <= most] or every
    beyond = min((bpp for bpp in every if bpp > max(inside)), default=math.inf)
    return Frame(min(inside), max(inside), most, beyond)


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
    """Draw a panel for each metric and a legend; None where no points can be plotted.

    Rates are on a logarithmic axis unless the look says otherwise: sweeps are geometric, and on a
    linear one a dozen codecs meet in the lowest quarter.

    styles: by `System.label`. dataset: its title. summary: of the measured curves. anchor: label
    that BD-rates are against. named: the codecs that were asked for. choice: the curves to show, if
    not of these panels alone. outlier: see `draw_panel`. groups: put the legend's entries under
    their groups.
    """
    choice = choice or choose(panels, anchor, named)
    panels = choice.of(panels)
    if not panels:
        return None
    lacking = choice.lacking(panels)
    panels, lone = _without_lone_points(panels)
    images, frame = phrases.images_of(panels), frame_of(panels)
    handles: dict[str, Line2D] = {}
    with looks.figure_style():
        figure, every_axes, width = texts.panel_figure(len(panels))
        for axes, panel in zip(every_axes, panels, strict=True):
            for curve, handle in draw_panel(
                axes, panel, styles, look().linear_rate, outlier, frame
            ):
                handles.setdefault(curve.name, handle)
        texts.title(every_axes[0], f"{dataset}, {images} images", 0.8 * width)
        ordered = [handles[name] for name in map(choice.title, choice.kept) if name in handles]
        if groups:
            ordered.sort(key=lambda handle: (*GROUPS, "").index(handle.get_gid()))
        note = " ".join(filter(None, [phrases.panels_note(panels), *lacking, _cut(panels)]))
        texts.add_legend(figure, ordered, note, groups)
    measures = [panel.measure for panel in panels]
    count = len(choice.kept)
    caption = phrases.brief(
        f"{phrases.metric_names(measures)} against rate on {dataset} ({images} images), means over "
        "images.",
        *phrases.scale_sentences(measures),
        "Bars: 95 % intervals over images." if _with_bars(panels) else None,
        note,
        f"{count} of {count + len(choice.absent)} curves." if choice.absent else None,
    )
    details = [*curve_details(panels, dataset, summary), *phrases.not_drawn(choice.absent), *lone]
    same = [choice.title(name) for name in choice.kept if name in choice.alike]
    details += [
        f"Of equal rates, and equal values within {100 * AS_ONE:.0f} % of the axis: {name}."
        for name in same
    ]
    table = rate_table(panels, anchor)
    return texts.Drawing(figure, caption, records(panels), table, tuple(details))


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
    measures = [panel.measure for panel in panels]
    return [measure.label for measure in measures if measure.of_sets and measure.by_image]


def draw_panel(
    axes: "Axes",
    panel: Panel,
    styles: Mapping[str, Style],
    linear_rate: bool = False,
    outlier: str = "",
    frame: Frame | None = None,
) -> "list[tuple[SystemCurve, Line2D]]":
    """Draw the curves of a panel, frame its axes, and return each with its line.

    Curves wholly beyond the frame are left out. The axis of values spans those of all curves but
    the system named `outlier`. frame: of the figure; default: of this panel.
    """
    frame = frame or frame_of([panel])
    inside = [c for c in panel.curves if min(p.bpp for p in c.points) <= frame.high]
    ordered = sorted(inside, key=lambda curve: curve.measured)
    seen = panel._replace(curves=tuple(ordered))
    lines = [
        (curve, _draw(axes, curve, panel.measure, styles[curve.system.label]))
        for curve in seen.curves
    ]
    _set_frame(axes, seen, linear_rate, outlier, frame)
    return lines


def _draw(axes: "Axes", curve: SystemCurve, measure: Measure, style: Style) -> "Line2D":
    own = kind(curve.system) == "own"
    properties = looks.line(style, published=not curve.measured, sampled=curve.sampled, own=own)
    every = math.ceil(len(curve.points) / MOST_MARKERS) if not curve.measured else 1
    order = 2 + 0.05 * curve.sampled + 0.1 * curve.measured + 0.2 * own
    bpp, values = curve.plotted(measure)
    name = phrases.marked(curve.name, curve.caveats)
    properties |= {"label": name, "gid": curve.system.group}
    (handle,) = axes.plot(bpp, values, markevery=every, zorder=order, **properties)
    for point in curve.points:
        if point.interval is not None:
            ends = [measure.plotted(end) for end in point.interval]
            axes.vlines(point.bpp, ends[0], ends[1], colors=style.colour, linewidth=0.7, alpha=0.6)
    if any(point.value_error or point.bpp_error for point in curve.points):
        low, high = (
            [measure.plotted(p.value + sign * (p.value_error or 0)) for p in curve.points]
            for sign in (-1, 1)
        )
        if curve.sampled:
            axes.fill_between(bpp, low, high, color=style.colour, alpha=0.18, linewidth=0, zorder=1)
        else:
            spans = np.abs(np.array([low, high]) - values)
            rates = [point.bpp_error or 0 for point in curve.points]
            bars: Any = {"ecolor": style.colour, "elinewidth": BAR_POINTS, "capthick": BAR_POINTS}
            axes.errorbar(bpp, values, spans, rates, fmt="none", capsize=1.2, zorder=1.8, **bars)
    return handle


def _set_frame(axes: "Axes", panel: Panel, linear_rate: bool, outlier: str, frame: Frame) -> None:
    """Set limits from the points inside the frame, ticks, and the words on the axes."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    measure = panel.measure
    framing = [curve for curve in panel.curves if curve.system.name != outlier] or panel.curves
    points = [point for curve in framing for point in curve.points if point.bpp <= frame.high]
    values = [measure.plotted(point.value) for point in points]
    ends = [measure.plotted(end) for point in points for end in point.interval or ()]
    low, high = min(values), max(values)
    if measure.scale == "decades" and 0 < WIDE_RATIO * low < high:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        texts.plain_ticks(axes.yaxis)
    else:
        low, high = min([low, *ends]), max([high, *ends])
        margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(MOST_TICKS, steps=[1, 2, 5, 10]))
    room = 1.04 if linear_rate else ROOM
    # so no marker is half shown
    right = min(room * frame.high, math.sqrt(frame.high * frame.beyond))
    if linear_rate:
        axes.set_xlim(0, right)
    else:
        axes.set_xscale("log")
        axes.set_xlim(frame.low / room, right)
        texts.plain_ticks(axes.xaxis, wide=right * room / frame.low > 5)
    axes.set_xlabel(texts.RATE_LABEL)
    axes.set_ylabel(texts.axis_words(measure, texts.few_images(panel)))
    sns.despine(ax=axes)


def curve_details(panels: Sequence[Panel], dataset: str, summary: Summary | None) -> Iterator[str]:
    """Yield sentences on protocols, builds, caveats and what is left out."""
    curves = [(panel.measure, curve) for panel in panels for curve in panel.curves]
    points = [(measure, curve, point) for measure, curve in curves for point in curve.points]
    published = [mark for mark in points if not mark[1].measured]
    pooled = summary is not None and summary.average == "pooled"
    average = "all bits over all pixels" if pooled else "the mean of each image's bpp"
    yield f"{dataset}: means over {phrases.images_of(panels)} images; rates are {average}."
    yield from (
        phrases.protocol_sentence(panel.measure, panel.names_by_protocol) for panel in panels
    )
    if summary is not None:
        yield f"Protocol of rates: {summary.protocols['coding']}."
        if summary.dropped:
            yield f"Restricted to the images that all points have; left out: {summary.dropped}."
        yield from phrases.mixed_sentences(summary)
    origins = phrases.grouped((p.how, f"{c.name} ({p.source})") for _, c, p in points if c.measured)
    yield from (f"{HOW[how]}: {', '.join(names)}." for how, names in origins.items())
    if published:
        for origin, words in (("published", "Published"), ("file", "From a file")):
            sources = phrases.grouped(
                (p.source + ORIGINS[p.how], c.system.name)
                for _, c, p in published
                if c.origin == origin
            )
            if sources:
                yield f"{words} (open markers, broken lines): {phrases.by_name(sources)}."
    errors = phrases.grouped(
        (measure.label, f"{c.name} ± {p.value_error:g}")
        for measure, c, p in published
        if p.value_error
    )
    yield from (f"Reading error in {metric}: {', '.join(of)}." for metric, of in errors.items())
    rules = sorted({p.rate_protocol for *_, p in published} - {"coding/1", UNSTATED})
    if rules:
        yield f"Published rates are as their sources count them ({phrases.listed(rules)})."
    notes = phrases.grouped((p.note, c.name) for _, c, p in published if p.note)
    yield from (f"{phrases.by_name({note: names})}." for note, names in notes.items())
    trained = phrases.grouped(
        (m.label, c.name) for m, c in curves if m.column in trained_on(c.system.label)
    )
    if trained:
        words = "; ".join(
            f"{metric} of {phrases.listed(names)}" for metric, names in trained.items()
        )
        yield f"In the training loss: {words}."
    yield from network_sentences(curve for _, curve in curves)
    marked = phrases.caveats(curve for _, curve in curves)
    yield from (f"{phrases.by_name({text: names})}." for text, names in marked.items())
    most = frame_of(panels).high
    beyond = {c.name for _, c, p in points if c.measured and p.bpp > most}
    if beyond:
        yield f"Points beyond {most:.3g} bpp are not shown: {', '.join(sorted(beyond))}."
    refused = dict.fromkeys(key.label for panel in panels for key in panel.excluded)
    if refused:
        yield f"Points that are not comparable are left out: {', '.join(refused)}."
    of_sets = [panel.measure.label for panel in panels if panel.measure.of_sets]
    if of_sets:
        yield f"{phrases.listed(of_sets)}: one value of the whole set, no mean."
    if bars := _with_bars(panels):
        words = phrases.listed(bars)
        yield f"Bars are 95 % intervals of {words} over images (infinitesimal jackknife)."
    yield from phrases.few_sentences(panel.measure for panel in panels if texts.few_images(panel))
