"""Curves of systems in a metric, measured and published, with the origin of every point."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from benchmark.compare.curves import Curve, curve_of, cut
from benchmark.compare.interval import Interval, point_interval
from benchmark.metrics.metric import Metric
from benchmark.registry import UNSTATED
from benchmark.rows.summary import Edition, Summary, curves
from benchmark.rows.systems import System, short_names, with_remark

NOT_MEASURED = {"published": "published", "file": "from file"}  # in names, by `SystemCurve.origin`
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


class SystemCurve(NamedTuple):
    """Points of a system in a metric, lowest rate first."""

    metric: Metric
    system: System  # of the table, or made for a codec or published variant that it lacks
    points: tuple[CurvePoint, ...]
    edition: Edition | None = None  # of the codec, where it was measured; None: published
    sampled: bool = False  # read off a plotted line: the points are not the author's

    @property
    def measured(self) -> bool:
        """True if the points were measured here or come from a pack."""
        return self.edition is not None

    @property
    def origin(self) -> str:
        """Source of its points: "here", "bundled", "published", or a "file" of the user's own."""
        if self.edition is not None:
            return "bundled" if self.edition.bundled else "here"
        return "file" if self.protocol == UNSTATED else "published"

    @property
    def name(self) -> str:
        """Name in legends, which says where points are from that were not measured; no caveats."""
        return with_remark(self.system.name, NOT_MEASURED.get(self.origin, ""))

    def called(self, name: str) -> "SystemCurve":
        """Return the curve of a system that is called otherwise."""
        return self._replace(system=self.system._replace(name=name))

    @property
    def caveats(self) -> tuple[str, ...]:
        """Caveats of the measured codec."""
        return self.edition.caveats if self.edition else ()

    @property
    def method(self) -> str:
        """Name of the published system that the points are of."""
        return self.system.published[0][0]

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

    def up_to(self, most: float) -> "SystemCurve":
        """Return the points up to a rate, and an interpolated one there: see `curves.cut`."""
        points = tuple(point for point in self.points if point.bpp <= most)
        bpp, quality = cut(self.rates, most)
        if points and len(bpp) and bpp[-1] == most > points[-1].bpp:
            value = self.metric.value(float(quality[-1]))
            end = points[-1]._replace(bpp=most, value=value, setting="", how=INTERPOLATED)
            points += (end._replace(value_error=None, bpp_error=None, interval=None),)
        return self._replace(points=points)


Panel = Sequence[SystemCurve]  # on a pair of axes: of one metric, at least one


def of_label(panel: Panel, label: str) -> SystemCurve | None:
    """Return the curve of a label, a measured one before a published one."""
    curves = sorted(panel, key=lambda curve: not curve.measured)
    return next((curve for curve in curves if curve.system.label == label), None)


def up_to(curves: Iterable[SystemCurve], bpp: float | None) -> list[SystemCurve]:
    """Return curves cut at a rate, without those beyond it; None: all as they are."""
    if bpp is None:
        return [*curves]
    return [cut_curve for curve in curves if (cut_curve := curve.up_to(bpp)).points]


def names_in_figures(summary: Summary, marks: bool = True) -> dict[str, str]:
    """Return the names of a summary's codecs in figures and tables, by label.

    marks: whether those of bundled codecs beside others say so.
    """
    versions = {point.label: point.edition.version for point in summary.points}
    return short_names(summary.labels, versions, summary.bundled if marks else ())


def measured_curves(summary: Summary | None, metric: Metric) -> list[SystemCurve]:
    """Return the curve of every codec variant of a summary that has one."""
    if summary is None or metric.column not in summary.protocols:
        return []
    names = names_in_figures(summary)
    rules = summary.protocols[metric.column], summary.protocols["coding"]
    result = []
    for label, of_label in curves(summary, metric).items():
        edition, points = of_label[0].edition, []
        how = "recorded" if edition.recorded else "measured"
        origin = *rules, edition.short_version, "; ".join(edition.caveats)
        for point in of_label:
            mean = point.means[metric.column]
            if mean.value is not None and mean.bpp:
                ends = point_interval(point, metric) if metric.of_sets else None
                start = mean.bpp, mean.value, str(point.setting), how, mean.images
                points.append(CurvePoint(*start, *origin, interval=ends))
        if points:
            system = System(names[label], label)
            result.append(SystemCurve(metric, system, tuple(points), edition))
    return result
