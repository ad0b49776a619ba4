"""Changes of single images between the codec variants of a pair, in percent; positive is worse.

A metric in dB is judged by the BD-rate of each image, others by its BD-metric in percent of the
reference's mean value. A distribution metric has no curve of a single
image: an image's change is the BD-metric of the set plus the BD-metric's derivatives to all values
and rates, times the image's influence on each (the infinitesimal jackknife).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from operator import itemgetter
from typing import Any, Literal, NamedTuple

import numpy as np

from benchmark.answer import Absent
from benchmark.check.equivalence import Claims
from benchmark.check.pairing import VariantPair
from benchmark.codec import BoolArray, Float64Array
from benchmark.compare import curves as rd
from benchmark.compare.curves import Curve
from benchmark.metrics.metric import Metric, absence
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.rows.summary import Point, Summary, curves, excluded

Kind = Literal["BD-rate", "BD-metric", "limit"]
Verdict = Literal[
    "regressed", "missed", "nothing measured", "undecided", "not worse", "improved", "equivalent",
    "met", "not comparable",
]  # fmt: skip

IN_DECIBELS = ("psnr", "psnr_y", "ms_ssim")  # judged by BD-rate
SIDES = "the reference", "what is checked"
WIDE = 1.25  # times the bits of a point: it is worse without any curve
HIDDEN = {"percent", "unit", "beyond", "nothing"}  # of a finding, in its record
STEP = 1e-4  # of the range of a curve: for derivatives


class WorstImage(NamedTuple):
    """An image and its change in percent; positive is worse."""

    image: str
    percent: float


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A codec variant's change in a metric, and the verdict on it, once judged."""

    label: str  # of the codec variant
    metric: str  # in the registry; of a limit also a column of seconds
    metric_label: str  # "PSNR (dB)"
    kind: Kind
    images: tuple[str, ...] = ()  # with a number
    percent: Float64Array = field(default_factory=lambda: np.empty(0))  # (images,)
    level: float | None = None  # the value that BD-metrics are percent of
    unit: float = 1.0  # from percent to the BD-metric of tables: units of the metric, its sign
    out_of_reach: tuple[str, ...] = ()  # the new curve lies wholly below: worse by any measure
    beyond: tuple[str, ...] = ()  # the new curve lies wholly above
    unknown: tuple[Absent, ...] = ()  # the reference has a curve, the new variant none
    left_out: tuple[Absent, ...] = ()  # the reference itself has no curve
    doubtful: int = 0  # images whose curves hardly meet
    nothing: str = ""  # why no image has a number
    inferred: bool = False  # not computed on both sides: the pixels of all images are equal

    verdict: Verdict = "nothing measured"
    why: str = ""  # a sentence; empty where the numbers say it
    margin_percent: float | None = None
    change_percent: float | None = None  # the mean
    lower_percent: float | None = None  # each bound holds at the confidence, this metric alone
    upper_percent: float | None = None
    deviation_percent: float | None = None  # of single images
    change: float | None = None  # for BD-metrics: in units of the metric, sign as measured
    p: Claims | None = None  # corrected
    images_needed: int | None = None  # of an undecided one
    worst: tuple[WorstImage, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """The finding as JSON values, images as their number."""
        names = (of.name for of in fields(self) if of.name not in HIDDEN)
        of = {name: getattr(self, name) for name in names}
        lists = {
            name: [each._asdict() for each in of[name]] for name in ("worst", "unknown", "left_out")
        }
        return of | lists | {"images": len(self.images), "p": self.p and self.p._asdict()}


def changes(pair: VariantPair, name: str) -> Finding:
    """Return the change of a metric, by its name in the registry, on every image of a pair."""
    metric = Metric.named(name)
    of_set = name in DISTRIBUTION_METRICS
    kind: Kind = "BD-rate" if name in IN_DECIBELS and not of_set else "BD-metric"
    empty = Finding(pair.label, name, metric.axis_label, kind)
    if len(pair.equal) == len(pair.images):  # 0, as every metric of the pixels
        sides = [side.summary.points for side in (pair.reference, pair.test)]
        known = [all(_values(point, metric) == point.images for point in side) for side in sides]
        result = _with_level(empty, metric, sides[0]) if known[0] else empty
        nought = np.zeros(len(pair.images))
        return replace(result, images=pair.images, percent=nought, inferred=not all(known))
    if not metric.by_image:
        return replace(empty, nothing=f"{metric.label} gives no influence of an image")
    points = []
    for side, whose in zip((pair.reference, pair.test), SIDES, strict=True):
        points.append(curves(side.summary, metric).get(side.label, []))
        if not points[-1]:
            why = why_no_curve(side.summary, metric)
            return replace(empty, nothing=f"{whose}: {why}")
    result = _with_level(empty, metric, points[0])
    if kind == "BD-metric" and not result.level:
        why = f"the mean value of {pair.reference.label} is 0, so changes have no percentage"
        return replace(empty, nothing=why)
    return (_of_set if of_set else _of_images)(result, metric, pair, points)


def _values(point: Point, metric: Metric) -> int:
    """Count the images of a point that have a value."""
    mean = point.means[metric.column]
    return mean.images + mean.infinite


def why_no_curve(summary: Summary, metric: Metric) -> str:
    """Return the reason why a codec variant has no curve in a metric."""
    for point in summary.points:
        if reasons := point.means[metric.column].reasons:
            what, command = absence(reasons[0][0])
            hint, known = f" ({command})" if command else "", _values(point, metric)
            return f"{known} of {point.images} images have a value: {what}{hint}"
    return next((why for _, why in excluded(summary, metric)), "no value")


def _with_level(empty: Finding, metric: Metric, points: Sequence[Point]) -> Finding:
    """Return the same with the mean of the reference's values over settings and images."""
    if empty.kind == "BD-rate":
        return empty
    values = [point.means[metric.column].value for point in points]
    level = abs(math.fsum(value for value in values if value is not None)) / len(values)
    sign = 1 if metric.better == "lower" else -1
    return replace(empty, level=level or None, unit=sign * level / 100)


def _of_images(
    empty: Finding, metric: Metric, pair: VariantPair, points: Sequence[Sequence[Point]]
) -> Finding:
    before, after = (rd.image_curves(side, metric) for side in points)
    delta, scale = rd.bd_rate, 1.0
    if empty.level is not None:
        delta, scale = rd.bd_quality, -100 / empty.level
    numbers: dict[str, float] = {}
    kinds = ("below", "above", "", "left out")
    without: dict[str, list[Absent]] = {kind: [] for kind in kinds}
    doubtful = 0
    for image, name in sorted(enumerate(pair.images), key=itemgetter(1)):
        if name in pair.equal:
            numbers[name] = 0.0
        elif image in before:
            new = after.get(image, Curve(np.empty(0), np.empty(0)))
            result = delta(before[image], new, any_overlap=True, anchor_name=SIDES[0])
            if result.value is not None:
                numbers[name] = scale * result.value
                doubtful += result.doubtful
                continue
            itself = delta(before[image], before[image], any_overlap=True)
            kind = "left out" if itself.value is None else _wholly(before[image], new)
            without[kind].append(Absent(name, result.why))
    below = [image.what for image in without["below"]]
    nothing = ""
    if not (numbers or below or without["above"]):
        nothing = f"in no image: {[*without[''], *without['left out']][0].why}"
    return replace(
        empty,
        images=tuple(numbers),
        percent=np.array(list(numbers.values()), np.float64),
        out_of_reach=tuple(sorted(below)),
        beyond=tuple(image.what for image in without["above"]),
        unknown=tuple(without[""]),
        left_out=tuple(without["left out"]),
        doubtful=doubtful,
        nothing=nothing,
    )


def _wholly(before: Curve, after: Curve) -> Literal["below", "above", ""]:
    """Say whether `after` lies wholly below or above `before` at comparable rates; else "".

    Below is also one that has no quality of `before` for less than `WIDE` times its bits, although
    it spends as many: worse by any measure, with or without a curve.

    >>> reference = Curve(np.array([0.2, 0.4]), np.array([30.0, 33.0]))
    >>> _wholly(reference, Curve(np.array([0.1, 0.5]), np.array([20.0, 22.0])))
    'below'
    >>> _wholly(reference, Curve(np.array([0.1, 0.3]), np.array([33.0, 35.0])))
    ''
    >>> _wholly(reference, Curve(np.array([0.9, 0.6]), np.array([30.0, 33.0])))
    'below'
    """
    if not len(before.bpp) or not len(after.bpp):
        return ""
    if after.quality.max() < before.quality.min() and after.bpp.max() >= before.bpp.min():
        return "below"
    if after.quality.min() > before.quality.max() and after.bpp.min() <= before.bpp.max():
        return "above"
    as_good = after.quality >= before.quality[:, None]
    dear = after.bpp >= WIDE * before.bpp[:, None]
    return "below" if (dear | ~as_good).all() and dear.any(axis=1).all() else ""


def _of_set(
    empty: Finding, metric: Metric, pair: VariantPair, points: Sequence[Sequence[Point]]
) -> Finding:
    values = np.stack([p.image_values[metric.column] for side in points for p in side])
    finite = np.isfinite(values).all(axis=0)
    images = tuple(np.array(pair.images, object)[finite].tolist())
    curves, influences = zip(*(_set_curve(side, metric, finite) for side in points), strict=True)
    delta = partial(rd.bd_quality, any_overlap=True, anchor_name="the reference")
    result = delta(*curves)
    if result.value is None:
        where = _wholly(*curves)
        below = images if where == "below" else ()
        unknown = () if where else tuple(Absent(image, result.why) for image in images)
        return replace(
            empty,
            out_of_reach=below,
            beyond=images if where == "above" else (),
            unknown=unknown,
            nothing="" if where else result.why,
        )
    change = np.full(len(images), result.value)
    for place, influence in enumerate(influences):

        def of_side(curve: Curve, place: int = place) -> float:
            shifted = delta(*curves[:place], curve, *curves[place + 1 :])
            return result.number if shifted.value is None else shifted.value

        change += _derivatives(of_side, curves[place], "bpp") @ influence.bpp
        change += _derivatives(of_side, curves[place], "quality") @ influence.quality
    assert empty.level is not None
    percent = -100 / empty.level * change
    if metric.scale == "decades":  # influences to first order
        ratio = 10**-result.value
        percent = 100 * (ratio - 1) - 100 * math.log(10) * ratio * (change - result.value)
    doubtful = len(images) if result.doubtful else 0
    return replace(empty, images=images, percent=percent, doubtful=doubtful)


def _set_curve(points: Sequence[Point], metric: Metric, finite: BoolArray) -> tuple[Curve, Curve]:
    """Return the curve of a set, and each image's influence on its points, (points, images)."""
    values = np.array([point.image_values[metric.column][finite] for point in points])
    rates = np.array([point.image_bpp[finite] for point in points])
    means = values.mean(axis=1)
    if metric.scale == "decades":  # a distance that is not above 0 has no logarithm
        values, rates, means = (array[means > 0] for array in (values, rates, means))
    bpp, influence = rates.mean(axis=1), values - means[:, None]
    slope = np.full(len(means), 1.0 if metric.better == "higher" else -1.0)
    if metric.scale == "decades":
        slope /= means * math.log(10)
    influences = Curve(rates - bpp[:, None], slope[:, None] * influence)
    return Curve(bpp, rd.qualities(means, metric)), influences


def _derivatives(
    value: Callable[[Curve], float], curve: Curve, of: Literal["bpp", "quality"]
) -> Float64Array:
    coordinates: Float64Array = getattr(curve, of)
    step = STEP * float(np.ptp(coordinates) or 1.0)
    result = np.empty(len(coordinates))
    for place, shift in enumerate(step * np.eye(len(coordinates))):
        below, above = (
            value(curve._replace(**{of: coordinates + sign * shift})) for sign in (-1, 1)
        )
        result[place] = (above - below) / (2 * step)
    return result
