"""Distortion and realism of every system at one rate: measured and published realism sweeps."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from benchmark.analysis.builds import beta_of, betas
from benchmark.analysis.comparable import label_of
from benchmark.analysis.summarise import Summary
from benchmark.analysis.systems import GENERATIVE, GROUPED_SYSTEMS, OURS
from benchmark.metrics.measure import Measure
from benchmark.published.curves import Panel, SystemCurve, measured_panel
from benchmark.published.paper_panel import SAME_RATE
from benchmark.published.points import PublishedPoint

NEAR_RATE = 1.15  # the nearest point stands as it is where nothing lies on the other side
WIDEST_GAP = 2.2  # between the two points that a value is interpolated between

Placing = Literal["point", "interpolated"]


class ValueAtRate(NamedTuple):
    """A metric's value at a rate."""

    bpp: float
    value: float
    how: Placing
    protocol: str = ""
    source: str = ""


class SweepStep(NamedTuple):
    """Distortion and realism of one system at one choice of realism."""

    setting: str  # "β=3.84"; empty where the system has one choice
    distortion: ValueAtRate
    realism: ValueAtRate


class RealismSweep(NamedTuple):
    """A system at one rate, from its least realistic step to its most; a lone step is a point."""

    method: str
    group: str
    label: str  # that styles go by
    measured: bool
    steps: tuple[SweepStep, ...]
    caveats: tuple[str, ...] = ()
    recorded: bool = False  # some of its points are precomputed
    left_out: tuple[str, ...] = ()  # sentences on variants of other builds, or without the metrics
    build: str = ""  # words on the codec's build, as in `SystemCurve`

    @property
    def name(self) -> str:
        """Name in legends and tables."""
        beside = self.build if self.measured else "published" * (self.group == OURS)
        return f"{self.method} ({beside})" if beside else self.method


class PlotAtRate(NamedTuple):
    """A distortion-realism plot: the sweeps of all systems at one rate."""

    bpp: float
    sweeps: tuple[RealismSweep, ...]


class PublishedSweep(NamedTuple):
    """A published realism sweep: variants of the csv with their names, from the least realistic."""

    method: str
    variants: dict[str, str]  # names of steps by variant; empty: the points' settings are named


PUBLISHED_SWEEPS = (
    PublishedSweep("Multi-Realism", {"beta=0": "β=0", "beta sweep": "", "beta=2.56": "β=2.56"}),
    PublishedSweep("EGIC", {"alpha=0": "α=0", "alpha sweep": "", "alpha=1": "α=1"}),
)


