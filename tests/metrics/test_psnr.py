"""PSNR of RGB and of luma against textbook values and other computations."""

import math
from fractions import Fraction

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from benchmark.codec import Pixels
from benchmark.metrics.psnr import PSNR, LumaPSNR, luma_psnr, psnr

BOTH = pytest.mark.parametrize("metric", [psnr, luma_psnr])


@pytest.fixture(scope="module")
def noisy(photo: Pixels) -> Pixels:
    noise = np.random.default_rng(1).normal(0, 6, photo.shape)
    return np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)


@BOTH
def test_identical_images_have_infinite_psnr(metric, photo):
    assert metric(photo, photo.copy()) == math.inf


@BOTH
def test_known_error_gives_the_textbook_value(metric, photo):
    off_by_two = np.where(photo < 250, photo + 2, photo - 2).astype(np.uint8)
    grey, grey_off_by_two = (np.repeat(image[..., :1], 3, axis=2) for image in (photo, off_by_two))
    assert metric(grey, grey_off_by_two) == pytest.approx(20 * math.log10(255 / 2), abs=1e-12)


@BOTH
def test_error_neither_wraps_around_at_zero_nor_overflows(metric):
    black, white = np.zeros((300, 300, 3), np.uint8), np.full((300, 300, 3), 255, np.uint8)
    assert metric(black, white) == metric(white, black) == 0


def test_psnr_equals_the_float64_formula(photo, noisy):
    assert psnr(photo, noisy) == pytest.approx(peak_signal_noise_ratio(photo, noisy), rel=1e-12)


def test_luma_psnr_equals_exact_rational_arithmetic(photo, noisy):
    reference, decoded = photo[:9, :11], noisy[:9, :11]
    weights = [Fraction(w, 10_000) for w in (2126, 7152, 722)]
    squares = [
        sum(w * (int(a) - int(b)) for w, a, b in zip(weights, x, y, strict=True)) ** 2
        for x, y in zip(reference.reshape(-1, 3), decoded.reshape(-1, 3), strict=True)
    ]
    expected = 10 * math.log10(255**2 / (sum(squares) / len(squares)))
    assert luma_psnr(reference, decoded) == pytest.approx(expected, rel=1e-12)


def test_an_error_in_green_costs_more_luma_than_one_in_red_and_that_more_than_one_in_blue():
    black = np.zeros((8, 8, 3), np.uint8)
    red, green, blue = (np.uint8(10 * np.eye(3)[channel]) + black for channel in range(3))
    assert luma_psnr(black, red) == pytest.approx(20 * math.log10(255 / 2.126), abs=1e-12)
    assert luma_psnr(black, green) == pytest.approx(20 * math.log10(255 / 7.152), abs=1e-12)
    assert luma_psnr(black, blue) == pytest.approx(20 * math.log10(255 / 0.722), abs=1e-12)
    assert psnr(black, red) == psnr(black, green) == psnr(black, blue)


@BOTH
def test_a_view_of_pixels_is_compared_like_a_copy(metric, photo, noisy):
    turned = metric(photo[::-1, ::-2], noisy[::-1, ::-2])
    assert turned == metric(photo[::-1, ::-2].copy(), noisy[::-1, ::-2].copy())


@BOTH
def test_a_cropped_reconstruction_is_refused(metric, photo):
    with pytest.raises(ValueError, match="shapes differ"):
        metric(photo, photo[:-1])


@BOTH
def test_a_turned_reconstruction_of_equal_size_is_refused(metric, photo):
    with pytest.raises(ValueError, match="shapes differ"):
        metric(photo, photo.transpose(1, 0, 2))


@pytest.mark.parametrize(("kind", "function"), [(PSNR, psnr), (LumaPSNR, luma_psnr)])
def test_a_source_is_prepared_once_for_many_images(kind, function, photo, noisy):
    metric = kind(device="cpu")
    prepared = metric.prepare(photo)
    for decoded in (noisy, photo, 255 - photo):
        assert metric.compare(prepared, decoded) == function(photo, decoded)
