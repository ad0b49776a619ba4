"""Curves of one system by several sources, and how far they are apart; nothing is averaged."""

from collections.abc import Sequence

from benchmark.analysis.rate_distortion import Delta, NoDelta, bd_metric, bd_rate
from benchmark.metrics.measure import Measure
from benchmark.published.agreement import TOLERANCE_DB
from benchmark.published.curves import SystemCurve

# Published systems that are programs, by name: a variant is a version, or who ran it.
PROGRAMS = ("VTM", "HM", "BPG", "AV1", "JPEG", "JPEG2000", "WebP")


def contradictions(
    curves: Sequence[SystemCurve], measure: Measure
) -> list[tuple[Measure, list[SystemCurve]]]:
    """Return groups of curves of one system that sources disagree on, the first before the others.

    A program is one system in all its versions, another system is one in each variant.
    """
    groups: dict[tuple[str, str], list[SystemCurve]] = {}
    for curve in curves:
        system, variant = curve.system.published[0]
        groups.setdefault((system, "" if system in PROGRAMS else variant), []).append(curve)
    result = []
    for first, *others in groups.values():
        source = first.points[0].source
        far = [
            other
            for other in others
            if other.points[0].source != source
            and isinstance(delta := apart(measure, first, other)[1], Delta)
            and abs(delta.value) > TOLERANCE_DB
        ]
        result += [(measure, [first, *far])] if far else []
    return result


def apart(
    measure: Measure, first: SystemCurve, other: SystemCurve
) -> tuple[Delta | NoDelta, Delta | NoDelta]:
    """Return BD-rate and BD-metric of a curve against the first, by Akima's method."""
    rates = first.rates(measure), other.rates(measure)
    return bd_rate(*rates, any_overlap=True), bd_metric(*rates, measure, any_overlap=True)
