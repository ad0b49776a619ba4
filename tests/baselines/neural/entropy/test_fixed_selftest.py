import pytest
import torch

from baselines.neural.entropy.fixed import kernels
from baselines.neural.entropy.fixed.kernels import (
    ELSEWHERE,
    ON_CPU,
    Float64Sums,
    LimbSums,
    PairSums,
    choose,
    is_exact,
)
from benchmark.errors import Unavailable

CPU = torch.device("cpu")


class Wrong:
    """The reference with one flaw, which does not show everywhere."""

    def __init__(self, flaw):
        self.flaw = flaw

    def __call__(self, weight, device):
        exact = Float64Sums(weight, device)
        return lambda activations: self.flaw(exact(activations), weight)


def float32_sums(sums, _weight):
    """Right up to 2^24."""
    return sums.float().double()


def saturated(sums, _weight):
    """Sums through 16 bits, which are wrong for the largest ones."""
    return sums.clamp(max=sums.abs().max() - 1)


def one_off(sums, _weight):
    """Right in all places but one."""
    sums.view(-1)[-1] += 1
    return sums


def only_multiples_of_eight(sums, weight):
    """Sums that leave out inputs which do not fill a register, as some libraries do."""
    if weight[0].numel() % 8:
        sums = sums - 1
    return sums


def unsupported(_sums, _weight):
    raise RuntimeError("no int8 here")


FLAWS = [float32_sums, saturated, one_off, only_multiples_of_eight, unsupported]


def test_all_kernels_are_exact_here_but_the_int8_one_where_products_saturate():
    """Without VNNI, a pair of 255 * 127 is added in 16 bits."""
    pair = torch.full((32, 64), 127, dtype=torch.int8)
    known = {*ON_CPU, *ELSEWHERE}
    saturates = int(torch._int_mm(pair, pair.t())[0, 0]) != 64 * 127**2
    exact = {kernel for kernel in known if is_exact(kernel, CPU)}
    absent = set() if kernels.products and kernels.products.instructions() else {PairSums}
    assert exact == known - ({LimbSums} if saturates else set()) - absent


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_wrong_kernel_is_found_out_and_the_reference_takes_its_place(flaw):
    assert choose(CPU, [Wrong(flaw), Float64Sums]) is Float64Sums


def saturating_int_mm(matrix, other):
    """int8 products as x86 has them without VNNI: pairs of products are added in 16 bits."""
    positive = matrix.int().add(128).view(len(matrix), -1, 2, 1)
    weights = other.int().view(1, -1, 2, other.shape[1])
    pairs = (positive * weights).sum(dim=2).clamp(-(2**15), 2**15 - 1)
    return (pairs.sum(dim=1) - 128 * other.int().sum(dim=0)).int()


def wide_groups_saturate(matrix, other):
    """int8 products, of which eight at a time are added in 18 bits: right for all but extremes."""
    products = matrix.long()[:, :, None] * other.long()[None]
    groups = products.unflatten(1, (-1, 8)).sum(dim=2)
    return groups.clamp(-127_000, 127_000).sum(dim=1).int()


@pytest.mark.parametrize("products", [saturating_int_mm, wide_groups_saturate])
def test_sums_in_fewer_bits_show_in_every_shape(products, monkeypatch):
    monkeypatch.setattr(torch, "_int_mm", products)
    kernels.sums_at_bounds.cache_clear()
    shapes = [(16, 16), (32, 48), (80, 16), (1600, 32)]
    result = [kernels.sums_at_bounds(*shape, CPU) for shape in shapes]
    monkeypatch.setattr(torch, "_int_mm", lambda one, other: (one.long() @ other.long()).int())
    kernels.sums_at_bounds.cache_clear()
    exact = [kernels.sums_at_bounds(*shape, CPU) for shape in shapes]
    kernels.sums_at_bounds.cache_clear()
    assert (result, exact) == ([False] * 4, [True] * 4)


def test_on_processors_that_saturate_floats_take_over(monkeypatch):
    monkeypatch.setattr(torch, "_int_mm", saturating_int_mm)
    monkeypatch.setattr(kernels, "sums_at_bounds", lambda *_: True)
    assert not is_exact(LimbSums, CPU)
    assert choose(CPU, ELSEWHERE) is Float64Sums


def test_without_an_exact_kernel_there_is_no_entropy_path():
    with pytest.raises(Unavailable, match="no integer kernel is exact on cpu"):
        choose(CPU, [Wrong(one_off)])
