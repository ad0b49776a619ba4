"""Exact kernels of integer convolutions: in float64, as float64 products, as int8 products.

In float64, every product and every partial sum, in whatever order, is an integer below 2^51
(`convolution.prove`). For int8 products numbers are split in two limbs, v = 128 h + l with l in
-64..63. For activations a and weights w of two limbs

    a w = 128^2 ah wh + 128 (ah wl + al wh) + al wl
    ah wl + al wh = (ah + al)(wh + wl) - ah wh - al wl

takes three products (Karatsuba), whose factors all lie in -127..127 because numbers are limited to
63 * 128 + 63. Weights of one limb take two: a w = 128 ah w + al w.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from baselines.neural.entropy.fixed.grid import LIMB_BITS

# An ordinary convolution without padding; int16 (N, H, W, in), within the limit, to float64 sums
# (N, rows, columns, out).
Sums = Callable[[Tensor], Tensor]
# int16 weight (out, kernel height, kernel width, in), within the limits of `grid`, stride, device.
Kernel = Callable[[Tensor, tuple[int, int], torch.device], Sums]

BAND_BYTES = 8 << 20  # of unfolded float64 input at a time
LARGEST_LIMB = 127
BASE = 1 << LIMB_BITS
ALIGNMENT = 16  # cuBLAS multiplies int8 matrices whose sides are multiples of 8
LEAST_ROWS = 24  # and the first of which has more than 16 rows


class Float64Sums:
    """Kernel by torch's convolution in float64, the reference of all others."""

    def __init__(self, weight: Tensor, stride: tuple[int, int], device: torch.device) -> None:
        # int16 until it is used: the weights in float64 would be four times as large.
        self.weight = weight.permute(0, 3, 1, 2).contiguous().to(device)
        self.stride = stride

    def __call__(self, activations: Tensor) -> Tensor:
        """Return the sums."""
        channels_first = activations.permute(0, 3, 1, 2).double().contiguous()
        # cuDNN may convolve through Fourier transforms, which are not exact.
        with torch.backends.cudnn.flags(enabled=False):
            sums = functional.conv2d(channels_first, self.weight.double(), stride=self.stride)
        return sums.permute(0, 2, 3, 1)


