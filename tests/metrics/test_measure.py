"""Metrics as figures draw them: places on an axis, qualities and back, what is compared."""

import math

import pytest

from benchmark.metrics.metric import Metric, overview_columns


@pytest.mark.parametrize(("scale", "value", "place", "quality"), [
    ("linear", 30.25, 30.25, 30.25), ("linear", -2.0, -2.0, -2.0),
    ("saturating", 0.9, 10.0, 10.0),
    ("saturating", -1.0, -3.0102999566398120, -3.0102999566398120),
    ("decades", 100.0, 100.0, 2.0), ("decades", 1.0, 1.0, 0.0), ("decades", 0.001, 0.001, -3.0),
])  # fmt: skip
@pytest.mark.parametrize(("better", "sign"), [("higher", 1), ("lower", -1)])
def test_a_value_has_a_place_on_the_axis_and_a_quality_and_comes_back(
    scale, value, place, quality, better, sign
):
    metric = Metric("x", "X", better, scale)
    assert metric.axis_position(value) == pytest.approx(place, rel=1e-12)
    assert metric.value_at(place) == pytest.approx(value, rel=1e-12)
    assert metric.quality(value) == pytest.approx(sign * quality, rel=1e-12)
    assert metric.value(sign * quality) == pytest.approx(value, rel=1e-12)
    assert metric.axis_label == ("X (dB)" if scale == "saturating" else "X")


def test_values_at_the_end_of_a_scale_have_no_finite_place():
    saturating = Metric("x", "X", "higher", "saturating")
    assert [saturating.axis_position(value) for value in (1.0, 1.5)] == [math.inf, math.inf]
    distance = Metric("x", "X", "lower", "decades")
    assert [math.isnan(distance.quality(value)) for value in (0.0, -1.0)] == [True, True]


def test_metrics_of_sets_are_of_realism_and_marked_below_fifty_images():
    psnr, fid, precision = map(Metric.named, ("psnr", "fid256", "precision256"))
    assert [entry.kind for entry in (psnr, fid, precision)] == ["distortion", "realism", "realism"]
    assert [entry.is_distribution for entry in (psnr, fid)] == [False, True]
    assert [metric.has_few_images(49) for metric in (psnr, fid)] == [False, True]
    assert not fid.has_few_images(50)
    assert [entry.has_image_values for entry in (psnr, fid, precision)] == [True, True, False]


def test_the_overview_has_of_each_choice_what_has_most_values_and_users_metrics():
    counts = {"ms_ssim": 1, "vmaf": 2, "fid256": 3, "no": 0, "mine": 1}
    assert overview_columns(counts) == ["ms_ssim", "mine"]
    assert overview_columns({"lpips_alex": 1, "psnr_db": 0}) == ["lpips_alex"]
    assert overview_columns({"lpips_alex": 2, "lpips_squeeze": 2}) == ["lpips_squeeze"]
