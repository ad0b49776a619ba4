"""Bradley-Terry scores of raters' preferences, with intervals, and bits at equal preference.

The odds that a stimulus is preferred to another are exp(score - other score): a stimulus with a
score that is 1.1 higher is preferred in three of four answers. A tie is half an answer for each.
Scores are fitted by choix over all images together, and have mean 0.

Intervals cover other raters and other images. Answers of the same rater, or on the same image, are
not independent, and drawing both at once would count the noise of single answers three times (A.
B. Owen, "The Pigeonhole Bootstrap", 2007). So raters, images and answers are drawn separately, with
replacement. The variance is raters' plus images' minus answers', which both of them contain
(A. C. Cameron, J. B. Gelbach and D. L. Miller, "Robust Inference with Multiway Clustering", 2011).
Bounds use Student's t with the number of raters or of images, whichever is smaller.
"""

from typing import NamedTuple

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.interval import SEED, TAILS, Interval, bd_rates
from benchmark.compare.rate_quality import RateQuality, bd_rate
from benchmark.compare.rule import USUAL_RULE
from benchmark.errors import UsageError
from benchmark.registry import require_packages
from benchmark.study.votes import Votes

DRAWS = 300  # for raters, images and answers each
EXACT_TOLERANCE, ROUGH_TOLERANCE = 1e-6, 1e-3  # 1e-3 is small compared with the spread of draws
PRIOR = 0.25  # answers added to both sides of a compared pair, so that scores are finite
OUTLIER_DEVIATIONS = 4.0  # standard deviations
ONE_DEVIATION = (15.8655, 84.1345)  # percentiles at one standard deviation from the mean
MAX_MISSING = 0.05  # maximum share of draws without a BD-rate, for an interval


class PreferenceScores(NamedTuple):
    """Scores by stimulus, with their intervals."""

    values: Float64Array  # (stimuli,)
    resampled: Float64Array  # (3, draws, stimuli): for draws of raters, images, answers
    freedom: int  # degrees of freedom: number of raters or images (the smaller one), minus 1

    def interval(self, stimulus: int) -> Interval | None:
        """Return the interval of a stimulus' score; None if there is only one rater or image."""
        error = float(two_way_error(self.resampled[..., stimulus]))
        return confidence_interval(float(self.values[stimulus]), error, self.freedom)


def count_wins(votes: Votes, weights: Float64Array | None = None) -> Float64Array:
    """Count how often one stimulus was preferred to another, (stimuli, stimuli)."""
    weight = np.ones(len(votes.won)) if weights is None else weights
    result = np.zeros((len(votes.stimuli),) * 2)
    np.add.at(result, (votes.first, votes.second), weight * votes.won)
    np.add.at(result, (votes.second, votes.first), weight * (1 - votes.won))
    return result


def fit_scores(
    win_counts: Float64Array, start: Float64Array | None = None, tolerance: float = EXACT_TOLERANCE
) -> Float64Array:
    """Fit Bradley-Terry scores with mean 0, from `start`, until a step is below `tolerance`."""
    from choix import ilsr_pairwise_dense

    regularised_counts = win_counts + PRIOR * (win_counts + win_counts.T > 0)
    result = ilsr_pairwise_dense(
        regularised_counts, initial_params=start, max_iter=5000, tol=tolerance
    )
    return np.asarray(result, np.float64)


def score_votes(votes: Votes, draws: int = DRAWS, seed: int = SEED) -> PreferenceScores:
    """Score stimuli, with intervals; `UsageError` unless answers connect all stimuli."""
    from scipy.sparse.csgraph import connected_components

    require_packages("bench study read", ("choix",))
    if not len(votes.won):
        raise UsageError("no answers remain for scores: collect more answers")
    win_counts = count_wins(votes)
    group = connected_components(win_counts + win_counts.T > 0)[1]
    if len(disconnected_stimuli := np.flatnonzero(group != group[0])):
        stimulus, other_stimulus = (votes.stimuli[n] for n in (0, disconnected_stimuli[0]))
        raise UsageError(
            f"no chain of answers connects {stimulus.system} at {stimulus.level} with "
            f"{other_stimulus.system} at {other_stimulus.level}: collect more answers"
        )
    values = fit_scores(win_counts)
    rng = np.random.default_rng(seed)
    resampled = []
    for labels in (votes.rater, votes.image, np.arange(len(votes.won))):
        unique_labels, label_index = np.unique(labels, return_inverse=True)
        size = len(unique_labels)
        # A draw without answers to a pair could disconnect stimuli, so every answer has at least a
        # weight of 1e-5.
        weights = [
            np.bincount(rng.integers(0, size, size), minlength=size)[label_index] + 1e-5
            for _ in range(draws)
        ]
        draw_counts = (count_wins(votes, draw) for draw in weights)
        resampled.append([fit_scores(wins, values, ROUGH_TOLERANCE) for wins in draw_counts])
    freedom = min(len(np.unique(labels)) for labels in (votes.rater, votes.image)) - 1
    return PreferenceScores(values, np.array(resampled), freedom)


