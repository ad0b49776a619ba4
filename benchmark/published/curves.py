"""Rate curves of measured and published points, in panels of what may stand side by side."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.analysis.builds import mixed_builds
from benchmark.analysis.interval import Interval, point_interval
from benchmark.analysis.rate_distortion import Curve, Excluded, curves, excluded
from benchmark.analysis.summarise import Point, Summary
from benchmark.analysis.systems import SYSTEMS, System, short_names
from benchmark.datasets.dataset import profile
from benchmark.metrics.measure import Measure
from benchmark.published.points import PublishedPoint, curve_name, slug

LABELS = {system.label for system in SYSTEMS}
STYLE_LABELS = {variant: system.label for system in SYSTEMS for variant in system.published}


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
    """Points of one system in one metric, lowest rate first."""

    system: System  # of the table, or made for a codec or published variant that it lacks
    measured: bool  # here; else published
    points: tuple[CurvePoint, ...]
    sampled: bool = False  # read off a drawn line: the points are not the author's
    caveats: tuple[str, ...] = ()  # of the codec, where it was measured
    few: bool = False  # a distribution metric over so few images that it is marked
    build: str = ""  # tells it from curves of other builds of the codec, where there are any

    @property
    def name(self) -> str:
        """Name in legends."""
        if self.measured:
            name = f"{self.system.name} ({self.build})" if self.build else self.system.name
            return ", ".join([name, *self.caveats])
        beside = self.system.keeps_published
        return f"{self.system.name} (published)" if beside else self.system.name

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocol ids of its points."""
        return tuple(dict.fromkeys(point.protocol for point in self.points))

    @property
    def recorded(self) -> bool:
        """True if streams of some rows come from a pack."""
        return any(point.how == "recorded" for point in self.points)

    @property
    def origin(self) -> Literal["measured", "precomputed", "published"]:
        """Origin of the points; precomputed if any of them is."""
        if not self.measured:
            return "published"
        return "precomputed" if self.recorded else "measured"

    def rates(self, measure: Measure) -> Curve:
        """Return rates and qualities, as BD-rates take them: more is better."""
        sign = 1 if measure.better == "higher" else -1
        # FID falls by decades: as a straight quality its lowest values would decide nothing.
        quality = [
            sign * (np.log10(p.value) if measure.scale == "decades" else measure.drawn(p.value))
            for p in self.points
        ]
        return Curve(np.array([point.bpp for point in self.points]), np.array(quality))


class Panel(NamedTuple):
    """Curves of one metric on one pair of axes, and the measured points that are left out."""

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

    @property
    def names_by_protocol(self) -> dict[str, list[str]]:
        """Names of the curves by protocol id, the panel's own protocol first.

        Its own is that of what was measured here; where nothing was, that of the first curve.
        """
        found: dict[str, list[str]] = {}
        for curve in (*self.measured, *self.curves):
            for protocol in curve.protocols:
                names = found.setdefault(protocol, [])
                names += [curve.name] if curve.name not in names else []
        return found

    @property
    def own_protocol(self) -> str:
        """First key of `names_by_protocol`."""
        return next(iter(self.names_by_protocol))


def measured_panel(summary: Summary | None, measure: Measure) -> Panel:
    """Return the curves of every codec variant of a summary, and its points left out."""
    if summary is None or measure.column not in summary.protocols:
        return Panel(measure, ())
    names = short_names(summary.labels)
    systems = {label: System(names[label], label) for label in summary.labels}
    builds = mixed_builds(summary)
    found = [
        _measured(systems[label], points, measure, summary)._replace(build=builds.get(label, ""))
        for label, points in curves(summary, measure).items()
    ]
    kept = tuple(curve for curve in found if curve.points)
    return Panel(measure, kept, tuple(excluded(summary, measure)))


def _measured(
    system: System, points: Sequence[Point], measure: Measure, summary: Summary
) -> SystemCurve:
    edition = points[0].edition
    spots = []
    for point in points:
        mean = point.means[measure.column]
        if mean.value is None or not mean.bpp:
            continue
        spots.append(
            CurvePoint(
                mean.bpp,
                mean.value,
                str(point.setting),
                "recorded" if edition.recorded else "measured",
                mean.images,
                summary.protocols[measure.column],
                summary.protocols["coding"],
                edition.version,
                "; ".join(edition.caveats),
                interval=point_interval(point, measure) if measure.of_sets else None,
            )
        )
    few = any(measure.few(spot.images or 0) for spot in spots)
    return SystemCurve(system, True, tuple(spots), caveats=edition.caveats, few=few)


def published_curves(
    points: Iterable[PublishedPoint], dataset: str, measure: Measure
) -> list[SystemCurve]:
    """Return a dataset's curves of published points, in the order of the csv.

    A curve is one variant under one protocol from one source; its `System` has that variant alone.
    """
    metric = measure.published or measure.column
    found: dict[tuple[tuple[str, str], ...], list[PublishedPoint]] = {}
    for p in points:
        if p.dataset == dataset and p.metric == metric and p.kind != "step":
            key = (p.system, p.variant), (p.protocol, p.kind), (p.how, p.source)
            found.setdefault(key, []).append(p)
    return [
        published_curve(
            System(curve_name(*key[0]), style_label(*key[0]), published=(key[0],)),
            sorted(group, key=lambda point: point.bpp),
            dataset,
        )
        for key, group in found.items()
    ]


def style_label(system: str, variant: str) -> str:
    """Return the label that a published variant's style goes by: that of its system, if known.

    >>> style_label("VTM", "CompressAI"), style_label("CRDR", "beta=2"), style_label("TCM", "")
    ('vtm', 'crdr:beta=2', 'tcm')
    >>> style_label("WebP", "")  # of another program than the table's
    'webp:variant='
    """
    known, name = STYLE_LABELS.get((system, variant)), slug(system)
    option = variant if "=" in variant else f"variant={slug(variant)}"
    return known or (f"{name}:{option}" if variant or name in LABELS else name)


def records(panels: Iterable[Panel]) -> list[dict[str, Any]]:
    """Return one flat record for every point of these panels, as it is drawn."""
    return [
        {
            "metric": one.measure.column,
            "system": curve.system.name,
            "group": curve.system.group,
            "measured": curve.measured,
            "sampled": curve.sampled,
            "setting": point.setting,
            "bpp": point.bpp,
            "value": point.value,
            "drawn": one.measure.drawn(point.value),
            "value_error": point.value_error,
            "bpp_error": point.bpp_error,
            "images": point.images,
            "how": point.how,
            "protocol": point.protocol,
            "rate_protocol": point.rate_protocol,
            "source": point.source,
            "note": point.note,
        }
        for one in panels
        for curve in one.curves
        for point in curve.points
    ]


def published_curve(system: System, points: Sequence[PublishedPoint], dataset: str) -> SystemCurve:
    """Return the curve of a system through published points, which are sorted by rate."""
    images = profile(dataset).published_images
    return SystemCurve(
        system,
        False,
        tuple(
            CurvePoint(
                p.bpp, p.value, p.setting, p.how, images, p.protocol, p.rate_protocol, p.source,
                p.note, p.value_error, p.bpp_error, p.reference,
            )
            for p in points
        ),
        sampled=any(point.kind == "sample" for point in points),
    )  # fmt: skip
