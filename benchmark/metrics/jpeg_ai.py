"""FSIM, IW-SSIM, NLPD, PSNR-HVS-M, VMAF (JPEG AI's set), ColorVideoVDP, by others' programs.

Of two 8-bit RGB images. JPEG AI's software takes BT.709 luma of the full range: so do, unrounded,
all here that take luma, but VMAF. Releases are pinned, since other ones may give other values:

    FSIM        Zhang et al. (2011), with chrominance (FSIMc), of RGB; piq
    IW-SSIM     Wang, Li (2011), of luma; piq
    NLPD        Laparra et al. (2016), of luma; pyiqa
    PSNR-HVS-M  Ponomarenko et al. (2007), of luma, whole blocks of 8 x 8; psnr-hvsm
    CVVDP       Mantiuk et al., "ColorVideoVDP" (2024), a still picture on a 4k display, in JOD
                (10: no difference); the authors' package cvvdp
    VMAF        Li et al., "Toward a Practical Perceptual Video Quality Metric" (2016), model
                vmaf_v0.6.1, of one frame, whose luma has the limited range 16..235, rounded to 8
                bits; ffmpeg's filter libvmaf. A frame has no motion: about 97.4 without difference

The packages are optional dependencies (`iqa`).
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
    OF_PIXELS,
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
HVSM, OF_CVVDP = ("psnr-hvsm", "0.3.0"), ("cvvdp", "0.5.7")
DISPLAY = "standard_4k"
BLOCK = 8  # pixels


class OfPackage(ImageMetric):
    """A metric that a package computes; a subclass names its pinned release."""

    release: ClassVar[tuple[str, str]]  # distribution and version
    presentation = Presentation(kind="perceptual quality")

    def __init__(self, device: str = "cpu") -> None:
        """Raise `Unavailable` where the package is absent or of another release."""
        require_packages(self.label, self.packages)
        self.require()
        self._device = "cpu" if self.on_cpu else device

    @classmethod
    def require(cls) -> None:
        """Raise `Unavailable` for another release of the package; nothing is imported."""
        package, release = cls.release
        require_release(cls.label, package, release, f"pip install {package}=={release}")

    def _tensor(self, values: Any) -> "Tensor":
        """Return values (H, W, C) or (H, W) in 0..255 as float32 (1, C, H, W) in 0..1."""
        import torch

        array = np.ascontiguousarray(np.atleast_3d(values).transpose(2, 0, 1), np.float32)
        return torch.from_numpy(array)[None].to(self._device) / 255


class OfTensors(OfPackage):
    """A metric that takes two images as float32 (1, C, H, W) in 0..1; a subclass may name piq's."""

    of_luma: ClassVar[bool] = False
    weighted: ClassVar[bool] = False  # by information, of which a flat source has none
    function: ClassVar[str]

    def prepare(self, reference: Pixels) -> "Tensor":
        """Return the source as a tensor; `NotMeasurable` for a short side, or flat luma."""
        require_side(reference, self.min_side_px, self.label)
        plane = luma(reference) if self.of_luma else reference
        if self.weighted and not np.ptp(plane, axis=(0, 1)).any():
            raise NotMeasurable(f"{self.label} {NOT_FLAT}", OF_PIXELS)
        return self._tensor(plane)

    def compare(self, prepared: "Tensor", decoded: Pixels) -> float:
        """Return the metric of a decoded image; `ValueError` unless the shapes agree."""
        import torch

        require_same_shape(tuple(prepared.shape[2:]), decoded.shape[:2])
        with torch.inference_mode():
            seen = self._tensor(luma(decoded) if self.of_luma else decoded)
            return float(self.measure(seen, prepared))

    def measure(self, decoded: "Tensor", source: "Tensor") -> Any:
        """Return the package's value."""
        return getattr(import_module("piq"), self.function)(decoded, source, data_range=1.0)


class FSIM(OfTensors):
    """Feature similarity with chrominance."""

    column, label, better = "fsim", "FSIM", "higher"
    protocol = f"fsim/piq-{PIQ[1]}-chromatic"
    packages, release, min_side_px, function = ("piq",), PIQ, 16, "fsim"
    weighted = True


class IWSSIM(OfTensors):
    """SSIM of five scales, weighted by information content, of luma."""

    column, label, better = "iw_ssim", "IW-SSIM", "higher"
    presentation = Presentation("saturating", kind="perceptual quality")
    protocol = f"iw-ssim/piq-{PIQ[1]}-luma709"
    packages, release = ("piq",), PIQ
    of_luma, weighted, min_side_px, on_cpu = True, True, 161, True
    function = "information_weighted_ssim"

    def measure(self, decoded: "Tensor", source: "Tensor") -> Any:
        """Return IW-SSIM, which rounding may raise above 1; `NotMeasurable` of repeated rows."""
        from torch.linalg import LinAlgError  # type: ignore[attr-defined]

        try:
            return super().measure(decoded, source).clamp(max=1)
        except LinAlgError as error:
            why = f"{self.label} needs a source whose covariances have an inverse"
            raise NotMeasurable(why, OF_PIXELS) from error


class NLPD(OfTensors):
    """Normalised Laplacian pyramid distance of luma."""

    column, label, better = "nlpd", "NLPD", "lower"
    protocol = f"nlpd/pyiqa-{PYIQA[1]}-luma709"
    packages, release, of_luma, min_side_px = ("pyiqa",), PYIQA, True, 64

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(device)
        try:
            from pyiqa import create_metric
        except ImportError as error:  # it needs forty packages
            raise Unavailable(f"{self.label} needs all that pyiqa needs: {error}") from error
        self._metric = create_metric("nlpd", device=device)

    def measure(self, decoded: "Tensor", source: "Tensor") -> Any:
        """Return NLPD; of grey, pyiqa's BT.601 luma is the grey itself."""
        return self._metric(*(plane.expand(-1, 3, -1, -1) for plane in (decoded, source)))


