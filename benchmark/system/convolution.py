"""A convolution followed by a ReLU, by oneDNN where that has fast kernels."""

import platform
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Pair = tuple[int, int]


@cache
def has_onednn() -> bool:
    """Return whether oneDNN is here, and this a processor for which it has fast kernels."""
    import torch

    return platform.machine() in ("x86_64", "AMD64") and bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )


def convolve(
    signal: "Tensor",
    weight: "Tensor",
    bias: "Tensor",
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
) -> "Tensor":
    """Return the ReLU of a convolution of a signal (n, inputs, height, width).

    In a single thread torch itself takes MKL for kernels of 1 x 1, which is half as fast on other
    makers' processors. oneDNN's function has no gradients: it is called in inference mode alone.
    """
    import torch
    from torch.nn.functional import conv2d

    fast = (
        torch.is_inference_mode_enabled()
        and signal.dtype == torch.float32
        and signal.device.type == "cpu"
        and has_onednn()
        and torch.backends.mkldnn.enabled
    )
    if fast:
        return torch.mkldnn_convolution(signal, weight, bias, padding, stride, (1, 1), 1).relu_()
    return conv2d(signal, weight, bias, stride, padding).relu_()
