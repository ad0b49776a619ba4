"""Scores of what raters preferred: Bradley-Terry, intervals, bits at equal preference.

The odds that a stimulus is preferred to another one are exp(score - other score), so that 1.1 more
is preferred in three of four answers. A tie is half an answer for each (choix has the fit). Scores
are of all images together, and have a mean of 0.

Intervals are of other raters and other images. Answers of one rater, or of one image, are not
independent, and to draw both at once would count the chance of single answers three times (A. B.
Owen, "The Pigeonhole Bootstrap", 2007). So raters, images and answers are each drawn with
replacement by themselves, and the variances put together: that of raters plus that of images minus
that of answers, which is in both (A. C. Cameron, J. B. Gelbach and D. L. Miller, "Robust Inference
with Multiway Clustering", 2011). The bounds are Student's t of the smaller of both numbers.
"""

from typing import NamedTuple

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.curves import Curve, bd_rate
from benchmark.compare.interval import SEED, TAILS, Interval, bd_rates
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UsageError
from benchmark.registry import require_packages
from benchmark.study.votes import Votes

DRAWS = 300  # of raters, of images and of answers each
EXACT, ROUGH = 1e-6, 1e-3  # the second beside the spread of draws
PRIOR = 0.25  # of an answer for either side of each pair that was compared: scores stay finite
FAR = 4.0  # standard deviations
ONE_DEVIATION = (15.8655, 84.1345)  # percentiles, of a normal distribution
MOST_LOST = 0.05  # share of draws without a number, up to which there is an interval


class Scores(NamedTuple):
    """Scores by stimulus, with their intervals."""

    values: Float64Array  # (stimuli,)
    resampled: Float64Array  # (3, draws, stimuli): of raters, of images, of single answers
    freedom: int  # raters or images, whichever are fewer, less one

    def interval(self, stimulus: int) -> Interval | None:
        """Return the interval of a stimulus' score; None for one rater and one image."""
        error = float(two_way_error(self.resampled[..., stimulus]))
        return bounds(float(self.values[stimulus]), error, self.freedom)


def wins(votes: Votes, weights: Float64Array | None = None) -> Float64Array:
    """Return how often each stimulus was preferred to each other, (stimuli, stimuli)."""
    weight = np.ones(len(votes.won)) if weights is None else weights
    result = np.zeros((len(votes.stimuli),) * 2)
    np.add.at(result, (votes.first, votes.second), weight * votes.won)
    np.add.at(result, (votes.second, votes.first), weight * (1 - votes.won))
    return result


def fitted(
    of_wins: Float64Array, start: Float64Array | None = None, tolerance: float = EXACT
) -> Float64Array:
    """Return Bradley-Terry scores, of mean 0.

    start: scores that they are near. tolerance: of the last step, all scores together.
    """
    from choix import ilsr_pairwise_dense

    certain = of_wins + PRIOR * (of_wins + of_wins.T > 0)
    result = ilsr_pairwise_dense(certain, initial_params=start, max_iter=5000, tol=tolerance)
    return np.asarray(result, np.float64)


def scores_of(votes: Votes, draws: int = DRAWS, seed: int = SEED) -> Scores:
    """Return scores with their intervals; raises `UsageError` where answers do not connect them."""
    from scipy.sparse.csgraph import connected_components

    require_packages("bench study read", ("choix",))
    if not len(votes.won):
        raise UsageError("no answers are left to compute scores from")
    of_wins = wins(votes)
    group = connected_components(of_wins + of_wins.T > 0)[1]
    if len(apart := np.flatnonzero(group != group[0])):
        first, other = (votes.stimuli[number] for number in (0, apart[0]))
        raise UsageError(
            f"no chain of answers leads from {first.system} at {first.level} to "
            f"{other.system} at {other.level}: more answers are needed"
        )
    values = fitted(of_wins)
    rng = np.random.default_rng(seed)
    kinds = []
    for units in (votes.rater, votes.image, np.arange(len(votes.won))):
        known, unit = np.unique(units, return_inverse=True)
        # Without the answers of a pair altogether the others would not be connected: at least one
        # in a hundred thousand of each answer stays.
        of = [
            np.bincount(rng.integers(0, len(known), len(known)), minlength=len(known))[unit] + 1e-5
            for _ in range(draws)
        ]
        kinds.append([fitted(wins(votes, drawn_of), values, ROUGH) for drawn_of in of])
    freedom = min(len(np.unique(of)) for of in (votes.rater, votes.image)) - 1
    return Scores(values, np.array(kinds), freedom)


