"""The curves that a figure shows, and what is said of them.

They are at most eight, equal ones as one, in the order of legends: those that were named, or else
the user's own, the anchor, this project's method where nothing is the user's, published ones, then
what was measured here before what is bundled, by BD-rate in the first metric, one variant of a
family before second ones.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from benchmark.compare.curves import bd_rate
from benchmark.compare.panel import CurvePoint, Panel, SystemCurve, is_users
from benchmark.errors import BenchError
from benchmark.metrics.metric import Metric
from benchmark.registry import UNSTATED
from benchmark.rows.experiment import usual_variants
from benchmark.rows.summary import Summary
from benchmark.rows.systems import OWN, family, kind, label_of, option_count, trained_on
from benchmark.show import sections
from benchmark.show.figures import style as looks
from benchmark.show.figures import texts
from benchmark.show.figures.style import look
from benchmark.show.means import network_sentences
from benchmark.spec import parse_codec
from benchmark.system.text import by_key, listed

# The largest difference of two curves that are shown as one: of a panel's span of values, which is
# less than a line's width, and where values are decibels their last printed digit.
AS_ONE, AS_ONE_DB = 0.01, 0.01
MOST_NAMES = 8  # in a sentence on what a panel lacks
CROP_BPP = 4.0  # beyond it lies what compression papers do not compare, but for own curves
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
    own = [point.bpp for curve in curves if curve.origin == "here" for point in curve.points]
    most = max([CROP_BPP, *own])
    inside = [bpp for bpp in every if bpp <= most] or every
    beyond = min((bpp for bpp in every if bpp > max(inside)), default=math.inf)
    return Frame(min(inside), max(inside), most, beyond)


def beyond_sentences(
    panels: Iterable[Panel], cut: Iterable[Panel], up_to_bpp: float | None
) -> list[str]:
    """Return a sentence on curves without a point below the rate where panels are cut, if any."""
    left = {curve.name for panel in panels for curve in panel.curves}
    left -= {curve.name for panel in cut for curve in panel.curves}
    return [f"No point below {up_to_bpp:g} bpp: {', '.join(sorted(left))}."] if left else []


class Choice(NamedTuple):
    """The curves that the panels of a figure, a page or a report show."""

    kept: Mapping[str, SystemCurve]  # by name, in the order of the legend
    absent: Mapping[str, SystemCurve]  # those that are left out
    alike: Mapping[str, Sequence[str]]  # names of the curves that are shown as one with a kept one

    @property
    def labels(self) -> list[str]:
        """The labels of the measured curves."""
        return [curve.system.label for curve in self.kept.values() if curve.measured]

    @property
    def published(self) -> list[str]:
        """The names of the published curves."""
        return [name for name, curve in self.kept.items() if not curve.measured]

    def of(self, panels: Sequence[Panel]) -> list[Panel]:
        """Return the panels with the kept curves alone, without panels that have none of them."""
        order, result = list(self.kept), []
        for panel in renamed(panels):
            curves = [curve for curve in panel.curves if curve.name in self.kept]
            curves.sort(key=lambda curve: order.index(curve.name))
            titled = (c.called(self.title(c.name)) if c.name in self.alike else c for c in curves)
            result.append(panel._replace(curves=tuple(titled)))
        return [panel for panel in result if panel.curves]

    def title(self, name: str) -> str:
        """Return the name of a kept curve in the legend: those of the equal ones, too."""
        return " = ".join([name, *self.alike.get(name, ())])

    def lacking(self, panels: Sequence[Panel]) -> list[str]:
        """Return sentences on the kept curves that all of the figure's panels lack, or one does."""
        sentences = []
        for measured, word in ((True, "measured"), (False, "reported")):
            kept = [curve for curve in self.kept.values() if curve.measured is measured]
            lacked = [_lacking(kept, panel) for panel in panels]
            whole = [name for name in lacked[0] if all(name in names for names in lacked)]
            if whole:
                sentences.append(f"Not {word}: {listed(whole, most=MOST_NAMES)}.")
            for panel, names in zip(panels, lacked, strict=True):
                if rest := [name for name in names if name not in whole]:
                    metric = panel.metric.label.partition(" (dB)")[0]
                    sentences.append(f"{metric} not {word}: {listed(rest, most=MOST_NAMES)}.")
        return sentences


def _lacking(curves: Sequence[SystemCurve], panel: Panel) -> list[str]:
    """Return the names of the curves that a panel has no points of, without "published"."""
    there = {(curve.system.label, curve.measured) for curve in panel.curves}
    lacked = [curve for curve in curves if (curve.system.label, curve.measured) not in there]
    return [curve.name if curve.measured else curve.system.name for curve in lacked]


