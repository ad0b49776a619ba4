"""Metrics of only the decoded 8-bit RGB image: NIQE, and networks that rate an image.

NIQE, lower is more natural: Mittal, Soundararajan, Bovik, "Making a 'Completely Blind' Image
Quality Analyzer" (2013), like the authors' release, with MATLAB's grey levels and bicubic halving,
except that pixels in single-coloured areas count as neither positive nor negative.
Networks in pyiqa 0.1.16: Ke et al., "MUSIQ: Multi-scale Image Quality Transformer" (2021); Wang,
Chan, Loy, "Exploring CLIP for Assessing the Look and Feel of Images" (2023), with pyiqa's five
pairs of prompts; Yang et al., "MANIQA: Multi-dimension Attention Network" (2022), 20 crops of
224 px at fixed positions. MUSIQ and MANIQA were trained on KonIQ-10k. pyiqa is optional; its
licence forbids commercial use, and its weights are pinned files.
"""

from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, Unavailable
from benchmark.metrics.metric import (
    PIXELS_REASON,
    ImageMetric,
    Presentation,
    require_same_shape,
    require_side,
)
from benchmark.registry import require_release
from benchmark.system.backbone import load_pinned, require_pinned
from benchmark.system.settings import find_fetched

Floats = NDArray[np.float64]

MODEL_FILE = "niqe_modelparameters.mat"
SHA256 = "fa2aa4d12dd9595c3fb6bf8b4e1a15c79d5d1469238d0901c88dead195be578d"
BLOCK_PX = 96
# MATLAB's rgb2gray: first row of the inverse of its YIQ-to-RGB matrix
GREY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # cyclic, from a block's pixels to their neighbours
SHAPES = np.round(np.arange(0.2, 10.0005, 0.001), 3)  # candidates for generalised Gaussians
# Cubic interpolation (a = -1/2) midway between two pixels; twice as wide, to avoid aliasing
TAPS = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
# Threshold in grey levels: smaller deviations from the local mean are rounding errors in flat
# areas; their sign would decide to which side of the Gaussian a flat pixel belongs.
FLAT_THRESHOLD = 1e-6


