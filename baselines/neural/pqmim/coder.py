"""Encoder and decoder of the tokens of one tile, stage by stage with the transformer.

::

    latents ─ nearest entries ─ tokens of stage s ──────────────────────────────┐
    tokens of the stages before ─ exact transformer ─ frequencies, part by part ┴ coder ──> string

The encoder's choice of tokens is in floating point. The transformer runs without rounded sums, so
that what one machine codes every other decodes.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.neural.bitstream.windows import LARGE
from baselines.neural.entropy.coder import Decoder, Encoder
from baselines.neural.pqmim.architecture import FACTOR
from baselines.neural.pqmim.exact_transformer import ExactTransformer
from baselines.neural.pqmim.model import PqMimNetwork
from baselines.neural.pqmim.quantiser import ProductQuantiser
from baselines.neural.pqmim.transformer import stages_of

ROWS_AT_ONCE = 1 << 13  # distributions that are held in memory together

# Codes the symbols (n,) by their frequencies (n, K), and returns them as the decoder has them.
Code = Callable[[Tensor, NDArray[np.int64]], Tensor]


class PqMimCoder:
    """Images to latents to bytes, and back, with one checkpoint on one device."""

    stride = latent_stride = FACTOR
    margin = LARGE.margin

    def __init__(
        self,
        network: PqMimNetwork,
        _tables: Mapping[str, Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._transformer = ExactTransformer(network.transformer, device)
        network.to(torch.device(device))
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._books = network.sizes.books
        self.latent_channels = network.sizes.latent

    def analyse(self, images: Tensor, controls: None = None) -> Tensor:
        """Return the latents (1, M d, H / 16, W / 16), not quantised, of images (1, 3, H, W)."""
        seen = images.contiguous(memory_format=torch.channels_last)
        latents: Tensor = self.network.analyse(seen)
        return latents

    def encode(self, latents: Tensor) -> bytes:
        """Return the bytes of the entries that are nearest to latents (1, M d, h, w)."""
        tokens = self.network.quantiser.tokens(latents)
        vectors = self.network.quantiser.vectors(tokens)
        encoder = Encoder()

        def add(rows: Tensor, frequencies: NDArray[np.int64]) -> Tensor:
            encoder.add_each(rows.cpu().numpy(), frequencies)
            return rows

        by_place = tokens[0].permute(1, 2, 0)
        for wanted, features in self._stages(vectors):
            self._code_parts(features, by_place[wanted], add)
        return encoder.finish()

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Return the code vectors (1, M d, rows, columns); raises `CorruptStream`."""
        decoder = Decoder(data)
        quantiser: ProductQuantiser = self.network.quantiser
        tokens = torch.zeros(
            1, self._books, rows, columns, dtype=torch.int64, device=quantiser.codebooks.device
        )
        vectors = quantiser.vectors(tokens)

        def take(rows: Tensor, frequencies: NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(decoder.take_each(frequencies)).to(rows)

        by_place = tokens[0].permute(1, 2, 0)
        for wanted, features in self._stages(vectors):
            chosen = by_place[wanted]
            self._code_parts(features, chosen, take)
            by_place[wanted] = chosen
            vectors.copy_(quantiser.vectors(tokens))  # the next stage sees them
        decoder.finish()
        return vectors

    def synthesise(self, latents: Tensor, controls: None = None) -> Tensor:
        """Return the images (1, 3, H, W), about [-1, 1], of code vectors as decoded."""
        seen = latents.contiguous(memory_format=torch.channels_last)
        images: Tensor = self.network.synthesise(seen)
        return images

    def _stages(self, vectors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the places of each stage, bool (h, w), and the features (P, C) of its tokens.

        Each stage reads the `vectors` (1, M d, h, w) that are known then.
        """
        rows, columns = vectors.shape[2:]
        stages = stages_of(self.network.sizes, rows, columns, vectors.device)
        for stage in range(self.network.sizes.stages):
            wanted = stages == stage
            if bool(wanted.any()):
                yield wanted, self._transformer.features(vectors, stages < stage, wanted)

    def _code_parts(self, features: Tensor, chosen: Tensor, code: Code) -> None:
        """Set `chosen` (P, M), the tokens of a stage, to what `code` makes of it, part by part."""
        for book in range(self._books):
            for start in range(0, len(features), ROWS_AT_ONCE):
                some = slice(start, start + ROWS_AT_ONCE)
                frequencies = self._transformer.frequencies(features[some], book)
                chosen[some, book] = code(chosen[some, book], frequencies)
            features = self._transformer.following(features, book, chosen[:, book])
