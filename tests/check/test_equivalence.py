"""Error rates of the verdicts, as documented, by simulation; the arithmetic against textbooks."""

import math
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, ttest_1samp
from scipy.stats import t as student

from benchmark.answer import Absent
from benchmark.check.changes import Change
from benchmark.check.equivalence import MAX_IMAGES, POWER, MeanTests, claims, holm, images_needed
from benchmark.check.limits import parse_limits, parse_margins
from benchmark.check.verdict import ROUNDING, decide, judge, overall_verdict
from benchmark.errors import UsageError
from support.quick import quick

DRAWS = 1000
LEVEL = 0.05
MARGIN = 1.0
CLAIMS = ("worse", "equal", "better", "not_worse")
DEVIATION = 1.5  # of single images
# Three standard errors of a share of 5 % among the draws.
MAX_DEVIATION = 3 * math.sqrt(LEVEL * (1 - LEVEL) / DRAWS)
IMAGES = 24  # of Kodak
RESAMPLES = 1999


SHAPES = {  # of mean 0 and deviation 1
    "normal": lambda random, shape: random.normal(size=shape),
    "skewness 1": lambda random, shape: random.gamma(4, 1, shape) / 2 - 2,
    "skewness -1": lambda random, shape: 2 - random.gamma(4, 1, shape) / 2,
    "heavy tails": lambda random, shape: random.standard_t(5, shape) / math.sqrt(5 / 3),
}
EFFECTS = (0.0, MARGIN / 2, MARGIN, 2 * MARGIN)
each_shape = pytest.mark.parametrize("shape", quick([*SHAPES], "normal", "skewness 1"))


def verdicts(shape, effect, images=IMAGES, deviation=DEVIATION, draws=DRAWS):
    """Return how often each claim is made where the true mean change is `effect`."""
    sample = effect + deviation * SHAPES[shape](np.random.default_rng(7), (images, draws))
    result = MeanTests(sample, RESAMPLES)
    equivalent = np.maximum(result.p_below(MARGIN), result.p_above(-MARGIN)) <= LEVEL
    worse, better = result.p_above(MARGIN) <= LEVEL, result.p_below(-MARGIN) <= LEVEL
    assert not (equivalent & worse).any()
    return {"regressed": worse.mean(), "equivalent": equivalent.mean(), "improved": better.mean()}


@each_shape
@pytest.mark.parametrize("effect", quick(EFFECTS, 0.0, MARGIN, 2 * MARGIN))
def test_false_claims_are_rare_and_true_ones_frequent(shape, effect):
    result = verdicts(shape, effect)
    rare = LEVEL + (MAX_DEVIATION if effect == MARGIN else 0)  # where both errors are most likely
    true = {0: "equivalent", MARGIN / 2: "equivalent", 2 * MARGIN: "regressed"}.get(effect)
    assert all(share <= rare for claim, share in result.items() if claim != true)
    assert true is None or result[true] > (0.75 if true == "regressed" else 0.35)


@pytest.mark.parametrize("effect", quick([0.0, 0.3, 2.0, -1.8], 0.3, -1.8))
def test_the_images_needed_decide_four_times_out_of_five(effect):
    result = verdicts("normal", effect, images_needed(effect, DEVIATION, MARGIN, LEVEL))
    true = "equivalent" if abs(effect) < MARGIN else "regressed" if effect > 0 else "improved"
    slack = 3 * math.sqrt(POWER * (1 - POWER) / DRAWS)
    assert POWER - slack - 0.03 < result[true] < POWER + slack + 0.03


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.001, 0.5))
def test_holm_rejects_what_closed_testing_with_bonferroni_rejects(p_values, level):
    everything = range(len(p_values))
    sets = [set(combination) for n in everything for combination in combinations(everything, n + 1)]
    for place, adjusted in enumerate(holm(p_values)):
        with_place = [hypotheses for hypotheses in sets if place in hypotheses]
        smallest = [len(each) * min(p_values[i] for i in each) for each in with_place]
        assert adjusted == pytest.approx(min(1, max(smallest)), abs=1e-12)
        assert (adjusted <= level) == (max(smallest) <= level) or adjusted == pytest.approx(level)


