"""Square patches of an image: a grid, then the same grid shifted by half a patch.

This is the rule of the programs of NeuralCompression and CRDR for FID/256, after HiFiC (Mentzer,
Toderici, Tschannen, Agustsson, "High-Fidelity Generative Image Compression" (2020)), whose paper
may count patches of the shifted grid differently (docs/protocol.md). Patches of one grid do not
overlap, and what remains at the right and at the bottom is left out.
"""

from typing import NamedTuple

from benchmark.codec import Pixels

SIDE_PX = 256


class Corner(NamedTuple):
    """Upper left pixel of a patch."""

    row: int
    column: int


def patch_corners(height: int, width: int, side: int = SIDE_PX) -> list[Corner]:
    """Return the corners of an image's patches, the grid row by row, then the shifted grid.

    >>> patch_corners(512, 520)[2:]
    [Corner(row=256, column=0), Corner(row=256, column=256), Corner(row=128, column=128)]
    """
    return [
        Corner(row, column)
        for first in (0, side // 2)
        for row in range(first, height - side + 1, side)
        for column in range(first, width - side + 1, side)
    ]


def patch_count(height: int, width: int, side: int = SIDE_PX) -> int:
    """Return the number of patches of an image, 0 where a side is shorter than a patch.

    >>> patch_count(512, 768), patch_count(255, 4000)
    (8, 0)
    """
    return len(patch_corners(height, width, side))


def cut_patches(pixels: Pixels, side: int = SIDE_PX) -> list[Pixels]:
    """Return the patches, (side, side, 3) each, in the order of `patch_corners`: views."""
    height, width = pixels.shape[:2]
    return [
        pixels[row : row + side, column : column + side]
        for row, column in patch_corners(height, width, side)
    ]
