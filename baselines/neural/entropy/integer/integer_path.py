"""Base class of integer networks of entropy models, and the fractional bits of activations."""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.entropy.hyperprior import LatentNetwork
from baselines.neural.entropy.integer.convolution import (
    IntegerSequence,
    convolutions,
    require_exact,
)
from baselines.neural.entropy.integer.grid import (
    ACTIVATION_LIMIT,
    NUM_SCALES,
    OUTPUT_FRACTION,
    OUTPUT_LIMIT,
    WeightLimit,
    coarser,
)

LARGEST_MEDIAN = 1e6  # z is within +-8127, whatever its fraction
LARGEST_FRACTION = OUTPUT_FRACTION
PREFIX = "fraction."
HEADROOM = 2.0  # other images' activations may be larger


def activation_names(model: LatentNetwork) -> list[str]:
    """Return the names of all activations: z, hidden layers (hyper.mean.0, ...), supports."""
    names = ["z"]
    for branch, modules in model.entropy_branches().items():
        hidden = len(list(convolutions(modules, branch))) - 1
        names += [f"{branch}.{i}" for i in range(hidden)]
    return [*names, *model.entropy_supports()]


def fractional_bit_tables(fractional_bits: Mapping[str, int]) -> dict[str, Tensor]:
    """Return fractional bits as int8 scalars for a checkpoint's tables: fraction.z, ..."""
    return {
        f"{PREFIX}{name}": torch.tensor(value, dtype=torch.int8)
        for name, value in fractional_bits.items()
    }


def _fractional_bits_in(tables: Mapping[str, Tensor], model: LatentNetwork) -> dict[str, int]:
    fractions = {
        name.removeprefix(PREFIX): int(table)
        for name, table in tables.items()
        if name.startswith(PREFIX)
    }
    wrong = sorted(set(fractions) ^ set(activation_names(model)))
    if wrong:
        raise ValueError(f"the fractional bits do not fit the model: {', '.join(wrong[:5])}")
    for name, fraction in fractions.items():
        if not 0 <= fraction <= LARGEST_FRACTION:
            raise ValueError(f"the fraction {name} is {fraction}, not 0..{LARGEST_FRACTION}")
    return fractions


@torch.no_grad()
def calibrate(model: LatentNetwork, latents: Iterable[Tensor]) -> dict[str, int]:
    """Return the fractional bits of least squared error for each of `activation_names`.

    `latents` are y, (N, M, h, w) each. Errors are of rounding, and of clipping as if values were
    HEADROOM times as large.
    """
    sums = {name: torch.zeros(LARGEST_FRACTION + 1).double() for name in activation_names(model)}

    def add(name: str, values: Tensor) -> None:
        wide = values.detach().double()
        for fraction in range(LARGEST_FRACTION + 1):
            step = 2.0**-fraction
            cut = (wide.abs() * HEADROOM - ACTIVATION_LIMIT * step).clamp(min=0).square().sum()
            sums[name][fraction] += float(cut) + wide.numel() * step**2 / 12

    def listen(name: str, layer: nn.Module, relu: bool) -> torch.utils.hooks.RemovableHandle:
        return layer.register_forward_hook(
            lambda _module, _inputs, output: add(name, output.relu() if relu else output)
        )

    hooks = [
        listen(f"{branch}.{i}", layer, relu)
        for branch, modules in model.entropy_branches().items()
        for i, (layer, relu) in enumerate(convolutions(modules, branch))
        if f"{branch}.{i}" in sums
    ]
    try:
        for latent in latents:
            model.follow(latent, add)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: int(errors.argmin()) for name, errors in sums.items()}


class Ends(NamedTuple):
    """Number formats at the two ends of a branch."""

    first: str  # activation at the input, by its name among the fractional bits
    last: int  # fractional bits of the output
    weight_limit: WeightLimit  # of the weights
    limit: int = OUTPUT_LIMIT  # of the output


class PieceParameters(NamedTuple):
    """Distributions of a piece's symbols, each of the symbols' shape."""

    indices: Tensor  # int32, rows of the table `cdf`
    means: Tensor  # int32, on the grid 2^-12


