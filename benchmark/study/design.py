"""Pairs of pictures that a study compares, and each rater's questions. Pure."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from benchmark.codec import Int64Array
from benchmark.compare.pictures import CLOSE, distance, near
from benchmark.study.form import Trial

CATCH_EVERY = 8  # questions, of which one has a known answer
LEAST_CATCHES = 4
TRAINING = 3


class Pair(NamedTuple):
    """Two stimuli of one image that are compared; numbers."""

    image: int
    first: int
    second: int


def at_rates(bpp: Sequence[float], rates: Sequence[float]) -> list[int | None]:
    """Return the place of the stream that shows a codec at each rate, by the rule of crops.

    A stream stands for one rate, that which it is nearest to.

    >>> at_rates([0.1, 0.21, 0.5], [0.1, 0.2, 0.25, 1.0])
    [0, 1, None, None]
    """
    best: dict[int, tuple[float, int]] = {}
    for level, rate in enumerate(rates):
        if (place := near(rate, bpp, CLOSE, between=True)) is not None:
            this = distance(bpp[place], rate), level
            best[place] = min(best.get(place, this), this)
    own = {level: place for place, (_, level) in best.items()}
    return [own.get(level) for level in range(len(rates))]


def pairs_of(
    bpp: Mapping[tuple[int, int], float], stimuli: Sequence[tuple[str, int]], images: int
) -> list[Pair]:
    """Return the pairs that are asked: codecs at equal rate, and one codec at the next rate.

    bpp: rate by image and stimulus. stimuli: codec and number of the rate. Equal is up to CLOSE.
    """
    result = []
    for image in range(images):
        there = [number for number in range(len(stimuli)) if (image, number) in bpp]
        for number, other in combinations(sorted(there, key=lambda n: stimuli[n][1]), 2):
            is_equal = near(bpp[image, number], [bpp[image, other]], CLOSE) is not None
            if stimuli[number][1] == stimuli[other][1] and is_equal:
                result.append(Pair(image, number, other))
        for codec in dict.fromkeys(stimuli[number][0] for number in there):
            own = sorted((n for n in there if stimuli[n][0] == codec), key=lambda n: stimuli[n][1])
            result += [Pair(image, number, other) for number, other in pairwise(own)]
    return result


def question_lists(
    pairs: Sequence[Pair], raters: int, each: int, rng: np.random.Generator
) -> list[list[tuple[Pair, bool]]]:
    """Return each rater's pairs in random order, and whether their sides are exchanged.

    The next question is always of the two stimuli that were asked least, then of the pair, then of
    the image that the rater saw least; sides are balanced over the raters.
    """
    table = np.array(pairs, np.int64)
    image, kind = table[:, 0], np.unique(table[:, 1:], axis=0, return_inverse=True)[1].ravel()
    of_pair = np.zeros(len(pairs), np.int64)
    of_kind, sides = np.zeros((2, kind.max() + 1), np.int64)
    result = []
    for _ in range(raters):
        seen: Int64Array = np.zeros(image.max() + 1, np.int64)
        free = np.ones(len(pairs), bool)
        mine: list[tuple[Pair, bool]] = []
        for _ in range(min(each, len(pairs))):
            keys = rng.random(len(pairs)), seen[image], of_pair, of_kind[kind], ~free
            chosen = int(np.lexsort(keys)[0])
            its = kind[chosen]
            swapped = bool(sides[its] > 0 or (not sides[its] and rng.random() < 0.5))
            sides[its] += -1 if swapped else 1
            of_kind[its] += 1
            of_pair[chosen] += 1
            seen[image[chosen]] += 1
            free[chosen] = False
            mine.append((pairs[chosen], swapped))
        result.append([mine[place] for place in rng.permutation(len(mine))])
    return result


def with_catches(
    asked: Sequence[Trial], catches: Sequence[Trial], rng: np.random.Generator
) -> list[Trial]:
    """Return a rater's questions with trials of known answer among them, one in each stretch."""
    ends = np.linspace(0, len(asked), len(catches) + 1).astype(int)
    result: list[Trial] = []
    for catch, (start, end) in zip(catches, pairwise(ends.tolist()), strict=True):
        place = int(rng.integers(start, end + 1))
        result += [*asked[start:place], catch, *asked[place:end]]
    return result


def catches_for(each: int) -> int:
    """Return how many trials of known answer a rater gets beside `each` questions.

    >>> catches_for(60), catches_for(10)
    (8, 4)
    """
    return max(LEAST_CATCHES, -(-each // CATCH_EVERY))
