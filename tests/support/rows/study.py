"""A study without pictures, and raters of known scores."""

from itertools import product

import msgspec
import numpy as np

from benchmark.study import form
from benchmark.study.design import insert_catches, make_pairs, num_catches, question_lists
from benchmark.study.form import SOURCE, WORSE, Key, PagePicture, Stimulus, Trial

SYSTEMS, RATES = ("good", "middling", "poor"), (0.25, 0.5, 1.0)
LAPSES = 0.05  # answers at random
PER_DOUBLING = 1.1  # of a score, of twice the rate: preferred in three of four answers
OFFSETS = {"good": 0.7, "middling": 0.0, "poor": -0.6}  # in scores, at every rate


def key_of(images=8, raters=16, trials_per_rater=40, seed=0, rates=RATES):
    """A study of SYSTEMS at some rates on images that all have every stimulus."""
    rng = np.random.default_rng(seed)
    conditions = [(system, level) for system in SYSTEMS for level in range(len(rates))]
    levels = ((system, rates[level]) for system, level in conditions)
    stimuli = tuple(Stimulus(system, f"{rate:g} bpp", rate) for system, rate in levels)
    numbers = (SOURCE, WORSE, *range(len(conditions)))
    place = {pair: index for index, pair in enumerate(product(range(images), numbers))}
    pictures = [
        PagePicture(f"{index}.png", f"{image}.png", number, cell=f"{image}/{number}")
        for (image, number), index in place.items()
    ]
    bpp = {(image, n): stimuli[n].bpp for image in range(images) for n in range(len(conditions))}
    pairs, lists = make_pairs(bpp, conditions, images), []
    for question_list in question_lists(pairs, raters, trials_per_rater, rng):
        trials = [trial(place, pair, swapped) for pair, swapped in question_list]
        caught = (n % images for n in range(num_catches(trials_per_rater)))
        places = [(place[image, SOURCE], place[image, WORSE]) for image in caught]
        catches = [Trial(source, source, worse, 1) for source, worse in places]
        lists.append(tuple(insert_catches(trials, catches, rng)))
    return Key("study", "sample", "", seed, stimuli, tuple(pictures), (), tuple(lists))


def trial(place, pair, swapped):
    sides = place[pair.image, pair.first], place[pair.image, pair.second]
    return Trial(place[pair.image, SOURCE], *(sides[::-1] if swapped else sides))


def true_scores(key):
    scores = np.array([OFFSETS[s.system] + PER_DOUBLING * np.log2(s.bpp) for s in key.stimuli])
    return scores - scores.mean()


def answers_of(key, seed=0, lapses=0.0):
    rng = np.random.default_rng(seed)
    scores = true_scores(key)
    return [simulated(key, n, scores, rng, lapses) for n in range(1, len(key.lists) + 1)]


def simulated(key, number, scores, rng, lapses=LAPSES):
    """What a rater of known scores answers to the list of that number, from 1."""
    answers = []
    for place, trial in enumerate(key.lists[number - 1]):
        first, second = (key.pictures[index].stimulus for index in (trial.first, trial.second))
        seen = 1 / (1 + np.exp(scores[second] - scores[first]))
        if WORSE in (first, second):  # a known answer is always seen
            seen = second == WORSE
        choice = 1 if rng.random() < lapses / 2 + (1 - lapses) * seen else 2
        answers.append(form.TrialAnswer(place, choice, 2000 + 4000 * float(rng.random()), 3))
    screen = form.Device(1.0, (1440, 900), (1440, 800), False)
    return form.Answers(key.study, rng.bytes(8).hex(), number, screen, answers)


def changed(original, **fields):
    return msgspec.structs.replace(original, **fields)
