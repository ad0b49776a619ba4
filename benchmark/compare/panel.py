"""Panels: the rate curves of measured and published points of one metric, on a pair of axes."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from benchmark.compare.curves import Curve, Excluded, curve_of, curves, excluded
from benchmark.compare.interval import Interval, point_interval
from benchmark.metrics.measure import Measure
from benchmark.registry import UNSTATED
from benchmark.rows.summary import Edition, Summary
from benchmark.rows.systems import System, short_names, with_remark

UNRECORDED = ("reference", "interval")  # fields of points that records leave out
NOT_MEASURED = {"published": "published", "file": "from file"}  # in names, by `SystemCurve.origin`


class CurvePoint(NamedTuple):
    """Point of a curve with its origin."""

    bpp: float
    value: float  # of the metric, as tables have it
    setting: str
    how: str  # measured, recorded (from a pack), or as published points have it
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

    system: System  # of the table, or made for a codec or published variant that it lacks
    points: tuple[CurvePoint, ...]
    edition: Edition | None = None  # of the codec, where it was measured; None: published
    sampled: bool = False  # read off a plotted line: the points are not the author's
    build: str = ""  # words on the build of a curve that replaces another

    @property
    def measured(self) -> bool:
        """True if the points were measured here or come from a pack."""
        return self.edition is not None

    @property
    def origin(self) -> str:
        """Source of its points: "here", "bundled", "published", or a "file" of the user's own."""
        if self.edition is not None:
            return "bundled" if self.edition.bundled else "here"
        return "file" if self.protocols == (UNSTATED,) else "published"

    @property
    def name(self) -> str:
        """Name in legends, which says where points are from that were not measured; no caveats."""
        return with_remark(self.system.name, self.build or NOT_MEASURED.get(self.origin, ""))

    @property
    def caveats(self) -> tuple[str, ...]:
        """Caveats of the measured codec."""
        return self.edition.caveats if self.edition else ()

    @property
    def recorded(self) -> bool:
        """True if streams of some rows come from a pack."""
        return self.edition is not None and self.edition.recorded

    @property
    def method(self) -> str:
        """Name of the published system that the points are of."""
        return self.system.published[0][0]

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocol ids of its points."""
        return tuple(dict.fromkeys(point.protocol for point in self.points))

    def plotted(self, measure: Measure) -> tuple[list[float], list[float]]:
        """Return the points' rates, and their values as the axis has them."""
        values = [measure.plotted(point.value) for point in self.points]
        return [point.bpp for point in self.points], values

    def rates(self, measure: Measure) -> Curve:
        """Return rates and qualities, as BD-rates take them: more is better."""
        bpp, values = ([getattr(p, name) for p in self.points] for name in ("bpp", "value"))
        return curve_of(bpp, values, measure)


class Panel(NamedTuple):
    """Curves of a metric on a pair of axes, and the measured points that are left out."""

    measure: Measure
    curves: tuple[SystemCurve, ...]
    excluded: tuple[Excluded, ...] = ()

    @property
    def measured(self) -> tuple[SystemCurve, ...]:
        """Curves of what was measured here."""
        return tuple(curve for curve in self.curves if curve.measured)

    @property
    def published(self) -> tuple[SystemCurve, ...]:
        """Curves of published points."""
        return tuple(curve for curve in self.curves if not curve.measured)

    def up_to(self, bpp: float | None) -> "Panel":
        """Return the panel of the points below a rate, without curves that have none; None: all."""
        most = math.inf if bpp is None else bpp
        curves = [
            c._replace(points=tuple(p for p in c.points if p.bpp <= most)) for c in self.curves
        ]
        return self._replace(curves=tuple(curve for curve in curves if curve.points))

    def of_label(self, label: str) -> SystemCurve | None:
        """Return the curve of a label, a measured one before a published one."""
        curves = (*self.measured, *self.published)
        return next((curve for curve in curves if curve.system.label == label), None)

    @property
    def names_by_protocol(self) -> dict[str, list[str]]:
        """Names of the curves by protocol id, the panel's own protocol first.

        Its own is that of what was measured here; where nothing was, that of the first curve.
        """
        pairs = [(p, curve) for curve in (*self.measured, *self.curves) for p in curve.protocols]
        protocols = dict.fromkeys(protocol for protocol, _ in pairs)
        return {p: list(dict.fromkeys(c.name for q, c in pairs if q == p)) for p in protocols}


def names_in_figures(summary: Summary) -> dict[str, str]:
    """Return the names of a summary's codecs in figures and tables, by label."""
    versions = {point.label: point.edition.version for point in summary.points}
    return short_names(summary.labels, versions, summary.bundled)


def measured_panel(summary: Summary | None, measure: Measure) -> Panel:
    """Return the curves of every codec variant of a summary, and its points left out."""
    if summary is None or measure.column not in summary.protocols:
        return Panel(measure, ())
    names = names_in_figures(summary)
    rules = summary.protocols[measure.column], summary.protocols["coding"]
    result = []
    for label, of_label in curves(summary, measure).items():
        edition, points = of_label[0].edition, []
        how = "recorded" if edition.recorded else "measured"
        origin = *rules, edition.short_version, "; ".join(edition.caveats)
        for point in of_label:
            mean = point.means[measure.column]
            if mean.value is not None and mean.bpp:
                ends = point_interval(point, measure) if measure.of_sets else None
                start = mean.bpp, mean.value, str(point.setting), how, mean.images
                points.append(CurvePoint(*start, *origin, interval=ends))
        if points:
            result.append(SystemCurve(System(names[label], label), tuple(points), edition))
    return Panel(measure, tuple(result), tuple(excluded(summary, measure)))


def records(panels: Iterable[Panel]) -> list[dict[str, Any]]:
    """Return a flat record for every point of these panels, as it is plotted."""
    return [
        {
            "metric": panel.measure.column,
            "system": curve.system.name,
            "group": curve.system.group,
            "measured": curve.measured,
            "from": curve.origin,
            "sampled": curve.sampled,
            "drawn": panel.measure.plotted(point.value),
            **{name: value for name, value in point._asdict().items() if name not in UNRECORDED},
        }
        for panel in panels
        for curve in panel.curves
        for point in curve.points
    ]