def at_rate(
    points: Sequence[tuple[float, float]], bpp: float, by_decades: bool
) -> ValueAtRate | None:
    """Return the value of a curve of (bpp, value) at a rate; None where it does not come near.

    Between two points it is interpolated over the logarithm of the rate, and `by_decades` over that
    of the value.

    >>> at_rate([(0.1, 30.0), (0.2, 32.0)], 0.1 * 2**0.5, by_decades=False)[:3]
    (0.1414..., 31.0..., 'interpolated')
    >>> at_rate([(0.1, 30.0)], 0.102, by_decades=False)[:3]
    (0.1, 30.0, 'point')
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
            return ValueAtRate(bpp, first ** (1 - share) * last**share, "interpolated")
        return ValueAtRate(bpp, first + share * (last - first), "interpolated")
    return ValueAtRate(*nearest, "point") if ratio <= NEAR_RATE else None


def realism_sweeps(
    distortion: Panel,
    realism: Panel,
    summary: Summary | None,
    points: Sequence[PublishedPoint],
    dataset: str,
    bpp: float,
) -> list[RealismSweep]:
    """Return every system that has both metrics at a rate, with all its choices of realism.

    Realism is on a scale of decades. What was measured at several beta is one sweep; so is a
    published sweep, and so are the published variants of one system.
    """
    measures = distortion.measure, realism.measure
    whole = [measured_sweep(summary, *measures, bpp)]
    whole += [_published_sweep(one, points, dataset, *measures, bpp) for one in PUBLISHED_SWEEPS]
    found = {(sweep.method, sweep.measured): sweep for sweep in whole if sweep is not None}
    complete = set(found)
    others = {(curve.system, curve.measured, curve.build): curve for curve in realism.curves}
    for first in distortion.curves:
        system, key = first.system, (first.system.method, first.measured)
        second = others.get((system, first.measured, first.build))
        step = _step(first, second, bpp) if second else None
        if step is None or key in complete:
            continue
        # The first system of a method is the one whose style stands for all of it.
        before = found.get(key)
        steps = sorted((*(before.steps if before else ()), step), key=lambda s: -s.realism.value)
        label = before.label if before else system.label
        found[key] = RealismSweep(
            *(system.method, system.group, label, first.measured, tuple(steps)),
            *(first.caveats, first.recorded, (), first.build),
        )
    return sorted(found.values(), key=rank)


def rank(sweep: RealismSweep) -> tuple[int, bool]:
    """Return a sort key: systems in the order of their table, measured before published."""
    order = [system.method for system in GROUPED_SYSTEMS]
    return order.index(sweep.method), not sweep.measured


def measured_sweep(
    summary: Summary | None, distortion: Measure, realism: Measure, bpp: float
) -> RealismSweep | None:
    """Return our codec at a rate, a step for each beta of one build; None without any."""
    if summary is None or not {distortion.column, realism.column} <= summary.protocols.keys():
        return None
    family = betas(summary, (distortion, realism))
    whole = family.within(summary)
    of_distortion, of_realism = (
        {curve.system.label: curve for curve in measured_panel(whole, measure).curves}
        for measure in (distortion, realism)
    )
    steps: list[tuple[float, SweepStep]] = []
    caveats: dict[str, None] = {}
    recorded = False
    for label, points in family.points.items():
        edition = points[0].edition
        beta = beta_of(edition) or 0.0
        step = _step(of_distortion[label], of_realism[label], bpp)
        if step is not None:
            steps.append((beta, step._replace(setting=f"β={beta:g}")))
            caveats |= dict.fromkeys(edition.caveats)
            recorded |= edition.recorded
    if not steps:
        return None
    known = [system for system in GROUPED_SYSTEMS if system.group == OURS]
    editions = [points[0].edition for points in family.points.values()]
    labels = {label_of(edition.codec, edition.variant) for edition in editions}
    method = next((one.method for one in known if one.label in labels), known[0].method)
    own = next(one for one in known if one.method == method)
    ordered = tuple(step for _, step in sorted(steps, key=lambda one: one[0]))
    return RealismSweep(
        *(own.method, own.group, own.label, True, ordered, tuple(caveats), recorded),
        family.left_out,
    )


def records(plot: PlotAtRate) -> list[dict[str, Any]]:
    """Return one flat record for every step, as it is drawn."""
    return [
        {
            "target_bpp": plot.bpp,
            "system": sweep.method,
            "group": sweep.group,
            "measured": sweep.measured,
            "setting": step.setting,
            **_columns("distortion", step.distortion),
            **_columns("realism", step.realism),
        }
        for sweep in plot.sweeps
        for step in sweep.steps
    ]


def _columns(name: str, value: ValueAtRate) -> dict[str, Any]:
    fields = value._asdict()
    return {name: fields.pop("value"), **{f"{name}_{key}": one for key, one in fields.items()}}


def _step(distortion: SystemCurve, realism: SystemCurve, bpp: float) -> SweepStep | None:
    x, y = _placed(distortion, bpp, by_decades=False), _placed(realism, bpp, by_decades=True)
    return SweepStep(distortion.system.choice, x, y) if x and y else None


def _placed(curve: SystemCurve, bpp: float, by_decades: bool) -> ValueAtRate | None:
    found = at_rate([(point.bpp, point.value) for point in curve.points], bpp, by_decades)
    if found is None:
        return None
    nearest = min(curve.points, key=lambda point: abs(math.log(point.bpp / bpp)))
    return found._replace(protocol=nearest.protocol, source=nearest.source)


def _published_sweep(
    sweep: PublishedSweep,
    points: Sequence[PublishedPoint],
    dataset: str,
    distortion: Measure,
    realism: Measure,
    bpp: float,
) -> RealismSweep | None:
    """Return a sweep's steps near a rate; None where the csv has none between its ends."""
    measures = {one.published or one.column: one for one in (distortion, realism)}
    steps: dict[tuple[str, str], dict[Measure, ValueAtRate]] = {}
    for variant, name in sweep.variants.items():
        for point in points:
            measure = measures.get(point.metric)
            ratio = max(point.bpp, bpp) / min(point.bpp, bpp)
            wanted = (point.system, point.variant, point.dataset) == (
                sweep.method,
                variant,
                dataset,
            )
            if wanted and measure and ratio <= SAME_RATE and point.protocol in measure.meets:
                value = ValueAtRate(point.bpp, point.value, "point", point.protocol, point.source)
                key = name, name or point.setting
                steps.setdefault(key, {}).setdefault(measure, value)
    whole = {key: step for key, step in steps.items() if len(step) == len(measures)}
    if all(name for name, _ in whole):
        return None
    found = [SweepStep(setting, s[distortion], s[realism]) for (_, setting), s in whole.items()]
    realistic = (sweep.method, list(sweep.variants)[-1])
    label = next(one.label for one in GROUPED_SYSTEMS if realistic in one.published)
    return RealismSweep(sweep.method, GENERATIVE, label, False, tuple(found))
