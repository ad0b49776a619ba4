"""Distortion and realism of every system at a rate, for each of its choices of realism."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benchmark.compare.builds import beta_family, beta_of
from benchmark.compare.curve import INTERPOLATED, Curve, CurvePoint, measured_curves
from benchmark.compare.rate_quality import interpolate
from benchmark.compare.rule import USUAL_RULE
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import CATALOGUE, GROUPED, OURS, Edition, find_in_catalogue
from benchmark.rows.summary import Summary

MAX_MATCH_RATIO = 1.02  # maximum ratio of rates that count as equal
MAX_GAP = 3.0  # maximum ratio of the rates of two points, to interpolate between them
# The first edition of each method, in reverse order
METHODS = {edition.method: edition for edition in reversed(GROUPED)}


class SweepStep(NamedTuple):
    """Distortion and realism of a system for one choice of realism."""

    setting: str  # "β=3.84"; "" if the system has no choice
    distortion: CurvePoint
    realism: CurvePoint


class RealismSweep(NamedTuple):
    """Steps of a system at a rate, from least to most realistic; one step is drawn as a point."""

    curve: Curve  # the first step's curve, without points, named after the method
    steps: tuple[SweepStep, ...]
    style: Edition  # determines the style: the method's first edition in the catalogue, if any
    absence_notes: tuple[str, ...] = ()  # on left-out variants: other builds, missing metrics

    @property
    def key(self) -> tuple[str, bool]:
        """Name of the method, and whether it was measured."""
        return self.curve.title, self.curve.measured


class PlotAtRate(NamedTuple):
    """A distortion-realism plot: the sweeps of all systems at a rate."""

    bpp: float
    sweeps: tuple[RealismSweep, ...]


def realism_sweeps(
    curves: Iterable[Curve],
    metrics: tuple[Metric, Metric],
    summary: Summary | None,
    bpp: float,
) -> list[RealismSweep]:
    """Return every system with both metrics at a rate, with all its choices of realism.

    metrics: distortion, realism. Measured betas form one sweep, and so do a system's published
    variants.
    """
    our_sweep = measured_sweep(summary, *metrics, bpp)
    sweeps = {our_sweep.key: our_sweep} if our_sweep else {}
    measured_keys, curves = set(sweeps), [*curves]
    distortion_curves, realism_curves = (
        [c for c in curves if c.metric == metric] for metric in metrics
    )
    realism_by_edition = {curve.edition: curve for curve in realism_curves}
    for distortion_curve in distortion_curves:
        edition, realism_curve = (
            distortion_curve.edition,
            realism_by_edition.get(distortion_curve.edition),
        )
        key = edition.method, distortion_curve.measured
        step = (
            _sweep_step(distortion_curve, realism_curve, bpp, edition.choice, metrics[1])
            if realism_curve
            else None
        )
        if step is None or key in measured_keys:
            continue
        style = METHODS.get(edition.method, edition)
        group = style.facts.group if edition.method in METHODS else distortion_curve.group
        curve = distortion_curve._replace(title=edition.method, group=group, points=())
        sweep = sweeps.get(key, RealismSweep(curve, (), style))
        steps = sorted((*sweep.steps, step), key=lambda s: metrics[1].quality(s.realism.value))
        sweeps[key] = sweep._replace(steps=tuple(steps))
    return sorted(sweeps.values(), key=sweep_order)


def sweep_order(sweep: RealismSweep) -> tuple[int, bool]:
    """Return a sort key: the user's systems, METHODS, other systems; measured before published."""
    method, is_measured = sweep.key
    methods = list(reversed(METHODS))
    default_index = -1 if sweep.curve.edition.facts.kind == "own" else len(methods)
    return methods.index(method) if method in methods else default_index, not is_measured


