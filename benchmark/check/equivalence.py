"""Statistical tests of images' mean change against a margin: p-values, bounds and power.

Two one-sided tests prove that the mean over a population of images lies inside the margin
(Schuirmann 1987); one test proves that it lies above or below (Goeman, Solari and Stijnen 2010).
A test uses Student's t and the studentised bootstrap over images (Efron and Tibshirani 1993,
chapter 12), widened by `expanded_level`; the p-value is the larger one, since t fails for skewed
changes, and the bootstrap for few images. docs/experiments/statistics.md has error rates.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit  # scipy.stats takes a second to import

from benchmark.codec import Float64Array
from benchmark.compare.interval import expanded_level, studentise

RESAMPLES = 9999
SEED = 19790101  # so that equal changes have equal verdicts
CHUNK_WEIGHTS = 2_000_000  # number of weights sampled at a time
POWER = 0.8  # probability of proving a true claim
MAX_IMAGES = 100_000  # limit of `images_needed`


class MeanTests:
    """Tests of the mean of each sample in finite `changes`, (images,) or (images, samples)."""

    def __init__(self, changes: Float64Array, resamples: int = RESAMPLES) -> None:
        columns = np.asarray(changes, np.float64).reshape(len(changes), -1)
        self.images = len(columns)
        self.mean: Float64Array = columns.mean(axis=0)
        self.deviation: Float64Array = (
            columns.std(axis=0, ddof=1) if self.images > 1 else np.full(len(self.mean), np.inf)
        )
        self._standard_error = self.deviation / math.sqrt(self.images)
        self._resamples = (
            _resample_means(columns - self.mean, resamples) if self.images > 1 else None
        )

    def p_above(self, bound: float) -> Float64Array:
        """Return the p-value of the null hypothesis that the true mean is at most `bound`."""
        return self._p_value(bound, 1)

    def p_below(self, bound: float) -> Float64Array:
        """Return the p-value of the null hypothesis that the true mean is at least `bound`."""
        return self._p_value(bound, -1)

    @property
    def min_p(self) -> float:
        """Smallest p-value possible with this number of resamples."""
        return 1.0 if self._resamples is None else 1 / (1 + len(self._resamples))

    def bounds(self, confidence: float) -> tuple[Float64Array, Float64Array]:
        """Return a lower and an upper bound; each holds with the given confidence."""
        return self._bound(-1, confidence), self._bound(1, confidence)

    def _p_value(self, bound: float, sign: int) -> Float64Array:
        if self._resamples is None:
            return np.ones_like(self.mean)
        distance = sign * (self.mean - bound)
        with np.errstate(divide="ignore", invalid="ignore"):
            # Infinite if all changes are equal
            statistic = np.where(distance == 0, 0.0, distance / self._standard_error)
        count_beyond = np.count_nonzero(sign * self._resamples >= statistic, axis=0)
        share = (1 + count_beyond) / (1 + len(self._resamples))
        normal_quantile = -ndtri(share) * math.sqrt(1 - 1 / self.images)
        bootstrap_p = np.where(count_beyond, stdtr(self.images - 1, -normal_quantile), share)
        return np.asarray(np.maximum(stdtr(self.images - 1, -statistic), bootstrap_p))

    def _bound(self, sign: int, confidence: float) -> Float64Array:
        if self._resamples is None:
            return np.full_like(self.mean, sign * np.inf)
        levels = expanded_level(1 - confidence, self.images), 1 - confidence
        rank, exact_rank = (math.floor(x * (1 + len(self._resamples)) + 1e-9) - 1 for x in levels)
        if exact_rank < 0:
            return np.full_like(self.mean, sign * np.inf)
        rank = max(rank, 0)
        bootstrap_quantile = -np.partition(sign * self._resamples, rank, axis=0)[rank]
        quantile = np.maximum(stdtrit(self.images - 1, confidence), bootstrap_quantile)
        return np.asarray(self.mean + sign * quantile * self._standard_error)


def _resample_means(deviations: Float64Array, resamples: int) -> Float64Array:
    """Return studentised means, (resamples, samples); all metrics share the resampled images."""
    images = len(deviations)
    generator = np.random.default_rng(SEED)
    max_rows = max(1, CHUNK_WEIGHTS // images)
    chunks = []
    for start in range(0, resamples, max_rows):
        size = min(max_rows, resamples - start)
        weights = generator.multinomial(images, np.full(images, 1 / images), size) / images
        chunks.append(studentise(deviations, weights))
    return np.concatenate(chunks)


def claims(tests: MeanTests, margin: float) -> dict[str, float]:
    """Return uncorrected p-values of four claims about the mean change of the first sample.

    worse: above the (positive) margin; equal: inside; better: below -margin; not_worse: below it.
    """
    not_worse = float(tests.p_below(margin)[0])
    return {
        "worse": float(tests.p_above(margin)[0]),
        "equal": max(not_worse, float(tests.p_above(-margin)[0])),
        "better": float(tests.p_below(-margin)[0]),
        "not_worse": not_worse,
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple tests (Holm 1979)."""
    values = np.array(p_values)
    order = np.argsort(values, kind="stable")
    scaled_p_values = np.minimum(1.0, np.arange(len(values), 0, -1) * values[order])
    corrected_p_values = np.empty(len(values))
    corrected_p_values[order] = np.maximum.accumulate(scaled_p_values)
    return [*map(float, corrected_p_values)]


def images_needed(mean: float, deviation: float, margin: float, level: float) -> int | None:
    """Return the number of images with which a claim on their mean is proved with power `POWER`.

    level: significance level of the test. None: above `MAX_IMAGES`, as for a mean at the margin.
    """
    power = partial(_power, mean=mean, deviation=deviation, margin=margin, level=level)
    if not math.isfinite(deviation) or power(MAX_IMAGES) < POWER:
        return None
    image_counts = range(2, MAX_IMAGES + 1)
    return image_counts[bisect_left(image_counts, POWER, key=power)]


def _power(images: int, mean: float, deviation: float, margin: float, level: float) -> float:
    """Return the probability that the true claim on `mean` is proved, by a shifted Student's t."""
    if deviation == 0:
        return float(abs(mean) != margin)
    error = deviation / math.sqrt(images)
    critical_value = -float(stdtrit(images - 1, expanded_level(level, images)))
    if abs(mean) > margin:
        return float(stdtr(images - 1, (abs(mean) - margin) / error - critical_value))
    statistics = [(margin + sign * mean) / error - critical_value for sign in (-1, 1)]
    return max(0.0, math.fsum(float(stdtr(images - 1, value)) for value in statistics) - 1)