def far_raters(votes: Votes) -> list[int]:
    """Return the raters whose answers the scores of all others predict far too well to be so.

    None of fewer than three.
    """
    raters = np.unique(votes.rater).tolist()
    everyone = fitted(wins(votes))
    result = []
    for rater in raters if len(raters) > 2 else ():
        own = votes.of(votes.rater == rater)
        weights = np.where(votes.rater == rater, 1e-5, 1.0)
        scores = fitted(wins(votes, weights), everyone, ROUGH)
        odds = scores[own.first] - scores[own.second]
        chance = 1 / (1 + np.exp(-odds))
        # Each answer's vote weighs as much as the scores are sure of it.
        agreed = ((own.won - chance) * odds).sum()
        spread = np.sqrt((chance * (1 - chance) * odds**2).sum())
        if spread and agreed < -FAR * spread:
            result.append(rater)
    return result


def two_way_error(of: Float64Array) -> Float64Array:
    """Return the standard error of a number for other raters and images; of: (3, draws, ...).

    The spread of draws is by their percentiles, since a BD-rate of a draw whose curves hardly meet
    may be a thousand times another one's.
    """
    low, high = np.nanpercentile(of, ONE_DEVIATION, axis=1)
    raters, images, answers = ((high - low) / 2) ** 2
    both = np.maximum(raters + images - answers, np.maximum(raters, images))
    return np.asarray(np.sqrt(both), np.float64)


def bounds(value: float, error: float, freedom: int) -> Interval | None:
    """Return the interval of a number by its standard error; None without degrees of freedom."""
    from scipy.stats import t

    if freedom < 1 or not np.isfinite(error):
        return None
    low, high = (float(t.ppf(tail, freedom)) for tail in TAILS)
    return Interval(value + low * error, value + high * error)


class EqualPreference(NamedTuple):
    """Bits that a codec needs for the same preference as the anchor, percent more or fewer."""

    system: str
    change: float | None  # None: `why`
    interval: Interval | None = None
    why: str = ""


def equal_preference(votes: Votes, scores: Scores, anchor: str) -> list[EqualPreference]:
    """Return the BD-rates of scores against log rate of every codec but the anchor, a system.

    Scores take the place of a metric: curves and rules are those of BD-rates.
    """
    bpp = np.array([stimulus.bpp or np.nan for stimulus in votes.stimuli], np.float64)
    places: dict[str, list[int]] = {stimulus.system: [] for stimulus in votes.stimuli}
    for number in np.argsort(bpp)[: np.isfinite(bpp).sum()].tolist():
        places[votes.stimuli[number].system].append(number)
    own = places.pop(anchor)
    return [_compared(system, bpp, scores, (own, of)) for system, of in places.items()]


def _compared(
    system: str, bpp: Float64Array, scores: Scores, both: tuple[list[int], list[int]]
) -> EqualPreference:
    """Return the change of a system. both: stimuli of the anchor, and of the system."""
    anchor, own = (Curve(bpp[of], scores.values[of]) for of in both)
    delta = bd_rate(anchor, own, USUAL_RULE)
    if delta.value is None:
        return EqualPreference(system, None, why=delta.why)
    logarithms = []
    for draws in scores.resampled:
        whole = np.vstack([scores.values, draws])
        before, after = (Curve(np.tile(bpp[of], (len(whole), 1)), whole[:, of]) for of in both)
        percent = bd_rates(before, after, USUAL_RULE)[1:]
        percent[np.isinf(percent) | (percent <= -100)] = np.nan
        logarithms.append(np.log1p(percent / 100))
    changes = np.array(logarithms)
    lost = float(np.isnan(changes).mean(axis=1).max())
    if lost > MOST_LOST:
        why = f"no interval: {100 * lost:.0f} % of the draws have curves that do not meet"
        return EqualPreference(system, delta.value, why=why)
    error = float(two_way_error(changes))
    ends = bounds(float(np.log1p(delta.value / 100)), error, scores.freedom)
    interval = ends and Interval(*(100 * float(np.expm1(end)) for end in ends))
    return EqualPreference(system, delta.value, interval)
