"""Intervals of changes between two codecs over the same images."""

from dataclasses import replace

import numpy as np
import pytest

from benchmark.analysis.interval import change_interval
from benchmark.analysis.summarise import summarise
from benchmark.metrics.measure import Measure
from support.rows.measured import row, table

PSNR, LPIPS = Measure.named("psnr"), Measure.named("lpips")
IMAGES = [f"{number:02}" for number in range(40)]


def points(psnr, lpips):
    """Two codecs at one setting, from arrays of shape (2, images)."""
    rows = [
        row(codec, 5, image, psnr_db=psnr[at][n], lpips_alex=lpips[at][n])
        for at, codec in enumerate(("jpeg", "webp"))
        for n, image in enumerate(IMAGES)
    ]
    return summarise(table(rows)).points


def test_a_change_that_all_images_share_is_certain_though_the_images_differ():
    spread = np.linspace(20, 40, 40)
    first, second = points([spread, spread + 0.5], [spread / 100, spread / 200])
    assert change_interval(second, first, PSNR, False) == pytest.approx((0.5, 0.5), rel=1e-9)
    assert change_interval(second, first, LPIPS, True) == pytest.approx((-50, -50), rel=1e-9)


def test_the_interval_of_a_change_is_as_wide_as_its_standard_error_says():
    changes = np.random.default_rng(5).normal(0.1, 0.3, 40)
    base = np.full(40, 30.0)
    first, second = points([base, base + changes], [base / 100, base / 100])
    low, high = change_interval(second, first, PSNR, False)
    assert low < changes.mean() < high
    width = 2 * 1.96 * changes.std(ddof=1) / np.sqrt(40)
    assert high - low == pytest.approx(width, rel=0.12)


def test_the_relative_change_of_a_metric_of_the_set_follows_from_each_images_influence():
    """The jackknife of the ratio, which leaves out one image after another, has the same width."""
    rng = np.random.default_rng(3)
    before, after = rng.normal(10, 0.2, 40), rng.normal(13, 0.3, 40)
    first, second = points([before, after], [before, after])
    low, high = change_interval(second, first, replace(LPIPS, of_sets=True), True)
    left_out = [
        100 * (np.delete(after, i).mean() / np.delete(before, i).mean() - 1) for i in range(40)
    ]
    error = np.std(left_out) * np.sqrt(39)
    assert (low + high) / 2 == pytest.approx(100 * (after.mean() / before.mean() - 1), rel=0.02)
    assert high - low == pytest.approx(2 * 2.02 * error, rel=0.02)
