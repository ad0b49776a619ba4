"""An image to its 256 px patches: a grid, then the same grid half a patch further on.

As HiFiC cuts images for FID/256 (Mentzer, Toderici, Tschannen, Agustsson, "High-Fidelity Generative
Image Compression" (2020)), and those who compare with it: nothing overlaps within a grid, and what
remains at the right and at the bottom is left out.
"""

from typing import NamedTuple

from benchmark.codec import Pixels

SIDE_PX = 256
SHIFT_PX = 128


class Corner(NamedTuple):
    """Of a patch, its upper left pixel."""

    row: int
    column: int


def patch_corners(height: int, width: int) -> list[Corner]:
    """Where an image's patches lie, in their order: the grid row by row, then the shifted one.

    >>> patch_corners(512, 520)[2:]
    [Corner(row=256, column=0), Corner(row=256, column=256), Corner(row=128, column=128)]
    """
    return [
        Corner(row, column)
        for first in (0, SHIFT_PX)
        for row in range(first, height - SIDE_PX + 1, SIDE_PX)
        for column in range(first, width - SIDE_PX + 1, SIDE_PX)
    ]


def patch_count(height: int, width: int) -> int:
    """How many patches an image has; none below 256 px on a side.

    >>> patch_count(512, 768), patch_count(255, 4000)
    (8, 0)
    """
    return len(patch_corners(height, width))


def cut_patches(pixels: Pixels) -> list[Pixels]:
    """The patches in the order of `patch_corners`, (256, 256, 3) each: views of the image."""
    height, width = pixels.shape[:2]
    return [
        pixels[row : row + SIDE_PX, column : column + SIDE_PX]
        for row, column in patch_corners(height, width)
    ]
