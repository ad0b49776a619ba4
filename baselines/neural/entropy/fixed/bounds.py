"""Proof, from a layer's integer weights, that no sum in it can leave its number format.

The bound of a sum is the sum of the weights' magnitudes times the largest activation: it holds for
every input, even of a hostile stream, because activations are clipped to their limit.
"""

import torch
from torch import Tensor

from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, power_of_two
from baselines.neural.entropy.fixed.limbs import LARGEST_LIMB, planes

FLOAT64_BOUND = 2.0**51  # two bits spared: for the bias, and for the half that rounding adds
INT32_BOUND = 2**31 - 1


class BoundExceeded(ValueError):  # noqa: N818
    """Weights so large that a sum might not be exact: the layer cannot run in integers."""


def prove(weight: Tensor, bias: Tensor, shift: Tensor, layer: str) -> None:
    """Raise `BoundExceeded` unless every kernel computes the layer exactly for all inputs.

    `weight` holds integers (out, kernel height, kernel width, in), `bias` float64 integers (out,).
    `shift`, int64 (out,), are the bits by which requantisation divides. `layer` is its name in the
    message.
    """
    rows = weight.reshape(weight.shape[0], -1)
    sums = _magnitude(rows).double() * ACTIVATION_LIMIT + bias.abs()
    largest = float(torch.maximum(sums, sums * power_of_two(-shift)).max())
    if not largest < FLOAT64_BOUND:
        raise BoundExceeded(
            f"{layer}: a sum may reach {largest:.3g}, beyond 2^51: its weights or bias are too big"
        )
    for part, plane in enumerate(planes(rows)):
        reach = int(_magnitude(plane).max()) * LARGEST_LIMB
        if reach > INT32_BOUND:
            raise BoundExceeded(
                f"{layer}: the int32 sum of limb {part} may reach {reach}; it has too many inputs"
            )


def _magnitude(rows: Tensor) -> Tensor:
    return rows.abs().to(torch.int64).sum(dim=1)
