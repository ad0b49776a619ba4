"""Multi-scale structural similarity (MS-SSIM) of two 8-bit RGB images: 0..1, 1 for identical ones.

Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment" (2003), as
learned compression reports it: `pytorch_msssim.ms_ssim(data_range=255)` on the three channels.

On the CPU this takes an eighth of that package's time: what depends on the source alone is
computed once, in float64, and the rest in float32.
With B the blur, x the source, y the decoded image, e = y - x, and a variance s(z) = B(z²) - B(z)²,

    contrast and structure  1 - s(e) / (s(x) + s(y) + C2)
    luminance               1 - B(e)² / (B(x)² + B(y)² + C1)
    s(x) + s(y)             2 s(x) + B(e (e + 2x)) - B(e) (B(e) + 2 B(x))

so a rounding error is as small as e is, and three planes are blurred instead of five.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.metrics.metric import require_same_shape, require_side
from benchmark.metrics.presentation import Presentation

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.floating[Any]]
Planes = Floats  # (3, height, width), one plane per channel

MIN_SIDE_PX = 161  # four halvings leave 11 px, the side of the window
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first; Wang et al., section 3.2
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
# Half of the Gaussian window (11 taps, sigma 1.5) as the definition's implementations have it: in
# float32, whose sum is 3e-8 short of 1. That weighs by mean², so it moves results by up to 1e-5.
HALF_WINDOW = (0.0010283804, 0.007598758, 0.036000773, 0.10936069, 0.21300553, 0.26601171)
MARGIN_PX = 10  # what a valid blur loses
BLOCK_PX = 16  # outputs of a matrix product: more multiply more zeros, fewer fill no register
STRIP_VALUES = 72 << 10  # of a plane blurred at once, so that the planes at work stay in the cache
SAFE_RMS = 12  # grey levels


class Scale(NamedTuple):
    """Moments of a source at one scale, float32; blurred planes are 10 px smaller."""

    doubled: Planes  # 2 x
    doubled_mean: Planes  # 2 B(x)
    twice_variance: Planes  # 2 s(x) + C2


class PreparedScales(NamedTuple):
    """PreparedScales with its moments at every scale; about 48 bytes per pixel."""

    pixels: Pixels
    scales: tuple[Scale, ...]  # finest first


class MSSSIM:
    """MS-SSIM of the three channels.

    Computed on "cpu" by matrix products in numpy, on other devices by pytorch_msssim in float64.
    The two differ by less than 1e-6.
    """

    column = "ms_ssim"
    label = "MS-SSIM"
    better: Literal["higher", "lower"] = "higher"
    protocol = "ms-ssim-rgb8/1"
    presentation = Presentation(
        "saturating", meets=("ms-ssim-rgb8/1", "ms-ssim-rgb-unrounded/1", "ms-ssim-rgb/reported")
    )

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def prepare(self, reference: Pixels) -> "PreparedScales | Tensor":
        """Return what depends on the source alone.

        Raises `NotMeasurable` where a side is shorter than 161 px.
        """
        require_side(reference, MIN_SIDE_PX, "MS-SSIM")
        return _tensor(reference, self._device) if self._device != "cpu" else prepare(reference)

    def compare(self, prepared: "PreparedScales | Tensor", decoded: Pixels) -> float:
        """Return the MS-SSIM of a decoded image, 0..1; `ValueError` unless the shapes agree."""
        if isinstance(prepared, PreparedScales):
            return compare(prepared, decoded)
        from pytorch_msssim import ms_ssim as peer

        require_same_shape((*prepared.shape[2:], prepared.shape[1]), decoded.shape)
        return float(peer(prepared, _tensor(decoded, self._device), data_range=255))


def ms_ssim(reference: Pixels, decoded: Pixels) -> float:
    """Return the MS-SSIM of two images, the mean of three channels; within 1e-6 of float64.

    >>> grey = np.full((161, 170, 3), 128, np.uint8)
    >>> ms_ssim(grey, grey)
    1.0
    """
    require_side(reference, MIN_SIDE_PX, "MS-SSIM")
    return compare(prepare(reference), decoded)


def prepare(reference: Pixels) -> PreparedScales:
    """Return the source's moments at every scale, computed in float64 and kept in float32."""
    planes: Planes = planes_of(reference).astype(np.float64)
    scales = []
    for level in range(len(SCALE_WEIGHTS)):
        scales.append(moments(planes))
        if level < len(SCALE_WEIGHTS) - 1:
            planes = halve(planes)
    return PreparedScales(reference, tuple(scales))


