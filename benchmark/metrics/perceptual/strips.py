"""MS-SSIM and SSIM of large images, strip by strip: the values of whole planes to the last digit.

In `ms_ssim.py`, moments of the source at every scale stay in memory, 48 bytes per pixel, and the
errors are planes of floats. Here only the pixels and the halved planes are kept (4 bytes per pixel
of each image); moments and errors of a strip are computed where it is compared, at every
comparison. The strips are the same and are added in the same order. Halved 8-bit pixels are
multiples of 1/256 below 256, which float32 holds, so halving and subtracting round nowhere.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from benchmark.codec import Pixels
from benchmark.metrics.metric import bands, require_same_shape
from benchmark.metrics.perceptual.similarity import (
    MARGIN_PX,
    SAFE_RMS,
    Planes,
    Scale,
    dissimilarity,
    halve,
    moments_of_strip,
    strips,
)

AnyPlanes = NDArray[Any]  # (3, height, width), uint8 or float32


class HalvedPlanes(NamedTuple):
    """Planes of an image at some scales, finest first: a view of its pixels, then float32."""

    scales: tuple[AnyPlanes, ...]


def halved_planes(pixels: Pixels, count: int) -> HalvedPlanes:
    """Return the planes of an image at `count` scales; the first shares the pixels' memory."""
    scales: list[AnyPlanes] = [pixels.transpose(2, 0, 1)]
    while len(scales) < count:
        scales.append(_halved(scales[-1]))
    return HalvedPlanes(tuple(scales))


def compare_in_strips(source: HalvedPlanes, decoded: Pixels, weights: Sequence[float]) -> float:
    """Return the MS-SSIM of a decoded image and its source; `ValueError` where shapes differ.

    weights: of the scales, finest first.
    """
    height, width = source.scales[0].shape[1:]
    require_same_shape((height, width, 3), decoded.shape)
    others = halved_planes(decoded, len(weights))
    coarsest = others.scales[-1] - source.scales[-1]
    exact = bool(np.square(coarsest).mean() > SAFE_RMS**2)
    product = np.ones(3)
    for level, (one, other, weight) in enumerate(
        zip(source.scales, others.scales, weights, strict=True)
    ):
        last = level == len(weights) - 1
        product *= np.maximum(_similarity(one, other, exact, last), 0) ** weight
    return float(product.mean())


def ssim_in_strips(source: HalvedPlanes, decoded: Pixels) -> float:
    """Return the SSIM of a decoded image and its source; `ValueError` where shapes differ.

    Which precision suffices is told by the exact mean squared error.
    """
    planes = source.scales[0]
    require_same_shape((*planes.shape[1:], 3), decoded.shape)
    others, squares = decoded.transpose(2, 0, 1), 0
    for rows in bands(*planes.shape[1:]):
        error = np.subtract(others[:, rows], planes[:, rows], dtype=np.int32)
        squares += int(np.square(error).sum(dtype=np.int64))
    exact = squares / planes.size > SAFE_RMS**2
    return float(_similarity(planes, others, exact, True).mean())


def _similarity(
    source: AnyPlanes, decoded: AnyPlanes, exact: bool, coarsest: bool
) -> NDArray[np.float64]:
    """Return what `ms_ssim.similarity` does; exact: with errors in float64."""
    kind: DTypeLike = np.float64 if exact else np.float32
    totals = np.zeros(3)
    for channel, rows in strips(source.shape):
        wider = slice(rows.start, rows.stop + MARGIN_PX)
        strip = source[channel, wider].astype(np.float64)
        mean, variance = moments_of_strip(strip)
        error = decoded[channel, wider].astype(kind) - source[channel, wider].astype(kind)
        moments = ((2 * strip), mean, variance)
        scale = Scale(*(moment.astype(np.float32) for moment in moments))
        totals[channel] += dissimilarity(error, scale, coarsest)
    height, width = source.shape[1:]
    return 1 - totals / ((height - MARGIN_PX) * (width - MARGIN_PX))


def _halved(planes: AnyPlanes) -> Planes:
    """Return what `similarity.halve` does, in float32 and in bands of rows."""
    channels, height, width = planes.shape
    halved = np.empty((channels, -(-height // 2), -(-width // 2)), np.float32)
    above = height % 2  # a line of zeros
    for rows in bands(*halved.shape[1:]):
        first, last = 2 * rows.start - above, 2 * rows.stop - above
        band = planes[:, max(first, 0) : last].astype(np.float32)
        if first < 0:
            band = np.pad(band, ((0, 0), (1, 0), (0, 0)))
        halved[:, rows] = halve(band)
    return halved
