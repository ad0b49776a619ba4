"""Rules by which an encoder rounds latents, each from distances to a mean to values of that shape.

The nearest integer has the least error and not the best trade of rate for distortion: an encoder
may choose any integer, and every decoder reads it.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Rounding = Callable[[Tensor], Tensor]
LEAST_FRACTION = 1e-4  # from an integer, where its logit would be infinite
LOGIT_SCALE = 4 / 3


def annealed(temperature: float, generator: torch.Generator) -> Rounding:
    """Return a random rounding up or down, differentiable in its distances.

    Stochastic Gumbel annealing (Yang et al., NeurIPS 2020) with the scaled logits of Perugachi-Diaz
    et al. (NeurIPS 2024): the odds of rounding up are those of the fraction to the power of
    `LOGIT_SCALE` / temperature, and the result comes closer to an integer with a falling
    temperature, above 0. `generator` is on the device of the distances.
    """

    def rounded(distances: Tensor) -> Tensor:
        below = distances.detach().floor()
        fraction = (distances - below).clamp(LEAST_FRACTION, 1 - LEAST_FRACTION)
        # The difference of two Gumbel variables is logistic.
        uniform = torch.rand(
            distances.shape, generator=generator, device=distances.device, dtype=distances.dtype
        ).clamp(LEAST_FRACTION, 1 - LEAST_FRACTION)
        up = fraction.logit() * (LOGIT_SCALE / temperature)
        return below + ((up + uniform.logit()) / temperature).sigmoid()

    return rounded


def with_dead_zone(width: float) -> Rounding:
    """Return rounding towards zero by `width`, 0 to .5, more than to the nearest integer.

    >>> with_dead_zone(0.1)(torch.tensor([0.55, 0.65, -1.55, -1.65]))
    tensor([ 0.,  1., -1., -2.])
    """

    def rounded(distances: Tensor) -> Tensor:
        return distances.sign() * (distances.abs() + (0.5 - width)).floor()

    return rounded
