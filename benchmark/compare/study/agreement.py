"""Agreement of metrics with people: how often both order two pictures alike. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array
from benchmark.compare.interval import Interval
from benchmark.compare.study.scores import bounds
from benchmark.compare.study.votes import TIE, Votes
from benchmark.metrics.measure import Measure

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
    votes: Votes, values: Mapping[tuple[int, int], Mapping[str, float]], measures: Sequence[Measure]
) -> list[Agreement]:
    """Return the agreement of each metric that has values, best at equal rate first.

    values: of metric columns, by image and stimulus. The first entry is that of other raters, who
    are few for one question, so that a metric may agree more often.
    """
    of_metrics = [
        agreed
        for measure in measures
        if (agreed := _agreement(measure.label, votes, _alike(votes, values, measure)))
    ]
    of_metrics.sort(
        key=lambda agreed: -(agreed.equal_rate if agreed.equal_rate is not None else agreed.share)
    )
    people = _agreement(PEOPLE, votes, _alike_others(votes))
    return [*([people] if people else []), *of_metrics]


def _alike(
    votes: Votes, values: Mapping[tuple[int, int], Mapping[str, float]], measure: Measure
) -> Float64Array:
    """Return how much each answer agrees with a metric, 0 to 1; NaN without values."""
    sign = 1 if measure.better == "higher" else -1
    places = zip(*(getattr(votes, n).tolist() for n in ("image", "first", "second")), strict=True)
    ahead = []
    for image, first, second in places:
        own, other = (
            values.get((image, stimulus), {}).get(measure.column) for stimulus in (first, second)
        )
        ahead.append(np.nan if own is None or other is None else sign * np.sign(own - other))
    return np.asarray(TIE + (votes.won - TIE) * np.array(ahead, np.float64), np.float64)


def _alike_others(votes: Votes) -> Float64Array:
    """Return how much each answer agrees with the majority of others to the same question."""
    asked: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    flipped = votes.first > votes.second
    low, high = np.minimum(votes.first, votes.second), np.maximum(votes.first, votes.second)
    rows = zip(votes.image.tolist(), low.tolist(), high.tolist(), strict=True)
    for place, question in enumerate(rows):
        asked[question].append(place)
    won = np.where(flipped, 1 - votes.won, votes.won) - TIE
    result = np.full(len(won), np.nan)
    for places in asked.values():
        own = won[places]
        others = own.sum() - own
        if len(places) > LEAST_OTHERS:
            result[places] = TIE + own * np.sign(others)
    return result


def _agreement(name: str, votes: Votes, alike: Float64Array) -> Agreement | None:
    known = ~np.isnan(alike)
    if not known.any():
        return None
    share, interval = _share(votes, alike, known)
    equal = known & votes.same_level
    at_rate = _share(votes, alike, equal) if equal.any() else (None, None)
    return Agreement(name, share, interval, int(known.sum()), *at_rate)


def _share(votes: Votes, alike: Float64Array, kept: BoolArray) -> tuple[float, Interval | None]:
    """Return a mean over answers, with its interval for other raters and images (`scores`)."""
    values = alike[kept]
    away = (values - values.mean()) / len(values)
    variances, numbers = [], []
    for units in (votes.rater[kept], votes.image[kept]):
        _, unit = np.unique(units, return_inverse=True)
        sums = np.bincount(unit, away)
        numbers.append(len(sums))
        variances.append(len(sums) / max(len(sums) - 1, 1) * float((sums**2).sum()))
    both = max(sum(variances) - float((away**2).sum()), *variances)
    return float(values.mean()), bounds(float(values.mean()), both**0.5, min(numbers) - 1)
