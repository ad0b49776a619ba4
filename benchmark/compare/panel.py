"""Panels: rate curves of one metric, measured and published, on a pair of axes; their anchor.

The anchor of BD-rates is the one that is named, else VTM, else the best conventional codec: one
rule for every verb, by PSNR alone, so that no choice of metrics changes it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import polars as pl

from benchmark.compare.curves import LEAST_POINTS, Curve, Delta, bd_rate, curve_of, cut, mean_curve
from benchmark.compare.interval import Interval, point_interval
from benchmark.errors import UnknownName, UsageError
from benchmark.facts import reference_codecs
from benchmark.metrics.metric import Metric, protocols
from benchmark.registry import UNSTATED
from benchmark.rows.means import summarise
from benchmark.rows.stored import DatasetResults, Source, read_results
from benchmark.rows.summary import Edition, Point, Summary, curves, excluded
from benchmark.rows.systems import (
    System,
    family,
    find_label,
    is_users,
    kind,
    label_of,
    short_names,
    with_remark,
)
from benchmark.rows.variants import Anchor, are_of, pairs_of
from benchmark.rows.versions import OK
from benchmark.system.text import counted

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
    def protocols(self) -> tuple[str, ...]:
        """Protocol ids of its points."""
        return tuple(dict.fromkeys(point.protocol for point in self.points))

    def plotted(self, metric: Metric) -> tuple[list[float], list[float]]:
        """Return the points' rates, and their values as the axis has them."""
        values = [metric.plotted(point.value) for point in self.points]
        return [point.bpp for point in self.points], values

    @property
    def marks(self) -> int:
        """Number of its points, without an interpolated end."""
        return sum(point.how != INTERPOLATED for point in self.points)

    def rates(self, metric: Metric) -> Curve:
        """Return rates and qualities, as BD-rates take them: more is better."""
        bpp, values = ([getattr(p, name) for p in self.points] for name in ("bpp", "value"))
        return curve_of(bpp, values, metric)

    def up_to(self, most: float, metric: Metric) -> "SystemCurve":
        """Return the points up to a rate, and an interpolated one there: see `curves.cut`."""
        points = tuple(point for point in self.points if point.bpp <= most)
        bpp, quality = cut(self.rates(metric), most)
        if points and len(bpp) and bpp[-1] == most > points[-1].bpp:
            value = metric.value(float(quality[-1]))
            end = points[-1]._replace(bpp=most, value=value, setting="", how=INTERPOLATED)
            points += (end._replace(value_error=None, bpp_error=None, interval=None),)
        return self._replace(points=points)


class Panel(NamedTuple):
    """Curves of a metric on a pair of axes, and the measured points that are left out."""

    metric: Metric
    curves: tuple[SystemCurve, ...]
    excluded: tuple[tuple[Point, str], ...] = ()  # each with its reason

    @property
    def measured(self) -> tuple[SystemCurve, ...]:
        """Curves of what was measured here."""
        return tuple(curve for curve in self.curves if curve.measured)

    @property
    def published(self) -> tuple[SystemCurve, ...]:
        """Curves of published points."""
        return tuple(curve for curve in self.curves if not curve.measured)

    def up_to(self, bpp: float | None) -> "Panel":
        """Return the panel with its curves cut at a rate, without those beyond it; None: all."""
        if bpp is None:
            return self
        curves = (curve.up_to(bpp, self.metric) for curve in self.curves)
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


def names_in_figures(summary: Summary, marks: bool = True) -> dict[str, str]:
    """Return the names of a summary's codecs in figures and tables, by label.

    marks: whether those of bundled codecs beside others say so.
    """
    versions = {point.label: point.edition.version for point in summary.points}
    return short_names(summary.labels, versions, summary.bundled if marks else ())


def measured_panel(summary: Summary | None, metric: Metric) -> Panel:
    """Return the curves of every codec variant of a summary, and its points left out."""
    if summary is None or metric.column not in summary.protocols:
        return Panel(metric, ())
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
            result.append(SystemCurve(System(names[label], label), tuple(points), edition))
    return Panel(metric, tuple(result), tuple(excluded(summary, metric)))


BEST = "the best conventional codec with a curve on these images"
NO_CONVENTIONAL = "no conventional codec has a curve on these images"


def read_compared(
    source: Source,
    codecs: str,
    metrics: Sequence[str],
    *,
    anchor: str = "",
    instead: bool = False,
    **options: Any,
) -> DatasetResults:
    """Read and summarise the rows of an experiment and of its anchor.

    anchor, instead: as of `with_anchor`. Other arguments as of `stored.read_results`.
    """
    joined = partial(with_anchor, named=anchor, instead=instead)
    of = source.results, source.dataset, codecs, metrics
    return read_results(*of, rows=source.rows, joined=joined, **options)


