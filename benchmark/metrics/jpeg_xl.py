"""SSIMULACRA 2 and Butteraugli of two 8-bit sRGB images: the metrics with which JPEG XL was tuned.

SSIMULACRA 2, 100 for identical images, below 0 for very poor ones: Sneyers, "SSIMULACRA 2 -
Structural SIMilarity Unveiling Local And Compression Related Artifacts", release 2.1 of April 2023.
Both images are converted to XYB at six scales halved in linear light. Each channel at each scale
has three maps: one minus the structural similarity, edges added by the decoder, and edges lost. The
score is a polynomial of the weighted sum of the means and the 4-norms of these maps. The blur is
JPEG XL's recursive Gaussian of sigma 1.5 (Charalampidis, "Recursive Implementation of the Gaussian
Filter Using Truncated Cosine Functions" (2016)), applied as its finite impulse response in float64.
The author's float32 program differs by up to .03 below 70, and is up to .2 lower above 85.
Butteraugli, 0 for identical images, 1 just visible: Alakuijala et al., "Guetzli: Perceptually
Guided JPEG Encoder" (2017), by libjxl's program, at 80 cd/m²: the mean of the 3-, 6- and 12-norm of
the difference map, which libjxl calls the 3-norm; papers also report the maximum. The program
prints no version, so it must give the expected value for a test pair of images.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels
from benchmark.errors import NotMeasurable, ProgramFailed, Unavailable
from benchmark.metrics.metric import ImageMetric, Presentation, require_same_shape, require_side
from benchmark.metrics.ms_ssim import channel_planes
from benchmark.system.atomic import private_folder
from benchmark.system.programs import find_program, run_program

Floats = NDArray[np.float64]
Planes = Floats  # (3, height, width)

SCALES = 6
BLUR_SIGMA, BLUR_RADIUS = 1.5, 5  # the radius is round(3.2795 sigma + .2546)
STABILISER = 0.0009
# Matrix from linear sRGB to cone responses, and the bias added before the cube root
CONES = np.array(
    [
        [0.30, 0.622, 0.078],
        [0.23, 0.692, 0.078],
        [0.24342268924547819, 0.20476744424496821, 0.55180986650955360],
    ]
)
BIAS = 0.0037930732552754493
WEIGHTS = tomllib.loads(Path(__file__).with_name("ssimulacra2.toml").read_text())["weights"]
FACTOR = 0.9562382616834844
CUBIC = (6.248496625763138e-05, -0.020884521182843837, 2.326765642916932, 0.0)
EXPONENT = 0.6276336467831387


class PreparedScale(NamedTuple):
    """Source at one scale, with blurred values and squares; all scales take 100 bytes/px."""

    xyb: Planes
    mean: Planes
    square: Planes


class SSIMULACRA2(ImageMetric):
    """SSIMULACRA 2.1, computed on the CPU on every device."""

    on_cpu = True
    column = "ssimulacra2"
    words = "ssimulacra ssim2"
    label = "SSIMULACRA 2"
    presentation = Presentation(margin=0.5, decimals=2)
    protocol = "ssimulacra2/2.1"
    # From 113 px on, the fifth halving has sides of 8 px. For smaller images, the author's program
    # omits the missing scales, and applies weights to maps for which they were not fitted.
    min_side_px = 113

    def prepare(self, reference: Pixels) -> tuple[tuple[int, ...], list[PreparedScale]]:
        """Return the source's shape and scales; `NotMeasurable` if a side is under 113 px."""
        require_side(reference, self.min_side_px, self.label)
        scales = [PreparedScale(xyb, blur(xyb), blur(xyb * xyb)) for xyb in _xyb_scales(reference)]
        return reference.shape, scales

    def compare(
        self, prepared: tuple[tuple[int, ...], list[PreparedScale]], decoded: Pixels
    ) -> float:
        """Return a decoded image's score, at most 100; `ValueError` unless the shapes agree."""
        shape, scales = prepared
        require_same_shape(shape, decoded.shape)
        norms = [
            _norms(scale, xyb) for scale, xyb in zip(scales, _xyb_scales(decoded), strict=True)
        ]
        return score(np.stack(norms, axis=1))


def score(norms: Floats) -> float:
    """Return the score for norms of shape (3 channels, 6 scales, 2 norms, 3 maps).

    >>> score(np.zeros((3, 6, 2, 3)))
    100.0
    """
    error = FACTOR * float(np.sum(np.reshape(WEIGHTS, norms.shape) * norms))
    error = float(np.polyval(CUBIC, error))
    return float(100 - 10 * max(error, 0.0) ** EXPONENT)


def blur(planes: Planes) -> Planes:
    """Blur planes (n, height, width) with a Gaussian (sigma 1.5), with zeros beyond borders."""
    from scipy.ndimage import correlate1d

    blurred_rows = correlate1d(planes, _blur_kernel(), axis=1, mode="constant")
    blurred_planes: Planes = correlate1d(blurred_rows, _blur_kernel(), axis=2, mode="constant")
    return blurred_planes


@cache
def _blur_kernel() -> Floats:
    """Return the recursive filter's impulse response: nine samples, equations 33 to 57."""
    radius = BLUR_RADIUS
    omega = np.array([1, 3, 5]) * np.pi / (2 * radius)
    p = np.array([1, -1, 1]) / np.tan(omega / 2)
    r = np.array([1, -1, 1]) * p**2 / np.sin(omega)
    rho = np.exp(-0.5 * BLUR_SIGMA**2 * omega**2) / radius
    zeta = np.cross(p, r)  # orthogonal to both; the last component scaled to 1
    zeta /= zeta[2]
    beta = np.linalg.solve([p, r, zeta], [1, radius**2 - BLUR_SIGMA**2, zeta @ rho])
    samples = np.arange(1 - radius, radius)
    kernel: Floats = beta @ np.cos(np.outer(omega, samples))
    return kernel


