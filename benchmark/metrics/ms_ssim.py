"""Structural similarity of two 8-bit RGB images: at five scales (MS-SSIM) and at one (SSIM).

MS-SSIM: Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment"
(2003), as learned compression reports it: `pytorch_msssim.ms_ssim(data_range=255)`. SSIM: Wang et
al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004), as
`pytorch_msssim.ssim(data_range=255)`: 11-tap Gaussian window of sigma 1.5, only where it fits, K of
.01 and .03, mean over pixels and RGB; the paper's program downscales the image and takes luma.
The source's moments are computed once, in float64, and the rest in float32: by loops.c if there was
a compiler at installation, else by scipy; the two agree within 3e-7. Moments of images
above KEPT_PIXELS are computed strip by strip in each comparison, with equal values. With B the
blur, x the source, y the decoded image, e = y - x, and a variance s(z) = B(z²) - B(z)²,

    contrast and structure  1 - s(e) / (s(x) + s(y) + C2)
    luminance               1 - B(e)² / (B(x)² + B(y)² + C1)
    s(x) + s(y)             2 s(x) + B(e (e + 2x)) - B(e) (B(e) + 2 B(x))

so rounding errors are proportional to e, and three planes are blurred instead of five. After four
halvings, a pixel is a multiple of 1/256 below 256, which float32 represents exactly: the error may
be halved instead of both images.
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
# Half of the Gaussian window (11 taps, sigma 1.5), in float32 as in the reference implementations:
# its sum is 1 - 3e-8, an error that is multiplied by mean² and changes results by up to 1e-5.
HALF_WINDOW = (0.0010283804, 0.007598758, 0.036000773, 0.10936069, 0.21300553, 0.26601171)
MARGIN_PX = 10  # by which a blur reduces each side
STRIP_ROWS = 16  # a strip's number of rows is a multiple of this
STRIP_VALUES = 72 << 10  # number of values blurred at once; all planes then stay in the cache
# Moments of larger images are not kept, since they would take more than 3.5 GB: more than 8,192 x
# 8,192 pixels.
KEPT_PIXELS = 1 << 26
SAFE_RMS = 12  # grey levels: float32 suffices up to this RMS error at the coarsest scale
AnyPlanes = NDArray[Any]  # (3, height, width), uint8 or float32
Channels = NDArray[np.float64]  # (3,)

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first; Wang et al., section 3.2


Planes = NDArray[np.float32]  # (3, height, width), a plane per channel


class FinestScale:
    """Float32 planes of pixels (minus `baseline`, if given) that can be sliced.

    They are computed at once; for a large image, only for the rows that are read, whose channels
    are read one after another (`strips`).
    """

    def __init__(self, pixels: Pixels, baseline: Pixels | None = None) -> None:
        self._images = pixels, baseline
        height, width, channels = pixels.shape
        self.shape = channels, height, width
        self._in_bands = is_large(pixels.shape)
        self._read(slice(0, 0 if self._in_bands else height))

    def __getitem__(self, key: tuple[int | slice, slice]) -> Planes:
        channels, rows = key
        if not self._in_bands:
            return self._planes[channels, rows]
        if rows != self._rows:
            self._read(rows)
        return self._planes[channels]

    def _read(self, rows: slice) -> None:
        pixels, baseline = self._images
        self._rows = rows
        self._planes = subtract(pixels[rows], None if baseline is None else baseline[rows])


def coarser_scales(finest: FinestScale, scales: int) -> list[Planes]:
    """Return the scales below the finest, means of 2 x 2 pixels. scales: number with the finest."""
    halvings: list[Planes] = []
    while len(halvings) < scales - 1:
        halvings.append(_halved_in_bands(halvings[-1] if halvings else finest))
    return halvings


def _halved_in_bands(planes: FinestScale | Planes) -> Planes:
    channels, height, width = planes.shape
    half_planes = np.empty((channels, -(-height // 2), -(-width // 2)), np.float32)
    zero_rows = height % 2  # before the first row
    for rows in bands(*half_planes.shape[1:]):
        start, stop = 2 * rows.start - zero_rows, 2 * rows.stop - zero_rows
        halve(planes[:, max(start, 0) : stop], half_planes[:, rows])
    return half_planes


def channel_planes(pixels: NDArray[Any]) -> NDArray[Any]:
    """Copy pixels (h, w, 3) to contiguous planes (3, h, w)."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def subtract(pixels: Pixels, baseline: Pixels | None) -> Planes:
    """Return the difference from `baseline` (None: the pixels) as float32 planes (3, h, w)."""
    planes = np.empty((pixels.shape[2], *pixels.shape[:2]), np.float32)
    if loops is not None:
        contiguous = None if baseline is None else np.ascontiguousarray(baseline)
        loops.subtract(np.ascontiguousarray(pixels), contiguous, planes)
    elif baseline is None:
        planes[:] = pixels.transpose(2, 0, 1)
    else:
        minuend, subtrahend = (image.transpose(2, 0, 1) for image in (pixels, baseline))
        np.subtract(minuend, subtrahend, planes, dtype=np.float32)
    return planes


