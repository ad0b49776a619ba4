"""MS-SSIM and SSIM against pytorch_msssim in float64."""

import numpy as np
import pytest
import torch
from pytorch_msssim import ms_ssim as multi_scale_peer
from pytorch_msssim import ssim as one_scale_peer

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics import ms_ssim as module
from benchmark.metrics.ms_ssim import HALF_WINDOW, MARGIN_PX, MSSSIM, SSIM, STRIP_VALUES, strips
from support.extension import extension
from support.metrics.cases import through_jpeg
from support.metrics.cases import value as present_value

TOLERANCE = 1e-6  # as stated in the docstring and in the protocol
BOTH = pytest.mark.parametrize("kind", [MSSSIM, SSIM])


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """Have loops.c compiled, where there is a compiler, if the installation did not."""
    with pytest.MonkeyPatch.context() as patch:
        if module.loops is None:
            folder = tmp_path_factory.mktemp("compiled")
            patch.setattr(module, "loops", extension("benchmark.metrics.loops", folder))
        yield


@pytest.mark.parametrize("shape", [(3, 176, 200), (3, 900, 1000), (3, 200, 70_000), (1, 11, 11)])
def test_strips_cover_every_row_of_every_channel_once(shape):
    channels, height, width = shape
    result = [(channel, row) for channel, rows in strips(shape) for row in range(height)[rows]]
    expected = [(c, row) for c in range(channels) for row in range(height - MARGIN_PX)]
    assert sorted(result) == expected
    assert all(rows.stop <= height - MARGIN_PX for _, rows in strips(shape))
    longest = max(rows.stop - rows.start for _, rows in strips(shape))
    assert longest == min(height - MARGIN_PX, max(STRIP_VALUES // width // 16, 1) * 16)


def truth(kind: type, *images: Pixels) -> float:
    planes = (torch.from_numpy(image.copy()).permute(2, 0, 1)[None].double() for image in images)
    return float((multi_scale_peer if kind is MSSSIM else one_scale_peer)(*planes, data_range=255))


def value(metric: MSSSIM | SSIM, source: Pixels, decoded: Pixels) -> float:
    """Return the value by loops.c, which that by scipy has to meet."""
    compiled = present_value(metric, source, decoded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "loops", None)
        result = present_value(metric, source, decoded)
    assert compiled == pytest.approx(result, abs=TOLERANCE / 4)
    return compiled


def with_noise(pixels: Pixels, deviation: float) -> Pixels:
    noise = np.random.default_rng(1).normal(0, deviation, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def flat(level: int, height: int = 200, width: int = 231) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


SIZES = [
    *((MSSSIM, *size) for size in ((161, 161), (161, 300), (162, 163), (186, 170), (255, 257))),
    *((SSIM, *size) for size in ((11, 11), (11, 300), (181, 203), (320, 171))),
]


@pytest.mark.parametrize(("kind", "height", "width", "quality"), [
    *((*size, quality) for size in SIZES for quality in (3, 30, 95)),
    *((MSSSIM, 320, 171, 30), (MSSSIM, 400, 600, 30), (SSIM, 400, 600, 30)),
])  # fmt: skip
def test_a_photograph_gets_the_value_of_pytorch_msssim(coffee, kind, height, width, quality):
    source = np.ascontiguousarray(coffee[-height:, :width])
    decoded = through_jpeg(source, quality)
    expected = truth(kind, source, decoded)
    assert value(kind(), source, decoded) == pytest.approx(expected, abs=TOLERANCE)


@BOTH
@pytest.mark.parametrize("level", [0, 3, 128, 250, 255])
@pytest.mark.parametrize("deviation", [0.3, 4, 20, 80])
def test_flat_areas_lose_no_digits(kind, level, deviation):
    source = flat(level)
    decoded = with_noise(source, deviation)
    expected = truth(kind, source, decoded)
    assert value(kind(), source, decoded) == pytest.approx(expected, abs=TOLERANCE)
    assert value(kind(), decoded, source) == pytest.approx(expected, abs=TOLERANCE)


@BOTH
@pytest.mark.parametrize("deviation", [0, 2])
@pytest.mark.parametrize("levels", [1, 11, 13, 30, 50, 80, 255])
def test_an_image_too_bright_by_any_number_of_levels_loses_no_digits(kind, levels, deviation):
    source, decoded = flat(0), with_noise(flat(levels), deviation)
    expected = truth(kind, source, decoded)
    assert value(kind(), source, decoded) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(("levels", "kind"), [(12, np.float32), (13, np.float64)])
def test_errors_of_more_than_twelve_levels_are_taken_in_float64(levels, kind, monkeypatch):
    kinds = set()
    monkeypatch.setattr(module, "dissimilarity", lambda error, *_: kinds.add(error.dtype) or 0.0)
    present_value(SSIM(), flat(100), flat(100 + levels))
    assert kinds == {np.dtype(kind)}


def test_structure_that_is_turned_round_counts_as_nothing_or_less(coffee):
    assert truth(MSSSIM, coffee, 255 - coffee) == 0
    assert value(MSSSIM(), coffee, 255 - coffee) == 0
    noise = np.random.default_rng(3).integers(78, 179, (60, 70, 3)).astype(np.uint8)
    result = value(SSIM(), noise, 255 - noise)
    assert result == pytest.approx(truth(SSIM, noise, 255 - noise), abs=TOLERANCE)
    assert result < -0.5


@BOTH
def test_the_path_through_torch_gets_the_same_value(kind, photo):
    decoded = through_jpeg(photo, 20)
    result = value(kind(device="cpu:0"), photo, decoded)
    assert result == pytest.approx(truth(kind, photo, decoded), abs=1e-12)
    assert result == pytest.approx(value(kind(), photo, decoded), abs=TOLERANCE)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])  # which counts as another device
@pytest.mark.parametrize(("kind", "min_side"), [(MSSSIM, 161), (SSIM, 11)])
def test_a_small_image_has_a_reason_and_a_cropped_one_is_refused(coffee, kind, min_side, device):
    metric = kind(device)
    for shape in ((min_side - 1, 400, 3), (400, min_side - 1, 3)):
        with pytest.raises(NotMeasurable, match=f"{min_side} px .* {min_side - 1}$"):
            metric.prepare(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"shapes differ|same dimensions"):
        metric.compare(metric.prepare(coffee), coffee[:-1])


@BOTH
def test_a_view_of_pixels_is_compared_like_a_copy(kind, coffee):
    source, decoded = coffee[::-1, ::-2], through_jpeg(coffee, 30)[::-1, ::-2]
    assert value(kind(), source, decoded) == value(kind(), source.copy(), decoded.copy())


def test_planes_that_do_not_fit_together_are_refused():
    loops = module.loops or pytest.skip("loops.c is not compiled")
    plane, inner, misfit = (np.zeros(shape, np.float32) for shape in ((12, 13), (2, 3), (2, 4)))
    loops.dissimilarity(plane, plane, inner, inner, True, 13)
    for wrong in ((inner, plane), (plane, inner), (plane, plane[:-1])):
        with pytest.raises(ValueError, match="shapes"):
            loops.dissimilarity(*wrong, inner, inner, True, 13)
    for planes in ((inner, misfit), (misfit, inner)):
        with pytest.raises(ValueError, match="shapes"):
            loops.moments(plane, *planes, 13)
    for width in (-1, 0, 10, 14, 156):
        with pytest.raises(ValueError, match="shapes"):
            loops.moments(plane, inner, inner.copy(), width)
    with pytest.raises(ValueError, match="contiguous"):
        loops.moments(plane.T, inner, inner.copy(), 12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (12, 13), (13, 12), (40, 66), (41, 67)])
