"""Squared errors that wrong colour conversions make of a picture that is not coded at all.

What a codec adds is independent of them as far as a mean goes, so that the sum predicts the PSNR
of a run with that mistake. Y'CbCr as in ITU-R BT.709-6 and BT.601-7, full range unless said.
"""

from collections.abc import Mapping

import numpy as np

from benchmark.codec import Float64Array, Pixels
from benchmark.metrics.psnr import psnr

WEIGHTS = {"709": (0.2126, 0.0722), "601": (0.299, 0.114)}  # of red and blue in luma


def to_rgb(standard: str) -> Float64Array:
    """Return the matrix from Y'CbCr, chroma around 0, to R'G'B', shape (3, 3)."""
    red, blue = WEIGHTS[standard]
    green, a, b = 1 - red - blue, 2 * (1 - red), 2 * (1 - blue)
    return np.array([[1, 0, a], [1, -b * blue / green, -a * red / green], [1, b, 0]])


def colour_errors(pixels: Pixels) -> Mapping[str, float]:
    """Return the mean squared error of a picture by each wrong conversion, by the rule's id.

    pixels: uint8 of shape (height, width, 3).
    """
    inverse = {standard: to_rgb(standard) for standard in WEIGHTS}
    ycc = pixels @ np.linalg.inv(inverse["709"]).T
    luma, chroma = ycc[..., :1], ycc[..., 1:]
    other = pixels @ np.linalg.inv(inverse["601"]).T
    expanded = np.concatenate([(luma - 16) * 255 / 219, chroma * 255 / 224], axis=2)
    reduced = np.concatenate([luma * 219 / 255 + 16, chroma * 224 / 255], axis=2)
    halved = np.concatenate([luma, _halved(chroma)], axis=2)
    wrong = {
        "chroma_420": halved @ inverse["709"].T,
        "matrix_601": ycc @ inverse["601"].T,
        "matrix_709": other @ inverse["709"].T,
        "range_expanded": expanded @ inverse["709"].T,
        "range_reduced": reduced @ inverse["709"].T,
    }
    return {
        name: float(255**2 / 10 ** (psnr(pixels, _rounded(picture)) / 10))
        for name, picture in wrong.items()
    }


def _rounded(picture: Float64Array) -> Pixels:
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def _halved(chroma: Float64Array) -> Float64Array:
    """Return chroma as means of two by two, interpolated linearly between their centres."""
    height, width = (size + size % 2 for size in chroma.shape[:2])
    whole = np.pad(
        chroma, ((0, height - len(chroma)), (0, width - chroma.shape[1]), (0, 0)), "edge"
    )
    small = whole.reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3))
    for axis in (0, 1):
        before = np.concatenate([small.take([0], axis), small], axis).take(
            range(small.shape[axis]), axis
        )
        after = np.concatenate([small, small.take([-1], axis)], axis).take(
            range(1, small.shape[axis] + 1), axis
        )
        pair = np.stack([0.75 * small + 0.25 * before, 0.75 * small + 0.25 * after], axis + 1)
        shape = list(small.shape)
        shape[axis] *= 2
        small = pair.reshape(shape)
    return np.asarray(small[: len(chroma), : chroma.shape[1]])