def halve(planes: Planes, half_planes: Planes) -> None:
    """Write means of 2 x 2 pixels to `half_planes`; odd sides begin with a line of zeros."""
    if loops is not None:
        for plane, half_plane in zip(planes, half_planes, strict=True):  # rows must be contiguous
            loops.halve(plane, half_plane, plane.shape[1])
        return
    odd_height, odd_width = planes.shape[1] % 2, planes.shape[2] % 2
    if odd_height or odd_width:
        planes = np.pad(planes, ((0, 0), (odd_height, 0), (odd_width, 0)))
    row_sums = planes[:, 0::2] + planes[:, 1::2]
    np.add(row_sums[..., 0::2], row_sums[..., 1::2], out=half_planes)
    half_planes *= 0.25


class Moments(NamedTuple):
    """Rows of a source (one plane or all), and moments, float32; blurs are 10 px smaller."""

    double_source: Floats  # 2 x
    double_mean: Floats  # 2 B(x)
    twice_variance: Floats  # 2 s(x) + C2

    def strip(self, channel: int, rows: slice) -> "Moments":
        """Return the moments of some blurred rows of a scale's plane."""
        double_source = self.double_source[channel, rows.start : rows.stop + MARGIN_PX]
        return Moments(
            double_source, self.double_mean[channel, rows], self.twice_variance[channel, rows]
        )


class PreparedScales(NamedTuple):
    """Source at every scale, finest first; takes about 48 bytes per pixel, or 4 without moments."""

    # the finest planes use the pixels' memory; coarser ones are present only without moments
    planes: list[AnyPlanes]
    moments: list[Moments] | None  # by scale; None for images of more than KEPT_PIXELS


