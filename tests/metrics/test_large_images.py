"""Large images, computed in strips and bands, get the value of whole planes to the last digit."""

import numpy as np
import pytest

from benchmark.metrics import metric as boundary
from benchmark.metrics import ms_ssim
from benchmark.metrics.ms_ssim import MSSSIM, SSIM
from benchmark.metrics.psnr import PSNR, LumaPSNR, WeightedPSNR
from support.files.noise import effect_noise
from support.quick import quick


@pytest.fixture
def small_bands(monkeypatch):
    """Take every image for a large one, in bands of few rows that divide no height here."""

    def use(band_pixels, kept_pixels=1000):
        monkeypatch.setattr(boundary, "MAX_PIXELS_WITHOUT_BANDS", 1000)
        monkeypatch.setattr(ms_ssim, "KEPT_PIXELS", kept_pixels)
        monkeypatch.setattr(boundary, "BAND_PIXELS", band_pixels)

    return use


def pictures(height, width, deviation):
    grey = np.asarray(effect_noise((width // 4, height // 4), 60).resize((width, height)))
    source = np.stack([grey, np.roll(grey, 3, 0), 255 - grey], -1)
    noise = np.random.default_rng(1).normal(0, deviation, source.shape)
    return source, np.clip(np.rint(source + noise), 0, 255).astype(np.uint8)


def test_an_image_is_large_by_its_pixels_whatever_its_shape():
    size = boundary.MAX_PIXELS_WITHOUT_BANDS
    assert [boundary.is_large(shape) for shape in ((1, size, 3), (size, 1, 3))] == [False, False]
    assert [boundary.is_large((4096, width, 3)) for width in (4096, 4097)] == [False, True]


@pytest.mark.parametrize("deviation", [3, 60])  # above `SAFE_RMS`, errors are in float64
@pytest.mark.parametrize(
    ("height", "width"), quick([(163, 161), (201, 330), (400, 174)], (163, 161))
)
@pytest.mark.parametrize("kind", [PSNR, LumaPSNR, WeightedPSNR, MSSSIM, SSIM])
def test_bands_and_strips_change_no_digit(kind, height, width, deviation, small_bands):
    source, decoded = pictures(height, width, deviation)
    expected = kind().compare(kind().prepare(source), decoded)
    cases = (7 * width, 1000), (64 * width, 1000), (1, 1000), (7 * width, height * width)
    for band_pixels, kept_pixels in cases:
        small_bands(band_pixels, kept_pixels)
        metric = kind()
        prepared = metric.prepare(source)
        assert metric.compare(prepared, decoded) == expected
        if kind in (MSSSIM, SSIM):
            assert (prepared.moments is None) == (kept_pixels == 1000)
            elsewhere = kind("cpu:0")
            assert elsewhere.compare(elsewhere.prepare(source), decoded) == expected


@pytest.mark.parametrize("kind", [PSNR, LumaPSNR, WeightedPSNR, MSSSIM, SSIM])
def test_a_large_source_keeps_little_in_memory(kind, small_bands):
    """At most the planes of MS-SSIM's other scales, 4 bytes per pixel, beside the pixels."""
    source, _ = pictures(400, 600, 3)
    small_bands(600 * 50)
    prepared = kind().prepare(source)
    arrays = prepared.planes if isinstance(prepared, tuple) else [prepared]
    new_arrays = [array for array in arrays if not np.shares_memory(array, source)]
    assert sum(array.nbytes for array in new_arrays) <= 4.1 * source.shape[0] * source.shape[1]
