"""Exact kernels of integer convolutions, and the choice of the first that proves exact.

In float64, every product and every partial sum, in whatever order, is an integer below 2^51
(`convolution.prove`). On x86 with AVX2 or VNNI, multiply-adds of int16 pairs, in C (`products.c`),
add up products in int32 over blocks of inputs so short that no sum overflows by the weights'
magnitudes, and blocks in float64. For int8 products numbers are split in two limbs, v = 128 h + l
with l in -64..63. For activations a and weights w of two limbs

    a w = 128^2 ah wh + 128 (ah wl + al wh) + al wl
    ah wl + al wh = (ah + al)(wh + wl) - ah wh - al wl

takes three products (Karatsuba), whose factors all lie in -127..127 because numbers are limited to
63 * 128 + 63. Weights of a limb take two: a w = 128 ah w + al w.

That no int32 sum of limbs overflows follows from the weights (`convolution.prove`). That no
instruction adds some of the products in fewer bits follows from `sums_at_bounds` for the shapes of
each layer: which products are added together is decided by shapes, and there every such sum is the
largest that any numbers give.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.neural.entropy.fixed.grid import (
    ACTIVATION_LIMIT,
    LIMB_BITS,
    WEIGHT_LIMIT,
    OutputGrid,
    Precision,
)
from benchmark.errors import Unavailable

products: ModuleType | None = None  # in C; without a compiler other kernels do the same
with suppress(ImportError):
    products = import_module(f"{__package__}.products")

LANES = 16  # outputs of a vector
LONGEST_BLOCK = 256  # pairs, whose weights stay in the first cache
INT32_BOUND = 2**31 - 1


class PairSums:
    """Kernel by pairs of inputs; CPU only. Raises `Unavailable` without `instructions` for it."""

    def __init__(self, weight: Tensor, device: torch.device, instructions: str = "") -> None:
        known = products.instructions() if products and device.type == "cpu" else ()
        if not known or (instructions or known[0]) not in known:
            raise Unavailable(f"no multiply-adds of int16 pairs on {device}")
        self._vnni = (instructions or known[0]) == "vnni"
        self.outputs, self.side, _, inputs = weight.shape
        self._odd = inputs % 2
        whole = functional.pad(weight, (0, self._odd, 0, 0, 0, 0, 0, -self.outputs % LANES))
        pairs = whole.view(-1, LANES, self.side, whole[0, 0].numel() // 2, 2)
        self.weight = pairs.permute(0, 2, 3, 1, 4).contiguous().numpy()
        self.block = longest_block(self.weight)

    def __call__(self, activations: Tensor) -> Tensor:
        """Return the sums."""
        nothing = torch.zeros(self.outputs, dtype=torch.float64)
        return self.on_grid(activations, OutputGrid(nothing, nothing, 0, 0, torch.float64))

    def on_grid(self, activations: Tensor, grid: OutputGrid) -> Tensor:
        """Return what `requantise` makes of the sums; the sums themselves for float64 values."""
        seen = functional.pad(activations, (0, self._odd)) if self._odd else activations
        count, height, columns, inputs = seen.shape
        rows, width = height - self.side + 1, columns - self.side + 1
        result = torch.empty(count, rows, width, self.outputs, dtype=grid.dtype)
        windows, values = seen.contiguous().numpy(), result.numpy()
        bias, factor = grid.bias.numpy(), grid.factor.numpy()
        shape = columns, inputs, self.side, self.outputs, self.block
        limits = grid.lowest, grid.highest, values.itemsize

        def fill(number: int, first: int, last: int) -> None:
            assert products is not None
            seen, filled = windows[number, first : last + self.side - 1], values[number, first:last]
            layer = (last - first, *shape, *limits)
            products.convolve(seen, self.weight, bias, factor, filled, layer, self._vnni)

        threads = min(torch.get_num_threads(), rows)
        cuts = [rows * part // threads for part in range(threads + 1)]
        parts = [(number, *ends) for number in range(count) for ends in pairwise(cuts)]
        each = map if threads == 1 else _pool(threads, os.getpid()).map
        list(each(fill, *zip(*parts, strict=True)))
        return result


def longest_block(weight: NDArray[np.int16]) -> int:
    """Return the number of pairs of inputs after which int32 sums are moved to float64.

    `weight` has the shape (vectors, rows, pairs, LANES, 2). Any block of so many pairs in a row of
    the kernel, from a multiple of it on, has sums of at most 2^31 - 1.
    """
    reach = np.abs(weight.astype(np.int64)).sum(axis=4) * ACTIVATION_LIMIT
    block = LONGEST_BLOCK
    while np.add.reduceat(reach, range(0, reach.shape[2], block), axis=2).max() > INT32_BOUND:
        block //= 2  # a block of 16 pairs of the largest weights is within the bound
    return block


@cache
def _pool(threads: int, _process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


# A convolution without padding; int16 (N, H, W, in), within the limit, to float64 sums
# (N, rows, columns, out).
Sums = Callable[[Tensor], Tensor]
# Of an int16 weight (out, k, k, in), within the limits of `grid`, on a device.
Kernel = Callable[[Tensor, torch.device], Sums]

LARGEST_LIMB = 127
BASE = 1 << LIMB_BITS
ALIGNMENT = 16  # cuBLAS multiplies int8 matrices whose sides are multiples of 8
LEAST_ROWS = 24  # and the first of which has more than 16 rows


class Float64Sums:
    """Kernel by torch's convolution in float64, on any device; the reference of all others."""

    def __init__(self, weight: Tensor, device: torch.device) -> None:
        # int16 until it is used: the weights in float64 would be four times as large.
        self.weight = weight.permute(0, 3, 1, 2).contiguous().to(device)

    def __call__(self, activations: Tensor) -> Tensor:
        """Return the sums."""
        channels_first = activations.permute(0, 3, 1, 2).double().contiguous()
        # cuDNN may convolve through Fourier transforms, which are not exact.
        with torch.backends.cudnn.flags(enabled=False):
            sums = functional.conv2d(channels_first, self.weight.double())
        return sums.permute(0, 2, 3, 1)


