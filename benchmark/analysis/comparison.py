"""Codec variants compared with an anchor: BD-rates of mean curves and of images, BD-metrics.

A curve of means averages over images at one setting, so its BD-rate depends on how codecs spread
rate and quality over images there: a setting may be a quality, a rate or a quantiser. The images'
own BD-rates do not depend on it. Both are kept, with the spread over images.

Intervals are of BD-rates of mean curves over draws of images, by the rules of `rate_distortion` in
arrays whose first axis is the draw. A distribution metric enters a draw as the value of the set
plus the mean influence of the images drawn, that is to first order.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmark.analysis.interpolation import cubic, interpolated
from benchmark.analysis.interval import Interval, bootstrap_interval, image_draws, tails
from benchmark.analysis.rate_distortion import (
    LEAST_POINTS,
    Curve,
    Delta,
    NoDelta,
    bd_metric,
    bd_rate,
    below_front,
    curves,
    cut,
    image_curves,
    mean_curve,
    qualities,
)
from benchmark.analysis.summarise import Point, Summary
from benchmark.codec import BoolArray, Float64Array
from benchmark.metrics.measure import Measure

LEAST_COMPARED = 0.95  # share of draws that need a BD-rate for an interval to be given


class ImagesDelta(NamedTuple):
    """BD-rates of single images, percent: their mean, median and quartiles."""

    value: float  # the mean
    images: int  # in the mean
    refused: int  # images whose curves cannot be compared
    doubtful: int  # of `images`, those whose curves share less than half of what they span
    median: float
    quartiles: tuple[float, float]
    interval: Interval | None  # of the mean; None for a single image


class LeftOutPoint(NamedTuple):
    """A point off the Pareto front of its mean curve, which BD-rates leave out."""

    label: str
    setting: str
    below: float  # how much better another point of no higher rate is, in units of the axis


class Comparison(NamedTuple):
    """A codec variant compared with the anchor under one metric."""

    column: str
    label: str
    anchor: str
    rate: Delta | NoDelta  # BD-rate of the mean curves, percent
    rate_interval: Interval | None  # of `rate`, over draws of images
    images_rate: ImagesDelta | NoDelta  # BD-rates of single images
    quality: Delta | NoDelta  # BD-metric of the mean curves, see `bd_metric`
    few: bool = False  # a distribution metric over so few images that it is marked
    left_out: tuple[LeftOutPoint, ...] = ()  # of either curve


def compare(
    summary: Summary,
    measure: Measure,
    anchor: str,
    up_to_bpp: float | None = None,
    any_overlap: bool = False,
) -> list[Comparison]:
    """Compare every codec variant but the anchor's with the anchor, in order.

    up_to_bpp: cut all curves, also those of single images, at this rate first; see `cut`.
    any_overlap: as `rate_distortion.bd_rate` has it, for mean curves and images.
    """
    of = curves(summary, measure)
    drawn: dict[str, DrawnCurve | None] = {}
    if measure.by_image and summary.average == "per_image":
        drawn = {label: drawn_curve(points, measure) for label, points in of.items()}
    result = []
    for label in summary.labels:
        if label == anchor:
            continue
        if anchor not in of or label not in of:
            whose = "it" if anchor in of else anchor
            refused = NoDelta(f"{whose} has no complete point")
            result.append(
                Comparison(measure.column, label, anchor, refused, None, refused, refused)
            )
            continue
        both = of[anchor], of[label]
        means = [cut(mean_curve(points, measure), up_to_bpp) for points in both]
        rate = bd_rate(means[0], means[1], any_overlap)
        interval = None
        if isinstance(rate, Delta):
            images = both[0][0].means[measure.column].images
            curves_drawn = drawn.get(anchor), drawn.get(label)
            interval = bd_rate_interval(rate.value, images, *curves_drawn, up_to_bpp)
        quality = bd_metric(means[0], means[1], measure, any_overlap)
        result.append(
            Comparison(
                measure.column,
                label,
                anchor,
                rate,
                interval,
                _of_images(*both, measure, up_to_bpp, any_overlap),
                quality,
                any(measure.few(point.means[measure.column].images) for point in both[0] + both[1]),
                tuple(one for points in both for one in _left_out(points, measure, up_to_bpp)),
            )
        )
    return result


def _of_images(
    anchor: Sequence[Point],
    test: Sequence[Point],
    measure: Measure,
    up_to_bpp: float | None,
    any_overlap: bool,
) -> ImagesDelta | NoDelta:
    if measure.of_sets:
        return NoDelta("it is a metric of whole sets, with no curve of a single image")
    anchors, tests = image_curves(anchor, measure), image_curves(test, measure)
    deltas = [
        bd_rate(cut(anchors[image], up_to_bpp), cut(tests[image], up_to_bpp), any_overlap)
        for image in sorted(anchors.keys() & tests)
    ]
    numbers = [delta for delta in deltas if isinstance(delta, Delta)]
    if not numbers:
        reasons = [delta.reason for delta in deltas if isinstance(delta, NoDelta)]
        return NoDelta(f"in no image: {reasons[0]}" if reasons else "no image in common")
    values = np.array([delta.value for delta in numbers])
    lower, median, upper = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return ImagesDelta(
        math.fsum(values.tolist()) / len(values),
        len(values),
        len(deltas) - len(values),
        sum(delta.doubtful for delta in numbers),
        median,
        (lower, upper),
        bootstrap_interval(values) if len(values) > 1 else None,
    )


def _left_out(
    points: Sequence[Point], measure: Measure, up_to_bpp: float | None
) -> list[LeftOutPoint]:
    means = [point.means[measure.column] for point in points]
    sign = 1 if measure.better == "higher" else -1
    drawn = [sign * measure.drawn(math.nan if m.value is None else m.value) for m in means]
    curve = Curve(np.array([m.bpp or math.nan for m in means]), np.array(drawn))
    most = math.inf if up_to_bpp is None else up_to_bpp
    return [
        LeftOutPoint(point.label, str(point.setting), below)
        for point, below, bpp in zip(
            points, below_front(curve).tolist(), curve.bpp.tolist(), strict=True
        )
        if not math.isnan(below) and bpp <= most
    ]


class DrawnCurve(NamedTuple):
    """A mean curve in each draw of images; arrays of shape (draws, points)."""

    log_rate: Float64Array  # log10 of bits per pixel
    quality: Float64Array  # more is better


def drawn_curve(points: Sequence[Point], measure: Measure) -> DrawnCurve | None:
    """Return the mean curve of `points` in every draw of images; None for fewer than two images.

    All points are over the same images; those without a value take no part.
    """
    order = np.argsort(points[0].image_ids)
    has = np.isfinite(points[0].image_values[measure.column][order])
    if np.count_nonzero(has) < 2:
        return None
    values, rates = (
        np.stack([point[order][has] for point in of_points], axis=1)
        for of_points in (
            [point.image_values[measure.column] for point in points],
            [point.image_bpp for point in points],
        )
    )
    weights = image_draws(len(values))
    return DrawnCurve(np.log10(weights @ rates), qualities(weights @ values, measure))


def bd_rate_interval(
    bd_rate: float,
    images: int,
    anchor: DrawnCurve | None,
    test: DrawnCurve | None,
    up_to_bpp: float | None = None,
) -> Interval | None:
    """Return the interval (percent) of the BD-rate of two mean curves over `images` images.

    Student's t on the bootstrap's standard error, in the logarithm of the ratio of rates: at some
    24 images, 80 to 92 % of the draws' percentiles have the value, and 91 to 96 % of these do
    (docs/experiments). None where too many draws have no BD-rate; see LEAST_COMPARED.
    """
    if anchor is None or test is None or len(anchor.quality) != len(test.quality):
        return None
    result = drawn_bd_rates(anchor, test, up_to_bpp)
    result = result[np.isfinite(result)]
    if len(result) < LEAST_COMPARED * len(anchor.quality):
        return None
    from scipy.stats import t

    # Images drawn with replacement vary less than new ones, by (images - 1) / images.
    error = np.std(np.log1p(result / 100), ddof=1) * np.sqrt(images / (images - 1))
    ends = math.log1p(bd_rate / 100) + t.ppf(tails(), images - 1) * error
    low, high = 100 * np.expm1(ends)
    return Interval(float(low), float(high))


def drawn_bd_rates(
    anchor: DrawnCurve, test: DrawnCurve, up_to_bpp: float | None = None
) -> Float64Array:
    """Return the BD-rate of every draw in percent, shape (draws,); NaN where there is none."""
    ordered = []
    for curve in (anchor, test):
        order = np.lexsort((-curve.quality, curve.log_rate))
        ordered.append(DrawnCurve(*(np.take_along_axis(axis, order, axis=1) for axis in curve)))
    masks = [_front(curve) for curve in ordered]
    cut = math.inf if up_to_bpp is None else math.log10(up_to_bpp)
    # Draws that keep the same points are computed together: nearly all of them, as a rule.
    shapes = np.hstack([*masks, *(curve.log_rate < cut for curve in ordered)])
    kinds, kind_of = np.unique(shapes, axis=0, return_inverse=True)
    result = np.full(len(shapes), np.nan)
    for kind in range(len(kinds)):
        draws = kind_of == kind
        first, second = (
            _cut(DrawnCurve(*(axis[draws][:, mask[draws][0]] for axis in curve)), cut)
            for curve, mask in zip(ordered, masks, strict=True)
        )
        if min(first.quality.shape[1], second.quality.shape[1]) >= LEAST_POINTS:
            result[draws] = _bd_rates(first, second)
    return result


def _bd_rates(anchor: DrawnCurve, test: DrawnCurve) -> Float64Array:
    """Return the BD-rates (%) of curves that rise in both axes; NaN where they do not meet."""
    low = np.maximum(anchor.quality[:, 0], test.quality[:, 0])
    high = np.minimum(anchor.quality[:, -1], test.quality[:, -1])
    high = np.where(high > low, high, np.nan)
    areas = [
        _area(curve.quality, curve.log_rate, high) - _area(curve.quality, curve.log_rate, low)
        for curve in (anchor, test)
    ]
    return np.asarray(100 * (10 ** ((areas[1] - areas[0]) / (high - low)) - 1), np.float64)


def _front(curve: DrawnCurve) -> BoolArray:
    """Mark the points on the Pareto front of each draw; `curve` runs from low to high rate."""
    best = np.maximum.accumulate(curve.quality, axis=1)
    front = np.ones(curve.quality.shape, np.bool_)
    front[:, 1:] = curve.quality[:, 1:] > best[:, :-1]
    return front


def _cut(curve: DrawnCurve, log_rate: float) -> DrawnCurve:
    """Return curves that end at a rate, as `rate_distortion.cut` does; all have one shape."""
    below = curve.log_rate[0] < log_rate
    if below.all() or not below.any():
        return DrawnCurve(curve.log_rate[:, below], curve.quality[:, below])
    place = np.count_nonzero(below) - 1
    at = np.full(len(curve.quality), log_rate)
    ends = interpolated(*curve, at)
    ends[ends <= curve.quality[:, place]] = np.nan  # an overshoot: such a draw has no number
    return DrawnCurve(
        np.hstack([curve.log_rate[:, below], at[:, None]]),
        np.hstack([curve.quality[:, below], ends[:, None]]),
    )


def _area(x: Float64Array, y: Float64Array, to: Float64Array) -> Float64Array:
    """Return the integral of the curve through (x, y) from its first point to `to`, (draws,)."""
    width = np.diff(x)
    share = np.clip((to[:, None] - x[:, :-1]) / width, 0, 1)
    parts = [one * share ** (power + 1) / (power + 1) for power, one in enumerate(cubic(x, y))]
    return np.asarray((width * np.sum(parts, axis=0)).sum(axis=1), np.float64)
