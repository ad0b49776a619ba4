"""Pairs of pictures that a study compares, and questions for each rater."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from benchmark.codec import Int64Array
from benchmark.compare.pictures import MAX_CLOSE_RATIO, distance, nearest_setting
from benchmark.study.form import Trial

QUESTIONS_PER_CATCH = 8  # number of questions per catch trial
MIN_CATCHES = 4
NUM_TRAINING = 3  # number of training trials, before a rater's questions


class StimulusPair(NamedTuple):
    """Two stimuli of the same image, by number."""

    image: int
    first: int
    second: int


def assign_streams(bpp: Sequence[float], rates: Sequence[float]) -> list[int | None]:
    """Return the index of the stream that shows a codec at each rate, or None.

    Rates match as for crops in a report. A stream is used only for the rate nearest to it.

    >>> assign_streams([0.1, 0.21, 0.5], [0.1, 0.2, 0.25, 1.0])
    [0, 1, None, None]
    """
    best_matches: dict[int, tuple[float, int]] = {}
    for rate_index, rate in enumerate(rates):
        if (stream := nearest_setting(rate, bpp, MAX_CLOSE_RATIO, allow_between=True)) is not None:
            candidate = distance(bpp[stream], rate), rate_index
            best_matches[stream] = min(best_matches.get(stream, candidate), candidate)
    streams = {rate_index: stream for stream, (_, rate_index) in best_matches.items()}
    return [streams.get(rate_index) for rate_index in range(len(rates))]


def make_pairs(
    bpp: Mapping[tuple[int, int], float], stimuli: Sequence[tuple[str, int]], images: int
) -> list[StimulusPair]:
    """Pair codecs at equal rate (within `MAX_CLOSE_RATIO`), and a codec's neighbouring rates.

    bpp: by (image, stimulus number). stimuli: (codec, rate index).
    """
    result = []
    for image in range(images):
        image_stimuli = [number for number in range(len(stimuli)) if (image, number) in bpp]
        sorted_stimuli = sorted(image_stimuli, key=lambda number: stimuli[number][1])
        for first, second in combinations(sorted_stimuli, 2):
            match = nearest_setting(bpp[image, first], [bpp[image, second]], MAX_CLOSE_RATIO)
            if stimuli[first][1] == stimuli[second][1] and match is not None:
                result.append(StimulusPair(image, first, second))
        for codec in dict.fromkeys(stimuli[number][0] for number in image_stimuli):
            codec_stimuli = [number for number in sorted_stimuli if stimuli[number][0] == codec]
            result += [StimulusPair(image, *pair) for pair in pairwise(codec_stimuli)]
    return result


def question_lists(
    pairs: Sequence[StimulusPair], raters: int, count: int, rng: np.random.Generator
) -> list[list[tuple[StimulusPair, bool]]]:
    """Return `count` pairs for each rater, in random order, and whether their sides are swapped."""
    table = np.array(pairs, np.int64)
    image = table[:, 0]
    stimulus_pair = np.unique(table[:, 1:], axis=0, return_inverse=True)[1].ravel()
    pair_counts = np.zeros(len(pairs), np.int64)
    stimulus_pair_counts, side_balances = np.zeros((2, stimulus_pair.max() + 1), np.int64)
    result = []
    for _ in range(raters):
        image_counts: Int64Array = np.zeros(image.max() + 1, np.int64)
        is_unused = np.ones(len(pairs), bool)
        questions: list[tuple[StimulusPair, bool]] = []
        for _ in range(min(count, len(pairs))):
            # Prefer the least compared stimuli, then the least used pair, then the rarest image
            counts = image_counts[image], pair_counts, stimulus_pair_counts[stimulus_pair]
            pair_index = int(np.lexsort((rng.random(len(pairs)), *counts, ~is_unused))[0])
            balance = side_balances[stimulus_pair[pair_index]]
            is_swapped = bool(balance > 0 or (balance == 0 and rng.random() < 0.5))
            side_balances[stimulus_pair[pair_index]] += -1 if is_swapped else 1
            stimulus_pair_counts[stimulus_pair[pair_index]] += 1
            pair_counts[pair_index] += 1
            image_counts[image[pair_index]] += 1
            is_unused[pair_index] = False
            questions.append((pairs[pair_index], is_swapped))
        result.append([questions[index] for index in rng.permutation(len(questions))])
    return result


def insert_catches(
    questions: Sequence[Trial], catches: Sequence[Trial], rng: np.random.Generator
) -> list[Trial]:
    """Divide questions into as many equal parts as catch trials; insert one into each part."""
    part_ends = np.linspace(0, len(questions), len(catches) + 1).astype(int)
    result: list[Trial] = []
    for catch, (start, end) in zip(catches, pairwise(part_ends.tolist()), strict=True):
        position = int(rng.integers(start, end + 1))
        result += [*questions[start:position], catch, *questions[position:end]]
    return result


def num_catches(questions: int) -> int:
    """Return a rater's number of catch trials, given the number of questions."""
    return max(MIN_CATCHES, -(-questions // QUESTIONS_PER_CATCH))
