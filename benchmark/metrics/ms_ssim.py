"""Structural similarity of two 8-bit RGB images at five scales (MS-SSIM) and at one (SSIM).

Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment" (2003), as
learned compression reports it: `pytorch_msssim.ms_ssim(data_range=255)` on the three channels.
Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
Similarity" (2004), as `pytorch_msssim.ssim(data_range=255)` computes it: 11-tap Gaussian window of
sigma 1.5, only where it fits, K of .01 and .03, mean over the pixels and the three channels of RGB.
The paper's own program first scales an image down and takes luma, which gives other numbers.

Moments of the source are computed once, in float64, and the rest in float32, by loops.c where a
compiler was there at the installation, else by scipy, within 3e-7. Moments of a large image are
computed strip by strip where they are compared, with the same values, since halving and
subtracting round nowhere.

With B the blur, x the source, y the decoded image, e = y - x, and a variance s(z) = B(z²) - B(z)²,

    contrast and structure  1 - s(e) / (s(x) + s(y) + C2)
    luminance               1 - B(e)² / (B(x)² + B(y)² + C1)
    s(x) + s(y)             2 s(x) + B(e (e + 2x)) - B(e) (B(e) + 2 B(x))

so a rounding error is as small as e is, and three planes are blurred instead of five. After four
halvings a pixel is a multiple of 1/256 below 256, and so is the size of an error, which float32
holds: errors may be halved in place of both images.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.metrics.metric import (
    ErrorMap,
    ImageMetric,
    MapScale,
    Presentation,
    bands,
    is_large,
    loops,
    require_same_shape,
    require_side,
)

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.floating[Any]]

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Half of the Gaussian window (11 taps, sigma 1.5) as the definition's implementations have it: in
# float32, whose sum is 3e-8 short of 1. That weighs by mean², so it moves results by up to 1e-5.
HALF_WINDOW = (0.0010283804, 0.007598758, 0.036000773, 0.10936069, 0.21300553, 0.26601171)
MARGIN_PX = 10  # what a valid blur loses
STRIP_ROWS = 16  # at least, and in multiples
STRIP_VALUES = 72 << 10  # of a plane blurred at once, so that the planes at work stay in the cache
SAFE_RMS = 12  # grey levels, of errors at the coarsest scale for which float32 suffices
AnyPlanes = NDArray[Any]  # (3, height, width), uint8 or float32
Channels = NDArray[np.float64]  # (3,)

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first; Wang et al., section 3.2


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
    """Similarity of the three channels, within 1e-6 of float64.

    Computed on "cpu", and of large images, by this file, else by pytorch_msssim in float64.
    """

    presentation = Presentation("saturating")
    scales: ClassVar[int]

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def prepare(self, reference: Pixels) -> "Prepared | Tensor":
        """Return what depends on the source alone; `NotMeasurable` where a side is too short."""
        require_side(reference, self.min_side_px, self.label)
        large = is_large(reference.shape)
        if self._device != "cpu" and not large:
            return _tensor(reference, self._device)
        finest, view = Finest(reference), reference.transpose(2, 0, 1)
        others = coarser(finest, self.scales)
        if large:
            return Prepared([view, *others], None)
        scales: list[Finest | Planes] = [finest, *others]
        return Prepared([view], [list(_moments(scale)) for scale in scales])

    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the similarity of a decoded image; `ValueError` unless the shapes agree."""
        if isinstance(prepared, Prepared):
            return self.pooled(_similarities(prepared, decoded, self.scales))
        from pytorch_msssim import ms_ssim, ssim

        require_same_shape((*prepared.shape[2:], prepared.shape[1]), decoded.shape)
        peer = ssim if self.scales == 1 else ms_ssim
        return float(peer(prepared, _tensor(decoded, self._device), data_range=255))

    @abstractmethod
    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the metric of each scale's similarities, finest first."""


