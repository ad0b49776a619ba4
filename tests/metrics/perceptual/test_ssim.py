"""SSIM against pytorch_msssim in float64 and against scikit-image."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_msssim import ssim as peer
from skimage.metrics import structural_similarity

from benchmark.errors import NotMeasurable
from benchmark.metrics.perceptual.ms_ssim import SSIM


def ssim(reference, decoded):
    metric = SSIM()
    return metric.compare(metric.prepare(reference), decoded)


def truth(reference, decoded):
    planes = (
        torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float64))
        for image in (reference, decoded)
    )
    return float(peer(*planes, data_range=255))


def through_jpeg(pixels, quality):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


@pytest.mark.parametrize("quality", [1, 30, 95])
@pytest.mark.parametrize(("height", "width"), [(11, 11), (11, 300), (181, 203), (400, 600)])
def test_a_photograph_gets_the_value_of_pytorch_msssim(coffee, height, width, quality):
    source = np.ascontiguousarray(coffee[:height, :width])
    decoded = through_jpeg(source, quality)
    assert ssim(source, decoded) == pytest.approx(truth(source, decoded), abs=1e-6)


def test_scikit_image_gives_the_same_mean_of_the_windows_that_fit(photo):
    decoded = through_jpeg(photo, 20)
    theirs = [
        structural_similarity(
            photo[..., channel].astype(float), decoded[..., channel].astype(float),
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        )
        for channel in range(3)
    ]  # fmt: skip
    assert ssim(photo, decoded) == pytest.approx(np.mean(theirs), abs=1e-5)


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("step", [1, 11, 13, 255])
def test_flat_images_apart_by_any_number_of_levels_lose_no_digits(level, step):
    source = np.full((40, 50, 3), level, np.uint8)
    decoded = np.full_like(source, abs(level - step))
    assert ssim(source, decoded) == pytest.approx(truth(source, decoded), abs=1e-6)


def test_structure_that_is_turned_round_is_below_zero(coffee):
    noise = np.random.default_rng(3).integers(78, 179, (60, 70, 3)).astype(np.uint8)
    assert ssim(noise, 255 - noise) == pytest.approx(truth(noise, 255 - noise), abs=1e-6)
    assert ssim(noise, 255 - noise) < -0.5


def test_an_image_smaller_than_the_window_has_a_reason(coffee):
    with pytest.raises(NotMeasurable, match="SSIM needs at least 11 px on the shorter side, this"):
        SSIM().prepare(coffee[:10])
