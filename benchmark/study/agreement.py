"""Agreement of metrics with people: how often both rank two pictures in the same order."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array
from benchmark.compare.interval import Interval
from benchmark.metrics.metric import Metric
from benchmark.study.scores import confidence_interval
from benchmark.study.votes import TIE, Votes

PEOPLE = "other raters"
MIN_OTHER_ANSWERS = 2  # minimum number of other raters' answers to a question


class Agreement(NamedTuple):
    """Share of answers with which a metric, or the majority of other raters, agrees."""

    name: str
    share: float
    interval: Interval | None
    answers: int
    equal_rate: float | None  # share among answers on codecs at the same rate
    equal_rate_interval: Interval | None


def agreements(
    votes: Votes, values: Mapping[tuple[int, int], Mapping[str, float]], metrics: Sequence[Metric]
) -> list[Agreement]:
    """Return the agreement of other raters, then of metrics in order of agreement at equal rate."""
    agreement_by_name = {
        metric.label: _metric_agreement(votes, values, metric) for metric in metrics
    }
    agreement_by_name[PEOPLE] = _rater_agreement(votes)
    result = [
        _average_agreement(name, votes, agreement)
        for name, agreement in agreement_by_name.items()
        if np.isfinite(agreement).any()
    ]

    def sort_key(agreement: Agreement) -> tuple[bool, float]:
        share = agreement.share if agreement.equal_rate is None else agreement.equal_rate
        return agreement.name != PEOPLE, -share

    return sorted(result, key=sort_key)


def _metric_agreement(
    votes: Votes, values: Mapping[tuple[int, int], Mapping[str, float]], metric: Metric
) -> Float64Array:
    """Return the agreement of each answer with a metric, 0 to 1; NaN without values."""
    table = np.full((len(votes.images), len(votes.stimuli)), np.nan)
    for key, metric_values in values.items():
        table[key] = metric_values.get(metric.column, np.nan)
    order = np.sign(table[votes.image, votes.first] - table[votes.image, votes.second])
    sign = 1 if metric.better == "higher" else -1
    return np.asarray(TIE + sign * (votes.won - TIE) * order, np.float64)


def _rater_agreement(votes: Votes) -> Float64Array:
    """Return each answer's agreement with the majority of other answers, 0 to 1."""
    question, won = votes.questions()
    counts, signed_vote = np.bincount(question), won - TIE
    other_votes = np.bincount(question, signed_vote)[question] - signed_vote
    agreement = TIE + signed_vote * np.sign(other_votes)
    return np.asarray(np.where(counts[question] > MIN_OTHER_ANSWERS, agreement, np.nan), np.float64)


def _average_agreement(name: str, votes: Votes, agreement: Float64Array) -> Agreement:
    has_value = ~np.isnan(agreement)
    level_ids = np.unique([stimulus.level for stimulus in votes.stimuli], return_inverse=True)[1]
    is_same_level = has_value & (level_ids[votes.first] == level_ids[votes.second])
    equal_rate = (
        _mean_and_interval(votes, agreement, is_same_level) if is_same_level.any() else (None, None)
    )
    return Agreement(
        name, *_mean_and_interval(votes, agreement, has_value), int(has_value.sum()), *equal_rate
    )


def _mean_and_interval(
    votes: Votes, agreement: Float64Array, mask: BoolArray
) -> tuple[float, Interval | None]:
    values = agreement[mask]
    residuals = (values - values.mean()) / len(values)
    variances, counts = [], []
    for labels in (votes.rater[mask], votes.image[mask]):
        sums = np.bincount(np.unique(labels, return_inverse=True)[1], residuals)
        counts.append(len(sums))
        variances.append(len(sums) / max(len(sums) - 1, 1) * float((sums**2).sum()))
    variance = max(sum(variances) - float((residuals**2).sum()), *variances)
    ends = confidence_interval(float(values.mean()), variance**0.5, min(counts) - 1)
    return float(values.mean()), ends and Interval(max(ends.low, 0.0), min(ends.high, 1.0))
