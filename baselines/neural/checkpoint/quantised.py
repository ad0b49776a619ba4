"""Weights as integers of few bits, times a scale of their row and one of their column.

A checkpoint's file holds such a parameter under its own name in int8, and its scales under names
that begin with `scales.`. Convolutions that resample keep floats: rounding their weak channels
costs decibels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from baselines.neural.network import Network

ROWS, COLUMNS = "scales.rows.", "scales.columns."
# Dimensions along which the weights of a row, and those of a column, are: of a matrix, of a table
# of matrices, of the kernels of a convolution.
_ALONG_ROWS = {2: (1,), 3: (2,), 4: (1, 2, 3)}
_ALONG_COLUMNS = {2: (0,), 3: (1,), 4: (0, 2, 3)}


@dataclass(frozen=True, slots=True)
class QuantisedWeights:
    """Integers of a parameter's shape and scales that broadcast to it: int8, float32, float32."""

    integers: Tensor
    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], name: str) -> "QuantisedWeights":
        """Return those of the parameter `name` among a file's tensors."""
        return cls(tensors[name], tensors[f"{ROWS}{name}"], tensors[f"{COLUMNS}{name}"])

    def values(self) -> Tensor:
        """Return the weights in float32, the same bits on every machine."""
        return self.integers.float() * (self.rows * self.columns)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return what the file holds of the parameter `name`."""
        return {name: self.integers, f"{ROWS}{name}": self.rows, f"{COLUMNS}{name}": self.columns}


def quantise(weights: Tensor, bits: int) -> QuantisedWeights:
    """Round weights, of two to four dimensions, to signed integers of 2 to 8 bits.

    A column's scale is its largest weight; a row's makes its largest remainder the largest integer.
    """
    top = 2 ** (bits - 1) - 1
    exact = weights.detach().float()
    columns = _largest(exact, _ALONG_COLUMNS[weights.ndim])
    rows = _largest(exact / columns, _ALONG_ROWS[weights.ndim]) / top
    integers = torch.round(exact / (rows * columns)).clamp(-top, top)
    return QuantisedWeights(integers.to(torch.int8), rows, columns)


def _largest(weights: Tensor, along: tuple[int, ...]) -> Tensor:
    """Return the largest magnitudes along dimensions, which are kept; 1 where all are 0."""
    largest = weights.abs().amax(along, keepdim=True)
    return torch.where(largest > 0, largest, torch.ones_like(largest))


def quantised_parameters(network: Network) -> dict[str, QuantisedWeights]:
    """Return the weights that `Network.quantised_bits` names; biases keep floats."""
    return {
        name: quantise(value, bits)
        for name, value in network.named_parameters()
        for prefix, bits in network.quantised_bits.items()
        if name.startswith(prefix) and can_be_quantised(tuple(value.shape))
    }


def can_be_quantised(shape: tuple[int, ...]) -> bool:
    """Return whether a parameter of this shape has rows and columns."""
    return len(shape) in _ALONG_ROWS


def scales_of(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a parameter's scales by the names that a file has them under.

    >>> scales_of("mix.weight", (128, 64, 3, 3))
    {'scales.rows.mix.weight': (128, 1, 1, 1), 'scales.columns.mix.weight': (1, 64, 1, 1)}
    """
    along = ((ROWS, _ALONG_ROWS[len(shape)]), (COLUMNS, _ALONG_COLUMNS[len(shape)]))
    return {
        f"{prefix}{name}": tuple(1 if at in dims else size for at, size in enumerate(shape))
        for prefix, dims in along
    }
