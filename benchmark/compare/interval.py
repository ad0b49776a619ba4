"""Confidence intervals of means, curves, BD-rates and distribution metrics over images.

An interval covers the values that other images of the same kind would give. To compare two codecs,
pair their images (`bench tradeoff`, `bench check`). BD-rates of mean curves use the jackknife; for
distribution metrics, its values are approximated by images' influences, to first order.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare import rate_quality as rd
from benchmark.compare.rate_quality import RateQuality
from benchmark.compare.rule import Form, Rule
from benchmark.metrics.metric import Metric
from benchmark.rows.summary import Point, Summary, average_seeds

CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)  # quantiles at the ends of an interval
MIN_VARIANCE = 0.25  # minimum variance of a resample, as a share of the sample's variance
DRAWS = 1000  # number of resamples of the images
SEED = 0


class Interval(NamedTuple):
    """A confidence interval at CONFIDENCE."""

    low: float
    high: float


@cache
def image_draws(images: int) -> Float64Array:
    """Return the weights of images sampled with replacement, shape (DRAWS, images), row sum 1.

    All codecs have the same draws of the same images: a paired bootstrap.
    """
    counts = np.random.default_rng(SEED).multinomial(images, np.full(images, 1 / images), DRAWS)
    return np.asarray(counts / images, np.float64)


def jackknife_weights(images: int) -> Float64Array:
    """Return weights for the whole set, then without each image; (1 + images, images)."""
    leave_one_out = (1 - np.eye(images)) / (images - 1)
    return np.vstack([np.full(images, 1 / images), leave_one_out])


def bootstrap_weights(images: int) -> Float64Array:
    """Return weights for the whole set, then `image_draws`; (1 + DRAWS, images)."""
    return np.vstack([np.full(images, 1 / images), image_draws(images)])


def resample_curve(
    points: Sequence[Point],
    metric: Metric,
    weights: Callable[[int], Float64Array],
    pooled: bool = False,
) -> RateQuality:
    """Return one curve per weighting of the images, which all points share.

    weights: takes the number of images with a value; returns an array of shape
    (weightings, images). pooled: divide all bits by all pixels.
    """
    image_order = np.argsort(points[0].image_ids)
    image_order = image_order[np.isfinite(points[0].image_values[metric.column][image_order])]
    weight_rows = weights(len(image_order))
    values = np.stack([p.image_values[metric.column][image_order] for p in points], axis=1)
    rates = np.stack([p.image_bpp[image_order] for p in points], axis=1)
    if pooled:
        pixels = np.stack([p.image_pixels[image_order] for p in points], axis=1)
        rates = (weight_rows @ (rates * pixels)) / (weight_rows @ pixels)
    else:
        rates = weight_rows @ rates
    return RateQuality(rates, rd.qualities(weight_rows @ values, metric))


def percentile_interval(draw_values: Float64Array) -> Interval:
    """Return the percentile interval of a number, given its value in each draw of images."""
    return Interval(*np.quantile(draw_values, TAILS).tolist())


def bootstrap_interval(values: Float64Array) -> Interval:
    """Return the percentile bootstrap interval of the mean of `values`, shape (images,)."""
    return percentile_interval(image_draws(len(values)) @ values)


def jackknife_interval(values: Float64Array) -> Interval:
    """Return the interval of a distribution metric.

    values: the set's value plus each image's influence (`metric.Reduced`), (images,).

    It is Student's t with the standard error of the infinitesimal jackknife. A bootstrap would be
    wrong here: a set with an image drawn twice is less varied, which changes a Frechet distance by
    more than its interval's width (B. Efron, "The Jackknife, the Bootstrap and Other Resampling
    Plans", 1982).
    """
    from scipy.special import stdtrit  # importing scipy.stats takes longer than a ranking

    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return Interval(*(values.mean() + stdtrit(len(values) - 1, TAILS) * error).tolist())


def studentise(deviations: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the mean divided by the standard error of each resample, (resamples, samples).

    deviations: values minus their mean, (images, samples). weights: `image_draws`. Variances are
    at least MIN_VARIANCE, since that of a resample with only one image is 0.
    """
    images = len(deviations)
    squares = deviations**2
    means = weights @ deviations
    min_variance = MIN_VARIANCE * squares.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.sqrt(np.maximum(weights @ squares - means**2, min_variance) / (images - 1))
        return np.asarray(np.where(means == 0, 0.0, means / errors), np.float64)


