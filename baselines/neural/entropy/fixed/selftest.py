"""Choice of the fastest kernel that proves to be exact on a device."""

from collections.abc import Mapping
from functools import cache
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, WEIGHT_LIMIT, Precision
from baselines.neural.entropy.fixed.kernels import (
    Float64Products,
    Float64Sums,
    Kernel,
    LimbSums,
    NarrowLimbSums,
)
from benchmark.errors import Unavailable

# The fastest one first, where it is exact.
KERNELS: Mapping[str, Kernel] = {
    "limbs": LimbSums,
    "narrow limbs": NarrowLimbSums,
    "float64 products": Float64Products,
    "reference": Float64Sums,
}
CPU_ALONE = ("float64 products",)
TIMES = 10  # of some milliseconds each, so that one of them is undisturbed
TOLERATED = 2.0  # times slower: short timings are no more precise
HOPELESS = 10.0  # times slower: timed no further, since int8 products without VNNI take .1 s


class Choice(NamedTuple):
    """A kernel, its name, and the names of kernels that are not exact, if any, in a note."""

    name: str
    kernel: Kernel
    note: str


class _Case(NamedTuple):
    inputs: int
    kernel: int
    outputs: int
    size: int  # height and width of the input
    stride: int
    precision: Precision


# Sums beyond 2^24, sizes that are no multiples of eight, a stride, a single position.
CASES = (
    _Case(320, 5, 16, 6, 1, Precision.FINE),
    _Case(64, 3, 24, 11, 1, Precision.COARSE),
    _Case(21, 3, 13, 9, 2, Precision.FINE),
    _Case(5, 1, 3, 1, 1, Precision.COARSE),
)
TIMED = _Case(64, 5, 128, 12, 1, Precision.FINE)


def exact_kernel(device: torch.device) -> Choice:
    """Return the kernel for a device, chosen once per process; raises `Unavailable` without one."""
    return _exact_kernel(str(device), torch.backends.mkldnn.enabled)


@cache
def _exact_kernel(device_name: str, _onednn: bool) -> Choice:
    device = torch.device(device_name)
    left_out = () if device.type == "cpu" else CPU_ALONE
    return choose(device, {k: kernel for k, kernel in KERNELS.items() if k not in left_out})


def choose(device: torch.device, kernels: Mapping[str, Kernel]) -> Choice:
    """Return the first exact kernel, unless a later one is far faster; raises `Unavailable`."""
    failed = [name for name, kernel in kernels.items() if not is_exact(kernel, device)]
    exact = {name: kernel for name, kernel in kernels.items() if name not in failed}
    if not exact:
        raise Unavailable(f"no integer kernel is exact on {device}: use the device cpu")
    seconds = _seconds(exact, device)
    limit = TOLERATED * min(seconds.values())
    name = next(name for name, taken in seconds.items() if taken <= limit)
    note = f"not exact on {device}: {', '.join(failed)}" if failed else ""
    return Choice(name, exact[name], note)


def is_exact(kernel: Kernel, device: torch.device) -> bool:
    """Return whether sums equal int64 arithmetic for extreme and for random numbers."""
    for case in CASES:
        weight, activations = _adversarial(case)
        stride = (case.stride, case.stride)
        try:
            on_device = torch.from_numpy(activations).to(device)
            sums = kernel(torch.from_numpy(weight), stride, device)(on_device)
        except (RuntimeError, TypeError, ValueError):  # unsupported by the device or its library
            return False
        if not np.array_equal(sums.cpu().numpy(), integer_sums(weight, activations, stride)):
            return False
    return True


def integer_sums(
    weight: NDArray[np.int16], activations: NDArray[np.int16], stride: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the sums (N, rows, columns, out) of an ordinary convolution in NumPy's int64, by taps.

    `weight` is (out, kernel height, kernel width, in), `activations` (N, H, W, in).
    """
    _, high, wide, _ = weight.shape
    rows = (activations.shape[1] - high) // stride[0] + 1
    columns = (activations.shape[2] - wide) // stride[1] + 1
    sums = np.zeros((len(activations), rows, columns, len(weight)), np.int64)
    for y in range(high):
        for x in range(wide):
            seen = activations[:, y :: stride[0], x :: stride[1]][:, :rows, :columns]
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


def _seconds(kernels: Mapping[str, Kernel], device: torch.device) -> dict[str, float]:
    """Return the least seconds of each kernel, on a CPU the processor's, all of them in turn."""
    clock = process_time if device.type == "cpu" else perf_counter
    weight, activations = (torch.from_numpy(values) for values in _adversarial(TIMED))
    on_device = activations.to(device)
    made = {name: kernel(weight, (1, 1), device) for name, kernel in kernels.items()}
    least = dict.fromkeys(made, float("inf"))
    for done in range(TIMES):
        for name, sums in made.items():
            started = clock()
            sums(on_device).cpu()  # a copy to the CPU waits for an accelerator
            least[name] = min(least[name], clock() - started)
        if done:  # the first call's preparations must not decide
            limit = HOPELESS * min(least.values())
            made = {name: sums for name, sums in made.items() if least[name] <= limit}
    return least
