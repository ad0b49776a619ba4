"""Exact sums of integer convolutions in float64, on any device, and the test that they are exact.

Every product and every partial sum, in whatever order, is an integer below 2^51
(`convolution.prove`), so that no sum is rounded. The test finds faults of libraries.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.neural.entropy.integer.grid import ACTIVATION_LIMIT, WeightLimit
from benchmark.errors import Unavailable

# Inputs, kernel, outputs, height and width: sums beyond 2^24, sizes that are no multiples of eight,
# a single position.
CASES = ((320, 5, 16, 6), (64, 3, 24, 11), (21, 3, 13, 9), (5, 1, 3, 1))


def exact_sums(activations: Tensor, weight: Tensor) -> Tensor:
    """Convolve int16 (N, H, W, in) with int16 (out, in, k, k), to float64 (N, rows, cols, out)."""
    channels_first = activations.permute(0, 3, 1, 2).double().contiguous()
    # cuDNN may convolve through Fourier transforms, which are not exact.
    with torch.backends.cudnn.flags(enabled=False):
        return functional.conv2d(channels_first, weight.double()).permute(0, 2, 3, 1)


@cache
def require_exact(device: torch.device) -> None:
    """Raise `Unavailable` unless sums on a device equal int64 arithmetic, also of extremes."""
    random = np.random.default_rng(0)

    def numbers(limit: int, shape: tuple[int, ...]) -> NDArray[np.int16]:
        values = random.integers(-limit, limit + 1, shape)
        extremes = limit - random.integers(0, 2, shape)
        values[0::4], values[1::4] = extremes[0::4], -extremes[1::4]
        return values.astype(np.int16)

    for inputs, side, outputs, size in CASES:
        weight = numbers(WeightLimit.FINE, (outputs, inputs, side, side))
        seen = numbers(ACTIVATION_LIMIT, (4, size, size, inputs))
        sums = exact_sums(torch.from_numpy(seen).to(device), torch.from_numpy(weight).to(device))
        if not np.array_equal(sums.cpu().numpy(), integer_sums(weight, seen)):
            raise Unavailable(f"float64 convolutions are not exact on {device}: use the device cpu")


def integer_sums(weight: NDArray[np.int16], activations: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return the sums of a convolution in NumPy's int64, tap by tap."""
    side = weight.shape[2]
    rows, columns = (length - side + 1 for length in activations.shape[1:3])
    sums = np.zeros((len(activations), rows, columns, len(weight)), np.int64)
    for y in range(side):
        for x in range(side):
            seen = activations[:, y : y + rows, x : x + columns]
            sums += seen.astype(np.int64) @ weight[:, :, y, x].T.astype(np.int64)
    return sums
