"""The distortion of two codecs compared at equal rate and equal realism.

Rate, distortion and realism trade against each other (Blau and Michaeli, "Rethinking Lossy
Compression: The Rate-Distortion-Perception Tradeoff", 2019). A codec with several variants (a
realism weight, say) spans a surface: at the other's rate each variant is one pair of realism and
distortion, interpolated along the variant's curve as in BD-rates, and between these pairs
distortion is interpolated linearly at the other's realism. The comparison is repeated over images
drawn with replacement, the same for both codecs; a distribution metric enters with the influence of
each image, that is to first order. A draw without a variant of equal realism counts with the
nearest variant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis.interpolation import interpolated
from benchmark.analysis.interval import DRAWS, draws_interval, image_draws
from benchmark.analysis.rate_distortion import qualities
from benchmark.analysis.summarise import Point
from benchmark.codec import Float64Array
from benchmark.metrics.measure import Measure, require_image_values

Match = Literal["equal", "all better", "all worse", "other rates"]
MATCHES: tuple[Match, ...] = get_args(Match)
OTHER_RATES = MATCHES.index("other rates")
STEP = 1e-5  # of an image's weight, for the derivative that is its influence


class DrawnPoint(NamedTuple):
    """The means of a point by `_means`, shape (1 + DRAWS + images,); larger is better."""

    log_rate: Float64Array
    distortion: Float64Array
    realism: Float64Array


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """A setting of a codec, and the other codec's distortion at its rate and realism."""

    label: str
    setting: str
    bpp: float
    distortion: float  # in the metric's units
    realism: float
    # "equal": the other reaches this rate and this realism. Else why it cannot be made equal: by
    # the metric of realism, all of its variants are better or worse at this rate, or it has no such
    # rate.
    verdict: Match
    other: float | None  # its distortion there; of the variant nearest in realism where not equal
    difference: float | None  # the other's distortion less this one's
    low: float | None  # of the difference, at CONFIDENCE
    high: float | None
    certainty: float | None  # share of draws in which the difference has this sign
    draws: int  # in which it could be compared


def tradeoffs(
    mine: Sequence[Point],
    other: Sequence[Sequence[Point]],
    distortion: Measure,
    realism: Measure,
) -> list[Tradeoff]:
    """Compare every point of a curve with all variants of another codec, lowest rate first.

    other: one curve for each variant, all of one build (`builds`). All points are over the same
    images and have both metrics.
    Raises `UsageError` where one of these gives no influence of an image.
    """
    require_image_values(distortion, realism)
    images = len(mine[0].image_ids)
    weights = np.vstack([np.full(images, 1 / images), image_draws(images)])  # the set, then draws
    drawn = [_drawn(point, distortion, realism, weights) for point in mine]
    curves = [[_drawn(point, distortion, realism, weights) for point in curve] for curve in other]
    result = [
        _tradeoff(point, means, curves, distortion, realism)
        for point, means in zip(mine, drawn, strict=True)
    ]
    return sorted(result, key=lambda one: one.bpp)


def _drawn(
    point: Point, distortion: Measure, realism: Measure, weights: Float64Array
) -> DrawnPoint:
    order = np.argsort(point.image_ids)
    columns = (point.image_values[measure.column] for measure in (distortion, realism))
    rate, *others = (_means(values[order], weights) for values in (point.image_bpp, *columns))
    quality = qualities(others[1], realism)
    return DrawnPoint(np.log(rate), _sign(distortion) * others[0], quality)


def _means(values: Float64Array, weights: Float64Array) -> Float64Array:
    """Return the mean of the whole set, of each draw, and with each image weighted up a little."""
    means = weights @ values
    return np.concatenate([means, (1 - STEP) * means[0] + STEP * values])


def _sign(measure: Measure) -> float:
    return 1.0 if measure.better == "higher" else -1.0


