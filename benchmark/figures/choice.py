"""Which curves a figure shows: at most eight, by one rule for all figures; and their names there.

The codecs that were named; else own ones (the plain variant, each other own codec,
the strongest with fewest options, the strongest), the anchor, published ones, which were asked for,
the best standard and the best learned codec, and the best of each further family. Strength is the
BD-rate against the anchor in the first panel.
"""

import math
from collections.abc import Sequence
from contextlib import suppress

from benchmark.analysis.rate_distortion import Delta, bd_rate
from benchmark.analysis.summarise import Summary
from benchmark.analysis.systems import family, kind, option_count, plainness, short_names
from benchmark.codec_spec import parse_codec, resolve
from benchmark.errors import BenchError
from benchmark.figures.look import look, names_meaning
from benchmark.published.curves import Panel, SystemCurve

MOST_OWN = 3


def shown(
    panels: Sequence[Panel], anchor: str = "", named: Sequence[str] = ()
) -> tuple[list[Panel], list[str]]:
    """Return the panels as the look in force shows them, and names of the curves left out.

    Curves have their names and are in the order of legends. anchor: label that strength is against.
    named: codecs or labels.
    """
    panels = renamed([panel for panel in panels if panel.curves])
    every = chosen_names(panels, anchor, None)
    kept = chosen_names(panels, anchor, look().most, named)
    cut = [
        panel._replace(curves=tuple(sorted(
            (curve for curve in panel.curves if curve.name in kept),
            key=lambda curve: kept.index(curve.name),
        )))
        for panel in panels
    ]  # fmt: skip
    return [panel for panel in cut if panel.curves], [one for one in every if one not in kept]


def renamed(panels: Sequence[Panel]) -> list[Panel]:
    """Give curves the names of the look; a published one beside one measured says so."""
    labels = {curve.system.label for panel in panels for curve in panel.curves}
    names = look().names(labels)
    measured = {curve.system.label for panel in panels for curve in panel.measured}

    def called(curve: SystemCurve) -> SystemCurve:
        label = curve.system.label
        twice = not curve.measured and label in measured
        system = curve.system._replace(name=names.get(label, curve.system.name))
        return curve._replace(system=system, build="published" if twice else curve.build)

    return [panel._replace(curves=tuple(map(called, panel.curves))) for panel in panels]


def names_of(summary: Summary) -> dict[str, str]:
    """Return the names of a summary's codecs in figures and tables, by label."""
    versions = {point.label: point.edition.version for point in summary.points}
    return short_names(summary.labels, versions) | look().names(summary.labels)


def chosen_names(
    panels: Sequence[Panel], anchor: str, most: int | None, named: Sequence[str] = ()
) -> list[str]:
    """Return the names of at most so many curves in the order of the legend."""
    every = [curve for panel in panels for curve in (*panel.measured, *panel.published)]
    known = {curve.name: curve for curve in sorted(every, key=lambda one: not one.measured)}
    kept = list(known)
    if most is not None and len(known) > most:
        wanted = _named(list(known.values()), named) if named else _best(panels, known, anchor)
        first = list(dict.fromkeys(one.name for one in wanted))[:most]
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
            usual |= {spec.label, *(one.label for one in ([] if spec.options else resolve(spec)))}
        mine = [one for one in every if one.measured and names_meaning(one.system.label) & usual]
        asked += [one for one in mine if one.system.label in usual] or mine
    return [*asked, *(one for one in every if not one.measured)]


def _best(panels: Sequence[Panel], known: dict[str, SystemCurve], anchor: str) -> list[SystemCurve]:
    measure = panels[0].measure
    rates = {curve.name: curve.rates(measure) for curve in panels[0].curves}
    reference = {c.system.label: rates[c.name] for c in panels[0].curves}.get(anchor)

    def strength(curve: SystemCurve) -> float:
        both = reference is not None and curve.name in rates
        delta = bd_rate(reference, rates[curve.name]) if reference and both else None
        return delta.value if isinstance(delta, Delta) else math.inf

    ranked = sorted(known.values(), key=strength)
    families = {curve.name: family(curve.system.label) for curve in ranked}
    own = [curve for curve in ranked if kind(curve.system) == "own"]
    plain = sorted(own, key=lambda one: plainness(one.system.label))
    simple = sorted(own, key=lambda one: option_count(one.system.label))
    codecs = {families[curve.name]: curve for curve in reversed(plain)}
    mine = list(dict.fromkeys([*plain[:1], *codecs.values(), *simple[:1], *own[:1]]))[:MOST_OWN]
    wanted = [*mine, *(one for one in ranked if one.system.label == anchor)]
    wanted += [one for one in ranked if not one.measured]
    for sort in ("standard", "learned"):
        others = [one for one in ranked if families[one.name] != family(anchor)]
        wanted += [other for other in others if kind(other.system) == sort][:1]
    there = {families[one.name] for one in wanted}
    bests = {families[one.name]: one for one in reversed(ranked)}
    wanted += [one for one in ranked if one in bests.values() and families[one.name] not in there]
    return [*wanted, *ranked]
