"""VMAF of two 8-bit RGB images as one frame of a video: 0..100, about 97.4 for identical images.

Li, Aaron, Katsavounidis, Moorthy, Manohara, "Toward a Practical Perceptual Video Quality Metric"
(2016), model vmaf_v0.6.1, by the filter libvmaf of ffmpeg, of luma alone: BT.709 of the limited
range 16..235, rounded to 8 bits. A single frame has no motion, to which the model gives a little
less than 100.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, ProgramFailed, Unavailable
from benchmark.metrics.metric import ImageMetric, require_same_shape, require_side
from benchmark.metrics.psnr import luma
from benchmark.system import programs
from benchmark.system.private_folder import private_folder
from benchmark.system.programs import find_program, packaged_ffmpeg, run_program

MODEL = "vmaf_v0.6.1"
QUIET = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error")
TIMEOUT_SECONDS = 600
BLACK, RANGE, GREY = 16, 219, 128


class VMAF(ImageMetric):
    """VMAF of luma, computed on the CPU on every device."""

    column = "vmaf"
    label = "VMAF"
    protocol = "vmaf/0.6.1-luma709-limited8"
    min_side_px = 17  # libvmaf's features are not defined for less

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`; `Unavailable` where no ffmpeg has the filter libvmaf."""
        self._program = find_libvmaf()

    def prepare(self, reference: Pixels) -> NDArray[np.uint8]:
        """Return the source's luma; `NotMeasurable` where a side is shorter than 17 px."""
        require_side(reference, self.min_side_px, self.label)
        return limited_luma(reference)

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
