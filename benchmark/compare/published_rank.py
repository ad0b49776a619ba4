"""Published systems at a rate or a value of a metric, interpolated between their points."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from benchmark.compare.curve import Curve
from benchmark.compare.rank import (
    INTERPOLANT,
    RATE,
    RankedCodec,
    Target,
    empty_record,
    neighbour_fields,
    neighbour_rates,
    shared_span,
)
from benchmark.compare.rate_quality import RateQuality, log_rates_at, pareto_front, quality_at
from benchmark.metrics.metric import Metric
from benchmark.system.text import group_by_key


def rank_systems(
    curves: Iterable[Curve],
    target: Target,
    metrics: Sequence[Metric],
    shared_protocols: Mapping[str, Collection[str]],
    refusal: str = "",
) -> list[RankedCodec]:
    """Return published systems at a target, interpolated between their points, best first.

    shared_protocols: protocols with comparable values, by metric column; any other protocol goes
    into `<metric>_other_rule`. refusal: why no published value may be compared; "" if allowed.
    """
    axis_metric = metrics[0] if target.name == RATE else Metric.named(target.name)
    column = axis_metric.column if target.name == RATE else RATE
    sign = -1 if target.name == RATE and axis_metric.better == "higher" else 1

    def sort_key(codec: RankedCodec) -> tuple[bool, bool, float]:
        value, rule = (codec.record[name] for name in (column, f"{column}_other_rule"))
        return value is None, rule is not None, sign * (value or 0.0)

    systems = group_by_key((curve.edition, curve) for curve in curves)
    ranked_systems = (
        _rank_system(system_curves, target, axis_metric, metrics, shared_protocols, refusal)
        for system_curves in systems.values()
    )
    return sorted(ranked_systems, key=sort_key)


def _rank_system(
    curves: Sequence[Curve],
    target: Target,
    axis_metric: Metric,
    metrics: Sequence[Metric],
    shared_protocols: Mapping[str, Collection[str]],
    refusal: str,
) -> RankedCodec:
    fronts = [(curve, pareto_front(curve.rates)) for curve in curves]
    fronts.sort(key=lambda entry: entry[0].protocol not in shared_protocols[entry[0].metric.column])

    def value_on_first_curve(
        metric: Metric, value_of: Callable[[RateQuality], float]
    ) -> tuple[float, RateQuality, str | None] | None:
        """Return the value on the first curve with a value, its front, and its rule if foreign."""
        for curve, front in fronts:
            if curve.metric == metric and math.isfinite(value := value_of(front)):
                foreign_rule = (
                    "" if curve.protocol in shared_protocols[metric.column] else curve.protocol
                )
                return value, front, foreign_rule or refusal or None
        return None

    record = empty_record(target, curves[0].name, curves[0].edition, metrics)
    record |= {f"{name}_other_rule": None for name in (RATE, *(m.column for m in metrics))}
    reached_entry, log_rate = None, math.nan
    if target.name == RATE:
        log_rate = math.log10(target.value)
    else:
        quality = np.array([axis_metric.quality(target.value)])
        reached_entry = value_on_first_curve(
            axis_metric, lambda front: float(log_rates_at(front, quality, INTERPOLANT)[0])
        )
    if reached_entry:
        log_rate = reached_entry[0]
        record |= {RATE: 10**log_rate, f"{RATE}_other_rule": reached_entry[2]}
    for metric in metrics:
        entry = value_on_first_curve(metric, lambda front: quality_at(front, log_rate, INTERPOLANT))
        if entry:
            record[metric.column] = metric.value(entry[0])
            record[f"{metric.column}_other_rule"] = entry[2]
            reached_entry = reached_entry or entry
    if reached_entry:
        record |= neighbour_fields(
            len(reached_entry[1].bpp), *neighbour_rates(reached_entry[1], log_rate)
        )
        record[RATE if target.name == RATE else axis_metric.column] = target.value
    target_fronts = [front for curve, front in fronts if curve.metric == axis_metric]
    return RankedCodec(
        record,
        curves[0].edition,
        span=shared_span(target_fronts[:1], target, axis_metric) if target_fronts else None,
    )
