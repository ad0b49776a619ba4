"""Which curves a figure shows: at most eight, by one rule for all figures; and their names there.

The codecs that were named; else own ones (the plain variant, each other own codec,
the strongest with fewest options, the strongest), the anchor, published ones, which were asked for,
the best standard and the best learned codec, and the best of each further family. Strength is the
BD-rate against the anchor in the first panel.
"""

import math
from collections.abc import Callable, Sequence
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
    kept = chosen_names(panels, anchor, look().most, named)
    cut = []
    for panel in panels:
        curves = [curve for curve in panel.curves if curve.name in kept]
        curves.sort(key=lambda curve: kept.index(curve.name))
        cut += [panel._replace(curves=tuple(curves))] * bool(curves)
    return cut, [name for name in chosen_names(panels, anchor, None) if name not in kept]


def renamed(panels: Sequence[Panel]) -> list[Panel]:
    """Give curves the names of the look; a published one beside one measured says so."""
    names = look().names({curve.system.label for panel in panels for curve in panel.curves})
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
        mine = [c for c in every if c.measured and names_meaning(c.system.label) & usual]
        asked += [curve for curve in mine if curve.system.label in usual] or mine
    return [*asked, *(curve for curve in every if not curve.measured)]


def _best(first: Panel, every: Sequence[SystemCurve], anchor: str) -> list[SystemCurve]:
    """Return all curves, those that matter most first; `first`: the panel of the strength."""
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