def skewed_interval(values: Float64Array) -> Interval:
    """Return the interval of a number that single images may dominate.

    values: the number plus each image's influence, shape (images,). Each bound is the wider of
    Student's t and the studentised bootstrap (Efron and Tibshirani 1993, chapter 12) at
    `expanded_level`.
    """
    from scipy.special import stdtrit

    images, mean = len(values), values.mean()
    error = values.std(ddof=1) / np.sqrt(images)
    studentised_means = studentise(values[:, None] - mean, image_draws(images))
    student_quantile, tail = -stdtrit(images - 1, TAILS[0]), expanded_level(TAILS[0], images)
    low, high = np.quantile(studentised_means, [tail, 1 - tail])
    lower_width, upper_width = max(student_quantile, high), max(student_quantile, -low)
    return Interval(float(mean - lower_width * error), float(mean + upper_width * error))


def percent_interval(logs: Float64Array) -> Interval:
    """Return `skewed_interval` in percent, for a change given as the logarithm of its ratio."""
    return Interval(*(100 * math.expm1(end) for end in skewed_interval(logs)))


def expanded_level(tail: float, images: int) -> float:
    """Return the tail of bootstrap draws, which vary too little, that stands for a normal tail.

    T. Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 4.3.4.
    """
    from scipy.special import ndtr, stdtrit

    return float(ndtr(np.sqrt(images / (images - 1)) * stdtrit(images - 1, tail)))


def draws_interval(draw_values: Float64Array, pseudo_values: Float64Array) -> Interval:
    """Return the interval of a number computed over draws of images.

    draw_values: the number in each draw (`image_draws`), (draws,), finite. pseudo_values:
    the number of the whole set plus each image's influence, shape (images,); NaN if an image's
    influence is undefined. Each bound is the wider of Student's t on these and the draws'
    percentile at `expanded_level`.
    """
    tail = expanded_level(TAILS[0], len(pseudo_values))
    low, high = np.quantile(draw_values, [tail, 1 - tail]).tolist()
    if np.isfinite(pseudo_values).all():
        student_interval = jackknife_interval(pseudo_values)
        low, high = min(low, student_interval.low), max(high, student_interval.high)
    return Interval(low, high)


def point_interval(point: Point, metric: Metric) -> Interval | None:
    """Return the interval of a point's mean; None: fewer than two values, or no influences."""
    values = point.image_values[metric.column][np.argsort(point.image_ids)]
    values = values[np.isfinite(values)]
    if not metric.has_image_values or len(values) < 2:
        return None
    return jackknife_interval(values) if metric.is_distribution else bootstrap_interval(values)