def compare(source: PreparedScales, decoded: Pixels) -> float:
    """Return the MS-SSIM of a decoded image and a prepared source."""
    require_same_shape(source.pixels.shape, decoded.shape)
    errors = [planes_of(np.subtract(decoded, source.pixels, dtype=np.int16)).astype(np.float32)]
    for _ in SCALE_WEIGHTS[1:]:
        errors.append(halve(errors[-1]))
    if np.square(errors[-1]).mean() > SAFE_RMS**2:
        # s(e) does cancel where whole regions are off by many levels: black against white is 4e-5
        # off in float32. Images as bad as that (below 27 dB) are few, and may take twice as long.
        errors = [error.astype(np.float64) for error in errors]
    product = np.ones(3)
    for level, (error, scale, weight) in enumerate(
        zip(errors, source.scales, SCALE_WEIGHTS, strict=True)
    ):
        coarsest = level == len(SCALE_WEIGHTS) - 1
        product *= np.maximum(similarity(error, scale, coarsest), 0) ** weight
    return float(product.mean())


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

    Along each axis stretches of 26 pixels are multiplied by a band matrix of 16 columns: BLAS
    multiplies the band's zeros in less time than other methods need to leave them out.
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
    stretches: Floats = np.ndarray(  # overlapping views; sliding_window_view costs more than a blur
        (count, blocks, size + MARGIN_PX, width),
        planes.dtype,
        planes,
        strides=(height * width * step, size * width * step, width * step, step),
    )
    blurred = np.empty((count, rows, width), planes.dtype)
    whole = blurred[:, : blocks * size].reshape(count, blocks, size, width)
    np.matmul(band, stretches, out=whole)
    if blocks * size < rows:  # the last block overlaps the one before it
        np.matmul(band, planes[:, -size - MARGIN_PX :], out=blurred[:, -size:])
    return blurred


def _blur_across(lines: Floats) -> Floats:
    count, width = lines.shape
    columns = width - MARGIN_PX
    size = min(BLOCK_PX, columns)
    blocks = columns // size
    _, band = _bands(size, lines.dtype.str)
    step = lines.itemsize
    stretches: Floats = np.ndarray(
        (blocks, count, size + MARGIN_PX),
        lines.dtype,
        lines,
        strides=(size * step, width * step, step),
    )
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


def moments(planes: Planes) -> Scale:
    """Return a source's moments at one scale from its planes, float64 of shape (3, h, w)."""
    channels, height, width = planes.shape
    shape = (channels, height - MARGIN_PX, width - MARGIN_PX)
    doubled_mean, twice_variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for channel, rows in _strips(planes.shape):
        strip = planes[channel, rows.start : rows.stop + MARGIN_PX]
        means, squares = blur(np.stack((strip, strip * strip)))
        doubled_mean[channel, rows] = 2 * means
        twice_variance[channel, rows] = 2 * (squares - means * means) + C2
    return Scale((2 * planes).astype(np.float32), doubled_mean, twice_variance)


def similarity(error: Planes, scale: Scale, coarsest: bool) -> NDArray[np.float64]:
    """Return each channel's mean of contrast and structure, with luminance if `coarsest`.

    error: decoded minus source, (3, h, w); float32 suffices where its root mean square is below
    `SAFE_RMS` at the coarsest scale that is compared.
    """
    totals = np.zeros(3)
    for channel, rows in _strips(error.shape):
        wider = slice(rows.start, rows.stop + MARGIN_PX)
        strip = error[channel, wider]
        planes = np.empty((3, *strip.shape), strip.dtype)
        planes[0] = strip
        np.multiply(strip, strip, out=planes[1])
        np.add(strip, scale.doubled[channel, wider], out=planes[2])
        planes[2] *= strip
        mean, square, denominator = blur(planes)
        scratch = mean * mean
        square -= scratch
        np.add(mean, scale.doubled_mean[channel, rows], out=scratch)
        scratch *= mean
        denominator -= scratch
        denominator += scale.twice_variance[channel, rows]
        square /= denominator
        if coarsest:
            source_mean = scale.doubled_mean[channel, rows] / 2
            luminance = 1 - mean**2 / (source_mean**2 + (source_mean + mean) ** 2 + C1)
            square = 1 - luminance * (1 - square)
        totals[channel] += square.sum()
    height, width = error.shape[1:]
    return 1 - totals / ((height - MARGIN_PX) * (width - MARGIN_PX))


def _strips(shape: tuple[int, ...]) -> Iterator[tuple[int, slice]]:
    """Yield (channel, slice of blurred rows) until all rows of all channels are covered."""
    channels, height, width = shape
    step = max(STRIP_VALUES // width // BLOCK_PX, 1) * BLOCK_PX
    for channel in range(channels):
        for start in range(0, height - MARGIN_PX, step):
            yield channel, slice(start, min(start + step, height - MARGIN_PX))


def planes_of(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels (h, w, 3) as planes (3, h, w), one after the other in memory."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _tensor(pixels: Pixels, device: str) -> "Tensor":
    import torch

    planes = torch.from_numpy(planes_of(pixels)).to(device)
    return planes.unsqueeze(0).to(torch.float64)