def with_anchor(
    rows: pl.DataFrame, others: pl.DataFrame, named: str = "", instead: bool = False
) -> tuple[pl.DataFrame, Anchor]:
    """Return rows with those of their anchor, and the anchor.

    others: rows of the same images, from which the anchor's are taken if `rows` have none. named: a
    label, spec or codec; "": by the rule of this module. Raises `UnknownName` for one without rows
    and `UsageError` for one with too few settings; instead: the rule's is taken then, and says why.
    """
    if named:
        own, more = _labels(rows), _labels(others)
        try:
            label = find_label(named, [*own] if named in own else [*(own | more)])
            both = _added(rows, others, label)
            _require_curve(both.filter(are_of([(more | own)[label]])), label)
        except UsageError as error:
            if not instead:
                raise
            both, anchor = with_anchor(rows, others)
            lacks = "no" if isinstance(error, UnknownName) else "no curve of"
            why = f"{lacks} {named} here{anchor.why and ': '}{anchor.why}"
            return both, anchor._replace(why=why, refused=error)
        return both, Anchor(label)
    anchor = anchor_among(summarise(rows, protocols(["psnr"])))
    if not anchor.why or not others.height:
        return rows, anchor
    standard = [pair for pair in pairs_of(others) if _is_standard(label_of(*pair))]
    every = pl.concat([rows, others.filter(are_of(standard))])
    anchor = anchor_among(summarise(every, protocols(["psnr"])))
    return _added(rows, others, anchor.label), anchor


def require_named(anchors: Iterable[Anchor]) -> None:
    """Raise why the named anchor is not taken, where none of several datasets has it."""
    refused = [anchor.refused for anchor in anchors]
    if refused and refused[0] and all(refused):
        raise refused[0]


def anchor_among(summary: Summary) -> Anchor:
    """Return the anchor where none is named: VTM if it has a curve, else the best standard codec.

    A curve has the points that BD-rates need, over the same images as the others. The best needs
    fewest bits at equal PSNR. Without a standard codec it is one that is not the user's, if any.
    """
    metric = Metric.named("psnr")
    known = curves(summary, metric) if metric.column in summary.protocols else {}
    of = {label: mean_curve(points, metric) for label, points in known.items()}
    whole = [label for label, curve in of.items() if len(curve.bpp) >= LEAST_POINTS]
    standard = [label for label in whole if _is_standard(label)]
    for label in standard:
        if family(label) == reference_codecs()[-1]:
            return Anchor(label)
    if standard:
        return Anchor(_best(standard, of), BEST)
    rest = dict.fromkeys([*whole, *of, *summary.labels])
    first = min(rest, key=lambda label: (label not in whole, is_users(label)), default="")
    return Anchor(first, NO_CONVENTIONAL)


def headlined(labels: Iterable[str], anchor: str, named: Sequence[str] = ()) -> list[str]:
    """Return the labels of which the headline of a comparison with an anchor names the best.

    Those of codecs that the user brought; else of the first codec that was named, of this project's
    own, or of the first of all.

    >>> headlined(["jpeg", "mine.py:Mine", "vtm"], "vtm"), headlined(["ours", "jpeg"], "jpeg")
    (['mine.py:Mine'], ['ours'])
    """
    others = [label for label in labels if label != anchor]
    brought = [label for label in others if is_users(label)]
    of_named = (
        [label for label in others if label == name or label.startswith(f"{name}:")]
        for name in named
    )
    own = [label for label in others if kind(System("", label)) == "own"]
    return brought or next(filter(None, of_named), own) or others[:1]


def _best(labels: Sequence[str], of: Mapping[str, Curve]) -> str:
    """Return the label of the curve that needs fewest bits, by BD-rates against the first."""

    def rate(label: str) -> float:
        delta = bd_rate(of[labels[0]], of[label]) if label != labels[0] else Delta(0.0, 1.0)
        return delta.value if delta.value is not None else math.inf

    return min(labels, key=rate)


def _require_curve(rows: pl.DataFrame, label: str) -> None:
    settings = rows.filter(OK).select("setting_name", "setting_value").n_unique()
    if settings < LEAST_POINTS:
        raise UsageError(
            f"the anchor {label} has {counted(settings, 'setting')} here, and BD-rates need "
            f"{LEAST_POINTS}: measure more of them, or name another --anchor"
        )


def _is_standard(label: str) -> bool:
    return kind(System("", label)) == "standard"


def _labels(rows: pl.DataFrame) -> dict[str, tuple[str, str]]:
    return {label_of(*pair): pair for pair in sorted(pairs_of(rows))}


def _added(rows: pl.DataFrame, others: pl.DataFrame, label: str) -> pl.DataFrame:
    """Return rows with those of others that have this label, unless there are some."""
    if label in _labels(rows) or label not in (more := _labels(others)):
        return rows
    return pl.concat([rows, others.filter(are_of([more[label]]))])
