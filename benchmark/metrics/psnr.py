"""Peak signal-to-noise ratio (dB) of 8-bit RGB images: of all channels, of luma, and of YCbCr."""

import math
import operator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.metric import (
    OF_PIXELS,
    Better,
    Presentation,
    bands,
    is_large,
    require_same_shape,
)

PEAK = 255
# ITU-R BT.709-6, item 3.2: Y' = .2126 R' + .7152 G' + .0722 B'. In ten-thousandths, so that the
# luma of 8-bit pixels is a whole number below 2^24, and float32 holds it exactly.
LUMA_WEIGHTS = (2126.0, 7152.0, 722.0)
LUMA_UNIT = 10_000
PLANE_WEIGHTS = (6, 1, 1)


class PreparedLuma(NamedTuple):
    """A source with its luma, computed once; of a large image, in bands where it is compared."""

    pixels: Pixels
    luma: NDArray[np.float32] | None  # (pixels,), in ten-thousandths of a grey level; None: large


class PSNR:
    """PSNR of the three channels together."""

    column = "psnr_db"
    label = "PSNR (dB)"
    better: Better = "higher"
    protocol = "psnr-rgb8/1"
    presentation = Presentation(
        meets=(
            "psnr-rgb8/1", "psnr-rgb8-truncated/1", "psnr-rgb-unrounded/1", "psnr-rgb/reported",
        )
    )  # fmt: skip

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`: copying the pixels to it would take longer than the computation."""

    def prepare(self, reference: Pixels) -> Pixels:
        """Return the source itself."""
        return reference

    def compare(self, prepared: Pixels, decoded: Pixels) -> float:
        """Return the PSNR (dB) of a decoded image; `ValueError` unless the shapes agree."""
        return psnr(prepared, decoded)


class LumaPSNR:
    """PSNR of BT.709 luma, Y' = .2126 R' + .7152 G' + .0722 B', of gamma-coded 8-bit values.

    Full range, peak 255, not rounded: video tools that round luma to 8 bits, or to 16..235, give
    other numbers.
    """

    column = "psnr_y_db"
    label = "PSNR of luma (dB)"
    better: Better = "higher"
    protocol = "psnr-luma709-rgb8/1"

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`, as `PSNR` does."""

    def prepare(self, reference: Pixels) -> PreparedLuma:
        """Return the source with its luma."""
        return PreparedLuma(reference, None if is_large(reference.shape) else _luma(reference))

    def compare(self, prepared: PreparedLuma, decoded: Pixels) -> float:
        """Return the PSNR of luma (dB) of a decoded image; `ValueError` unless the shapes agree."""
        require_same_shape(prepared.pixels.shape, decoded.shape)
        if prepared.luma is None:
            error = _luma_error_in_bands(prepared.pixels, decoded)
        else:
            error = (_luma(decoded) - prepared.luma).astype(np.float64)
        return _decibels(float(error @ error) / LUMA_UNIT**2 / error.size)


class WeightedPSNR:
    """PSNR of Y'CbCr with weights 6:1:1, as JVET's common test conditions have it.

    (6 PSNR(Y') + PSNR(Cb) + PSNR(Cr)) / 8, of BT.709 full-range planes, 4:4:4, rounded to 8 bits.
    """

    column = "psnr_ycbcr_db"
    label = "PSNR of YCbCr, 6:1:1 (dB)"
    better: Better = "higher"
    protocol = "psnr-ycbcr709-full8-444-611/1"

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`, as `PSNR` does."""

    def prepare(self, reference: Pixels) -> NDArray[np.uint8]:
        """Return the source's planes."""
        return ycbcr_planes(reference)

    def compare(self, prepared: NDArray[np.uint8], decoded: Pixels) -> float:
        """Return the weighted PSNR (dB), infinite where all three planes are equal.

        Raises `ValueError` unless the shapes agree, and `NotMeasurable` where some planes are equal
        and others are not: the mean of a number and an infinite one says nothing.
        """
        require_same_shape(prepared.shape[1:], decoded.shape[:2])
        of_planes = [*map(psnr, prepared, ycbcr_planes(decoded))]
        equal = [n for n, db in zip(("Y", "Cb", "Cr"), of_planes, strict=True) if math.isinf(db)]
        if 0 < len(equal) < len(of_planes):
            raise NotMeasurable(
                f"{' and '.join(equal)} of this image and of its source are equal, so a PSNR to be "
                "averaged is infinite",
                OF_PIXELS,
            )
        return math.fsum(map(operator.mul, PLANE_WEIGHTS, of_planes)) / sum(PLANE_WEIGHTS)


def ycbcr_planes(pixels: Pixels) -> NDArray[np.uint8]:
    """Return Y', Cb and Cr of 8-bit RGB, (3, height, width): BT.709, full range, rounded.

    >>> ycbcr_planes(np.uint8([[[255, 255, 255], [255, 0, 0]]])).tolist()
    [[[255, 54]], [[128, 99]], [[128, 255]]]
    """
    height, width = pixels.shape[:2]
    planes = np.empty((3, height, width), np.uint8)
    for rows in bands(height, width):  # of float64, which takes 80 bytes a pixel
        band = pixels[rows]
        red, luma, blue = (
            band[..., 0].astype(np.float64),
            _luma(band).reshape(band.shape[:2]) / LUMA_UNIT,
            band[..., 2].astype(np.float64),
        )
        # ITU-R BT.709-6, item 3.3; 128 stands for no colour, and pure blue or red would be 255.5
        blueness, redness = 128 + (blue - luma) / 1.8556, 128 + (red - luma) / 1.5748
        planes[:, rows] = np.rint(np.stack([luma, blueness, redness])).clip(0, 255)
    return planes


def mean_squared_error(reference: Pixels, decoded: Pixels) -> float:
    """Return the mean squared error over height, width and channels, from an exact integer sum.

    >>> mean_squared_error(np.uint8([[[0, 0, 0]]]), np.uint8([[[255, 0, 0]]]))
    21675.0
    """
    require_same_shape(reference.shape, decoded.shape)
    total = 0
    for rows in bands(*reference.shape[:2]):  # integers, whose sum is the same in any order
        one, other = reference[rows], decoded[rows]
        # uint8 holds the difference of the larger and the smaller, and uint16 its square
        difference = np.maximum(one, other)
        difference -= np.minimum(one, other)
        squares = np.multiply(difference, difference, dtype=np.uint16)
        total += int(squares.sum(dtype=np.uint64))
    return total / reference.size


def psnr(reference: Pixels, decoded: Pixels) -> float:
    """Return 10 log10(255² / MSE) in dB; infinite for identical images.

    >>> psnr(np.uint8([[[0, 0, 0]]]), np.uint8([[[1, 1, 1]]]))
    48.1308...
    """
    return _decibels(mean_squared_error(reference, decoded))


def _luma(pixels: Pixels) -> NDArray[np.float32]:
    weights = np.array(LUMA_WEIGHTS, np.float32)
    luma: NDArray[np.float32] = pixels.reshape(-1, 3).astype(np.float32) @ weights
    return luma


def _luma_error_in_bands(reference: Pixels, decoded: Pixels) -> NDArray[np.float64]:
    # One array, since BLAS sums parts to other last digits. Differences are integers in float32.
    height, width = reference.shape[:2]
    error = np.empty((height, width), np.float64)
    for rows in bands(height, width):
        difference = _luma(decoded[rows]) - _luma(reference[rows])
        error[rows] = difference.reshape(-1, width)
    return error.reshape(-1)


def _decibels(mse: float) -> float:
    return math.inf if mse == 0 else 10 * math.log10(PEAK**2 / mse)
