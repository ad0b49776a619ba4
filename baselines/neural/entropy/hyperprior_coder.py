"""Entropy coder of networks with a hyperprior: encodes and decodes a tile's latents::

    y ─ hyper_analysis ─ z ─ round(z - median) ──────────────── z symbols ─┐
    └── slices ── round(y_i - mean_i) ───────────────────────── y symbols ─┤ coder ──> string
                    z symbols, earlier y symbols ─ entropy path ─ mean_i, row of cdf ───┘

An encoder rounds floating-point values to symbols; a decoder computes from symbols, in integers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.architecture import rate_levels
from baselines.neural.bitstream.container import LARGE_TILING
from baselines.neural.entropy.coder import (
    MAX_SYMBOL,
    Distributions,
    SymbolDecoder,
    SymbolEncoder,
    channel_rows,
)
from baselines.neural.entropy.hyperprior import LatentNetwork
from baselines.neural.entropy.integer.grid import (
    ACTIVATION_LIMIT,
    OUTPUT_FRACTION,
    TANH_FRACTION,
    TANH_LIMIT,
    WeightLimit,
    half_tanh,
)
from baselines.neural.entropy.integer.integer_path import (
    BranchFormat,
    Decoding,
    IntegerPath,
    PieceParameters,
    calibrate,
    channels_first,
    clip_values,
    convert_to_float,
    fractional_bit_tables,
    round_to_symbols,
    run_decoding,
    values_from_symbols,
)
from baselines.neural.network import LatentCoder, make_images, pad_pixels
from benchmark.codec import Pixels
from benchmark.registry import import_target

# Limits of weights by kind of branch. With the parity test's weights, fine weights everywhere cost
# .0001 % more bits than the float model, these limits .005 %, and .02 % if "mean" is coarse, too.
# The last cost grows with the square of the means' deviation over the scale, there a third.
WEIGHT_LIMITS = {
    "hyper": WeightLimit.FINE,
    "mean": WeightLimit.FINE,
    "scale": WeightLimit.COARSE,
    "residual": WeightLimit.COARSE,
}


class EntropyPath(IntegerPath):
    """Integer network with a hyperprior and channel context: symbols + means + corrections."""

    def _prepare(self, model: Any, tables: Mapping[str, Tensor]) -> None:
        self.autoregressive = bool(model.context.widths)
        self.widths: tuple[int, ...] = model.context.widths or (model.sizes.latent,)
        self.num_pieces = len(self.widths)
        self.support_slices = model.context.support_slices
        self.support_channels = model.context.support_channels
        self.half_tanh = self._read_table(tables, "half_tanh", 2 * TANH_LIMIT + 1)

    def pieces(self, latents: Tensor) -> list[Tensor]:
        """Split y (N, M, h, w) into slices."""
        return list(torch.split(latents, list(self.widths), dim=1))

    def decoding(self, z_symbols: Tensor) -> Decoding:
        """Decode y from the symbols of z (N, Z, h / 4, w / 4), integers on any device."""
        z = self.hyper_activations(z_symbols)
        # outputs of the hyper-decoder, then slices that inform later slices
        mean_supports = [self.branches["hyper.mean"](z)]
        scale_supports = [self.branches["hyper.scale"](z)]
        slices: list[Tensor] = []  # slices that inform no other slice get residuals at the end
        for index in range(self.num_pieces):
            if self.autoregressive:
                means = self.branches[f"mean.{index}"](self._support(mean_supports, index))
                scales = self.branches[f"scale.{index}"](self._support(scale_supports, index))
            else:
                (means,), (scales,) = mean_supports, scale_supports
            indices = channels_first(self.scale_index(scales))
            symbols = yield PieceParameters(indices, channels_first(means))
            values = values_from_symbols(symbols.permute(0, 2, 3, 1), means)
            if index < self.support_slices:
                values = self._add_residual(values, mean_supports, index)
                mean_supports.append(self.quantise_activation(values, "support.mean"))
                scale_supports.append(self.quantise_activation(values, "support.scale"))
            slices.append(values)
        for index in range(self.support_slices, self.num_pieces * self.autoregressive):
            slices[index] = self._add_residual(slices[index], mean_supports, index)
        return channels_first(torch.cat(slices, dim=3))

    def _add_residual(self, values: Tensor, mean_supports: list[Tensor], index: int) -> Tensor:
        activation = self.quantise_activation(values, "support.mean")
        inputs = torch.cat([self._support(mean_supports, index), activation], dim=3)
        return clip_values(
            values + half_tanh(self.branches[f"residual.{index}"](inputs), self.half_tanh)
        )

    def _support(self, supports: list[Tensor], index: int) -> Tensor:
        hyper_output, *slices = supports
        return torch.cat([hyper_output[..., self.support_channels(index)], *slices], dim=3)

    def _branch_format(self, name: str) -> BranchFormat:
        kind, _, stack = name.partition(".")  # stack: "mean" or "scale", for the kind "hyper"
        inputs = "z" if kind == "hyper" else "support.scale" if kind == "scale" else "support.mean"
        if kind == "residual":
            return BranchFormat(inputs, TANH_FRACTION, WEIGHT_LIMITS[kind], TANH_LIMIT)
        if kind == "hyper" and self.autoregressive:
            output_bits = self.fractional_bits[f"support.{stack}"]
            return BranchFormat(inputs, output_bits, WEIGHT_LIMITS[kind], ACTIVATION_LIMIT)
        return BranchFormat(inputs, OUTPUT_FRACTION, WEIGHT_LIMITS[kind])


Y_PER_Z = 4  # ratio of the sides of y to those of z


class LatentChoice(NamedTuple):
    """Latents that an encoder has chosen, before rounding."""

    latents: Tensor  # y (1, M, h, w)
    hyper_latents: Tensor  # z (1, Z, h / 4, w / 4)

    def part(self, rows: slice, columns: slice) -> "LatentChoice":
        """Return a part of the latents; rows, columns: positions of y, multiples of 4."""
        z_slices = (slice(axis.start // Y_PER_Z, axis.stop // Y_PER_Z) for axis in (rows, columns))
        return LatentChoice(self.latents[:, :, rows, columns], self.hyper_latents[:, :, *z_slices])


class TransformCoder(LatentCoder):
    """Encoder and decoder of a checkpoint on a device, to which `network` is moved.

    Raises `KeyError` or `ValueError` for unusable tables, and the errors of `IntegerPath`.
    """

    channels_last: ClassVar[tuple[str, ...]] = ("",)  # modules with this memory layout; "": all
    margin = LARGE_TILING.margin
    latent_stride, y_per_z = 16, Y_PER_Z  # ratio of an image's sides to those of y

    def __init__(
        self,
        network: LatentNetwork,
        tables: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
    ) -> None:
        for name in self.channels_last:
            module = network.get_submodule(name)
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network.to(torch.device(device))
        self.stride, self.latent_channels = network.stride, network.sizes.latent
        make_path = import_target(network.integer_model_type)
        self._path: IntegerPath = make_path(network, tables, device=device)
        self._y_distributions = Distributions.read(tables, "cdf")
        self._z_distributions = Distributions.read(tables, "z_cdf")
        for models, expected_count in (
            (self._y_distributions.models, self._path.num_rows),
            (self._z_distributions.models, network.sizes.hyper_latent),
        ):
            if len(models) != expected_count:
                raise ValueError(f"there are {len(models)} distributions, not {expected_count}")

    def encode(self, latents: Tensor) -> bytes:
        """Encode y, float32 (1, M, h, w) with h and w multiples of 4."""
        return self.encode_latents(LatentChoice(latents, self.network.hyper_analyse(latents)))

    def encode_latents(self, choice: LatentChoice) -> bytes:
        """Encode y and z with distributions that the entropy path computes."""
        medians = self.network.prior.medians()[:, None, None]
        z = (choice.hyper_latents - medians).round().clamp(-MAX_SYMBOL, MAX_SYMBOL).to(torch.int32)
        encoder = SymbolEncoder()
        symbols = _image_array(z)
        encoder.add(symbols, self._z_distributions, channel_rows(symbols.shape))

        def add_piece(piece: Tensor, parameters: PieceParameters) -> Tensor:
            y = round_to_symbols(piece, parameters.means)
            encoder.add(_image_array(y), self._y_distributions, _image_array(parameters.indices))
            return y

        *first_pieces, last_piece = self._path.pieces(choice.latents)
        steps = self._path.decoding(z)
        parameters = next(steps)
        for piece in first_pieces:
            parameters = steps.send(add_piece(piece, parameters))
        add_piece(last_piece, parameters)  # no further parameters follow
        self.last_encoder = encoder
        return encoder.finish()

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Decode y, float32 (1, M, rows, columns), the same everywhere; raises `CorruptStream`."""
        decoder = SymbolDecoder(data)
        shape = (len(self._z_distributions.models), rows // self.y_per_z, columns // self.y_per_z)
        z = decoder.take(self._z_distributions, channel_rows(shape))

        def symbols_of_piece(parameters: PieceParameters) -> Tensor:
            y = decoder.take(self._y_distributions, _image_array(parameters.indices))
            return torch.from_numpy(y)[None]

        y = run_decoding(self._path.decoding(torch.from_numpy(z)[None]), symbols_of_piece)
        decoder.finish()
        return convert_to_float(y)


def _image_array(tensor: Tensor) -> NDArray[np.integer[Any]]:
    return tensor[0].cpu().numpy()


def tables_of(network: LatentNetwork, images: Sequence[Pixels]) -> dict[str, Tensor]:
    """Return distributions, thresholds, and fractional bits calibrated on `images`."""
    levels = range(rate_levels(network.sizes))
    latents = (
        network.analyse(planes, network.controls_at(float(level), 0.0))
        for planes in (make_images(pad_pixels(pixels), torch.device("cpu")) for pixels in images)
        for level in levels
    )
    with torch.inference_mode():
        return {**network.symbol_tables(), **fractional_bit_tables(calibrate(network, latents))}
