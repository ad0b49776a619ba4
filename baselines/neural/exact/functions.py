"""Functions of float64 tensors by single IEEE operations: exponential, sigmoid, sine, and others.

Within 1e-15 of the true values, relative to 1 or to the value, where the range below holds. torch's
own functions are as close, and differ between instruction sets in the last bit. No tensor is
divided by a number: on a GPU torch multiplies by its reciprocal, which rounds otherwise.
"""

import numpy as np
import torch
from torch import Tensor

from baselines.neural.entropy.fixed.grid import power_of_two

# ln 2 in two parts, the first of 33 bits: its products with whole numbers below 2^20 are exact.
LN2_HIGH, LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
LOG2_E = 1.4426950408889634
LARGEST_ARGUMENT = 700.0
EXPONENTIAL_TERMS = 14  # (ln 2 / 2)^15 / 15! < 1e-19
LOGARITHM_TERMS = 17  # (1/3)^35 / 35 < 1e-18
CIRCLE_TERMS = 11  # 1 / 23! < 1e-22


def exponential(values: Tensor) -> Tensor:
    """Return e^x; x beyond +-700 is taken as +-700."""
    bounded = values.clamp(-LARGEST_ARGUMENT, LARGEST_ARGUMENT)
    powers = torch.round(bounded * LOG2_E)
    rest = bounded - powers * LN2_HIGH - powers * LN2_LOW
    series = torch.ones_like(rest)
    for term in range(EXPONENTIAL_TERMS, 0, -1):
        series = series * rest * (1 / term) + 1
    return series * power_of_two(powers)


def sigmoid(values: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x)."""
    small = exponential(-values.abs())
    return torch.where(values < 0, small, torch.ones_like(small)) / (small + 1)


def softplus(values: Tensor) -> Tensor:
    """Return ln(1 + e^x)."""
    small = exponential(-values.abs())
    ratio = small / (small + 2)  # ln(1 + u) = 2 artanh(u / (2 + u))
    square = ratio * ratio
    series = torch.zeros_like(ratio)
    for term in range(LOGARITHM_TERMS, -1, -1):
        series = series * square + 1 / (2 * term + 1)
    return values.clamp(min=0) + ratio * series * 2


def square_root(values: Tensor) -> Tensor:
    """Return the square root, correctly rounded and without a gradient.

    By numpy on a CPU: the last bit of torch's (MKL's) depends on the instruction set there.
    """
    if values.device.type == "cpu":
        return torch.from_numpy(np.sqrt(values.detach().numpy()))
    return values.detach().sqrt()


def sine_cosine(angles: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sine and the cosine of angles within -1..1."""
    square = angles * angles
    sine = cosine = torch.ones_like(angles)
    for term in range(CIRCLE_TERMS, 0, -1):
        sine = 1 - sine * square * (1 / (2 * term * (2 * term + 1)))
        cosine = 1 - cosine * square * (1 / (2 * term * (2 * term - 1)))
    return sine * angles, cosine