def draw_spreads(summary: Summary, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return the spread over seeds of each codec that was measured with several.

    One record per codec, setting and metric: `label` of the first seed, number of `draws` (seeds),
    `mean` over images and seeds, `over_draws`: lowest and highest mean of a seed, `over_images`:
    confidence interval of the mean. Seeds must have the same images and metrics.
    """
    spreads: list[dict[str, Any]] = []
    labels = summary.labels
    for point in average_seeds(summary).points:
        for metric in metrics if point.seed_points[1:] else ():
            means = [seed_point.means[metric.column].value for seed_point in point.seed_points]
            finite_means = [value for value in means if value is not None]
            if len(finite_means) == len(means):
                spreads.append(
                    {
                        "label": labels[point.edition],
                        "setting": str(point.setting),
                        "metric": metric.column,
                        "draws": len(means),
                        "mean": float(np.mean(finite_means)),
                        "over_draws": Interval(min(finite_means), max(finite_means)),
                        "over_images": point_interval(point, metric),
                    }
                )
    return spreads


def records_with_intervals(summary: Summary, metrics: Sequence[Metric]) -> list[dict[str, Any]]:
    """Return `Summary.flat_records` with the interval's ends after each metric's mean."""
    metrics_by_column = {metric.column: metric for metric in metrics}
    records = []
    for record, point in zip(summary.flat_records(), summary.points, strict=True):
        record_with_ends: dict[str, Any] = {}
        for name, value in record.items():
            record_with_ends[name] = value
            if name in metrics_by_column:
                ends = point_interval(point, metrics_by_column[name]) or (None, None)
                record_with_ends |= {f"{name}_low": ends[0], f"{name}_high": ends[1]}
        records.append(record_with_ends)
    return records


def bd_rate_interval(
    anchor: RateQuality | None, test: RateQuality | None, rule: Rule
) -> Interval | None:
    """Return the interval (percent) of the BD-rate of two mean curves.

    anchor, test: weighted by `jackknife_weights`, over the same images. The result is the
    `skewed_interval` of the log ratio of rates (coverage: docs/protocol.md); None if the set, or
    the set without one image, has no BD-rate.
    """
    if anchor is None or test is None or len(anchor.quality) != len(test.quality):
        return None
    rates = np.log1p(bd_rates(anchor, test, rule) / 100)
    if not np.isfinite(rates).all():
        return None
    set_rate, image_rates = rates[0], rates[1:]  # all images, and without each image
    influences = (len(image_rates) - 1) * (image_rates.mean() - image_rates)
    return percent_interval(set_rate + influences)


def bd_rates(anchor: RateQuality, test: RateQuality, rule: Rule) -> Float64Array:
    """Return the BD-rate of each weighting in percent, (weightings,); NaN: none."""
    sorted_curves, masks = zip(*map(rd.sort_by_rate, (anchor, test)), strict=True)
    max_rate = math.inf if rule.up_to_bpp is None else rule.up_to_bpp
    # Weightings that leave the same points, usually nearly all, are computed together.
    shapes = np.hstack([*masks, *(curve.bpp < max_rate for curve in sorted_curves)])
    patterns, pattern_of_weighting = np.unique(shapes, axis=0, return_inverse=True)
    rates = np.full(len(shapes), np.nan)
    for pattern in range(len(patterns)):
        has_pattern = pattern_of_weighting == pattern
        anchor_curves, test_curves = (
            _cut(
                RateQuality(*(axis[has_pattern][:, mask[has_pattern][0]] for axis in curve)),
                max_rate,
                rule.bd,
            )
            for curve, mask in zip(sorted_curves, masks, strict=True)
        )
        num_points = min(anchor_curves.quality.shape[1], test_curves.quality.shape[1])
        if num_points >= rd.MIN_POINTS:
            rates[has_pattern] = _bd_rates(anchor_curves, test_curves, rule.bd)
    return rates


def _bd_rates(anchor: RateQuality, test: RateQuality, form: Form) -> Float64Array:
    axes = [(curve.quality, curve.log_rate) for curve in (anchor, test)]
    changes = rd.mean_changes(axes[0], axes[1], form)
    with np.errstate(over="ignore"):  # infinite where curves of a draw barely overlap
        return np.asarray(100 * (10**changes - 1), np.float64)


def _cut(curve: RateQuality, up_to_bpp: float, form: Form) -> RateQuality:
    """Cut curves at a rate like `rate_quality.cut`, with one shape for all weightings."""
    is_below_limit = curve.bpp[0] < up_to_bpp
    rates, quality = curve.bpp[:, is_below_limit], curve.quality[:, is_below_limit]
    if is_below_limit.all() or not is_below_limit.any():
        return RateQuality(rates, quality)
    end_rates = np.full(len(quality), up_to_bpp)
    end_qualities = rd.interpolate(curve.log_rate, curve.quality, np.log10(end_rates), form)
    end_qualities[end_qualities <= quality[:, -1]] = np.nan  # quality must rise with rate
    return RateQuality(
        np.column_stack([rates, end_rates]), np.column_stack([quality, end_qualities])
    )