def measured_sweep(
    summary: Summary | None, distortion: Metric, realism: Metric, bpp: float
) -> RealismSweep | None:
    """Return our codec's sweep at a rate, one step per beta of a build; None: no step."""
    if summary is None or not {distortion.column, realism.column} <= summary.protocols.keys():
        return None
    family = beta_family(summary, (distortion, realism))
    distortion_curves, realism_curves = (
        {curve.edition: curve for curve in measured_curves(family.restrict(summary), metric)}
        for metric in (distortion, realism)
    )
    steps, editions = [], []
    variants = (points[0].edition for points in family.points.values())
    for edition in sorted(variants, key=lambda edition: beta_of(edition) or 0.0):
        setting_text = f"β={beta_of(edition) or 0:g}"
        if step := _sweep_step(
            distortion_curves[edition], realism_curves[edition], bpp, setting_text, realism
        ):
            steps.append(step)
            editions.append(edition)
    if not steps:
        return None
    catalogue_entries = [
        entry for edition in editions if (entry := find_in_catalogue(edition.spec))
    ]
    style = METHODS[
        next((e.method for e in catalogue_entries if e.facts.group == OURS), CATALOGUE[0].method)
    ]
    caveats = dict.fromkeys(caveat for edition in editions for caveat in edition.run_facts.caveats)
    is_recorded = any(edition.run_facts.recorded for edition in editions)
    run_facts = editions[0].run_facts._replace(caveats=tuple(caveats), recorded=is_recorded)
    edition = replace(editions[0], run_facts=run_facts)
    curve = Curve(realism, edition, style.method, (), group=style.facts.group)
    return RealismSweep(curve, tuple(steps), style, family.absence_notes)


def _sweep_step(
    distortion: Curve, realism: Curve, bpp: float, setting_text: str, metric: Metric
) -> SweepStep | None:
    x = point_at_rate(distortion, bpp, log_values=False)
    y = point_at_rate(realism, bpp, log_values=metric.better == "lower")
    return SweepStep(setting_text, x, y) if x and y else None


def point_at_rate(curve: Curve, bpp: float, log_values: bool) -> CurvePoint | None:
    """Return the point of a curve at a rate; `how` says how it was found. None: no point.

    Values are interpolated as for BD-rates, over log rate; `log_values`: interpolate log values and
    skip values that are not above 0. At ends and in wide gaps, the nearest point is used if its
    rate is within `MAX_MATCH_RATIO`.
    """
    plottable_points = [point for point in curve.points if point.value > 0 or not log_values]
    points = sorted(plottable_points, key=lambda point: point.bpp)
    if not points:
        return None
    nearest_point = min(points, key=lambda point: _ratio(point.bpp, bpp))
    lower_points = [point for point in points if point.bpp <= bpp]
    upper_points = [point for point in points if point.bpp > bpp]
    has_near_points = (
        lower_points and upper_points and upper_points[0].bpp <= MAX_GAP * lower_points[-1].bpp
    )
    if has_near_points and nearest_point.bpp != bpp:
        rates, first_indices = np.unique([point.bpp for point in points], return_index=True)
        values = np.array([points[index].value for index in first_indices])
        y = np.log(values) if log_values else values
        x, x_new = np.log(rates), np.array([math.log(bpp)])
        (y_new,) = interpolate(x[None], y[None], x_new, USUAL_RULE.bd).tolist()
        value = math.exp(y_new) if log_values else y_new
        return nearest_point._replace(bpp=bpp, value=value, how=INTERPOLATED)
    return (
        nearest_point._replace(how="point")
        if _ratio(nearest_point.bpp, bpp) <= MAX_MATCH_RATIO
        else None
    )


def _ratio(rate: float, other_rate: float) -> float:
    return max(rate, other_rate) / min(rate, other_rate)


def sweep_records(plot: PlotAtRate) -> list[dict[str, Any]]:
    """Return a flat record for each plotted step."""

    def columns(name: str, point: CurvePoint) -> dict[str, Any]:
        fields = {
            f"{name}_{key}": getattr(point, key) for key in ("bpp", "how", "protocol", "source")
        }
        return {name: point.value, **fields}

    return [
        {
            "target_bpp": plot.bpp,
            "system": sweep.curve.title,
            "group": sweep.curve.group,
            "measured": sweep.curve.measured,
            "setting": step.setting,
            **columns("distortion", step.distortion),
            **columns("realism", step.realism),
        }
        for sweep in plot.sweeps
        for step in sweep.steps
    ]
