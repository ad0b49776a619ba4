"""Curves that a figure shows first: own ones, JPEG, the strongest of others; the rest grey."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from benchmark.analysis.rate_distortion import Delta, bd_rate
from benchmark.analysis.systems import family, kind, option_count, plainness
from benchmark.codec import Kind
from benchmark.figures.captions import listed
from benchmark.figures.style import Role
from benchmark.published.curves import Panel, SystemCurve

MOST_COLOURED = 5  # curves that are all in colour where there are no more
MOST_OWN = 3  # own curves in a figure that is not of all
JPEG = "jpeg"
SORTS: tuple[Kind, ...] = ("standard", "learned")


class Cast(NamedTuple):
    """Roles of curves by their names; curves without a role are left out."""

    roles: Mapping[str, Role]
    sentences: tuple[str, ...] = ()  # of the caption, on who is emphasised and left out


def everyone(panels: Sequence[Panel]) -> Cast:
    """Return a cast of all curves in their colours; plain variants of own codecs are heavy."""
    curves = [curve for one in panels for curve in one.curves]
    own = sorted((one for one in curves if kind(one.system) == "own"), key=_plainness)
    plain: dict[tuple[str, bool], str] = {}
    for one in own:
        plain.setdefault((family(one.system.label), one.measured), one.name)
    heavy = set(plain.values())
    return Cast({one.name: "own" if one.name in heavy else "usual" for one in curves})


def overview(panels: Sequence[Panel], anchor: str, most: int) -> Cast:
    """Return a cast of at most so many curves.

    In colour are own curves (the plain variant, the strongest of those with the fewest options and
    the strongest), JPEG, the strongest standard codec and the strongest learned one. The others are
    grey, the strongest of each codec before further variants. Strength is the BD-rate against
    `anchor`, a label, in the first panel.
    """
    curves = {curve.name: curve for one in panels for curve in one.curves}
    if len(curves) <= MOST_COLOURED:
        return everyone(panels)
    against = next((c for c in panels[0].curves if c.system.label == anchor), None)
    strength = {name: _strength(curve, panels[0], against) for name, curve in curves.items()}
    ranked = sorted(curves.values(), key=lambda one: strength[one.name])
    coloured = list(dict.fromkeys(_chosen(ranked, anchor)))[:most]
    rest = [one for one in ranked if one.name not in {c.name for c in coloured}]
    context = [*_firsts(rest, coloured), *rest]
    grey = list(dict.fromkeys(one.name for one in context))[: most - len(coloured)]
    usual = everyone(panels).roles
    roles: dict[str, Role] = {one.name: usual[one.name] for one in coloured}
    roles |= dict.fromkeys(grey, "context")
    absent = [name for name in curves if name not in roles]
    return Cast(roles, tuple(_sentences(coloured, grey, absent, panels[0], against)))


def _is_jpeg(curve: SystemCurve) -> bool:
    return family(curve.system.label) == JPEG


def _plainness(curve: SystemCurve) -> int:
    return plainness(curve.system.label)


def _strength(curve: SystemCurve, panel: Panel, against: SystemCurve | None) -> float:
    """Return the BD-rate of a curve in a panel; infinite where there is none."""
    here = next((one for one in panel.curves if one.name == curve.name), None)
    if here is None or against is None:
        return math.inf
    if here.name == against.name:
        return 0.0
    found = bd_rate(against.rates(panel.measure), here.rates(panel.measure))
    return found.value if isinstance(found, Delta) else math.inf


def _chosen(ranked: Sequence[SystemCurve], anchor: str) -> Iterator[SystemCurve]:
    """Yield the curves that are to be in colour, of which some may come twice."""
    own = [one for one in ranked if kind(one.system) == "own"]
    plain = sorted(own, key=_plainness)
    fewest = min((option_count(one.system.label) for one in own), default=0)
    simple = [one for one in own if option_count(one.system.label) == fewest]
    choices = [*plain[:1], *_firsts(own, plain[:1]), *simple[:1], *own[:1]]
    yield from list(dict.fromkeys(choices))[:MOST_OWN]
    jpegs = [one for one in ranked if _is_jpeg(one) and one.measured]
    jpegs.sort(key=lambda one: (one.system.label != anchor, plainness(one.system.label)))
    yield from jpegs[:1]
    others = [one for one in ranked if not _is_jpeg(one)]
    for sort in SORTS:
        yield from [one for one in others if kind(one.system) == sort][:1]


def _firsts(rest: Sequence[SystemCurve], there: Sequence[SystemCurve]) -> list[SystemCurve]:
    """Return the first curve of each codec that is not there; published ones, asked for, first."""
    known = {family(one.system.label) for one in there}
    found: dict[str, SystemCurve] = {}
    for one in sorted(rest, key=lambda one: one.measured):
        if family(one.system.label) not in known:
            found.setdefault(family(one.system.label), one)
    return list(found.values())


def _sentences(
    coloured: Sequence[SystemCurve],
    grey: Sequence[str],
    absent: Sequence[str],
    panel: Panel,
    against: SystemCurve | None,
) -> Iterator[str]:
    yield f"In colour: {listed([one.system.name for one in coloured])}."
    best = {kind(one.system): one.system.name for one in coloured if not _is_jpeg(one)}
    strongest = [f"the strongest {sort} codec is {best[sort]}" for sort in SORTS if sort in best]
    if strongest and against:
        how = f"by BD-rate in {panel.measure.label} against {against.system.name}"
        yield f"Of those there are, {listed(strongest)}, {how}."
    if grey:
        yield f"Grey: {listed([name.partition(',')[0] for name in grey])}."
    if absent:
        short = [name.partition(",")[0] for name in absent]
        yield f"Left out here, but drawn in the figures of single metrics: {listed(short)}."
