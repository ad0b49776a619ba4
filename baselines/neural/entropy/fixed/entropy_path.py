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
    Decoding,
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

    def decoding(self, z_symbols: Tensor) -> Decoding:
        """Decode y from the symbols of z (N, Z, h / 4, w / 4), integers on any device.

        A slice that informs no later one is corrected after the last, which an encoder leaves out.
        """
        z = self.hyper_activations(z_symbols)
        mean_parts, scale_parts = (
            [self.branches["hyper.mean"](z)],
            [self.branches["hyper.scale"](z)],
        )
        slices: list[Tensor] = []  # corrected only where they inform later ones
        for index in range(self.num_pieces):
            if self.autoregressive:
                means = self.branches[f"mean.{index}"](self._support(mean_parts, index))
                scales = self.branches[f"scale.{index}"](self._support(scale_parts, index))
            else:
                (means,), (scales,) = mean_parts, scale_parts
            indices = channels_first(scale_index(scales, self.thresholds))
            symbols = yield PieceParameters(indices, channels_first(means))
            values = values_of(symbols.permute(0, 2, 3, 1), means)
            if index < self.support_slices:
                values = self._corrected(values, mean_parts, index)
                mean_parts.append(self.on_grid(values, "support.mean"))
                scale_parts.append(self.on_grid(values, "support.scale"))
            slices.append(values)
        for index in range(self.support_slices, self.num_pieces * self.autoregressive):
            slices[index] = self._corrected(slices[index], mean_parts, index)
        return channels_first(torch.cat(slices, dim=3))

    def _corrected(self, values: Tensor, mean_parts: list[Tensor], index: int) -> Tensor:
        """Return a slice's values (N, h, w, width) with its residual, on the same grid."""
        seen = self.on_grid(values, "support.mean")
        inputs = torch.cat([self._support(mean_parts, index), seen], dim=3)
        return clipped(
            values + half_tanh(self.branches[f"residual.{index}"](inputs), self.half_tanh)
        )

    def _support(self, parts: list[Tensor], index: int) -> Tensor:
        """Concatenate the hyper-decoder's output and the slices that inform slice `index`."""
        hyper, *slices = parts
        return torch.cat([hyper[..., self.seen(index)], *slices], dim=3)

    def _ends(self, name: str) -> Ends:
        kind, _, part = name.partition(".")
        first = "z" if kind == "hyper" else "support.scale" if kind == "scale" else "support.mean"
        if kind == "residual":
            return Ends(first, TANH_FRACTION, PRECISION[kind], TANH_LIMIT, torch.int16)
        if kind == "hyper" and self.autoregressive:
            last = self.fractional_bits[f"support.{part}"]
            return Ends(first, last, PRECISION[kind], ACTIVATION_LIMIT, torch.int16)
        return Ends(first, OUTPUT_FRACTION, PRECISION[kind])