class PSNRHVSM(OfPackage):
    """PSNR with the contrast sensitivity of the eye and the masking between DCT coefficients."""

    column, label, better = "psnr_hvs_m_db", "PSNR-HVS-M (dB)", "higher"
    words = "psnrhvs"
    protocol = f"psnr-hvs-m/{HVSM[1]}-luma709"
    packages, release, min_side_px, on_cpu = ("psnr_hvsm",), HVSM, BLOCK, True

    def prepare(self, reference: Pixels) -> tuple[tuple[int, ...], Float64Array]:
        """Return shape and luma, cut to whole blocks, of the source; `NotMeasurable` below 8 px."""
        require_side(reference, self.min_side_px, self.label)
        return reference.shape, self._luma(reference)

    def compare(self, prepared: tuple[tuple[int, ...], Float64Array], decoded: Pixels) -> float:
        """Return PSNR-HVS-M of a decoded image; infinite without difference."""
        with redirect_stdout(StringIO()):  # it prints what it lacks
            from psnr_hvsm import psnr_hvs_hvsm_np

        require_same_shape(prepared[0], decoded.shape)
        source, seen = prepared[1], self._luma(decoded)
        if np.array_equal(source, seen):
            return float("inf")
        with np.errstate(divide="ignore", invalid="ignore"):  # of blocks without variance
            return float(psnr_hvs_hvsm_np(source, seen)[1])

    @staticmethod
    def _luma(pixels: Pixels) -> Float64Array:
        height, width = (side // BLOCK * BLOCK for side in pixels.shape[:2])
        result: Float64Array = luma(pixels[:height, :width]) / 255
        return result


class CVVDP(OfPackage):
    """ColorVideoVDP of a still picture, in just objectionable differences below 10."""

    column, label, better = "cvvdp_jod", "CVVDP (JOD)", "higher"
    words = "colorvideovdp jod"
    protocol = f"cvvdp/{OF_CVVDP[1]}-standard-4k-still"
    packages, release, min_side_px = ("pycvvdp",), OF_CVVDP, 16

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
    protocol = "vmaf/0.6.1-luma709-limited8"
    min_side_px = 17  # libvmaf's features are not defined for less

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`; `Unavailable` where no ffmpeg has the filter libvmaf."""
        self._program = find_libvmaf()

    def prepare(self, reference: Pixels) -> NDArray[np.uint8]:
        """Return the source's luma; `NotMeasurable` for a side under 17 px, or flat luma."""
        require_side(reference, self.min_side_px, self.label)
        source = limited_luma(reference)
        if np.ptp(source) == 0:  # of black, white would have the VMAF of identical pictures
            raise NotMeasurable(f"{self.label} {NOT_FLAT}", OF_PIXELS)
        return source

    def compare(self, prepared: NDArray[np.uint8], decoded: Pixels) -> float:
        """Return the VMAF of a decoded image; `ValueError` unless the shapes agree.

        Raises `NotMeasurable` where ffmpeg fails, with what it printed.
        """
        require_same_shape(prepared.shape, decoded.shape[:2])
        height, width = prepared.shape
        layout = ("-f", "rawvideo", "-pixel_format", "yuv444p", "-video_size", f"{width}x{height}")
        score = f"libvmaf=model=version={MODEL}:n_threads=1:log_fmt=json:log_path=log"
        command: list[str | Path] = [
            *(self._program, *QUIET, *layout, "-i", "decoded", *layout, "-i", "source"),
            *("-lavfi", score, "-f", "null", "-"),
        ]
        with private_folder() as folder:
            for name, luma in (("source", prepared), ("decoded", limited_luma(decoded))):
                (folder / name).write_bytes(luma.tobytes() + bytes([GREY]) * (2 * luma.size))
            try:
                run_program(command, timeout_seconds=TIMEOUT_SECONDS, folder=folder)
                most = programs.MOST_OUTPUT_BYTES
                log = programs.read_written(folder / "log", self._program, most)
                (frame,) = json.loads(log)["frames"]
            except (ProgramFailed, OSError, ValueError) as error:
                raise NotMeasurable(f"ffmpeg gave no VMAF: {error}") from error
        return float(frame["metrics"]["vmaf"])


def limited_luma(pixels: Pixels) -> NDArray[np.uint8]:
    """Return BT.709 luma (height, width) in 16..235, rounded.

    >>> limited_luma(np.uint8([[[0, 0, 0], [255, 255, 255]]])).tolist()
    [[16, 235]]
    """
    limited: NDArray[np.uint8] = np.rint(BLACK + luma(pixels) * (RANGE / 255)).astype(np.uint8)
    return limited


@cache
def find_libvmaf() -> Path:
    """Return an ffmpeg that has the filter libvmaf: imageio-ffmpeg's, or else that on the PATH.

    Raises `Unavailable` where neither has it.
    """
    remedy = "run `pip install 'rdrbench[formats]'`, or put an ffmpeg with libvmaf on the PATH"
    for packaged in (True, False):
        try:
            program = packaged_ffmpeg("VMAF") if packaged else find_program("ffmpeg", remedy)
            printed = run_program([program, *QUIET, "-h", "filter=libvmaf"], timeout_seconds=60)
        except (Unavailable, ProgramFailed):
            continue
        if printed.startswith(b"Filter libvmaf"):
            return program
    raise Unavailable(f"no ffmpeg here has the filter libvmaf, which VMAF needs: {remedy}")
