"""Error rates of verdicts that users read, by simulation: heavy tails, skewness, eight metrics."""

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmark.check.changes import Change
from benchmark.check.equivalence import MeanTests, holm
from benchmark.check.limits import parse_margins
from benchmark.check.verdict import judge

# Percent of sets of 24 images whose true mean change is at the margin that are called equivalent at
# confidence .95, by the distribution of changes: in one metric, and in any of eight independent
# metrics; the numbers of docs/experiments/statistics.md.
ERROR_RATES = {
    "normal": (3.9, 2.4),
    "skewness 2": (5.2, 6.2),
    "skewness 2.3": (6.0, 7.0),
    "skewness 6": (9.1, 15.9),
    "Student's t, 3 degrees": (4.3, 2.7),
    "4 % of images 6 deviations worse": (10.1, 12.3),
}
IMAGES, METRICS, SETS = 24, 8, 1500
LEVEL = 0.05
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


ROWS = re.findall(
    r"^\| ([a-z0-9 -]+) \| (24) \| (\S+) \| ([0-9. |]+) \|$", STATISTICS, re.MULTILINE
)
TABLE_CHANGES = {
    "normal": CHANGES["normal"],
    "skewness 2": CHANGES["skewness 2"],
    "skewness -2": lambda random, shape: -CHANGES["skewness 2"](random, shape),
}


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
