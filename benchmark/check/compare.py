"""Changes of single images between the two codec variants of a pair, metric by metric.

Quality is judged at equal rate. A metric in dB by the BD-rate of each image: percent of bits that
the new variant needs more for equal quality. Others by the BD-metric of each image: how much worse
the value is at equal rate, in percent of the reference's mean value. Seconds by their ratio, paired
image by image. In all of them positive is worse.

A distribution metric has no curve of a single image. Its BD-metric is that of the set, and an
image's change is that plus what the image does to it: the derivatives of the BD-metric to all
values and rates, times the image's influence on each (the infinitesimal jackknife).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from benchmark.analysis.rate_distortion import (
    Curve,
    Delta,
    NoDelta,
    bd_quality,
    bd_rate,
    curves,
    excluded,
    image_curves,
)
from benchmark.analysis.summarise import Point, Summary
from benchmark.check.pairing import VariantPair
from benchmark.codec import BoolArray, Float64Array
from benchmark.metrics.availability import absence
from benchmark.metrics.measure import Measure
from benchmark.registry import DISTRIBUTION_METRICS

Kind = Literal["BD-rate", "BD-metric", "ratio"]

IN_DECIBELS = ("psnr", "psnr_y", "ms_ssim")  # judged by BD-rate
STEP = 1e-4  # of the range of a curve: for derivatives


class Criterion(NamedTuple):
    """A metric or a column of seconds, and the number it is judged by."""

    name: str  # of the metric in the registry, or a column of seconds
    label: str  # "PSNR (dB)"
    kind: Kind


class UnjudgedImage(NamedTuple):
    """An image without a number, and the reason."""

    image: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """The change of each image, in percent; positive is worse."""

    criterion: Criterion
    images: tuple[str, ...]
    percent: Float64Array  # (images,), positive is worse
    level: float | None = None  # the value that BD-metrics are percent of
    unit: float = 1.0  # from percent to the BD-metric of tables: units of the metric, its sign
    out_of_reach: tuple[str, ...] = ()  # the new curve lies wholly below: worse by any measure
    beyond: tuple[str, ...] = ()  # the new curve lies wholly above
    unknown: tuple[UnjudgedImage, ...] = ()  # the reference has a curve, the new variant none
    left_out: tuple[UnjudgedImage, ...] = ()  # the reference itself has no curve
    doubtful: int = 0  # images whose curves hardly meet
    nothing: str = ""  # why no image has a number
    inferred: bool = False  # not computed on both sides: the pixels of all images are equal


class AtSetting(NamedTuple):
    """Means at one setting, of the reference and of the codec checked; not judged."""

    label: str
    setting: str
    bpp: tuple[float, float]
    values: Mapping[str, tuple[float | None, float | None]]  # by metric column


def criterion(name: str) -> Criterion:
    """Return the criterion of a metric, by its name in the registry."""
    return Criterion(
        name, Measure.named(name).axis_label, "BD-rate" if name in IN_DECIBELS else "BD-metric"
    )


def changes(pair: VariantPair, name: str) -> Changes:
    """Return the change of a metric on every image of a pair."""
    how, measure = criterion(name), Measure.named(name)
    if len(pair.equal) == len(pair.images):
        return _of_equal(how, measure, pair)
    if not measure.by_image:
        return unjudged(how, f"{measure.label} gives no influence of an image")
    points = []
    for side in (pair.reference, pair.test):
        found = curves(side.summary, measure).get(side.label, [])
        if not found:
            return unjudged(how, f"{side.label}: {_why_no_curve(side.summary, measure)}")
        points.append(found)
    level = _level(points[0], measure.column)
    if how.kind == "BD-metric" and not level:
        return unjudged(
            how, f"the mean value of {pair.reference.label} is 0, so changes have no percentage"
        )
    if name in DISTRIBUTION_METRICS:
        return _of_set(how, measure, pair, points, level)
    return _of_images(how, measure, pair, points, level)


def at_equal_settings(pair: VariantPair, names: Sequence[str]) -> list[AtSetting]:
    """Return the means of both sides, setting by setting."""
    columns = [Measure.named(name).column for name in names]
    before, after = ({p.setting: p for p in one.summary.points} for one in pair[1:3])
    return [
        AtSetting(
            pair.label,
            str(at),
            (before[at].bpp or 0.0, after[at].bpp or 0.0),
            {c: (before[at].means[c].value, after[at].means[c].value) for c in columns},
        )
        for at in pair.settings
    ]


def _of_equal(how: Criterion, measure: Measure, pair: VariantPair) -> Changes:
    """Return changes of 0, which equal pixels and bytes have in every metric of the pixels."""
    points = [side.summary.points for side in (pair.reference, pair.test)]
    known = [all(_values(point, measure) == point.images for point in side) for side in points]
    level = _level(points[0], measure.column) if known[0] and how.kind == "BD-metric" else None
    return Changes(
        how,
        pair.images,
        np.zeros(len(pair.images)),
        level or None,
        _unit(how, measure, level or 1.0),
        inferred=not all(known),
    )


def unjudged(how: Criterion, why: str) -> Changes:
    """Return changes without any number, for this reason."""
    return Changes(how, (), np.empty(0), nothing=why)


def _values(point: Point, measure: Measure) -> int:
    """Return the number of images of a point that have a value, finite or not."""
    mean = point.means[measure.column]
    return mean.images + mean.infinite


def _why_no_curve(summary: Summary, measure: Measure) -> str:
    for point in summary.points:
        known, reasons = _values(point, measure), point.means[measure.column].reasons
        if known < point.images and reasons:
            what, command = absence(reasons[0][0])
            hint = f" ({command})" if command else ""
            return f"{known} of {point.images} images have a value: {what}{hint}"
    return next((one.why for one in excluded(summary, measure)), "no value")


def _level(points: Sequence[Point], column: str) -> float:
    """Return the mean of the reference's values over settings and images."""
    values = [point.means[column].value for point in points]
    return abs(math.fsum(value for value in values if value is not None)) / len(values)


