"""Noise that every machine has alike, and samplers compared with exact denoisers."""

import math
from hashlib import sha256

import numpy as np
import pytest
from scipy.stats import norm

from baselines.neural.diffusion.noise import (
    GRID,
    log_snr,
    noise_key,
    noise_level,
    normal_noise,
    normal_values,
)


def test_the_table_has_the_medians_of_equal_shares_of_a_normal_distribution():
    values = normal_values().astype(np.float64)
    shares = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(values - norm.ppf(shares)).max() < 0.6 / GRID
    assert values.var() == pytest.approx(1, abs=3e-5)
    assert np.array_equal(values, -values[::-1])


def test_the_noise_is_the_same_bytes_everywhere():
    drawn = normal_noise(noise_key(b"stream", 5), 2, (3, 5, 7)).astype("<f4")
    assert sha256(drawn.tobytes()).hexdigest() == (
        "9e2d86fdda5f0cdd0adbf4ff29ac90fa402114c22e23c47c09568cd8c4103b60"
    )


def test_stream_seed_and_step_each_give_noise_of_their_own():
    keys = [noise_key(b"a", 0), noise_key(b"b", 0), noise_key(b"a", 1)]
    drawn = [normal_noise(key, step, (10_000,)) for key in keys for step in (0, 1)]
    together = np.corrcoef(np.stack(drawn))
    assert np.abs(together - np.eye(len(drawn))).max() < 0.05
    assert np.array_equal(drawn[0], normal_noise(keys[0], 0, (10_000,)))


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.1])
def test_a_level_has_the_published_ratio_and_unit_energy(scale):
    assert log_snr(0.5, scale) == pytest.approx(-2 * math.log(scale), abs=1e-12)
    for time in np.linspace(0, 1, 101):
        at = noise_level(float(time), scale)
        assert at.alpha**2 + at.sigma**2 == pytest.approx(1, abs=1e-12)
        assert math.log(at.alpha**2 / at.sigma**2) == pytest.approx(at.log_snr, abs=1e-5)
        if 0.01 < time < 0.99:
            expected = -2 * math.log(scale * math.tan(math.pi * time / 2))
            assert at.log_snr == pytest.approx(expected, abs=1e-9)