def choose(panels: Sequence[Panel], anchor: str = "", named: Sequence[str] = ()) -> Choice:
    """Choose the curves to show by the look in force, out of those of all panels.

    A curve that no panel shows apart from another is shown as one with it. The codecs that were
    named and the user's own are always kept. anchor: label that strength is against. named: codecs
    or labels.
    """
    panels = renamed([panel for panel in panels if panel.curves])
    every = [curve for panel in panels for curve in (*panel.measured, *panel.published)]
    known = {curve.name: curve for curve in sorted(every, key=lambda curve: not curve.measured)}
    first = _equal(panels, known, anchor)
    distinct = [name for name in known if first[name] == name]
    kept, most = distinct, look().most
    if most is not None and len(distinct) > most:
        curves = list(known.values())
        users = [curve for curve in curves if curve.measured and is_users(curve.system.label)]
        asked = _named(curves, named) if named else []
        wanted = asked or _by_rank(panels[0], curves, users, anchor)
        always = len({first[curve.name] for curve in (asked or users) if curve.measured})
        names = list(dict.fromkeys(first[curve.name] for curve in wanted))
        kept = [name for name in distinct if name in names[: max(most, always)]]
    kept.sort(key=lambda name: look().place(known[name].system.label))
    alike = by_key((first[name], name) for name in known if first[name] != name)
    absent = {name: known[name] for name in distinct if name not in kept}
    return Choice({name: known[name] for name in kept}, absent, alike)


def without_place(choice: Choice, asked: Sequence[str]) -> list[str]:
    """Return the sentence on what was asked for and has no place, if anything.

    asked: names of measured codecs; published curves are there since they were asked for.
    """
    names = [
        name
        for name, curve in choice.absent.items()
        if not curve.measured or looks.names_meaning(curve.system.label) & {*asked}
    ]
    most = f"a figure has at most {look().most} curves, --all draws every one"
    return [f"not drawn: {', '.join(names)}: {most}"] if names else []


def _equal(
    panels: Sequence[Panel], known: Mapping[str, SystemCurve], anchor: str
) -> dict[str, str]:
    """Return by name the first of the curves that no panel shows apart: that of fewest options.

    Only of learned codecs, whose decoders may stand behind the streams of another.
    """
    measured = [
        (panel, {c.name: c for c in panel.measured if kind(c.system) == "learned"})
        for panel in panels
    ]

    def as_one(first: str, second: str) -> bool:
        pairs = [(panel, of.get(first), of.get(second)) for panel, of in measured]
        pairs = [pair for pair in pairs if pair[1] or pair[2]]
        return bool(pairs) and all(_as_one(*pair) for pair in pairs)

    def place(name: str) -> tuple[bool, int]:
        label = known[name].system.label
        return label != anchor, option_count(label)

    result: dict[str, str] = {}
    for name in sorted(known, key=place):
        firsts = (first for first in result if result[first] == first)
        result[name] = next((first for first in firsts if as_one(first, name)), name)
    return result


def _as_one(panel: Panel, first: SystemCurve | None, second: SystemCurve | None) -> bool:
    """Return whether two curves have the same rates, and values that cannot be told apart."""
    if first is None or second is None:
        return False
    (rates, values), (other_rates, others) = (c.plotted(panel.metric) for c in (first, second))
    if rates != other_rates:
        return False
    every = [value for curve in panel.measured for value in curve.plotted(panel.metric)[1]]
    most = AS_ONE * (max(every) - min(every))
    if "dB" in panel.metric.axis_label:
        most = min(most, AS_ONE_DB)
    return all(abs(value - other) <= most for value, other in zip(values, others, strict=True))


def renamed(panels: Sequence[Panel]) -> list[Panel]:
    """Give curves the names of the look."""
    labels = {curve.system.label for panel in panels for curve in panel.curves}
    names = looks.by_label(look().label, labels)
    return [
        panel._replace(
            curves=tuple(c.called(names.get(c.system.label, c.system.name)) for c in panel.curves)
        )
        for panel in panels
    ]


def _named(every: Sequence[SystemCurve], named: Sequence[str]) -> list[SystemCurve]:
    """Return the curves of the named codecs in their order, then published ones.

    A bare name means the codec's default variants, where these have rows.
    """
    asked = []
    for text in named:
        usual = {text}
        with suppress(BenchError):
            usual |= {parse_codec(text).label, *(label_of(*pair) for pair in usual_variants(text))}
        mine = [c for c in every if c.measured and looks.names_meaning(c.system.label) & usual]
        asked += [curve for curve in mine if curve.system.label in usual] or mine
    return [*asked, *(curve for curve in every if not curve.measured)]


