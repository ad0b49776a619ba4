"""Base class of integer networks of entropy models: grids, medians, branches of convolutions."""

from collections.abc import Callable, Generator, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.entropy.fixed.convolution import FixedSequence, convolutions
from baselines.neural.entropy.fixed.fractional_bits import fractional_bits_in
from baselines.neural.entropy.fixed.grid import (
    ACTIVATION_LIMIT,
    OUTPUT_FRACTION,
    OUTPUT_LIMIT,
    Precision,
    coarser,
)
from baselines.neural.entropy.fixed.selftest import Choice, exact_kernel
from baselines.neural.entropy.fixed.tables import NUM_SCALES
from baselines.neural.entropy.latent_network import LatentNetwork
from baselines.neural.entropy.rounding import Rounding

LARGEST_MEDIAN = 1e6  # z is within +-8127, whatever its fraction


class Ends(NamedTuple):
    """Number formats at the two ends of a branch."""

    first: str  # activation at the input, by its name among the fractional bits
    last: int  # fractional bits of the output
    precision: Precision  # of the weights
    limit: int = OUTPUT_LIMIT  # of the output
    dtype: torch.dtype = torch.int32  # of the output


class PieceParameters(NamedTuple):
    """Distributions of one piece's symbols, each of the symbols' shape."""

    indices: Tensor  # uint8 or int32, rows of the table `cdf`
    means: Tensor  # int32, on the grid 2^-12


# Yields the parameters of piece after piece, is sent the piece's symbols each time, and returns y,
# int32 (N, M, h, w) on the grid 2^-12; exact in float32.
Decoding = Generator[PieceParameters, Tensor, Tensor]


class IntegerPath:
    """Integer network of one checkpoint on one device; a subclass defines branches and pieces.

    `tables` hold the checkpoint's `thresholds` and fractional bits. `choice` is the kernel; the
    fastest exact one unless given. Raises `ValueError` for tables that do not fit the model,
    `BoundExceeded` for weights that admit an inexact sum, `Unavailable` without an exact kernel.
    """

    num_pieces: int  # in which a latent is coded, one after the other
    num_thresholds: ClassVar[int] = NUM_SCALES - 1  # between scales
    num_rows: int  # distributions of y's symbols

    def __init__(
        self,
        model: LatentNetwork,
        tables: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
        choice: Choice | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.choice = choice or exact_kernel(self.device)
        self.fractional_bits = fractional_bits_in(tables, model)
        self.thresholds = self._table(tables, "thresholds", self.num_thresholds)
        self.num_rows = self.num_thresholds + 1
        medians = model.prior.medians().detach().to("cpu", torch.float64)
        if not (medians.abs() < LARGEST_MEDIAN).all():
            raise ValueError(f"a median of z is not a number below {LARGEST_MEDIAN:g}")
        on_grid = torch.round(medians * 2.0 ** self.fractional_bits["z"])
        self.medians = on_grid.to(self.device, torch.int64)
        self._prepare(model, tables)
        self.branches = {
            name: self._branch(name, modules) for name, modules in model.entropy_branches().items()
        }

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        """Set a subclass's own attributes, before branches are made."""

    def decoding(self, z_symbols: Tensor) -> Decoding:
        """Decode y from the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        raise NotImplementedError

    def pieces(self, latents: Tensor) -> list[Tensor]:
        """Return the values of y (N, M, h, w) piece by piece, each of its symbols' shape."""
        raise NotImplementedError

    def _ends(self, name: str) -> Ends:
        """Return the number formats at the ends of a branch."""
        raise NotImplementedError

    def _branch(self, name: str, modules: nn.Module) -> FixedSequence:
        hidden = len(list(convolutions(modules, name))) - 1
        ends, known = self._ends(name), self.fractional_bits
        inside = [known[f"{name}.{i}"] for i in range(hidden)]
        return FixedSequence(
            modules,
            [known[ends.first], *inside, ends.last],
            precision=ends.precision,
            kernel=self.choice.kernel,
            device=self.device,
            name=name,
            output_limit=ends.limit,
            output_dtype=ends.dtype,
        )

    def _table(self, tables: Mapping[str, Tensor], name: str, size: int) -> Tensor:
        table = tables.get(name)
        if table is None or table.shape != (size,):
            raise ValueError(f"the checkpoint has no table {name} of {size} entries")
        return table.to(self.device)

    def hyper_activations(self, z_symbols: Tensor) -> Tensor:
        """Return z, int16 channels last, of its symbols (N, Z, h / 4, w / 4)."""
        symbols = z_symbols.to(self.device, torch.int64).permute(0, 2, 3, 1)
        limit = ACTIVATION_LIMIT >> self.fractional_bits["z"]
        z = (symbols.clamp(-limit, limit) << self.fractional_bits["z"]) + self.medians
        return z.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT).to(torch.int16)

    def on_grid(self, values: Tensor, activation: str) -> Tensor:
        """Return y, int32 on the grid 2^-12, as an activation, int16; same shape."""
        bits = OUTPUT_FRACTION - self.fractional_bits[activation]
        return coarser(values, bits, ACTIVATION_LIMIT)


def symbols_of(latents: Tensor, means: Tensor, rounding: Rounding = torch.round) -> Tensor:
    """Return the symbols to code, int32: latents minus means, rounded; same shape."""
    reach = (OUTPUT_LIMIT >> OUTPUT_FRACTION) - 1
    symbols = rounding(latents - means.to(latents.device).float() * 2.0**-OUTPUT_FRACTION)
    return symbols.clamp(-reach, reach).to(torch.int32)


def values_of(symbols: Tensor, means: Tensor) -> Tensor:
    """Return y, int32 on the grid 2^-12, of symbols (any integers) and means; same shape."""
    return clipped((symbols.to(means.device, torch.int64) << OUTPUT_FRACTION) + means)


def clipped(values: Tensor) -> Tensor:
    """Return integers on the grid 2^-12 as int32, within what y can be."""
    return values.clamp(-OUTPUT_LIMIT, OUTPUT_LIMIT).to(torch.int32)


def to_float(decoded: Tensor) -> Tensor:
    """Convert integers on the grid 2^-12 to float32, exactly."""
    return decoded.float() * 2.0**-OUTPUT_FRACTION


def decoded(steps: Decoding, symbols_of_piece: Callable[[PieceParameters], Tensor]) -> Tensor:
    """Return y of a decoding, given a function from the parameters of a piece to its symbols."""
    parameters = next(steps)
    while True:
        try:
            parameters = steps.send(symbols_of_piece(parameters))
        except StopIteration as end:
            y: Tensor = end.value
            return y


def channels_first(values: Tensor) -> Tensor:
    """Return (N, h, w, C) as (N, C, h, w), contiguous."""
    return values.permute(0, 3, 1, 2).contiguous()
