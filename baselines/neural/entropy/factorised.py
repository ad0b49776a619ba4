"""The factorised prior: a learned distribution for each channel, and its integer tables.

The tables are computed once, where a checkpoint is made, and stored there: a decoder reads the
integers, since two machines' exponentials need not agree in the last bit.
"""

import math
from copy import deepcopy
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import at_least
from baselines.neural.entropy.fixed.tables import frequencies, stacked_rows
from baselines.neural.entropy.rounding import Rounding

LEAST_LIKELIHOOD = 1e-9
FILTERS = (3, 3, 3, 3)  # widths inside the prior
TAIL_MASS = 1e-9  # outside the quantiles
INITIAL_SPREAD = 10.0  # the quantiles start at -10, 0, 10
TABLE_TAIL = 2.0**-18  # mass below, and above, a table's symbols: a quarter of the least frequency
TABLE_REACH = 1023  # symbols on either side of the median, at most


class FactorisedPrior(nn.Module):
    """A learned distribution for each channel: sigmoid(cumulative(x)) is its distribution function.

    Ballé et al., "Variational image compression with a scale hyperprior" (ICLR 2018), 6.1.
    `quantiles` (channels, 3) are trained by `quantile_loss`: half of `TAIL_MASS` lies below the
    first and above the last each, and symbol zero is the middle one, the median.
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

    def cumulative(self, values: Tensor) -> Tensor:
        """Return logits of the distribution function at `values` (channels, n), same shape."""
        return self._cumulative(values, constant=False)

    def _cumulative(self, values: Tensor, *, constant: bool) -> Tensor:
        """Return `cumulative(values)`; if `constant`, without a gradient for the distribution."""
        matrices, biases, factors = (
            [one.detach() if constant else one for one in group]
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
        return (self._cumulative(self.quantiles, constant=True) - targets).abs().sum()


def factorised_tables(prior: FactorisedPrior) -> dict[str, Tensor]:
    """Return the distributions of round(z - median), by name, for `coder.Distributions`.

    z_cdf is int32 (channels, longest), z_cdf_length and z_cdf_offset are int32 (channels,). A
    symbol's frequency is the mass of the unit interval around median + symbol, in units of 2^-16,
    at least 1. Raises `ValueError` for a prior with parameters that are not finite.
    """
    with torch.no_grad():
        exact = deepcopy(prior).to("cpu", torch.float64)
        edges = torch.arange(-TABLE_REACH, TABLE_REACH + 2, dtype=torch.float64) - 0.5
        logits = exact.cumulative(exact.medians()[:, None] + edges)
        if not bool(logits.isfinite().all()):
            raise ValueError("the prior of z has parameters that are not finite")
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
    """Return `values` with uniform noise in [-1/2, 1/2), which stands for rounding in training."""
    return values + torch.empty_like(values).uniform_(-0.5, 0.5)
