"""Rate curves of measured and published points, in panels of what may stand side by side."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from benchmark.analysis.interval import Interval, point_interval
from benchmark.analysis.rate_distortion import Excluded, Measure, curves, excluded
from benchmark.analysis.summarise import Point, Summary
from benchmark.analysis.systems import PAPER_SYSTEMS, SYSTEMS, System, short_names
from benchmark.datasets.profile import profile
from benchmark.metrics.distribution_metric import FEW_IMAGES
from benchmark.published.points import PublishedPoint, curve_name, slug

SAME_RATE = 1.04  # two sources of one point: the first of them stands
PARTS = ("professional", "mobile")  # of clic2020, where sources have means of these alone
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


class Curve(NamedTuple):
    """Points of one system in one metric, lowest rate first."""

    system: System  # of the table, or made for a codec or published variant that it lacks
    measured: bool  # here; else published
    points: tuple[CurvePoint, ...]
    sampled: bool = False  # read off a drawn line: the points are not the author's
    caveats: tuple[str, ...] = ()  # of the codec, where it was measured
    few: bool = False  # a distribution metric over so few images that it is marked

    @property
    def name(self) -> str:
        """Name in legends."""
        if self.measured:
            return ", ".join([self.system.name, *self.caveats])
        beside = self.system.keeps_published
        return f"{self.system.name} (published)" if beside else self.system.name

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocol ids of its points."""
        return tuple(dict.fromkeys(point.protocol for point in self.points))

    @property
    def recorded(self) -> bool:
        """Whether streams of some rows come from a pack."""
        return any(point.how == "recorded" for point in self.points)


class Panel(NamedTuple):
    """Curves of one metric on one pair of axes, and the measured points that are left out."""

    measure: Measure
    curves: tuple[Curve, ...]
    excluded: tuple[Excluded, ...] = ()

    @property
    def measured(self) -> tuple[Curve, ...]:
        """Curves of what was measured here."""
        return tuple(curve for curve in self.curves if curve.measured)

    @property
    def published(self) -> tuple[Curve, ...]:
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
    found = [
        _measured(systems[label], points, measure, summary)
        for label, points in curves(summary, measure).items()
    ]
    kept = tuple(curve for curve in found if curve.points)
    return Panel(measure, kept, tuple(excluded(summary, measure)))


def is_few(measure: Measure, images: int) -> bool:
    """Return whether a metric is a distribution metric over so few images that it is marked."""
    return measure.of_sets and images < FEW_IMAGES


def _measured(system: System, points: Sequence[Point], measure: Measure, summary: Summary) -> Curve:
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
    few = any(is_few(measure, spot.images or 0) for spot in spots)
    return Curve(system, True, tuple(spots), caveats=edition.caveats, few=few)


def published_curves(
    points: Iterable[PublishedPoint], dataset: str, measure: Measure
) -> list[Curve]:
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
        _published(
            System(curve_name(*key[0]), style_label(*key[0]), published=(key[0],)),
            sorted(group, key=lambda point: point.bpp),
            dataset,
        )
        for key, group in found.items()
    ]


def style_label(system: str, variant: str) -> str:
    """Return the label that a published variant's style goes by: that of its codec, if known.

    >>> style_label("VTM", "CompressAI"), style_label("CRDR", "beta=2"), style_label("TCM", "")
    ('vtm', 'crdr:beta=2', 'tcm')
    """
    known = STYLE_LABELS.get((system, variant))
    option = variant if "=" in variant else f"variant={slug(variant)}"
    return known or (f"{slug(system)}:{option}" if variant else slug(system))


def paper_panel(
    measure: Measure,
    dataset: str,
    here: Panel,
    points: Sequence[PublishedPoint],
    up_to_bpp: float,
) -> Panel:
    """Return every system of the paper that has points below a rate, in the order of the table.

    `here` is the `measured_panel` of the dataset. A measured curve takes the place of a published
    one of the same codec, except our method's, whose published points are of another network.
    Measured means over fewer images than published ones (`too_few` names them) and published points
    of a protocol that is not in `measure.meets` are left out.
    """
    found = []
    mine = {curve.system.label: curve for curve in here.measured if _whole(curve, dataset)}
    for system in PAPER_SYSTEMS:
        measured = mine.get(system.label)
        if measured is None or system.keeps_published:
            found.append(_of_system(system, measure, dataset, points))
        found.append(measured._replace(system=system) if measured else None)
    cut = [
        curve._replace(points=tuple(point for point in curve.points if point.bpp <= up_to_bpp))
        for curve in found
        if curve is not None
    ]
    return Panel(measure, tuple(curve for curve in cut if curve.points))


