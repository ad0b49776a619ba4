"""NIQE against the published formulas, block by block, and against values of other programs."""

import math

import numpy as np
import pytest
from scipy.io import savemat
from scipy.special import gamma

from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics import no_reference as module
from benchmark.metrics.no_reference import MODEL_FILE, NIQE, block_features
from benchmark.system.digest import file_sha256
from conftest import SHARED


@pytest.fixture
def drawn_model(tmp_path, monkeypatch):
    """A model that is nobody's, in the format of the release."""
    path = tmp_path / MODEL_FILE
    savemat(
        path, {"mu_prisparam": np.linspace(0.5, 1.5, 36)[None], "cov_prisparam": np.eye(36) / 10}
    )
    monkeypatch.setattr(module, "SHA256", file_sha256(path))
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path))


def niqe(pixels):
    metric = NIQE()
    return metric.compare(metric.prepare(pixels), pixels)


def grey(pixels):
    """Grey levels as MATLAB's rgb2gray gives them."""
    to_rgb = np.array([[1, 0.956, 0.621], [1, -0.272, -0.647], [1, -1.106, 1.703]])
    return np.rint(pixels.astype(float) @ np.linalg.inv(to_rgb)[0])


def window():
    distance = np.hypot(*np.mgrid[-3:4, -3:4])
    result = np.exp(-(distance**2) / (2 * (7 / 6) ** 2))
    return result / result.sum()


def normalised(image):
    """Mean-subtracted, contrast-normalised coefficients, pixel by pixel."""
    padded, weights = np.pad(image, 3, mode="edge"), window()
    result = np.empty_like(image)
    for row, column in np.ndindex(image.shape):
        area = padded[row : row + 7, column : column + 7]
        mean = (weights * area).sum()
        variance = (weights * area**2).sum() - mean**2
        result[row, column] = (image[row, column] - mean) / (math.sqrt(abs(variance)) + 1)
    return result


def fit(values):
    """Shape and scales of the asymmetric generalised Gaussian, by trying all shapes."""
    left = math.sqrt(np.mean(values[values < 0] ** 2))
    right = math.sqrt(np.mean(values[values > 0] ** 2))
    skew = left / right
    moment_ratio = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
    moment_ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shapes = 0.2 + 0.001 * np.arange(9801)
    ratios = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))
    shape = shapes[np.argmin((ratios - moment_ratio) ** 2)]
    scale = math.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def statistics(block):
    shape, left, right = fit(block.ravel())
    result = [shape, (left + right) / 2]
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        turned = np.roll(np.roll(block, down, axis=0), across, axis=1)
        shape, left, right = fit((block * turned).ravel())
        result += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return result


def test_basicsr_gives_the_same_value_for_a_drawn_model(drawn_model, coffee):
    # niqe() of BasicSR 1.4.2 on grey levels
    assert niqe(coffee) == pytest.approx(23.325883859149158, rel=1e-5)


def test_basicsr_gives_the_same_value_for_the_model_of_the_release(monkeypatch, coffee):
    monkeypatch.setenv("BENCH_WEIGHTS", str(SHARED / "data" / "weights"))
    try:
        assert niqe(coffee) == pytest.approx(4.0584654, rel=1e-5)  # of BasicSR 1.4.2
    except Unavailable:
        pytest.skip("needs ../shared with NIQE's model")


@pytest.mark.parametrize("level", [1, 42, 255])
def test_pixels_of_flat_areas_count_to_neither_side(coffee, level):
    sky = coffee[100:196, 100:292].copy()
    sky[:, :60] = level
    coefficients = normalised(grey(sky))
    coefficients[np.abs(coefficients) < 1e-9] = 0
    expected = [statistics(coefficients[:, :96]), statistics(coefficients[:, 96:])]
    np.testing.assert_allclose(block_features(sky)[:, :18], expected, rtol=1e-6, atol=1e-9)


def test_an_image_without_texture_or_of_one_block_has_a_reason(drawn_model, coffee):
    with pytest.raises(NotMeasurable, match="blocks"):
        niqe(np.full((192, 192, 3), 200, np.uint8))
    with pytest.raises(NotMeasurable, match="191 x 191 px"):
        niqe(coffee[:191, :191])
    assert niqe(coffee[:96, :192]) > 0
    partly_flat = coffee[:96, :288].copy()
    partly_flat[:, :96] = 9
    assert np.isfinite(niqe(partly_flat))
    with pytest.raises(ValueError, match="shapes"):
        NIQE().compare((96, 192, 3), coffee[:96, :193])


def test_without_the_model_of_the_release_it_is_unavailable(drawn_model, monkeypatch):
    monkeypatch.setattr(module, "SHA256", "fa2aa4d1" * 8)
    with pytest.raises(Unavailable, match="NIQE"):
        NIQE()
    monkeypatch.delenv("BENCH_WEIGHTS")
    with pytest.raises(Unavailable, match="bench fetch niqe"):
        NIQE()


def test_a_flat_block_and_a_tail_beyond_those_of_the_shapes_have_the_first_shape_or_the_last():
    flat = np.full((192, 192, 3), 90, np.uint8)
    assert block_features(flat)[:, 0] == pytest.approx([0.2] * 4, abs=0)
    heavy, tailless = np.zeros((1, 96, 96)), np.resize([1.0, -1.0], (1, 96, 96))
    heavy[0, 0, :2] = 1, -1
    shapes = [module._asymmetric_gaussian(block)[0] for block in (heavy, tailless)]
    assert shapes == [pytest.approx([0.2]), pytest.approx([10.0])]
