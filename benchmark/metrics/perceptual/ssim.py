"""Structural similarity (SSIM) of two 8-bit RGB images at one scale: 1 for identical ones.

Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
Similarity" (2004), as `pytorch_msssim.ssim(data_range=255)` computes it: 11-tap Gaussian window of
sigma 1.5, only where it fits, K of .01 and .03, mean over the pixels and the three channels of RGB.
The paper's own program first scales an image down to about 256 px and takes luma; many papers
report that or luma alone, which are other numbers. The arithmetic is that of `similarity.py`.
"""

from typing import Literal, NamedTuple

import numpy as np

from benchmark.codec import Pixels
from benchmark.metrics.metric import is_large, require_same_shape, require_side
from benchmark.metrics.perceptual.ms_ssim import moments, planes_of, similarity
from benchmark.metrics.perceptual.similarity import SAFE_RMS, Scale
from benchmark.metrics.perceptual.strips import (
    HalvedPlanes,
    halved_planes,
    ssim_in_strips,
)
from benchmark.metrics.presentation import Presentation

MIN_SIDE_PX = 11  # the side of the window


class PreparedMoments(NamedTuple):
    """Source with its moments; about 40 bytes per pixel."""

    pixels: Pixels
    scale: Scale


class SSIM:
    """SSIM of the three channels, computed on the CPU on every device; within 1e-6 of float64."""

    column = "ssim"
    label = "SSIM"
    better: Literal["higher", "lower"] = "higher"
    protocol = "ssim-rgb8/1"
    presentation = Presentation("saturating")

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`."""

    def prepare(self, reference: Pixels) -> PreparedMoments | HalvedPlanes:
        """Return the source's moments; `NotMeasurable` where a side is shorter than 11 px.

        Of a large image (`metric.is_large`), the pixels alone: it is compared in strips.
        """
        require_side(reference, MIN_SIDE_PX, self.label)
        if is_large(reference.shape):
            return halved_planes(reference, 1)
        return PreparedMoments(reference, moments(planes_of(reference).astype(np.float64)))

    def compare(self, prepared: PreparedMoments | HalvedPlanes, decoded: Pixels) -> float:
        """Return the SSIM of a decoded image, -1..1; `ValueError` unless the shapes agree."""
        if isinstance(prepared, HalvedPlanes):
            return ssim_in_strips(prepared, decoded)
        require_same_shape(prepared.pixels.shape, decoded.shape)
        error = planes_of(np.subtract(decoded, prepared.pixels, dtype=np.int16)).astype(np.float32)
        if np.square(error).mean() > SAFE_RMS**2:
            error = error.astype(np.float64)
        return float(similarity(error, prepared.scale, coarsest=True).mean())
