"""Encoder and decoder of a tile's tokens, stage by stage with the transformer::

    latents ─ nearest entries ─ tokens of stage s ──────────────────────────────┐
    tokens of earlier stages ─ exact transformer ─ frequencies, part by part ───┴ coder ──> string

The encoder chooses tokens in floating point. The transformer runs with exact sums, so that every
machine can decode the streams of all machines.

A payload is one such string for a tile of w x h pixels, with ⌈h/16⌉ rows and ⌈w/16⌉ columns of
tokens. A token has M parts, entries 0 to K-1 of the card's M codebooks. The card's `order` has the
tokens' stages, a square repeated from the tile's top left corner (4 x 4 by default, with rows
0 4 2 4, 4 3 4 3, 2 4 1 4 and 4 3 4 3). A stage codes part 0 of all its tokens, row by row, then
part 1, up to M-1. Each symbol has its own K frequencies f >= 1 with a sum of 2^24, in order,
without escape.
The card's transformer computes frequencies from the tokens of earlier stages and the token's
earlier parts, under the rules of docs/bitstream.md's exact decoder; linear() is its layer, with an
exponent for each token. R(x) is x rounded to multiples of max(2^(e-20), 2^-64), with the exponent e
of the values named:

1. A token of an earlier stage enters as linear(`embedding`) of its code vectors, with component i
   of book m at index i·M+m; any other token as `unknown`. Tokens are cut into squares of W x W from
   the tile's corner, empty beyond its edge (0, and counted in exponents); `places` is added by
   position in the square. Nothing passes between squares.
2. norm(x) = x/sqrt(S/C+1e-6) times its gain; S is the sum over C channels of the squares of R(x)
   (exponent of the token); S/C is S times the float64 nearest to 1/C.
3. A layer: q, k, v = linear(norm(x)) in three parts, each split into heads of d channels. Scores
   are sums of R(q·(1/sqrt(d)))·R(k) (exponents of the token in the head) plus the head's `nearness`
   at W-1 + query's - key's (row, column). Weights are entries [256·(query's largest score -
   score)], at most 4096, of the table [2^20·e^(-i/256)]; empty places have none. A head gives the
   sum of weight·R(v) (exponent of the channel in the square), divided by that of the weights. Then
   x += linear(`mix`)(heads), and x += linear(`reduce`)(max(0, linear(`expand`)(norm(x)))).
4. Part 0's features are norm(x); part m+1's are part m's plus `earlier`[m, entry of part m]. Part
   m's logits are outputs m·K to m·K+K-1 of linear(`head`)(features). With E = entry [1024·(part's
   largest logit - logit)], at most 16384, of the table [2^24·e^(-i/1024)], and T the sum of all E,
   f = 1+⌊E·(2^24-K)/T⌋; the remainder to 2^24 is added to the largest f, the first of equals.

Both tables use the exponential of `baselines/neural/exact.py`. All sums are exact in any order.
"""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from baselines.neural.bitstream.container import LARGE_TILING
from baselines.neural.entropy.coder import PRECISION, SymbolDecoder, SymbolEncoder
from baselines.neural.exact import ExactLinear, exponential, round_to_grid, square_root
from baselines.neural.network import LatentCoder
from baselines.neural.pqmim.model import (
    EPSILON,
    FACTOR,
    MaskedTransformer,
    PqMimNetwork,
    ProductQuantiser,
    TransformerLayer,
    Windows,
    split_heads,
    token_stages,
)

PAIR_BITS = 20  # bits of each factor in a product of two activations
SCORE_STEPS = 256  # table entries per e-fold for attention weights
LOGIT_STEPS = 1024  # table entries per e-fold for frequencies
MAX_E_FOLDS = 16  # so far below the maximum, weights are 0 and frequencies minimal


def exponentials(steps: int, bits: int) -> Tensor:
    """Return round(2^bits e^(-i / steps)), i = 0..16 steps, float64, the same everywhere."""
    arguments = torch.arange(MAX_E_FOLDS * steps + 1, dtype=torch.float64) * (-1.0 / steps)
    return torch.round(exponential(arguments) * 2.0**bits)


