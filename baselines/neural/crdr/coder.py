"""The coder of CRDR: images to latents and back, latents to the bytes of one tile and back.

::

    y ─ hyper_analysis ─ z ─ round(z - median) ──────────────── z symbols ─┐
    └── slices ── round(y_i - mean_i) ───────────────────────── y symbols ─┤ coder ──> string
                        z symbols, y symbols before ─ entropy path ─ mean_i, row of cdf ┘

Whatever the encoder computes in floating point ends in symbols; what a decoder needs to read them
follows from symbols in integers.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.bitstream.windows import LARGE
from baselines.neural.crdr.model import CRDR, STRIDE, Controls
from baselines.neural.entropy.coder import HIGHEST_SYMBOL, Decoder, Distributions, Encoder
from baselines.neural.entropy.fixed.entropy_path import EntropyPath, symbols_of, to_float
from baselines.neural.entropy.fixed.selftest import Choice

Y_PER_Z = 4  # positions of y along one of z


class CRDRCoder:
    """Both directions of one checkpoint on one device; `network` is moved there.

    `tables` hold those of the entropy path and, for the coder, `cdf` and `z_cdf` with lengths and
    offsets. `choice` is the integer kernel; the fastest exact one on the device unless given.
    Raises `KeyError` for a table that is missing, `ValueError` for one that does not fit or weights
    that admit an inexact sum, `Unavailable` where the device has no exact kernel.
    """

    stride, latent_stride, margin = STRIDE, STRIDE // Y_PER_Z, LARGE.margin

    def __init__(
        self,
        network: CRDR,
        tables: Mapping[str, Tensor],
        device: torch.device | str = "cpu",
        choice: Choice | None = None,
    ) -> None:
        self.network = model = network.to(torch.device(device))
        self.latent_channels = model.sizes.latent
        for transform in (model.analysis, model.synthesis):
            # A quarter of the time less.
            transform.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._path = path = EntropyPath(model, tables, device=device, choice=choice)
        self._y, self._z = _distributions(tables, "cdf"), _distributions(tables, "z_cdf")
        if len(self._y.models) != len(path.thresholds) + 1:
            raise ValueError(f"{len(self._y.models)} rows of cdf for {len(path.thresholds) + 1}")
        if len(self._z.models) != model.sizes.hyper_latent:
            raise ValueError(f"{len(self._z.models)} rows of z_cdf: {model.sizes.hyper_latent}")

    def analyse(self, images: Tensor, controls: Controls) -> Tensor:
        """Return y (1, M, H / 16, W / 16) of images (1, 3, H, W) in [-1, 1]."""
        return self.network.analyse(_channels_last(images), controls.rate)

    def synthesise(self, latents: Tensor, controls: Controls) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of y as decoded."""
        return self.network.synthesise(_channels_last(latents), controls.rate, controls.realism)

    def encode(self, latents: Tensor) -> bytes:
        """Return the bytes of y, float32 (1, M, h, w) with h and w multiples of 4."""
        hyper = self.network.hyper_analyse(latents)
        medians = self.network.prior.medians()[:, None, None]
        z = (hyper - medians).round().clamp(-HIGHEST_SYMBOL, HIGHEST_SYMBOL).to(torch.int32)
        encoder = Encoder()
        symbols = _array(z)
        encoder.add(symbols, self._z, _channels(symbols.shape))
        walk = self._path.begin(z)
        slices = torch.split(latents, list(self._path.widths), dim=1)
        for index, values in enumerate(slices):
            parameters = walk.parameters()
            y = symbols_of(values, parameters.means)
            encoder.add(_array(y), self._y, _array(parameters.indices))
            if index < len(slices) - 1:  # nothing follows from the last
                walk.accept(y)
        return encoder.finish()

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Return y (1, M, rows, columns) as decoded, float32, the same on every machine.

        `rows` and `columns` are multiples of 4; time and memory depend on them alone. Raises
        `CorruptStream` for bytes that no encoder writes.
        """
        decoder = Decoder(data)
        shape = (self.network.sizes.hyper_latent, rows // Y_PER_Z, columns // Y_PER_Z)
        z = decoder.take(self._z, _channels(shape))
        walk = self._path.begin(torch.from_numpy(z)[None])
        for _ in self._path.widths:
            y = decoder.take(self._y, _array(walk.parameters().indices))
            walk.accept(torch.from_numpy(y)[None])
        decoder.finish()
        return to_float(walk.decoded())


def _distributions(tables: Mapping[str, Tensor], name: str) -> Distributions:
    cdf, lengths, offsets = (tables[f"{name}{end}"].numpy() for end in ("", "_length", "_offset"))
    return Distributions(cdf, lengths, offsets)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def _channels(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Its channel at every position of z (channels, rows, columns)."""
    numbers = np.arange(shape[0], dtype=np.int32)
    return np.broadcast_to(numbers[:, None, None], shape)


def _array(tensor: Tensor) -> NDArray[np.integer]:  # type: ignore[type-arg]
    """(1, c, h, w) to (c, h, w), on the CPU."""
    found: NDArray[np.integer] = tensor[0].cpu().numpy()  # type: ignore[type-arg]
    return found
