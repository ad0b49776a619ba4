"""Integer network from the symbols of z and y to exact scale indices, means, and decoded y.

::

    z symbols ─ + median ─┬─ hyper mean ──> mean support ──┬─ mean_i ──────> means
                          │                 decoded slices ┼─ residual_i ─ .5 tanh ─> correction
                          └─ hyper scale ─> scale support ─┴─ scale_i ─────> indices

    decoded slice i = symbols + means + correction

`hyperprior.HyperpriorNetwork` computes the same in floating point; the codec codes with this path.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from baselines.neural.entropy.fixed.fractional_bits import branches, fractional_bits_in
from baselines.neural.entropy.fixed.grid import (
    ACTIVATION_LIMIT,
    OUTPUT_FRACTION,
    OUTPUT_LIMIT,
    Precision,
    coarser,
)
from baselines.neural.entropy.fixed.network import FixedSequence, convolutions
from baselines.neural.entropy.fixed.selftest import Choice, exact_kernel
from baselines.neural.entropy.fixed.tables import (
    NUM_SCALES,
    TANH_FRACTION,
    TANH_LIMIT,
    half_tanh,
    scale_index,
)
from baselines.neural.entropy.hyperprior import HyperpriorNetwork

LARGEST_MEDIAN = 1e6  # z is within +-8127, whatever its fraction
# Of the weights, by kind of branch. With the parity weights, where means deviate by a third of a
# scale, fine weights everywhere cost .0001 % more bits than the float model, these .005 %, and
# coarse means as well .02 %; the last grows with the square of that ratio.
PRECISION = {
    "hyper": Precision.FINE,
    "mean": Precision.FINE,
    "scale": Precision.COARSE,
    "residual": Precision.COARSE,
}


class SliceParameters(NamedTuple):
    """Distributions of one slice's symbols, each (N, width, h, w), channels first."""

    indices: Tensor  # uint8, rows of the table `cdf`
    means: Tensor  # int32, on the grid 2^-12


