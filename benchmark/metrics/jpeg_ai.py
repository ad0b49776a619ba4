"""JPEG AI's metrics (FSIM, IW-SSIM, NLPD, PSNR-HVS-M, VMAF) and ColorVideoVDP, from packages.

Metrics of luma, except VMAF, use unrounded full-range BT.709 luma like JPEG AI's software. Releases
are pinned, since values may differ between releases; the packages are optional (`iqa`):

    FSIM        Zhang et al. (2011), with chrominance (FSIMc), of RGB; piq
    IW-SSIM     Wang, Li (2011), of luma; piq
    NLPD        Laparra et al. (2016), of luma; pyiqa
    PSNR-HVS-M  Ponomarenko et al. (2007), of luma, complete blocks of 8 x 8 px; psnr-hvsm
    CVVDP       Mantiuk et al., "ColorVideoVDP" (2024), a still picture on a 4k display, in JOD
                (10: no difference); the authors' package cvvdp
    VMAF        Li et al., "Toward a Practical Perceptual Video Quality Metric" (2016), model
                vmaf_v0.6.1, of limited-range luma (16..235), rounded to 8 bits; ffmpeg's filter
                libvmaf. Without motion, identical images score about 97.4
"""

import json
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Float64Array, Pixels
from benchmark.errors import NotMeasurable, ProgramFailed, Unavailable
from benchmark.metrics.metric import (
    NOT_FLAT,
    PIXELS_REASON,
    ImageMetric,
    Presentation,
    require_same_shape,
    require_side,
)
from benchmark.metrics.psnr import luma
from benchmark.registry import require_packages, require_release
from benchmark.system import programs
from benchmark.system.atomic import private_folder
from benchmark.system.programs import find_program, packaged_ffmpeg, run_program

if TYPE_CHECKING:
    from torch import Tensor

PIQ, PYIQA = ("piq", "0.8.0"), ("pyiqa", "0.1.16")
HVSM, CVVDP_RELEASE = ("psnr-hvsm", "0.3.0"), ("cvvdp", "0.5.7")
DISPLAY = "standard_4k"
BLOCK_PX = 8