def _xyb_scales(pixels: Pixels) -> Iterator[Planes]:
    """Yield the image in XYB, shifted and scaled to positive values, at each scale."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    light: Planes = linear[channel_planes(pixels)]
    for scale in range(SCALES):
        if scale:
            light = _halve_planes(light)
        cones = np.cbrt(np.maximum(np.tensordot(CONES, light, 1) + BIAS, 0))
        cones -= np.cbrt(BIAS)
        x, y = (cones[0] - cones[1]) / 2, (cones[0] + cones[1]) / 2
        yield np.stack([x * 14 + 0.42, y + 0.01, cones[2] - y + 0.55])


def _halve_planes(planes: Planes) -> Planes:
    """Average 2 x 2 pixels; the last row or column of an odd side is used twice."""
    _, height, width = planes.shape
    padded = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    rows = padded[:, 0::2] + padded[:, 1::2]
    means: Planes = (rows[..., 0::2] + rows[..., 1::2]) / 4
    return means


def _norms(source: PreparedScale, xyb: Planes) -> Floats:
    """Return the norms of the three maps at a scale, (3 channels, 2 norms, 3 maps)."""
    mean, square, product = blur(xyb), blur(xyb * xyb), blur(source.xyb * xyb)
    # No denominator in the luminance term: it would undo XYB's gamma a second time
    luminance = 1 - np.square(source.mean - mean)
    contrast = 2 * (product - source.mean * mean) + STABILISER
    spread = source.square - source.mean**2 + (square - mean**2) + STABILISER
    structure = np.maximum(1 - luminance * contrast / spread, 0)
    edges = (1 + np.abs(xyb - mean)) / (1 + np.abs(source.xyb - source.mean)) - 1
    maps = [structure, np.maximum(edges, 0), np.maximum(-edges, 0)]
    means = [errors.mean((1, 2)) for errors in maps]
    fourth_norms = [np.square(np.square(errors)).mean((1, 2)) ** 0.25 for errors in maps]
    return np.stack([np.stack(means, axis=-1), np.stack(fourth_norms, axis=-1)], axis=1)


PROGRAM = "butteraugli_main"
REMEDY = "install libjxl's tools (Debian: libjxl-devtools)"
EXPECTED_VALUE = 1.49497  # for `reference_pair`, by libjxl 0.7.0
TOLERANCE = 1e-3  # relative; instruction sets differ by less
TIMEOUT_SECONDS = 3600


class Butteraugli(ImageMetric):
    """Butteraugli's 3-norm, computed by libjxl's program on the CPU on every device."""

    on_cpu = True
    column = "butteraugli"
    words = "butteraugli3norm"
    label = "Butteraugli (3-norm)"
    presentation = Presentation(margin=0.02, short_title="Butteraugli")
    better = "lower"
    protocol = "butteraugli-3norm/libjxl-0.7-80nits"
    min_side_px = 8

    def __init__(self, device: str = "cpu") -> None:
        """Ignore `device`; `Unavailable` unless a program gives the expected value."""
        self._program = find_butteraugli()

    def compare(self, prepared: Pixels, decoded: Pixels) -> float:
        """Return the distance; `ValueError` if shapes differ, `NotMeasurable` on failure."""
        require_same_shape(prepared.shape, decoded.shape)
        try:
            return _run_butteraugli(self._program, prepared, decoded)
        except ProgramFailed as error:
            raise NotMeasurable(f"no Butteraugli: {error}") from error


@cache
def find_butteraugli() -> Path:
    """Return the program's path; `Unavailable` unless it gives the expected value."""
    program = find_program(PROGRAM, REMEDY)
    try:
        result = _run_butteraugli(program, *reference_pair())
    except ProgramFailed as error:
        raise Unavailable(f"Butteraugli needs a working {PROGRAM}: {error}") from error
    if abs(result - EXPECTED_VALUE) > TOLERANCE * EXPECTED_VALUE:
        raise Unavailable(
            f"{program} computes another version of Butteraugli ({result:g} for a pair of test "
            f"images): {REMEDY}, in a release that gives {EXPECTED_VALUE:g}"
        )
    return program


def reference_pair() -> tuple[Pixels, Pixels]:
    """Return two images of 48 x 64 px with `EXPECTED_VALUE`: gradients, and quantised gradients."""
    rows, columns = np.mgrid[:48, :64]
    source = np.stack([4 * columns, 5 * rows, (7 * rows * columns) % 256], axis=-1).astype(np.uint8)
    return source, source // 16 * 16 + 8


def _run_butteraugli(program: Path, reference: Pixels, decoded: Pixels) -> float:
    with private_folder() as folder:
        for name, pixels in (("reference.ppm", reference), ("decoded.ppm", decoded)):
            height, width, _ = pixels.shape
            (folder / name).write_bytes(b"P6\n%d %d\n255\n" % (width, height) + pixels.tobytes())
        command: list[str | Path] = [program, "reference.ppm", "decoded.ppm"]
        output = run_program(command, timeout_seconds=TIMEOUT_SECONDS, folder=folder)
    result = re.search(rb"3-norm: *([0-9.eE+-]+)", output)
    if result is None:
        raise ProgramFailed(f"{program.name} printed no 3-norm")
    return float(result[1])
