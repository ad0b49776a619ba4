"""PSNR of RGB and of luma against textbook values and other computations."""

import math
from fractions import Fraction

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics import psnr as module
from benchmark.metrics.psnr import LumaPSNR, WeightedPSNR, psnr


def luma_psnr(reference: Pixels, decoded: Pixels) -> float:
    metric = LumaPSNR()
    return metric.compare(metric.prepare(reference), decoded)


BOTH = pytest.mark.parametrize("metric", [psnr, luma_psnr])


@pytest.fixture(scope="module")
def noisy(photo):
    noise = np.random.default_rng(1).normal(0, 6, photo.shape)
    return np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)


@BOTH
def test_error_neither_wraps_around_at_zero_nor_overflows(metric):
    black, white = np.zeros((300, 300, 3), np.uint8), np.full((300, 300, 3), 255, np.uint8)
    assert metric(black, white) == metric(white, black) == 0


def test_psnr_equals_the_float64_formula_and_luma_psnr_exact_rational_arithmetic(photo, noisy):
    assert psnr(photo, noisy) == pytest.approx(peak_signal_noise_ratio(photo, noisy), rel=1e-12)
    reference, decoded = photo[:9, :11], noisy[:9, :11]
    weights = [Fraction(w, 10_000) for w in (2126, 7152, 722)]
    squares = [
        sum(w * (int(a) - int(b)) for w, a, b in zip(weights, x, y, strict=True)) ** 2
        for x, y in zip(reference.reshape(-1, 3), decoded.reshape(-1, 3), strict=True)
    ]
    expected = 10 * math.log10(255**2 / (sum(squares) / len(squares)))
    assert luma_psnr(reference, decoded) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("levels", [(0, 256), (255, 256), (100, 103)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (300, 401)])
def test_numpy_and_the_compiled_loops_give_the_same_bits(shape, levels, monkeypatch):
    loops = module.loops or pytest.skip("loops.c is not compiled")
    source = np.random.default_rng(2).integers(0, 2, (*shape, 3)).astype(np.uint8)
    decoded = np.random.default_rng(3).integers(*levels, source.shape).astype(np.uint8)
    compiled = [psnr(source, decoded), luma_psnr(source, decoded)]
    monkeypatch.setattr(module, "loops", None)
    assert compiled == [psnr(source, decoded), luma_psnr(decoded, source)]
    for loop in (loops.squared_error, loops.squared_luma_error):
        with pytest.raises(ValueError, match="shapes"):
            loop(source, decoded[1:])


def planes_by_definition(pixels: Pixels) -> list[np.ndarray]:
    result = []
    for red, green, blue in pixels.reshape(-1, 3).tolist():
        luma = (2126 * Fraction(red) + 7152 * green + 722 * blue) / 10_000
        blueness = 128 + (blue - luma) / (2 - 2 * Fraction(722, 10_000))
        redness = 128 + (red - luma) / (2 - 2 * Fraction(2126, 10_000))
        result.append([min(round(value), 255) for value in (luma, blueness, redness)])
    return list(np.array(result).T)


def test_the_weighted_psnr_of_ycbcr_is_the_mean_of_8_bit_planes_6_to_1_to_1(photo, noisy):
    metric, crop = WeightedPSNR(), (slice(40, 70), slice(20, 60))
    source, decoded = np.ascontiguousarray(photo[crop]), np.ascontiguousarray(noisy[crop])
    planes = zip(planes_by_definition(source), planes_by_definition(decoded), strict=True)
    decibels = [peak_signal_noise_ratio(*pair, data_range=255) for pair in planes]
    expected = (6 * decibels[0] + decibels[1] + decibels[2]) / 8
    assert metric.compare(metric.prepare(source), decoded) == pytest.approx(expected, rel=1e-12)


def test_a_plane_that_alone_is_equal_leaves_no_weighted_psnr(photo):
    metric, grey = WeightedPSNR(), np.repeat(photo[..., :1], 3, axis=2)
    assert metric.compare(metric.prepare(grey), grey.copy()) == math.inf
    darker = np.maximum(grey, 3) - np.uint8(3)
    with pytest.raises(NotMeasurable, match="Cb and Cr"):
        metric.compare(metric.prepare(grey), darker)