def _normalise_tokens(values: Tensor, gain: Tensor) -> Tensor:
    mean = round_to_grid(values, -1, PAIR_BITS).square().sum(-1, keepdim=True).mul_(1 / len(gain))
    return values.div(square_root(mean.add_(EPSILON))).mul_(gain)


class _ExactLayer:
    def __init__(self, layer: TransformerLayer, weights: Tensor, device: torch.device) -> None:
        self._heads, self._weights = layer.heads, weights
        self._biases = layer.biases().detach().double().to(device)
        self._attention_gain, self._perceptron_gain = (
            norm.gain.detach().double().to(device)
            for norm in (layer.attention_norm, layer.perceptron_norm)
        )
        self._query_key_value, self._mix, self._expand, self._reduce = (
            ExactLinear(linear, -1).to(device)
            for linear in (layer.query_key_value, layer.mix, layer.expand, layer.reduce)
        )

    def __call__(self, features: Tensor, is_inside: Tensor | None) -> Tensor:
        normalised_features = _normalise_tokens(features, self._attention_gain)
        query, key, value = split_heads(self._query_key_value(normalised_features), self._heads)
        query = round_to_grid(query * (1 / math.sqrt(query.shape[-1])), -1, PAIR_BITS)
        key, value = round_to_grid(key, -1, PAIR_BITS), round_to_grid(value, -2, PAIR_BITS)
        head_outputs = torch.empty_like(query)
        for window in range(len(features)):  # one window at a time: its scores fit in the cache
            scores = (query[window] @ key[window].transpose(1, 2)).add_(self._biases)
            if is_inside is not None:
                scores.masked_fill_(~is_inside[window], -torch.inf)
            weights = torch.take(self._weights, _steps_below_max(scores, SCORE_STEPS))
            head_outputs[window] = (weights @ value[window]).div_(weights.sum(-1, keepdim=True))
        features = features + self._mix(head_outputs.transpose(1, 2).flatten(2))
        inner = self._expand(_normalise_tokens(features, self._perceptron_gain)).relu_()
        return features + self._reduce(inner)


def _steps_below_max(values: Tensor, steps: int) -> Tensor:
    # returns how far `values` (..., n) are below their row's maximum, int64 in units of 1 / steps
    distances = values.amax(-1, keepdim=True) - values
    return distances.mul_(steps).round_().clamp_(max=MAX_E_FOLDS * steps).to(torch.int64)


class ExactTransformer:
    """Integer distributions of a `MaskedTransformer`, on a device."""

    # As in `baselines.neural.exact`, sums in matrix products, squares and attention are below 2^52;
    # squares and attention have 20 + 20 bits and at most 1,024 channels or tokens. Everything else,
    # including the table of exponentials, consists of single IEEE operations.

    def __init__(self, network: MaskedTransformer, device: torch.device | str = "cpu") -> None:
        target_device = torch.device(device)
        self._sizes = network.sizes
        self._embedding = ExactLinear(network.embedding, -1).to(target_device)
        head, books = ExactLinear(network.head, -1).to(target_device), network.sizes.books
        self._heads = list(zip(head.weight.chunk(books), head.bias.chunk(books), strict=True))
        self._earlier = network.earlier.detach().double().to(target_device)
        self._unknown, self._places = (
            p.detach().double().to(target_device) for p in (network.unknown, network.places)
        )
        weights = exponentials(SCORE_STEPS, PAIR_BITS).to(target_device)
        self._layers = [_ExactLayer(layer, weights, target_device) for layer in network.layers]  # type: ignore[arg-type]
        self._gain = network.norm.gain.detach().double().to(target_device)
        self._masses = exponentials(LOGIT_STEPS, PRECISION).to(target_device, torch.int64)

    def features(self, vectors: Tensor, is_known: Tensor, is_wanted: Tensor) -> Tensor:
        """Return features, float64 (P, C), of `is_wanted` tokens, given vectors of known tokens."""
        embedded_vectors = self._embedding(vectors.double().permute(0, 2, 3, 1))
        inputs = torch.where(is_known[None, :, :, None], embedded_vectors, self._unknown)
        windows = Windows.divide((1, *is_known.shape), self._sizes.window, vectors.device)
        features = windows.split(inputs) + self._places
        for layer in self._layers:
            features = layer(features, windows.is_inside)
        return _normalise_tokens(windows.join(features)[0][is_wanted], self._gain)

    def add_earlier_part(self, features: Tensor, book: int, entries: Tensor) -> Tensor:
        """Update features (P, C) for parts after `book`, given the `entries` (P,) of `book`."""
        return features + self._earlier[book][entries] if book < len(self._earlier) else features

    def logits(self, features: Tensor, book: int) -> Tensor:
        """Return the logits (P, K) of one part of the tokens."""
        weight, bias = self._heads[book]
        return functional.linear(round_to_grid(features, -1), weight).add_(bias)

    def frequencies(self, features: Tensor, book: int) -> NDArray[np.int64]:
        """Return frequencies (P, K) of one part of the tokens, at least 1; rows sum to 2^24."""
        logits = self.logits(features, book)
        masses = torch.take(self._masses, _steps_below_max(logits, LOGIT_STEPS))
        totals = masses.sum(1, keepdim=True)
        counts = masses.mul_((1 << PRECISION) - self._sizes.entries).div_(
            totals, rounding_mode="floor"
        )
        rows: NDArray[np.int64] = counts.add_(1).cpu().numpy()
        rows[np.arange(len(rows)), rows.argmax(1)] += (1 << PRECISION) - rows.sum(1)
        return rows


