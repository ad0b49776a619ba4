"""Tiles of a large image, and the margin that the transforms see around each of them.

Payloads hold disjoint squares. Analysis and synthesis see a margin around a square; of their
results only the square's own part is used.
"""

from typing import NamedTuple

from baselines.neural.bitstream.container import Tile, Tiling

WHOLE_PIXELS = 1 << 21  # larger images are cut into tiles
LARGE_STEP = 1024
# The published decoder's pixels depend on what lies up to 132 pixels away, its encoder's latents on
# as much: with this margin both give what they would of the whole image. 1.3 to 1.6 times the work.
LARGE = Tiling(LARGE_STEP, 144)
SMALL = Tiling(256, 144)  # where memory is short: a fifth of it, 4 to 6 times the work


class Window(NamedTuple):
    """The part of an image that a transform sees for a tile, in positions of some pixels."""

    rows: slice
    columns: slice
    own_rows: slice  # the tile's, counted from where the window begins
    own_columns: slice


def tiling_of(width: int, height: int, margin: int = LARGE.margin) -> Tiling | None:
    """Return how an image is cut, or None for one that is coded in one piece; all in pixels.

    >>> tiling_of(1024, 2048), tiling_of(2048, 2048)
    (None, Tiling(step=1024, margin=144))
    """
    return Tiling(LARGE_STEP, margin) if width * height > WHOLE_PIXELS else None


def window(tile: Tile, margin: int, width: int, height: int, unit: int, stride: int = 64) -> Window:
    """Return the window of a tile, whole blocks of `stride` pixels, limited to the image's blocks.

    `width` and `height` are the image's, in pixels. A position is `unit` pixels, which divide
    `stride` and `margin`.

    >>> window(Tile(1024, 0, 300, 200), 128, 1324, 200, 64)
    Window(rows=slice(0, 4, None), columns=slice(14, 21, None), own_rows=slice(0, 4, None), \
own_columns=slice(2, 7, None))
    """

    def along(start: int, length: int, side: int) -> tuple[slice, slice]:
        stop = start + whole_blocks(length, stride)
        first, last = max(0, start - margin), min(whole_blocks(side, stride), stop + margin)
        own = slice((start - first) // unit, (stop - first) // unit)
        return slice(first // unit, last // unit), own

    rows, own_rows = along(tile.top, tile.height, height)
    columns, own_columns = along(tile.left, tile.width, width)
    return Window(rows, columns, own_rows, own_columns)


def whole_blocks(pixels: int, stride: int) -> int:
    """Return the least multiple of `stride` that is at least `pixels`."""
    return -(-pixels // stride) * stride
