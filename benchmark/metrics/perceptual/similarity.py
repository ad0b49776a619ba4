"""Arithmetic of SSIM on the CPU: Gaussian means, moments of a source, dissimilarity of a strip.

With B the blur, x the source, y the decoded image, e = y - x, and a variance s(z) = B(z²) - B(z)²,

    contrast and structure  1 - s(e) / (s(x) + s(y) + C2)
    luminance               1 - B(e)² / (B(x)² + B(y)² + C1)
    s(x) + s(y)             2 s(x) + B(e (e + 2x)) - B(e) (B(e) + 2 B(x))

so a rounding error is as small as e is, and three planes are blurred instead of five.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Planes = Floats  # (3, height, width), a plane per channel

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Half of the Gaussian window (11 taps, sigma 1.5) as the definition's implementations have it: in
# float32, whose sum is 3e-8 short of 1. That weighs by mean², so it moves results by up to 1e-5.
HALF_WINDOW = (0.0010283804, 0.007598758, 0.036000773, 0.10936069, 0.21300553, 0.26601171)
MARGIN_PX = 10  # what a valid blur loses
BLOCK_PX = 16  # outputs of a matrix product: more multiply more zeros, fewer fill no register
STRIP_VALUES = 72 << 10  # of a plane blurred at once, so that the planes at work stay in the cache
SAFE_RMS = 12  # grey levels, of errors at the coarsest scale for which float32 suffices


class Moments(NamedTuple):
    """A strip of a source with its moments, float32; blurred ones lose 10 px."""

    doubled: Floats  # 2 x
    doubled_mean: Floats  # 2 B(x)
    twice_variance: Floats  # 2 s(x) + C2


def planes_of(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels (h, w, 3) as planes (3, h, w), contiguous in memory."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def halve(planes: Planes) -> Planes:
    """Return means of 2 x 2 pixels; an odd side gets a line of zeros before its first line.

    >>> halve(np.float32([[[4.0, 8.0, 16.0]]]))
    array([[[1., 6.]]], dtype=float32)
    """
    odd_height, odd_width = planes.shape[1] % 2, planes.shape[2] % 2
    if odd_height or odd_width:
        planes = np.pad(planes, ((0, 0), (odd_height, 0), (odd_width, 0)))
    pairs = planes[:, 0::2] + planes[:, 1::2]
    means: Planes = pairs[..., 0::2] + pairs[..., 1::2]
    means *= 0.25
    return means


def blur(planes: Floats) -> Floats:
    """Return Gaussian means of 11 x 11 pixels where the window fits, (n, h - 10, w - 10).

    BLAS multiplies a band matrix's zeros in less time than other methods need to leave them out.
    """
    count, height, width = planes.shape
    lines = _blur_down(planes).reshape(-1, width)
    return _blur_across(lines).reshape(count, height - MARGIN_PX, width - MARGIN_PX)


def _blur_down(planes: Floats) -> Floats:
    count, height, width = planes.shape
    rows = height - MARGIN_PX
    size = min(BLOCK_PX, rows)
    blocks = rows // size
    band, _ = _bands(size, planes.dtype.str)
    step = planes.itemsize
    # Overlapping views; sliding_window_view costs more than a blur.
    strides = (height * width * step, size * width * step, width * step, step)
    shape = (count, blocks, size + MARGIN_PX, width)
    stretches: Floats = np.ndarray(shape, planes.dtype, planes, strides=strides)
    blurred = np.empty((count, rows, width), planes.dtype)
    whole = blurred[:, : blocks * size].reshape(count, blocks, size, width)
    np.matmul(band, stretches, out=whole)
    if blocks * size < rows:  # the last block overlaps the previous block
        np.matmul(band, planes[:, -size - MARGIN_PX :], out=blurred[:, -size:])
    return blurred


def _blur_across(lines: Floats) -> Floats:
    count, width = lines.shape
    columns = width - MARGIN_PX
    size = min(BLOCK_PX, columns)
    blocks = columns // size
    _, band = _bands(size, lines.dtype.str)
    step = lines.itemsize
    strides = (size * step, width * step, step)
    shape = (blocks, count, size + MARGIN_PX)
    stretches: Floats = np.ndarray(shape, lines.dtype, lines, strides=strides)
    blurred = np.empty((count, columns), lines.dtype)
    whole = blurred[:, : blocks * size].reshape(count, blocks, size)
    np.matmul(stretches, band, out=whole.swapaxes(0, 1))
    if blocks * size < columns:
        np.matmul(lines[:, -size - MARGIN_PX :], band, out=blurred[:, -size:])
    return blurred


@lru_cache
def _bands(size: int, dtype: str) -> tuple[Floats, Floats]:
    """Return the matrix (size, size + 10) that blurs from the left, and its transpose."""
    band = np.zeros((size, size + MARGIN_PX), dtype)
    for row in range(size):
        band[row, row : row + 11] = np.array((*HALF_WINDOW, *HALF_WINDOW[-2::-1]), np.float32)
    return band, np.ascontiguousarray(band.T)


def moments_of(strip: NDArray[Any]) -> Moments:
    """Return the moments of rows of a plane, computed in float64."""
    exact = strip.astype(np.float64)
    means, squares = blur(np.stack((exact, exact * exact)))
    moments = (2 * exact, 2 * means, 2 * (squares - means * means) + C2)
    return Moments(*(moment.astype(np.float32) for moment in moments))


def dissimilarity(error: Floats, source: Moments, coarsest: bool) -> float:
    """Return the sum of 1 - similarity over the blurred pixels of a strip of a channel.

    error: (rows + 10, w); source: moments of the same strip.
    """
    planes = np.empty((3, *error.shape), error.dtype)
    planes[0] = error
    np.multiply(error, error, out=planes[1])
    np.add(error, source.doubled, out=planes[2])
    planes[2] *= error
    mean, square, denominator = blur(planes)
    scratch = mean * mean
    square -= scratch
    np.add(mean, source.doubled_mean, out=scratch)
    scratch *= mean
    denominator -= scratch
    denominator += source.twice_variance
    square /= denominator
    if coarsest:
        source_mean = source.doubled_mean / 2
        luminance = 1 - mean**2 / (source_mean**2 + (source_mean + mean) ** 2 + C1)
        square = 1 - luminance * (1 - square)
    return float(square.sum())


def strips(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Yield (channel, slice of blurred rows) until all rows of all channels are covered."""
    channels, height, width = shape
    step = max(STRIP_VALUES // width // BLOCK_PX, 1) * BLOCK_PX
    for channel in range(channels):
        for start in range(0, height - MARGIN_PX, step):
            yield channel, slice(start, min(start + step, height - MARGIN_PX))
