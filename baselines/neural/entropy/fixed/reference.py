"""Exact integer convolution in float64: the reference of all other kernels.

Every product and every partial sum, in whatever order, is an integer below 2^51 (`bounds`).
"""

import torch
from torch import Tensor
from torch.nn import functional


class Float64Sums:
    """Ordinary convolution without padding, by torch, in float64.

    `weight` is int16 (out, kernel height, kernel width, in), within the limits of `grid`.
    """

    def __init__(self, weight: Tensor, stride: tuple[int, int], device: torch.device) -> None:
        # int16 until it is used: the weights in float64 would be four times as large.
        self.weight = weight.permute(0, 3, 1, 2).contiguous().to(device)
        self.stride = stride

    def __call__(self, activations: Tensor) -> Tensor:
        """Map int16 (N, H, W, in), within the limit, to float64 sums (N, rows, columns, out)."""
        channels_first = activations.permute(0, 3, 1, 2).double().contiguous()
        # cuDNN may convolve through Fourier transforms, which are not exact.
        with torch.backends.cudnn.flags(enabled=False):
            sums = functional.conv2d(channels_first, self.weight.double(), stride=self.stride)
        return sums.permute(0, 2, 3, 1)
