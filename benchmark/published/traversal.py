"""Curves and steps through realism in; where each system lies at one rate out. Pure."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from benchmark.analysis.rate_distortion import Measure, curves
from benchmark.analysis.summarise import Point, Summary
from benchmark.analysis.systems import GENERATIVE, MAY_MEET, OURS, SYSTEMS, System
from benchmark.published.curves import Curve, Panel
from benchmark.published.points import NAMES, PublishedPoint
from benchmark.registry import parse_codec

SAME_RATE = 1.04  # a point this near stands as it is
NEAR_RATE = 1.15  # so does the nearest point where nothing lies on the other side
WIDEST_GAP = 2.2  # between the two points that a value is interpolated between
OWN = "ours"

Placing = Literal["point", "interpolated"]


class Value(NamedTuple):
    """A metric at a rate."""

    bpp: float
    value: float
    how: Placing
    protocol: str = ""
    source: str = ""


class Step(NamedTuple):
    """Distortion and realism of one system at one choice of realism."""

    setting: str  # "β=3.84"; empty where the system has one choice
    distortion: Value
    realism: Value


class Trail(NamedTuple):
    """A system at one rate, from its least realistic step to its most; a lone step is a point."""

    name: str
    group: str
    look: str
    measured: bool
    steps: tuple[Step, ...]
    caveats: tuple[str, ...] = ()


class Walk(NamedTuple):
    """A published walk through realism: variants of the csv, from the least realistic."""

    family: str
    look: str
    first: str
    steps: str
    last: str


WALKS = (
    Walk("Multi-Realism", "multi-realism", "beta=0", "beta sweep", "beta=2.56"),
    Walk("EGIC", "egic", "alpha=0", "alpha sweep", "alpha=1"),
)


def at_rate(points: Sequence[tuple[float, float]], bpp: float, by_decades: bool) -> Value | None:
    """The value of a curve of (bpp, value) at a rate; None where it does not come near.

    Between two points it is interpolated over the logarithm of the rate, and `by_decades` over that
    of the value.

    >>> at_rate([(0.1, 30.0), (0.2, 32.0)], 0.1 * 2**0.5, by_decades=False)
    Value(bpp=0.1414..., value=31.0..., how='interpolated', protocol='', source='')
    >>> at_rate([(0.1, 30.0)], 0.102, by_decades=False)
    Value(bpp=0.1, value=30.0, how='point', protocol='', source='')
    """
    ordered = sorted(points)
    if not ordered:
        return None
    nearest = min(ordered, key=lambda point: abs(math.log(point[0] / bpp)))
    ratio = max(nearest[0], bpp) / min(nearest[0], bpp)
    below = [point for point in ordered if point[0] <= bpp]
    above = [point for point in ordered if point[0] > bpp]
    if below and above and ratio > SAME_RATE and above[0][0] <= WIDEST_GAP * below[-1][0]:
        (low, first), (high, last) = below[-1], above[0]
        share = math.log(bpp / low) / math.log(high / low)
        if by_decades:
            return Value(bpp, first ** (1 - share) * last**share, "interpolated")
        return Value(bpp, first + share * (last - first), "interpolated")
    return Value(*nearest, "point") if ratio <= NEAR_RATE else None


def trails(
    distortion: Panel,
    realism: Panel,
    summary: Summary | None,
    points: Sequence[PublishedPoint],
    dataset: str,
    bpp: float,
) -> list[Trail]:
    """Every system that has both metrics at a rate, with all its choices of realism.

    Realism is on a scale of decades. What was measured at several beta is one trail; so is a
    published walk through realism, and so are the published variants of one system.
    """
    found: dict[tuple[str, bool], Trail] = {}
    here = measured_trail(summary, distortion.measure, realism.measure, bpp)
    walks = [_walk(one, points, dataset, distortion.measure, realism.measure, bpp) for one in WALKS]
    for trail in (here, *walks):
        if trail is not None:
            found[trail.name, trail.measured] = trail
    whole = set(found)
    for first, second in _both(distortion, realism):
        family, setting = family_of(first.system)
        key = family, first.measured
        step = _step(setting, first, second, bpp)
        if step is None or key in whole:
            continue
        before = found[key].steps if key in found else ()
        # the group's first system is the one whose look stands for all of it
        look = found[key].look if key in found else first.system.look
        steps = sorted((*before, step), key=lambda one: -one.realism.value)
        found[key] = Trail(
            family, first.system.group, look, first.measured, tuple(steps), first.caveats
        )
    return sorted(found.values(), key=rank)


def rank(trail: Trail) -> tuple[int, bool]:
    """Sorts trails: in the order of `SYSTEMS`, measured before published."""
    order = [family_of(system)[0] for system in SYSTEMS]
    return order.index(trail.name), not trail.measured


def family_of(system: System) -> tuple[str, str]:
    """Name without the choice of realism, and that choice.

    >>> family_of(SYSTEMS[0]), family_of(SYSTEMS[2])
    (('CRDR', 'β=3.84'), ('HiFiC', ''))
    """
    name, _, setting = system.name.rpartition(" ")
    return (name, setting) if "=" in setting else (system.name, "")


def _both(distortion: Panel, realism: Panel) -> list[tuple[Curve, Curve]]:
    others = {(curve.system, curve.measured): curve for curve in realism.curves}
    keyed = [((curve.system, curve.measured), curve) for curve in distortion.curves]
    return [(curve, others[key]) for key, curve in keyed if key in others]


def betas(summary: Summary) -> dict[float, list[Point]]:
    """Points of our codec by beta, with the default checkpoint, else the one with most betas."""
    by_rest: dict[tuple[tuple[str, str], ...], dict[float, list[Point]]] = {}
    for point in summary.points:
        if point.edition.codec != OWN or not point.label.startswith(f"{OWN}:"):
            continue
        options = dict(parse_codec(point.label).options)
        beta = options.pop("beta", "")
        if beta:
            rest = by_rest.setdefault(tuple(sorted(options.items())), {})
            rest.setdefault(float(beta), []).append(point)
    best = by_rest.get(()) or max(by_rest.values(), key=len, default={})
    return dict(sorted(best.items()))


def measured_trail(
    summary: Summary | None, distortion: Measure, realism: Measure, bpp: float
) -> Trail | None:
    """Our codec at a rate, a step a beta, from its measured rows; None without any."""
    if summary is None or not {distortion.column, realism.column} <= set(summary.protocols):
        return None
    whole = [curves(summary, measure) for measure in (distortion, realism)]
    steps = []
    caveats: dict[str, None] = {}
    for beta, points in betas(summary).items():
        label = points[0].label
        x = at_rate(_rates(whole[0].get(label, ()), distortion), bpp, by_decades=False)
        y = at_rate(_rates(whole[1].get(label, ()), realism), bpp, by_decades=True)
        if x and y:
            version = points[0].edition.version
            x = x._replace(protocol=summary.protocols[distortion.column], source=version)
            y = y._replace(protocol=summary.protocols[realism.column], source=version)
            steps.append(Step(f"β={beta:g}", x, y))
            caveats |= dict.fromkeys(points[0].edition.caveats)
    if not steps:
        return None
    return Trail("CRDR", OURS, "ours:beta=3.84", True, tuple(steps), tuple(caveats))


def records(bpp: float, found: Sequence[Trail]) -> list[dict[str, Any]]:
    """One flat record a step as it is drawn."""
    return [
        {
            "target_bpp": bpp,
            "system": trail.name,
            "group": trail.group,
            "measured": trail.measured,
            "setting": step.setting,
            **_value("distortion", step.distortion),
            **_value("realism", step.realism),
        }
        for trail in found
        for step in trail.steps
    ]


def _rates(points: Sequence[Point], measure: Measure) -> list[tuple[float, float]]:
    means = [point.means[measure.column] for point in points]
    return [(mean.bpp, mean.value) for mean in means if mean.bpp and mean.value is not None]


def _value(name: str, value: Value) -> dict[str, Any]:
    told = {"" if key == "value" else f"_{key}": one for key, one in value._asdict().items()}
    return {f"{name}{key}": one for key, one in told.items()}


def _step(setting: str, distortion: Curve, realism: Curve, bpp: float) -> Step | None:
    x, y = _placed(distortion, bpp, by_decades=False), _placed(realism, bpp, by_decades=True)
    return Step(setting, x, y) if x and y else None


def _placed(curve: Curve, bpp: float, by_decades: bool) -> Value | None:
    spots = curve.spots
    found = at_rate([(spot.bpp, spot.value) for spot in spots], bpp, by_decades)
    if found is None:
        return None
    nearest = min(spots, key=lambda spot: abs(math.log(spot.bpp / bpp)))
    return found._replace(protocol=nearest.protocol, source=nearest.source)


def _walk(
    walk: Walk,
    points: Sequence[PublishedPoint],
    dataset: str,
    distortion: Measure,
    realism: Measure,
    bpp: float,
) -> Trail | None:
    """Its steps with both metrics near a rate; None where the csv has none between the ends."""
    columns = {NAMES.get(one.column, one.column): one.column for one in (distortion, realism)}
    steps: dict[tuple[str, str], dict[str, Value]] = {}
    for variant in (walk.first, walk.steps, walk.last):
        for point in points:
            if (point.system, point.variant, point.dataset) != (walk.family, variant, dataset):
                continue
            column = columns.get(point.metric)
            ratio = max(point.bpp, bpp) / min(point.bpp, bpp)
            if column and ratio <= SAME_RATE and point.protocol in MAY_MEET[column]:
                setting = point.setting if variant == walk.steps else _greek(variant)
                value = Value(point.bpp, point.value, "point", point.protocol, point.source)
                steps.setdefault((variant, setting), {}).setdefault(column, value)
    whole = [
        Step(setting, found[distortion.column], found[realism.column])
        for (_, setting), found in steps.items()
        if len(found) == len(columns)
    ]
    between = sum(len(found) == 2 for (variant, _), found in steps.items() if variant == walk.steps)
    return Trail(walk.family, GENERATIVE, walk.look, False, tuple(whole)) if between else None


def _greek(text: str) -> str:
    return text.replace("alpha", "α").replace("beta", "β")
