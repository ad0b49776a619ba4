"""Agreement of metrics with people: how often both order two pictures alike. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array
from benchmark.compare.interval import Interval
from benchmark.metrics.metric import Metric
from benchmark.study.scores import bounds
from benchmark.study.votes import TIE, Votes

PEOPLE = "other raters"
LEAST_OTHERS = 2  # answers of others to the same question


class Agreement(NamedTuple):
    """The share of answers that a metric, or the majority of other raters, agrees with."""

    name: str
    share: float
    interval: Interval | None
    answers: int
    equal_rate: float | None  # the same share of answers on codecs at one rate
    equal_rate_interval: Interval | None


def agreements(
    votes: Votes, values: Mapping[tuple[int, int], Mapping[str, float]], metrics: Sequence[Metric]
) -> list[Agreement]:
    """Return the agreement of each metric that has values, best at equal rate first.

    values: of metric columns, by image and stimulus. The first entry is that of other raters, who
    are few for one question, so that a metric may agree more often.
    """
    alike = {metric.label: _alike(votes, values, metric) for metric in metrics}
    alike[PEOPLE] = _alike_others(votes)
    result = [_agreement(name, votes, of) for name, of in alike.items() if np.isfinite(of).any()]
    best = {of: of.share if of.equal_rate is None else of.equal_rate for of in result}
    return sorted(result, key=lambda of: (of.name != PEOPLE, -best[of]))


def _alike(
    votes: Votes, values: Mapping[tuple[int, int], Mapping[str, float]], metric: Metric
) -> Float64Array:
    """Return how much each answer agrees with a metric, 0 to 1; NaN without values."""
    table = np.full((len(votes.images), len(votes.stimuli)), np.nan)
    for place, of in values.items():
        table[place] = of.get(metric.column, np.nan)
    ahead = np.sign(table[votes.image, votes.first] - table[votes.image, votes.second])
    sign = 1 if metric.better == "higher" else -1
    return np.asarray(TIE + sign * (votes.won - TIE) * ahead, np.float64)


def _alike_others(votes: Votes) -> Float64Array:
    """Return how much each answer agrees with the majority of others to the same question."""
    asked, won = votes.questions()
    counts, own = np.bincount(asked), won - TIE
    alike = TIE + own * np.sign(np.bincount(asked, own)[asked] - own)
    return np.asarray(np.where(counts[asked] > LEAST_OTHERS, alike, np.nan), np.float64)


def _agreement(name: str, votes: Votes, alike: Float64Array) -> Agreement:
    known = ~np.isnan(alike)
    level = np.unique([stimulus.level for stimulus in votes.stimuli], return_inverse=True)[1]
    equal = known & (level[votes.first] == level[votes.second])  # codecs at one rate
    at_rate = _share(votes, alike, equal) if equal.any() else (None, None)
    return Agreement(name, *_share(votes, alike, known), int(known.sum()), *at_rate)


def _share(votes: Votes, alike: Float64Array, kept: BoolArray) -> tuple[float, Interval | None]:
    """Return a mean over answers, with its interval for other raters and images (`scores`)."""
    values = alike[kept]
    away = (values - values.mean()) / len(values)
    variances, numbers = [], []
    for units in (votes.rater[kept], votes.image[kept]):
        sums = np.bincount(np.unique(units, return_inverse=True)[1], away)
        numbers.append(len(sums))
        variances.append(len(sums) / max(len(sums) - 1, 1) * float((sums**2).sum()))
    both = max(sum(variances) - float((away**2).sum()), *variances)
    ends = bounds(float(values.mean()), both**0.5, min(numbers) - 1)
    return float(values.mean()), ends and Interval(max(ends.low, 0.0), min(ends.high, 1.0))
