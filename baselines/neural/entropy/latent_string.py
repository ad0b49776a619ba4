"""The latents of one tile <-> its entropy-coded string, by the integer entropy path.

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

from baselines.neural.crdr.model import CRDR
from baselines.neural.entropy.coder import HIGHEST_SYMBOL, Decoder, Distributions, Encoder
from baselines.neural.entropy.fixed.entropy_path import EntropyPath, symbols_of, to_float

Y_PER_Z = 4  # positions of y along one of z


class LatentStrings:
    """The two directions for one checkpoint.

    model: whose hyper-analysis the encoder uses. path: its entropy path. tables: those of `coder`
    beside it, `cdf` and `z_cdf` with lengths and offsets. Raises `KeyError` for a table that is not
    there, `ValueError` for one that does not fit.
    """

    def __init__(self, model: CRDR, path: EntropyPath, tables: Mapping[str, Tensor]) -> None:
        self._model, self._path = model, path
        self._y, self._z = _distributions(tables, "cdf"), _distributions(tables, "z_cdf")
        if len(self._y.models) != len(path.thresholds) + 1:
            raise ValueError(f"{len(self._y.models)} rows of cdf for {len(path.thresholds) + 1}")
        if len(self._z.models) != model.sizes.hyper_latent:
            raise ValueError(f"{len(self._z.models)} rows of z_cdf: {model.sizes.hyper_latent}")

    def encode(self, latents: Tensor) -> bytes:
        """y (1, M, 4 rows, 4 columns), float32, to bytes."""
        hyper = self._model.hyper_analyse(latents)
        medians = self._model.prior.medians()[:, None, None]
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
        """Bytes to y (1, M, 4 rows, 4 columns) as decoded, the same everywhere; `CorruptStream`.

        rows, columns: of z. Time and memory are those of so many positions, whatever the bytes are.
        """
        decoder = Decoder(data)
        z = decoder.take(self._z, _channels((self._model.sizes.hyper_latent, rows, columns)))
        walk = self._path.begin(torch.from_numpy(z)[None])
        for _ in self._path.widths:
            y = decoder.take(self._y, _array(walk.parameters().indices))
            walk.accept(torch.from_numpy(y)[None])
        decoder.finish()
        return to_float(walk.decoded())


def _distributions(tables: Mapping[str, Tensor], name: str) -> Distributions:
    cdf, lengths, offsets = (tables[f"{name}{end}"].numpy() for end in ("", "_length", "_offset"))
    return Distributions(cdf, lengths, offsets)


def _channels(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Its channel at every position of z (channels, rows, columns)."""
    numbers = np.arange(shape[0], dtype=np.int32)
    return np.broadcast_to(numbers[:, None, None], shape)


def _array(tensor: Tensor) -> NDArray[np.integer]:  # type: ignore[type-arg]
    """(1, c, h, w) to (c, h, w), on the CPU."""
    found: NDArray[np.integer] = tensor[0].cpu().numpy()  # type: ignore[type-arg]
    return found
