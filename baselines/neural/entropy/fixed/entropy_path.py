"""Integer network from the symbols of z and y to exact scale indices, means and decoded y.

::

    z symbols ─ + median ─┬─ hyper mean ──> mean support ──┬─ mean_i ──────> means
                          │                 decoded slices ┼─ residual_i ─ .5 tanh ─> correction
                          └─ hyper scale ─> scale support ─┴─ scale_i ─────> indices

    decoded slice i = symbols + means + correction

`hyperprior.HyperpriorNetwork` computes the same in floating point.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from baselines.neural.entropy.fixed.grid import ACTIVATION_LIMIT, OUTPUT_FRACTION, Precision
from baselines.neural.entropy.fixed.integer_path import (
    Ends,
    IntegerPath,
    PieceParameters,
    channels_first,
    clipped,
    values_of,
)
from baselines.neural.entropy.fixed.tables import TANH_FRACTION, TANH_LIMIT, half_tanh, scale_index

# Of the weights, by kind of branch. With the parity weights, where means deviate by a third of a
# scale, fine weights everywhere cost .0001 % more bits than the float model, these .005 %, and
# coarse means as well .02 %; the last grows with the square of that ratio.
PRECISION = {
    "hyper": Precision.FINE,
    "mean": Precision.FINE,
    "scale": Precision.COARSE,
    "residual": Precision.COARSE,
}


class EntropyPath(IntegerPath):
    """Integer network with a hyperprior and a channel context."""

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        self.autoregressive = bool(model.context.widths)
        self.widths: tuple[int, ...] = model.context.widths or (model.sizes.latent,)
        self.num_pieces = len(self.widths)
        self.support_slices = model.context.support_slices
        self.seen = model.context.seen  # channels of the hyper-decoder's outputs, by slice
        self.half_tanh = self._table(tables, "half_tanh", 2 * TANH_LIMIT + 1)

    def pieces(self, latents: Tensor) -> list[Tensor]:
        """Return the slices of y (N, M, h, w)."""
        return list(torch.split(latents, list(self.widths), dim=1))

    def begin(self, z_symbols: Tensor) -> "Latents":
        """Begin decoding with the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        z = self.hyper_activations(z_symbols)
        return Latents(self, self.branches["hyper.mean"](z), self.branches["hyper.scale"](z))

    def _ends(self, name: str) -> Ends:
        kind, _, part = name.partition(".")
        first = "z" if kind == "hyper" else "support.scale" if kind == "scale" else "support.mean"
        if kind == "residual":
            return Ends(first, TANH_FRACTION, PRECISION[kind], TANH_LIMIT, torch.int16)
        if kind == "hyper" and self.autoregressive:
            last = self.fractional_bits[f"support.{part}"]
            return Ends(first, last, PRECISION[kind], ACTIVATION_LIMIT, torch.int16)
        return Ends(first, OUTPUT_FRACTION, PRECISION[kind])


class Latents:
    """Latents in decoding: call `parameters` and `accept` in turn for each slice.

    A slice that informs no later one is corrected in `decoded`, which an encoder does not call.
    """

    def __init__(self, path: EntropyPath, mean_support: Tensor, scale_support: Tensor) -> None:
        self._path = path
        self._mean_parts, self._scale_parts = [mean_support], [scale_support]
        self._means: Tensor | None = None
        self._values: list[Tensor] = []  # by slice; corrected only where they inform later ones

    def parameters(self) -> PieceParameters:
        """Return the parameters of the next slice's symbols."""
        path, index = self._path, len(self._values)
        if path.autoregressive:
            means = path.branches[f"mean.{index}"](self._support(self._mean_parts, index))
            scales = path.branches[f"scale.{index}"](self._support(self._scale_parts, index))
        else:
            (means,), (scales,) = self._mean_parts, self._scale_parts
        self._means = means
        indices = scale_index(scales, path.thresholds)
        return PieceParameters(channels_first(indices), channels_first(means))

    def accept(self, symbols: Tensor) -> None:
        """Take the symbols (N, width, h, w) of the slice whose parameters were returned last."""
        if self._means is None:
            raise ValueError("a slice's symbols come after its parameters")
        path, index = self._path, len(self._values)
        values = values_of(symbols.permute(0, 2, 3, 1), self._means)
        if index < path.support_slices:
            values = self._corrected(values, index)
            self._mean_parts.append(path.on_grid(values, "support.mean"))
            self._scale_parts.append(path.on_grid(values, "support.scale"))
        self._values.append(values)
        self._means = None

    def decoded(self) -> Tensor:
        """Return y after all slices, int32 (N, M, h, w) on the grid 2^-12; exact in float32."""
        path = self._path
        if len(self._values) != len(path.widths):
            raise ValueError(f"{len(self._values)} of {len(path.widths)} slices are decoded")
        informing = path.support_slices if path.autoregressive else path.num_pieces
        whole = [
            values if index < informing else self._corrected(values, index)
            for index, values in enumerate(self._values)
        ]
        return channels_first(torch.cat(whole, dim=3))

    def _corrected(self, values: Tensor, index: int) -> Tensor:
        """Return a slice's values (N, h, w, width) with its residual, on the same grid."""
        path = self._path
        seen = path.on_grid(values, "support.mean")
        inputs = torch.cat([self._support(self._mean_parts, index), seen], dim=3)
        argument = path.branches[f"residual.{index}"](inputs)
        return clipped(values + half_tanh(argument, path.half_tanh))

    def _support(self, parts: list[Tensor], index: int) -> Tensor:
        """Concatenate the hyper-decoder's output and the slices that inform slice `index`."""
        hyper, *slices = parts
        return torch.cat([hyper[..., self._path.seen(index)], *slices], dim=3)