def _tradeoff(
    point: Point,
    means: DrawnPoint,
    curves: Sequence[Sequence[DrawnPoint]],
    distortion: Measure,
    realism: Measure,
) -> Tradeoff:
    known, result = _at_rate(curves, means.log_rate)
    verdicts, others = _at_realism(known, result, means.realism)
    sign = _sign(distortion)
    verdict = MATCHES[int(verdicts[0])]
    mine = (
        point.label,
        str(point.setting),
        float(np.exp(means.log_rate[0])),
        sign * float(means.distortion[0]),
        realism.value(float(means.realism[0])),
        verdict,
    )
    differences = sign * (others - means.distortion)
    drawn = differences[1 : 1 + DRAWS]
    drawn = drawn[verdicts[1 : 1 + DRAWS] != OTHER_RATES]
    if verdict == "other rates" or not len(drawn):
        return Tradeoff(*mine, None, None, None, None, None, 0)
    influences = (differences[1 + DRAWS :] - differences[0]) / STEP
    low, high = draws_interval(drawn, differences[0] + influences)
    return Tradeoff(
        *mine,
        other=sign * float(others[0]),
        difference=float(differences[0]),
        low=low,
        high=high,
        certainty=float(np.mean(np.sign(drawn) == np.sign(differences[0]))),
        draws=len(drawn),
    )


def _at_rate(
    curves: Sequence[Sequence[DrawnPoint]], log_rate: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Interpolate realism and distortion of each variant at a rate, over its logarithm.

    Both have shape (variants, draws); NaN where a curve does not reach the rate.
    """
    realism, distortion = [], []
    for curve in curves:
        x, *columns = (np.stack(axis, axis=1) for axis in zip(*curve, strict=True))
        order = np.argsort(x, axis=1)
        x, y, z = (np.take_along_axis(column, order, axis=1) for column in (x, *columns))
        distortion.append(interpolated(x, y, log_rate))
        realism.append(interpolated(x, z, log_rate))
    return np.stack(realism), np.stack(distortion)


def _at_realism(
    known: Float64Array, values: Float64Array, realism: Float64Array
) -> tuple[NDArray[np.int64], Float64Array]:
    """Return for each draw the index in MATCHES and the distortion at, or nearest, this realism.

    known, values: realism and distortion of each variant, shape (variants, draws).
    """
    lowest, highest = (
        np.nanmin(known, axis=0, initial=np.inf),
        np.nanmax(known, axis=0, initial=-np.inf),
    )
    reached = np.isfinite(lowest)
    verdicts = np.select(
        [~reached, realism < lowest, realism > highest], [3, 1, 2], default=0
    ).astype(np.int64)
    # Beyond the variants' range the nearest of them answers.
    inside = np.clip(realism, np.where(reached, lowest, 0), np.where(reached, highest, 0))
    return verdicts, _interpolated(inside, known, values)


def _interpolated(at: Float64Array, known: Float64Array, values: Float64Array) -> Float64Array:
    """Interpolate linearly in each column; NaN outside the column's range.

    at: shape (draws,). known, values: shape (points, draws), in any order; NaN for no point.
    """
    order = np.argsort(known, axis=0)  # NaN comes last
    known = np.take_along_axis(known, order, axis=0)
    values = np.take_along_axis(values, order, axis=0)
    points = np.isfinite(known).sum(axis=0)
    inside = (points > 0) & (at >= known[0]) & (at <= np.nanmax(known, axis=0, initial=-np.inf))
    above = np.clip((known <= at).sum(axis=0), 1, np.maximum(points - 1, 1))
    above = np.minimum(above, len(known) - 1)
    below = np.maximum(above - 1, 0)
    columns = np.arange(len(at))
    left, right = known[below, columns], known[above, columns]
    width = np.where(right > left, right - left, 1.0)
    share = np.where(right > left, (at - left) / width, 0.0)
    low, high = values[below, columns], values[above, columns]
    return np.where(inside, low + np.where(share > 0, share * (high - low), 0.0), np.nan)
