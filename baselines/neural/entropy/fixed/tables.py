"""Integer tables of the transcendental functions on the entropy path.

A checkpoint stores the result of `make_tables`: a decoder never computes a table, since two
machines' exp or erf need not agree in the last bit. `make_tables` computes in decimal numbers,
whose results are specified to the last digit.
"""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, localcontext
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.entropy.fixed.grid import OUTPUT_FRACTION

CDF_BITS = 16
NUM_SCALES = 64
LEAST_SCALE, LARGEST_SCALE = Decimal("0.11"), Decimal(256)
REACH = Decimal("6.1094102048693")  # standard deviations, outside which lies a mass of 1e-9
TANH_FRACTION = 9  # of the argument; the result has OUTPUT_FRACTION
TANH_LIMIT = 4095  # arguments within +-8, beyond which the result stays the same
DIGITS = 40
PI = Decimal("3.14159265358979323846264338327950288419716939937511")


def make_tables() -> dict[str, Tensor]:
    """Return all tables of the entropy path by name.

        half_tanh   int16 (8191,): .5 tanh(i / 2^9) on the grid 2^-12, for i from -4095 to 4095
        thresholds  int32 (63,): a scale on the grid 2^-12 has as index the number of them below it
        cdf         int32 (64, longest): row i begins with 0 and rises to 2^16; then zeros
        cdf_length  int32 (64,): entries of a row that count, one more than it has symbols
        cdf_offset  int32 (64,): a row's first symbol; the last interval is for all other integers

    The 64 scales are evenly spaced in the logarithm from .11 to 256, thresholds geometric means of
    neighbours. Rows are as in CompressAI (Bégaint et al., arXiv 2011.03029), until a mass of 1e-9
    is left.
    """
    return {name: table.clone() for name, table in _tables().items()}


@cache
def _tables() -> dict[str, Tensor]:
    """Compute the tables, which takes a second, once a process."""
    with localcontext() as context:
        context.prec = DIGITS
        step = (LARGEST_SCALE.ln() - LEAST_SCALE.ln()) / (NUM_SCALES - 1)
        scales = [(LEAST_SCALE.ln() + step * i).exp() for i in range(NUM_SCALES)]
        between = [scale * (step / 2).exp() * 2**OUTPUT_FRACTION for scale in scales[:-1]]
        thresholds = [int(value.to_integral_value(ROUND_FLOOR)) for value in between]
        rows = [_gaussian_row(scale) for scale in scales]
        arguments = range(-TANH_LIMIT, TANH_LIMIT + 1)
        powers = [(Decimal(i) / 2 ** (TANH_FRACTION - 1)).exp() for i in arguments]  # e^2x
        exact = [(power - 1) / (power + 1) * 2 ** (OUTPUT_FRACTION - 1) for power in powers]
        half_tanh = [int(value.to_integral_value(ROUND_HALF_EVEN)) for value in exact]
    return {
        "half_tanh": torch.tensor(half_tanh, dtype=torch.int16),
        "thresholds": torch.tensor(thresholds, dtype=torch.int32),
        **stacked_rows(rows, [-(len(counts) - 2) // 2 for counts in rows], "cdf"),
    }


def stacked_rows(
    rows: Sequence[NDArray[np.int32]], offsets: Sequence[int], name: str
) -> dict[str, Tensor]:
    """Return frequencies, an array for each distribution, as the coder's tables (`make_tables`)."""
    cdf = np.zeros((len(rows), max(map(len, rows)) + 1), np.int32)
    for row, counts in zip(cdf, rows, strict=True):
        row[1 : len(counts) + 1] = np.cumsum(counts)
    return {
        name: torch.from_numpy(cdf),
        f"{name}_length": torch.tensor([len(counts) + 1 for counts in rows], dtype=torch.int32),
        f"{name}_offset": torch.tensor(offsets, dtype=torch.int32),
    }


def half_tanh(arguments: Tensor, table: Tensor) -> Tensor:
    """Return .5 tanh on the grid 2^-12 of integers on the grid 2^-9, within TANH_LIMIT."""
    return table[arguments.to(torch.int64) + TANH_LIMIT]


def _gaussian_row(scale: Decimal) -> NDArray[np.int32]:
    """Return frequencies of -reach..reach and of the escape, summing to 2^16, at least 1."""
    reach = int((scale * REACH).to_integral_value(ROUND_FLOOR)) + 1
    # Below each half-integer .5, 1.5, ..., from the middle: the distribution function minus 1/2.
    inside = [_central_mass((Decimal(i) + Decimal("0.5")) / scale) for i in range(reach + 1)]
    middle = 2 * inside[0]
    right = [after - before for before, after in pairwise(inside)]
    escape = 1 - 2 * inside[-1]
    masses = np.array([float(m) for m in (*reversed(right), middle, *right, escape)])
    return frequencies(masses)


def _central_mass(z: Decimal) -> Decimal:
    """Return Phi(z) - 1/2 of the standard normal distribution: Abramowitz and Stegun, 26.2.11."""
    term, total, odd = z, z, 1
    while term > total.scaleb(-DIGITS):
        odd += 2
        term *= z * z / odd
        total += term
    return total * (-z * z / 2).exp() / (2 * PI).sqrt()


def frequencies(masses: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return integers of at least 1 that sum to 2^16, nearly those of the shortest code.

    By Webster's rule: while the rounded numbers miss the sum, one is taken from, or given to, the
    symbol whose ratio of mass to frequency suffers least.
    """
    rounded = np.rint(masses * 2**CDF_BITS)
    counts: NDArray[np.int32] = np.maximum(1, rounded).astype(np.int32)
    while (missing := 2**CDF_BITS - int(counts.sum())) != 0:
        if missing > 0:
            counts[np.argmax(masses / (counts + 0.5))] += 1
        else:
            taken = np.where(counts > 1, masses / np.maximum(counts - 0.5, 0.5), np.inf)
            counts[np.argmin(taken)] -= 1
    return counts