class NIQE(ImageMetric):
    """NIQE of the decoded image."""

    on_cpu = True
    column = "niqe"
    label = "NIQE"
    presentation = Presentation(margin=0.05)
    better = "lower"
    protocol = f"niqe/1-{SHA256[:8]}"

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`; `Unavailable` if the pristine model is missing or differs."""
        path = self.require()
        require_pinned(path, SHA256, "the model of NIQE's release")
        from scipy.io import loadmat

        model = loadmat(path)
        self._mean = model["mu_prisparam"].ravel()
        self._covariance = model["cov_prisparam"]

    @staticmethod
    def require() -> Path:
        """Return the pristine model's file; `Unavailable` if it is missing."""
        return find_fetched((MODEL_FILE,), "niqe", f"the release's file as {MODEL_FILE}")

    def prepare(self, reference: Pixels) -> tuple[int, ...]:
        """Return the source's shape; `NotMeasurable` if there are fewer than two blocks."""
        height, width, _ = reference.shape
        if (height // BLOCK_PX) * (width // BLOCK_PX) < 2:
            raise NotMeasurable(
                f"NIQE needs at least two blocks of {BLOCK_PX} px, this image has "
                f"{width} x {height} px",
                PIXELS_REASON,
            )
        return reference.shape

    def compare(self, prepared: tuple[int, ...], decoded: Pixels) -> float:
        """Return NIQE; `ValueError` if shapes differ, `NotMeasurable` below 2 textured blocks."""
        require_same_shape(prepared, decoded.shape)
        features = block_features(decoded)
        textured_features = features[np.isfinite(features).all(axis=1)]
        if len(textured_features) < 2:
            raise NotMeasurable("NIQE needs at least two blocks that are not flat", PIXELS_REASON)
        difference = self._mean - np.nanmean(features, axis=0)
        covariance = (self._covariance + np.cov(textured_features, rowvar=False)) / 2
        inverse = np.linalg.pinv(
            covariance, rcond=len(difference) * np.finfo(float).eps, hermitian=True
        )
        return float(np.sqrt(difference @ inverse @ difference))


def block_features(pixels: Pixels) -> Floats:
    """Return the statistics of each block, (blocks, 36); NaN if a block is flat."""
    height, width = (side // BLOCK_PX * BLOCK_PX for side in pixels.shape[:2])
    image = np.rint(pixels[:height, :width] @ np.array(GREY))
    half_size = _halve_height(_halve_height(image).T).T
    features = [
        _block_statistics(_normalise(scaled_image), BLOCK_PX // factor)
        for factor, scaled_image in ((1, image), (2, half_size))
    ]
    return np.concatenate(features, axis=1)


def _normalise(image: Floats) -> Floats:
    from scipy.ndimage import correlate1d

    window = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window /= window.sum()

    def mean(values: Floats) -> Floats:
        blurred_columns = correlate1d(values, window, axis=0, mode="nearest")
        local_means: Floats = correlate1d(blurred_columns, window, axis=1, mode="nearest")
        return local_means

    mu = mean(image)
    deviation = image - mu
    deviation[np.abs(deviation) < FLAT_THRESHOLD] = 0
    result: Floats = deviation / (np.sqrt(np.abs(mean(image * image) - mu * mu)) + 1)
    return result


def _halve_height(image: Floats) -> Floats:
    """Halve the (even) height of an image like MATLAB's imresize."""
    margin = len(TAPS) // 2 - 1
    padded_image = np.pad(image, ((margin, margin), (0, 0)), mode="symmetric")
    half_height = len(image) // 2
    rows = [
        tap * padded_image[offset : offset + 2 * half_height : 2] for offset, tap in enumerate(TAPS)
    ]
    half_image: Floats = np.sum(rows, axis=0)
    return half_image


def _block_statistics(image: Floats, side: int) -> Floats:
    from scipy.special import gamma

    rows, columns = (length // side for length in image.shape)
    blocks = image.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)
    shape, left_scale, right_scale = _asymmetric_gaussian(blocks)
    result = [shape, (left_scale + right_scale) / 2]
    for shift in SHIFTS:
        shape, left_scale, right_scale = _asymmetric_gaussian(
            blocks * np.roll(blocks, shift, axis=(1, 2))
        )
        result += [
            shape,
            (right_scale - left_scale) * gamma(2 / shape) / gamma(1 / shape),
            left_scale,
            right_scale,
        ]
    return np.stack(result, axis=1)


def _asymmetric_gaussian(blocks: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit each block by moments: return shape (nearest in `SHAPES`), left and right scale."""
    from scipy.special import gamma

    values = blocks.reshape(len(blocks), -1)
    squares = values * values
    with np.errstate(invalid="ignore", divide="ignore"):
        left_scale, right_scale = (
            np.sqrt((squares * sign).sum(axis=1) / sign.sum(axis=1))
            for sign in (values < 0, values > 0)
        )
        skew = left_scale / right_scale
        ratio = np.abs(values).mean(axis=1) ** 2 / squares.mean(axis=1)
        ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    ratios = _ratios()
    upper_indices = np.clip(np.searchsorted(ratios, ratio), 1, len(ratios) - 1)
    lower_is_nearer = ratio - ratios[upper_indices - 1] <= ratios[upper_indices] - ratio
    # A flat block has no ratio: MATLAB's minimum over NaN is the first shape
    shape = SHAPES[np.where(np.isnan(ratio), 0, upper_indices - lower_is_nearer)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left_scale * scale, right_scale * scale


@cache
def _ratios() -> Floats:
    """Return (mean magnitude)² / mean square of a Gaussian of each of `SHAPES`, ascending."""
    from scipy.special import gamma

    ratios: Floats = gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))
    return ratios


VERSION = "0.1.16"
INSTALL = f"pip install pyiqa=={VERSION} 'setuptools<82'"


class LearnedRating(ImageMetric):
    """Rating by a subclass's pyiqa network, higher is better; in float32 on every device."""

    min_side_px = 32  # size of MUSIQ's patches, and stride of the other two networks
    file: ClassVar[str]
    sha256: ClassVar[str]  # sha256 of the file, or its first digits
    file_description: ClassVar[str]  # the file's name in messages

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` if pyiqa or the weights are missing or have other contents."""
        path = self.require()
        self._device = device
        try:
            self._network = self.open(path, device)
        except ImportError as error:  # pyiqa needs forty packages
            raise Unavailable(f"{self.label} needs pyiqa with its dependencies: {error}") from error

    @classmethod
    def require(cls) -> Path:
        """Return the weights file; `Unavailable` if the file or pyiqa is missing."""
        require_release(cls.label, "pyiqa", VERSION, INSTALL)
        return find_fetched((cls.file,), cls.column, "the file")

    def open(self, path: Path, device: str) -> Any:
        """Return pyiqa's network with the weights from `path`."""
        state = load_pinned(path, self.sha256, self.file_description)
        from unittest.mock import patch

        import timm
        from pyiqa import create_metric

        create = timm.create_model

        def create_untrained(*names: Any, **options: Any) -> Any:
            return create(*names, **{**options, "pretrained": False})

        with patch.object(timm, "create_model", create_untrained):
            metric = create_metric(self.column, device=device, pretrained=False)
        metric.net.load_state_dict({key.removeprefix("module."): state[key] for key in state})
        return metric

    def prepare(self, reference: Pixels) -> tuple[int, ...]:
        """Return the source's shape; `NotMeasurable` if a side is shorter than 32 px."""
        require_side(reference, self.min_side_px, self.label)
        return reference.shape

    def compare(self, prepared: tuple[int, ...], decoded: Pixels) -> float:
        """Return the decoded image's rating; `ValueError` unless it has the prepared shape."""
        import torch

        require_same_shape(prepared, decoded.shape)
        image = torch.from_numpy(decoded.copy()).to(self._device)
        unit_image = image.permute(2, 0, 1)[None].float() / 255
        try:
            with torch.inference_mode():
                return float(self._network(unit_image))
        except torch.OutOfMemoryError as error:
            raise NotMeasurable(f"{self.label} of this image needs more memory: {error}") from error


