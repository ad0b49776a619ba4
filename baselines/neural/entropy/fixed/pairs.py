"""Kernel of integer convolutions by multiply-adds of int16 pairs, in C, on x86 with AVX2 or VNNI.

Products of activations of at most ACTIVATION_LIMIT are added up in int32 over blocks of inputs, so
short that no sum overflows by the weights' magnitudes, and blocks in float64 (`products.c`).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib import import_module
from itertools import pairwise
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, OutputGrid
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
