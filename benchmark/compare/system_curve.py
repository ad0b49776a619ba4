"""Curves of systems in a metric, measured and published, with the origin of every point."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmark.answer import OTHER_RULE
from benchmark.compare.curves import Curve, curve_of, cut
from benchmark.compare.interval import Interval, point_interval
from benchmark.compare.rule import Rule
from benchmark.facts import Group
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition, Origin, add_remark
from benchmark.rows.summary import Summary, curves
from benchmark.spec import CodecSpec
from benchmark.system.text import by_key

NOT_MEASURED: Mapping[Origin, str] = {"published": "published", "file": "from file"}  # in names
INTERPOLATED = "interpolated"  # `CurvePoint.how` of the end of a curve that is cut at a rate


class CurvePoint(NamedTuple):
    """Point of a curve with its origin."""

    bpp: float
    value: float  # of the metric, as tables have it
    setting: str
    how: str  # measured, recorded (from a pack), INTERPOLATED, or as published points have it
    images: int | None  # that the value is a mean over; None where the source does not say
    protocol: str
    rate_protocol: str
    source: str
    note: str = ""
    value_error: float | None = None  # reading error, up and down
    bpp_error: float | None = None
    reference: str = ""
    interval: Interval | None = None  # of a distribution metric's value, as the axis has it
    seeds: tuple[tuple[float, float], ...] = ()  # bpp and value of each, where it is their mean


class SystemCurve(NamedTuple):
    """Points of an edition in a metric, lowest rate first."""

    metric: Metric
    edition: Edition
    title: str  # among the curves that it is made with
    points: tuple[CurvePoint, ...]
    sampled: bool = False  # read off a plotted line: the points are not the author's
    group: Group = ""  # in the paper's legends
    # Protocols of the edition that are not those of others on an axis, in any metric
    other_rules: tuple[str, ...] = ()

    @property
    def spec(self) -> CodecSpec:
        """The codec variant, which styles and anchors go by."""
        return self.edition.spec

    @property
    def measured(self) -> bool:
        """True if the points were measured here or come from a pack."""
        return self.edition.measured

    @property
    def name(self) -> str:
        """Name in legends, which says where points are from that were not measured; no caveats."""
        remark = NOT_MEASURED.get(self.edition.origin, "")
        return add_remark(self.title, remark) + self.mark

    @property
    def mark(self) -> str:
        """The mark of an edition that is by another rule than others in any metric."""
        return OTHER_RULE if self.other_rules else ""

    @property
    def by_other_rule(self) -> bool:
        """True if this very curve is by another rule than the others on its axis."""
        return self.protocol in self.other_rules

    def called(self, title: str) -> "SystemCurve":
        """Return the curve by another title."""
        return self._replace(title=title)

    @property
    def protocol(self) -> str:
        """Protocol id of its points; empty without any."""
        return self.points[0].protocol if self.points else ""

    @property
    def plotted(self) -> tuple[list[float], list[float]]:
        """The points' rates, and their values as the axis has them."""
        values = [self.metric.plotted(point.value) for point in self.points]
        return [point.bpp for point in self.points], values

    @property
    def marks(self) -> int:
        """Number of its points, without an interpolated end."""
        return sum(point.how != INTERPOLATED for point in self.points)

    @property
    def rates(self) -> Curve:
        """Rates and qualities, as BD-rates take them: more is better."""
        bpp, values = ([getattr(p, name) for p in self.points] for name in ("bpp", "value"))
        return curve_of(bpp, values, self.metric)

    @property
    def rates_of_seeds(self) -> list[Curve]:
        """The `rates` of each seed; none where a point has not as many seeds as the others."""
        points = self.points[: self.marks]
        if len({len(point.seeds) for point in points}) > 1:
            return []
        curves = []
        for of_seed in zip(*(point.seeds for point in points), strict=True):
            bpp, values = zip(*of_seed, strict=True)
            curves.append(curve_of(bpp, values, self.metric))
        return curves

    def cut(self, rule: Rule) -> "SystemCurve":
        """Return the points up to a rule's rate, and an interpolated one there: `curves.cut`."""
        most = rule.up_to_bpp
        if most is None:
            return self
        points = tuple(point for point in self.points if point.bpp <= most)
        bpp, quality = cut(self.rates, rule)
        if points and len(bpp) and bpp[-1] == most > points[-1].bpp:
            value = self.metric.value(float(quality[-1]))
            end = points[-1]._replace(bpp=most, value=value, setting="", how=INTERPOLATED)
            points += (end._replace(value_error=None, bpp_error=None, interval=None, seeds=()),)
        return self._replace(points=points)


Panel = Sequence[SystemCurve]  # on a pair of axes: of one metric, at least one


def of_variant(panel: Panel, spec: CodecSpec | None) -> SystemCurve | None:
    """Return the curve of a codec variant, a measured one before a published one."""
    curves = sorted(panel, key=lambda curve: not curve.measured)
    return next((curve for curve in curves if curve.spec == spec), None)


def marked_alike(panels: Sequence[Panel]) -> list[Panel]:
    """Give the curves of an edition in all panels the other rules of each, and so one name."""
    rules = by_key((c.edition, rule) for panel in panels for c in panel for rule in c.other_rules)
    return [
        [c._replace(other_rules=(*dict.fromkeys(rules.get(c.edition, ())),)) for c in panel]
        for panel in panels
    ]


def cut_curves(curves: Iterable[SystemCurve], rule: Rule) -> list[SystemCurve]:
    """Return curves cut where a rule ends them, without those that begin beyond."""
    return [cut_curve for curve in curves if (cut_curve := curve.cut(rule)).points]


def measured_curves(summary: Summary | None, metric: Metric) -> list[SystemCurve]:
    """Return the curve of every codec variant of a summary that has one."""
    if summary is None or metric.column not in summary.protocols:
        return []
    titles = summary.titles()
    rules = summary.protocols[metric.column], summary.protocols["coding"]
    result = []
    for edition, of_edition in curves(summary, metric).items():
        points = []
        how = "recorded" if edition.ran.recorded else "measured"
        origin = *rules, edition.short_version, "; ".join(edition.ran.caveats)
        for point in of_edition:
            mean = point.means[metric.column]
            if mean.value is not None and mean.bpp:
                ends = point_interval(point, metric) if metric.of_sets else None
                start = mean.bpp, mean.value, str(point.setting), how, mean.images
                means = (drawing.means[metric.column] for drawing in point.drawings)
                seeds = tuple((of.bpp, of.value) for of in means if of.bpp and of.value is not None)
                points.append(CurvePoint(*start, *origin, interval=ends, seeds=seeds))
        if points:
            result.append(SystemCurve(metric, edition, titles[edition], tuple(points)))
    return result