class MUSIQ(LearnedRating):
    """MUSIQ of the whole image, in full size and two smaller sizes; about 0 to 100."""

    column = "musiq"
    label = "MUSIQ"
    presentation = Presentation(margin=0.5)
    file = "musiq_koniq_ckpt-e95806b9.pth"
    sha256 = "e95806b9"  # from its published name; the other digits are unknown
    file_description = "pyiqa's MUSIQ, trained on KonIQ-10k"
    protocol = f"musiq/pyiqa-{VERSION}-koniq-{sha256[:8]}"


class CLIPIQA(LearnedRating):
    """CLIP-IQA with CLIP's ResNet-50, of the whole image, 0 to 1."""

    column = "clip_iqa"
    label = "CLIP-IQA"
    presentation = Presentation(margin=0.01)
    file = "RN50.pt"
    sha256 = "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762"
    file_description = "OpenAI's CLIP RN50.pt"
    protocol = f"clip-iqa/pyiqa-{VERSION}-rn50-{sha256[:8]}"

    def open(self, path: Path, device: str) -> Any:
        """Return CLIP-IQA with the network from `path`, OpenAI's archive."""
        require_pinned(path, self.sha256, self.file_description)
        from pyiqa import create_metric

        return create_metric("clipiqa", device=device, backbone=str(path))


class MANIQA(LearnedRating):
    """MANIQA of 20 crops of the image, about 0 to 1; takes a minute per image on a CPU."""

    column = "maniqa"
    label = "MANIQA"
    presentation = Presentation(margin=0.01)
    file = "ckpt_koniq10k.pt"
    sha256 = "a207f8ab57322e6be38ff5c8d019301dc032b454bef21c3c9f9dbf7974eebff6"
    file_description = f"MANIQA's {file}"
    protocol = f"maniqa/pyiqa-{VERSION}-koniq-{sha256[:8]}"
