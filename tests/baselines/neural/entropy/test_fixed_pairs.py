"""Sums by multiply-adds of pairs, in C, are those of NumPy's 64-bit integers."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch

from baselines.neural.entropy.fixed import kernels
from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, OutputGrid
from baselines.neural.entropy.fixed.kernels import PairSums, integer_sums, longest_block
from benchmark.errors import Unavailable
from support.extension import extension
from support.networks.fixed_network import extreme

CPU = torch.device("cpu")
INSTRUCTIONS = ("vnni", "avx2")


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory):
    """Have products.c compiled, where there is a compiler, if the installation did not."""
    with pytest.MonkeyPatch.context() as patch:
        if kernels.products is None:
            name = "baselines.neural.entropy.fixed.products"
            patch.setattr(kernels, "products", extension(name, tmp_path_factory.mktemp("compiled")))
        yield


def kernel(weight: np.ndarray, instructions: str) -> PairSums:
    known = kernels.products.instructions() if kernels.products else ()
    if instructions not in known:
        pytest.skip(f"not compiled, or no processor with {instructions}")
    return PairSums(torch.from_numpy(weight), CPU, instructions)


# Outputs, side of the kernel, inputs, rows and columns: vectors that are full and not, two at a
# time and one; fewer positions than are computed at a time, and a rest of them; an odd number of
# inputs; several blocks in a row of the kernel.
SHAPES = [
    (16, 3, 8, 5, 17),
    (13, 1, 2, 1, 1),
    (40, 5, 7, 9, 6),
    (33, 3, 200, 4, 26),
    (72, 2, 1, 3, 9),
]


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("limit", [127, ACTIVATION_LIMIT])
@pytest.mark.parametrize("threads", [1, 3])
def test_sums_are_those_of_64_bit_integers(instructions, shape, limit, threads, monkeypatch):
    outputs, side, inputs, rows, columns = shape
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    weight = extreme((outputs, side, side, inputs), limit, 0).numpy()
    seen = extreme((2, rows + side - 1, columns + side - 1, inputs), ACTIVATION_LIMIT, 1).numpy()
    sums = kernel(weight, instructions)(torch.from_numpy(seen))
    assert sums.dtype == torch.float64
    assert np.array_equal(sums.numpy(), integer_sums(weight, seen))


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_of_all_do_not_overflow(instructions, sign):
    weight = np.full((2, 1, 1, 640), ACTIVATION_LIMIT, np.int16)
    seen = np.full((1, 1, 30, 640), sign * ACTIVATION_LIMIT, np.int16)
    sums = kernel(weight, instructions)(torch.from_numpy(seen))
    assert (sums == sign * 640 * ACTIVATION_LIMIT**2).all()


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_values_are_sums_with_bias_rounded_half_up_and_clipped(instructions, dtype):
    weight = extreme((18, 3, 3, 6), 300, 2).numpy()
    seen = extreme((1, 6, 15, 6), 300, 3).numpy()
    shift = np.arange(18) - 2
    bias = np.arange(18) * 1001 - 7000
    lowest, highest = -5000, 4000
    grid = OutputGrid(
        torch.from_numpy(bias).double(), torch.from_numpy(2.0**-shift), lowest, highest, dtype
    )
    values = kernel(weight, instructions).on_grid(torch.from_numpy(seen), grid)
    assert values.dtype == dtype
    sums = integer_sums(weight, seen) + bias
    expected = [
        min(max(floor(Fraction(int(s)) / Fraction(2) ** int(n) + Fraction(1, 2)), lowest), highest)
        for s, n in zip(sums.ravel(), np.broadcast_to(shift, sums.shape).ravel(), strict=True)
    ]
    assert values.ravel().tolist() == expected
    assert {lowest, highest} < set(expected)


def test_a_block_is_the_longest_of_which_no_sum_leaves_int32():
    """16 pairs of the largest weights remain below 2^31, 32 do not."""
    weight = np.zeros((1, 2, 300, 16, 2), np.int16)
    assert longest_block(weight) == 256
    weight[0, 1, 64:96, 5] = ACTIVATION_LIMIT
    assert longest_block(weight) == 16
    weight[0, 1, 80:96, 5] = 0  # the first sixteen in blocks of any length
    assert longest_block(weight) == 256


def test_shapes_that_differ_are_refused():
    if not kernels.products or not kernels.products.instructions():
        pytest.skip("not compiled, or another processor")
    arrays = [np.zeros(n, np.int16) for n in (8, 32)] + [np.zeros(1), np.zeros(1)]
    layer = (1, 4, 2, 1, 1, 16, -9, 9, 4)
    kernels.products.convolve(*arrays, np.zeros(4, np.int32), layer, False)
    for place in range(4):
        wrong = [array[:-1] if at == place else array for at, array in enumerate(arrays)]
        with pytest.raises(ValueError, match="shapes of a convolution differ"):
            kernels.products.convolve(*wrong, np.zeros(4, np.int32), layer, False)
    with pytest.raises(ValueError, match="shapes of a convolution differ"):
        kernels.products.convolve(*arrays, np.zeros(3, np.int32), layer, False)


def test_other_devices_and_instructions_have_no_such_kernel():
    weight = torch.ones(1, 1, 1, 2, dtype=torch.int16)
    for device, instructions in ((torch.device("meta"), ""), (CPU, "neon")):
        with pytest.raises(Unavailable, match="no multiply-adds of int16 pairs"):
            PairSums(weight, device, instructions)