class StructuralSimilarity(ImageMetric):
    """Similarity within 1e-6 of float64; on a GPU, by pytorch_msssim unless the image is large."""

    presentation = Presentation("saturating")
    scales: ClassVar[int]

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def prepare(self, reference: Pixels) -> "PreparedScales | Tensor":
        """Return all that depends only on the source; `NotMeasurable` if a side is too short."""
        require_side(reference, self.min_side_px, self.label)
        if self._device != "cpu" and not is_large(reference.shape):
            return _tensor(reference, self._device)
        finest, view = FinestScale(reference), reference.transpose(2, 0, 1)
        coarse_scales = coarser_scales(finest, self.scales)
        if math.prod(reference.shape[:2]) > KEPT_PIXELS:
            return PreparedScales([view, *coarse_scales], None)
        scales: list[FinestScale | Planes] = [finest, *coarse_scales]
        return PreparedScales([view], [*map(_all_moments, scales)])

    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the similarity of a decoded image; `ValueError` unless the shapes agree."""
        if isinstance(prepared, PreparedScales):
            return self.pool_scales(_similarities(prepared, decoded, self.scales))
        from pytorch_msssim import ms_ssim, ssim

        require_same_shape((*prepared.shape[2:], prepared.shape[1]), decoded.shape)
        function = ssim if self.scales == 1 else ms_ssim
        return float(function(prepared, _tensor(decoded, self._device), data_range=255))

    @abstractmethod
    def pool_scales(self, similarities: Iterator[Channels]) -> float:
        """Return the metric from the similarities at each scale, finest first."""


class MSSSIM(StructuralSimilarity):
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

    def pool_scales(self, similarities: Iterator[Channels]) -> float:
        """Return the mean over channels of the weighted product over scales."""
        product = np.ones(3)
        for similarity, weight in zip(similarities, SCALE_WEIGHTS, strict=True):
            product *= np.maximum(similarity, 0) ** weight
        return float(product.mean())


class SSIM(StructuralSimilarity):
    """SSIM, -1..1, 1 for identical images."""

    column = "ssim"
    words = "ssimrgb"
    label = "SSIM"
    protocol = "ssim-rgb8/1"
    min_side_px = 11  # the side of the window
    scales = 1
    map_scale = MapScale(1.0, "1 − SSIM")

    def pool_scales(self, similarities: Iterator[Channels]) -> float:
        """Return the mean over channels."""
        (similarity,) = similarities
        return float(similarity.mean())

    def error_map(self, prepared: PreparedScales, decoded: Pixels) -> ErrorMap:
        """Return the channels' mean 1 - SSIM; NaN in the outer 5 px, where no window fits."""
        height, width = prepared.planes[0].shape[1:]
        sums = np.zeros((height - MARGIN_PX, width - MARGIN_PX), np.float32)
        [*_similarities(prepared, decoded, 1, sums)]
        return np.pad(sums / 3, MARGIN_PX // 2, constant_values=np.nan)

    def value_of_map(self, mean: float) -> float:
        """Return SSIM."""
        return 1 - mean


def _all_moments(planes: FinestScale | Planes) -> Moments:
    """Return a scale's moments in a few large arrays, which the system keeps in large pages."""
    channels, height, width = planes.shape
    shapes = planes.shape, *2 * [(channels, height - MARGIN_PX, width - MARGIN_PX)]
    result = Moments(*(np.empty(shape, np.float32) for shape in shapes))
    for channel, rows in strips(planes.shape):
        moments = compute_moments(planes[channel, rows.start : rows.stop + MARGIN_PX])
        for target, values in zip(result.strip(channel, rows), moments, strict=True):
            target[:] = values
    return result


def _similarities(
    source: PreparedScales, decoded: Pixels, count: int, sums: Planes | None = None
) -> Iterator[Channels]:
    """Yield the channels' similarities at each scale, finest first.

    sums: array to which 1 - similarity is added, (h - 10, w - 10); only for a single scale.
    """
    pixels = source.planes[0].transpose(1, 2, 0)
    require_same_shape(pixels.shape, decoded.shape)
    finest = FinestScale(decoded, pixels)
    errors: list[FinestScale | Planes] = [finest, *coarser_scales(finest, count)]
    # s(e) cancels where whole regions differ by many levels: in float32, black against white
    # is off by 4e-5. Such bad images (below 27 dB) are few, and may take twice as long.
    needs_float64 = _mean_square(errors[-1]) > SAFE_RMS**2
    dtype = np.dtype(np.float64 if needs_float64 else np.float32)
    for scale, planes in enumerate(errors):
        totals = np.zeros(planes.shape[0])
        for channel, rows in strips(planes.shape):
            input_rows = slice(rows.start, rows.stop + MARGIN_PX)
            error: Floats = np.ascontiguousarray(planes[channel, input_rows], dtype)
            if source.moments is None:
                moments = compute_moments(source.planes[scale][channel, input_rows])
            else:
                moments = source.moments[scale].strip(channel, rows)
            sums_of_strip = None if sums is None else sums[rows]
            totals[channel] += dissimilarity(error, moments, scale + 1 == count, sums_of_strip)
        yield 1 - totals / ((planes.shape[1] - MARGIN_PX) * (planes.shape[2] - MARGIN_PX))


def _mean_square(errors: FinestScale | Planes) -> float:
    total = 0.0
    for rows in bands(*errors.shape[1:]):
        error = errors[:, rows]
        total += float(np.vdot(error, error))
    return total / math.prod(errors.shape)


def _tensor(pixels: Pixels, device: str) -> "Tensor":
    import torch

    return torch.from_numpy(channel_planes(pixels)).to(device).unsqueeze(0).to(torch.float64)


def blur(planes: Floats) -> Floats:
    """Return Gaussian means of all complete windows of 11 x 11 px, (n, h - 10, w - 10)."""
    from scipy.ndimage import correlate1d

    window = np.array((*HALF_WINDOW, *HALF_WINDOW[-2::-1]), np.float32)
    blurred_columns = correlate1d(planes, window, axis=1)[:, 5:-5]
    blurred_planes: Floats = correlate1d(blurred_columns, window, axis=2)[..., 5:-5]
    return blurred_planes


def compute_moments(strip: NDArray[Any]) -> Moments:
    """Return the moments of some rows of a plane, computed in float64."""
    if loops is not None:
        double_source = np.multiply(strip, 2, dtype=np.float32, order="C")
        height, width = strip.shape
        blurred = np.empty((2, height - MARGIN_PX, width - MARGIN_PX), np.float32)
        loops.moments(double_source, *blurred, width)
        return Moments(double_source, *blurred)
    values = strip.astype(np.float64)
    means, squares = blur(np.stack((values, values * values)))
    moments = (2 * values, 2 * means, 2 * (squares - means * means) + C2)
    return Moments(*(moment.astype(np.float32) for moment in moments))


def dissimilarity(
    error: Floats, source: Moments, is_coarsest: bool, sums: Floats | None = None
) -> float:
    """Return the sum of 1 - similarity over one channel's strip, and add each pixel's to `sums`.

    error: (rows + 10, w); source: moments of the same strip; sums: (rows, w - 10).
    """
    if loops is not None and error.dtype == np.float32:
        outputs = () if sums is None else (sums,)
        return float(loops.dissimilarity(error, *source, is_coarsest, error.shape[1], *outputs))
    planes = np.empty((3, *error.shape), error.dtype)
    planes[0] = error
    np.multiply(error, error, out=planes[1])
    np.add(error, source.double_source, out=planes[2])
    planes[2] *= error
    mean, square, denominator = blur(planes)
    scratch = mean * mean
    square -= scratch
    np.add(mean, source.double_mean, out=scratch)
    scratch *= mean
    denominator -= scratch
    denominator += source.twice_variance
    square /= denominator
    if is_coarsest:
        source_mean = source.double_mean / 2
        luminance = 1 - mean**2 / (source_mean**2 + (source_mean + mean) ** 2 + C1)
        square = 1 - luminance * (1 - square)
    if sums is not None:
        sums += square
    return float(square.sum())


def strips(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Yield (channel, slice of blurred rows) for all rows, slice by slice."""
    channels, height, width = shape
    step = max(STRIP_VALUES // width // STRIP_ROWS, 1) * STRIP_ROWS
    for start in range(0, height - MARGIN_PX, step):
        for channel in range(channels):
            yield channel, slice(start, min(start + step, height - MARGIN_PX))
