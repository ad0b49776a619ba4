"""Peak signal-to-noise ratio (dB) of 8-bit RGB images: of all channels, of luma, and of YCbCr."""

import math
import operator

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Float64Array, Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.metric import (
    PIXELS_REASON,
    ErrorMap,
    ImageMetric,
    MapScale,
    Presentation,
    bands,
    loops,
    require_same_shape,
)

PEAK = 255
# ITU-R BT.709-6, item 3.2: Y' = .2126 R' + .7152 G' + .0722 B'. In ten-thousandths, the luma of
# 8-bit pixels is an integer below 2^24, which float32 holds exactly.
LUMA_WEIGHTS = np.array((2126, 7152, 722), np.float32)
LUMA_UNIT = 10_000
PLANE_WEIGHTS = (6, 1, 1)  # of Y', Cb and Cr


class PSNR(ImageMetric):
    """PSNR of the three channels together."""

    column = "psnr_db"
    words = "psnrrgb rgbpsnr"
    label, unit = "PSNR", "dB"
    protocol = "psnr-rgb8/1"
    presentation = Presentation(
        decimals=2,
        meets=(
            "psnr-rgb8/1", "psnr-rgb8-truncated/1", "psnr-rgb-unrounded/1", "psnr-rgb/reported",
        ),
    )  # fmt: skip

    def compare(self, prepared: Pixels, decoded: Pixels) -> float:
        """Return the PSNR (dB) of a decoded image; `ValueError` unless the shapes agree."""
        return psnr(prepared, decoded)


class LumaPSNR(ImageMetric):
    """PSNR of BT.709 luma, .2126 R' + .7152 G' + .0722 B': full range, peak 255, not rounded."""

    column = "psnr_y_db"
    words = "psnrluma lumapsnr ypsnr"
    label, unit = "PSNR of luma", "dB"
    presentation = Presentation(decimals=2)
    protocol = "psnr-luma709-rgb8/1"
    map_scale = MapScale(128.0**2, "Error of luma (grey levels)", root=True)

    def compare(self, prepared: Pixels, decoded: Pixels) -> float:
        """Return the PSNR of luma (dB) of a decoded image; `ValueError` unless the shapes agree."""
        require_same_shape(prepared.shape, decoded.shape)
        flat_images = [np.ascontiguousarray(image).reshape(-1, 3) for image in (prepared, decoded)]
        # a sum of integers does not depend on their order, and a band's sum fits in 64 bits
        bands_of_pixels = bands(len(flat_images[0]), 1)
        total = sum(
            _squared_luma_error(*(image[band] for image in flat_images)) for band in bands_of_pixels
        )
        return _decibels(total / LUMA_UNIT**2 / len(flat_images[0]))

    def error_map(self, prepared: Pixels, decoded: Pixels) -> ErrorMap:
        """Return the squared errors of luma."""
        require_same_shape(prepared.shape, decoded.shape)
        errors = _luma_sums(decoded) - _luma_sums(prepared)  # integers below 2^24
        result: ErrorMap = np.square(errors / np.float32(LUMA_UNIT))
        return result

    def value_of_map(self, mean: float) -> float:
        """Return the PSNR (dB) for a mean squared error; infinite for 0."""
        return 10 * math.log10(PEAK**2 / mean) if mean else math.inf