class MSSSIM(Structural):
    """MS-SSIM, 0..1, 1 for identical images."""

    column = "ms_ssim"
    words = "msssimrgb multiscalessim"
    label = "MS-SSIM"
    protocol = "ms-ssim-rgb8/1"
    presentation = Presentation(
        "saturating", meets=("ms-ssim-rgb8/1", "ms-ssim-rgb-unrounded/1", "ms-ssim-rgb/reported")
    )
    min_side_px = 161  # four halvings leave 11 px, the side of the window
    scales = len(SCALE_WEIGHTS)

    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the mean over channels of the weighted product over scales."""
        product = np.ones(3)
        for similarity, weight in zip(similarities, SCALE_WEIGHTS, strict=True):
            product *= np.maximum(similarity, 0) ** weight
        return float(product.mean())


class SSIM(Structural):
    """SSIM, -1..1, 1 for identical images."""

    column = "ssim"
    words = "ssimrgb"
    label = "SSIM"
    protocol = "ssim-rgb8/1"
    min_side_px = 11  # the side of the window
    scales = 1
    map_scale = MapScale(1.0, "1 − SSIM")

    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the mean over channels."""
        (similarity,) = similarities
        return float(similarity.mean())

    def error_map(self, prepared: Prepared, decoded: Pixels) -> ErrorMap:
        """Return 1 - SSIM, mean of the channels; NaN in the 5 px where no window fits."""
        height, width = prepared.planes[0].shape[1:]
        inside = np.zeros((height - MARGIN_PX, width - MARGIN_PX), np.float32)
        [*_similarities(prepared, decoded, 1, inside)]
        return np.pad(inside / 3, MARGIN_PX // 2, constant_values=np.nan)

    def of_map(self, mean: float) -> float:
        """Return SSIM."""
        return 1 - mean


def _moments(planes: Finest | AnyPlanes) -> Iterator[Moments]:
    """Yield a source's moments strip by strip, in the order of `strips`."""
    for channel, rows in strips(planes.shape):
        yield moments_of(planes[channel, rows.start : rows.stop + MARGIN_PX])


def _similarities(
    source: Prepared, decoded: Pixels, count: int, sums: Planes | None = None
) -> Iterator[Channels]:
    """Yield each channel's similarity at every scale, finest first.

    sums: of a single scale, (h - 10, w - 10), to which 1 - similarity is added.
    """
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
            into = None if sums is None else sums[rows]
            totals[channel] += dissimilarity(error, moments, at + 1 == count, into)
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
    """Return Gaussian means of 11 x 11 pixels where the window fits, (n, h - 10, w - 10)."""
    from scipy.ndimage import correlate1d

    window = np.array((*HALF_WINDOW, *HALF_WINDOW[-2::-1]), np.float32)
    down = correlate1d(planes, window, axis=1)[:, 5:-5]
    blurred: Floats = correlate1d(down, window, axis=2)[..., 5:-5]
    return blurred


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


def dissimilarity(
    error: Floats, source: Moments, coarsest: bool, sums: Floats | None = None
) -> float:
    """Return the sum of 1 - similarity over the blurred pixels of a strip of a channel.

    error: (rows + 10, w); source: moments of the same strip. sums: (rows, w - 10), to which each
    pixel's is added.
    """
    if loops is not None and error.dtype == np.float32:
        more = () if sums is None else (sums,)
        return float(loops.dissimilarity(error, *source, coarsest, error.shape[1], *more))
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
    if sums is not None:
        sums += square
    return float(square.sum())


def strips(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Yield (channel, slice of blurred rows) until all rows of all channels are covered."""
    channels, height, width = shape
    step = max(STRIP_VALUES // width // STRIP_ROWS, 1) * STRIP_ROWS
    for channel in range(channels):
        for start in range(0, height - MARGIN_PX, step):
            yield channel, slice(start, min(start + step, height - MARGIN_PX))
