"""Structural similarity of two 8-bit RGB images at five scales (MS-SSIM) and at one (SSIM).

Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment" (2003), as
learned compression reports it: `pytorch_msssim.ms_ssim(data_range=255)` on the three channels.
Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
Similarity" (2004), as `pytorch_msssim.ssim(data_range=255)` computes it: 11-tap Gaussian window of
sigma 1.5, only where it fits, K of .01 and .03, mean over the pixels and the three channels of RGB.
The paper's own program first scales an image down and takes luma, which gives other numbers.

Moments of the source are computed once, in float64, and the rest in float32, by loops.c where a
compiler was there at the installation, else by matrix products, within 3e-7. Moments of a large
image are computed strip by strip where they are compared, with the same values, since halving and
subtracting round nowhere.

With B the blur, x the source, y the decoded image, e = y - x, and a variance s(z) = B(z²) - B(z)²,

    contrast and structure  1 - s(e) / (s(x) + s(y) + C2)
    luminance               1 - B(e)² / (B(x)² + B(y)² + C1)
    s(x) + s(y)             2 s(x) + B(e (e + 2x)) - B(e) (B(e) + 2 B(x))

so a rounding error is as small as e is, and three planes are blurred instead of five.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.metrics.metric import (
    ImageMetric,
    Presentation,
    bands,
    is_large,
    loops,
    require_same_shape,
    require_side,
)
from benchmark.metrics.scales import Finest, Planes, coarser, planes_of

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.floating[Any]]

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Half of the Gaussian window (11 taps, sigma 1.5) as the definition's implementations have it: in
# float32, whose sum is 3e-8 short of 1. That weighs by mean², so it moves results by up to 1e-5.
HALF_WINDOW = (0.0010283804, 0.007598758, 0.036000773, 0.10936069, 0.21300553, 0.26601171)
MARGIN_PX = 10  # what a valid blur loses
BLOCK_PX = 16  # outputs of a matrix product: more multiply more zeros, fewer fill no register
STRIP_VALUES = 72 << 10  # of a plane blurred at once, so that the planes at work stay in the cache
SAFE_RMS = 12  # grey levels, of errors at the coarsest scale for which float32 suffices
AnyPlanes = NDArray[Any]  # (3, height, width), uint8 or float32
Channels = NDArray[np.float64]  # (3,)

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first; Wang et al., section 3.2


class Moments(NamedTuple):
    """A strip of a source with its moments, float32; blurred ones lose 10 px."""

    doubled: Floats  # 2 x
    doubled_mean: Floats  # 2 B(x)
    twice_variance: Floats  # 2 s(x) + C2


class Prepared(NamedTuple):
    """Source at every scale, finest first; about 41 bytes per pixel, or 4 without moments."""

    planes: list[AnyPlanes]  # the first shares the pixels' memory, the others are of a large image
    moments: list[list[Moments]] | None  # of each strip of each scale; None for a large image


class Structural(ImageMetric):
    """Similarity of the three channels, within 1e-6 of float64."""

    presentation = Presentation("saturating")
    scales: ClassVar[int]

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def prepare(self, reference: Pixels) -> "Prepared | Tensor":
        """Return what depends on the source alone; `NotMeasurable` where a side is too short."""
        require_side(reference, self.min_side_px, self.label)
        finest, view = Finest(reference), reference.transpose(2, 0, 1)
        others = coarser(finest, self.scales)
        if is_large(reference.shape):
            return Prepared([view, *others], None)
        scales: list[Finest | Planes] = [finest, *others]
        return Prepared([view], [list(_moments(scale)) for scale in scales])

    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the similarity of a decoded image; `ValueError` unless the shapes agree."""
        return self.pooled(_similarities(prepared, decoded, self.scales))

    @abstractmethod
    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the metric of each scale's similarities, finest first."""


