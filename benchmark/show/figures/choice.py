"""The curves that a figure shows, and the table of their sources.

They are at most eight, in the order of legends: those that were named, or else
the user's own, the anchor, this project's method where nothing is the user's, published ones, then
what was measured here before what is bundled, by BD-rate in the first metric, one variant of a
family before second ones.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from benchmark.answer import Column
from benchmark.compare.curves import bd_rate
from benchmark.compare.experiment import Experiment
from benchmark.compare.rule import Rule
from benchmark.compare.system_curve import Panel, SystemCurve
from benchmark.errors import UnknownName
from benchmark.rows.edition import OWN, Edition, labels_of
from benchmark.rows.names import find_editions, is_named, usual_variants
from benchmark.show.figures.style import look
from benchmark.show.table import Table
from benchmark.spec import CodecSpec, named_in
from benchmark.system.text import by_key, listed

MOST_NAMES = 8  # in a sentence on what a panel lacks
CROP_BPP = 4.0  # beyond it lies what compression papers do not compare, but for own curves


def most_rate(curves: Iterable[SystemCurve]) -> float:
    """Return the highest rate that figures show: CROP_BPP, or that of an own curve if higher."""
    own = (
        point.bpp for curve in curves if curve.edition.origin == "here" for point in curve.points
    )
    return max([CROP_BPP, *own])


def beyond_sentences(panels: Iterable[Panel], cut: Iterable[Panel], rule: Rule) -> list[str]:
    """Return a sentence on curves without a point below the rate where panels are cut, if any."""
    left = {curve.name for curve in chain(*panels)} - {curve.name for curve in chain(*cut)}
    return [f"No point below {rule.up_to_bpp:g} bpp: {', '.join(sorted(left))}."] if left else []


class Choice(NamedTuple):
    """The curves that the panels of a figure, a page or a report show."""

    kept: Mapping[str, SystemCurve]  # by name, in the order of the legend
    absent: Mapping[str, SystemCurve]  # those that are left out
    rule: Rule  # of BD-rates

    @property
    def labels(self) -> list[str]:
        """The labels of the measured curves."""
        measured = (curve.edition for curve in self.kept.values() if curve.measured)
        return [*labels_of(measured).values()]

    @property
    def published(self) -> list[str]:
        """The names of the published curves."""
        return [name for name, curve in self.kept.items() if not curve.measured]

    def of(self, panels: Sequence[Panel]) -> list[Panel]:
        """Return the panels with the kept curves alone, without panels that have none of them."""
        order, result = list(self.kept), list[Panel]()
        for panel in panels:
            curves = [curve for curve in panel if curve.name in self.kept]
            curves.sort(key=lambda curve: order.index(curve.name))
            result += [curves] if curves else []
        return result

    def lacking(self, panels: Sequence[Panel]) -> list[str]:
        """Return sentences on the kept curves that all of the figure's panels lack, or one does."""
        sentences = []
        for measured, word in ((True, "measured"), (False, "reported")):
            kept = [curve for curve in self.kept.values() if curve.measured is measured]
            lacked = []
            for panel in panels:
                there = {curve.spec for curve in panel if curve.measured is measured}
                none = [curve for curve in kept if curve.spec not in there]
                lacked.append([curve.name if measured else curve.title for curve in none])
            whole = [name for name in lacked[0] if all(name in names for names in lacked)]
            if whole:
                sentences.append(f"Not {word}: {listed(whole, max_names=MOST_NAMES)}.")
            for panel, names in zip(panels, lacked, strict=True):
                if rest := [name for name in names if name not in whole]:
                    metric = panel[0].metric.label.partition(" (dB)")[0]
                    sentences.append(f"{metric} not {word}: {listed(rest, max_names=MOST_NAMES)}.")
        return sentences


def choose(
    panels: Sequence[Panel],
    rule: Rule,
    anchor: CodecSpec | None = None,
    named: Sequence[str] = (),
) -> Choice:
    """Choose the curves to show by the look in force, out of those of all panels.

    The codecs that were named, and then the anchor, and the user's own are always kept. rule: of
    BD-rates, also of those that the figure states. anchor: what they are against. named: codecs as
    `--codecs` has them.
    """
    every = sorted(chain(*panels), key=lambda curve: not curve.measured)
    known = {curve.name: curve for curve in every}
    kept, most = [*known], look().most
    if most is not None and len(known) > most:
        curves = list(known.values())
        users = [curve for curve in curves if curve.edition.is_users]
        asked = _named(curves, anchor, named) if named else []
        wanted = [curve.name for curve in asked or _by_rank(panels[0], curves, users, anchor, rule)]
        always = sum(curve.measured for curve in asked or users)
        kept = [name for name in known if name in wanted[: max(most, always)]]
    kept.sort(key=lambda name: look().place(known[name].edition))
    absent = {name: curve for name, curve in known.items() if name not in kept}
    return Choice({name: known[name] for name in kept}, absent, rule)


