"""Conversion between RGB pixels and BT.709 full-range Y'CbCr planes, 4:4:4 or 4:2:0.

Matrix and quantisation follow ITU-T H.273 (matrix coefficients 1, full range): with n bits, luma is
(2^n - 1) Y', chroma is (2^n - 1) C plus 2^(n-1), each rounded once, half to even.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import Pixels

KR, KG, KB = 2126, 7152, 722  # luma weights in ten-thousandths
UNIT = 10_000
LANCZOS_LOBES = 3  # lobes of the filter that resamples chroma
# Position of a chroma sample between its two luma samples, 0 being the first: at the left, halfway
# down, as HEVC and VVC assume unless a stream states another (chroma location 0).
VERTICAL_SITE, HORIZONTAL_SITE = 0.5, 0.0

Plane = NDArray[Any]  # (height, width), codes of n bits; uint8 up to 8 bits, uint16 above
Samples = NDArray[np.float64]
Subsampling = Literal[444, 420]


class Planes(NamedTuple):
    """Planes of a picture for a video codec; in 4:2:0 the chroma planes have halved sides."""

    luma: Plane
    blue: Plane  # Cb
    red: Plane  # Cr


def rgb_to_ycbcr(pixels: Pixels, depth: int, subsampling: Subsampling = 444) -> Planes:
    """Convert to planes of `depth` bits (uint8 for 8, uint16 above), rounded half to even, clipped.

    Chroma is halved before rounding. 4:2:0 needs an even height and width (`ValueError`).
    """
    red, green, blue = np.moveaxis(pixels.astype(np.float64), 2, 0)
    # Integers until a single division, so that halves (such as R = G with odd B - R) are exact.
    luma = KR * red + KG * green + KB * blue
    cb, cr = UNIT * blue - luma, UNIT * red - luma
    if subsampling == 420:
        cb, cr = halve(cb), halve(cr)
    middle = 1 << (depth - 1)
    return Planes(
        _quantise(luma, UNIT, depth, 0),
        _quantise(cb, 2 * (UNIT - KB), depth, middle),
        _quantise(cr, 2 * (UNIT - KR), depth, middle),
    )


def ycbcr_to_rgb(planes: Planes, depth: int) -> Pixels:
    """Convert planes on the scale of `depth` bits to 8-bit pixels, rounded half to even, clipped.

    Chroma planes of half the height are 4:2:0; they are doubled first.
    """
    luma, *chroma = (plane.astype(np.float64) for plane in planes)
    if chroma[0].shape != luma.shape:
        chroma = [double(plane) for plane in chroma]
    scale = 255 / (2**depth - 1)
    luma *= scale
    cb, cr = ((plane - 2 ** (depth - 1)) * scale for plane in chroma)
    red = luma + 2 * (UNIT - KR) / UNIT * cr
    blue = luma + 2 * (UNIT - KB) / UNIT * cb
    green = (UNIT * luma - KR * red - KB * blue) / KG
    levels = np.rint(np.stack([red, green, blue], axis=2))
    pixels: Pixels = np.clip(levels, 0, 255).astype(np.uint8)
    return pixels


def reduce_to_8_bits(planes: Planes) -> Planes:
    """Round 10-bit planes to 8 bits like a video decoder with an 8-bit output.

    >>> reduce_to_8_bits(Planes(*np.uint16([[[401, 402]], [[1021, 1022]], [[0, 1]]]))).luma.tolist()
    [[100, 101]]
    """
    return Planes(*(np.minimum((plane + 2) >> 2, 255).astype(np.uint8) for plane in planes))


def halve(plane: NDArray[Any]) -> Samples:
    """Halve both sides by Lanczos-3 with replicated edges; `ValueError` unless sides are even."""
    if plane.shape[0] % 2 or plane.shape[1] % 2:
        raise ValueError(f"4:2:0 needs even sides, not {plane.shape[1]}x{plane.shape[0]}")
    return _halve_rows(_halve_rows(plane, VERTICAL_SITE).T, HORIZONTAL_SITE).T


def double(plane: NDArray[Any]) -> Samples:
    """Double both sides by Lanczos-3; input samples are where `halve` places them."""
    return _double_rows(_double_rows(plane, VERTICAL_SITE).T, HORIZONTAL_SITE).T


def _quantise(samples: Samples, unit: int, depth: int, offset: int) -> Plane:
    max_code = 2**depth - 1
    codes: Plane = np.clip(np.rint(samples * max_code / (255 * unit) + offset), 0, max_code)
    return codes.astype(np.uint8 if depth <= 8 else np.uint16)


def _halve_rows(rows: NDArray[Any], site: float) -> Samples:
    reach = 2 * LANCZOS_LOBES
    weights = _lanczos([(offset - site) / 2 for offset in range(-reach, reach + 1)])
    padded = np.pad(rows, ((reach, reach), (0, 0)), mode="edge")
    return _weighted_sum([padded[i : i + len(rows) : 2] for i in range(2 * reach + 1)], weights)


def _double_rows(rows: NDArray[Any], site: float) -> Samples:
    padded = np.pad(rows, ((LANCZOS_LOBES, LANCZOS_LOBES), (0, 0)), mode="edge")
    neighbours = [padded[i : i + len(rows)] for i in range(2 * LANCZOS_LOBES + 1)]
    phases = [
        _weighted_sum(
            neighbours,
            _lanczos(
                [offset - (row - site) / 2 for offset in range(-LANCZOS_LOBES, LANCZOS_LOBES + 1)]
            ),
        )
        for row in (0, 1)
    ]
    return np.stack(phases, axis=1).reshape(2 * len(rows), -1)


def _lanczos(distances: Sequence[float]) -> Samples:
    d = np.asarray(distances)
    weights = np.where(np.abs(d) < LANCZOS_LOBES, np.sinc(d) * np.sinc(d / LANCZOS_LOBES), 0)
    return np.asarray(weights / weights.sum())


def _weighted_sum(taps: Sequence[NDArray[Any]], weights: Samples) -> Samples:
    total = np.zeros(taps[0].shape)
    for tap, weight in zip(taps, weights, strict=True):
        if abs(weight) > 1e-12:  # skip zeros of the filter, which rounding makes nearly 0
            total += weight * tap
    return total