# Yields the parameters of piece after piece, is sent the piece's symbols each time, and returns y,
# int32 (N, M, h, w) on the grid 2^-12; exact in float32.
Decoding = Generator[PieceParameters, Tensor, Tensor]


class IntegerPath:
    """Integer network of a checkpoint on a device; a subclass defines branches and pieces.

    Raises `ValueError` for tables that do not fit the model, `BoundExceeded` for weights that admit
    an inexact sum, `Unavailable` for a device without exact sums.
    """

    num_thresholds: ClassVar[int] = NUM_SCALES - 1  # between scales
    num_rows: int = NUM_SCALES  # distributions of y's symbols

    def __init__(
        self,
        model: LatentNetwork,
        tables: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.fractional_bits = known = _fractional_bits_in(tables, model)
        self._thresholds = self._table(tables, "thresholds", self.num_thresholds)
        medians = model.prior.medians().detach().to("cpu", torch.float64)
        if not (medians.abs() < LARGEST_MEDIAN).all():
            raise ValueError(f"a median of z is not a number below {LARGEST_MEDIAN:g}")
        self.medians = torch.round(medians * 2.0 ** known["z"]).to(self.device, torch.int64)
        self._prepare(model, tables)
        require_exact(self.device)
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
        return [latents]

    def _ends(self, name: str) -> Ends:
        """Return the number formats at the ends of a branch."""
        raise NotImplementedError

    def _branch(self, name: str, modules: nn.Module) -> IntegerSequence:
        hidden = len(list(convolutions(modules, name))) - 1
        ends, known = self._ends(name), self.fractional_bits
        return IntegerSequence(
            modules,
            [known[ends.first], *(known[f"{name}.{i}"] for i in range(hidden)), ends.last],
            name=name,
            output_limit=ends.limit,
            weight_limit=ends.weight_limit,
            device=self.device,
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

    def scale_index(self, scales: Tensor) -> Tensor:
        """Return the number of thresholds below each of `scales`, int32 on the grid 2^-12."""
        return torch.bucketize(scales.contiguous(), self._thresholds, out_int32=True)

    def on_grid(self, values: Tensor, activation: str) -> Tensor:
        """Return y, int32 on the grid 2^-12, as an activation, int16; same shape."""
        bits = OUTPUT_FRACTION - self.fractional_bits[activation]
        return coarser(values, bits, ACTIVATION_LIMIT)


def symbols_of(latents: Tensor, means: Tensor) -> Tensor:
    """Return the symbols to code, int32: latents minus means, rounded; same shape."""
    reach = (OUTPUT_LIMIT >> OUTPUT_FRACTION) - 1
    symbols = torch.round(latents - to_float(means.to(latents.device)))
    return symbols.clamp(-reach, reach).to(torch.int32)


def values_of(symbols: Tensor, means: Tensor) -> Tensor:
    """Return y, int32 on the grid 2^-12, of symbols (any integers) and means; same shape."""
    return clipped((symbols.to(means.device, torch.int64) << OUTPUT_FRACTION) + means)


def clipped(values: Tensor) -> Tensor:
    """Return integers on the grid 2^-12 as int32, within what y can be."""
    return values.clamp(-OUTPUT_LIMIT, OUTPUT_LIMIT).to(torch.int32)


def to_float(integers: Tensor) -> Tensor:
    """Convert integers on the grid 2^-12 to float32, exactly."""
    return integers.float() * 2.0**-OUTPUT_FRACTION


def decoded(steps: Decoding, symbols_of_piece: Callable[[PieceParameters], Tensor]) -> Tensor:
    """Return y of a decoding, given a function from the parameters of a piece to its symbols."""
    parameters = next(steps)
    while True:
        try:
            parameters = steps.send(symbols_of_piece(parameters))
        except StopIteration as end:
            return end.value


def channels_first(values: Tensor) -> Tensor:
    """Return (N, h, w, C) as (N, C, h, w), contiguous."""
    return values.permute(0, 3, 1, 2).contiguous()
