"""PSNR by its definition, in float64: an independent truth for tests of codecs."""

import numpy as np

from benchmark.codec import Pixels


def psnr(reference: Pixels, decoded: Pixels) -> float:
    """Return 10 log10(255² / MSE) in dB of 8-bit pixels; infinite for equal ones."""
    error = reference.astype(np.float64) - decoded
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(255**2 / np.mean(error**2)))
