"""Planes of an image or of the errors of one, float32, and their halvings: exact for 8-bit pixels.

After four halvings a pixel is a multiple of 1/256 below 256, and so is the size of an error, which
float32 holds: errors may be halved in place of both images.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.metrics.metric import bands, is_large, loops

Planes = NDArray[np.float32]  # (3, height, width), a plane per channel


class Finest:
    """Float32 planes of pixels, or of what `less` leaves of them, to be sliced.

    They are made at once, or of a large image wherever they are sliced.
    """

    def __init__(self, pixels: Pixels, less: Pixels | None = None) -> None:
        self._images = pixels, less
        height, width, channels = pixels.shape
        self.shape = channels, height, width
        self._planes = None if is_large(pixels.shape) else subtracted(pixels, less)

    def __getitem__(self, key: tuple[int | slice, slice]) -> Planes:
        channels, rows = key
        if self._planes is not None:
            return self._planes[channels, rows]
        pixels, less = self._images
        return subtracted(pixels[rows], None if less is None else less[rows])[channels]


def coarser(finest: Finest, scales: int) -> list[Planes]:
    """Return the scales below the finest, each of means of 2 x 2 pixels, `scales` with it."""
    halvings: list[Planes] = []
    while len(halvings) < scales - 1:
        halvings.append(_halved_in_bands(halvings[-1] if halvings else finest))
    return halvings


def _halved_in_bands(planes: Finest | Planes) -> Planes:
    channels, height, width = planes.shape
    halved = np.empty((channels, -(-height // 2), -(-width // 2)), np.float32)
    above = height % 2  # a line of zeros
    for rows in bands(*halved.shape[1:]):
        first, last = 2 * rows.start - above, 2 * rows.stop - above
        halve(planes[:, max(first, 0) : last], halved[:, rows])
    return halved


def planes_of(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels (h, w, 3) as planes (3, h, w), contiguous in memory."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def subtracted(pixels: Pixels, less: Pixels | None) -> Planes:
    """Return pixels less others, or as they are, as float32 planes (3, h, w)."""
    planes = np.empty((pixels.shape[2], *pixels.shape[:2]), np.float32)
    if loops is not None:
        others = None if less is None else np.ascontiguousarray(less)
        loops.subtract(np.ascontiguousarray(pixels), others, planes)
    elif less is None:
        planes[:] = pixels.transpose(2, 0, 1)
    else:
        view, other = (image.transpose(2, 0, 1) for image in (pixels, less))
        np.subtract(view, other, planes, dtype=np.float32)
    return planes


def halve(planes: Planes, halved: Planes) -> None:
    """Write means of 2 x 2 pixels; an odd side gets a line of zeros before its first line.

    >>> halve(np.float32([[[4.0, 8.0, 16.0]]]), means := np.empty((1, 1, 2), np.float32))
    >>> means
    array([[[1., 6.]]], dtype=float32)
    """
    if loops is not None:
        for plane, half in zip(planes, halved, strict=True):  # whose rows follow one another
            loops.halve(plane, half, plane.shape[1])
        return
    odd_height, odd_width = planes.shape[1] % 2, planes.shape[2] % 2
    if odd_height or odd_width:
        planes = np.pad(planes, ((0, 0), (odd_height, 0), (odd_width, 0)))
    pairs = planes[:, 0::2] + planes[:, 1::2]
    np.add(pairs[..., 0::2], pairs[..., 1::2], out=halved)
    halved *= 0.25
