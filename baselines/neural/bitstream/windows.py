"""The size of an image -> how it is cut into tiles, and what the transforms see around each.

Payloads hold disjoint squares, so that no latent is coded twice; analysis and synthesis see a
margin around a square, and of what they give only what lies in the square is used.
"""

from typing import NamedTuple

from baselines.neural.bitstream.container import STEP_UNIT, Tile, Tiling

WHOLE_PIXELS = 1 << 21  # what is coded in one piece
# The published decoder's pixels depend on what lies up to 132 pixels away, its encoder's latents on
# as much: with this margin both give what they would of the whole image. 1.3 to 1.6 times the work.
LARGE = Tiling(1024, 144)
SMALL = Tiling(256, 144)  # where memory is short: a fifth of it, 4 to 6 times the work


class Window(NamedTuple):
    """What a transform sees for a tile; all in units of a number of pixels, ends exclusive."""

    rows: slice
    columns: slice
    own_rows: slice  # the tile's, counted from where the window begins
    own_columns: slice


def tiling_of(width: int, height: int) -> Tiling | None:
    """None for what is coded in one piece.

    >>> tiling_of(1024, 2048), tiling_of(2048, 2048)
    (None, Tiling(step=1024, margin=144))
    """
    return LARGE if width * height > WHOLE_PIXELS else None


def window(tile: Tile, margin: int, width: int, height: int, unit: int) -> Window:
    """Of a tile with all blocks of 64 pixels that it touches, cut off at the image's blocks.

    width, height: of the image, pixels. unit: pixels that one position of the result stands for; a
    divisor of 64 and of the margin.

    >>> window(Tile(1024, 0, 300, 200), 128, 1324, 200, 64)
    Window(rows=slice(0, 4, None), columns=slice(14, 21, None), own_rows=slice(0, 4, None), \
own_columns=slice(2, 7, None))
    """
    rows, own_rows = _along(tile.top, tile.height, margin, height, unit)
    columns, own_columns = _along(tile.left, tile.width, margin, width, unit)
    return Window(rows, columns, own_rows, own_columns)


def _along(start: int, length: int, margin: int, side: int, unit: int) -> tuple[slice, slice]:
    stop = start + _whole_blocks(length)
    first, last = max(0, start - margin), min(_whole_blocks(side), stop + margin)
    own = slice((start - first) // unit, (stop - first) // unit)
    return slice(first // unit, last // unit), own


def _whole_blocks(length: int) -> int:
    return -(-length // STEP_UNIT) * STEP_UNIT


def analysis_margin(tiling: Tiling | None) -> int:
    """Of the encoder, which takes whole blocks; at least that of the decoder."""
    return 0 if tiling is None else _whole_blocks(tiling.margin)
