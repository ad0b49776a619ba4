"""Changes of single images between the codec variants of a pair, in percent; positive is worse.

A metric in dB is judged by the BD-rate of each image, others by its BD-metric in percent of the
reference's mean value. A distribution metric has no curve of a single
image: an image's change is the BD-metric of the set plus the BD-metric's derivatives to all values
and rates, times the image's influence on each (the infinitesimal jackknife).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Literal

import numpy as np

from benchmark.answer import Absent
from benchmark.check.pairing import VariantPair
from benchmark.codec import BoolArray, Float64Array
from benchmark.compare import curves as rd
from benchmark.compare.curves import Curve
from benchmark.compare.rule import Rule
from benchmark.metrics.metric import Metric, absence
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.rows.edition import label_of
from benchmark.rows.summary import Point, Summary, curves, excluded

Kind = Literal["BD-rate", "BD-metric", "limit"]
IN_DECIBELS = ("psnr", "psnr_y", "ms_ssim")  # judged by BD-rate
SIDES = "the reference", "what is checked"
WIDE = 1.25  # times the bits of a point: it is worse without any curve
STEP = 1e-4  # of the range of a curve: for derivatives


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A codec variant's change in a metric, image by image."""

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


def changes(pair: VariantPair, name: str, rule: Rule) -> Change:
    """Return the change of a metric, by its name in the registry, on every image of a pair.

    Curves are compared by the rule's form, however little they overlap.
    """
    metric = Metric.named(name)
    of_set = name in DISTRIBUTION_METRICS
    kind: Kind = "BD-rate" if name in IN_DECIBELS and not of_set else "BD-metric"
    empty, sides = Change(pair.label, name, metric.axis_label, kind), (pair.reference, pair.test)
    if len(pair.equal) == len(pair.images):  # 0, as every metric of the pixels
        known = [all(_values(of, metric) == of.images for of in side.points) for side in sides]
        result = _with_level(empty, metric, pair.reference.points) if known[0] else empty
        nought = np.zeros(len(pair.images))
        return replace(result, images=pair.images, percent=nought, inferred=not all(known))
    if not metric.by_image:
        return replace(empty, nothing=f"{metric.label} gives no influence of an image")
    points = []
    for side, whose in zip(sides, SIDES, strict=True):
        points.append(curves(side, metric).get(side.points[0].edition, []))
        if not points[-1]:
            return replace(empty, nothing=f"{whose}: {why_no_curve(side, metric)}")
    result = _with_level(empty, metric, points[0])
    if kind == "BD-metric" and not result.level:
        label = label_of(points[0][0].edition.spec)
        why = f"the mean value of {label} is 0, so changes have no percentage"
        return replace(empty, nothing=why)
    rule = replace(rule, any_overlap=True)
    return (_of_set if of_set else _of_images)(result, metric, pair, points, rule)


def _values(point: Point, metric: Metric) -> int:
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


def _with_level(empty: Change, metric: Metric, points: Sequence[Point]) -> Change:
    if empty.kind == "BD-rate":
        return empty
    values = [point.means[metric.column].value for point in points]
    level = abs(math.fsum(value for value in values if value is not None)) / len(values)
    sign = 1 if metric.better == "lower" else -1
    return replace(empty, level=level or None, unit=sign * level / 100)


def _of_images(
    empty: Change,
    metric: Metric,
    pair: VariantPair,
    points: Sequence[Sequence[Point]],
    rule: Rule,
) -> Change:
    before, after = (rd.image_curves(side, metric) for side in points)
    delta, scale = rd.bd_rate, 1.0
    if empty.level is not None:
        delta, scale = rd.bd_quality, -100 / empty.level
    numbers: dict[str, float] = {}
    without: dict[str, list[Absent]] = {kind: [] for kind in ("below", "above", "", "left out")}
    doubtful = 0
    for image, name in sorted(enumerate(pair.images), key=itemgetter(1)):
        if name in pair.equal:
            numbers[name] = 0.0
        elif image in before:
            new = after.get(image, Curve(np.empty(0), np.empty(0)))
            result = delta(before[image], new, rule, anchor_name=SIDES[0])
            if result.value is not None:
                numbers[name] = scale * result.value
                doubtful += result.doubtful
                continue
            itself = delta(before[image], before[image], rule)
            kind = "left out" if itself.value is None else _wholly(before[image], new)
            without[kind].append(Absent(name, result.why))
    nothing = ""
    if not (numbers or without["below"] or without["above"]):
        nothing = f"in no image: {[*without[''], *without['left out']][0].why}"
    return replace(
        empty,
        images=tuple(numbers),
        percent=np.array(list(numbers.values()), np.float64),
        out_of_reach=tuple(image.what for image in without["below"]),
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
    empty: Change,
    metric: Metric,
    pair: VariantPair,
    points: Sequence[Sequence[Point]],
    rule: Rule,
) -> Change:
    values = np.stack([p.image_values[metric.column] for side in points for p in side])
    finite = np.isfinite(values).all(axis=0)
    images = tuple(np.array(pair.images, object)[finite].tolist())
    sides = [_set_curve(side, metric, finite) for side in points]
    at, influences = (np.concatenate(of, axis=1) for of in zip(*sides, strict=True))
    first = sides[0][0].shape[1]

    def delta(at: Float64Array) -> rd.Delta:
        both = Curve(*at[:, :first]), Curve(*at[:, first:])
        return rd.bd_quality(*both, rule, anchor_name=SIDES[0])

    result = delta(at)
    if result.value is None:
        match _wholly(Curve(*at[:, :first]), Curve(*at[:, first:])):
            case "below":
                return replace(empty, out_of_reach=images)
            case "above":
                return replace(empty, beyond=images)
        unknown = tuple(Absent(image, result.why) for image in images)
        return replace(empty, unknown=unknown, nothing=result.why)
    change, steps = np.full(len(images), result.value), STEP * np.ptp(at, axis=1)
    for place in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[place] = step = steps[place[0]] or STEP
        ends = [delta(at + side * shift).value for side in (-1, 1)]
        below, above = (result.value if end is None else end for end in ends)
        change += (above - below) / (2 * step) * influences[place]
    assert empty.level is not None
    percent = -100 / empty.level * change
    if metric.scale == "decades":  # influences to first order
        ratio = 10**-result.value
        percent = 100 * (ratio - 1) - 100 * math.log(10) * ratio * (change - result.value)
    doubtful = len(images) if result.doubtful else 0
    return replace(empty, images=images, percent=percent, doubtful=doubtful)


def _set_curve(
    points: Sequence[Point], metric: Metric, finite: BoolArray
) -> tuple[Float64Array, Float64Array]:
    """Return rates and qualities of a set, (2, points), and influences, (2, points, images)."""
    values = np.array([point.image_values[metric.column][finite] for point in points])
    rates = np.array([point.image_bpp[finite] for point in points])
    means = values.mean(axis=1)
    if metric.scale == "decades":  # a distance that is not above 0 has no logarithm
        values, rates, means = (array[means > 0] for array in (values, rates, means))
    bpp, influence = rates.mean(axis=1), values - means[:, None]
    slope = np.full(len(means), 1.0 if metric.better == "higher" else -1.0)
    if metric.scale == "decades":
        slope /= means * math.log(10)
    influences = np.stack([rates - bpp[:, None], slope[:, None] * influence])
    return np.stack([bpp, rd.qualities(means, metric)]), influences
