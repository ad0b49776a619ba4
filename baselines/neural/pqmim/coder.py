"""Encoder and decoder of the tokens of a tile, stage by stage with the transformer.

::

    latents ─ nearest entries ─ tokens of stage s ──────────────────────────────┐
    tokens of the stages before ─ exact transformer ─ frequencies, part by part ┴ coder ──> string

The encoder's choice of tokens is in floating point. The transformer runs without rounded sums, so
that what a machine codes every other decodes.

The payload
-----------
One such string for each tile of w x h pixels, with ⌈h/16⌉ rows and ⌈w/16⌉ columns of tokens. A
token has M parts, entries 0 to K-1 of the card's M codebooks. The card's `order` has the tokens'
stages, a square repeated from the tile's top left corner (4 x 4 by default, with rows 0 4 2 4,
4 3 4 3, 2 4 1 4 and 4 3 4 3). A stage codes part 0 of all its tokens, row by row, then part 1, to
M-1. Each symbol has K frequencies f >= 1 of its own, 2^24 in all, in order, without escape.

Frequencies follow from tokens of earlier stages and the token's earlier parts by the card's
transformer, under the rules of docs/bitstream.md's exact decoder; linear() is its layer, with an
exponent for each token. R(x) is x in multiples of max(2^(e-20), 2^-64), rounded, with the exponent
e of the values named:

1. A token of an earlier stage enters as linear(`embedding`) of its code vectors, component i of
   book m at place i·M+m; any other as `unknown`. Tokens are cut into squares of W x W from the
   tile's corner, empty beyond its edge (0, and counted in exponents); `places` is added by the
   place in the square. Nothing passes between squares.
2. norm(x) = x/sqrt(S/C+1e-6) times its gain; S sums the squares of R(x) (exponent of the token)
   over C channels; S/C is S times the float64 next to 1/C.
3. A layer: q, k, v = linear(norm(x)) in three parts, each split into heads of d channels. Scores
   are sums of R(q·(1/sqrt(d)))·R(k) (exponents of the token in the head) plus the head's `nearness`
   at W-1 + query's - key's (row, column). Weights are entries [256·(query's largest score -
   score)], at most 4096, of the table [2^20·e^(-i/256)]; empty places have none. A head gives the
   sum of weight·R(v) (exponent of the channel in the square), divided by that of the weights. Then
   x += linear(`mix`)(heads), and x += linear(`reduce`)(max(0, linear(`expand`)(norm(x)))).
4. Part 0's features are norm(x); part m+1's are part m's plus `earlier`[m, entry of part m]. Part
   m's logits are outputs m·K to m·K+K-1 of linear(`head`)(features). With E = entry [1024·(part's
   largest logit - logit)], at most 16384, of the table [2^24·e^(-i/1024)], and T the sum of all E,
   f = 1+⌊E·(2^24-K)/T⌋; the largest, the first of equals, takes what lacks to 2^24.

Both tables use the exponential of `baselines/neural/exact.py`. All sums are exact, in any
order.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.neural.bitstream.container import LARGE
from baselines.neural.entropy.coder import PRECISION, Decoder, Encoder
from baselines.neural.exact import ExactLinear, exponential, on_grid, square_root
from baselines.neural.network import LatentCoder
from baselines.neural.pqmim.model import (
    EPSILON,
    FACTOR,
    Layer,
    MaskedTransformer,
    PqMimNetwork,
    ProductQuantiser,
    Windows,
    by_heads,
    stages_of,
)

PAIR_BITS = 20  # of a factor where both are activations
SCORE_STEPS = 256  # of the table of attention's weights, for each e-fold
LOGIT_STEPS = 1024  # of that of frequencies
REACH = 16  # e-folds below the largest, beyond which a weight is 0 and a frequency the least


def exponentials(steps: int, bits: int) -> Tensor:
    """Return round(2^bits e^(-i / steps)) for i = 0..16 steps, float64, the same everywhere."""
    arguments = torch.arange(REACH * steps + 1, dtype=torch.float64) * (-1.0 / steps)
    return torch.round(exponential(arguments) * 2.0**bits)


def _normalised(values: Tensor, gain: Tensor) -> Tensor:
    mean = on_grid(values, -1, PAIR_BITS).square().sum(-1, keepdim=True).mul_(1 / len(gain))
    return values.div(square_root(mean.add_(EPSILON))).mul_(gain)


class _Layer:
    def __init__(self, layer: Layer, weights: Tensor, device: torch.device) -> None:
        self._heads, self._weights = layer.heads, weights
        self._biases = layer.biases().detach().double().to(device)
        self._attention_gain, self._perceptron_gain = (
            norm.gain.detach().double().to(device)
            for norm in (layer.attention_norm, layer.perceptron_norm)
        )
        self._query_key_value, self._mix, self._expand, self._reduce = (
            ExactLinear(part, -1).to(device)
            for part in (layer.query_key_value, layer.mix, layer.expand, layer.reduce)
        )

    def __call__(self, features: Tensor, inside: Tensor | None) -> Tensor:
        normal = _normalised(features, self._attention_gain)
        query, key, value = by_heads(self._query_key_value(normal), self._heads)
        query = on_grid(query * (1 / math.sqrt(query.shape[-1])), -1, PAIR_BITS)
        key, value = on_grid(key, -1, PAIR_BITS), on_grid(value, -2, PAIR_BITS)
        attended = torch.empty_like(query)
        for window in range(len(features)):  # in turn: its scores stay in the cache
            scores = (query[window] @ key[window].transpose(1, 2)).add_(self._biases)
            if inside is not None:
                scores.masked_fill_(~inside[window], -torch.inf)
            weights = torch.take(self._weights, _steps_below_largest(scores, SCORE_STEPS))
            attended[window] = (weights @ value[window]).div_(weights.sum(-1, keepdim=True))
        features = features + self._mix(attended.transpose(1, 2).flatten(2))
        inner = self._expand(_normalised(features, self._perceptron_gain)).relu_()
        return features + self._reduce(inner)


def _steps_below_largest(values: Tensor, steps: int) -> Tensor:
    """Return the distances of `values` (..., n) below their row's largest, int64 in 1 / steps."""
    below = values.amax(-1, keepdim=True) - values
    return below.mul_(steps).round_().clamp_(max=REACH * steps).to(torch.int64)


