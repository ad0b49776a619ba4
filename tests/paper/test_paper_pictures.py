"""Distortions of one error, rates near all codecs, the part of a picture that shows them."""

import numpy as np
import pytest

from benchmark.datasets.image import read_image
from benchmark.datasets.sample import open_sample
from benchmark.metrics.psnr import mean_squared_error, psnr
from benchmark.paper.crops import CropWindow, busiest, matched_rate
from benchmark.paper.distortions import equal_distortions


@pytest.fixture(scope="module")
def photograph():
    path = next(one.path for one in open_sample().images if one.name == "chelsea.png")
    return read_image(path).pixels[60:220, 60:260]


@pytest.mark.parametrize("psnr_db", [20.0, 24.0, 30.0])
def test_three_distortions_have_exactly_one_mean_squared_error(photograph, psnr_db):
    found = equal_distortions(photograph, psnr_db)
    assert [one.name for one in found] == ["Less contrast", "Blur", "Noise"]
    errors = {mean_squared_error(photograph, one.pixels) for one in found}
    assert len(errors) == 1
    differences = [one.pixels.astype(float) - photograph for one in found]
    assert len({float((difference**2).sum()) for difference in differences}) == 1
    assert psnr(photograph, found[0].pixels) == pytest.approx(psnr_db, abs=1e-4)


def test_distortions_are_what_they_are_called(photograph):
    contrast, blur, noise = (
        one.pixels.astype(float) for one in equal_distortions(photograph, 26.0)
    )
    signal = photograph.astype(float)

    def detail(pixels):
        return np.abs(np.diff(pixels, axis=1)).mean()

    assert contrast.std() < signal.std()
    for channel in range(3):  # towards the mean of each, so all of it stays in place
        both = contrast[..., channel].ravel(), signal[..., channel].ravel()
        assert np.corrcoef(both)[0, 1] > 0.999
    assert detail(blur) < 0.6 * detail(signal)
    assert detail(noise) > 1.5 * detail(signal)
    again = equal_distortions(photograph, 26.0)
    assert np.array_equal(again[2].pixels, noise)


def test_a_photograph_that_cannot_be_changed_by_as_much_is_refused():
    with pytest.raises(ValueError, match="cannot change this photograph"):
        equal_distortions(np.full((16, 16, 3), 128, np.uint8), 24.0)


def test_the_rate_is_the_lowest_that_all_settings_are_near():
    assert matched_rate({"a": [0.1, 0.3], "b": [0.2, 0.31], "c": [0.25, 0.29]}) == 0.29
    assert matched_rate({"a": [0.1, 0.3], "b": [0.101, 0.31]}) == 0.1
    # nothing near: the least far apart
    assert matched_rate({"a": [0.1, 0.5], "b": [0.3]}) == 0.3
    assert matched_rate({"a": [2.0], "b": [4.0]}) == 2.0


def test_the_window_is_where_the_detail_is():
    picture = np.full((96, 128, 3), 90, np.uint8)
    picture[40:72, 64:96] = np.random.default_rng(1).integers(0, 255, (32, 32, 3))
    window = busiest(picture, 32)
    assert window == CropWindow(64, 40, 32)
    assert np.array_equal(window.of(picture), picture[40:72, 64:96])
    assert busiest(picture, 500).side == 96