ROW_BATCH = 1 << 13  # maximum number of distributions in memory

# (symbols (n,), frequencies (n, K)) -> the symbols that a decoder gets
Code = Callable[[Tensor, NDArray[np.int64]], Tensor]


class PqMimCoder(LatentCoder):
    """Coder that converts between PQ-MIM's images, latents and bytes, on a device."""

    stride = latent_stride = FACTOR
    margin = LARGE_TILING.margin

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
        """Encode the entries nearest to latents (1, M d, h, w)."""
        tokens = self.network.quantiser.tokens(latents)
        vectors = self.network.quantiser.vectors(tokens)
        encoder = SymbolEncoder()

        def add(symbols: Tensor, frequencies: NDArray[np.int64]) -> Tensor:
            encoder.add_each(symbols.cpu().numpy(), frequencies)
            return symbols

        tokens_by_position = tokens[0].permute(1, 2, 0)
        for is_wanted, features in self._iterate_stages(vectors):
            self._code_parts(features, tokens_by_position[is_wanted], add)
        self.last_encoder = encoder
        return encoder.finish()

    def decode(self, data: bytes, rows: int, columns: int) -> Tensor:
        """Decode code vectors (1, M d, rows, columns); raises `CorruptStream`."""
        decoder = SymbolDecoder(data)
        quantiser: ProductQuantiser = self.network.quantiser
        tokens = torch.zeros(
            1, self._books, rows, columns, dtype=torch.int64, device=quantiser.codebooks.device
        )
        vectors = quantiser.vectors(tokens)

        def take(symbols: Tensor, frequencies: NDArray[np.int64]) -> Tensor:
            return torch.from_numpy(decoder.take_each(frequencies)).to(symbols)

        tokens_by_position = tokens[0].permute(1, 2, 0)
        for is_wanted, features in self._iterate_stages(vectors):
            stage_tokens = tokens_by_position[is_wanted]
            self._code_parts(features, stage_tokens, take)
            tokens_by_position[is_wanted] = stage_tokens
            vectors.copy_(quantiser.vectors(tokens))  # `_iterate_stages` reads them
        decoder.finish()
        return vectors

    def _iterate_stages(self, vectors: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        rows, columns = vectors.shape[2:]
        stages = token_stages(self.network.sizes, rows, columns, vectors.device)
        for stage in range(self.network.sizes.stages):
            is_wanted = stages == stage
            if bool(is_wanted.any()):
                yield is_wanted, self._transformer.features(vectors, stages < stage, is_wanted)

    def _code_parts(self, features: Tensor, stage_tokens: Tensor, code: Code) -> None:
        # codes part by part, and replaces `stage_tokens` (P, M) by the results of `code`
        for book in range(self._books):
            for start in range(0, len(features), ROW_BATCH):
                batch = slice(start, start + ROW_BATCH)
                frequencies = self._transformer.frequencies(features[batch], book)
                stage_tokens[batch, book] = code(stage_tokens[batch, book], frequencies)
            features = self._transformer.add_earlier_part(features, book, stage_tokens[:, book])
