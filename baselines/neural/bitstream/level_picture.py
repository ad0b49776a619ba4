"""Conversion of a grey picture to a map of levels: black is 0, white the highest."""

import numpy as np
from numpy.typing import NDArray

from baselines.neural.bitstream.level_map import BLOCK, Levels, map_shape, nearest_levels
from benchmark.codec import Pixels

WHITE = 255


def levels_of(picture: Pixels, width: int, height: int) -> Levels:
    """Return the map of an image of width x height pixels from a picture of any size.

    The picture is stretched over the image. A block of 64 x 64 pixels takes the mean of its part,
    pixels weighted by area, and of the three channels; 0..255 is 0..1 of the controlled range.

    >>> levels_of(np.uint8([[[0] * 3, [255] * 3]]), 128, 64)
    array([[ 0, 15]], dtype=uint8)
    """
    rows, columns = map_shape(width, height)
    grey = picture.astype(np.float64).mean(axis=2) / WHITE
    over = _means(rows, height, grey.shape[0]) @ grey @ _means(columns, width, grey.shape[1]).T
    return nearest_levels(over.clip(0, 1))


def _means(blocks: int, side: int, samples: int) -> NDArray[np.float64]:
    """Return the weight of each sample in each block's mean along one axis, (blocks, samples)."""
    edges = np.minimum(np.arange(blocks + 1) * BLOCK, side) * (samples / side)
    starts = np.arange(samples)
    share = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    overlap = share.clip(0, None)
    means: NDArray[np.float64] = overlap / overlap.sum(axis=1, keepdims=True)
    return means
