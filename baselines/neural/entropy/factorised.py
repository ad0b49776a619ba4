"""Factorised prior: a learned distribution for each channel, and integer tables of it."""

import math
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.neural.blocks.layers import clamp_below
from baselines.neural.entropy.integer.grid import frequencies, make_tables, stack_rows

Rounding = Callable[[Tensor], Tensor]  # distances from a mean -> rounded, of the same shape
MIN_LIKELIHOOD = 1e-9
FILTERS = (3, 3, 3, 3)  # hidden widths of the prior
TAIL_MASS = 1e-9  # probability outside the quantiles
INITIAL_QUANTILE = 10.0  # the initial quantiles are -10, 0, 10
# Probability on either side of a table's symbols: a quarter of the minimum frequency
TABLE_TAIL = 2.0**-18
TABLE_REACH = 1023  # maximum number of a table's symbols on either side of the median


class FactorisedPrior(nn.Module):
    """Learned distribution for each channel, whose CDF is sigmoid(cumulative(x))."""

    # Ballé et al. (ICLR 2018), 6.1. `quantile_loss` trains `quantiles` (channels, 3): half of
    # `TAIL_MASS` lies below the first, and half above the last; the median is the symbol 0.

    def __init__(self, channels: int) -> None:
        super().__init__()
        layer_widths = list(pairwise((1, *FILTERS, 1)))  # inputs and outputs of each layer
        scale = INITIAL_QUANTILE ** (1 / len(layer_widths))
        self.matrices = nn.ParameterList(
            torch.full((channels, outputs, inputs), math.log(math.expm1(1 / scale / outputs)))
            for inputs, outputs in layer_widths
        )
        self.biases = nn.ParameterList(
            torch.empty(channels, outputs, 1).uniform_(-0.5, 0.5) for _, outputs in layer_widths
        )
        self.factors = nn.ParameterList(torch.zeros(channels, outputs, 1) for outputs in FILTERS)
        # All rows are made at once, since repeating a row of a tensor imports sympy on the device
        # "meta", on which networks are loaded.
        quantiles = [-INITIAL_QUANTILE, 0.0, INITIAL_QUANTILE]
        self.quantiles = nn.Parameter(torch.tensor([quantiles] * channels))

    def medians(self) -> Tensor:
        """Return the medians, (channels,)."""
        return self.quantiles[:, 1]

    def rounded(self, values: Tensor, rounding: Rounding = torch.round) -> Tensor:
        """Round `values` (N, channels, h, w) to integer steps from the medians."""
        medians = self.medians().detach()[:, None, None]
        return rounding(values - medians) + medians

    def cumulative(self, values: Tensor, *, constant: bool = False) -> Tensor:
        """Return logits at `values` (channels, n); with `constant`, parameters get no gradient."""
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
        """Return the bits of unit intervals around `values` (N, channels, h, w)."""
        pictures, channels, height, width = values.shape
        rows = values.transpose(0, 1).reshape(channels, -1)
        likelihood = _mass(self.cumulative(rows - 0.5), self.cumulative(rows + 0.5))
        bits = -clamp_below(likelihood, MIN_LIKELIHOOD).log2()
        return bits.reshape(channels, pictures, height, width).transpose(0, 1)

    def quantile_loss(self) -> Tensor:
        """Return the distance, in logits, of quantiles from targets; only they get gradients."""
        tail_logit = math.log(2 / TAIL_MASS - 1)
        targets = torch.linspace(-tail_logit, tail_logit, 3, device=self.quantiles.device)
        return (self.cumulative(self.quantiles, constant=True) - targets).abs().sum()


def hyperprior_tables(prior: FactorisedPrior) -> dict[str, Tensor]:
    """Return the tables of y (normal distributions) and z by name; see `factorised_tables`."""
    return {**make_tables(), **factorised_tables(prior)}


def factorised_tables(prior: FactorisedPrior) -> dict[str, Tensor]:
    """Return the tables of round(z - median) for `coder.Distributions`, by name."""
    # frequencies are masses of unit intervals, in units of 2^-16
    with torch.no_grad():
        double_prior = deepcopy(prior).to("cpu", torch.float64)
        edges = torch.arange(-TABLE_REACH, TABLE_REACH + 2, dtype=torch.float64) - 0.5
        logits = double_prior.cumulative(double_prior.medians()[:, None] + edges)
        lower, upper = logits[:, :-1], logits[:, 1:]
        masses = _mass(lower, upper)
        is_in_table = (upper.sigmoid() > TABLE_TAIL) & ((-lower).sigmoid() > TABLE_TAIL)
    rows, offsets = [], []
    for row_masses, row_is_in_table in zip(masses.numpy(), is_in_table.numpy(), strict=True):
        symbols = np.flatnonzero(row_is_in_table)
        # If a distribution lies beyond the reach, only the median and the escape remain.
        start, end = (symbols[0], symbols[-1]) if len(symbols) else (TABLE_REACH, TABLE_REACH)
        table_masses = row_masses[start : end + 1]
        rows.append(frequencies(np.append(table_masses, max(0.0, 1 - table_masses.sum()))))
        offsets.append(int(start) - TABLE_REACH)
    return stack_rows(rows, offsets, "z_cdf")


def _mass(lower: Tensor, upper: Tensor) -> Tensor:
    # Both logits are mirrored to the tail where their difference is accurate.
    sign = -(lower + upper).sign().detach()
    return ((sign * upper).sigmoid() - (sign * lower).sigmoid()).abs()


def add_noise(values: Tensor) -> Tensor:
    """Add uniform noise in [-1/2, 1/2), which replaces rounding in training."""
    return values + torch.empty_like(values).uniform_(-0.5, 0.5)


MIN_FRACTION = 1e-4  # distance from an integer, whose logit would be infinite
LOGIT_SCALE = 4 / 3


def annealed_rounding(temperature: float, generator: torch.Generator) -> Rounding:
    """Make a differentiable function that rounds up or down at random."""
    # Stochastic Gumbel annealing (Yang et al., NeurIPS 2020) with the scaled logits of
    # Perugachi-Diaz et al. (NeurIPS 2024): lower temperatures give values closer to integers.

    def round_randomly(distances: Tensor) -> Tensor:
        floor = distances.detach().floor()
        fraction = (distances - floor).clamp(MIN_FRACTION, 1 - MIN_FRACTION)
        # The difference of two Gumbel variables is logistic.
        uniform = torch.rand(
            distances.shape, generator=generator, device=distances.device, dtype=distances.dtype
        ).clamp(MIN_FRACTION, 1 - MIN_FRACTION)
        logit = fraction.logit() * (LOGIT_SCALE / temperature)
        return floor + ((logit + uniform.logit()) / temperature).sigmoid()

    return round_randomly
