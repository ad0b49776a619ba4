"""Raters who are left out, each by its rule; consistency by hand; the design's balance."""

import json
from collections import Counter

import msgspec
import numpy as np
import pytest

from benchmark.errors import UsageError
from benchmark.study.form import KEY, read_answers, read_key
from benchmark.study.scores import find_outliers
from benchmark.study.votes import Votes, collect_votes, consistency, exclusion_rule
from support.rows.study import answers_of, changed, key_of


@pytest.fixture(scope="module")
def key():
    return key_of()


@pytest.fixture(scope="module")
def answers(key):
    return answers_of(key)


def with_choices(key, answers, choose, **fields):
    trials = key.lists[answers.order - 1]
    return changed(answers, answers=[
        changed(answer, choice=choose(trials[answer.trial], answer.choice), **fields)
        for answer in answers.answers
    ])  # fmt: skip


@pytest.mark.parametrize(("rule", "choose", "fields"), [
    ("catch", lambda trial, choice: 2 if trial.better else choice, {}),
    ("second", lambda trial, choice: choice, {"ms": 800.0}),
    ("side", lambda trial, choice: 1, {}),
])  # fmt: skip
def test_each_rule_leaves_out_whom_it_names(key, answers, rule, choose, fields):
    assert {exclusion_rule(answer, key) for answer in answers} == {""}, "attentive raters stay"
    assert rule in exclusion_rule(with_choices(key, answers[0], choose, **fields), key)


def test_a_rater_of_half_the_questions_stays_and_one_of_fewer_does_not(key, answers):
    trials = answers[0].answers
    half = -(-len(key.lists[0]) // 2)
    assert not exclusion_rule(changed(answers[0], answers=trials[:half]), key)
    assert "fewer" in exclusion_rule(changed(answers[0], answers=trials[: half - 1]), key)


def test_a_rater_with_a_quarter_of_catch_trials_wrong_stays_and_with_more_does_not(key, answers):
    trials = key.lists[answers[0].order - 1]
    catch = [answer.trial for answer in answers[0].answers if trials[answer.trial].better]
    quarter = len(catch) // 4
    assert quarter > 0

    def excluded_with(wrong):
        wrong_trials = [trials[n] for n in wrong]

        def choose(trial, choice):
            if trial.better:
                return 3 - trial.better if trial in wrong_trials else trial.better
            return choice

        return exclusion_rule(with_choices(key, answers[0], choose), key)

    assert excluded_with(catch[:quarter]) == ""
    assert "catch" in excluded_with(catch[: quarter + 1])


def test_a_rater_who_votes_for_one_codec_whatever_is_shown_is_found_and_nobody_else(key):
    raters = answers_of(key, seed=3, lapses=0.1)

    def for_poor(trial, choice):
        stimuli = [key.pictures[n].stimulus for n in (trial.first, trial.second)]
        systems = ["" if number < 0 else key.stimuli[number].system for number in stimuli]
        return 1 + systems.index("poor") if systems.count("poor") == 1 else choice

    raters[5] = with_choices(key, raters[5], for_poor)
    assert not exclusion_rule(raters[5], key)
    assert find_outliers(collect_votes(key, raters)) == [5]


def test_agreement_and_triads_are_those_of_a_hand_count():
    # Two raters agree on (0, 1), disagree on (1, 2); a third alone closes the circle 0 > 1 > 2 > 0.
    rows = [(0, 0, 0, 1, 1.0), (1, 0, 1, 0, 0.0), (0, 0, 1, 2, 1.0), (1, 0, 2, 1, 1.0)]
    rows += [(2, 0, 2, 0, 1.0), (2, 0, 0, 1, 1.0), (2, 0, 1, 2, 1.0)]
    result = consistency(Votes.build((), (), (), rows))
    # (0, 1): three alike, 3 of 3 couples; (1, 2): two against one, 1 of 3
    assert result.agreement == pytest.approx(2 * 4 / 6 - 1)
    assert (result.pairs, result.circular, result.triads) == (2, 1, 1)
    assert (result.rater_circular, result.rater_triads) == (1, 1)


def test_a_design_asks_stimuli_and_sides_alike_often_and_no_rater_twice():
    key = key_of(images=6, raters=12, trials_per_rater=30, seed=4)
    counts, firsts = Counter(), Counter()
    for trials in key.lists:
        pairs = [(t.first, t.second) for t in trials if not t.better]
        assert len({frozenset(pair) for pair in pairs}) == len(pairs) == 30
        for pair in pairs:
            first, second = (key.pictures[n].stimulus for n in pair)
            counts[frozenset((first, second))] += 1
            firsts[frozenset((first, second))] += first < second
    assert len(counts) == 15
    assert np.ptp([*counts.values()]) <= 1
    assert all(abs(firsts[pair] - count / 2) <= 1 for pair, count in counts.items())
    assert key == key_of(images=6, raters=12, trials_per_rater=30, seed=4)
    assert key != key_of(images=6, raters=12, trials_per_rater=30, seed=5)


SCREEN = {"pixel_ratio": 1.0, "screen": [1440, 900], "window": [1440, 800], "touch": False}
HOSTILE = {
    "no json": b"\xff\xfe{",
    "deep": b"[" * 20_000,
    "a number that is none": b'{"ms": NaN}',
    "another study": {"study": "other"},
    "a list that is not there": {"order": 999},
    "a question that is not there": {"answers": [{"trial": 900, "choice": 1, "ms": 3000}]},
    "a question twice": {"answers": 2 * [{"trial": 1, "choice": 1, "ms": 3000}]},
    "a third choice": {"answers": [{"trial": 1, "choice": 3, "ms": 3000}]},
    "time before the question": {"answers": [{"trial": 1, "choice": 1, "ms": -1}]},
    "a name that is a script": {"rater": "<script>alert(1)</script>"},
    "a field of its own": {"__proto__": {}},
    "a field of its own in an answer": {"answers": [{"trial": 1, "choice": 1, "ms": 9, "flip": 2}]},
    "a field of its own of the screen": {"device": {**SCREEN, "system": "none"}},
    "too large": {"rater": "0" * (2 << 20)},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_left_out_with_its_reason(tmp_path, key, answers, kind):
    sound, content = json.loads(msgspec.json.encode(answers[0])), HOSTILE[kind]
    path = tmp_path / "answers.json"
    if isinstance(content, dict):
        content = json.dumps(sound | content).encode()
    path.write_bytes(content)
    reason = read_answers(path, key)
    assert isinstance(reason, str)
    assert 3 < len(reason) < 600
    path.write_text(json.dumps(sound))
    assert read_answers(path, key) == answers[0]


def test_a_key_that_names_pictures_it_lacks_is_refused(tmp_path, key):
    (tmp_path / KEY).write_bytes(msgspec.json.encode(key))
    assert read_key(tmp_path) == key
    short = msgspec.structs.replace(key, pictures=key.pictures[:3])
    (tmp_path / KEY).write_bytes(msgspec.json.encode(short))
    with pytest.raises(UsageError, match=r"key\.json refers to"):
        read_key(tmp_path)
    with pytest.raises(UsageError, match="`bench study new`"):
        read_key(tmp_path / "nowhere")
