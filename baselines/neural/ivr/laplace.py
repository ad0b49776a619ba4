"""The entropy model of IVR: Laplace distributions of integers, in training and in a coder.

A scale is given by its logarithm. In a coder, a value of y is the integer nearest to the mean plus
a symbol; a symbol's distribution has one of `NUM_SCALES` scales, and the place of the mean between
two integers, in sixteenths for small scales, more coarsely for larger ones, which hardly differ.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baselines.neural.blocks.layers import at_least
from baselines.neural.entropy.fixed.grid import OUTPUT_FRACTION, Precision
from baselines.neural.entropy.fixed.integer_path import (
    Decoding,
    Ends,
    IntegerPath,
    PieceParameters,
    channels_first,
    values_of,
)
from baselines.neural.entropy.fixed.tables import frequencies, stacked_rows

MOST_BITS = 50.0  # of a value, as published
LEAST_LOG_SCALE, LARGEST_LOG_SCALE = math.log(0.06), math.log(64.0)
NUM_SCALES = 40
FINEST_PLACES = 16  # of the mean between two integers
TAIL = 2e-5  # mass outside a row's symbols, which are escaped


def laplace_bits(distances: Tensor, log_scales: Tensor) -> Tensor:
    """Return the bits, at most 50 each, of unit intervals at `distances` from the means."""
    rate = torch.exp(-at_least(log_scales, LEAST_LOG_SCALE))
    distance = distances.abs()
    outside = 0.5 * torch.exp(-(distance - 0.5).clamp(min=0) * rate) * -torch.expm1(-rate)
    inner, outer = (
        torch.exp(-edge.clamp(min=0) * rate) for edge in (0.5 - distance, 0.5 + distance)
    )
    inside = 1 - 0.5 * (inner + outer)
    mass = torch.where(distance > 0.5, outside, inside)
    return -at_least(mass, 2.0**-MOST_BITS).log2()


class LaplacePrior(nn.Module):
    """A Laplace distribution for each channel of z."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.empty(channels).uniform_(-1, 1))

    def medians(self) -> Tensor:
        """Return zeros, (channels,): z is rounded to integers, whatever its mean is."""
        return torch.zeros_like(self.mean)

    def rounded(self, values: Tensor) -> Tensor:
        """Return `values` (N, channels, h, w) rounded to integers, ties to even."""
        return values.round()

    def bits(self, values: Tensor) -> Tensor:
        """Return the bits of each of `values` (N, channels, h, w), the same shape."""
        return laplace_bits(values - self.mean[:, None, None], self.log_scale[:, None, None])


def laplace_tables(prior: LaplacePrior) -> dict[str, Tensor]:
    """Return the distributions of y and z by name, and how to choose a row of y's.

    thresholds  int32 (39,): a logarithm of a scale on the grid 2^-12 has as index the number of
                thresholds below it
    row_start   int32 (40,): the first row of each scale
    row_shift   int32 (40,): binary digits by which a place in sixteenths is coarsened there
    cdf, cdf_length, cdf_offset         rows of y, as `entropy.coder.Distributions` reads them
    z_cdf, z_cdf_length, z_cdf_offset   a row for each channel of z
    """
    mean, log_scale = (p.detach().double().numpy() for p in (prior.mean, prior.log_scale))
    scales = np.exp(np.clip(log_scale, LEAST_LOG_SCALE, LARGEST_LOG_SCALE))
    rows = [_row(float(scale), float(place)) for scale, place in zip(scales, mean, strict=True)]
    offsets = [first for first, _ in rows]
    z = stacked_rows([counts for _, counts in rows], offsets, "z_cdf")
    return {**{name: table.clone() for name, table in _tables_of_y().items()}, **z}


@cache
def _tables_of_y() -> dict[str, Tensor]:
    logs = np.linspace(LEAST_LOG_SCALE, LARGEST_LOG_SCALE, NUM_SCALES)
    between = np.floor((logs[:-1] + logs[1:]) / 2 * 2**OUTPUT_FRACTION)
    rows: list[tuple[int, NDArray[np.int32]]] = []
    starts, shifts = [], []
    for scale in np.exp(logs):
        shift = 0 if scale < 1 else 2 if scale < 8 else 4
        places = FINEST_PLACES >> shift
        starts.append(len(rows))
        shifts.append(shift)
        rows += [_row(float(scale), (k + 0.5) / places - 0.5) for k in range(places)]
    return {
        "thresholds": torch.tensor(between, dtype=torch.int32),
        "row_start": torch.tensor(starts, dtype=torch.int32),
        "row_shift": torch.tensor(shifts, dtype=torch.int32),
        **stacked_rows([counts for _, counts in rows], [first for first, _ in rows], "cdf"),
    }


def _row(scale: float, mean: float) -> tuple[int, NDArray[np.int32]]:
    """Return the first symbol of a distribution's row, and frequencies with that of the escape."""
    reach = scale * math.log(1 / (2 * TAIL))
    first, last = math.floor(mean - reach), math.ceil(mean + reach)
    first, last = min(first, round(mean) - 1), max(last, round(mean) + 1)
    edges = (np.arange(first, last + 2) - 0.5 - mean) / scale
    below = np.where(edges < 0, 0.5 * np.exp(np.minimum(edges, 0)), 0)
    above = np.where(edges >= 0, 0.5 * np.exp(-np.maximum(edges, 0)), 0)
    cumulative = np.where(edges < 0, below, 1 - above)
    masses = np.diff(cumulative)
    return first, frequencies(np.append(masses, max(1 - masses.sum(), 0.0)))


PLACE_BITS = FINEST_PLACES.bit_length() - 1


class IvrPath(IntegerPath):
    """Integer network of a checkpoint of IVR; see `IntegerPath`. y is a single piece."""

    num_thresholds = NUM_SCALES - 1

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        self._starts = self._table(tables, "row_start", NUM_SCALES)
        self._shifts = self._table(tables, "row_shift", NUM_SCALES)
        self.num_rows = int(self._starts[-1]) + (FINEST_PLACES >> int(self._shifts[-1]))

    def decoding(self, z_symbols: Tensor) -> Decoding:
        """Decode y from the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        outputs = self.branches["hyper"](self.hyper_activations(z_symbols))
        means, log_scales = channels_first(outputs).chunk(2, dim=1)
        parameters = self.parameters_of(means, log_scales)
        symbols = yield parameters
        return values_of(symbols, parameters.means)

    def parameters_of(self, means: Tensor, log_scales: Tensor) -> PieceParameters:
        """Return rows and integers of y's symbols, of means and scales on the grid 2^-12.

        A symbol counts from the integer nearest to its mean; the row depends on their distance.
        """
        scales = self.scale_index(log_scales).to(torch.int64)
        shifted = means.to(torch.int64) + (1 << (OUTPUT_FRACTION - 1))
        place = (shifted & ((1 << OUTPUT_FRACTION) - 1)) >> (OUTPUT_FRACTION - PLACE_BITS)
        rows = self._starts[scales] + (place >> self._shifts[scales])
        nearest = (shifted >> OUTPUT_FRACTION) << OUTPUT_FRACTION
        return PieceParameters(rows.to(torch.int32), nearest.to(torch.int32))

    def _ends(self, name: str) -> Ends:
        return Ends("z", OUTPUT_FRACTION, Precision.FINE)