class Float64Products:
    """Kernel by NumPy's float64 matrix products, on the CPU; raises `ValueError` elsewhere.

    Faster than torch's float64 convolution, most of all on AMD's processors (docs/experiments).
    """

    def __init__(self, weight: Tensor, stride: tuple[int, int], device: torch.device) -> None:
        if device.type != "cpu":
            raise ValueError(f"NumPy computes nothing on {device}")
        self.outputs, *self.kernel, _ = weight.shape
        self.stride = stride
        # int16 until it is used, by row of the kernel: (kernel height, kernel width * in, out).
        self.weight = weight.flatten(2).permute(1, 2, 0).contiguous().numpy()

    def __call__(self, activations: Tensor) -> Tensor:
        """Return the sums."""
        unfolded = unfold_width(activations, self.kernel[1], self.stride[1])
        count, height, columns, inputs = unfolded.shape
        rows = (height - self.kernel[0]) // self.stride[0] + 1
        weight = self.weight.astype(np.float64)
        sums = np.zeros((count, rows, columns, self.outputs))
        band = max(1, BAND_BYTES // (8 * count * columns * inputs * self.stride[0]))
        for first in range(0, rows, band):
            last = min(first + band, rows)
            end = (last - 1) * self.stride[0] + self.kernel[0]
            values = unfolded[:, first * self.stride[0] : end].double().numpy()
            part = sums[:, first:last]
            for y, row in enumerate(weight):
                seen = values[:, y :: self.stride[0]][:, : last - first]
                part += (seen.reshape(-1, inputs) @ row).reshape(part.shape)
        return torch.from_numpy(sums)


def limbs(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split integers of at most 63 * 128 + 63 into high limb, low limb and their sum, int8.

    >>> [int(limb) for limb in limbs(torch.tensor([-8127], dtype=torch.int16))]
    [-63, -63, -126]
    """
    high = (values + BASE // 2) >> LIMB_BITS
    low = values - (high << LIMB_BITS)
    return high.to(torch.int8), low.to(torch.int8), (high + low).to(torch.int8)


def planes(weight: Tensor) -> tuple[Tensor, ...]:
    """Return the int8 tensors that limbs of activations are multiplied with."""
    return (weight.to(torch.int8),) if int(weight.abs().max()) <= LARGEST_LIMB else limbs(weight)


class LimbSums:
    """Fast kernel: int8 products with int32 sums.

    The input is unfolded along its width alone; each row of the kernel is a product with rows of
    it.
    """

    def __init__(self, weight: Tensor, stride: tuple[int, int], device: torch.device) -> None:
        self.outputs, *self.kernel, _ = weight.shape
        self.stride = stride
        rows = weight.to(device).transpose(0, 1).reshape(self.kernel[0], self.outputs, -1)
        padding = (0, -rows.shape[2] % ALIGNMENT, 0, -rows.shape[1] % ALIGNMENT)
        self.planes = planes(functional.pad(rows, padding))  # (kernel height, out, width * in)
        self.coarse = len(self.planes) == 1

    def __call__(self, activations: Tensor) -> Tensor:
        """Return the sums."""
        high, low, both = limbs(activations)
        if self.coarse:
            (plane,) = self.planes
            return self._sums(high, plane).double().mul_(BASE).add_(self._sums(low, plane))
        high_sums, low_sums = self._sums(high, self.planes[0]), self._sums(low, self.planes[1])
        mixed = self._sums(both, self.planes[2]).sub_(high_sums).sub_(low_sums)
        return high_sums.double().mul_(BASE).add_(mixed).mul_(BASE).add_(low_sums)

    def _sums(self, limb: Tensor, plane: Tensor) -> Tensor:
        """Return the int32 sums (N, rows, columns, out) of one limb of input and of weights."""
        unfolded = unfold_width(limb, self.kernel[1], self.stride[1])
        unfolded = functional.pad(unfolded, (0, -unfolded.shape[3] % ALIGNMENT))
        count, height, columns, _ = unfolded.shape
        rows = (height - self.kernel[0]) // self.stride[0] + 1
        total: Tensor | None = None
        for y in range(self.kernel[0]):
            seen = unfolded[:, y :: self.stride[0]][:, :rows]
            # Contiguous: _int_mm takes views with overlapping rows, and gets them wrong.
            matrix = seen.contiguous().view(count * rows * columns, -1)
            few = max(0, LEAST_ROWS - len(matrix))
            padded = functional.pad(matrix, (0, 0, 0, few)) if few else matrix
            products = torch._int_mm(padded, plane[y].t())[: len(matrix)]
            total = products if total is None else total.add_(products)
        assert total is not None
        return total[:, : self.outputs].view(count, rows, columns, self.outputs)


class NarrowLimbSums(LimbSums):
    """Kernel of four products with weights of at most 64, for processors that saturate.

    Without VNNI, x86 adds two products to 16 bits, activations having been made positive by adding
    128: 255 * 64 * 2 just stays below 2^15. Coarse weights are halved, w = w // 2 + (w - w // 2).
    """

    def __init__(self, weight: Tensor, stride: tuple[int, int], device: torch.device) -> None:
        super().__init__(weight, stride, device)
        whole, self.step = self.planes[0], 1 if self.coarse else BASE
        half = whole >> 1
        self.planes = (half, whole - half) if self.coarse else self.planes[:2]

    def __call__(self, activations: Tensor) -> Tensor:
        """Return the sums."""
        high, low, _ = limbs(activations)
        return self._both(high).mul_(BASE).add_(self._both(low))

    def _both(self, limb: Tensor) -> Tensor:
        first, second = (self._sums(limb, plane) for plane in self.planes)
        return first.double().mul_(self.step).add_(second)


def unfold_width(values: Tensor, kernel_width: int, stride: int) -> Tensor:
    """Unfold (N, H, W, in) to (N, H, columns, kernel width * in), contiguous."""
    values = values.contiguous()
    count, height, width, inputs = values.shape
    columns = (width - kernel_width) // stride + 1
    across, down, along, each = values.stride()
    windows = values.as_strided(
        (count, height, columns, kernel_width, inputs), (across, down, along * stride, along, each)
    )
    return windows.contiguous().view(count, height, columns, -1)
