"""Tests of the mean change of images against a margin: p-values, bounds and power.

That the mean of a population of images lies inside the margin is proved by two one-sided tests
(Schuirmann 1987), above or below it by one (Goeman, Solari and Stijnen 2010). Each is made twice,
by Student's t and by the studentised bootstrap over images (Efron and Tibshirani 1993, chapter 12),
moved outwards (`moved_level`), and the larger p-value counts: t alone errs where changes are
skewed, the bootstrap alone where images are few. docs/experiments/statistics.md has the measured
error rates.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from benchmark.codec import Float64Array
from benchmark.compare.interval import moved_level, studentised

RESAMPLES = 9999
SEED = 19790101  # the same changes get the same verdict
CHUNK = 2_000_000  # weights that are sampled at a time
POWER = 0.8
MOST_IMAGES = 100_000  # beyond it nobody asks how many


class MeanTests:
    """Tests of the mean change of one or more samples of images.

    changes: finite, of shape (images,) or (images, samples). All results have shape (samples,).
    """

    def __init__(self, changes: Float64Array, resamples: int = RESAMPLES) -> None:
        columns = np.asarray(changes, np.float64).reshape(len(changes), -1)
        self.images = len(columns)
        self.mean: Float64Array = columns.mean(axis=0)
        spread = columns.std(axis=0, ddof=1) if self.images > 1 else np.full(len(self.mean), np.inf)
        self.deviation: Float64Array = spread
        self._error = spread / math.sqrt(self.images)
        self._resampled = _studentised(columns - self.mean, resamples) if self.images > 1 else None

    def p_above(self, bound: float) -> Float64Array:
        """Return the p-value of the hypothesis that the true mean is `bound` or less."""
        return self._p(bound, 1)

    def p_below(self, bound: float) -> Float64Array:
        """Return the p-value of the hypothesis that the true mean is `bound` or more."""
        return self._p(bound, -1)

    @property
    def least_p(self) -> float:
        """The least p-value that there is, however far the mean lies from a bound."""
        return 1.0 if self._resampled is None else 1 / (1 + len(self._resampled))

    def bounds(self, confidence: float) -> tuple[Float64Array, Float64Array]:
        """Return a lower and an upper bound, each of which holds with this confidence."""
        return self._reach(-1, confidence), self._reach(1, confidence)

    def _p(self, bound: float, sign: int) -> Float64Array:
        if self._resampled is None:
            return np.ones_like(self.mean)
        ahead = sign * (self.mean - bound)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.where(ahead == 0, 0.0, ahead / self._error)  # no spread: infinitely far
        by_chance = np.count_nonzero(sign * self._resampled >= far, axis=0)
        resampled = (1 + by_chance) / (1 + len(self._resampled))
        normal = norm.isf(resampled) * math.sqrt(1 - 1 / self.images)
        moved = np.where(by_chance, student.sf(normal, self.images - 1), resampled)
        return np.asarray(np.maximum(student.sf(far, self.images - 1), moved))

    def _reach(self, sign: int, confidence: float) -> Float64Array:
        if self._resampled is None:
            return np.full_like(self.mean, sign * np.inf)
        levels = moved_level(1 - confidence, self.images), 1 - confidence
        rank, most = (math.floor(x * (1 + len(self._resampled)) + 1e-9) - 1 for x in levels)
        if most < 0:
            return np.full_like(self.mean, sign * np.inf)
        rank = max(rank, 0)
        resampled = -np.partition(sign * self._resampled, rank, axis=0)[rank]
        quantile = np.maximum(student.ppf(confidence, self.images - 1), resampled)
        return np.asarray(self.mean + sign * quantile * self._error)


def _studentised(centred: Float64Array, resamples: int) -> Float64Array:
    """Return `studentised` of fresh resamples, (resamples, samples).

    All samples, and all metrics of the same images, see the same resamples.
    """
    images = len(centred)
    random = np.random.default_rng(SEED)
    rows = max(1, CHUNK // images)
    result = []
    for first in range(0, resamples, rows):
        size = min(rows, resamples - first)
        weights = random.multinomial(images, np.full(images, 1 / images), size) / images
        result.append(studentised(centred, weights))
    return np.concatenate(result)


def claims(tests: MeanTests, margin: float) -> dict[str, float]:
    """Return the uncorrected p-values of four claims about the mean change of the first sample.

    It is worse: above the margin, which is positive; equal: inside; better: below minus the margin;
    not_worse: below the margin.
    """
    not_worse = float(tests.p_below(margin)[0])
    return {
        "worse": float(tests.p_above(margin)[0]),
        "equal": max(not_worse, float(tests.p_above(-margin)[0])),
        "better": float(tests.p_below(-margin)[0]),
        "not_worse": not_worse,
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values so that all claims up to a level hold together at it (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.array(p_values)
    order = np.argsort(values, kind="stable")
    scaled = np.minimum(1.0, np.arange(len(values), 0, -1) * values[order])
    adjusted = np.empty(len(values))
    adjusted[order] = np.maximum.accumulate(scaled)
    return [*map(float, adjusted)]


def images_needed(mean: float, deviation: float, margin: float, level: float) -> int | None:
    """Return the number of images that decides such a mean and deviation with power POWER.

    level: of the test, for instance .05. None beyond MOST_IMAGES, as where the mean lies at the
    margin.

    >>> [images_needed(mean, 1.0, 0.5, 0.05) for mean in (0.0, 1.0, 40.0)]
    [38, 29, 3]
    >>> images_needed(0.5, 1.0, 0.5, 0.05) is None
    True
    """
    power = partial(_power, mean=mean, deviation=deviation, margin=margin, level=level)
    if not math.isfinite(deviation) or power(MOST_IMAGES) < POWER:
        return None
    numbers = range(2, MOST_IMAGES + 1)
    return numbers[bisect_left(numbers, POWER, key=power)]


def _power(images: int, mean: float, deviation: float, margin: float, level: float) -> float:
    """Return the probability that the claim true of `mean` is proved; Student's t, shifted."""
    if deviation == 0:
        return float(abs(mean) != margin)
    error = deviation / math.sqrt(images)
    needed = float(student.isf(moved_level(level, images), images - 1))
    if abs(mean) > margin:
        return float(student.cdf((abs(mean) - margin) / error - needed, images - 1))
    inside = [(margin + side * mean) / error - needed for side in (-1, 1)]
    return max(0.0, math.fsum(float(student.cdf(value, images - 1)) for value in inside) - 1)