def test_both_forms_make_the_same_planes_and_halves_of_them(shape):
    loops = module.loops or pytest.skip("loops.c is not compiled")
    first_image, second_image = np.random.default_rng(5).integers(0, 256, (2, *shape, 3), np.uint8)
    halved = [np.empty((3, -(-shape[0] // 2), -(-shape[1] // 2)), np.float32) for _ in "ab"]
    for subtrahend in (None, second_image):
        planes = module.subtract(first_image, subtrahend)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "loops", None)
            np.testing.assert_array_equal(planes, module.subtract(first_image, subtrahend))
            module.halve(planes, halved[0])
        module.halve(planes, halved[1])
        np.testing.assert_array_equal(*halved)
    for wrong in (planes[0, 1:], planes[0, :, 1:].copy(), planes[:2]):
        with pytest.raises(ValueError, match="shapes"):
            loops.halve(wrong, np.empty((3, 40, 40), np.float32), shape[1])
    invalid_pairs = (first_image[1:], second_image), (first_image, second_image[1:])
    for images in (*invalid_pairs, (first_image.reshape(-1)[:-1], None)):
        with pytest.raises(ValueError, match="shapes"):
            loops.subtract(*images, planes)


def test_the_window_is_a_gaussian_of_deviation_one_and_a_half():
    exact = np.exp(-(np.arange(-5, 1) ** 2) / (2 * 1.5**2))
    exact /= 2 * exact.sum() - exact[-1]
    np.testing.assert_allclose(HALF_WINDOW, exact, rtol=2**-21)  # a few roundings of float32
