"""Confidence intervals of means and of distribution metrics over images.

An interval says which values other images of the same kind would give. It says nothing about the
difference of two codecs, for which images have to be paired (`bench tradeoff`, `bench check`).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from benchmark.analysis.summarise import Point, Summary
from benchmark.codec import Float64Array, Setting
from benchmark.codec_spec import without_seed
from benchmark.metrics.measure import Measure

CONFIDENCE = 0.95
DRAWS = 1000
SEED = 0


class Interval(NamedTuple):
    """A confidence interval at CONFIDENCE."""

    low: float
    high: float


@cache
def image_draws(images: int) -> Float64Array:
    """Return the weights of images drawn with replacement, shape (DRAWS, images), row sum 1.

    They depend on the number of images alone, so two codecs on the same images share their draws:
    a paired bootstrap.
    """
    drawn = np.random.default_rng(SEED).multinomial(images, np.full(images, 1 / images), DRAWS)
    return np.asarray(drawn / images, np.float64)


def bootstrap_interval(values: Float64Array) -> Interval:
    """Return the percentile bootstrap interval of the mean of `values`, shape (images,)."""
    low, high = np.quantile(image_draws(len(values)) @ values, tails())
    return Interval(float(low), float(high))


def jackknife_interval(values: Float64Array) -> Interval:
    """Return the interval of a distribution metric.

    values: the set's value plus each image's influence (`distribution_metric.Reduced`), shape
    (images,).

    Student's t on the infinitesimal jackknife's standard error. A bootstrap would be wrong here:
    drawing an image twice makes a set less varied, which moves a Frechet distance by more than its
    interval is wide (B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982).
    """
    from scipy.stats import t

    images = len(values)
    error = np.std(values, ddof=1) / np.sqrt(images)
    low, high = values.mean() + t.ppf(tails(), images - 1) * error
    return Interval(float(low), float(high))


def draws_interval(drawn: Float64Array, influenced: Float64Array) -> Interval:
    """Return the interval of a number that was computed over draws of images.

    drawn: the number in each draw (`image_draws`), shape (draws,), finite. influenced: the number
    of the whole set plus each image's influence, shape (images,); NaN where it has none.

    The wider of two, bound by bound: Student's t on the influences' standard error, and percentiles
    of the draws, moved outwards since draws vary too little and have a normal's tails (T.
    Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 4.3.4).
    """
    from scipy.stats import norm, t

    images = len(influenced)
    widened = norm.cdf(np.sqrt(images / (images - 1)) * t.ppf(tails(), images - 1))
    low, high = np.quantile(drawn, widened)
    if np.isfinite(influenced).all():
        student = jackknife_interval(influenced)
        low, high = min(low, student.low), max(high, student.high)
    return Interval(float(low), float(high))


def point_interval(point: Point, measure: Measure) -> Interval | None:
    """Return the interval of a point's mean.

    None for fewer than two images with a finite value, and for a distribution metric that does not
    give the influence of an image.
    """
    if not measure.by_image:
        return None
    values = point.image_values[measure.column][np.argsort(point.image_ids)]
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return None
    return jackknife_interval(values) if measure.of_sets else bootstrap_interval(values)


class DrawSpread(NamedTuple):
    """The mean of a metric over several drawings of the same images from the same bytes."""

    label: str  # of the codec variant at its first seed
    setting: Setting
    measure: Measure
    draws: int
    mean: float  # over images and drawings
    over_draws: Interval  # lowest and highest mean over images of a drawing
    over_images: Interval | None  # that other images would give, of the mean over drawings


def draw_spreads(summary: Summary, measures: Sequence[Measure]) -> list[DrawSpread]:
    """Return the spread over drawings of each codec that was measured with several seeds.

    Points of one codec, of options that differ in the seed alone, and of one setting belong
    together; those whose images differ are left out, as are metrics that one of them lacks.
    """
    groups: dict[tuple[str, str, Setting], list[Point]] = defaultdict(list)
    for point in summary.points:
        edition = point.edition
        groups[edition.codec, without_seed(edition.variant), point.setting].append(point)
    result = []
    for (_, _, setting), points in groups.items():
        first = min(points, key=lambda one: (len(one.label), one.label))
        if len(points) < 2 or any(list(one.image_ids) != list(first.image_ids) for one in points):
            continue
        for measure in measures:
            means = [one.means[measure.column].value for one in points]
            known = [value for value in means if value is not None]
            if len(known) < len(points):
                continue
            values = [one.image_values[measure.column] for one in points]
            shared = replace(first, image_values={measure.column: np.mean(values, axis=0)})
            result.append(
                DrawSpread(
                    first.label,
                    setting,
                    measure,
                    len(points),
                    float(np.mean(known)),
                    Interval(min(known), max(known)),
                    point_interval(shared, measure),
                )
            )
    return result


def change_interval(
    point: Point, reference: Point, measure: Measure, percent: bool
) -> Interval | None:
    """Return the interval of the change of a mean from the reference's, over the same images.

    Images are drawn in pairs. The change is in percent of the reference, or else in units of the
    axis. None for fewer than two images that both have a finite value of, and for a distribution
    metric that does not give the influence of an image.
    """
    if not measure.by_image:
        return None
    shared = np.intersect1d(point.image_ids, reference.image_ids)
    mine, other = (
        one.image_values[measure.column][np.searchsorted(one.image_ids, shared)]
        for one in (point, reference)
    )
    both = np.isfinite(mine) & np.isfinite(other)
    mine, other = mine[both], other[both]
    if len(mine) < 2:
        return None
    if measure.of_sets:  # to first order, as each image's influence is
        first, last = other.mean(), mine.mean()
        if not percent:
            return jackknife_interval(mine - other)
        slopes = (mine - last) / first - last * (other - first) / first**2
        return jackknife_interval(100 * (last / first - 1 + slopes))
    last, first = (image_draws(len(mine)) @ one for one in (mine, other))
    if percent:
        changes = 100 * (last / first - 1)
    else:
        changes = _drawn(last, measure) - _drawn(first, measure)
    low, high = np.quantile(changes, tails())
    return Interval(float(low), float(high))


def _drawn(values: Float64Array, measure: Measure) -> Float64Array:
    return np.array([measure.drawn(one) for one in values.tolist()])


def records(summary: Summary, measures: Sequence[Measure]) -> list[dict[str, Any]]:
    """Return `Summary.for_machines` with the ends of its interval after each of these means."""
    result = []
    for record, point in zip(summary.for_machines(), summary.points, strict=True):
        widened: dict[str, Any] = {}
        intervals = {measure.column: point_interval(point, measure) for measure in measures}
        for name, value in record.items():
            widened[name] = value
            if name in intervals:
                ends = intervals[name]
                widened[f"{name}_low"] = ends.low if ends else None
                widened[f"{name}_high"] = ends.high if ends else None
        result.append(widened)
    return result


def tails() -> Float64Array:
    """Return the two quantiles that an interval at CONFIDENCE lies between."""
    return np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