class MSSSIM(Structural):
    """MS-SSIM, 0..1, 1 for identical images.

    Computed on "cpu" by this file, on other devices by pytorch_msssim in float64.
    The two differ by less than 1e-6.
    """

    column = "ms_ssim"
    label = "MS-SSIM"
    protocol = "ms-ssim-rgb8/1"
    presentation = Presentation(
        "saturating", meets=("ms-ssim-rgb8/1", "ms-ssim-rgb-unrounded/1", "ms-ssim-rgb/reported")
    )
    min_side_px = 161  # four halvings leave 11 px, the side of the window
    scales = len(SCALE_WEIGHTS)

    def prepare(self, reference: Pixels) -> "Prepared | Tensor":
        """Return what depends on the source alone; `NotMeasurable` where a side is too short."""
        if self._device == "cpu":
            return super().prepare(reference)
        require_side(reference, self.min_side_px, self.label)
        return _tensor(reference, self._device)

    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the MS-SSIM of a decoded image, 0..1; `ValueError` unless the shapes agree."""
        if self._device == "cpu":
            return super().compare(prepared, decoded)
        from pytorch_msssim import ms_ssim as peer

        require_same_shape((*prepared.shape[2:], prepared.shape[1]), decoded.shape)
        return float(peer(prepared, _tensor(decoded, self._device), data_range=255))

    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the mean over channels of the weighted product over scales."""
        product = np.ones(3)
        for similarity, weight in zip(similarities, SCALE_WEIGHTS, strict=True):
            product *= np.maximum(similarity, 0) ** weight
        return float(product.mean())


class SSIM(Structural):
    """SSIM, -1..1, 1 for identical images; computed on the CPU on every device."""

    column = "ssim"
    label = "SSIM"
    protocol = "ssim-rgb8/1"
    min_side_px = 11  # the side of the window
    scales = 1

    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the mean over channels."""
        (similarity,) = similarities
        return float(similarity.mean())


def _moments(planes: Finest | AnyPlanes) -> Iterator[Moments]:
    """Yield a source's moments strip by strip, in the order of `strips`."""
    for channel, rows in strips(planes.shape):
        yield moments_of(planes[channel, rows.start : rows.stop + MARGIN_PX])


def _similarities(source: Prepared, decoded: Pixels, count: int) -> Iterator[Channels]:
    """Yield each channel's similarity at every scale, finest first."""
    pixels = source.planes[0].transpose(1, 2, 0)
    require_same_shape(pixels.shape, decoded.shape)
    finest = Finest(decoded, pixels)
    errors: list[Finest | Planes] = [finest, *coarser(finest, count)]
    # s(e) does cancel where whole regions are off by many levels: black against white is 4e-5 off
    # in float32. Images as bad as that (below 27 dB) are few, and may take twice as long.
    exact = _mean_square(errors[-1]) > SAFE_RMS**2
    kind = np.dtype(np.float64 if exact else np.float32)
    for at, planes in enumerate(errors):
        totals = np.zeros(planes.shape[0])
        of_strips = _moments(source.planes[at]) if source.moments is None else source.moments[at]
        for (channel, rows), moments in zip(strips(planes.shape), of_strips, strict=True):
            error = planes[channel, rows.start : rows.stop + MARGIN_PX]
            error = np.ascontiguousarray(error, kind)
            totals[channel] += dissimilarity(error, moments, at + 1 == count)
        yield 1 - totals / ((planes.shape[1] - MARGIN_PX) * (planes.shape[2] - MARGIN_PX))


def _mean_square(errors: Finest | Planes) -> float:
    total = 0.0
    for rows in bands(*errors.shape[1:]):
        error = errors[:, rows]
        total += float(np.vdot(error, error))
    return total / math.prod(errors.shape)


def _tensor(pixels: Pixels, device: str) -> "Tensor":
    import torch

    return torch.from_numpy(planes_of(pixels)).to(device).unsqueeze(0).to(torch.float64)


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
    if loops is not None:
        doubled = np.multiply(strip, 2, dtype=np.float32, order="C")
        height, width = strip.shape
        inner = np.empty((2, height - MARGIN_PX, width - MARGIN_PX), np.float32)
        loops.moments(doubled, *inner, width)
        return Moments(doubled, *inner)
    exact = strip.astype(np.float64)
    means, squares = blur(np.stack((exact, exact * exact)))
    moments = (2 * exact, 2 * means, 2 * (squares - means * means) + C2)
    return Moments(*(moment.astype(np.float32) for moment in moments))


def dissimilarity(error: Floats, source: Moments, coarsest: bool) -> float:
    """Return the sum of 1 - similarity over the blurred pixels of a strip of a channel.

    error: (rows + 10, w); source: moments of the same strip.
    """
    if loops is not None and error.dtype == np.float32:
        return float(loops.dissimilarity(error, *source, coarsest, error.shape[1]))
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