def test_p_values_of_many_normal_changes_are_those_of_the_t_test():
    sample = np.random.default_rng(1).normal(0.1, 1, (400, 20))
    result = MeanTests(sample)
    expected = ttest_1samp(sample, 0, alternative="greater").pvalue
    assert (result.p_above(0) >= expected - 1e-12).all()
    assert result.p_above(0) == pytest.approx(expected, abs=0.02)
    assert result.p_below(0) == pytest.approx(1 - expected, abs=0.02)


def test_two_images_give_the_closed_form_of_students_t():
    """With one degree of freedom t is Cauchy's: mean 10.5, standard error .5."""
    result = MeanTests(np.array([10.0, 11.0]))
    assert result.p_above(0)[0] == pytest.approx(math.atan(1 / 21) / math.pi, abs=1e-9)
    assert result.p_below(20)[0] == pytest.approx(math.atan(1 / 19) / math.pi, abs=1e-9)
    # At the mean three of four resamples are as far: .75, a normal's tail turned into Student's t
    p_value = 0.5 + math.atan(0.6745 * math.sqrt(0.5)) / math.pi
    assert result.p_above(10.5)[0] == pytest.approx(p_value, abs=0.01)
    # Farther than all of 19 resamples is as rare as one in 20.
    extreme = MeanTests(np.random.default_rng(2).normal(size=24), resamples=19)
    assert extreme.p_above(-99)[0] == extreme.p_below(99)[0] == 1 / 20
    ramp = MeanTests(np.arange(24.0))  # with as many resamples as verdicts, and one seed
    assert ramp.p_above(-99)[0] == 1 / 10_000
    assert ramp.p_above(8)[0] == pytest.approx(0.018680748066810693, rel=1e-9)


@pytest.mark.parametrize("resamples", [9999, 199])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 1 - 1 / 200])
def test_a_bound_is_where_the_p_value_is_the_level(resamples, confidence):
    skewed, uniform = np.random.default_rng(2).gamma(2, 1, 24), np.linspace(-1, 1, 24)
    for sample in (skewed, uniform):
        result = MeanTests(sample, resamples)
        lower, upper = (bound[0] for bound in result.bounds(confidence))
        for bound, p_value, sign in ((lower, result.p_above, -1), (upper, result.p_below, 1)):
            level = 1 - confidence + 1e-9
            assert p_value(bound + sign * 1e-6)[0] <= level < p_value(bound - sign * 1e-6)[0]
        assert lower < sample.mean() < upper
        leans = upper - sample.mean() > sample.mean() - lower + 1e-3
        assert leans or sample is uniform  # as the changes do


def test_a_bound_beyond_the_precision_of_the_resamples_is_infinite():
    result = MeanTests(np.random.default_rng(2).gamma(2, 1, 24), resamples=199)
    for bounds in (result.bounds(1 - 1 / 200.5), MeanTests(np.array([3.0])).bounds(0.95)):
        assert [bound.tolist() for bound in bounds] == [[-math.inf], [math.inf]]


def test_no_change_at_all_is_equal_and_one_image_proves_nothing():
    def claim(*values):
        return claims(MeanTests(np.array(values)), 1.0)

    assert claim(0, 0, 0, 0, -0.001)["equal"] < 0.01
    assert min(claim(0, 0, 0, 0, 4.0).values()) > 0.05
    tiny = MeanTests(np.array([0, 0, 0, 0, -0.001]))
    assert all(math.isfinite(bound[0]) for bound in tiny.bounds(0.95))
    assert claim(0, 0, 0, 0)["equal"] < 0.001
    assert claim(0, 0, 0, 0)["worse"] > 0.99
    assert claim(2, 2, 2, 2)["worse"] < 0.001
    assert claim(5) == dict.fromkeys(CLAIMS, 1.0)


def power(images, mean, deviation, margin):
    """Return the power of a test at 5 %, with Student's t around the mean's distance."""
    critical_p = norm.sf(math.sqrt(images / (images - 1)) * student.isf(LEVEL, images - 1))
    quantile = student.isf(critical_p, images - 1)
    ahead = [(margin + side * mean) * math.sqrt(images) / deviation - quantile for side in (-1, 1)]
    if abs(mean) > margin:
        return student.cdf(-min(ahead) - 2 * quantile, images - 1)
    return sum(student.cdf(ahead, images - 1)) - 1


