"""The factorised prior: a learned distribution for each channel, and its integer tables."""

import math
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import at_least
from baselines.neural.entropy.integer.grid import frequencies, make_tables, stacked_rows

Rounding = Callable[[Tensor], Tensor]  # from distances to a mean to values of that shape
LEAST_LIKELIHOOD = 1e-9
FILTERS = (3, 3, 3, 3)  # widths inside the prior
TAIL_MASS = 1e-9  # outside the quantiles
INITIAL_SPREAD = 10.0  # the quantiles start at -10, 0, 10
TABLE_TAIL = 2.0**-18  # mass below, and above, a table's symbols: a quarter of the least frequency
TABLE_REACH = 1023  # symbols on either side of the median, at most


class FactorisedPrior(nn.Module):
    """A learned distribution for each channel: sigmoid(cumulative(x)) is its distribution function.

    Ballé et al. (ICLR 2018), 6.1. `quantiles` (channels, 3) are trained by `quantile_loss`: half of
    `TAIL_MASS` lies below the first and above the last each, and symbol zero is the median.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        pairs = list(pairwise((1, *FILTERS, 1)))
        scale = INITIAL_SPREAD ** (1 / len(pairs))
        self.matrices = nn.ParameterList(
            torch.full((channels, after, before), math.log(math.expm1(1 / scale / after)))
            for before, after in pairs
        )
        self.biases = nn.ParameterList(
            torch.empty(channels, after, 1).uniform_(-0.5, 0.5) for _, after in pairs
        )
        self.factors = nn.ParameterList(torch.zeros(channels, after, 1) for after in FILTERS)
        start = torch.tensor([-INITIAL_SPREAD, 0.0, INITIAL_SPREAD])
        self.quantiles = nn.Parameter(start.repeat(channels, 1))

    def medians(self) -> Tensor:
        """Return the middle quantiles, (channels,)."""
        return self.quantiles[:, 1]

    def rounded(self, values: Tensor, rounding: Rounding = torch.round) -> Tensor:
        """Return `values` (N, channels, h, w) in integer steps from the medians."""
        medians = self.medians().detach()[:, None, None]
        return rounding(values - medians) + medians

    def cumulative(self, values: Tensor, *, constant: bool = False) -> Tensor:
        """Return logits at `values` (channels, n), for a `constant` prior without its gradient."""
        matrices, biases, factors = (
            [weight.detach() if constant else weight for weight in group]
            for group in (self.matrices, self.biases, self.factors)
        )
        logits = values[:, None, :]
        for i, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
            logits = functional.softplus(matrix) @ logits + bias
            if i < len(factors):
                logits = logits + factors[i].tanh() * logits.tanh()
        return logits[:, 0, :]

    def bits(self, values: Tensor) -> Tensor:
        """Return the bits of the unit intervals around `values` (N, channels, h, w)."""
        pictures, channels, height, width = values.shape
        rows = values.transpose(0, 1).reshape(channels, -1)
        likelihood = _mass(self.cumulative(rows - 0.5), self.cumulative(rows + 0.5))
        bits = -at_least(likelihood, LEAST_LIKELIHOOD).log2()
        return bits.reshape(channels, pictures, height, width).transpose(0, 1)

    def quantile_loss(self) -> Tensor:
        """Return the distance in logits of the quantiles from their targets, for them alone."""
        tail = math.log(2 / TAIL_MASS - 1)
        targets = torch.linspace(-tail, tail, 3, device=self.quantiles.device)
        return (self.cumulative(self.quantiles, constant=True) - targets).abs().sum()


def hyperprior_tables(prior: FactorisedPrior) -> dict[str, Tensor]:
    """Return the tables of y, normally distributed, and of z by name; see `factorised_tables`."""
    return {**make_tables(), **factorised_tables(prior)}


def factorised_tables(prior: FactorisedPrior) -> dict[str, Tensor]:
    """Return the distributions of round(z - median), by name, for `coder.Distributions`.

    Frequencies are masses of unit intervals, in units of 2^-16.
    """
    with torch.no_grad():
        exact = deepcopy(prior).to("cpu", torch.float64)
        edges = torch.arange(-TABLE_REACH, TABLE_REACH + 2, dtype=torch.float64) - 0.5
        logits = exact.cumulative(exact.medians()[:, None] + edges)
        below, above = logits[:, :-1], logits[:, 1:]
        masses = _mass(below, above)
        inside = (above.sigmoid() > TABLE_TAIL) & ((-below).sigmoid() > TABLE_TAIL)
    rows, offsets = [], []
    for mass, kept in zip(masses.numpy(), inside.numpy(), strict=True):
        symbols = np.flatnonzero(kept)
        # A distribution that lies beyond the reach leaves the median, and the escape.
        first, last = (symbols[0], symbols[-1]) if len(symbols) else (TABLE_REACH, TABLE_REACH)
        within = mass[first : last + 1]
        rows.append(frequencies(np.append(within, max(0.0, 1 - within.sum()))))
        offsets.append(int(first) - TABLE_REACH)
    return stacked_rows(rows, offsets, "z_cdf")


def _mass(below: Tensor, above: Tensor) -> Tensor:
    """Return the probability between two logits of a distribution function."""
    # Both ends on the side of the distribution where their difference does not cancel.
    side = -(below + above).sign().detach()
    return ((side * above).sigmoid() - (side * below).sigmoid()).abs()


def noised(values: Tensor) -> Tensor:
    """Return `values` with uniform noise in [-1/2, 1/2), in place of rounding in training."""
    return values + torch.empty_like(values).uniform_(-0.5, 0.5)


LEAST_FRACTION = 1e-4  # from an integer, where its logit would be infinite
LOGIT_SCALE = 4 / 3


def annealed(temperature: float, generator: torch.Generator) -> Rounding:
    """Return a random rounding up or down, differentiable in its distances.

    Stochastic Gumbel annealing (Yang et al., NeurIPS 2020) with the scaled logits of Perugachi-Diaz
    et al. (NeurIPS 2024): the lower the temperature, the closer to an integer.
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