def too_few(here: Iterable[Panel], dataset: str) -> list[str]:
    """Return a sentence on every measured system of the paper that lacks images of the dataset."""
    reasons: dict[str, dict[str, None]] = {}
    of_paper = {system.measured for system in PAPER_SYSTEMS if system.measured}
    for panel in here:
        known = {curve.system.label: curve for curve in panel.measured}
        for label, curve in known.items():
            if label in of_paper and not _whole(curve, dataset):
                most = max(point.images or 0 for point in curve.points)
                why = f"{most} of {profile(dataset).published_images} images"
                reasons.setdefault(label, {})[why] = None
        for one in panel.excluded:
            if one.label not in known and one.label in of_paper:
                reasons.setdefault(one.label, {})[one.why] = None
    return [
        f"{dataset}: measured rows of {label} are not drawn: {'; '.join(why)}"
        for label, why in reasons.items()
    ]


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


def whole_set(points: Iterable[PublishedPoint], dataset: str) -> list[PublishedPoint]:
    """Return means over a whole dataset of which a source has the parts alone.

    The i-th point of one part goes with the i-th of the other: both are the codec's i-th setting.
    The mean over all images is the mean of the two weighted by their images, and exactly so for
    rates, which are means of each image's too. Parts that do not match give nothing.
    """
    by_part: list[list[PublishedPoint]] = [[], []]
    for point in points:
        name, _, part = point.dataset.partition(":")
        if name == dataset and part in PARTS:
            by_part[PARTS.index(part)].append(point)
    if len(by_part[0]) != len(by_part[1]):
        return []
    by_part = [sorted(part, key=lambda point: point.bpp) for part in by_part]
    weights = [profile(f"{dataset}:{part}").published_images or 0 for part in PARTS]
    return [
        _merged(pair, weights, dataset)
        for pair in zip(*by_part, strict=True)
        if pair[0].setting == pair[1].setting
    ]


def _whole(curve: Curve, dataset: str) -> bool:
    """Return whether the curve's means are over as many images as published ones."""
    wanted = profile(dataset).published_images
    return wanted is None or any(point.images == wanted for point in curve.points)


def _merged(
    pair: tuple[PublishedPoint, ...], weights: Sequence[int], dataset: str
) -> PublishedPoint:
    def mean(numbers: Iterable[float]) -> float:
        return sum(w * n for w, n in zip(weights, numbers, strict=True)) / sum(weights)

    note = f"mean of {' and '.join(PARTS)}, weighted {weights[0]}:{weights[1]}"
    return msgspec.structs.replace(
        pair[0],
        dataset=dataset,
        bpp=mean(point.bpp for point in pair),
        value=mean(point.value for point in pair),
        note="; ".join(filter(None, [pair[0].note, note])),
        reference="; ".join(point.reference for point in pair),
    )


def _of_system(
    system: System, measure: Measure, dataset: str, points: Sequence[PublishedPoint]
) -> Curve | None:
    for variant in system.published:
        of_variant = [
            point
            for point in points
            if (point.system, point.variant) == variant
            and point.metric == (measure.published or measure.column)
            and point.kind != "step"
            and point.protocol in measure.meets
        ]
        found = [p for p in of_variant if p.dataset == dataset] or whole_set(of_variant, dataset)
        if found:
            return _published(system, _without_duplicates(found), dataset)
    return None


def _published(system: System, points: Sequence[PublishedPoint], dataset: str) -> Curve:
    images = profile(dataset).published_images
    return Curve(
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


def _without_duplicates(points: Sequence[PublishedPoint]) -> list[PublishedPoint]:
    """Sort by rate; of what two sources have at one rate, keep the first of the csv."""
    kept: list[PublishedPoint] = []
    for point in points:
        duplicates = (
            one.source != point.source
            and max(one.bpp, point.bpp) <= SAME_RATE * min(one.bpp, point.bpp)
            for one in kept
        )
        if not any(duplicates):
            kept.append(point)
    return sorted(kept, key=lambda point: point.bpp)
