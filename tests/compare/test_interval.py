"""Intervals of means, changes and distribution metrics, against textbook values and scipy."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmark.codec import Setting
from benchmark.compare.interval import (
    bootstrap_interval,
    draw_spreads,
    draws_interval,
    image_draws,
    jackknife_interval,
    jackknife_weights,
    point_interval,
    records_with_intervals,
    studentise,
)
from benchmark.metrics.metric import Metric
from benchmark.rows.edition import Edition
from benchmark.rows.means import summarise
from benchmark.rows.summary import Point
from benchmark.spec import CodecSpec
from support.rows.measured import row, sweep, table

PSNR, LPIPS = Metric.named("psnr"), Metric.named("lpips")
FD = Metric("fd", "FD", "lower", is_distribution=True)


def point(values, order=None):
    ids = np.arange(len(values)) if order is None else order
    edition = Edition.create(CodecSpec("jpeg", ()))
    columns, rates = dict.fromkeys(("psnr_db", "fd"), np.asarray(values, float)), np.ones(len(ids))
    return Point(edition, Setting("q", 1), 1.0, len(ids), 0, 0, (), {}, ids, rates, columns)


def test_a_jackknife_interval_of_a_mean_is_students():
    values = np.random.default_rng(1).gamma(2, size=24)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert jackknife_interval(values) == pytest.approx(tuple(expected), rel=1e-12)


def test_a_bootstrap_interval_agrees_with_scipys():
    values = np.random.default_rng(2).gamma(2, size=24)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    width = theirs.high - theirs.low
    pinned = bootstrap_interval(np.arange(24.0))  # published tables have these draws
    assert pinned == pytest.approx((8.665625, 14.334375), rel=1e-12)
    # a thousand draws know a 2.5 % quantile of a normal mean to about a tenth of its spread
    assert bootstrap_interval(values) == pytest.approx(tuple(theirs), abs=0.06 * width)


def test_draws_are_of_images_with_replacement_and_the_same_for_every_codec():
    draws = image_draws(24)
    assert draws.sum(axis=1) == pytest.approx(np.ones(len(draws)), abs=1e-12)
    assert draws.mean(axis=0) == pytest.approx(np.full(24, 1 / 24), rel=0.1)
    assert np.any(draws == 0)
    assert np.array_equal(draws, image_draws(24))
    values = np.random.default_rng(4).gamma(2, size=9)
    expected = [values.mean(), *(np.delete(values, index).mean() for index in range(9))]
    assert jackknife_weights(9) @ values == pytest.approx(expected)


@pytest.mark.parametrize("images", [2, 3, 9])
def test_a_studentised_mean_is_that_of_the_images_drawn(images):
    values = np.random.default_rng(8).gamma(2, size=images)
    centred, expected = values - values.mean(), []
    for counts in np.rint(images * image_draws(images)).astype(int):
        sample = np.repeat(centred, counts)
        variance = max(sample.var(), np.mean(centred**2) / 4)
        expected.append(sample.mean() / np.sqrt(variance / (images - 1)))
    columns = np.stack([centred, np.zeros(images)], axis=1)  # the second is of images all alike
    result = studentise(columns, image_draws(images))
    assert result[:, 0] == pytest.approx(np.array(expected), abs=1e-9)
    assert not result[:, 1].any()


def test_a_points_interval_is_of_the_finite_values_of_its_images_in_any_order():
    values = np.random.default_rng(4).gamma(2, size=9)
    order = np.random.default_rng(5).permutation(9)
    assert point_interval(point(values), PSNR) == point_interval(point(values[order], order), PSNR)
    expected = point_interval(point([30.0, 31.0, 33.0]), FD)
    assert point_interval(point([30.0, np.nan, 31.0, np.inf, 33.0]), FD) == expected
    assert point_interval(point([30.0]), PSNR) is None
    assert point_interval(point(values[:2]), PSNR) == bootstrap_interval(values[:2])
    assert point_interval(point(values), FD) == jackknife_interval(values)
    assert point_interval(point(values), replace(FD, has_image_values=False)) is None


def test_records_carry_both_ends_beside_the_mean():
    summary = summarise(table(sweep("jpeg")))
    records = records_with_intervals(summary, [PSNR])
    for record, of_point in zip(records, summary.points, strict=True):
        ends = point_interval(of_point, PSNR)
        assert (record["psnr_db_low"], record["psnr_db_high"]) == ends
        assert ends.low < record["psnr_db"] < ends.high


def test_percentiles_of_draws_are_moved_outwards_as_far_as_students_t_is_wider():
    """Hesterberg's adjusted level at n = 24: the quantile -2.0687 sqrt(24 / 23) of a normal."""
    draws = np.sort(np.random.default_rng(6).normal(size=100_001))
    level = stats.norm.cdf(-2.0687 * np.sqrt(24 / 23))
    assert level == pytest.approx(0.0173, abs=1e-4)
    expected = draws[round(level * 100_000)], draws[round((1 - level) * 100_000)]
    assert draws_interval(draws, np.full(24, np.nan)) == pytest.approx(expected, abs=1e-3)


def test_each_bound_of_a_draws_interval_is_the_wider_one():
    values = np.random.default_rng(7).exponential(size=24)
    student = jackknife_interval(values)
    narrow, skewed = np.full(1000, values.mean()), image_draws(24) @ values
    assert draws_interval(narrow, values) == pytest.approx(student)
    result = draws_interval(skewed, values)
    alone = draws_interval(skewed, np.full(24, np.nan))
    assert draws_interval(skewed, np.where(values == values.max(), np.nan, values)) == alone
    assert result == pytest.approx((min(student.low, alone.low), max(student.high, alone.high)))
    assert alone.high > student.high  # of skewed values


def test_the_spread_over_seeds_is_that_of_the_means_over_images():
    def rows(variant, shift, images):
        return [row("draws", 10, image, variant=variant, psnr_db=30 + shift) for image in images]

    seeds = [*rows("", 0, "abc"), *rows("seed=1", 1, "abc"), *rows("seed=2", 5, "abc")]
    alone = rows("steps=9", 7, "abc")
    (result,) = draw_spreads(summarise(table([*seeds, *alone])), [PSNR])
    assert [result[name] for name in ("label", "draws", "over_draws")] == ["draws", 3, (30, 35)]
    assert result["mean"] == pytest.approx(32)
    assert result["over_images"] == pytest.approx((32, 32))
    (of_two,) = draw_spreads(summarise(table(seeds[:6])), [PSNR])
    assert (of_two["draws"], of_two["mean"]) == (2, pytest.approx(30.5))
    other_images = [*rows("", 0, "abc"), *rows("seed=1", 1, "ab")]
    assert draw_spreads(summarise(table(other_images)), [PSNR]) == []