def without_place(choice: Choice, of: Experiment) -> list[str]:
    """Return the sentence on what an experiment names and a figure has no place for, if anything.

    Published curves are there since they were asked for.
    """
    asked = {*of.named, *named_in(of.bundled)}
    names = [
        name
        for name, curve in choice.absent.items()
        if not curve.measured or any(is_named(curve.edition, text) for text in asked)
    ]
    most = f"a figure has at most {look().most} curves, --all draws every one"
    return [f"not drawn: {', '.join(names)}: {most}"] if names else []


def renamed(panels: Sequence[Panel], editions: Iterable[Edition] = ()) -> list[Panel]:
    """Give curves the names of the look. editions: among which it means them; default: theirs."""
    titles = look().titles({*editions} or {curve.edition for curve in chain(*panels)})
    return [[c.retitled(titles.get(c.edition, c.title)) for c in panel] for panel in panels]


def _named(
    every: Sequence[SystemCurve], anchor: CodecSpec | None, named: Sequence[str]
) -> list[SystemCurve]:
    """Return the anchor's curve, those of the named codecs in their order, then published ones."""
    measured = [curve.edition for curve in every if curve.measured]
    asked = {anchor: None}
    for text in named:
        with suppress(UnknownName):  # a published system's, or a codec without a curve
            asked |= {edition.spec: None for edition in find_editions([text], measured)}
    mine = [c for spec in asked for c in every if c.measured and c.spec == spec]
    return [*mine, *(curve for curve in every if not curve.measured)]


def _by_rank(
    first: Panel,
    every: Sequence[SystemCurve],
    users: Sequence[SystemCurve],
    anchor: CodecSpec | None,
    rule: Rule,
) -> list[SystemCurve]:
    """Return all curves, those that matter most first (see the module); BD-rates are in `first`."""
    rates = {curve.name: curve.rates for curve in first}
    reference = next((curve.rates for curve in reversed(first) if curve.spec == anchor), None)

    def place(curve: SystemCurve) -> tuple[bool, float]:
        delta = None
        if reference is not None and curve.name in rates:
            delta = bd_rate(reference, rates[curve.name], rule).value
        return curve.edition.bundled, math.inf if delta is None else delta

    ranked = sorted(every, key=place)
    begins = [*users, *(curve for curve in ranked if curve.spec == anchor)]
    if not users:
        usual = usual_variants(OWN)
        own = [curve for curve in ranked if curve.measured and curve.edition.family == OWN]
        begins += [curve for curve in own if curve.spec in usual] or own[:1]
    begins += [curve for curve in ranked if not curve.measured]
    there = {curve.edition.family for curve in begins}
    families = by_key((curve.edition.family, curve) for curve in ranked)
    begins += [curves[0] for name, curves in families.items() if name not in there]
    return list({curve.name: curve for curve in (*begins, *ranked)}.values())


def sources_table(curves: Iterable[SystemCurve]) -> Table:
    """Return a row for each curve and source of its points: where from, protocols, caveats."""
    rows = {
        (curve.name, curve.metric, *(getattr(point, name) for name in OF_SOURCE)): (curve, point)
        for curve in curves
        for point in curve.points[: curve.marks]
    }
    return Table.of(SOURCES, rows.values(), absent="").filled()


OF_SOURCE = ("how", "source", "protocol", "rate_protocol", "value_error", "note")
SOURCES = (  # of a curve and one of its points
    Column("curve", "0.name"),
    Column("from", "0.edition.origin"),
    Column("how", "1.how"),
    Column("source", "1.source"),
    Column("protocol", "1.protocol"),
    Column("rates", "1.rate_protocol"),
    Column("images", lambda of: of[1].images and str(of[1].images)),
    Column("reading error", lambda of: of[1].value_error and f"{of[1].value_error:g}"),
    Column("in its loss", lambda of: ", ".join(of[0].edition.facts.trained_on)),
    Column("caveat", lambda of: "; ".join(of[0].edition.ran.caveats)),
    Column("note", lambda of: None if of[0].measured else of[1].note),
)
