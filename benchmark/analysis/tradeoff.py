"""Points in; at equal rate and equal realism, who has the better distortion, out. Pure.

Rate, distortion and realism trade against each other (Blau and Michaeli, "Rethinking Lossy
Compression: The Rate-Distortion-Perception Tradeoff", 2019), so two codecs are compared fairly only
where two of the three are equal. A codec with several variants (a realism weight, say) spans a
surface: at the other's rate each variant is one pair of realism and distortion, interpolated along
the variant's curve, and between these pairs distortion is interpolated at the other's realism.

Certainty comes from the images: they are drawn anew with replacement, both codecs' together, and
the comparison is repeated. A distribution metric enters with its influence an image
(`set_metric.Reduced`), that is to first order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from benchmark.analysis.interval import CONFIDENCE, image_draws
from benchmark.analysis.rate_distortion import Measure
from benchmark.analysis.summarise import Point
from benchmark.system.arrays import Float64Array

Grid = NDArray[np.float64]  # (curves or points, draws)
Verdict = Literal["equal", "more realistic", "less realistic", "other rates"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class Place(NamedTuple):
    """Where a point lies, in each draw of images; distortion and realism larger is better."""

    log_rate: Float64Array
    distortion: Float64Array
    realism: Float64Array


@dataclass(frozen=True, slots=True)
class Trade:
    """One setting of a codec, and what the other has at its rate and realism."""

    label: str
    setting: str
    bpp: float
    distortion: float  # in the metric's units
    realism: float
    # "equal": the other reaches this rate and this realism. Else why it cannot be made equal: all
    # of its variants are more or less realistic at this rate, or it has no such rate.
    verdict: Verdict
    other: float | None  # its distortion there; of the variant nearest in realism where not equal
    difference: float | None  # the other's distortion less this one's
    low: float | None  # of the difference, at CONFIDENCE
    high: float | None
    certainty: float | None  # share of draws in which the difference has this sign
    draws: int  # in which it could be compared


def trades(
    mine: Sequence[Point],
    other: Sequence[Sequence[Point]],
    distortion: Measure,
    realism: Measure,
) -> list[Trade]:
    """Every point of a curve against all variants of another codec, lowest rate first.

    `other` has a curve a variant. All points are over the same images and have both metrics.
    """
    first = mine[0]
    weights = _weights(len(first.image_ids))
    places = [_place(point, distortion, realism, weights) for point in mine]
    curves = [[_place(point, distortion, realism, weights) for point in curve] for curve in other]
    found = [
        _trade(point, place, curves, distortion, realism)
        for point, place in zip(mine, places, strict=True)
    ]
    return sorted(found, key=lambda one: one.bpp)


def _weights(images: int) -> Float64Array:
    """(1 + DRAWS, images) of row sum 1: the whole set, then sets drawn with replacement."""
    return np.vstack([np.full(images, 1 / images), image_draws(images)])


def _place(point: Point, distortion: Measure, realism: Measure, weights: Float64Array) -> Place:
    order = np.argsort(point.image_ids)
    means = [
        weights @ values[order]
        for values in (
            point.image_bpp,
            point.image_values[distortion.column],
            point.image_values[realism.column],
        )
    ]
    return Place(np.log(means[0]), _sign(distortion) * means[1], _sign(realism) * means[2])


def _sign(measure: Measure) -> float:
    return 1.0 if measure.better == "higher" else -1.0


def _trade(
    point: Point,
    place: Place,
    curves: Sequence[Sequence[Place]],
    distortion: Measure,
    realism: Measure,
) -> Trade:
    known, found = _at_rate(curves, place.log_rate)
    verdicts, others = _at_realism(known, found, place.realism)
    sign = _sign(distortion)
    verdict = VERDICTS[int(verdicts[0])]
    mine = (
        point.label,
        str(point.setting),
        float(np.exp(place.log_rate[0])),
        sign * float(place.distortion[0]),
        _sign(realism) * float(place.realism[0]),
        verdict,
    )
    differences = sign * (others - place.distortion)
    drawn = differences[1:][verdicts[1:] == verdicts[0]]
    if verdict == "other rates" or not len(drawn):
        return Trade(*mine, None, None, None, None, None, 0)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Trade(
        *mine,
        other=sign * float(others[0]),
        difference=float(differences[0]),
        low=float(low),
        high=float(high),
        certainty=float(np.mean(np.sign(drawn) == np.sign(differences[0]))),
        draws=len(drawn),
    )


def _at_rate(curves: Sequence[Sequence[Place]], log_rate: Float64Array) -> tuple[Grid, Grid]:
    """Realism and distortion of each variant at a rate, linear in its logarithm between settings.

    (variants, draws); NaN where a curve does not reach the rate.
    """
    realism: list[Float64Array] = []
    distortion: list[Float64Array] = []
    for curve in curves:
        rates = np.stack([place.log_rate for place in curve])
        for found, axes in (
            (realism, [place.realism for place in curve]),
            (distortion, [place.distortion for place in curve]),
        ):
            found.append(_interpolated(log_rate, rates, np.stack(axes)))
    return np.stack(realism), np.stack(distortion)


def _at_realism(
    known: Grid, values: Grid, realism: Float64Array
) -> tuple[NDArray[np.int64], Float64Array]:
    """In each draw, which of VERDICTS, and the distortion at this realism or nearest to it."""
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


def _interpolated(at: Float64Array, known: Grid, values: Grid) -> Float64Array:
    """Linear interpolation in each column of its own; NaN outside, columns sorted here.

    at (draws,), known and values (points, draws); points of NaN are not there.
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
