"""Integer activations and weights -> their exact sums of products, held in float64.

Every product and every partial sum, in whatever order, is an integer below 2^51 (`bounds`).
"""

import torch
from torch import Tensor
from torch.nn import functional


class Float64Sums:
    """The reference kernel: an ordinary convolution without padding, by torch, in float64.

    weight: int16 (out, kernel height, kernel width, in), within the limits of `grid`.
    """

    def __init__(self, weight: Tensor, stride: tuple[int, int], device: torch.device) -> None:
        # int16 until it is used: the weights in float64 would be four times as large.
        self.weight = weight.permute(0, 3, 1, 2).contiguous().to(device)
        self.stride = stride

    def __call__(self, activations: Tensor) -> Tensor:
        """int16 (N, H, W, in), within the limit -> float64 integers (N, rows, columns, out)."""
        channels_first = activations.permute(0, 3, 1, 2).double().contiguous()
        # cuDNN may convolve through Fourier transforms, which are not exact.
        with torch.backends.cudnn.flags(enabled=False):
            sums = functional.conv2d(channels_first, self.weight.double(), stride=self.stride)
        return sums.permute(0, 2, 3, 1)
