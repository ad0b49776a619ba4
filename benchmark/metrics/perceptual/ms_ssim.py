"""Structural similarity of two 8-bit RGB images at five scales (MS-SSIM) and at one (SSIM).

Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment" (2003), as
learned compression reports it: `pytorch_msssim.ms_ssim(data_range=255)` on the three channels.
Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
Similarity" (2004), as `pytorch_msssim.ssim(data_range=255)` computes it: 11-tap Gaussian window of
sigma 1.5, only where it fits, K of .01 and .03, mean over the pixels and the three channels of RGB.
The paper's own program first scales an image down and takes luma, which gives other numbers.

On the CPU this takes an eighth of that package's time: moments of the source are computed once, in
float64, and the rest in float32 (`similarity.py`). Moments of a large image are computed strip by
strip where they are compared, with the same values: halved 8-bit pixels are multiples of 1/256
below 256, which float32 holds, so halving and subtracting round nowhere.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.metrics.metric import (
    ImageMetric,
    Presentation,
    bands,
    is_large,
    require_same_shape,
    require_side,
)
from benchmark.metrics.perceptual.similarity import (
    MARGIN_PX,
    SAFE_RMS,
    Floats,
    Moments,
    Planes,
    dissimilarity,
    halve,
    moments_of,
    planes_of,
    strips,
)

if TYPE_CHECKING:
    from torch import Tensor

AnyPlanes = NDArray[Any]  # (3, height, width), uint8 or float32
Channels = NDArray[np.float64]  # (3,)

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first; Wang et al., section 3.2


class Prepared(NamedTuple):
    """Source at every scale, finest first; about 48 bytes per pixel, or 4 without moments."""

    planes: list[AnyPlanes]  # of a large image the first shares the pixels' memory
    moments: list[list[Moments]] | None  # of each strip of each scale; None for a large image


class Structural(ImageMetric):
    """Similarity of the three channels by `similarity.py`; within 1e-6 of float64."""

    presentation = Presentation("saturating")
    scales: ClassVar[int]

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def prepare(self, reference: Pixels) -> "Prepared | Tensor":
        """Return what depends on the source alone; `NotMeasurable` where a side is too short."""
        require_side(reference, self.min_side_px, self.label)
        planes = _scales(reference, self.scales)
        if is_large(reference.shape):
            return Prepared(planes, None)
        return Prepared(planes, [list(_moments(scale)) for scale in planes])

    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the similarity of a decoded image; `ValueError` unless the shapes agree."""
        return self.pooled(_similarities(prepared, decoded))

    @abstractmethod
    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the metric of each scale's similarities, finest first."""


class MSSSIM(Structural):
    """MS-SSIM, 0..1, 1 for identical images.

    Computed on "cpu" by matrix products in numpy, on other devices by pytorch_msssim in float64.
    The two differ by less than 1e-6.
    """

    column = "ms_ssim"
    label = "MS-SSIM"
    protocol = "ms-ssim-rgb8/1"
    presentation = Presentation(
        "saturating", meets=("ms-ssim-rgb8/1", "ms-ssim-rgb-unrounded/1", "ms-ssim-rgb/reported")
    )
    min_side_px = 161  # four halvings leave 11 px, the side of the window
    scales = len(SCALE_WEIGHTS)

    def prepare(self, reference: Pixels) -> "Prepared | Tensor":
        """Return what depends on the source alone; `NotMeasurable` where a side is too short."""
        if self._device == "cpu":
            return super().prepare(reference)
        require_side(reference, self.min_side_px, self.label)
        return _tensor(reference, self._device)

    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the MS-SSIM of a decoded image, 0..1; `ValueError` unless the shapes agree."""
        if self._device == "cpu":
            return super().compare(prepared, decoded)
        from pytorch_msssim import ms_ssim as peer

        require_same_shape((*prepared.shape[2:], prepared.shape[1]), decoded.shape)
        return float(peer(prepared, _tensor(decoded, self._device), data_range=255))

    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the mean over channels of the weighted product over scales."""
        product = np.ones(3)
        for similarity, weight in zip(similarities, SCALE_WEIGHTS, strict=True):
            product *= np.maximum(similarity, 0) ** weight
        return float(product.mean())


class SSIM(Structural):
    """SSIM, -1..1, 1 for identical images; computed on the CPU on every device."""

    column = "ssim"
    label = "SSIM"
    protocol = "ssim-rgb8/1"
    min_side_px = 11  # the side of the window
    scales = 1

    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the mean over channels."""
        (similarity,) = similarities
        return float(similarity.mean())


def _scales(pixels: Pixels, count: int) -> list[AnyPlanes]:
    large = is_large(pixels.shape)
    scales: list[AnyPlanes] = [pixels.transpose(2, 0, 1) if large else planes_of(pixels)]
    while len(scales) < count:
        scales.append(_halved_in_bands(scales[-1]))
    return scales


def _halved_in_bands(planes: AnyPlanes) -> Planes:
    channels, height, width = planes.shape
    halved = np.empty((channels, -(-height // 2), -(-width // 2)), np.float32)
    above = height % 2  # a line of zeros
    for rows in bands(*halved.shape[1:]):
        first, last = 2 * rows.start - above, 2 * rows.stop - above
        band = planes[:, max(first, 0) : last].astype(np.float32)
        if first < 0:
            band = np.pad(band, ((0, 0), (1, 0), (0, 0)))
        halved[:, rows] = halve(band)
    return halved


def _moments(planes: AnyPlanes) -> Iterator[Moments]:
    """Yield a source's moments strip by strip, in the order of `strips`."""
    for channel, rows in strips(planes.shape):
        yield moments_of(planes[channel, rows.start : rows.stop + MARGIN_PX])


def _similarities(source: Prepared, decoded: Pixels) -> Iterator[Channels]:
    """Yield each channel's similarity at every scale, finest first."""
    channels, height, width = source.planes[0].shape
    require_same_shape((height, width, channels), decoded.shape)
    others = _scales(decoded, len(source.planes))
    # s(e) does cancel where whole regions are off by many levels: black against white is 4e-5 off
    # in float32. Images as bad as that (below 27 dB) are few, and may take twice as long.
    exact = _mean_square(others[-1], source.planes[-1]) > SAFE_RMS**2
    kind = np.dtype(np.float64 if exact else np.float32)
    for at, (planes, other) in enumerate(zip(source.planes, others, strict=True)):
        totals = np.zeros(channels)
        of_strips = _moments(planes) if source.moments is None else source.moments[at]
        for (channel, rows), moments in zip(strips(planes.shape), of_strips, strict=True):
            wider = channel, slice(rows.start, rows.stop + MARGIN_PX)
            error = other[wider].astype(kind) - planes[wider].astype(kind)
            totals[channel] += dissimilarity(error, moments, planes is source.planes[-1])
        yield 1 - totals / ((planes.shape[1] - MARGIN_PX) * (planes.shape[2] - MARGIN_PX))


def _mean_square(planes: AnyPlanes, other: AnyPlanes) -> float:
    total = 0.0
    for rows in bands(*planes.shape[1:]):
        error: Floats = np.subtract(planes[:, rows], other[:, rows], dtype=np.float64)
        total += float(np.square(error).sum())
    return total / planes.size


def _tensor(pixels: Pixels, device: str) -> "Tensor":
    import torch

    return torch.from_numpy(planes_of(pixels)).to(device).unsqueeze(0).to(torch.float64)
