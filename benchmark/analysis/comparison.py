"""Codec variants compared with an anchor: BD-rates of mean curves and of images, BD-metrics.

A curve of means averages over images at one setting, so its BD-rate depends on how codecs spread
rate and quality over images there: a setting may be a quality, a rate or a quantiser. The images'
own BD-rates do not depend on it. Intervals are of BD-rates of mean curves over draws of images, by
the rules of `rate_distortion`; a distribution metric enters a draw to first order, as the value of
the set plus the mean influence of its images.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmark.analysis.interval import (
    LEAST_COMPARED,
    TAILS,
    Interval,
    ResampledCurve,
    bootstrap_interval,
    image_draws,
    resampled_curve,
)
from benchmark.analysis.rate_distortion import (
    LEAST_POINTS,
    Curve,
    Delta,
    NoDelta,
    bd_metric,
    bd_rate,
    below_front,
    cubic,
    curves,
    cut,
    image_curves,
    interpolated,
    mean_curve,
)
from benchmark.analysis.summarise import Point, Summary
from benchmark.codec import Float64Array
from benchmark.metrics.measure import Measure


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
    has_draws = measure.by_image and summary.average == "per_image"
    draws = {
        label: resampled_curve(points, measure, image_draws)
        for label, points in of.items()
        if has_draws and points[0].means[measure.column].images > 1
    }
    result = []
    for label in summary.labels:
        if label == anchor:
            continue
        if anchor not in of or label not in of:
            refused = NoDelta(f"{'it' if anchor in of else anchor} has no complete point")
            result.append(
                Comparison(measure.column, label, anchor, refused, None, refused, refused)
            )
            continue
        first, second = of[anchor], of[label]
        means = (
            cut(mean_curve(first, measure), up_to_bpp),
            cut(mean_curve(second, measure), up_to_bpp),
        )
        rate, interval = bd_rate(*means, any_overlap), None
        if isinstance(rate, Delta):
            images = first[0].means[measure.column].images
            resampled = draws.get(anchor), draws.get(label)
            interval = bd_rate_interval(rate.value, images, *resampled, up_to_bpp)
        left_out = [p for points in (first, second) for p in _left_out(points, measure, up_to_bpp)]
        result.append(
            Comparison(
                measure.column,
                label,
                anchor,
                rate,
                interval,
                _of_images(first, second, measure, up_to_bpp, any_overlap),
                bd_metric(*means, measure, any_overlap),
                any(measure.few(p.means[measure.column].images) for p in first + second),
                tuple(left_out),
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
    places = [sign * measure.plotted(math.nan if m.value is None else m.value) for m in means]
    curve = Curve(np.array([m.bpp or math.nan for m in means]), np.array(places))
    most = math.inf if up_to_bpp is None else up_to_bpp
    below = zip(points, below_front(curve).tolist(), curve.bpp.tolist(), strict=True)
    return [
        LeftOutPoint(point.label, str(point.setting), gap)
        for point, gap, bpp in below
        if not math.isnan(gap) and bpp <= most
    ]


def bd_rate_interval(
    bd_rate: float,
    images: int,
    anchor: ResampledCurve | None,
    test: ResampledCurve | None,
    up_to_bpp: float | None = None,
) -> Interval | None:
    """Return the interval (percent) of the BD-rate of two mean curves over `images` images.

    Student's t on the bootstrap's standard error, in the logarithm of the ratio of rates: at some
    24 images, 80 to 92 % of the draws' percentiles have the value, and 91 to 96 % of these do
    (docs/experiments). None where too many draws have no BD-rate; see LEAST_COMPARED.
    """
    if anchor is None or test is None or len(anchor.quality) != len(test.quality):
        return None
    rates = bd_rate_draws(anchor, test, up_to_bpp)
    rates = rates[np.isfinite(rates)]
    if len(rates) < LEAST_COMPARED * len(anchor.quality):
        return None
    from scipy.stats import t

    # Images drawn with replacement vary less than new ones, by (images - 1) / images.
    error = np.std(np.log1p(rates / 100), ddof=1) * np.sqrt(images / (images - 1))
    ends = math.log1p(bd_rate / 100) + t.ppf(TAILS, images - 1) * error
    return Interval(*(100 * np.expm1(ends)).tolist())


def bd_rate_draws(
    anchor: ResampledCurve, test: ResampledCurve, up_to_bpp: float | None = None
) -> Float64Array:
    """Return the BD-rate of every draw in percent, shape (draws,); NaN where there is none."""
    ordered, masks = [], []
    for curve in (anchor, test):
        order = np.lexsort((-curve.quality, curve.log_rate))
        rates, quality = (np.take_along_axis(axis, order, axis=1) for axis in curve)
        best = np.maximum.accumulate(quality, axis=1)
        on_front = np.ones(quality.shape, np.bool_)
        on_front[:, 1:] = quality[:, 1:] > best[:, :-1]
        ordered.append(ResampledCurve(rates, quality))
        masks.append(on_front)
    cut = math.inf if up_to_bpp is None else math.log10(up_to_bpp)
    # Draws that keep the same points are computed together: nearly all of them, as a rule.
    shapes = np.hstack([*masks, *(curve.log_rate < cut for curve in ordered)])
    kinds, kind_of = np.unique(shapes, axis=0, return_inverse=True)
    rates = np.full(len(shapes), np.nan)
    for kind in range(len(kinds)):
        draws = kind_of == kind
        first, second = (
            _cut(ResampledCurve(*(axis[draws][:, mask[draws][0]] for axis in curve)), cut)
            for curve, mask in zip(ordered, masks, strict=True)
        )
        if min(first.quality.shape[1], second.quality.shape[1]) >= LEAST_POINTS:
            rates[draws] = _bd_rates(first, second)
    return rates


def _bd_rates(anchor: ResampledCurve, test: ResampledCurve) -> Float64Array:
    """Return the BD-rates (%) of curves that rise in both axes; NaN where they do not meet."""
    low = np.maximum(anchor.quality[:, 0], test.quality[:, 0])
    high = np.minimum(anchor.quality[:, -1], test.quality[:, -1])
    high = np.where(high > low, high, np.nan)
    first, second = (
        _area(curve.quality, curve.log_rate, high) - _area(curve.quality, curve.log_rate, low)
        for curve in (anchor, test)
    )
    return np.asarray(100 * (10 ** ((second - first) / (high - low)) - 1), np.float64)


def _cut(curve: ResampledCurve, log_rate: float) -> ResampledCurve:
    """Return curves that end at a rate, as `rate_distortion.cut` does; all have one shape."""
    below = curve.log_rate[0] < log_rate
    rates, quality = curve.log_rate[:, below], curve.quality[:, below]
    if below.all() or not below.any():
        return ResampledCurve(rates, quality)
    at = np.full(len(quality), log_rate)
    ends = interpolated(*curve, at)
    ends[ends <= quality[:, -1]] = np.nan  # an overshoot: such a draw has no number
    return ResampledCurve(np.column_stack([rates, at]), np.column_stack([quality, ends]))


def _area(x: Float64Array, y: Float64Array, to: Float64Array) -> Float64Array:
    """Return the integral of the curve through (x, y) from its first point to `to`, (draws,)."""
    width = np.diff(x)
    share = np.clip((to[:, None] - x[:, :-1]) / width, 0, 1)
    terms = enumerate(cubic(x, y), 1)
    parts = [coefficient * share**power / power for power, coefficient in terms]
    return np.asarray((width * np.sum(parts, axis=0)).sum(axis=1), np.float64)
