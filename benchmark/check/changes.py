"""Per-image changes of a codec variant from its reference, in percent; positive is worse.

Metrics in dB are judged by per-image BD-rates, others by per-image BD-metrics in percent of the
reference's mean value. A distribution metric has no per-image curve: an image's change is the
set's BD-metric plus the BD-metric's derivatives with respect to all values and rates, times the
image's influence on each (the infinitesimal jackknife).
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
from benchmark.compare import rate_quality as rd
from benchmark.compare.rate_quality import RateQuality
from benchmark.compare.rule import Rule
from benchmark.metrics.metric import Metric, absence
from benchmark.registry import DISTRIBUTION_METRICS
from benchmark.rows.edition import label_of
from benchmark.rows.summary import Point, Summary, curves, excluded_points

Kind = Literal["BD-rate", "BD-metric", "limit"]
IN_DECIBELS = ("psnr", "psnr_y", "ms_ssim")  # metrics judged by BD-rate
SIDES = "the reference", "the new results"
COSTLY_RATIO = 1.25  # ratio of bits at every quality at which a curve counts as worse
STEP = 1e-4  # shift of a value for derivatives, as a share of the curve's range


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """Per-image changes of a codec variant in a metric."""

    label: str  # label of the codec variant
    metric: str  # name in the registry, or a limit's column of seconds
    metric_label: str  # "PSNR (dB)"
    kind: Kind
    images: tuple[str, ...] = ()  # images with a number
    percent: Float64Array = field(default_factory=lambda: np.empty(0))  # (images,)
    level: float | None = None  # metric value that corresponds to 100 %
    unit: float = 1.0  # units of the metric per percent, with sign
    in_units: bool = False  # `percent` holds values in the metric's units, positive if worse
    out_of_reach: tuple[str, ...] = ()  # images whose new curve lies completely below (worse)
    images_above: tuple[str, ...] = ()  # images whose new curve lies completely above (better)
    unknown: tuple[Absent, ...] = ()  # images for which only the reference has a curve
    left_out: tuple[Absent, ...] = ()  # images for which the reference has no curve
    doubtful: int = 0  # number of images whose curves hardly overlap
    no_number_reason: str = ""  # why no image has a number
    inferred: bool = False  # True: equal pixels replace values that a side lacks


def changes(pair: VariantPair, name: str, rule: Rule) -> Change:
    """Return the per-image changes of a pair in a metric, even if curves hardly overlap."""
    metric = Metric.named(name)
    is_distribution = name in DISTRIBUTION_METRICS
    kind: Kind = "BD-rate" if name in IN_DECIBELS and not is_distribution else "BD-metric"
    empty_change, sides = (
        Change(pair.label, name, metric.axis_label, kind),
        (pair.reference, pair.test),
    )
    if len(pair.identical_images) == len(pair.images):  # equal pixels: no metric can change
        is_complete = [
            all(_count_values(point, metric) == point.images for point in side.points)
            for side in sides
        ]
        result = (
            _set_level(empty_change, metric, pair.reference.points)
            if is_complete[0]
            else empty_change
        )
        zeros = np.zeros(len(pair.images))
        return replace(result, images=pair.images, percent=zeros, inferred=not all(is_complete))
    if not metric.has_image_values:
        return replace(empty_change, no_number_reason=f"{metric.label} has no per-image influences")
    points = []
    for side, side_name in zip(sides, SIDES, strict=True):
        points.append(curves(side, metric).get(side.points[0].edition, []))
        if not points[-1]:
            return replace(
                empty_change, no_number_reason=f"{side_name}: {explain_missing_curve(side, metric)}"
            )
    result = _set_level(empty_change, metric, points[0])
    if kind == "BD-metric" and not result.level:
        label = label_of(points[0][0].edition.spec)
        reason = f"the mean value of {label} is 0, so changes cannot be given in percent"
        return replace(empty_change, no_number_reason=reason)
    rule = replace(rule, any_overlap=True)
    compare = _compare_sets if is_distribution else _compare_images
    return compare(result, metric, pair, points, rule)


def _count_values(point: Point, metric: Metric) -> int:
    mean = point.means[metric.column]
    return mean.images + mean.infinite


def explain_missing_curve(summary: Summary, metric: Metric) -> str:
    """Return why a codec variant has no curve in a metric."""
    for point in summary.points:
        if reasons := point.means[metric.column].reasons:
            message, command = absence(reasons[0][0])
            hint, num_known = f" ({command})" if command else "", _count_values(point, metric)
            return f"{num_known} of {point.images} images have a value: {message}{hint}"
    return next((reason for _, reason in excluded_points(summary, metric)), "no value")


def _set_level(empty_change: Change, metric: Metric, points: Sequence[Point]) -> Change:
    if empty_change.kind == "BD-rate":
        return empty_change
    if metric.margin is not None:  # percentages of a mean mean nothing on such a scale
        sign = 1 if metric.better == "lower" else -1
        return replace(empty_change, level=100.0, unit=sign, in_units=True)
    values = [point.means[metric.column].value for point in points]
    level = abs(math.fsum(value for value in values if value is not None)) / len(values)
    sign = 1 if metric.better == "lower" else -1
    return replace(empty_change, level=level or None, unit=sign * level / 100)


def _compare_images(
    empty_change: Change,
    metric: Metric,
    pair: VariantPair,
    points: Sequence[Sequence[Point]],
    rule: Rule,
) -> Change:
    reference_curves, new_curves = (rd.image_curves(side, metric) for side in points)
    compute_delta, scale = rd.bd_rate, 1.0
    if empty_change.level is not None:
        compute_delta, scale = rd.bd_quality, -100 / empty_change.level
    percent_by_image: dict[str, float] = {}
    positions = ("below", "above", "", "left out")
    excluded_images: dict[str, list[Absent]] = {position: [] for position in positions}
    num_doubtful = 0
    for image, name in sorted(enumerate(pair.images), key=itemgetter(1)):
        if name in pair.identical_images:
            percent_by_image[name] = 0.0
        elif image in reference_curves:
            new_curve = new_curves.get(image, RateQuality(np.empty(0), np.empty(0)))
            delta = compute_delta(reference_curves[image], new_curve, rule, anchor_name=SIDES[0])
            if delta.value is not None:
                percent_by_image[name] = scale * delta.value
                num_doubtful += delta.doubtful
                continue
            self_delta = compute_delta(reference_curves[image], reference_curves[image], rule)
            position = (
                "left out"
                if self_delta.value is None
                else _relative_position(reference_curves[image], new_curve)
            )
            excluded_images[position].append(Absent(name, delta.why))
    no_number_reason = ""
    if not (percent_by_image or excluded_images["below"] or excluded_images["above"]):
        no_number_reason = (
            f"on no image: {[*excluded_images[''], *excluded_images['left out']][0].why}"
        )
    return replace(
        empty_change,
        images=tuple(percent_by_image),
        percent=np.array(list(percent_by_image.values()), np.float64),
        out_of_reach=tuple(image.what for image in excluded_images["below"]),
        images_above=tuple(image.what for image in excluded_images["above"]),
        unknown=tuple(excluded_images[""]),
        left_out=tuple(excluded_images["left out"]),
        doubtful=num_doubtful,
        no_number_reason=no_number_reason,
    )


def _relative_position(reference: RateQuality, new: RateQuality) -> Literal["below", "above", ""]:
    """Return "below" or "above" if `new` lies so completely at comparable rates, else "".

    A curve is also below if, for every quality of `reference`, it needs at least `COSTLY_RATIO`
    times the bits, or does not reach this quality.
    """
    if not len(reference.bpp) or not len(new.bpp):
        return ""
    if new.quality.max() < reference.quality.min() and new.bpp.max() >= reference.bpp.min():
        return "below"
    if new.quality.min() > reference.quality.max() and new.bpp.min() <= reference.bpp.max():
        return "above"
    is_as_good = new.quality >= reference.quality[:, None]
    is_costly = new.bpp >= COSTLY_RATIO * reference.bpp[:, None]
    return "below" if (is_costly | ~is_as_good).all() and is_costly.any(axis=1).all() else ""


def _compare_sets(
    empty_change: Change,
    metric: Metric,
    pair: VariantPair,
    points: Sequence[Sequence[Point]],
    rule: Rule,
) -> Change:
    values = np.stack([p.image_values[metric.column] for side in points for p in side])
    is_finite = np.isfinite(values).all(axis=0)
    images = tuple(np.array(pair.images, object)[is_finite].tolist())
    sides = [_set_curve(side, metric, is_finite) for side in points]
    set_points, influences = (np.concatenate(arrays, axis=1) for arrays in zip(*sides, strict=True))
    num_reference = sides[0][0].shape[1]

    def split_curves(set_points: Float64Array) -> tuple[RateQuality, RateQuality]:
        new_points = set_points[:, num_reference:]
        return RateQuality(*set_points[:, :num_reference]), RateQuality(*new_points)

    def compute_delta(set_points: Float64Array) -> rd.Delta:
        return rd.bd_quality(*split_curves(set_points), rule, anchor_name=SIDES[0])

    delta = compute_delta(set_points)
    if delta.value is None:
        match _relative_position(*split_curves(set_points)):
            case "below":
                return replace(empty_change, out_of_reach=images)
            case "above":
                return replace(empty_change, images_above=images)
        unknown = tuple(Absent(image, delta.why) for image in images)
        return replace(empty_change, unknown=unknown, no_number_reason=delta.why)
    image_changes = np.full(len(images), delta.value)
    steps = STEP * np.ptp(set_points, axis=1)
    for index in np.ndindex(set_points.shape):
        shift = np.zeros_like(set_points)
        shift[index] = step = steps[index[0]] or STEP
        shifted_deltas = [compute_delta(set_points + sign * shift).value for sign in (-1, 1)]
        low, high = (delta.value if value is None else value for value in shifted_deltas)
        image_changes += (high - low) / (2 * step) * influences[index]
    assert empty_change.level is not None
    percent = -100 / empty_change.level * image_changes
    if metric.scale == "decades":  # first order in the influences
        ratio = 10**-delta.value
        influence_sums = image_changes - delta.value
        percent = 100 * (ratio - 1) - 100 * math.log(10) * ratio * influence_sums
    num_doubtful = len(images) if delta.doubtful else 0
    return replace(empty_change, images=images, percent=percent, doubtful=num_doubtful)


def _set_curve(
    points: Sequence[Point], metric: Metric, is_finite: BoolArray
) -> tuple[Float64Array, Float64Array]:
    """Return a set's rates and qualities, (2, points), and images' influences on them."""
    values = np.array([point.image_values[metric.column][is_finite] for point in points])
    rates = np.array([point.image_bpp[is_finite] for point in points])
    means = values.mean(axis=1)
    if metric.scale == "decades":  # distances of 0 or less have no logarithm
        values, rates, means = (array[means > 0] for array in (values, rates, means))
    bpp, influence = rates.mean(axis=1), values - means[:, None]
    slope = np.full(len(means), 1.0 if metric.better == "higher" else -1.0)
    if metric.scale == "decades":
        slope /= means * math.log(10)
    influences = np.stack([rates - bpp[:, None], slope[:, None] * influence])
    return np.stack([bpp, rd.qualities(means, metric)]), influences
