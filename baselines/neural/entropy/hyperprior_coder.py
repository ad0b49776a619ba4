"""Entropy coder of networks with a hyperprior: encodes and decodes the latents of one tile.

::

    y ─ hyper_analysis ─ z ─ round(z - median) ──────────────── z symbols ─┐
    └── slices ── round(y_i - mean_i) ───────────────────────── y symbols ─┤ coder ──> string
                        z symbols, y symbols before ─ entropy path ─ mean_i, row of cdf ┘

Whatever the encoder computes in floating point ends in symbols; what a decoder needs to read them
follows from symbols in integers.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.bitstream.windows import LARGE
from baselines.neural.entropy.coder import (
    HIGHEST_SYMBOL,
    Decoder,
    Distributions,
    Encoder,
    channel_rows,
)
from baselines.neural.entropy.factorised import factorised_tables
from baselines.neural.entropy.fixed.entropy_path import EntropyPath
from baselines.neural.entropy.fixed.fractional_bits import calibrate, fractional_bit_tables
from baselines.neural.entropy.fixed.integer_path import (
    IntegerPath,
    PieceParameters,
    decoded,
    symbols_of,
    to_float,
)
from baselines.neural.entropy.fixed.selftest import Choice
from baselines.neural.entropy.fixed.tables import make_tables
from baselines.neural.entropy.latent_network import LatentNetwork
from baselines.neural.entropy.rounding import with_dead_zone

Y_PER_Z = 4  # positions of y along one of z


def hyperprior_tables(network: LatentNetwork, latents: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return a network's integer tables: distributions, thresholds, fractional bits.

    `latents` are y as the encoder gives it, (N, M, h, w) each, for calibration. Raises `ValueError`
    for a prior with parameters that are not finite.
    """
    with torch.inference_mode():
        fractional_bits = fractional_bit_tables(calibrate(network, latents))
    return {**make_tables(), **factorised_tables(network.prior), **fractional_bits}


class Chosen(NamedTuple):
    """Latents that an encoder has chosen to code, not rounded yet."""

    latents: Tensor  # y (1, M, h, w)
    hyper: Tensor  # z (1, Z, h / 4, w / 4)

    def part(self, rows: slice, columns: slice) -> "Chosen":
        """Return a part in positions of y, multiples of 4."""
        coarse = (slice(one.start // Y_PER_Z, one.stop // Y_PER_Z) for one in (rows, columns))
        return Chosen(self.latents[:, :, rows, columns], self.hyper[:, :, *coarse])


class TransformCoder:
    """Encoder and decoder of one checkpoint on one device; `network` is moved there.

    `choice` is the integer kernel; the fastest exact one unless given. Raises `KeyError` for a
    table that is missing, `ValueError` for one that does not fit or weights that admit an inexact
    sum, `Unavailable` without an exact kernel.
    """

    path_type: ClassVar[type[IntegerPath]] = EntropyPath
    channels_last: ClassVar[tuple[str, ...]] = ("",)  # parts of the network with that layout
    margin = LARGE.margin
    latent_stride, y_per_z = 16, Y_PER_Z  # pixels along a position of y; see `Y_PER_Z`

    def __init__(
        self,
        network: LatentNetwork,
        tables: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
        choice: Choice | None = None,
    ) -> None:
        for name in self.channels_last:
            part = network.get_submodule(name)
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network.to(torch.device(device))
        self.stride, self.latent_channels = network.stride, network.sizes.latent
        self._path = self.path_type(network, tables, device=device, choice=choice)
        self._y, self._z = (Distributions.of(tables, name) for name in ("cdf", "z_cdf"))
        for name, held, expected in (
            ("cdf", self._y, self._path.num_rows),
            ("z_cdf", self._z, network.sizes.hyper_latent),
        ):
            if len(held.models) != expected:
                raise ValueError(f"{len(held.models)} rows of {name}, not {expected}")

    def analyse(self, images: Tensor, controls: Any) -> Tensor:
        """Return y (1, M, H / 16, W / 16) of images (1, 3, H, W) in [-1, 1]."""
        seen = images.contiguous(memory_format=torch.channels_last)
        return self.network.analyse(seen, controls)

    def synthesise(self, latents: Tensor, controls: Any) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of y as decoded."""
        seen = latents.contiguous(memory_format=torch.channels_last)
        return self.network.synthesise(seen, controls)

    def encode(self, latents: Tensor) -> bytes:
        """Return the bytes of y, float32 (1, M, h, w) with h and w multiples of 4."""
        return self.encode_chosen(Chosen(latents, self.network.hyper_analyse(latents)))

    def encode_chosen(self, chosen: Chosen, dead_zone: float = 0.0) -> bytes:
        """Return the bytes of y and z, float32, y's sides multiples of 4.

        dead_zone: 0 to .5, by which symbols of y are rounded towards zero (`with_dead_zone`).
        """
        rounding = with_dead_zone(dead_zone) if dead_zone else torch.round
        medians = self.network.prior.medians()[:, None, None]
        z = (chosen.hyper - medians).round().clamp(-HIGHEST_SYMBOL, HIGHEST_SYMBOL).to(torch.int32)
        encoder = Encoder()
        symbols = _array(z)
        encoder.add(symbols, self._z, channel_rows(symbols.shape))
        steps, pieces = self._path.decoding(z), self._path.pieces(chosen.latents)
        parameters = next(steps)
        for index, values in enumerate(pieces, start=1):
            y = symbols_of(values, parameters.means, rounding)
            encoder.add(_array(y), self._y, _array(parameters.indices))
            if index < len(pieces):  # nothing follows from the last
                parameters = steps.send(y)
        return encoder.finish()

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Return y (1, M, rows, columns), float32, on every machine the same.

        `rows` and `columns` are multiples of 4; time and memory depend on them alone. Raises
        `CorruptStream` for bytes that no encoder writes.
        """
        decoder = Decoder(data)
        shape = (len(self._z.models), rows // self.y_per_z, columns // self.y_per_z)
        z = decoder.take(self._z, channel_rows(shape))

        def symbols_of_piece(parameters: PieceParameters) -> Tensor:
            y = decoder.take(self._y, _array(parameters.indices))
            return torch.from_numpy(y)[None]

        y = decoded(self._path.decoding(torch.from_numpy(z)[None]), symbols_of_piece)
        decoder.finish()
        return to_float(y)


def _array(tensor: Tensor) -> NDArray[np.integer[Any]]:
    """Return the one image of a tensor (1, c, h, w), on the CPU."""
    array: NDArray[np.integer[Any]] = tensor[0].cpu().numpy()
    return array