def _by_rank(
    first: Panel, every: Sequence[SystemCurve], users: Sequence[SystemCurve], anchor: str
) -> list[SystemCurve]:
    """Return all curves, those that matter most first (see the module); BD-rates are in `first`."""
    rates = {curve.name: curve.rates(first.metric) for curve in first.curves}
    reference = {curve.system.label: rates[curve.name] for curve in first.curves}.get(anchor)

    def place(curve: SystemCurve) -> tuple[bool, float]:
        delta = None
        if reference is not None and curve.name in rates:
            delta = bd_rate(reference, rates[curve.name]).value
        return curve.origin == "bundled", math.inf if delta is None else delta

    ranked = sorted(every, key=place)
    begins = [*users, *(curve for curve in ranked if curve.system.label == anchor)]
    if not users:
        usual = {label_of(*pair) for pair in usual_variants(OWN)}
        own = [curve for curve in ranked if curve.measured and family(curve.system.label) == OWN]
        begins += [curve for curve in own if curve.system.label in usual] or own[:1]
    begins += [curve for curve in ranked if not curve.measured]
    there = {family(curve.system.label) for curve in begins}
    families = by_key((family(curve.system.label), curve) for curve in ranked)
    begins += [curves[0] for name, curves in families.items() if name not in there]
    return list({curve.name: curve for curve in (*begins, *ranked)}.values())


def with_bars(panels: Sequence[Panel]) -> list[str]:
    """Return the metrics whose points have intervals."""
    return [p.metric.label for p in panels if any(q.interval for c in p.curves for q in c.points)]


def curve_details(
    panels: Sequence[Panel], dataset: str, summary: Summary | None, tabled: bool = False
) -> Iterator[str]:
    """Yield sentences on protocols, builds, caveats and what is left out.

    tabled: without what tables beside the figure say of protocols, codecs and points.
    """
    curves = [(panel.metric, curve) for panel in panels for curve in panel.curves]
    if not tabled:
        yield from _codec_details(panels, dataset, summary)
    for panel in panels:
        if panel.published or not tabled:
            yield sections.protocol_sentence(panel.metric, panel.names_by_protocol)
    points = [(metric, c, point) for metric, c in curves for point in c.points[: c.marks]]
    yield from _published_details([mark for mark in points if not mark[1].measured])
    most = frame_of(panels).high
    beyond = {c.name for _, c, p in points if c.measured and p.bpp > most}
    if beyond:
        yield f"Points beyond {most:.3g} bpp are not shown: {', '.join(sorted(beyond))}."
    of_sets = [panel.metric.label for panel in panels if panel.metric.of_sets]
    if of_sets:
        yield f"{sections.listed(of_sets)}: one value of the whole set, no mean."
    for label in with_bars(panels):
        over = " over images (infinitesimal jackknife)" if label in of_sets else ""
        yield f"Bars are 95 % intervals of {label}{over}."
    yield from sections.few_sentences(panel.metric for panel in panels if texts.few_images(panel))


def _codec_details(panels: Sequence[Panel], dataset: str, summary: Summary | None) -> Iterator[str]:
    curves = [(panel.metric, curve) for panel in panels for curve in panel.curves]
    pooled = summary is not None and summary.average == "pooled"
    average = "all bits over all pixels" if pooled else "the mean of each image's bpp"
    yield f"{dataset}: means over {sections.images_of(panels)}; rates are {average}."
    if summary is not None:
        yield f"Protocol of rates: {summary.protocols['coding']}."
        if summary.dropped:
            yield f"Restricted to the images that all points have; left out: {summary.dropped}."
        yield from sections.mixed_sentences(summary)
    origins = sections.grouped(
        (p.how, f"{c.name} ({p.source})") for _, c in curves for p in c.points if c.measured
    )
    yield from (f"{HOW[how]}: {', '.join(names)}." for how, names in origins.items() if how in HOW)
    trained = sections.grouped(
        (m.label, c.name) for m, c in curves if m.column in trained_on(c.system.label)
    )
    if trained:
        words = "; ".join(
            f"{label} of {sections.listed(names)}" for label, names in trained.items()
        )
        yield f"In the training loss: {words}."
    yield from network_sentences(curve for _, curve in curves)
    marked = sections.caveats(curve for _, curve in curves)
    yield from (f"{sections.by_name({text: names})}." for text, names in marked.items())
    yield from sections.points_left_out(panels)


def _published_details(
    published: Sequence[tuple[Metric, SystemCurve, CurvePoint]],
) -> Iterator[str]:
    """Yield sentences on the sources, reading errors, rates and notes of published points."""
    for origin, words in (("published", "Published"), ("file", "From a file")):
        sources = sections.grouped(
            (p.source + ORIGINS[p.how], c.system.name)
            for _, c, p in published
            if c.origin == origin
        )
        if sources:
            yield f"{words} (open markers, broken lines): {sections.by_name(sources)}."
    errors = sections.grouped(
        (metric.label, f"{c.system.name} ± {p.value_error:g}")
        for metric, c, p in published
        if p.value_error
    )
    yield from (f"Reading error in {label}: {', '.join(of)}." for label, of in errors.items())
    rules = sorted({p.rate_protocol for *_, p in published} - {"coding/1", UNSTATED})
    if rules:
        yield f"Published rates are as their sources count them ({sections.listed(rules)})."
    notes = sections.grouped((p.note, c.system.name) for _, c, p in published if p.note)
    yield from (f"{sections.by_name({note: names})}." for note, names in notes.items())
