"""Error rates of verdicts that users read, by simulation: heavy tails, skewness, eight metrics."""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmark.compare.check.equivalence import ERROR_RATES, MeanTests, holm

IMAGES, METRICS, SETS = 24, 8, 1500
LEVEL = 0.05


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
    text = (Path(__file__).parents[3] / "docs" / "check.md").read_text()
    for one, any_ in ERROR_RATES.values():
        assert f"/ {one} | {any_} |\n" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_at_the_margin_passes_as_often_as_is_said(name):
    """Each set has eight independent metrics whose true mean is at the margin."""
    sample = CHANGES[name](np.random.default_rng(3), (IMAGES, METRICS * SETS))
    p_values = np.concatenate([MeanTests(part).p_below(0) for part in np.split(sample, 30, axis=1)])
    one = 100 * np.mean(p_values <= LEVEL)
    passed = [min(holm(of_set)) <= LEVEL for of_set in p_values.reshape(SETS, METRICS).tolist()]
    result, stated = (one, 100 * np.mean(passed)), ERROR_RATES[name]
    by_chance = [
        math.sqrt(max(rate, 1) * 100 / sets)
        for rate, sets in zip(stated, (METRICS * SETS, SETS), strict=True)
    ]
    for measured, rate, error in zip(result, stated, by_chance, strict=True):
        assert measured == pytest.approx(rate, abs=0.5 + 3 * error)
