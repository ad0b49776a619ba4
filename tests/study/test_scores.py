"""Scores of raters who answer by known ones: the model, its intervals, bits, agreement."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import t as student

from benchmark.errors import UsageError
from benchmark.metrics.metric import Metric
from benchmark.study.agreement import PEOPLE, agreements
from benchmark.study.form import Stimulus
from benchmark.study.scores import (
    PreferenceScores,
    count_wins,
    equal_preference,
    fit_scores,
    score_votes,
)
from benchmark.study.votes import Votes, collect_votes
from support.rows.study import OFFSETS, answers_of, key_of, true_scores


def votes(rows, stimuli=3):
    all_stimuli = tuple(Stimulus(f"codec{n}", "1 bpp", 1.0) for n in range(stimuli))
    return Votes.build(all_stimuli, ("r0", "r1"), ("i0", "i1"), rows)


def test_scores_are_the_most_likely_ones_and_a_tie_is_half_an_answer():
    rows = [(0, 0, 0, 1, 1.0)] * 7 + [(0, 1, 1, 0, 1.0)] * 3 + [(1, 0, 1, 2, 0.5)] * 6
    rows += [(1, 1, 2, 0, 1.0)] * 4 + [(1, 1, 0, 2, 1.0)] * 5
    wins = count_wins(votes(rows))

    def unlikely(scores):
        chance = 1 / (1 + np.exp(scores[None] - scores[:, None]))
        return -((wins + 0.25 * (1 - np.eye(3))) * np.log(chance)).sum()

    optimum = minimize(unlikely, np.zeros(3), tol=1e-10).x
    assert fit_scores(wins) == pytest.approx(optimum - optimum.mean(), abs=1e-4)


def test_codecs_that_no_answer_connects_are_refused():
    with pytest.raises(UsageError, match=r"codec0 at 1 bpp .*codec2"):
        score_votes(votes([(0, 0, 0, 1, 1.0)] * 4))


def test_intervals_hold_the_true_scores_about_as_often_as_they_say():
    coverage = []
    for seed in range(12):  # studies
        key = key_of(images=8, raters=10, trials_per_rater=40, seed=seed)
        scores = score_votes(collect_votes(key, answers_of(key, seed)), draws=30, seed=seed)
        for number, true in enumerate(true_scores(key)):
            low, high = scores.interval(number)
            coverage.append(low <= true <= high)
    assert 0.9 <= np.mean(coverage) <= 1


def test_the_order_and_the_bits_come_out_though_raters_answer_one_in_ten_at_random():
    key = key_of(images=12, raters=60, trials_per_rater=60, rates=(0.25, 0.4, 0.63, 1.0))
    vote_set = collect_votes(key, answers_of(key, lapses=0.1))
    scores = score_votes(vote_set, draws=60)
    true = true_scores(key)
    clear = np.subtract.outer(true, true) > 0.25  # of neighbours that are nearer, chance decides
    assert (np.subtract.outer(scores.values, scores.values)[clear] > 0).all()
    bits = {change.system: change for change in equal_preference(vote_set, scores, "middling")}
    assert bits.keys() == {"good", "poor"}
    for system, rate_change in bits.items():
        true = 100 * (2 ** ((OFFSETS["middling"] - OFFSETS[system]) / 1.1) - 1)
        assert rate_change.interval.low < true < rate_change.interval.high
        assert rate_change.interval.low < rate_change.change < rate_change.interval.high
    assert bits["good"].change < 0 < bits["poor"].change
    far = equal_preference(vote_set, scores, "good")[1]
    assert (far.system, far.change) == ("poor", None)
    assert " third " in far.why


@pytest.mark.parametrize("system", ["a", "b"])
def test_a_few_draws_that_explode_do_not_decide_an_interval(system):
    """In one draw of 21 a curve is so flat that the change is -100 %, or of 17 digits."""
    rng, spread = np.random.default_rng(0), 0.1
    stimuli = tuple(Stimulus(s, f"{r}", r) for s in ("a", "b") for r in (0.25, 0.5, 1.0, 2.0))
    values = np.array([0.0, 1, 2, 3, 0.4, 1.4, 2.4, 3.4])
    shift = rng.normal(0, spread, (3, 300, 1)) * [0, 0, 0, 0, 1, 1, 1, 1]
    shift[2] = 0  # all of it is of raters and images
    draws = values + shift
    sound = draws.copy()
    draws[:, ::21, slice(0, 4) if system == "a" else slice(4, 8)] = (0, 0.02, 0.04, 9)
    vote_set = votes([(0, 0, 0, 4, 1.0)], 8)._replace(stimuli=stimuli)
    (rate_change,) = equal_preference(vote_set, PreferenceScores(values, draws, 20), "a")
    # Curves are lines over the logarithm of the rate: a point more is half of the bits.
    assert rate_change.change == pytest.approx(100 * (2**-0.4 - 1), abs=0.1)
    error = np.sqrt(sum(np.var(np.log(2) * sound[kind, :, 4]) for kind in (0, 1)))
    ends = -0.4 * np.log(2) + np.array([-1, 1]) * student.ppf(0.975, 20) * error
    assert np.log1p(np.array(rate_change.interval) / 100) == pytest.approx(ends, rel=0.25)


def test_three_rates_are_too_few_for_bits():
    key = key_of(rates=(0.25, 0.5, 1.0, 2.0))
    vote_set = collect_votes(key, answers_of(key))
    stimuli = (s if s.level != "1 bpp" else Stimulus(s.system, s.level) for s in vote_set.stimuli)
    vote_set = vote_set._replace(stimuli=tuple(stimuli))
    rate_change = equal_preference(vote_set, score_votes(vote_set, draws=10), "good")[0]
    assert rate_change[:3] == ("middling", None, None)
    assert "3 of the 4" in rate_change.why


def test_a_metric_that_orders_as_people_do_agrees_most_and_its_negative_as_much_less():
    key = key_of()
    vote_set = collect_votes(key, answers_of(key))
    true = true_scores(key)
    values = {
        (image, n): {"psnr_db": score, "lpips_alex": score, "ssim": 1.0}
        for image in range(8) for n, score in enumerate(true)
    }  # fmt: skip
    metrics = [Metric.named(name) for name in ("ssim", "lpips", "psnr", "dists")]
    agreement = {entry.name: entry for entry in agreements(vote_set, values, metrics)}
    assert [*agreement] == [PEOPLE, "PSNR (dB)", "SSIM", "LPIPS (AlexNet)"]
    ahead = true[vote_set.first] > true[vote_set.second]
    assert agreement["PSNR (dB)"].share == pytest.approx(np.mean(ahead == (vote_set.won == 1)))
    assert agreement["LPIPS (AlexNet)"].share == pytest.approx(1 - agreement["PSNR (dB)"].share)
    assert agreement["SSIM"].share == agreement["SSIM"].equal_rate == 0.5
    low, high = agreement["PSNR (dB)"].interval
    assert 0.5 < low < agreement["PSNR (dB)"].share < high < 1
    assert agreement["PSNR (dB)"].equal_rate < agreement["PSNR (dB)"].share  # the harder questions


def test_an_interval_of_a_share_of_few_images_stays_between_none_and_all():
    key = key_of(images=2, raters=3, trials_per_rater=8)
    vote_set, true = collect_votes(key, answers_of(key)), true_scores(key)
    values = {(image, n): {"psnr_db": true[n]} for image in range(2) for n in range(len(true))}
    *_, agreement = agreements(vote_set, values, [Metric.named("psnr")])
    assert 0 <= agreement.interval.low < agreement.share < agreement.interval.high == 1
