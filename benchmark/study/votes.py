"""Raters' answers as arrays, rules that exclude raters, and consistency of answers.

Rules apply in order, `scores.find_outliers` last; the report counts exclusions by rule.
"""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array, Int64Array
from benchmark.study.form import Answers, Key, Stimulus

MIN_ANSWERED = 0.5  # minimum share of a list's questions that are answered
MAX_WRONG = 0.25  # maximum share of catch trials with a wrong answer
FAST_MS = 1000.0  # minimum median time of an answer
MAX_ONE_SIDED, MIN_SIDED_ANSWERS = 0.9, 20
TIE = 0.5
Row = tuple[int, int, int, int, float]


class Votes(NamedTuple):
    """Answers that compare two stimuli of an image, as arrays of shape (answers,)."""

    stimuli: tuple[Stimulus, ...]
    raters: tuple[str, ...]
    images: tuple[str, ...]
    rater: Int64Array
    image: Int64Array
    first: Int64Array  # numbers of stimuli
    second: Int64Array
    won: Float64Array  # share of the vote for `first`: 1, 0 or TIE

    @classmethod
    def build(
        cls,
        stimuli: Iterable[Stimulus],
        raters: Iterable[str],
        images: Iterable[str],
        rows: Sequence[Row],
    ) -> "Votes":
        """Build votes from rows: rater, image, first, second, share of the vote for `first`."""
        table = np.array(rows, np.float64).reshape(-1, 5)
        rater, image, first, second = table[:, :4].astype(np.int64).T
        labels = tuple(stimuli), tuple(raters), tuple(images)
        return cls(*labels, rater, image, first, second, table[:, 4])

    def select(self, mask: BoolArray) -> "Votes":
        """Return the votes that `mask` marks; raters and images keep their numbers."""
        return self._replace(**{name: getattr(self, name)[mask] for name in self._fields[3:]})

    def questions(self) -> tuple[Int64Array, Float64Array]:
        """Return each answer's question number, and its vote for the lower stimulus number."""
        low, high = np.sort([self.first, self.second], axis=0)
        won = np.where(self.first > self.second, 1 - self.won, self.won)
        questions = np.stack([self.image, low, high])
        return np.unique(questions, axis=1, return_inverse=True)[1].ravel(), won


def exclusion_rule(answers: Answers, key: Key) -> str:
    """Return the rule that excludes a rater's answers; "" if no rule does."""
    rater_answers, trials = answers.answers, key.lists[answers.order - 1]
    catch_answers = [answer for answer in rater_answers if trials[answer.trial].better]
    num_wrong = sum(answer.choice != trials[answer.trial].better for answer in catch_answers)
    num_first = sum(answer.choice == 1 for answer in rater_answers)
    is_one_sided = max(num_first, len(rater_answers) - num_first) > MAX_ONE_SIDED * len(
        rater_answers
    )
    times_ms = [answer.ms for answer in rater_answers]
    rules = {
        "fewer than half of the questions answered": len(rater_answers)
        < MIN_ANSWERED * len(trials),
        "more than one in four catch trials failed": num_wrong > MAX_WRONG * len(catch_answers),
        "half of the answers in under a second": median(times_ms or [0]) < FAST_MS,
        "one side chosen in more than nine of ten answers": len(rater_answers) >= MIN_SIDED_ANSWERS
        and is_one_sided,
    }
    return next((rule for rule, is_broken in rules.items() if is_broken), "")


def collect_votes(key: Key, answers: Sequence[Answers]) -> Votes:
    """Return the answers to all trials except catch trials."""
    images = tuple(dict.fromkeys(picture.image for picture in key.pictures))
    numbers = {image: number for number, image in enumerate(images)}
    rows: list[Row] = []
    for rater, file in enumerate(answers):
        trials = key.lists[file.order - 1]
        for answer in file.answers:
            trial = trials[answer.trial]
            if not trial.better:
                first, second = key.pictures[trial.first], key.pictures[trial.second]
                won = float(answer.choice == 1)
                rows.append((rater, numbers[first.image], first.stimulus, second.stimulus, won))
    return Votes.build(key.stimuli, [file.rater for file in answers], images, rows)


class Consistency(NamedTuple):
    """Agreement between raters, and consistency of each."""

    agreement: float | None  # Kendall's u: 1 if all agree, 0 by chance; None without pairs
    pairs: int  # pairs of an image that at least two raters compared
    circular: int  # circular triads of stimuli in the majority votes over all images
    triads: int
    rater_circular: int  # sums over single raters
    rater_triads: int


def consistency(votes: Votes) -> Consistency:
    """Compute Kendall's coefficient of agreement u, and count circular triads.

    u = 2 S - 1, where S is the share of pairs of answers to the same question that agree, a tie by
    half (M. G. Kendall and B. Babington Smith, "On the Method of Paired Comparisons", 1940).
    A triad is three stimuli compared two by two; by chance one in four is circular.
    """
    question, won = votes.questions()
    signs = won - TIE
    counts, sums, squares = (np.bincount(question, weights) for weights in (None, signs, signs**2))
    num_pairs = int((counts * (counts - 1)).sum())
    triads = [_count_triads(votes.select(votes.rater == rater)) for rater in np.unique(votes.rater)]
    return Consistency(
        float(4 * (sums**2 - squares).sum()) / num_pairs if num_pairs else None,
        int((counts > 1).sum()),
        *_count_triads(votes),
        *(sum(column) for column in zip(*triads, strict=True)),
    )


def _count_triads(votes: Votes) -> tuple[int, int]:
    stimuli = max(votes.first.max(), votes.second.max()) + 1
    margin = np.zeros((stimuli, stimuli))
    np.add.at(margin, (votes.first, votes.second), votes.won - TIE)
    wins = (margin - margin.T > 0).astype(np.int64)  # by majority
    decided_pairs = wins + wins.T
    circular_walks, all_walks = (np.trace(graph @ graph @ graph) for graph in (wins, decided_pairs))
    return int(circular_walks) // 3, int(all_walks) // 6
