"""Rate curves: at most eight by one rule, a panel for each metric, which other figures share."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.compare.curves import Delta, bd_rate
from benchmark.compare.panel import Panel, SystemCurve, records
from benchmark.errors import BenchError
from benchmark.metrics.measure import Measure
from benchmark.rows.summary import Summary
from benchmark.rows.systems import GROUPS, family, kind, option_count, plainness, trained_on
from benchmark.show import phrases
from benchmark.show.bd_tables import rate_table
from benchmark.show.figures import style as looks
from benchmark.show.figures import texts
from benchmark.show.figures.style import BAR_POINTS, Style, look
from benchmark.show.means import network_sentences
from benchmark.spec import parse_codec, resolve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

CROP_BPP = 3.0  # beyond it lies what compression papers do not compare
WIDE_RATIO = 10  # between the values of a metric on a logarithmic axis
ROOM = 1.12  # factor between the outermost rates and the ends of a logarithmic axis
MOST_TICKS = 7  # on a linear axis of values
MOST_MARKERS = 14  # on one published curve; some csv files have a hundred points
MOST_OWN = 3
HOW = {"measured": "Measured", "recorded": "Recorded (a pack, or bundled rows)"}
ORIGINS = {
    "author_csv": "", "author_json": "", "author_table": "", "author_script": "",
    "author_thread": ", a thread", "other_paper_plot_file": ", another paper's file",
    "table": ", a table", "digitised": ", read from a figure",
}  # fmt: skip


def draw_rate_curves(
    panels: Sequence[Panel],
    styles: Mapping[str, Style],
    dataset: str,
    summary: Summary | None = None,
    *,
    anchor: str = "",
    named: Sequence[str] = (),
    outlier: str = "",
    groups: bool = False,
) -> texts.Drawing | None:
    """Draw a panel for each metric and a legend; None where no points can be plotted.

    Rates are on a logarithmic axis unless the look says otherwise: sweeps are geometric, and on a
    linear one a dozen codecs meet in the lowest quarter.

    styles: by `System.label`. dataset: its title. summary: of the measured curves. anchor: label
    that BD-rates are against. named: the codecs that were asked for. outlier: see `draw_panel`.
    groups: put the legend's entries under their groups.
    """
    panels, absent = shown(panels, anchor, named)
    if not panels:
        return None
    images = phrases.images_of(panels)
    handles: dict[str, Line2D] = {}
    with looks.figure_style():
        figure, every_axes, width = texts.panel_figure(len(panels))
        for axes, panel in zip(every_axes, panels, strict=True):
            for curve, handle in draw_panel(axes, panel, styles, look().linear_rate, outlier):
                handles.setdefault(curve.name, handle)
        texts.title(every_axes[0], f"{dataset}, {images} images", 0.8 * width)
        ordered = [handles[name] for name in chosen_names(panels, anchor, None) if name in handles]
        if groups:
            ordered.sort(key=lambda handle: (*GROUPS, "").index(handle.get_gid()))
        texts.add_legend(figure, ordered, phrases.panels_note(panels), groups)
    measures = [panel.measure for panel in panels]
    count = len({curve.name for panel in panels for curve in panel.curves})
    caption = phrases.brief(
        f"{phrases.metric_names(measures)} against rate on {dataset} ({images} images), means over "
        "images.",
        *phrases.scale_sentences(measures),
        "Bars: 95 % intervals over images." if _with_bars(panels) else None,
        phrases.panels_note(panels),
        f"{count} of {count + len(absent)} curves." if absent else None,
    )
    details = [*curve_details(panels, dataset, summary), *phrases.not_drawn(absent)]
    table = rate_table(panels, anchor)
    return texts.Drawing(figure, caption, records(panels), table, tuple(details))


def _with_bars(panels: Sequence[Panel]) -> list[str]:
    measures = [panel.measure for panel in panels]
    return [measure.label for measure in measures if measure.of_sets and measure.by_image]


def draw_panel(
    axes: "Axes",
    panel: Panel,
    styles: Mapping[str, Style],
    linear_rate: bool = False,
    outlier: str = "",
) -> "list[tuple[SystemCurve, Line2D]]":
    """Draw the curves of a panel, frame its axes, and return each with its line.

    Measured curves wholly beyond CROP_BPP are left out where others are not. The axis of values
    spans those of all curves but the system named `outlier`.
    """
    inside = [c for c in panel.measured if min(p.bpp for p in c.points) <= CROP_BPP]
    seen = panel._replace(curves=(*panel.published, *(inside or panel.measured)))
    lines = [
        (curve, _draw(axes, curve, panel.measure, styles[curve.system.label]))
        for curve in seen.curves
    ]
    _frame(axes, seen, linear_rate, outlier)
    return lines


def _draw(axes: "Axes", curve: SystemCurve, measure: Measure, style: Style) -> "Line2D":
    own = kind(curve.system) == "own"
    properties = looks.line(style, published=not curve.measured, sampled=curve.sampled, own=own)
    every = math.ceil(len(curve.points) / MOST_MARKERS) if not curve.measured else 1
    order = 2 + 0.1 * curve.measured + 0.2 * own
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


def _frame(axes: "Axes", panel: Panel, linear_rate: bool, outlier: str) -> None:
    """Set limits from the points inside the crop, ticks, and the words on the axes."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    measure = panel.measure
    every = [point.bpp for curve in panel.curves for point in curve.points]
    rates = [bpp for bpp in every if bpp <= CROP_BPP] or every
    framing = [curve for curve in panel.curves if curve.system.name != outlier] or panel.curves
    points = [point for curve in framing for point in curve.points if point.bpp <= max(rates)]
    values = [measure.plotted(point.value) for point in points]
    low, high = min(values), max(values)
    if measure.scale == "decades" and 0 < WIDE_RATIO * low < high:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.2, high * 1.2)
        texts.plain_ticks(axes.yaxis)
    else:
        margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(MOST_TICKS, steps=[1, 2, 5, 10]))
    room = 1.04 if linear_rate else ROOM
    right = room * max(rates)
    beyond = [bpp for bpp in every if bpp > max(rates)]
    if beyond:
        right = min(right, math.sqrt(max(rates) * min(beyond)))  # so no marker is half shown
    if linear_rate:
        axes.set_xlim(0, right)
    else:
        axes.set_xscale("log")
        axes.set_xlim(min(rates) / room, right)
        texts.plain_ticks(axes.xaxis, wide=right * room / min(rates) > 5)
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
        sources = phrases.grouped(
            (p.source + ORIGINS[p.how], c.system.name) for _, c, p in published
        )
        yield f"Published (open markers, broken lines): {phrases.by_name(sources)}."
    errors = phrases.grouped(
        (measure.label, f"{c.name} ± {p.value_error:g}")
        for measure, c, p in published
        if p.value_error
    )
    yield from (f"Reading error in {metric}: {', '.join(of)}." for metric, of in errors.items())
    rules = sorted({p.rate_protocol for *_, p in published} - {"coding/1"})
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
    beyond = {c.name for _, c, p in points if c.measured and p.bpp > CROP_BPP}
    if beyond:
        yield f"Points beyond {CROP_BPP:g} bpp are not shown: {', '.join(sorted(beyond))}."
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


