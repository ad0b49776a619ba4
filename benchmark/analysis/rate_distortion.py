"""Rate-distortion curves that may be compared, their BD-rates and BD-metrics, or the reasons.

Bjøntegaard deltas are computed by the bjontegaard package with Akima interpolation: BD-rate is the
mean difference of log rate over the qualities that both curves reach, in percent; BD-metric is the
mean difference of quality over the log rates that both reach. Quality is the value as figures draw
it: MS-SSIM in dB, and metrics that are better when lower (LPIPS) negated, so that a negative
BD-rate always means bits saved at equal quality.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis.summarise import Point, Summary
from benchmark.metrics.measure import Measure

LEAST_POINTS = 4
LEAST_OVERLAP = 0.5  # of the range that the two curves span together; below it the delta is marked

Values = NDArray[np.float64]


class Curve(NamedTuple):
    """Rates and qualities, each of shape (points,); more quality is better."""

    bpp: Values
    quality: Values


class Delta(NamedTuple):
    """A Bjøntegaard delta: percent of rate, or units of the metric."""

    value: float
    overlap: float  # share of the range spanned by both curves together that both reach, 0..1

    @property
    def doubtful(self) -> bool:
        """True if the curves hardly overlap."""
        return self.overlap < LEAST_OVERLAP


class NoDelta(NamedTuple):
    """The reason why there is no number."""

    reason: str


class ImagesDelta(NamedTuple):
    """The mean of per-image BD-rates."""

    value: float
    images: int  # in the mean
    refused: int  # images whose curves cannot be compared
    doubtful: int  # of `images`, those whose curves hardly meet


class Comparison(NamedTuple):
    """A codec variant compared with the anchor under one metric."""

    column: str
    label: str
    rate: Delta | NoDelta  # BD-rate of the mean curves, percent
    images_rate: ImagesDelta | NoDelta  # mean of per-image BD-rates, percent
    quality: Delta | NoDelta  # BD-metric of the mean curves, in units of the axis, sign as measured


class Excluded(NamedTuple):
    """A point that must not be drawn beside the others, and the reason."""

    label: str
    setting: str
    why: str


def curves(summary: Summary, measure: Measure) -> dict[str, list[Point]]:
    """Return, by codec variant, the points over the same images as all others, low rate first.

    An older edition of a variant is there only if a newer one lacks any of its settings.
    """
    found: dict[str, list[Point]] = {}
    for point in summary.points:
        if why_not(point, measure, summary) is None:
            found.setdefault(point.label, []).append(point)
    return {
        label: sorted(points, key=lambda point: point.means[measure.column].bpp or 0.0)
        for label, points in found.items()
        if _newer(points, found) is None
    }


def _newer(points: Sequence[Point], found: Mapping[str, Sequence[Point]]) -> str | None:
    """Return the label of a newer edition of a variant that has all settings of these points."""
    own, settings = points[0].edition, {point.setting for point in points}
    for label, others in found.items():
        other = others[0].edition
        newer = (other.codec, other.variant) == (own.codec, own.variant) and other.age < own.age
        if newer and settings <= {point.setting for point in others}:
            return label
    return None


def edition_in(summary: Summary, measure: Measure, label: str) -> str:
    """Return the label of the edition that stands for a codec variant in curves of a metric.

    That is the variant's own label unless an older edition has more points.
    """
    variant = {(p.edition.codec, p.edition.variant) for p in summary.points if p.label == label}
    found = [
        (-len(points), points[0].edition.age, one)
        for one, points in curves(summary, measure).items()
        if (points[0].edition.codec, points[0].edition.variant) in variant
    ]
    return min(found)[2] if found else label


def excluded(summary: Summary, measure: Measure) -> list[Excluded]:
    """Return the points that `curves` leaves out, each with its reason."""
    reasons = [(point, why_not(point, measure, summary)) for point in summary.points]
    complete: dict[str, list[Point]] = {}
    for point, why in reasons:
        if why is None:
            complete.setdefault(point.label, []).append(point)
    newer = {label: _newer(points, complete) for label, points in complete.items()}
    return [
        Excluded(p.label, str(p.setting), why or f"{newer[p.label]} has these settings too")
        for p, why in reasons
        if why is not None or newer[p.label] is not None
    ]


def why_not(point: Point, measure: Measure, summary: Summary) -> str | None:
    """Return why a point must not stand beside the others in a metric, or None if it may."""
    mean = point.means[measure.column]
    known = mean.images + mean.infinite
    if point.missing or not point.images:
        return f"{point.images} of {summary.images} images"
    if mean.missing or not known:
        why = f": {mean.reasons[0][0]}" if mean.reasons else ""
        return f"{measure.column} of {known} of {known + mean.missing or point.images} images{why}"
    if mean.infinite:
        return f"identical to the source in {mean.infinite} of {known} images"
    if mean.value is None or math.isinf(measure.drawn(mean.value)):
        return f"identical to the source in {known} of {known} images"
    return None


def compare(
    summary: Summary, measure: Measure, anchor: str, up_to_bpp: float | None = None
) -> list[Comparison]:
    """Compare every codec variant but the anchor's with the anchor (`edition_in`), in order.

    up_to_bpp: cut all curves, also those of single images, at this rate first; see `cut`.
    """
    of = curves(summary, measure)
    anchor = edition_in(summary, measure, anchor)
    variant = {
        point.label: (point.edition.codec, point.edition.variant) for point in summary.points
    }
    found = []
    for label in summary.labels:
        if variant[label] == variant.get(anchor):
            continue
        missing = [name for name in (anchor, label) if name not in of]
        if missing:
            refused = NoDelta(f"{missing[0]} has no complete point")
            found.append(Comparison(measure.column, label, refused, refused, refused))
            continue
        mean_anchor, mean_test = (
            cut(_mean_curve(of[name], measure), up_to_bpp) for name in (anchor, label)
        )
        found.append(
            Comparison(
                measure.column,
                label,
                bd_rate(mean_anchor, mean_test),
                _mean_of_images(of[anchor], of[label], measure, up_to_bpp),
                _in_units(bd_quality(mean_anchor, mean_test), measure),
            )
        )
    return found


def bd_rate(anchor: Curve, test: Curve) -> Delta | NoDelta:
    """Return the mean change of rate at equal quality in percent; negative for fewer bits."""
    fronts = pareto_front(anchor), pareto_front(test)
    refused = _refusal(fronts, (anchor, test)) or _apart(fronts[0].quality, fronts[1].quality)
    if refused:
        return refused
    from bjontegaard import bd_rate as package_bd_rate

    # Overlap is judged here: the package warns, and warnings do not reach a table.
    value = package_bd_rate(
        *fronts[0], *fronts[1], method="akima", require_matching_points=False, min_overlap=0
    )
    return Delta(float(value), _overlap(fronts[0].quality, fronts[1].quality))


def bd_quality(anchor: Curve, test: Curve) -> Delta | NoDelta:
    """Return the mean change of quality at equal rate; positive where `test` is better."""
    fronts = pareto_front(anchor), pareto_front(test)
    rates = np.log10(fronts[0].bpp), np.log10(fronts[1].bpp)
    refused = _refusal(fronts, (anchor, test)) or _apart(*rates)
    if refused:
        return refused
    from bjontegaard import bd_psnr

    value = bd_psnr(
        *fronts[0], *fronts[1], method="akima", require_matching_points=False, min_overlap=0
    )
    return Delta(float(value), _overlap(*rates))


def pareto_front(curve: Curve) -> Curve:
    """Return the points that no point of less or equal rate equals or beats, lowest rate first.

    >>> pareto_front(Curve(np.array([3.0, 1.0, 2.0]), np.array([32.0, 30.0, 29.0])))
    Curve(bpp=array([1., 3.]), quality=array([30., 32.]))
    """
    order = np.lexsort((-curve.quality, curve.bpp))
    bpp, quality = curve.bpp[order], curve.quality[order]
    best = np.maximum.accumulate(quality)
    front = np.ones(len(order), np.bool_)
    front[1:] = quality[1:] > best[:-1]
    return Curve(bpp[front], quality[front])


def cut(curve: Curve, up_to_bpp: float | None) -> Curve:
    """Return the Pareto front up to a rate, ending there in a point of the interpolated curve.

    Akima interpolation over the logarithm of the rate, as for BD-rates. A curve that ends or begins
    beyond the rate stays as it is, or is empty.
    """
    if up_to_bpp is None:
        return curve
    front = pareto_front(curve)
    if not len(front.bpp) or front.bpp[-1] <= up_to_bpp:
        return front
    below = front.bpp < up_to_bpp
    if not below.any():
        return Curve(front.bpp[below], front.quality[below])
    from scipy.interpolate import Akima1DInterpolator

    quality = Akima1DInterpolator(np.log10(front.bpp), front.quality)(math.log10(up_to_bpp))
    return Curve(
        np.append(front.bpp[below], up_to_bpp), np.append(front.quality[below], float(quality))
    )


def _refusal(fronts: Sequence[Curve], whole: Sequence[Curve]) -> NoDelta | None:
    for front, curve, whose in zip(fronts, whole, ("the anchor", "it"), strict=True):
        if len(front.bpp) < LEAST_POINTS:
            return NoDelta(
                f"{whose} has {len(front.bpp)} of the {LEAST_POINTS} points that are needed "
                f"on the Pareto front ({len(curve.bpp)} measured)"
            )
    return None


def _apart(anchor: Values, test: Values) -> NoDelta | None:
    if _overlap(anchor, test) > 0:
        return None
    return NoDelta("the curves have no quality or rate in common")


def _overlap(anchor: Values, test: Values) -> float:
    """Return the intersection over union of the two ranges."""
    shared = min(anchor.max(), test.max()) - max(anchor.min(), test.min())
    spanned = max(anchor.max(), test.max()) - min(anchor.min(), test.min())
    return float(max(shared, 0) / spanned)


def _in_units(delta: Delta | NoDelta, measure: Measure) -> Delta | NoDelta:
    if isinstance(delta, NoDelta) or measure.better == "higher":
        return delta
    return delta._replace(value=-delta.value)


def _mean_curve(points: Sequence[Point], measure: Measure) -> Curve:
    means = [point.means[measure.column] for point in points]
    return _curve(
        [mean.bpp for mean in means if mean.bpp is not None],
        [mean.value for mean in means if mean.value is not None],
        measure,
    )


def _curve(bpp: Sequence[float], values: Sequence[float], measure: Measure) -> Curve:
    sign = 1 if measure.better == "higher" else -1
    rates = np.array(bpp, np.float64)
    quality = np.array([sign * measure.drawn(value) for value in values], np.float64)
    drawable = np.isfinite(quality) & (rates > 0)  # identical images have no place on the axis
    return Curve(rates[drawable], quality[drawable])


def _mean_of_images(
    anchor: Sequence[Point], test: Sequence[Point], measure: Measure, up_to_bpp: float | None
) -> ImagesDelta | NoDelta:
    if measure.of_sets:
        return NoDelta("it is a metric of whole sets, with no curve of a single image")
    anchors, tests = image_curves(anchor, measure), image_curves(test, measure)
    deltas = [
        bd_rate(cut(anchors[image], up_to_bpp), cut(tests[image], up_to_bpp))
        for image in sorted(anchors.keys() & tests)
    ]
    numbers = [delta for delta in deltas if isinstance(delta, Delta)]
    if not numbers:
        reasons = [delta.reason for delta in deltas if isinstance(delta, NoDelta)]
        return NoDelta(f"in no image: {reasons[0]}" if reasons else "no image in common")
    return ImagesDelta(
        math.fsum(delta.value for delta in numbers) / len(numbers),
        len(numbers),
        len(deltas) - len(numbers),
        sum(delta.doubtful for delta in numbers),
    )


def image_curves(points: Sequence[Point], measure: Measure) -> Mapping[int, Curve]:
    """Return the curve of each image's own values, by the image's number in the points."""
    found: dict[int, tuple[list[float], list[float]]] = {}
    for point in points:
        values = point.image_values[measure.column]
        for image, bpp, value in zip(
            point.image_ids.tolist(), point.image_bpp.tolist(), values.tolist(), strict=True
        ):
            if not math.isnan(value):
                rates, qualities = found.setdefault(image, ([], []))
                rates.append(bpp)
                qualities.append(value)
    return {image: _curve(*lists, measure) for image, lists in found.items()}
