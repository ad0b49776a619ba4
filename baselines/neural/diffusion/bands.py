"""Bands of pictures: an orthonormal cosine transform of 4 x 4 pixels in three colours."""

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle

from benchmark.codec import Float64Array

SIDE = 4  # of a block in pixels
BANDS = 3 * SIDE**2

_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
_COSINES = dct(np.eye(SIDE), axis=0, norm="ortho")
# Orthonormal rows: of R + G + B, R - B and R + B - 2 G, the bands of a block.
_BASIS = np.kron(_COLOURS, np.kron(_COSINES, _COSINES))


def analyse(pictures: Tensor) -> Tensor:
    """Return the coefficients (N, 48, H / 4, W / 4) of pictures (N, 3, H, W).

    White noise of unit variance stays that.
    """
    return _turned(pixel_unshuffle(pictures, SIDE), _BASIS)


def synthesise(coefficients: Tensor) -> Tensor:
    """Return the pictures (N, 3, H, W) of coefficients (N, 48, H / 4, W / 4)."""
    return pixel_shuffle(_turned(coefficients, _BASIS.T), SIDE)


def _turned(channels: Tensor, basis: Float64Array) -> Tensor:
    kernel = torch.as_tensor(basis, dtype=channels.dtype, device=channels.device)
    return conv2d(channels, kernel[:, :, None, None])