@pytest.mark.parametrize("effect", [0.0, 0.3, -0.6, 1.4, -3.0])
@pytest.mark.parametrize("deviation", [0.1, 0.5, 1.5])
def test_images_needed_are_the_fewest_with_that_power(effect, deviation):
    expected = next(n for n in range(2, MAX_IMAGES) if power(n, effect, deviation, MARGIN) >= POWER)
    assert images_needed(effect, deviation, MARGIN, LEVEL) == expected


def test_images_needed_have_a_maximum():
    assert images_needed(1.0, 1.0, 1.0, LEVEL) is None
    assert images_needed(0.999, 1.0, 1.0, LEVEL) is None
    assert images_needed(0.0, math.inf, 1.0, LEVEL) is None
    assert [images_needed(mean, 0.0, 1.0, LEVEL) for mean in (0, 1, 2)] == [2, None, 2]
    low, high = 1.0, 1000.0
    for _ in range(50):
        middle = (low + high) / 2
        decided = images_needed(0.0, middle, 1.0, LEVEL) is not None
        low, high = (middle, high) if decided else (low, middle)
    assert images_needed(0.0, low, 1.0, LEVEL) == 100_000


def test_the_size_of_a_chunk_changes_no_p_value(monkeypatch):
    sample = np.random.default_rng(2).gamma(2, 1, 24)
    reference = MeanTests(sample, 1999)
    monkeypatch.setattr("benchmark.check.equivalence.CHUNK_WEIGHTS", 24 * 300)
    parts = MeanTests(sample, 1999)
    for bound in (1.5, 2.0, 2.5, 9.0):
        assert parts.p_above(bound) == reference.p_above(bound)


def make_change(percent, kind="BD-rate", name="psnr", **fields):
    images = tuple(f"{number}.png" for number in range(len(percent)))
    return Change("c", name, name, kind, images, np.array(percent), **fields)


def judge_all(*change_list, margin="", confidence=0.95):
    return judge(change_list, parse_margins(margin), confidence)


NOISE = np.random.default_rng(6).normal(0, 0.3, 24)
WORSE, EQUAL, BETTER, UNSURE, NOT_WORSE = (make_change(n + NOISE) for n in (3, 0, -3, 1, -1))
NOTHING = make_change([], no_number_reason="no value")


def test_each_verdict_has_its_case():
    result = judge_all(WORSE, EQUAL, BETTER, UNSURE, NOTHING, NOT_WORSE)
    assert [judgement["verdict"] for judgement in result] == [
        "regressed", "equivalent", "improved", "undecided", "nothing measured", "not worse",
    ]  # fmt: skip
    assert result[0]["change_percent"] == pytest.approx(3 + NOISE.mean())
    images = [record["image"] for record in result[0]["worst"]]
    assert images == [f"{number}.png" for number in np.argsort(-NOISE)[:3]]
    assert result[0]["worst"][0]["percent"] == pytest.approx(3 + NOISE.max())
    assert result[4]["why"] == "no value"
    pair, single = judge_all(make_change([1.0, 3.0]), make_change([1.0]))
    assert (pair["deviation_percent"], single["deviation_percent"]) == (pytest.approx(2**0.5), None)
    assert (single["lower_percent"], single["upper_percent"]) == (None, None)
    assert result[0]["lower_percent"] < result[0]["change_percent"] < result[0]["upper_percent"]


@pytest.mark.parametrize(("verdict", "changes"), [
    ("not worse", [BETTER, EQUAL, NOT_WORSE]), ("improved", [BETTER, EQUAL]),
    ("equivalent", [EQUAL, EQUAL]), ("undecided", [BETTER, EQUAL, UNSURE]),
    ("nothing measured", [BETTER, EQUAL, UNSURE, NOTHING]), ("nothing measured", []),
    ("regressed", [BETTER, EQUAL, UNSURE, NOTHING, WORSE]),
])  # fmt: skip
def test_the_worst_verdict_outranks_the_others(verdict, changes):
    assert overall_verdict(judge_all(*changes)) == verdict