class EntropyPath:
    """Integer network of one checkpoint on one device.

    `model` may be on any device; its weights are copied. `tables` hold those of `make_tables` and
    `fractional_bit_tables` from the checkpoint; others are ignored. `choice` is the kernel; the
    fastest exact one on the device unless given. `widths` are the slices' channels; all of y
    without slices. Raises `ValueError` for tables that do not fit the model, `BoundExceeded` for
    weights that admit an inexact sum, and `Unavailable` where the device has no exact kernel.
    """

    def __init__(
        self,
        model: HyperpriorNetwork,
        tables: Mapping[str, Tensor],
        *,
        device: torch.device | str = "cpu",
        choice: Choice | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.choice = choice or exact_kernel(self.device)
        self.fractional_bits = fractional_bits_in(tables, model)
        self.thresholds, self.half_tanh = (
            _table(tables, name, size).to(self.device)
            for name, size in (("thresholds", NUM_SCALES - 1), ("half_tanh", 2 * TANH_LIMIT + 1))
        )
        self.autoregressive = bool(model.context.widths)
        self.widths: tuple[int, ...] = model.context.widths or (model.sizes.latent,)
        self.support_slices = model.context.support_slices
        medians = model.prior.medians().detach().to("cpu", torch.float64)
        if not (medians.abs() < LARGEST_MEDIAN).all():
            raise ValueError(f"a median of z is not a number below {LARGEST_MEDIAN:g}")
        on_grid = torch.round(medians * 2.0 ** self.fractional_bits["z"])
        self.medians = on_grid.to(self.device, torch.int64)
        self.branches = {
            name: self._branch(name, modules) for name, modules in branches(model).items()
        }

    def _branch(self, name: str, modules: nn.Module) -> FixedSequence:
        hidden = len(list(convolutions(modules, name))) - 1
        kind, _, part = name.partition(".")
        limit, dtype = OUTPUT_LIMIT, torch.int32
        if kind == "residual":
            last, limit, dtype = TANH_FRACTION, TANH_LIMIT, torch.int16
        elif kind == "hyper" and self.autoregressive:
            last, limit, dtype = (
                self.fractional_bits[f"support.{part}"],
                ACTIVATION_LIMIT,
                torch.int16,
            )
        else:
            last = OUTPUT_FRACTION
        first = "z" if kind == "hyper" else "support.scale" if kind == "scale" else "support.mean"
        return FixedSequence(
            modules,
            [
                self.fractional_bits[first],
                *(self.fractional_bits[f"{name}.{i}"] for i in range(hidden)),
                last,
            ],
            precision=PRECISION[kind],
            kernel=self.choice.kernel,
            device=self.device,
            name=name,
            output_limit=limit,
            output_dtype=dtype,
        )

    def begin(self, z_symbols: Tensor) -> "Latents":
        """Begin decoding with the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        symbols = z_symbols.to(self.device, torch.int64).permute(0, 2, 3, 1)
        limit = ACTIVATION_LIMIT >> self.fractional_bits["z"]
        z = (symbols.clamp(-limit, limit) << self.fractional_bits["z"]) + self.medians
        z = z.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT).to(torch.int16)
        return Latents(self, self.branches["hyper.mean"](z), self.branches["hyper.scale"](z))


class Latents:
    """Latents in decoding: call `parameters` and `accept` in turn for each of `path.widths`."""

    def __init__(self, path: EntropyPath, mean_support: Tensor, scale_support: Tensor) -> None:
        self._path = path
        self._mean_parts, self._scale_parts = [mean_support], [scale_support]
        self._means: Tensor | None = None
        self._decoded: list[Tensor] = []

    def parameters(self) -> SliceParameters:
        """Return the parameters of the next slice's symbols."""
        path, index = self._path, len(self._decoded)
        if path.autoregressive:
            means = path.branches[f"mean.{index}"](torch.cat(self._mean_parts, dim=3))
            scales = path.branches[f"scale.{index}"](torch.cat(self._scale_parts, dim=3))
        else:
            (means,), (scales,) = self._mean_parts, self._scale_parts
        self._means = means
        indices = scale_index(scales, path.thresholds)
        return SliceParameters(_channels_first(indices), _channels_first(means))

    def accept(self, symbols: Tensor) -> None:
        """Take the symbols (N, width, h, w) of the slice whose parameters were returned last."""
        if self._means is None:
            raise ValueError("a slice's symbols come after its parameters")
        path, index = self._path, len(self._decoded)
        whole = symbols.to(path.device, torch.int64).permute(0, 2, 3, 1)
        values = _clipped((whole << OUTPUT_FRACTION) + self._means)
        if path.autoregressive:
            inputs = torch.cat([*self._mean_parts, self._on_grid(values, "support.mean")], dim=3)
            argument = path.branches[f"residual.{index}"](inputs)
            values = _clipped(values + half_tanh(argument, path.half_tanh))
            if index < path.support_slices:
                self._mean_parts.append(self._on_grid(values, "support.mean"))
                self._scale_parts.append(self._on_grid(values, "support.scale"))
        self._decoded.append(values)
        self._means = None

    def decoded(self) -> Tensor:
        """Return y after all slices, int32 (N, M, h, w) on the grid 2^-12; exact in float32."""
        if len(self._decoded) != len(self._path.widths):
            raise ValueError(f"{len(self._decoded)} of {len(self._path.widths)} slices are decoded")
        return _channels_first(torch.cat(self._decoded, dim=3))

    def _on_grid(self, values: Tensor, support: str) -> Tensor:
        bits = OUTPUT_FRACTION - self._path.fractional_bits[support]
        return coarser(values, bits, ACTIVATION_LIMIT)


def symbols_of(latents: Tensor, means: Tensor) -> Tensor:
    """Return the symbols to code, int32: latents minus means, rounded; same shape."""
    reach = (OUTPUT_LIMIT >> OUTPUT_FRACTION) - 1
    symbols = torch.round(latents - means.to(latents.device).float() * 2.0**-OUTPUT_FRACTION)
    return symbols.clamp(-reach, reach).to(torch.int32)


def to_float(decoded: Tensor) -> Tensor:
    """Convert integers on the grid 2^-12 to float32, exactly."""
    return decoded.float() * 2.0**-OUTPUT_FRACTION


def _table(tables: Mapping[str, Tensor], name: str, size: int) -> Tensor:
    found = tables.get(name)
    if found is None or found.shape != (size,):
        raise ValueError(f"the checkpoint has no table {name} of {size} entries")
    return found


def _clipped(values: Tensor) -> Tensor:
    return values.clamp(-OUTPUT_LIMIT, OUTPUT_LIMIT).to(torch.int32)


def _channels_first(values: Tensor) -> Tensor:
    return values.permute(0, 3, 1, 2).contiguous()