class PackageMetric(ImageMetric):
    """Metric that a package computes; subclasses state the pinned release."""

    release: ClassVar[tuple[str, str]]  # distribution and version
    presentation = Presentation(kind="perceptual quality")

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` if the package is missing or is a different release."""
        require_packages(self.label, self.packages)
        self.require()
        self._device = "cpu" if self.on_cpu else device

    @classmethod
    def require(cls) -> None:
        """Raise `Unavailable` unless the package has the pinned release, without importing it."""
        package, release = cls.release
        require_release(cls.label, package, release, f"pip install {package}=={release}")

    def _tensor(self, values: Any) -> "Tensor":
        """Convert values (H, W, C) or (H, W) in 0..255 to float32 (1, C, H, W) in 0..1."""
        import torch

        array = np.ascontiguousarray(np.atleast_3d(values).transpose(2, 0, 1), np.float32)
        return torch.from_numpy(array)[None].to(self._device) / 255


class TensorMetric(PackageMetric):
    """Metric of two images as float32 tensors (1, C, H, W) in 0..1."""

    uses_luma: ClassVar[bool] = False
    weights_information: ClassVar[bool] = False  # weights pixels by information, so needs texture
    function: ClassVar[str]  # function in piq, unless a subclass overrides `measure`

    def prepare(self, reference: Pixels) -> "Tensor":
        """Return the source as a tensor; `NotMeasurable` if a side is short or luma is flat."""
        require_side(reference, self.min_side_px, self.label)
        plane = luma(reference) if self.uses_luma else reference
        if self.weights_information and not np.ptp(plane, axis=(0, 1)).any():
            raise NotMeasurable(f"{self.label} {NOT_FLAT}", PIXELS_REASON)
        return self._tensor(plane)

    def compare(self, prepared: "Tensor", decoded: Pixels) -> float:
        """Return the metric of a decoded image; `ValueError` unless the shapes agree."""
        import torch

        require_same_shape(tuple(prepared.shape[2:]), decoded.shape[:2])
        with torch.inference_mode():
            tensor = self._tensor(luma(decoded) if self.uses_luma else decoded)
            return float(self.measure(tensor, prepared))

    def measure(self, decoded: "Tensor", source: "Tensor") -> Any:
        """Return the package's value for two tensors (1, C, H, W) in 0..1."""
        return getattr(import_module("piq"), self.function)(decoded, source, data_range=1.0)


class FSIM(TensorMetric):
    """Feature similarity with chrominance."""

    column, label, better = "fsim", "FSIM", "higher"
    protocol = f"fsim/piq-{PIQ[1]}-chromatic"
    packages, release, min_side_px, function = ("piq",), PIQ, 16, "fsim"
    weights_information = True


class IWSSIM(TensorMetric):
    """SSIM of five scales, weighted by information content, of luma."""

    column, label, better = "iw_ssim", "IW-SSIM", "higher"
    presentation = Presentation("saturating", kind="perceptual quality")
    protocol = f"iw-ssim/piq-{PIQ[1]}-luma709"
    packages, release = ("piq",), PIQ
    uses_luma, weights_information, min_side_px, on_cpu = True, True, 161, True
    function = "information_weighted_ssim"

    def measure(self, decoded: "Tensor", source: "Tensor") -> Any:
        """Return IW-SSIM, at most 1 despite rounding; `NotMeasurable` for repeated rows."""
        from torch.linalg import LinAlgError  # type: ignore[attr-defined]

        try:
            return super().measure(decoded, source).clamp(max=1)
        except LinAlgError as error:
            reason = f"{self.label} needs a source whose covariances have an inverse"
            raise NotMeasurable(reason, PIXELS_REASON) from error


class NLPD(TensorMetric):
    """Normalised Laplacian pyramid distance of luma."""

    column, label, better = "nlpd", "NLPD", "lower"
    protocol = f"nlpd/pyiqa-{PYIQA[1]}-luma709"
    packages, release, uses_luma, min_side_px = ("pyiqa",), PYIQA, True, 64

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        try:
            from pyiqa import create_metric
        except ImportError as error:  # pyiqa needs forty packages
            raise Unavailable(f"{self.label} needs pyiqa with its dependencies: {error}") from error
        self._metric = create_metric("nlpd", device=device)

    def measure(self, decoded: "Tensor", source: "Tensor") -> Any:
        """Return NLPD. pyiqa's BT.601 luma leaves the grey values unchanged."""
        return self._metric(*(plane.expand(-1, 3, -1, -1) for plane in (decoded, source)))


class PSNRHVSM(PackageMetric):
    """PSNR with the eye's contrast sensitivity and masking between DCT coefficients."""

    column, label, unit = "psnr_hvs_m_db", "PSNR-HVS-M", "dB"
    presentation = Presentation(kind="perceptual quality", margin=0.05, decimals=2)
    words = "psnrhvs"
    protocol = f"psnr-hvs-m/{HVSM[1]}-luma709"
    packages, release, min_side_px, on_cpu = ("psnr_hvsm",), HVSM, BLOCK_PX, True

    def prepare(self, reference: Pixels) -> tuple[tuple[int, ...], Float64Array]:
        """Return the source's shape and its luma in complete blocks; `NotMeasurable` below 8 px."""
        require_side(reference, self.min_side_px, self.label)
        return reference.shape, self._luma(reference)

    def compare(self, prepared: tuple[tuple[int, ...], Float64Array], decoded: Pixels) -> float:
        """Return the PSNR-HVS-M (dB) of a decoded image; infinite for identical luma."""
        with redirect_stdout(StringIO()):  # the import prints names of missing packages
            from psnr_hvsm import psnr_hvs_hvsm_np

        require_same_shape(prepared[0], decoded.shape)
        source_luma, decoded_luma = prepared[1], self._luma(decoded)
        if np.array_equal(source_luma, decoded_luma):
            return float("inf")
        with np.errstate(divide="ignore", invalid="ignore"):  # in blocks without variance
            return float(psnr_hvs_hvsm_np(source_luma, decoded_luma)[1])

    @staticmethod
    def _luma(pixels: Pixels) -> Float64Array:
        height, width = (side // BLOCK_PX * BLOCK_PX for side in pixels.shape[:2])
        result: Float64Array = luma(pixels[:height, :width]) / 255
        return result


class CVVDP(PackageMetric):
    """ColorVideoVDP of a still picture: 10 minus just objectionable differences."""

    column, label, unit = "cvvdp_jod", "CVVDP", "JOD"
    presentation = Presentation(kind="perceptual quality", margin=0.02)
    words = "colorvideovdp jod"
    protocol = f"cvvdp/{CVVDP_RELEASE[1]}-standard-4k-still"
    packages, release, min_side_px = ("pycvvdp",), CVVDP_RELEASE, 16

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        import torch
        from pycvvdp import cvvdp

        self._metric = cvvdp(display_name=DISPLAY, device=torch.device(device))

    def compare(self, prepared: Pixels, decoded: Pixels) -> float:
        """Return the quality of a decoded image; `ValueError` unless the shapes agree."""
        require_same_shape(prepared.shape, decoded.shape)
        quality, _ = self._metric.predict(decoded, prepared, dim_order="HWC")
        return float(quality)


MODEL = "vmaf_v0.6.1"
QUIET = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error")
TIMEOUT_SECONDS = 600
BLACK, RANGE, GREY = 16, 219, 128


class VMAF(ImageMetric):
    """VMAF of luma, computed on the CPU on every device."""

    on_cpu = True
    column = "vmaf"
    label = "VMAF"
    presentation = Presentation(margin=0.5, decimals=2)
    protocol = "vmaf/0.6.1-luma709-limited8"
    min_side_px = 17  # libvmaf's features are undefined below this

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`; `Unavailable` if no ffmpeg has the filter libvmaf."""
        self._program = find_libvmaf()

    def prepare(self, reference: Pixels) -> NDArray[np.uint8]:
        """Return the source's luma; `NotMeasurable` if a side is under 17 px or luma is flat."""
        require_side(reference, self.min_side_px, self.label)
        source = limited_luma(reference)
        if np.ptp(source) == 0:  # white would score as a perfect copy of black
            raise NotMeasurable(f"{self.label} {NOT_FLAT}", PIXELS_REASON)
        return source

    def compare(self, prepared: NDArray[np.uint8], decoded: Pixels) -> float:
        """Return the VMAF; `ValueError` unless shapes agree, `NotMeasurable` if ffmpeg fails."""
        require_same_shape(prepared.shape, decoded.shape[:2])
        height, width = prepared.shape
        layout = ("-f", "rawvideo", "-pixel_format", "yuv444p", "-video_size", f"{width}x{height}")
        score = f"libvmaf=model=version={MODEL}:n_threads=1:log_fmt=json:log_path=log"
        command: list[str | Path] = [
            *(self._program, *QUIET, *layout, "-i", "decoded", *layout, "-i", "source"),
            *("-lavfi", score, "-f", "null", "-"),
        ]
        with private_folder() as folder:
            for name, plane in (("source", prepared), ("decoded", limited_luma(decoded))):
                (folder / name).write_bytes(plane.tobytes() + bytes([GREY]) * (2 * plane.size))
            try:
                run_program(command, timeout_seconds=TIMEOUT_SECONDS, folder=folder)
                limit = programs.MAX_OUTPUT_BYTES
                log = programs.read_output_file(folder / "log", self._program, limit)
                (frame,) = json.loads(log)["frames"]
            except (ProgramFailed, OSError, ValueError) as error:
                raise NotMeasurable(f"ffmpeg gave no VMAF: {error}") from error
        return float(frame["metrics"]["vmaf"])


def limited_luma(pixels: Pixels) -> NDArray[np.uint8]:
    """Return rounded BT.709 luma (height, width): black is 16, white 235."""
    plane: NDArray[np.uint8] = np.rint(BLACK + luma(pixels) * (RANGE / 255)).astype(np.uint8)
    return plane


@cache
def find_libvmaf() -> Path:
    """Return an ffmpeg with libvmaf: imageio-ffmpeg's, or else on PATH; may raise `Unavailable`."""
    remedy = "run `pip install 'rdrbench[formats]'`, or put an ffmpeg with libvmaf on the PATH"
    for use_package in (True, False):
        try:
            program = packaged_ffmpeg("VMAF") if use_package else find_program("ffmpeg", remedy)
            output = run_program([program, *QUIET, "-h", "filter=libvmaf"], timeout_seconds=60)
        except (Unavailable, ProgramFailed):
            continue
        if output.startswith(b"Filter libvmaf"):
            return program
    raise Unavailable(f"no ffmpeg here has the filter libvmaf, which VMAF needs: {remedy}")
