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

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.metrics.metric import (
    Better,
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
    Planes,
    Scale,
    dissimilarity,
    halve,
    moments_of_strip,
    planes_of,
    strips,
)

if TYPE_CHECKING:
    from torch import Tensor

AnyPlanes = NDArray[Any]  # (3, height, width), uint8 or float32
Channels = NDArray[np.float64]  # (3,)

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # finest first; Wang et al., section 3.2


class PreparedScales(NamedTuple):
    """Source with its moments at every scale; about 48 bytes per pixel."""

    pixels: Pixels
    scales: tuple[Scale, ...]  # finest first


class HalvedPlanes(NamedTuple):
    """Planes of a large image at every scale, finest first: a view of its pixels, then float32."""

    scales: tuple[AnyPlanes, ...]


class Structural(ABC):
    """Similarity of the three channels by `similarity.py`; within 1e-6 of float64."""

    label: ClassVar[str]
    better: Better = "higher"
    min_side_px: ClassVar[int]
    scales: ClassVar[int]

    def __init__(self, device: str = "cpu") -> None:
        self._device = device

    def prepare(self, reference: Pixels) -> "PreparedScales | HalvedPlanes | Tensor":
        """Return what depends on the source alone; `NotMeasurable` where a side is too short."""
        require_side(reference, self.min_side_px, self.label)
        if is_large(reference.shape):
            return halved_planes(reference, self.scales)
        planes: Planes = planes_of(reference).astype(np.float64)
        scales = [_moments(planes)]
        while len(scales) < self.scales:
            planes = halve(planes)
            scales.append(_moments(planes))
        return PreparedScales(reference, tuple(scales))

    def compare(self, prepared: Any, decoded: Pixels) -> float:
        """Return the similarity of a decoded image; `ValueError` unless the shapes agree."""
        large = isinstance(prepared, HalvedPlanes)
        return self.pooled(_in_strips(prepared, decoded) if large else _whole(prepared, decoded))

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

    def prepare(self, reference: Pixels) -> "PreparedScales | HalvedPlanes | Tensor":
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
    presentation = Presentation("saturating")
    min_side_px = 11  # the side of the window
    scales = 1

    def pooled(self, similarities: Iterator[Channels]) -> float:
        """Return the mean over channels."""
        (similarity,) = similarities
        return float(similarity.mean())


def halved_planes(pixels: Pixels, count: int) -> HalvedPlanes:
    """Return the planes of an image at `count` scales; the first shares the pixels' memory."""
    scales: list[AnyPlanes] = [pixels.transpose(2, 0, 1)]
    while len(scales) < count:
        scales.append(_halved_in_bands(scales[-1]))
    return HalvedPlanes(tuple(scales))


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


def _moments(planes: Planes) -> Scale:
    """Return a source's moments at one scale from its planes, float64 of shape (3, h, w)."""
    channels, height, width = planes.shape
    shape = (channels, height - MARGIN_PX, width - MARGIN_PX)
    doubled_mean, twice_variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for channel, rows in strips(planes.shape):
        strip = planes[channel, _wider(rows)]
        doubled_mean[channel, rows], twice_variance[channel, rows] = moments_of_strip(strip)
    return Scale((2 * planes).astype(np.float32), doubled_mean, twice_variance)


def _whole(source: PreparedScales, decoded: Pixels) -> Iterator[Channels]:
    """Yield each channel's similarity at every scale, finest first."""
    require_same_shape(source.pixels.shape, decoded.shape)
    errors = [planes_of(np.subtract(decoded, source.pixels, dtype=np.int16)).astype(np.float32)]
    while len(errors) < len(source.scales):
        errors.append(halve(errors[-1]))
    if np.square(errors[-1]).mean() > SAFE_RMS**2:
        # s(e) does cancel where whole regions are off by many levels: black against white is 4e-5
        # off in float32. Images as bad as that (below 27 dB) are few, and may take twice as long.
        errors = [error.astype(np.float64) for error in errors]
    for error, scale in zip(errors, source.scales, strict=True):
        totals = np.zeros(3)
        for channel, rows in strips(error.shape):
            of_strip = Scale(
                scale.doubled[channel, _wider(rows)],
                scale.doubled_mean[channel, rows],
                scale.twice_variance[channel, rows],
            )
            coarsest = scale is source.scales[-1]
            totals[channel] += dissimilarity(error[channel, _wider(rows)], of_strip, coarsest)
        yield _similarity(totals, error.shape)


def _in_strips(source: HalvedPlanes, decoded: Pixels) -> Iterator[Channels]:
    """Yield what `_whole` does; moments and errors are of one strip at a time."""
    height, width = source.scales[0].shape[1:]
    require_same_shape((height, width, 3), decoded.shape)
    others = halved_planes(decoded, len(source.scales))
    exact = _mean_square(others.scales[-1], source.scales[-1]) > SAFE_RMS**2
    kind = np.dtype(np.float64 if exact else np.float32)
    for one, other in zip(source.scales, others.scales, strict=True):
        totals = np.zeros(3)
        for channel, rows in strips(one.shape):
            strip = one[channel, _wider(rows)].astype(np.float64)
            moments = (2 * strip, *moments_of_strip(strip))
            of_strip = Scale(*(moment.astype(np.float32) for moment in moments))
            error = other[channel, _wider(rows)].astype(kind) - strip.astype(kind)
            totals[channel] += dissimilarity(error, of_strip, one is source.scales[-1])
        yield _similarity(totals, one.shape)


def _similarity(totals: Channels, shape: tuple[int, ...]) -> Channels:
    return 1 - totals / ((shape[1] - MARGIN_PX) * (shape[2] - MARGIN_PX))


def _wider(rows: slice) -> slice:
    return slice(rows.start, rows.stop + MARGIN_PX)


def _mean_square(one: AnyPlanes, other: AnyPlanes) -> float:
    total = 0.0
    for rows in bands(*one.shape[1:]):
        error: Floats = np.subtract(one[:, rows], other[:, rows], dtype=np.float64)
        total += float(np.square(error).sum())
    return total / one.size


def _tensor(pixels: Pixels, device: str) -> "Tensor":
    import torch

    return torch.from_numpy(planes_of(pixels)).to(device).unsqueeze(0).to(torch.float64)
