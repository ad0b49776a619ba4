"""Raters of a random-utility model, and how many answers intervals of a wanted width need. Pure."""

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np

from benchmark.codec import Float64Array, Int64Array
from benchmark.compare.study.design import Pair, question_lists
from benchmark.compare.study.form import Stimulus
from benchmark.compare.study.scores import ROUGH, fitted, wins
from benchmark.compare.study.votes import Votes

LAPSES = 0.05  # answers at random
PER_DOUBLING = 1.1  # of a score, of twice the rate: preferred in three of four answers
STUDIES = 60  # that are simulated
PILOT = 12  # raters of each
POINTS = 25.0  # percentage points of preference that a difference of scores of 1 is, around 50 %


def chance_of(
    scores: Float64Array, first: Int64Array, second: Int64Array, lapses: float = LAPSES
) -> Float64Array:
    """Return the chances that the first of two stimuli is chosen."""
    preferred = 1 / (1 + np.exp(scores[second] - scores[first]))
    return np.asarray(lapses / 2 + (1 - lapses) * preferred, np.float64)


def answers_needed(
    stimuli: Sequence[Stimulus], pairs: Sequence[Pair], each: int, points: float, seed: int
) -> int:
    """Return how many answers give an interval of a width in percentage points of preference.

    The interval is of the preference between two codecs at equal rate, the mean over all such
    pairs. Simulated are studies of PILOT raters, alike but for LAPSES, whose codecs are equal and
    gain PER_DOUBLING for twice the rate; people differ more.
    """
    rng = np.random.default_rng(seed)
    scores = PER_DOUBLING * np.log2([stimulus.bpp or 1.0 for stimulus in stimuli])
    lists = question_lists(pairs, PILOT, each, rng)
    asked = [(rater, *pair, 0.0) for rater, of in enumerate(lists) for pair, _ in of]
    votes = Votes.of_rows(stimuli, (), (), asked)
    chances = chance_of(scores, votes.first, votes.second)
    compared = {pair[1:] for pair in pairs if stimuli[pair[1]].level == stimuli[pair[2]].level}
    first, second = np.array(sorted(compared)).T
    differences = []
    for _ in range(STUDIES):
        won = (rng.random(len(asked)) < chances).astype(np.float64)
        values = fitted(wins(votes._replace(won=won)), tolerance=ROUGH)
        differences.append(values[first] - values[second])
    spread = sqrt(float(np.var(differences, axis=0, ddof=1).mean()))
    return ceil(len(asked) * (2 * 1.96 * spread * POINTS / points) ** 2)
