"""Visual information fidelity in the pixel domain (VIFp) of 8-bit RGB images.

Sheikh, Bovik, "Image Information and Visual Quality", IEEE Trans. Image Processing 15(2), 2006,
like the authors' `vifp_mscale.m`: four scales, Gaussian windows of 17, 9, 5 and 3 px, visual noise
of variance 2, on unrounded full-range BT.709 luma. float32 would change values by up to 2e-3.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmark.codec import Float64Array, Pixels
from benchmark.errors import NotMeasurable
from benchmark.metrics.metric import (
    NOT_FLAT,
    PIXELS_REASON,
    ImageMetric,
    Presentation,
    require_same_shape,
    require_side,
)
from benchmark.metrics.psnr import luma

WINDOWS = (17, 9, 5, 3)  # px, one per scale; the standard deviation is a fifth of the window
VISUAL_NOISE = 2.0  # variance, in squared grey levels
MIN_VARIANCE = 1e-10  # smaller variances are set to 0


class SourceScale(NamedTuple):
    """A source at one scale: luma, local means and variances, and total information."""

    plane: Float64Array
    mean: Float64Array
    variance: Float64Array
    information: float


class VIF(ImageMetric):
    """Visual information fidelity of luma in the pixel domain, four scales; 1: no difference."""

    column, label = "vif", "VIF"
    protocol = "vif/pixel-luma709-float64"
    presentation = Presentation(kind="perceptual quality")
    min_side_px = 41  # the coarsest scale then has one window

    def prepare(self, reference: Pixels) -> list[SourceScale]:
        """Return the source's scales; `NotMeasurable` if a side is short or luma is flat."""
        require_side(reference, self.min_side_px, self.label)
        scales = []
        for window, plane in _planes(reference):
            mean = _smooth(plane, window)
            variance = _variance(plane, mean, window)
            information = np.log10(1 + variance / VISUAL_NOISE).sum()
            scales.append(SourceScale(plane, mean, variance, float(information)))
        if not sum(scale.information for scale in scales):
            raise NotMeasurable(f"{self.label} {NOT_FLAT}", PIXELS_REASON)
        return scales

    def compare(self, prepared: list[SourceScale], decoded: Pixels) -> float:
        """Return the VIF of a decoded image; `ValueError` unless the shapes agree."""
        require_same_shape(prepared[0].plane.shape, decoded.shape[:2])
        scales = zip(prepared, _planes(decoded), strict=True)
        information = sum(_information(source, plane, window) for source, (window, plane) in scales)
        return information / sum(scale.information for scale in prepared)


def _information(source: SourceScale, plane: Float64Array, window: int) -> float:
    """Return the source's information that remains, with a gain and additive noise per window."""
    mean = _smooth(plane, window)
    variance = _variance(plane, mean, window)
    covariance = _smooth(source.plane * plane, window) - source.mean * mean
    gain = covariance / (source.variance + MIN_VARIANCE)
    noise = variance - gain * covariance
    gain[(source.variance < MIN_VARIANCE) | (variance < MIN_VARIANCE)] = 0
    no_gain = (source.variance < MIN_VARIANCE) | (gain < 0)
    noise[no_gain] = variance[no_gain]
    gain, noise = np.maximum(gain, 0), np.maximum(noise, MIN_VARIANCE)
    total_noise = noise + VISUAL_NOISE
    return float(np.log10(1 + gain**2 * source.variance / total_noise).sum())


def _variance(plane: Float64Array, mean: Float64Array, window: int) -> Float64Array:
    variance = np.maximum(_smooth(plane**2, window) - mean**2, 0)
    return np.where(variance < MIN_VARIANCE, 0, variance)


def _planes(pixels: Pixels) -> Iterator[tuple[int, Float64Array]]:
    """Yield each scale's window (px) and luma, halved at every scale."""
    plane = luma(pixels)
    yield WINDOWS[0], plane
    for window in WINDOWS[1:]:
        plane = _smooth(plane, window)[::2, ::2]
        yield window, plane


def _smooth(plane: Float64Array, window: int) -> Float64Array:
    from scipy.ndimage import correlate1d

    margin = window // 2
    weights = np.exp(-((np.arange(window) - margin) ** 2) / (2 * (window / 5) ** 2))
    weights /= weights.sum()
    rows = correlate1d(plane, weights, 0)[margin:-margin]
    local_means: Float64Array = correlate1d(rows, weights, 1)[:, margin:-margin]
    return local_means
