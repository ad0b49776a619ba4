"""Patches against a mask that is painted, and the numbers of them that the field reports."""

import numpy as np
import pytest
from PIL import Image

from benchmark.metrics.feature_spaces import PatchSpace, cut_patches, patch_corners
from conftest import SHARED

KODAK = SHARED / "data" / "kodak"
SIZES = (
    *((256, 256), (255, 256), (384, 383), (384, 384), (512, 768), (768, 512), (639, 640)),
    *((640, 640), (1365, 2048), (3000, 300), (1, 1)),
)
each_size = pytest.mark.parametrize(("height", "width"), SIZES)


patch_count = PatchSpace.patch_count


def numbered(height: int, width: int) -> np.ndarray:
    """Return an image whose pixels all differ."""
    return np.arange(height * width, dtype="<u4").view(np.uint8).reshape(height, width, 4)[:, :, :3]


@each_size
def test_each_grid_covers_what_whole_patches_can_cover_once(height, width):
    count = patch_count(height, width)
    corners = patch_corners(height, width)
    rows, columns = height // 256, width // 256
    for grid, first in ((corners[: rows * columns], 0), (corners[rows * columns :], 128)):
        painted = np.zeros((height, width), int)
        for row, column in grid:
            painted[row : row + 256, column : column + 256] += 1
        covered = np.zeros((height, width), int)
        bottom, right = (first + (side - first) // 256 * 256 for side in (height, width))
        covered[first : max(bottom, 0), first : max(right, 0)] = 1
        assert np.array_equal(painted, covered)
    assert count == len(corners)


@each_size
def test_patches_are_the_images_own_pixels_row_by_row_the_shifted_grid_last(height, width):
    pixels = numbered(height, width)
    expected = []
    for shifted in (pixels, pixels[128:, 128:]):
        rows, columns = shifted.shape[0] // 256, shifted.shape[1] // 256
        whole = shifted[: rows * 256, : columns * 256]
        if rows and columns:
            split = whole.reshape(rows, 256, columns, 256, 3).swapaxes(1, 2)
            expected += list(split.reshape(-1, 256, 256, 3))
    patches = cut_patches(pixels)
    assert len(patches) == len(expected)
    assert all(np.array_equal(*pair) for pair in zip(patches, expected, strict=True))


def test_an_image_of_half_a_patch_more_has_a_shifted_one():
    assert patch_count(384, 384) == 2
    assert patch_count(383, 384) == patch_count(384, 383) == 1


@pytest.mark.skipif(not KODAK.exists(), reason="needs ../shared/data/kodak")
def test_kodak_has_192_patches():
    counts = []
    for path in sorted(KODAK.glob("kodim*.png")):
        with Image.open(path) as image:
            counts.append(patch_count(image.height, image.width))
    assert counts == [8] * 24
    assert sum(counts) == 192