def test_an_undecided_metric_says_how_many_images_would_decide():
    change = make_change(0.5 + np.random.default_rng(8).normal(0, 3, 24))
    for count in (1, 2):
        result = judge_all(*[change] * count)[0]
        mean, deviation = result["change_percent"], result["deviation_percent"]
        expected = images_needed(mean, deviation, 1.0, (1 - 0.95) / count)
        assert result["verdict"] == "undecided"
        assert result["images_needed"] == expected > 24
        assert f"about {expected} images" in result["why"]
    assert "single" in judge_all(make_change([0.0]))[0]["why"]
    assert " images" in judge_all(make_change([0.0, 1.5]))[0]["why"]
    (result,) = judge_all(make_change(1.0 + NOISE - NOISE.mean()))  # at the margin itself
    assert (result["verdict"], result["images_needed"]) == ("undecided", None)
    assert "margin" in result["why"]


@pytest.mark.parametrize(("confidence", "limit"), [(0.9999, 1), (0.999, 10)])
def test_no_number_of_images_is_named_where_none_can_decide_so_many_metrics(confidence, limit):
    steady_change = make_change(np.random.default_rng(0).normal(0, 0.01, 12))
    findings = judge_all(*[steady_change] * limit, confidence=confidence)
    assert {finding["verdict"] for finding in findings} == {"equivalent"}
    for finding in judge_all(*[steady_change] * (limit + 1), confidence=confidence):
        assert (finding["verdict"], finding["images_needed"]) == ("undecided", None)
        assert "--metrics" in finding["why"]


def test_a_claim_is_made_at_its_exact_level_despite_rounding():
    sample = 0.1 * np.random.default_rng(6).normal(size=24)

    def verdict(*p_values, confidence=0.95):
        alpha = 1 - confidence + ROUNDING
        p = dict(zip(CLAIMS, p_values, strict=True))
        return decide(make_change(sample), MeanTests(sample, 199), 1.0, p, alpha, LEVEL)

    assert 1 - 0.9 < 0.1
    assert verdict(0.1, 1, 1, 1, confidence=0.9)[0] == "regressed"
    for place, name in enumerate(("regressed", "equivalent", "improved", "not worse")):
        p_values = [1 - 0.95 + ROUNDING if index == place else 1.0 for index in range(4)]
        assert verdict(*p_values) == (name, "", None)
    # Fewer images would be enough if the changes followed Student's t; these do not.
    assert verdict(1, 1, 1, 1)[::2] == ("undecided", 25)


def test_a_wider_margin_accepts_more_and_units_become_percent():
    sample = 2 + np.random.default_rng(9).normal(0, 0.2, 24)
    lpips = make_change(sample, "BD-metric", "lpips", level=0.2, unit=0.002)
    (result,) = judge_all(lpips)
    assert result["change"] == pytest.approx(0.002 * sample.mean())
    for margin, verdict in (
        ("", "regressed"), ("lpips=3%", "equivalent"), ("bd_metric=3%", "equivalent"),
        ("bd_rate=3%", "regressed"),
    ):  # fmt: skip
        assert judge_all(lpips, margin=margin)[0]["verdict"] == verdict
    (result,) = judge_all(lpips, margin="bd_rate=2%, lpips=0.006")
    assert (result["verdict"], result["margin_percent"]) == ("equivalent", pytest.approx(3))


def test_an_image_out_of_reach_is_a_regression_and_one_without_a_curve_no_pass():
    calm = np.random.default_rng(11).normal(0, 0.1, 23)
    bent_image = (Absent("bent.png", "it has 3 points"),)
    for change, verdict, why in (
        (make_change(calm, out_of_reach=("lost.png",)), "regressed", "lost.png .* never"),
        (make_change(calm, unknown=bent_image), "undecided", "bent.png.* 3 points"),
        (make_change(calm + 4, unknown=bent_image), "regressed", ""),
        (make_change([], images_above=("a", "b")), "improved", r"on 2 images \(a, ...\) .* above"),
        (make_change([], unknown=bent_image), "undecided", "^it has 3 points$"),
    ):
        (finding,) = judge_all(change)
        assert finding["verdict"] == verdict, change
        assert re.search(why, finding["why"])


@pytest.mark.parametrize("text", [
    "lpips", "lpisp=1%", "psnr=0", "psnr=-1%", "psnr=nan%", "psnr=inf", "bd_rate=1", "psnr=0.5",
    "ms_ssim=0.1", "psnr=1e999%", "lpips=1_0",
])  # fmt: skip
def test_an_invalid_margin_is_refused_by_name(text):
    with pytest.raises(UsageError, match=text.partition("=")[0]):
        parse_margins(text)


