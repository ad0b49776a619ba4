"""Noise that every machine has alike: a table without doubtful entries, pinned by its bytes."""

from hashlib import sha256

import numpy as np
import pytest
from scipy.stats import norm

from baselines.neural.diffusion.noise import GRID, noise_key, normal_noise, normal_values


def test_the_table_has_the_medians_of_equal_shares_of_a_normal_distribution():
    values = normal_values().astype(np.float64)
    shares = (np.arange(len(values)) + 0.5) / len(values)
    assert np.abs(values - norm.ppf(shares)).max() < 0.6 / GRID
    assert values.var() == pytest.approx(1, abs=3e-5)
    assert np.array_equal(values, -values[::-1])


def test_no_entry_is_so_near_to_a_tie_that_two_libraries_could_round_it_differently():
    exact = norm.ppf((np.arange(32768, 65536) + 0.5) / 65536) * GRID
    assert np.abs(exact % 1 - 0.5).min() > 1e-6


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


def test_noise_has_unit_variance_and_no_pattern():
    drawn = normal_noise(noise_key(b"", 0), 0, (200, 500)).astype(np.float64)
    assert drawn.mean() == pytest.approx(0, abs=0.015)
    assert drawn.var() == pytest.approx(1, abs=0.02)
    for axis in (0, 1):
        first, second = drawn.take(range(199), axis), drawn.take(range(1, 200), axis)
        assert (first * second).mean() == pytest.approx(0, abs=0.02)