def _of_images(
    how: Criterion,
    measure: Measure,
    pair: VariantPair,
    points: Sequence[Sequence[Point]],
    level: float,
) -> Changes:
    before, after = (image_curves(side, measure) for side in points)
    delta = bd_rate if how.kind == "BD-rate" else bd_quality
    scale = 1.0 if how.kind == "BD-rate" else -100 / level
    numbers: list[tuple[str, float]] = []
    reach: dict[str, list[str]] = {"below": [], "above": []}
    unknown, left_out, doubtful = [], [], 0
    same = set(pair.equal)
    for image, name in sorted(enumerate(pair.images), key=lambda one: one[1]):
        if name in same:
            numbers.append((name, 0.0))
            continue
        if image not in before or image not in after:
            continue  # neither is null alone: such points are no part of `curves`
        found = delta(before[image], after[image], any_overlap=True)  # counted as doubtful
        if isinstance(found, Delta):
            numbers.append((name, scale * found.value))
            doubtful += found.doubtful
        elif isinstance(delta(before[image], before[image]), NoDelta):
            left_out.append(_unjudged(name, found))
        elif where := _wholly(before[image], after[image]):
            reach[where].append(name)
        else:
            unknown.append(_unjudged(name, found))
    return Changes(
        how,
        tuple(name for name, _ in numbers),
        np.array([value for _, value in numbers], np.float64),
        None if how.kind == "BD-rate" else level,
        _unit(how, measure, level),
        tuple(reach["below"]),
        tuple(reach["above"]),
        tuple(unknown),
        tuple(left_out),
        doubtful,
        "" if numbers or any(reach.values()) else _why_nothing(unknown, left_out),
    )


def _unit(how: Criterion, measure: Measure, level: float) -> float:
    if how.kind == "BD-rate":
        return 1.0
    return (1 if measure.better == "lower" else -1) * level / 100


def _unjudged(image: str, refused: NoDelta) -> UnjudgedImage:
    return UnjudgedImage(image, refused.reason.replace("the anchor", "the reference"))