@pytest.mark.parametrize(("text", "reason"), [
    ("encode at most -e ms", "--require"), ("psnr 30 at 0.5 bpp", "--require"),
    ("psnr at least 1e999 at 1 bpp", "--require"), ("psnr at least 30 s", " time "),
    ("psnr at least 30 at 0 bpp", "a rate"),
])  # fmt: skip
def test_an_invalid_limit_is_refused_with_the_reason(text, reason):
    with pytest.raises(UsageError, match=reason):
        parse_limits([text])


# Percent of sets of 24 images with a true mean change at the margin that are called equivalent at
# confidence .95: in one metric, in any of eight (docs/experiments/statistics.md).
ERROR_RATES = {
    "normal": (3.9, 2.4), "skewness 2": (5.2, 6.2), "skewness 2.3": (6.0, 7.0),
    "skewness 6": (9.1, 15.9), "Student's t, 3 degrees": (4.3, 2.7),
    "4 % of images 6 deviations worse": (10.1, 12.3),
}  # fmt: skip
METRICS, SETS = 8, 1500
STATISTICS = (Path(__file__).parents[2] / "docs/experiments/statistics.md").read_text()


CHANGES = {  # of mean 0
    "normal": lambda random, shape: random.normal(size=shape),
    "skewness 2": lambda random, shape: random.exponential(size=shape) - 1,
    "skewness 2.3": lambda random, shape: random.lognormal(0, 0.6, shape) - math.exp(0.18),
    "skewness 6": lambda random, shape: random.lognormal(0, 1.0, shape) - math.exp(0.5),
    "Student's t, 3 degrees": lambda random, shape: random.standard_t(3, shape),
    "4 % of images 6 deviations worse": lambda random, shape: (
        random.normal(size=shape) + 6 * (random.random(shape) < 0.04) - 0.24
    ),
}


def test_the_rates_below_a_verdict_are_those_of_the_documentation():
    for single_rate, any_ in ERROR_RATES.values():
        assert f"/ {single_rate} | {any_} |\n" in STATISTICS


ROWS = re.findall(r"^\| ([a-z0-9 -]+) \| (24) \| (\S+) \| ([0-9. |]+) \|$", STATISTICS, re.M)
TABLE_CHANGES = CHANGES | {"skewness -2": lambda *arguments: -CHANGES["skewness 2"](*arguments)}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[2]}")
def test_each_verdict_is_given_as_often_as_the_experiments_say(row):
    shape, images, effect, shares = row
    random, sets = np.random.default_rng(11), 200
    counts = Counter()
    for _ in range(sets):
        percent = float(effect) + 1.5 * TABLE_CHANGES[shape](random, int(images))
        names = tuple(map(str, range(len(percent))))
        change = Change("c", "psnr", "PSNR (dB)", "BD-rate", names, percent)
        (finding,) = judge([change], parse_margins("bd_rate=1%"), 0.95)
        counts[finding["verdict"]] += 1
    order = ("regressed", "undecided", "not worse", "equivalent", "improved")
    for verdict, share in zip(order, shares.split(" | "), strict=True):
        expected = float(share) / 100
        error = math.sqrt(max(expected * (1 - expected), 0.01) / sets)
        assert counts[verdict] / sets == pytest.approx(expected, abs=3 * error + 0.005)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_at_the_margin_passes_as_often_as_stated(name):
    """Each set has eight independent metrics whose true mean is at the margin."""
    sample = CHANGES[name](np.random.default_rng(3), (IMAGES, METRICS * SETS))
    p_values = np.concatenate([MeanTests(part).p_below(0) for part in np.split(sample, 30, axis=1)])
    single_rate = 100 * np.mean(p_values <= LEVEL)
    passed = [min(holm(values)) <= LEVEL for values in p_values.reshape(SETS, METRICS).tolist()]
    result, stated = (single_rate, 100 * np.mean(passed)), ERROR_RATES[name]
    standard_errors = [
        math.sqrt(max(rate, 1) * 100 / sets)
        for rate, sets in zip(stated, (METRICS * SETS, SETS), strict=True)
    ]
    for measured, rate, error in zip(result, stated, standard_errors, strict=True):
        assert measured == pytest.approx(rate, abs=0.5 + 3 * error)