class ExactTransformer:
    """The integer distributions that a `MaskedTransformer` gives, on a device.

    As in `baselines.neural.exact`: sums of matrix products, squares and attention have terms of at
    most 52 bits together, squares and attention of 20 + 20 bits over at most 1,024 channels or
    tokens. All else is single operations, and a table of exponentials that such operations made.
    """

    def __init__(self, network: MaskedTransformer, device: torch.device | str = "cpu") -> None:
        at = torch.device(device)
        self._sizes = network.sizes
        self._embedding = ExactLinear(network.embedding, -1).to(at)
        head, books = ExactLinear(network.head, -1).to(at), network.sizes.books
        self._heads = list(zip(head.weight.chunk(books), head.bias.chunk(books), strict=True))
        self._earlier = network.earlier.detach().double().to(at)
        self._unknown, self._places = (
            p.detach().double().to(at) for p in (network.unknown, network.places)
        )
        weights = exponentials(SCORE_STEPS, PAIR_BITS).to(at)
        self._layers = [_Layer(layer, weights, at) for layer in network.layers]  # type: ignore[arg-type]
        self._gain = network.norm.gain.detach().double().to(at)
        self._masses = exponentials(LOGIT_STEPS, PRECISION).to(at, torch.int64)

    def features(self, vectors: Tensor, known: Tensor, wanted: Tensor) -> Tensor:
        """Return features, float64 (P, C), of wanted tokens by `vectors` where `known`."""
        embedded = self._embedding(vectors.double().permute(0, 2, 3, 1))
        mixed = torch.where(known[None, :, :, None], embedded, self._unknown)
        windows = Windows.of((1, *known.shape), self._sizes.window, vectors.device)
        features = windows.split(mixed) + self._places
        for layer in self._layers:
            features = layer(features, windows.inside)
        return _normalised(windows.join(features)[0][wanted], self._gain)

    def following(self, features: Tensor, book: int, chosen: Tensor) -> Tensor:
        """Return the features (P, C) of the parts after `book`, whose entries are `chosen` (P,)."""
        return features + self._earlier[book][chosen] if book < len(self._earlier) else features

    def logits(self, features: Tensor, book: int) -> Tensor:
        """Return the logits (P, K) of a part of tokens."""
        weight, bias = self._heads[book]
        return functional.linear(on_grid(features, -1), weight).add_(bias)

    def frequencies(self, features: Tensor, book: int) -> NDArray[np.int64]:
        """Return frequencies (P, K) of a part of tokens, at least 1, 2^24 in a row."""
        logits = self.logits(features, book)
        masses = torch.take(self._masses, _steps_below_largest(logits, LOGIT_STEPS))
        totals = masses.sum(1, keepdim=True)
        counts = masses.mul_((1 << PRECISION) - self._sizes.entries).div_(
            totals, rounding_mode="floor"
        )
        rows: NDArray[np.int64] = counts.add_(1).cpu().numpy()
        rows[np.arange(len(rows)), rows.argmax(1)] += (1 << PRECISION) - rows.sum(1)
        return rows


ROWS_AT_ONCE = 1 << 13  # distributions that are in memory together

# Codes the symbols (n,) by their frequencies (n, K), and returns them as the decoder has them.
Code = Callable[[Tensor, NDArray[np.int64]], Tensor]


class PqMimCoder(LatentCoder):
    """Images to latents to bytes, and back, with a checkpoint on a device."""

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
        self.last_encoder = encoder
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

    def _stages(self, vectors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the places of each stage, bool (h, w), and its features by `vectors` known then."""
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
