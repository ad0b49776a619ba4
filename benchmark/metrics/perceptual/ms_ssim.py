"""Multi-scale structural similarity (MS-SSIM) of two 8-bit RGB images: 0..1, 1 for identical ones.

Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment" (2003), as
learned compression reports it: `pytorch_msssim.ms_ssim(data_range=255)` on the three channels.

On the CPU this takes an eighth of that package's time: what depends on the source alone is
computed once, in float64, and the rest in float32. `similarity.py` has the arithmetic, and
`strips.py` that of large images.
"""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.metrics.metric import is_large, require_same_shape, require_side
from benchmark.metrics.perceptual.similarity import (
    MARGIN_PX,
    SAFE_RMS,
    Planes,
    Scale,
    dissimilarity,
    halve,
    moments_of_strip,
    strips,
)
from benchmark.metrics.perceptual.strips import HalvedPlanes, compare_in_strips, halved_planes
from benchmark.metrics.presentation import Presentation

if TYPE_CHECKING:
    from torch import Tensor

MIN_SIDE_PX = 161  # four halvings leave 11 px, the side of the window
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first; Wang et al., section 3.2


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

    def prepare(self, reference: Pixels) -> "PreparedScales | HalvedPlanes | Tensor":
        """Return what depends on the source alone; of a large image, what is compared in strips.

        Raises `NotMeasurable` where a side is shorter than 161 px.
        """
        require_side(reference, MIN_SIDE_PX, "MS-SSIM")
        if self._device != "cpu":
            return _tensor(reference, self._device)
        if is_large(reference.shape):
            return halved_planes(reference, len(SCALE_WEIGHTS))
        return prepare(reference)

    def compare(self, prepared: "PreparedScales | HalvedPlanes | Tensor", decoded: Pixels) -> float:
        """Return the MS-SSIM of a decoded image, 0..1; `ValueError` unless the shapes agree."""
        if isinstance(prepared, HalvedPlanes):
            return compare_in_strips(prepared, decoded, SCALE_WEIGHTS)
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


def moments(planes: Planes) -> Scale:
    """Return a source's moments at one scale from its planes, float64 of shape (3, h, w)."""
    channels, height, width = planes.shape
    shape = (channels, height - MARGIN_PX, width - MARGIN_PX)
    doubled_mean, twice_variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for channel, rows in strips(planes.shape):
        strip = planes[channel, rows.start : rows.stop + MARGIN_PX]
        doubled_mean[channel, rows], twice_variance[channel, rows] = moments_of_strip(strip)
    return Scale((2 * planes).astype(np.float32), doubled_mean, twice_variance)


def similarity(error: Planes, scale: Scale, coarsest: bool) -> NDArray[np.float64]:
    """Return each channel's mean of contrast and structure, with luminance if `coarsest`.

    error: decoded minus source, (3, h, w); float32 suffices where its root mean square is below
    `SAFE_RMS` at the coarsest scale that is compared.
    """
    totals = np.zeros(3)
    for channel, rows in strips(error.shape):
        wider = slice(rows.start, rows.stop + MARGIN_PX)
        of_strip = Scale(
            scale.doubled[channel, wider],
            scale.doubled_mean[channel, rows],
            scale.twice_variance[channel, rows],
        )
        totals[channel] += dissimilarity(error[channel, wider], of_strip, coarsest)
    height, width = error.shape[1:]
    return 1 - totals / ((height - MARGIN_PX) * (width - MARGIN_PX))


def planes_of(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels (h, w, 3) as planes (3, h, w), one after the other in memory."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _tensor(pixels: Pixels, device: str) -> "Tensor":
    import torch

    planes = torch.from_numpy(planes_of(pixels)).to(device)
    return planes.unsqueeze(0).to(torch.float64)
