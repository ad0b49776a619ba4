"""MS-SSIM against pytorch_msssim in float64, and its blur against scipy's."""

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_msssim import ms_ssim as peer
from scipy.ndimage import correlate1d

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.perceptual.ms_ssim import MSSSIM
from benchmark.metrics.perceptual.similarity import HALF_WINDOW, MARGIN_PX, blur, strips

TOLERANCE = 1e-6  # as stated in the docstring and in the protocol


@pytest.mark.parametrize("shape", [(3, 176, 200), (3, 900, 1000), (3, 200, 70_000), (1, 11, 11)])
def test_strips_cover_every_row_of_every_channel_once(shape):
    channels, height, _ = shape
    found = [(channel, row) for channel, rows in strips(shape) for row in range(height)[rows]]
    assert found == [(c, row) for c in range(channels) for row in range(height - MARGIN_PX)]
    assert all(rows.stop <= height - MARGIN_PX for _, rows in strips(shape))


def ms_ssim(reference: Pixels, decoded: Pixels) -> float:
    metric = MSSSIM()
    return metric.compare(metric.prepare(reference), decoded)


def truth(reference: Pixels, decoded: Pixels) -> float:
    planes = (
        torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float64))
        for image in (reference, decoded)
    )
    return float(peer(*planes, data_range=255))


def through_jpeg(pixels: Pixels, quality: int) -> Pixels:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def with_noise(pixels: Pixels, deviation: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, deviation, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def flat(level: int, height: int = 200, width: int = 231) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


@pytest.mark.parametrize("quality", [3, 30, 95])
@pytest.mark.parametrize(
    ("height", "width"),
    [(161, 161), (161, 300), (162, 163), (186, 170), (255, 257), (320, 171), (400, 600)],
)
def test_a_photograph_gets_the_value_of_pytorch_msssim(coffee, height, width, quality):
    source = np.ascontiguousarray(coffee[-height:, :width])
    decoded = through_jpeg(source, quality)
    assert ms_ssim(source, decoded) == pytest.approx(truth(source, decoded), abs=TOLERANCE)


@pytest.mark.parametrize("level", [0, 3, 128, 250, 255])
@pytest.mark.parametrize("deviation", [0.3, 4, 20, 80])
def test_flat_areas_lose_no_digits(level, deviation):
    source = flat(level)
    decoded = with_noise(source, deviation)
    expected = truth(source, decoded)
    assert ms_ssim(source, decoded) == pytest.approx(expected, abs=TOLERANCE)
    assert ms_ssim(decoded, source) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("deviation", [0, 2])
@pytest.mark.parametrize("levels", [11, 13, 30, 50, 80, 255])
def test_an_image_too_bright_by_any_number_of_levels_loses_no_digits(levels, deviation):
    source, decoded = flat(0), with_noise(flat(levels), deviation)
    assert ms_ssim(source, decoded) == pytest.approx(truth(source, decoded), abs=TOLERANCE)


def test_structure_that_is_turned_round_counts_as_nothing(coffee):
    assert truth(coffee, 255 - coffee) == 0
    assert ms_ssim(coffee, 255 - coffee) == 0


def test_identical_images_have_exactly_one(photo):
    assert ms_ssim(photo, photo.copy()) == 1


def test_noise_without_a_photograph_gets_the_value_of_pytorch_msssim():
    source, decoded = np.random.default_rng(2).integers(0, 256, (2, 161, 211, 3), np.uint8)
    assert ms_ssim(source, decoded) == pytest.approx(truth(source, decoded), abs=TOLERANCE)


def test_a_source_is_prepared_once_for_many_images(photo):
    metric = MSSSIM(device="cpu")
    prepared = metric.prepare(photo)
    for decoded in (through_jpeg(photo, 10), with_noise(photo, 60), photo, through_jpeg(photo, 10)):
        assert metric.compare(prepared, decoded) == ms_ssim(photo, decoded)


def test_the_path_through_torch_gets_the_same_value(photo):
    decoded = through_jpeg(photo, 20)
    through_torch = MSSSIM(device="cpu:0")
    value = through_torch.compare(through_torch.prepare(photo), decoded)
    assert value == pytest.approx(truth(photo, decoded), abs=1e-12)
    assert value == pytest.approx(ms_ssim(photo, decoded), abs=TOLERANCE)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("shape", [(160, 400, 3), (400, 160, 3)])
def test_an_image_below_161_px_has_no_value_and_a_reason(device, shape):
    reason = "at least 161 px on the shorter side, this image has 160"
    with pytest.raises(NotMeasurable, match=reason):
        MSSSIM(device=device).prepare(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_cropped_reconstruction_is_refused(device, coffee):
    metric = MSSSIM(device=device)
    with pytest.raises(ValueError, match=r"shapes differ|same dimensions"):
        metric.compare(metric.prepare(coffee), coffee[:-1])


def test_a_view_of_pixels_is_compared_like_a_copy(coffee):
    source, decoded = coffee[::-1, ::-2], through_jpeg(coffee, 30)[::-1, ::-2]
    assert ms_ssim(source, decoded) == ms_ssim(source.copy(), decoded.copy())


@pytest.mark.parametrize("height", [11, 12, 26, 27, 41, 42, 43])
@pytest.mark.parametrize("width", [11, 26, 27, 42, 58])
def test_the_blur_is_a_gaussian_wherever_its_window_fits(height, width):
    planes = np.random.default_rng(3).uniform(0, 255, (2, height, width))
    window = np.array([*HALF_WINDOW, *HALF_WINDOW[-2::-1]], np.float32).astype(np.float64)
    expected = correlate1d(correlate1d(planes, window, axis=1), window, axis=2)[:, 5:-5, 5:-5]
    np.testing.assert_allclose(blur(planes), expected, rtol=1e-12)


def test_the_window_is_a_gaussian_of_deviation_one_and_a_half():
    exact = np.exp(-(np.arange(-5, 1) ** 2) / (2 * 1.5**2))
    exact /= 2 * exact.sum() - exact[-1]
    np.testing.assert_allclose(HALF_WINDOW, exact, rtol=2**-21)  # a few roundings of float32


def test_the_cpu_needs_no_torch_and_no_scipy():
    program = """
import sys
import numpy as np
from benchmark.metrics import psnr
from benchmark.metrics.perceptual import lpips
from benchmark.metrics.perceptual.ms_ssim import MSSSIM
metric = MSSSIM()
metric.compare(metric.prepare(np.zeros((161, 161, 3), np.uint8)), np.ones((161, 161, 3), np.uint8))
print(sorted({"torch", "scipy", "pytorch_msssim", "lpips"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