def shown(
    panels: Sequence[Panel], anchor: str = "", named: Sequence[str] = ()
) -> tuple[list[Panel], list[str]]:
    """Return the panels as the look in force shows them, and names of the curves left out.

    Curves have their names and are in the order of legends. anchor: label that strength is against.
    named: codecs or labels.
    """
    panels = renamed([panel for panel in panels if panel.curves])
    kept = chosen_names(panels, anchor, look().most, named)
    cut = []
    for panel in panels:
        curves = [curve for curve in panel.curves if curve.name in kept]
        curves.sort(key=lambda curve: kept.index(curve.name))
        if curves:
            cut.append(panel._replace(curves=tuple(curves)))
    return cut, [name for name in chosen_names(panels, anchor, None) if name not in kept]


def renamed(panels: Sequence[Panel]) -> list[Panel]:
    """Give curves the names of the look; a published one beside one measured says so."""
    labels = {curve.system.label for panel in panels for curve in panel.curves}
    names = looks.by_label(look().label, labels)
    measured = {curve.system.label for panel in panels for curve in panel.measured}

    def called(curve: SystemCurve) -> SystemCurve:
        label = curve.system.label
        twice = not curve.measured and label in measured
        system = curve.system._replace(name=names.get(label, curve.system.name))
        return curve._replace(system=system, build="published" if twice else curve.build)

    return [panel._replace(curves=tuple(map(called, panel.curves))) for panel in panels]


