"""Curves of systems in a metric, measured and published, with the origin of every point."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmark.answer import OTHER_RULE
from benchmark.compare.interval import Interval, point_interval
from benchmark.compare.rate_quality import RateQuality, curve_of, cut
from benchmark.compare.rule import Rule
from benchmark.facts import Group
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition, Origin, add_remark
from benchmark.rows.summary import Summary, curves
from benchmark.spec import CodecSpec
from benchmark.system.text import group_by_key

ORIGIN_REMARKS: Mapping[Origin, str] = {"published": "published", "file": "from file"}
INTERPOLATED = "interpolated"  # `CurvePoint.how` of an interpolated point


class CurvePoint(NamedTuple):
    """Point of a curve with its origin."""

    bpp: float
    value: float  # in the metric's units, as in tables
    setting: str
    how: str  # measured, recorded (in a pack), INTERPOLATED, or a published point's `how`
    images: int | None  # number of images averaged; None: the source does not say
    protocol: str
    rate_protocol: str
    source: str
    note: str = ""
    value_error: float | None = None  # reading error, up and down
    bpp_error: float | None = None
    reference: str = ""
    interval: Interval | None = None  # for a distribution metric, in units of the axis
    seeds: tuple[tuple[float, float], ...] = ()  # bpp and value of each averaged seed


class Curve(NamedTuple):
    """Points of an edition in a metric, lowest rate first."""

    metric: Metric
    edition: Edition
    title: str  # unique among the curves made together
    points: tuple[CurvePoint, ...]
    sampled: bool = False  # True: read from a plotted line, not from the authors' points
    group: Group = ""  # group in the paper's legends
    # Protocols of the edition, in any metric, that differ from those of other curves
    other_rules: tuple[str, ...] = ()

    @property
    def spec(self) -> CodecSpec:
        """The codec variant, which determines styles and anchors."""
        return self.edition.spec

    @property
    def measured(self) -> bool:
        """True if the points were measured here or come from a pack."""
        return self.edition.measured

    @property
    def name(self) -> str:
        """Name in legends, with the origin of points not measured here; without caveats."""
        remark = ORIGIN_REMARKS.get(self.edition.origin, "")
        return add_remark(self.title, remark) + self.mark

    @property
    def mark(self) -> str:
        """Mark of an edition whose protocol differs from that of others in any metric."""
        return OTHER_RULE if self.other_rules else ""

    @property
    def has_other_rule(self) -> bool:
        """True if this curve's protocol differs from that of other curves on its axis."""
        return self.protocol in self.other_rules

    @property
    def protocol(self) -> str:
        """Protocol id of the points; empty without points."""
        return self.points[0].protocol if self.points else ""

    @property
    def plotted(self) -> tuple[list[float], list[float]]:
        """The points' rates, and their values in units of the axis."""
        values = [self.metric.axis_position(point.value) for point in self.points]
        return [point.bpp for point in self.points], values

    @property
    def num_points(self) -> int:
        """Number of points, not counting an interpolated end."""
        return sum(point.how != INTERPOLATED for point in self.points)

    @property
    def rates(self) -> RateQuality:
        """Rates and qualities for BD-rates: higher is better."""
        bpp, values = ([getattr(p, name) for p in self.points] for name in ("bpp", "value"))
        return curve_of(bpp, values, self.metric)

    @property
    def seed_curves(self) -> list[RateQuality]:
        """The `rates` of each seed; [] if points have different numbers of seeds."""
        points = self.points[: self.num_points]
        if len({len(point.seeds) for point in points}) > 1:
            return []
        curves = []
        for seed_points in zip(*(point.seeds for point in points), strict=True):
            bpp, values = zip(*seed_points, strict=True)
            curves.append(curve_of(bpp, values, self.metric))
        return curves

    def cut(self, rule: Rule) -> "Curve":
        """Return the points up to a rule's rate limit, and a point interpolated there."""
        max_rate = rule.up_to_bpp
        if max_rate is None:
            return self
        points = tuple(point for point in self.points if point.bpp <= max_rate)
        bpp, quality = cut(self.rates, rule)
        if points and len(bpp) and bpp[-1] == max_rate > points[-1].bpp:
            value = self.metric.value(float(quality[-1]))
            end_point = points[-1]._replace(bpp=max_rate, value=value, setting="", how=INTERPOLATED)
            points += (
                end_point._replace(value_error=None, bpp_error=None, interval=None, seeds=()),
            )
        return self._replace(points=points)


Panel = Sequence[Curve]  # at least one curve of one metric, in one plot


def variant_curve(panel: Panel, spec: CodecSpec | None) -> Curve | None:
    """Return the curve of a codec variant, preferably a measured one."""
    curves = sorted(panel, key=lambda curve: not curve.measured)
    return next((curve for curve in curves if curve.spec == spec), None)


def share_marks(panels: Sequence[Panel]) -> list[Panel]:
    """Give all curves of an edition all of its `other_rules`, so that they have the same name."""
    rules = group_by_key(
        (c.edition, rule) for panel in panels for c in panel for rule in c.other_rules
    )
    return [
        [c._replace(other_rules=(*dict.fromkeys(rules.get(c.edition, ())),)) for c in panel]
        for panel in panels
    ]


def cut_curves(curves: Iterable[Curve], rule: Rule) -> list[Curve]:
    """Return curves cut at the rule's rate limit, without empty ones."""
    return [cut_curve for curve in curves if (cut_curve := curve.cut(rule)).points]


def measured_curves(summary: Summary | None, metric: Metric) -> list[Curve]:
    """Return the curves of a summary's codec variants."""
    if summary is None or metric.column not in summary.protocols:
        return []
    titles = summary.titles()
    protocols = summary.protocols[metric.column], summary.protocols["coding"]
    summary_curves = []
    for edition, edition_points in curves(summary, metric).items():
        points = []
        point_origin = "recorded" if edition.run_facts.recorded else "measured"
        origin_fields = *protocols, edition.short_version, "; ".join(edition.run_facts.caveats)
        for point in edition_points:
            mean = point.means[metric.column]
            if mean.value is not None and mean.bpp:
                interval = point_interval(point, metric) if metric.is_distribution else None
                mean_fields = mean.bpp, mean.value, str(point.setting), point_origin, mean.images
                means = (seed_point.means[metric.column] for seed_point in point.seed_points)
                seeds = tuple(
                    (mean_of_seed.bpp, mean_of_seed.value)
                    for mean_of_seed in means
                    if mean_of_seed.bpp and mean_of_seed.value is not None
                )
                points.append(
                    CurvePoint(*mean_fields, *origin_fields, interval=interval, seeds=seeds)
                )
        if points:
            summary_curves.append(Curve(metric, edition, titles[edition], tuple(points)))
    return summary_curves
