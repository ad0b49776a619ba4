"""Exact integer convolution by float64 matrix products, for processors without fast int8 ones.

Every product and every partial sum, in whatever order, is an integer below 2^51 (`bounds`). NumPy's
OpenBLAS multiplies float64 matrices faster than torch convolves in float64, most of all on AMD's
processors; docs/log.md has rates.
"""

import numpy as np
import torch
from torch import Tensor

from baselines.neural.entropy.fixed.geometry import unfold_width

BAND_BYTES = 8 << 20  # of unfolded float64 input at a time


class Float64Products:
    """Ordinary convolution without padding, on the CPU; raises `ValueError` for other devices.

    `weight` is int16 (out, kernel height, kernel width, in), within the limits of `grid`.
    """

    def __init__(self, weight: Tensor, stride: tuple[int, int], device: torch.device) -> None:
        if device.type != "cpu":
            raise ValueError(f"NumPy computes nothing on {device}")
        self.outputs, *self.kernel, _ = weight.shape
        self.stride = stride
        # int16 until it is used, by row of the kernel: (kernel height, kernel width * in, out).
        rows = weight.flatten(2).permute(1, 2, 0).contiguous()
        self.weight = rows.numpy()

    def __call__(self, activations: Tensor) -> Tensor:
        """Map int16 (N, H, W, in), within the limit, to float64 sums (N, rows, columns, out)."""
        unfolded = unfold_width(activations, self.kernel[1], self.stride[1])
        count, height, columns, inputs = unfolded.shape
        rows = (height - self.kernel[0]) // self.stride[0] + 1
        weight = self.weight.astype(np.float64)
        sums = np.zeros((count, rows, columns, self.outputs))
        band = max(1, BAND_BYTES // (8 * count * columns * inputs * self.stride[0]))
        for first in range(0, rows, band):
            last = min(first + band, rows)
            begin = first * self.stride[0]
            end = (last - 1) * self.stride[0] + self.kernel[0]
            values = unfolded[:, begin:end].double().numpy()
            part = sums[:, first:last]
            for y, row in enumerate(weight):
                seen = values[:, y :: self.stride[0]][:, : last - first]
                part += (seen.reshape(-1, inputs) @ row).reshape(part.shape)
        return torch.from_numpy(sums)
