"""A summary and published points in; one curve a system, each point with its origin, out. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from benchmark.analysis.rate_distortion import Measure, curves, excluded
from benchmark.analysis.summarise import Summary
from benchmark.analysis.systems import MAY_MEET, SYSTEMS, System
from benchmark.published.points import IMAGES, NAMES, PublishedPoint

SAME_RATE = 1.04  # two sources of one point: the first of them stands
PARTS = ("professional", "mobile")  # of clic2020, where sources have means of these alone


class Spot(NamedTuple):
    """One point, and where it is from."""

    bpp: float
    value: float
    setting: str
    how: str  # measured, recorded (from a pack), or as published points have it
    images: int
    protocol: str
    rate_protocol: str
    source: str
    note: str = ""
    value_error: float | None = None  # reading error, up and down
    bpp_error: float | None = None


class Curve(NamedTuple):
    """Points of one system in one metric, lowest rate first."""

    system: System
    measured: bool  # here; else published
    sampled: bool  # off a drawn line: the points are not the author's
    spots: tuple[Spot, ...]

    @property
    def name(self) -> str:
        """What legends call it."""
        if self.measured:
            return ", ".join([self.system.name, *self.caveats])
        beside = self.system.keeps_published
        return f"{self.system.name} (published)" if beside else self.system.name

    @property
    def caveats(self) -> tuple[str, ...]:
        """Of its network, where it was measured; without any where it was published."""
        notes = dict.fromkeys(spot.note for spot in self.spots if spot.note)
        return tuple(notes) if self.measured else ()

    @property
    def protocols(self) -> tuple[str, ...]:
        """Rules of its points."""
        return tuple(dict.fromkeys(spot.protocol for spot in self.spots))


class Panel(NamedTuple):
    """What is drawn on one pair of axes."""

    measure: Measure
    curves: tuple[Curve, ...]


def panel(
    measure: Measure,
    dataset: str,
    summary: Summary | None,
    points: Sequence[PublishedPoint],
    up_to_bpp: float,
) -> Panel:
    """Every system that has points on the dataset below a rate, in the order of `SYSTEMS`.

    A measured curve takes the place of a published one of the same codec, but for our method, whose
    published points are of another network. Measured means over fewer images than published ones
    are left out (`too_few` tells which). Published points of a rule that is not in `MAY_MEET` are
    left out.
    """
    found = []
    here = _measured(measure, dataset, summary)
    for system in SYSTEMS:
        mine = here.get(system.measured)
        if mine is None or system.keeps_published:
            found.append(_published(system, measure, dataset, points))
        found.append(Curve(system, True, False, mine) if mine else None)
    cut = [
        curve._replace(spots=tuple(spot for spot in curve.spots if spot.bpp <= up_to_bpp))
        for curve in found
        if curve is not None
    ]
    return Panel(measure, tuple(curve for curve in cut if curve.spots))


def too_few(summary: Summary | None, dataset: str, measures: Sequence[Measure]) -> list[str]:
    """A sentence on every measured system of the paper that lacks images of the dataset."""
    if summary is None:
        return []
    reasons: dict[str, dict[str, None]] = {}
    for measure in measures:
        if measure.column not in summary.protocols:
            continue
        here = curves(summary, measure)
        for label in (system.measured for system in SYSTEMS if system.measured):
            whole = [p.means[measure.column].images for p in here.get(label, ())]
            if whole and max(whole) != IMAGES.get(dataset, max(whole)):
                why = f"{max(whole)} of {IMAGES[dataset]} images"
                reasons.setdefault(label, {})[why] = None
        for one in excluded(summary, measure):
            if one.label not in here and any(one.label == s.measured for s in SYSTEMS):
                reasons.setdefault(one.label, {})[one.why] = None
    return [
        f"{dataset}: measured rows of {label} are not drawn: {'; '.join(why)}"
        for label, why in reasons.items()
    ]


def records(panels: Iterable[Panel]) -> list[dict[str, Any]]:
    """One flat record a point as it is drawn."""
    return [
        {
            "metric": one.measure.column,
            "system": curve.system.name,
            "group": curve.system.group,
            "measured": curve.measured,
            "sampled": curve.sampled,
            "setting": spot.setting,
            "bpp": spot.bpp,
            "value": spot.value,
            "drawn": one.measure.drawn(spot.value),
            "value_error": spot.value_error,
            "bpp_error": spot.bpp_error,
            "images": spot.images,
            "how": spot.how,
            "protocol": spot.protocol,
            "rate_protocol": spot.rate_protocol,
            "source": spot.source,
            "note": spot.note,
        }
        for one in panels
        for curve in one.curves
        for spot in curve.spots
    ]


def whole_set(points: Iterable[PublishedPoint], dataset: str) -> list[PublishedPoint]:
    """Points of a dataset of which a source has the parts alone, the i-th of one with the i-th of
    the other: both are the codec's i-th setting. The mean over all images is the mean of the two,
    weighted by their images, and exactly so for rates, which are means of each image's too.
    """
    by_part: list[list[PublishedPoint]] = [[], []]
    for point in points:
        name, _, part = point.dataset.partition(":")
        if name == dataset and part in PARTS:
            by_part[PARTS.index(part)].append(point)
    if len(by_part[0]) != len(by_part[1]):
        return []
    by_part = [sorted(part, key=lambda point: point.bpp) for part in by_part if part]
    if not by_part:
        return []
    weights = [IMAGES[f"{dataset}:{part}"] for part in PARTS]
    return [
        _merged(pair, weights, dataset)
        for pair in zip(*by_part, strict=True)
        if pair[0].setting == pair[1].setting
    ]


def _merged(
    pair: tuple[PublishedPoint, ...], weights: Sequence[int], dataset: str
) -> PublishedPoint:
    def mean(numbers: Iterable[float]) -> float:
        return sum(w * n for w, n in zip(weights, numbers, strict=True)) / sum(weights)

    note = f"mean of {' and '.join(PARTS)}, weighted {weights[0]}:{weights[1]}"
    return replace(
        pair[0],
        dataset=dataset,
        bpp=mean(point.bpp for point in pair),
        value=mean(point.value for point in pair),
        note="; ".join(filter(None, [pair[0].note, note])),
        reference="; ".join(point.reference for point in pair),
    )


def _published(
    system: System, measure: Measure, dataset: str, points: Sequence[PublishedPoint]
) -> Curve | None:
    metric = NAMES.get(measure.column, measure.column)
    for variant in system.published:
        of_variant = [
            point
            for point in points
            if (point.system, point.variant) == variant
            and point.metric == metric
            and point.kind != "step"
            and point.protocol in MAY_MEET[measure.column]
        ]
        found = [p for p in of_variant if p.dataset == dataset] or whole_set(of_variant, dataset)
        if found:
            sampled = any(point.kind == "sample" for point in found)
            spots = tuple(_spot(point, dataset) for point in _without_twins(found))
            return Curve(system, False, sampled, spots)
    return None


def _without_twins(points: Sequence[PublishedPoint]) -> list[PublishedPoint]:
    """By rate; of what two sources have at one rate, the one that comes first in the csv."""
    kept: list[PublishedPoint] = []
    for point in points:
        twins = [
            one
            for one in kept
            if one.source != point.source
            and max(one.bpp, point.bpp) <= SAME_RATE * min(one.bpp, point.bpp)
        ]
        if not twins:
            kept.append(point)
    return sorted(kept, key=lambda point: point.bpp)


def _spot(point: PublishedPoint, dataset: str) -> Spot:
    return Spot(
        point.bpp,
        point.value,
        point.setting,
        point.how,
        IMAGES[dataset],
        point.protocol,
        point.rate_protocol,
        point.source,
        point.note,
        point.value_error,
        point.bpp_error,
    )


def _measured(
    measure: Measure, dataset: str, summary: Summary | None
) -> Mapping[str, tuple[Spot, ...]]:
    """By label, of points whose means are over the images that published ones are over."""
    if summary is None or measure.column not in summary.protocols:
        return {}
    found: dict[str, list[Spot]] = {}
    for label, points in curves(summary, measure).items():
        for point in points:
            mean = point.means[measure.column]
            if mean.value is None or not mean.bpp:
                continue
            if mean.images != IMAGES.get(dataset, mean.images):
                continue
            edition = point.edition
            spot = Spot(
                mean.bpp,
                mean.value,
                str(point.setting),
                "recorded" if edition.recorded else "measured",
                mean.images,
                summary.protocols[measure.column],
                summary.protocols["coding"],
                edition.version,
                "; ".join(edition.caveats),
            )
            found.setdefault(label, []).append(spot)
    return {label: tuple(spots) for label, spots in found.items()}