def limbs(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split integers of at most 63 * 128 + 63 into high limb, low limb and their sum, int8."""
    high = (values + BASE // 2) >> LIMB_BITS
    low = values - (high << LIMB_BITS)
    return high.to(torch.int8), low.to(torch.int8), (high + low).to(torch.int8)


def planes(weight: Tensor) -> tuple[Tensor, ...]:
    """Return the int8 tensors that limbs of activations are multiplied with."""
    return (weight.to(torch.int8),) if int(weight.abs().max()) <= LARGEST_LIMB else limbs(weight)


class LimbSums:
    """Fast kernel: int8 products, int32 sums; raises `Unavailable` where some add in 16 bits."""

    def __init__(self, weight: Tensor, device: torch.device) -> None:
        self.outputs, self.side, _, _ = weight.shape
        rows = weight.to(device).transpose(0, 1).reshape(self.side, self.outputs, -1)
        padding = (0, -rows.shape[2] % ALIGNMENT, 0, -rows.shape[1] % ALIGNMENT)
        self.planes = planes(functional.pad(rows, padding))  # (k, out, k * in)
        outputs, inputs = self.planes[0].shape[1:]
        if not sums_at_bounds(inputs, outputs, device):
            raise Unavailable(f"int8 products of {inputs} x {outputs} saturate on {device}")

    def __call__(self, activations: Tensor) -> Tensor:
        """Return the sums."""
        high, low, both = limbs(activations)
        if len(self.planes) == 1:
            (plane,) = self.planes
            return self._sums(high, plane).double().mul_(BASE).add_(self._sums(low, plane))
        high_sums, low_sums = self._sums(high, self.planes[0]), self._sums(low, self.planes[1])
        mixed = self._sums(both, self.planes[2]).sub_(high_sums).sub_(low_sums)
        return high_sums.double().mul_(BASE).add_(mixed).mul_(BASE).add_(low_sums)

    def _sums(self, limb: Tensor, plane: Tensor) -> Tensor:
        """Return the int32 sums (N, rows, columns, out) of a limb of input and of weights."""
        unfolded = unfold_width(limb, self.side)
        unfolded = functional.pad(unfolded, (0, -unfolded.shape[3] % ALIGNMENT))
        count, height, columns, _ = unfolded.shape
        rows = height - self.side + 1
        few = max(0, LEAST_ROWS - count * rows * columns)
        total: Tensor | None = None
        for y in range(self.side):
            # Contiguous: _int_mm takes views with overlapping rows, and gets them wrong.
            matrix = unfolded[:, y : y + rows].contiguous().view(count * rows * columns, -1)
            products = torch._int_mm(functional.pad(matrix, (0, 0, 0, few)), plane[y].t())
            total = products if total is None else total.add_(products)
        assert total is not None
        kept = total[: len(total) - few, : self.outputs]
        return kept.view(count, rows, columns, self.outputs)


@cache
def sums_at_bounds(inputs: int, outputs: int, device: torch.device) -> bool:
    """Return whether int8 products of these sizes are exact where all partial sums are largest.

    Factors are 127 and -127. A product, and one whose first factor is raised by 128 as libraries
    do, has its largest magnitude there, and all products of a sum have one sign.
    """
    signs = torch.ones(max(LEAST_ROWS, outputs), dtype=torch.int8)
    signs[1::2] = -1
    factors = (LARGEST_LIMB * signs)[:, None].expand(-1, inputs).contiguous().to(device)
    products = torch._int_mm(factors[:LEAST_ROWS], factors[:outputs].t())
    expected = LARGEST_LIMB**2 * inputs * torch.outer(signs[:LEAST_ROWS], signs[:outputs]).long()
    return torch.equal(products.cpu().long(), expected)


def unfold_width(values: Tensor, side: int) -> Tensor:
    """Unfold (N, H, W, in) to (N, H, columns, side * in), contiguous."""
    return values.unfold(2, side, 1).transpose(3, 4).flatten(3).contiguous()


# The fastest first, where it is exact: without VNNI, int8 products are slow on a processor.
ON_CPU: tuple[Kernel, ...] = (PairSums, Float64Sums)
ELSEWHERE: tuple[Kernel, ...] = (LimbSums, Float64Sums)


class _Case(NamedTuple):
    inputs: int
    kernel: int
    outputs: int
    size: int  # height and width of the input
    precision: Precision


# Sums beyond 2^24, sizes that are no multiples of eight, a single position.
CASES = (
    _Case(320, 5, 16, 6, Precision.FINE),
    _Case(64, 3, 24, 11, Precision.COARSE),
    _Case(21, 3, 13, 9, Precision.FINE),
    _Case(5, 1, 3, 1, Precision.COARSE),
)


@cache
def exact_kernel(device: torch.device) -> Kernel:
    """Return the kernel for a device, chosen once per process; raises `Unavailable` without any."""
    return choose(device, ON_CPU if device.type == "cpu" else ELSEWHERE)


def choose(device: torch.device, kernels: Sequence[Kernel]) -> Kernel:
    """Return the first exact kernel; raises `Unavailable` without any."""
    for kernel in kernels:
        if is_exact(kernel, device):
            return kernel
    raise Unavailable(f"no integer kernel is exact on {device}: use the device cpu")


def is_exact(kernel: Kernel, device: torch.device) -> bool:
    """Return whether sums equal int64 arithmetic for extreme and for random numbers.

    This finds faults of libraries; that numbers of other values are exact, the bounds say.
    """
    for case in CASES:
        weight, activations = _adversarial(case)
        try:
            on_device = torch.from_numpy(activations).to(device)
            sums = kernel(torch.from_numpy(weight), device)(on_device)
        except (RuntimeError, TypeError, ValueError, Unavailable):
            return False  # unsupported by the device or its library
        if not np.array_equal(sums.cpu().numpy(), integer_sums(weight, activations)):
            return False
    return True


def integer_sums(weight: NDArray[np.int16], activations: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return the sums of a convolution in NumPy's int64, tap by tap."""
    side = weight.shape[1]
    rows, columns = (length - side + 1 for length in activations.shape[1:3])
    sums = np.zeros((len(activations), rows, columns, len(weight)), np.int64)
    for y in range(side):
        for x in range(side):
            seen = activations[:, y : y + rows, x : x + columns]
            sums += seen.astype(np.int64) @ weight[:, y, x].T.astype(np.int64)
    return sums


def _adversarial(case: _Case) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return weights and activations, half of them at or next to the ends of their ranges."""
    random = np.random.default_rng(0)

    def numbers(limit: int, shape: tuple[int, ...]) -> NDArray[np.int16]:
        values = random.integers(-limit, limit + 1, shape)
        extremes = limit - random.integers(0, 2, shape)
        values[0::4] = extremes[0::4]
        values[1::4] = -extremes[1::4]
        return values.astype(np.int16)

    shape = (case.outputs, case.kernel, case.kernel, case.inputs)
    weight = numbers(WEIGHT_LIMIT[case.precision], shape)
    return weight, numbers(ACTIVATION_LIMIT, (4, case.size, case.size, case.inputs))
