"""Butteraugli of two 8-bit sRGB images, by JPEG XL's program: 0 for identical ones, 1 just visible.

Alakuijala et al., "Guetzli: Perceptually Guided JPEG Encoder" (2017), as libjxl develops it, on a
display of 80 cd/m²: the mean of the 3-, 6- and 12-norm of the map of differences, which libjxl
calls the 3-norm; the maximum, which papers give as well, is another number. The program prints no
version, so it is refused unless it gives the value of a known pair of images.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, ProgramFailed, Unavailable
from benchmark.metrics.metric import ImageMetric, require_same_shape
from benchmark.system.private_folder import private_folder
from benchmark.system.programs import find_program, run_program

PROGRAM = "butteraugli_main"
REMEDY = "install libjxl's tools (Debian: libjxl-devtools)"
KNOWN_VALUE = 1.49497  # of `known_pair`, by libjxl 0.7.0
TOLERANCE = 1e-3  # relative; instruction sets differ by less
TIMEOUT_SECONDS = 3600


class Butteraugli(ImageMetric):
    """Butteraugli's 3-norm, computed by a program on the CPU on every device."""

    column = "butteraugli"
    label = "Butteraugli (3-norm)"
    better = "lower"
    protocol = "butteraugli-3norm/libjxl-0.7-80nits"
    min_side_px = 8

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`; `Unavailable` without a program that gives the known value."""
        self._program = find_butteraugli()

    def compare(self, prepared: Pixels, decoded: Pixels) -> float:
        """Return the distance of a decoded image; `ValueError` unless the shapes agree.

        Raises `NotMeasurable` where the program fails, with what it printed.
        """
        require_same_shape(prepared.shape, decoded.shape)
        try:
            return _distance(self._program, prepared, decoded)
        except ProgramFailed as error:
            raise NotMeasurable(f"no Butteraugli: {error}") from error


@cache
def find_butteraugli() -> Path:
    """Return the path of a program that gives the known value; `Unavailable` where none does."""
    program = find_program(PROGRAM, REMEDY)
    try:
        result = _distance(program, *known_pair())
    except ProgramFailed as error:
        raise Unavailable(f"Butteraugli needs a working {PROGRAM}: {error}") from error
    if abs(result - KNOWN_VALUE) > TOLERANCE * KNOWN_VALUE:
        raise Unavailable(
            f"{program} gives {result:g} for a pair of images whose Butteraugli is "
            f"{KNOWN_VALUE:g}, so it is another definition: {REMEDY}, of a release that gives "
            "this value"
        )
    return program


def known_pair() -> tuple[Pixels, Pixels]:
    """Return two images of 48 x 64 px whose distance is known: gradients, and the same coarser."""
    rows, columns = np.mgrid[:48, :64]
    source = np.stack([4 * columns, 5 * rows, (7 * rows * columns) % 256], axis=-1).astype(np.uint8)
    return source, source // 16 * 16 + 8


def _distance(program: Path, reference: Pixels, decoded: Pixels) -> float:
    with private_folder() as folder:
        for name, pixels in (("reference.ppm", reference), ("decoded.ppm", decoded)):
            height, width, _ = pixels.shape
            (folder / name).write_bytes(b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes())
        command: list[str | Path] = [program, "reference.ppm", "decoded.ppm"]
        printed = run_program(command, timeout_seconds=TIMEOUT_SECONDS, folder=folder)
    result = re.search(rb"3-norm: *([0-9.eE+-]+)", printed)
    if result is None:
        raise ProgramFailed(f"{program.name} printed no 3-norm")
    return float(result[1])
