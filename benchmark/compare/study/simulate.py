"""Raters of a random-utility model, and how many answers intervals of a wanted width need. Pure."""

from collections.abc import Sequence
from math import ceil, sqrt

import numpy as np

from benchmark.codec import Float64Array
from benchmark.compare.study.design import Pair, question_lists
from benchmark.compare.study.form import WORSE, Answers, Device, Given, Key, Stimulus
from benchmark.compare.study.scores import ROUGH, fitted, wins
from benchmark.compare.study.votes import Votes

LAPSES = 0.05  # answers at random
PER_DOUBLING = 1.1  # of a score, of twice the rate: preferred in three of four answers
STUDIES = 60  # that are simulated
PILOT = 12  # raters of each
POINTS = 25.0  # percentage points of preference that a difference of scores of 1 is, around 50 %
SCREEN = Device(1.0, (1440, 900), (1440, 800), False)


def chance_of(scores: Float64Array, first: int, second: int, lapses: float = LAPSES) -> float:
    """Return the chance that the first of two stimuli is chosen; a known answer is always seen."""
    if WORSE in (first, second):
        preferred = float(second == WORSE)
    else:
        preferred = float(1 / (1 + np.exp(scores[second] - scores[first])))
    return lapses / 2 + (1 - lapses) * preferred


def simulated(
    key: Key,
    number: int,
    scores: Float64Array,
    rng: np.random.Generator,
    lapses: float = LAPSES,
    most: int | None = None,
) -> Answers:
    """Return what a rater of known scores answers to a list of a study.

    number: of the list, from 1. scores: by stimulus. most: questions that are answered.
    """
    answers = []
    for place, trial in enumerate(key.lists[number - 1][:most]):
        first_stimulus, other = (key.pictures[at].stimulus for at in (trial.first, trial.second))
        first = rng.random() < chance_of(scores, first_stimulus, other, lapses)
        answers.append(Given(place, 1 if first else 2, 2000 + 4000 * float(rng.random()), 3))
    return Answers(key.study, rng.bytes(8).hex(), number, SCREEN, answers)


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
    compared = {pair[1:] for pair in pairs if stimuli[pair[1]].level == stimuli[pair[2]].level}
    asked = [
        (rater, pair)
        for rater, of in enumerate(question_lists(pairs, PILOT, each, rng))
        for pair, _ in of
    ]
    chances = [chance_of(scores, pair.first, pair.second) for _, pair in asked]
    votes = Votes.of_rows(stimuli, (), (), [(rater, *pair, 0.0) for rater, pair in asked])
    differences: list[list[float]] = []
    for _ in range(STUDIES):
        won = (rng.random(len(asked)) < chances).astype(np.float64)
        values = fitted(wins(votes._replace(won=won)), tolerance=ROUGH)
        differences.append(
            [float(values[number] - values[other]) for number, other in sorted(compared)]
        )
    spread = sqrt(float(np.var(differences, axis=0, ddof=1).mean()))
    width = 2 * 1.96 * spread * POINTS
    return ceil(len(asked) * (width / points) ** 2)
