"""A trained factorised prior -> an integer distribution for each channel of z.

Computed once, where a checkpoint is made, and stored there: a decoder reads the integers, since two
machines' exponentials need not agree in the last bit.
"""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor

from baselines.neural.entropy.fixed.tables import frequencies
from baselines.neural.entropy.hyperprior import FactorisedPrior

TAIL = 2.0**-18  # what may lie below, and above, the symbols: a quarter of the least frequency
REACH = 1023  # symbols on either side of the median, at most


def factorised_tables(prior: FactorisedPrior) -> dict[str, Tensor]:
    """The distributions of round(z - median), by name, as `coder.Distributions` reads them.

    z_cdf         int32 (channels, longest): a row begins with 0 and rises to 2^16; then zeros
    z_cdf_length  int32 (channels,): entries of a row that count, two more than it has symbols
    z_cdf_offset  int32 (channels,): a row's first symbol; its last interval is the escape

    A symbol's frequency is the mass of the unit interval around median + symbol, in units of 2^-16,
    at least 1. Raises `ValueError` for a prior with parameters that are not finite.
    """
    with torch.no_grad():
        exact = deepcopy(prior).to("cpu", torch.float64)
        edges = torch.arange(-REACH, REACH + 2, dtype=torch.float64) - 0.5
        logits = exact.cumulative(exact.medians()[:, None] + edges)
        if not bool(logits.isfinite().all()):
            raise ValueError("the prior of z has parameters that are not finite")
        below, above = logits[:, :-1], logits[:, 1:]
        # Both ends on the side of the distribution where their difference does not cancel.
        side = -(below + above).sign()
        masses = ((side * above).sigmoid() - (side * below).sigmoid()).abs()
        inside = (above.sigmoid() > TAIL) & ((-below).sigmoid() > TAIL)
    rows, offsets = [], []
    for mass, kept in zip(masses.numpy(), inside.numpy(), strict=True):
        symbols = np.flatnonzero(kept)
        # A distribution that lies beyond the reach leaves the median, and the escape.
        first, last = (symbols[0], symbols[-1]) if len(symbols) else (REACH, REACH)
        within = mass[first : last + 1]
        rows.append(frequencies(np.append(within, max(0.0, 1 - within.sum()))))
        offsets.append(int(first) - REACH)
    cdf = np.zeros((len(rows), max(map(len, rows)) + 1), np.int32)
    for row, counts in zip(cdf, rows, strict=True):
        row[1 : len(counts) + 1] = np.cumsum(counts)
    return {
        "z_cdf": torch.from_numpy(cdf),
        "z_cdf_length": torch.tensor([len(counts) + 1 for counts in rows], dtype=torch.int32),
        "z_cdf_offset": torch.tensor(offsets, dtype=torch.int32),
    }
