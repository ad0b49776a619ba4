"""Noise that every machine has alike, and samplers compared with exact denoisers."""

import math
from hashlib import sha256

import numpy as np
import pytest
import torch
from scipy.stats import norm

from baselines.neural.diffusion.model import draw_residual
from baselines.neural.diffusion.noise import (
    GRID,
    noise_key,
    noise_level,
    normal_noise,
    normal_values,
    step_times,
)


def test_the_table_has_the_medians_of_equal_shares_of_a_normal_distribution():
    values = normal_values().astype(np.float64)
    shares = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(values - norm.ppf(shares)).max() < 0.6 / GRID
    assert values.var() == pytest.approx(1, abs=3e-5)
    assert np.array_equal(values, -values[::-1])


def test_the_noise_is_the_same_bytes_everywhere():
    values = normal_noise(noise_key(b"stream", 5), 2, (3, 5, 7)).astype("<f4")
    assert sha256(values.tobytes()).hexdigest() == (
        "9e2d86fdda5f0cdd0adbf4ff29ac90fa402114c22e23c47c09568cd8c4103b60"
    )


SAMPLES = 100_000
NO_LIMITS = -1e9, 1e9

# Variance of samples over that of the data, of standard deviation s and drawn with the scale n, by
# a computation of its own: DDIM in 1, 5, 20 and 100 steps, ancestral in 5, 20 and 100.
RATIOS = {
    (1, 1): ((0, 0.606, 0.884, 0.976), (0.500, 0.811, 0.954)),
    (0.1, 1): ((0, 0.087, 0.526, 0.884), (0.081, 0.434, 0.771)),
    (0.1, 0.5): ((0, 0.249, 0.724, 0.938), (0.227, 0.590, 0.862)),
    (0.1, 0.1): ((0, 0.606, 0.884, 0.976), (0.500, 0.811, 0.954)),
}


def drawn_variance(deviation, scale, steps, *, ancestral, start=1.0):
    """Variance of what is drawn with the exact denoiser of normal data, over the data's."""

    def predict(state, ratio):
        alpha, sigma = ((1 + math.exp(-sign * ratio)) ** -0.5 for sign in (1, -1))
        restored = alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2) * state
        return (alpha * state - restored) / sigma

    def noise(step):
        return torch.from_numpy(normal_noise(11, step, (SAMPLES,))).double()

    levels = [noise_level(time, scale) for time in step_times(steps, start)[:-1]]
    result = draw_residual(predict, NO_LIMITS, noise, levels, ancestral=ancestral)
    return float(result.var()) / deviation**2


@pytest.mark.parametrize(("deviation", "scale"), RATIOS)
def test_samples_vary_as_theory_has_it(deviation, scale):
    ddim, ancestral = RATIOS[deviation, scale]
    for steps, ratio in zip((1, 5, 20, 100), ddim, strict=True):
        result = drawn_variance(deviation, scale, steps, ancestral=False)
        assert result == pytest.approx(ratio, abs=0.01)
    for steps, ratio in zip((5, 20, 100), ancestral, strict=True):
        result = drawn_variance(deviation, scale, steps, ancestral=True)
        assert result == pytest.approx(ratio, abs=0.01)


def test_a_late_start_from_noise_of_its_level_loses_the_variance_that_it_lacks():
    for steps, ratio in ((5, 0.262), (20, 0.725)):
        result = drawn_variance(0.1, 1, steps, ancestral=False, start=0.5)
        assert result == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.1])
def test_a_level_has_the_published_ratio_and_unit_energy(scale):
    assert noise_level(0.5, scale).log_snr == pytest.approx(-2 * math.log(scale), abs=1e-12)
    for time in np.linspace(0, 1, 101):
        level = noise_level(float(time), scale)
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-12)
        assert math.log(level.alpha**2 / level.sigma**2) == pytest.approx(level.log_snr, abs=1e-5)
        if 0.01 < time < 0.99:
            expected = -2 * math.log(scale * math.tan(math.pi * time / 2))
            assert level.log_snr == pytest.approx(expected, abs=1e-9)