def chosen_names(
    panels: Sequence[Panel], anchor: str, most: int | None, named: Sequence[str] = ()
) -> list[str]:
    """Return the names of at most so many curves in the order of the legend."""
    every = [curve for panel in panels for curve in (*panel.measured, *panel.published)]
    known = {curve.name: curve for curve in sorted(every, key=lambda curve: not curve.measured)}
    kept = list(known)
    if most is not None and len(known) > most:
        curves = list(known.values())
        wanted = _named(curves, named) if named else _best(panels[0], curves, anchor)
        first = list(dict.fromkeys(curve.name for curve in wanted))[:most]
        kept = [name for name in known if name in first]
    return sorted(kept, key=lambda name: look().place(known[name].system.label))


def _named(every: Sequence[SystemCurve], named: Sequence[str]) -> list[SystemCurve]:
    """Return the curves of the named codecs in their order, then published ones.

    A bare name means the codec's default variants, where these have rows.
    """
    asked = []
    for text in named:
        usual = {text}
        with suppress(BenchError):
            spec = parse_codec(text)
            usual |= {spec.label, *(own.label for own in ([] if spec.options else resolve(spec)))}
        mine = [c for c in every if c.measured and looks.names_meaning(c.system.label) & usual]
        asked += [curve for curve in mine if curve.system.label in usual] or mine
    return [*asked, *(curve for curve in every if not curve.measured)]


def _best(first: Panel, every: Sequence[SystemCurve], anchor: str) -> list[SystemCurve]:
    """Return all curves, those that matter most first.

    Own ones (the plain variant, each other own codec, the strongest with fewest options, the
    strongest), the anchor, published ones, the best standard and the best learned codec, the best
    of each further family. Strength is the BD-rate against the anchor in the panel `first`.
    """
    rates = {curve.name: curve.rates(first.measure) for curve in first.curves}
    reference = {curve.system.label: rates[curve.name] for curve in first.curves}.get(anchor)

    def strength(curve: SystemCurve) -> float:
        both = reference is not None and curve.name in rates
        delta = bd_rate(reference, rates[curve.name]) if reference and both else None
        return delta.value if isinstance(delta, Delta) else math.inf

    ranked = sorted(every, key=strength)
    families = {curve.name: family(curve.system.label) for curve in ranked}
    own = [curve for curve in ranked if kind(curve.system) == "own"]

    def least(key: Callable[[str], int]) -> list[SystemCurve]:
        return sorted(own, key=lambda curve: key(curve.system.label))

    plain = least(plainness)
    codecs = {families[curve.name]: curve for curve in reversed(plain)}
    mine = [*plain[:1], *codecs.values(), *least(option_count)[:1], *own[:1]]
    wanted = list(dict.fromkeys(mine))[:MOST_OWN]
    wanted += [curve for curve in ranked if curve.system.label == anchor]
    wanted += [curve for curve in ranked if not curve.measured]
    others = [curve for curve in ranked if families[curve.name] != family(anchor)]
    for sort in ("standard", "learned"):
        wanted += [curve for curve in others if kind(curve.system) == sort][:1]
    seen = {families[curve.name] for curve in wanted}
    bests = {families[curve.name]: curve for curve in reversed(ranked)}
    wanted += [c for c in ranked if c in bests.values() and families[c.name] not in seen]
    return [*wanted, *ranked]