class WeightedPSNR(ImageMetric):
    """JVET's (6 PSNR(Y') + PSNR(Cb) + PSNR(Cr)) / 8: BT.709 full-range 4:4:4, rounded to 8 bits."""

    column = "psnr_ycbcr_db"
    words = "psnryuv yuvpsnr ycbcrpsnr"
    label, unit = "PSNR of YCbCr, 6:1:1", "dB"
    presentation = Presentation(margin=0.05, decimals=2)
    protocol = "psnr-ycbcr709-full8-444-611/1"

    def prepare(self, reference: Pixels) -> NDArray[np.uint8]:
        """Return the source's planes, uint8 of shape (3, height, width)."""
        return ycbcr_planes(reference)

    def compare(self, prepared: NDArray[np.uint8], decoded: Pixels) -> float:
        """Return the weighted PSNR (dB), infinite if all three planes are equal.

        Raises `ValueError` unless shapes agree, `NotMeasurable` if only some planes are equal.
        """
        plane_psnrs = [*map(psnr, prepared, ycbcr_planes(decoded))]
        names = zip(("Y", "Cb", "Cr"), plane_psnrs, strict=True)
        equal_planes = [name for name, psnr_db in names if math.isinf(psnr_db)]
        if 0 < len(equal_planes) < len(plane_psnrs):
            raise NotMeasurable(
                f"{' and '.join(equal_planes)} of this image and of its source are equal, so a "
                "PSNR to be averaged is infinite",
                PIXELS_REASON,
            )
        return math.fsum(map(operator.mul, PLANE_WEIGHTS, plane_psnrs)) / sum(PLANE_WEIGHTS)


def ycbcr_planes(pixels: Pixels) -> NDArray[np.uint8]:
    """Return Y', Cb and Cr of 8-bit RGB, (3, height, width): BT.709, full range, rounded.

    >>> ycbcr_planes(np.uint8([[[255, 255, 255], [255, 0, 0], [255, 255, 0]]])).tolist()
    [[[255, 54, 237]], [[128, 99, 0]], [[128, 255, 140]]]
    """
    height, width = pixels.shape[:2]
    planes = np.empty((3, height, width), np.uint8)
    for rows in bands(height, width):  # float64 takes 80 bytes per pixel
        band = pixels[rows]
        luma = _luma_sums(band) / LUMA_UNIT
        red, _, blue = np.moveaxis(band.astype(np.float64), 2, 0)
        # ITU-R BT.709-6, item 3.3: grey is 128; pure blue or red would be 255.5, and is clipped
        cb, cr = 128 + (blue - luma) / 1.8556, 128 + (red - luma) / 1.5748
        planes[:, rows] = np.rint(np.stack([luma, cb, cr])).clip(0, 255)
    return planes


def mean_squared_error(reference: Pixels, decoded: Pixels) -> float:
    """Return the mean squared error over height, width and channels, from an exact integer sum."""
    require_same_shape(reference.shape, decoded.shape)
    total = 0
    for rows in bands(*reference.shape[:2]):  # a sum of integers does not depend on their order
        band, decoded_band = reference[rows], decoded[rows]
        if loops is not None:
            total += loops.squared_error(*map(np.ascontiguousarray, (band, decoded_band)))
            continue
        # the absolute difference fits in uint8, its square in uint16
        difference = np.maximum(band, decoded_band) - np.minimum(band, decoded_band)
        total += int(np.multiply(difference, difference, dtype=np.uint16).sum(dtype=np.uint64))
    return total / reference.size


def psnr(reference: Pixels, decoded: Pixels) -> float:
    """Return 10 log10(255² / MSE) in dB; infinite for identical images."""
    return _decibels(mean_squared_error(reference, decoded))


def luma(pixels: Pixels) -> Float64Array:
    """Return unrounded BT.709 luma (height, width) in 0..255."""
    values: Float64Array = pixels @ (LUMA_WEIGHTS.astype(np.float64) / LUMA_UNIT)
    return values


def _luma_sums(pixels: Pixels) -> NDArray[np.float32]:
    sums: NDArray[np.float32] = pixels.reshape(-1, 3).astype(np.float32) @ LUMA_WEIGHTS
    return sums.reshape(pixels.shape[:-1])


def _squared_luma_error(reference: Pixels, decoded: Pixels) -> int:
    """Sum the squared differences of luma in ten-thousandths, for pixels (n, 3)."""
    if loops is not None:
        return int(loops.squared_luma_error(reference, decoded))
    error = (_luma_sums(decoded) - _luma_sums(reference)).astype(np.float64)
    return int(np.square(error).astype(np.int64).sum())


def _decibels(mse: float) -> float:
    return math.inf if mse == 0 else 10 * math.log10(PEAK**2 / mse)
