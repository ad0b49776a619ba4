"""Peak signal-to-noise ratio (dB) of 8-bit RGB images, over all channels or of luma alone."""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.metrics.metric import require_same_shape
from benchmark.metrics.presentation import Presentation

Better = Literal["higher", "lower"]

PEAK = 255
# ITU-R BT.709-6, item 3.2: Y' = .2126 R' + .7152 G' + .0722 B'. In ten-thousandths, so that the
# luma of 8-bit pixels is a whole number below 2^24, and float32 holds it exactly.
LUMA_WEIGHTS = (2126.0, 7152.0, 722.0)
LUMA_UNIT = 10_000


class PreparedLuma(NamedTuple):
    """Luma of a source, computed once."""

    shape: tuple[int, ...]
    luma: NDArray[np.float32]  # (pixels,), in ten-thousandths of a grey level


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
    """PSNR of BT.709 luma."""

    column = "psnr_y_db"
    label = "PSNR of luma (dB)"
    better: Better = "higher"
    protocol = "psnr-luma709-rgb8/1"

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`, as `PSNR` does."""

    def prepare(self, reference: Pixels) -> PreparedLuma:
        """Return the source's luma."""
        return PreparedLuma(reference.shape, _luma(reference))

    def compare(self, prepared: PreparedLuma, decoded: Pixels) -> float:
        """Return the PSNR of luma (dB) of a decoded image; `ValueError` unless the shapes agree."""
        require_same_shape(prepared.shape, decoded.shape)
        error = (_luma(decoded) - prepared.luma).astype(np.float64)
        return _decibels(float(error @ error) / LUMA_UNIT**2 / error.size)


def mean_squared_error(reference: Pixels, decoded: Pixels) -> float:
    """Return the mean squared error over height, width and channels, from an exact integer sum.

    >>> mean_squared_error(np.uint8([[[0, 0, 0]]]), np.uint8([[[255, 0, 0]]]))
    21675.0
    """
    require_same_shape(reference.shape, decoded.shape)
    # uint8 holds the difference of the larger and the smaller, and uint16 its square
    difference = np.maximum(reference, decoded)
    difference -= np.minimum(reference, decoded)
    squares = np.multiply(difference, difference, dtype=np.uint16)
    return int(squares.sum(dtype=np.uint64)) / squares.size


def psnr(reference: Pixels, decoded: Pixels) -> float:
    """Return 10 log10(255² / MSE) in dB; infinite for identical images.

    >>> psnr(np.uint8([[[0, 0, 0]]]), np.uint8([[[1, 1, 1]]]))
    48.1308...
    """
    return _decibels(mean_squared_error(reference, decoded))


def luma_psnr(reference: Pixels, decoded: Pixels) -> float:
    """Return the PSNR (dB) of Y' = .2126 R' + .7152 G' + .0722 B'; infinite for equal luma.

    Luma is computed from the gamma-coded 8-bit values, full range, peak 255, and not rounded: video
    tools that round luma to 8 bits, or to 16..235, give other numbers.

    >>> luma_psnr(np.uint8([[[0, 0, 0]]]), np.uint8([[[0, 1, 0]]]))
    51.0422...
    """
    metric = LumaPSNR()
    return metric.compare(metric.prepare(reference), decoded)


def _luma(pixels: Pixels) -> NDArray[np.float32]:
    weights = np.array(LUMA_WEIGHTS, np.float32)
    luma: NDArray[np.float32] = pixels.reshape(-1, 3).astype(np.float32) @ weights
    return luma


def _decibels(mse: float) -> float:
    return math.inf if mse == 0 else 10 * math.log10(PEAK**2 / mse)