def find_outliers(votes: Votes) -> list[int]:
    """Return raters who contradict the scores of all others; none among fewer than three."""
    raters = np.unique(votes.rater).tolist()
    common_scores = fit_scores(count_wins(votes))
    result = []
    for rater in raters if len(raters) > 2 else ():
        answers = votes.select(votes.rater == rater)
        weights = np.where(votes.rater == rater, 1e-5, 1.0)
        scores = fit_scores(count_wins(votes, weights), common_scores, ROUGH_TOLERANCE)
        log_odds = scores[answers.first] - scores[answers.second]
        probability = 1 / (1 + np.exp(-log_odds))
        # Answers are weighted by the certainty of the scores
        agreement = ((answers.won - probability) * log_odds).sum()
        spread = np.sqrt((probability * (1 - probability) * log_odds**2).sum())
        if spread and agreement < -OUTLIER_DEVIATIONS * spread:
            result.append(rater)
    return result


def two_way_error(resampled: Float64Array) -> Float64Array:
    """Return the standard error over raters and images, from draws, (3, draws, ...)."""
    # Percentiles, since draws with hardly overlapping curves have huge BD-rates
    low, high = np.nanpercentile(resampled, ONE_DEVIATION, axis=1)
    raters, images, answers = ((high - low) / 2) ** 2
    variance = np.maximum(raters + images - answers, np.maximum(raters, images))
    return np.asarray(np.sqrt(variance), np.float64)


def confidence_interval(value: float, error: float, freedom: int) -> Interval | None:
    """Return Student's t interval of a value; None without degrees of freedom."""
    from scipy.special import stdtrit

    if freedom < 1 or not np.isfinite(error):
        return None
    low, high = (float(stdtrit(freedom, tail)) for tail in TAILS)
    return Interval(value + low * error, value + high * error)


class EqualPreference(NamedTuple):
    """Change of bits (%) from the anchor at equal preference."""

    system: str
    change: float | None  # None: no value; `why` has the reason
    interval: Interval | None = None
    why: str = ""


def equal_preference(votes: Votes, scores: PreferenceScores, anchor: str) -> list[EqualPreference]:
    """Return the BD-rate of every system but the anchor, with scores instead of a metric."""
    bpp = np.array([stimulus.bpp or np.nan for stimulus in votes.stimuli], np.float64)
    stimuli_by_system: dict[str, list[int]] = {stimulus.system: [] for stimulus in votes.stimuli}
    for number in np.argsort(bpp)[: np.isfinite(bpp).sum()].tolist():
        stimuli_by_system[votes.stimuli[number].system].append(number)
    anchor_stimuli = stimuli_by_system.pop(anchor)
    return [
        _compare_with_anchor(system, bpp, scores, (anchor_stimuli, stimuli))
        for system, stimuli in stimuli_by_system.items()
    ]


def _compare_with_anchor(
    system: str, bpp: Float64Array, scores: PreferenceScores, stimuli: tuple[list[int], list[int]]
) -> EqualPreference:
    """Return a system's BD-rate. stimuli: numbers of the anchor's and of the system's stimuli."""
    anchor_curve, system_curve = (
        RateQuality(bpp[numbers], scores.values[numbers]) for numbers in stimuli
    )
    delta = bd_rate(anchor_curve, system_curve, USUAL_RULE)
    if delta.value is None:
        return EqualPreference(system, None, why=delta.why)
    logarithms = []
    for draws in scores.resampled:
        values = np.vstack([scores.values, draws])
        rates = np.tile(bpp, (len(values), 1))
        anchor_curves, system_curves = (
            RateQuality(rates[:, numbers], values[:, numbers]) for numbers in stimuli
        )
        percent = bd_rates(anchor_curves, system_curves, USUAL_RULE)[1:]
        percent[np.isinf(percent) | (percent <= -100)] = np.nan
        logarithms.append(np.log1p(percent / 100))
    changes = np.array(logarithms)
    missing_share = float(np.isnan(changes).mean(axis=1).max())
    if missing_share > MAX_MISSING:
        reason = (
            f"no interval: the curves do not overlap in {100 * missing_share:.0f} % of the draws"
        )
        return EqualPreference(system, delta.value, why=reason)
    error = float(two_way_error(changes))
    log_interval = confidence_interval(float(np.log1p(delta.value / 100)), error, scores.freedom)
    interval = log_interval and Interval(*(100 * float(np.expm1(end)) for end in log_interval))
    return EqualPreference(system, delta.value, interval)
