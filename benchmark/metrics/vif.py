"""Visual information fidelity in the pixel domain (VIFp) of 8-bit RGB images.

Sheikh, Bovik, "Image Information and Visual Quality", IEEE Trans. Image Processing 15(2), 2006, by
the rules of the authors' `vifp_mscale.m`: four scales, Gaussian windows of 17, 9, 5 and 3 px,
visual noise of variance 2, of BT.709 luma of the full range, not rounded. In float64: in smooth
areas variances are small differences of large squares, and float32 moved values by up to 2e-3.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmark.codec import Float64Array, Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.metric import (
    NOT_FLAT,
    OF_PIXELS,
    ImageMetric,
    Presentation,
    require_same_shape,
    require_side,
)
from benchmark.metrics.psnr import luma

WINDOWS = (17, 9, 5, 3)  # px, a scale each; the standard deviation is a fifth of it
VISUAL_NOISE = 2.0  # variance, in squared grey levels
LEAST = 1e-10  # below it a variance counts as none


class Scale(NamedTuple):
    """A source at one scale: luma, its local means and variances, and its information."""

    plane: Float64Array
    mean: Float64Array
    variance: Float64Array
    information: float


class VIF(ImageMetric):
    """Visual information fidelity of luma in the pixel domain, four scales; 1: no difference."""

    column, label = "vif", "VIF"
    protocol = "vif/pixel-luma709-float64"
    presentation = Presentation(kind="perceptual quality")
    min_side_px = 41  # the coarsest scale has one window

    def prepare(self, reference: Pixels) -> list[Scale]:
        """Return the source at each scale; `NotMeasurable` for a short side, or flat luma."""
        require_side(reference, self.min_side_px, self.label)
        scales = []
        for window, plane in _planes(reference):
            mean = _smooth(plane, window)
            variance = _variance(plane, mean, window)
            information = np.log10(1 + variance / VISUAL_NOISE).sum()
            scales.append(Scale(plane, mean, variance, float(information)))
        if not sum(scale.information for scale in scales):
            raise NotMeasurable(f"{self.label} {NOT_FLAT}", OF_PIXELS)
        return scales

    def compare(self, prepared: list[Scale], decoded: Pixels) -> float:
        """Return the VIF of a decoded image; `ValueError` unless the shapes agree."""
        require_same_shape(prepared[0].plane.shape, decoded.shape[:2])
        scales = zip(prepared, _planes(decoded), strict=True)
        kept = sum(_information(source, plane, window) for source, (window, plane) in scales)
        return kept / sum(scale.information for scale in prepared)


def _information(source: Scale, plane: Float64Array, window: int) -> float:
    """Return the source's information that is left: a gain and additive noise in each window."""
    mean = _smooth(plane, window)
    variance = _variance(plane, mean, window)
    covariance = _smooth(source.plane * plane, window) - source.mean * mean
    gain = covariance / (source.variance + LEAST)
    noise = variance - gain * covariance
    gain[(source.variance < LEAST) | (variance < LEAST)] = 0
    without = (source.variance < LEAST) | (gain < 0)
    noise[without] = variance[without]
    gain, noise = np.maximum(gain, 0), np.maximum(noise, LEAST)
    noisy = noise + VISUAL_NOISE
    return float(np.log10(1 + gain**2 * source.variance / noisy).sum())


def _variance(plane: Float64Array, mean: Float64Array, window: int) -> Float64Array:
    variance = np.maximum(_smooth(plane**2, window) - mean**2, 0)
    return np.where(variance < LEAST, 0, variance)


def _planes(pixels: Pixels) -> Iterator[tuple[int, Float64Array]]:
    """Yield each scale's window and luma, halved from scale to scale."""
    plane = luma(pixels)
    yield WINDOWS[0], plane
    for window in WINDOWS[1:]:
        plane = _smooth(plane, window)[::2, ::2]
        yield window, plane


def _smooth(plane: Float64Array, window: int) -> Float64Array:
    """Return the Gaussian mean of each window that lies in the picture."""
    from scipy.ndimage import correlate1d

    half = window // 2
    weights = np.exp(-((np.arange(window) - half) ** 2) / (2 * (window / 5) ** 2))
    weights /= weights.sum()
    rows = correlate1d(plane, weights, 0)[half:-half]
    result: Float64Array = correlate1d(rows, weights, 1)[:, half:-half]
    return result
