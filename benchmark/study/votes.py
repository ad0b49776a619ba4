"""Answers of raters as arrays; which raters are left out, by which rule; how consistent they are.

The rules are applied in their order, `far_raters` of the scores last; the report counts each.
"""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmark.codec import BoolArray, Float64Array, Int64Array
from benchmark.study.form import Answers, Key, Stimulus

LEAST_SHARE = 0.5  # of a list's questions
MOST_WRONG = 0.25  # of the trials of known answer
FAST_MS = 1000.0
MOST_OF_ONE_SIDE, LEAST_FOR_SIDES = 0.9, 20
TIE = 0.5
Row = tuple[int, int, int, int, float]


class Votes(NamedTuple):
    """Answers that compare two stimuli of one image; arrays of shape (answers,)."""

    stimuli: tuple[Stimulus, ...]
    raters: tuple[str, ...]
    images: tuple[str, ...]
    rater: Int64Array
    image: Int64Array
    first: Int64Array  # numbers of stimuli
    second: Int64Array
    won: Float64Array  # share of the vote that the first one gets: 1, 0, or TIE

    @classmethod
    def of_rows(
        cls,
        stimuli: Iterable[Stimulus],
        raters: Iterable[str],
        images: Iterable[str],
        rows: Sequence[Row],
    ) -> "Votes":
        """Return the answers of rows: rater, image, first, second, share of the first."""
        table = np.array(rows, np.float64).reshape(-1, 5)
        rater, image, first, second = table[:, :4].astype(np.int64).T
        named = tuple(stimuli), tuple(raters), tuple(images)
        return cls(*named, rater, image, first, second, table[:, 4])

    def of(self, kept: BoolArray) -> "Votes":
        """Return some of the answers; raters and images keep their numbers."""
        return self._replace(**{name: getattr(self, name)[kept] for name in self._fields[3:]})

    def questions(self) -> tuple[Int64Array, Float64Array]:
        """Return the number of each answer's question, and the share of its lower stimulus."""
        low, high = np.sort([self.first, self.second], axis=0)
        won = np.where(self.first > self.second, 1 - self.won, self.won)
        asked = np.stack([self.image, low, high])
        return np.unique(asked, axis=1, return_inverse=True)[1].ravel(), won


def why_left_out(answers: Answers, key: Key) -> str:
    """Return the rule by which a rater's own answers are left out, empty for none."""
    own, trials = answers.answers, key.lists[answers.order - 1]
    known = [answer for answer in own if trials[answer.trial].better]
    wrong = sum(answer.choice != trials[answer.trial].better for answer in known)
    first = sum(answer.choice == 1 for answer in own)
    one_side = max(first, len(own) - first) > MOST_OF_ONE_SIDE * len(own)
    rules = {
        "fewer than half of the questions answered": len(own) < LEAST_SHARE * len(trials),
        "more than one in four questions of known answer wrong": wrong > MOST_WRONG * len(known),
        "half of the answers in under a second": median([a.ms for a in own] or [0]) < FAST_MS,
        "one side chosen in more than nine of ten answers": len(own) >= LEAST_FOR_SIDES
        and one_side,
    }
    return next((rule for rule, broken in rules.items() if broken), "")


def votes_of(key: Key, answers: Sequence[Answers]) -> Votes:
    """Return the answers to all questions whose answer is not known."""
    images = tuple(dict.fromkeys(picture.image for picture in key.pictures))
    number = {image: n for n, image in enumerate(images)}
    rows: list[Row] = []
    for rater, of in enumerate(answers):
        trials = key.lists[of.order - 1]
        for answer in of.answers:
            trial = trials[answer.trial]
            if not trial.better:
                picture, other = key.pictures[trial.first], key.pictures[trial.second]
                won = float(answer.choice == 1)
                rows.append((rater, number[picture.image], picture.stimulus, other.stimulus, won))
    return Votes.of_rows(key.stimuli, [of.rater for of in answers], images, rows)


class Consistency(NamedTuple):
    """Agreement of raters with each other, and with themselves."""

    agreement: float | None  # Kendall's u: 1 if all agree, 0 by chance; None without pairs
    pairs: int  # of one image that at least two raters compared
    circular: int  # triads of stimuli, of the majorities over all images
    triads: int
    own_circular: int  # triads of single raters
    own_triads: int


def consistency(votes: Votes) -> Consistency:
    """Return Kendall's coefficient of agreement u and numbers of circular triads.

    u of an incomplete design: 2 S - 1, where S is the share of pairs of answers to one question
    that agree (M. G. Kendall and B. Babington Smith, "On the Method of Paired Comparisons", 1940);
    a tie agrees by half.
    A triad is of three stimuli that were compared two by two; by chance one in four is circular.
    """
    asked, won = votes.questions()
    counts, sums, squares = (np.bincount(asked, of) for of in (None, won - TIE, (won - TIE) ** 2))
    together = int((counts * (counts - 1)).sum())
    own = [_triads(votes.of(votes.rater == rater)) for rater in np.unique(votes.rater)]
    return Consistency(
        float(4 * (sums**2 - squares).sum()) / together if together else None,
        int((counts > 1).sum()),
        *_triads(votes),
        *(sum(of) for of in zip(*own, strict=True)),
    )


def _triads(votes: Votes) -> tuple[int, int]:
    """Return the numbers of circular triads and of all."""
    net = np.zeros((max(votes.first.max(), votes.second.max()) + 1,) * 2)
    np.add.at(net, (votes.first, votes.second), votes.won - TIE)
    ahead = (net - net.T > 0).astype(np.int64)  # of the majority
    circular, triads = (np.trace(of @ of @ of) for of in (ahead, ahead + ahead.T))
    return int(circular) // 3, int(triads) // 6