def _why_nothing(unknown: Sequence[UnjudgedImage], left_out: Sequence[UnjudgedImage]) -> str:
    both = [*unknown, *left_out]
    return f"in no image: {both[0].why}" if both else "no image has a value on both sides"


def _wholly(before: Curve, after: Curve) -> Literal["below", "above", ""]:
    """Say whether `after` lies wholly below or above `before` at comparable rates; else "".

    >>> reference = Curve(np.array([0.2, 0.4]), np.array([30.0, 33.0]))
    >>> _wholly(reference, Curve(np.array([0.1, 0.5]), np.array([20.0, 22.0])))
    'below'
    """
    if not len(before.bpp) or not len(after.bpp):
        return ""
    if after.quality.max() < before.quality.min() and after.bpp.max() >= before.bpp.min():
        return "below"
    if after.quality.min() > before.quality.max() and after.bpp.min() <= before.bpp.max():
        return "above"
    return ""


def _of_set(
    how: Criterion,
    measure: Measure,
    pair: VariantPair,
    points: Sequence[Sequence[Point]],
    level: float,
) -> Changes:
    values = np.stack([p.image_values[measure.column] for side in points for p in side])
    has = np.isfinite(values).all(axis=0)
    images = tuple(name for name, one in zip(pair.images, has.tolist(), strict=True) if one)
    sets = [_set_curve(side, measure, has) for side in points]
    found = bd_quality(sets[0].curve, sets[1].curve, any_overlap=True)
    if isinstance(found, NoDelta):
        where = _wholly(*(one.curve for one in sets))
        return Changes(
            how,
            (),
            np.empty(0),
            level,
            _unit(how, measure, level),
            out_of_reach=images if where == "below" else (),
            beyond=images if where == "above" else (),
            nothing="" if where else _unjudged("", found).why,
        )
    change = np.full(len(images), found.value)
    for side, one in enumerate(sets):

        def of_side(curve: Curve, side: int = side) -> float:
            both = [curve if place == side else sets[place].curve for place in (0, 1)]
            moved = bd_quality(both[0], both[1], any_overlap=True)
            return moved.value if isinstance(moved, Delta) else found.value

        change += _derivatives(of_side, one.curve.bpp, one.curve.quality, 0) @ one.rate_influence
        change += _derivatives(of_side, one.curve.quality, one.curve.bpp, 1) @ one.influence
    return Changes(
        how,
        images,
        -100 / level * change,
        level,
        _unit(how, measure, level),
        doubtful=len(images) if found.doubtful else 0,
    )


class _SetCurve(NamedTuple):
    """The curve of a set, and each image's influence on its points, shape (points, images)."""

    curve: Curve
    influence: Float64Array
    rate_influence: Float64Array


def _set_curve(points: Sequence[Point], measure: Measure, has: BoolArray) -> _SetCurve:
    sign = 1 if measure.better == "higher" else -1
    values = np.array([point.image_values[measure.column][has] for point in points])
    rates = np.array([point.image_bpp[has] for point in points])
    bpp, quality = rates.mean(axis=1), sign * values.mean(axis=1)
    return _SetCurve(
        Curve(bpp, quality), sign * values - quality[:, None], rates - bpp[:, None]
    )  # fmt: skip


def _derivatives(
    value: Callable[[Curve], float],
    moved: Float64Array,
    kept: Float64Array,
    moved_place: Literal[0, 1],
) -> Float64Array:
    """Return the derivatives of `value` with respect to `moved`, by central differences.

    moved: the curve's rates (moved_place 0) or qualities (1); kept: the others.
    """
    step = STEP * float(np.ptp(moved) or 1.0)
    found = np.empty(len(moved))
    for place in range(len(moved)):
        both = []
        for sign in (-1, 1):
            shifted = moved.copy()
            shifted[place] += sign * step
            curve = Curve(shifted, kept) if moved_place == 0 else Curve(kept, shifted)
            both.append(value(curve))
        found[place] = (both[1] - both[0]) / (2 * step)
    return found
