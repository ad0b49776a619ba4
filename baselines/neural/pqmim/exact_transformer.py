"""The masked transformer with the same bits on every machine, and its integer distributions.

Two arguments carry it, as in `baselines.neural.exact`. Sums are exact: of matrix products, of
squares, and of the weights of attention, since their terms are integers on grids so coarse that
every partial sum is a number of float64. All else is single operations of IEEE 754, and a table of
exponentials that such operations made. No result depends on the other windows of a batch.

=====================  ==================  ======================================================
sum                    bits of its terms   at most, with the largest transformer and window
=====================  ==================  ======================================================
linear layer           22 + 30             2^52: the weights' magnitudes are summed already
squares                20 + 20             2^50 over 1,024 channels
queries with keys      20 + 20             2^50 over 1,024 channels
attention with values  20 + 20             2^50 over 1,024 tokens
=====================  ==================  ======================================================
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from baselines.neural.entropy.coder import PRECISION
from baselines.neural.exact.functions import exponential, square_root
from baselines.neural.exact.layers import on_grid, weights_on_grid
from baselines.neural.pqmim.transformer import (
    EPSILON,
    Layer,
    MaskedTransformer,
    RootMeanSquareNorm,
    Windows,
    by_heads,
)

PAIR_BITS = 20  # of a factor where both are activations
SCORE_STEPS = 256  # of the table of attention's weights, for each e-fold
LOGIT_STEPS = 1024  # of that of frequencies
REACH = 16  # e-folds below the largest, beyond which a weight is 0 and a frequency the least


def exponentials(steps: int, bits: int) -> Tensor:
    """Return round(2^bits e^(-i / steps)) for i = 0..16 steps, float64, the same everywhere."""
    arguments = torch.arange(REACH * steps + 1, dtype=torch.float64) * (-1.0 / steps)
    return torch.round(exponential(arguments) * 2.0**bits)


class _Linear(NamedTuple):
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, layer: nn.Module, device: torch.device) -> "_Linear":
        assert isinstance(layer, nn.Linear)
        weight = weights_on_grid(layer.weight.detach().cpu()).to(device)
        return cls(weight, layer.bias.detach().double().to(device))

    def __call__(self, values: Tensor) -> Tensor:
        return linear(on_grid(values, -1), self.weight).add_(self.bias)

    def parts(self, count: int) -> "list[_Linear]":
        """Return the layers of `count` equal parts of the outputs."""
        pairs = zip(self.weight.chunk(count), self.bias.chunk(count), strict=True)
        return [_Linear(*pair) for pair in pairs]


class _Norm(NamedTuple):
    gain: Tensor
    share: float  # 1 / channels

    @classmethod
    def of(cls, norm: nn.Module, device: torch.device) -> "_Norm":
        assert isinstance(norm, RootMeanSquareNorm)
        return cls(norm.gain.detach().double().to(device), 1 / len(norm.gain))

    def __call__(self, values: Tensor) -> Tensor:
        coarse = on_grid(values, -1, PAIR_BITS)
        mean = coarse.square().sum(-1, keepdim=True).mul_(self.share)
        return values.div(square_root(mean.add_(EPSILON))).mul_(self.gain)


class _Layer:
    """The counterpart of `Layer`."""

    def __init__(self, layer: Layer, weights: Tensor, device: torch.device) -> None:
        self._heads, self._weights = layer.heads, weights
        self._biases = layer.biases().detach().double().to(device)
        self._attention_norm, self._perceptron_norm = (
            _Norm.of(one, device) for one in (layer.attention_norm, layer.perceptron_norm)
        )
        self._query_key_value, self._mix, self._expand, self._reduce = (
            _Linear.of(one, device)
            for one in (layer.query_key_value, layer.mix, layer.expand, layer.reduce)
        )

    def __call__(self, features: Tensor, inside: Tensor | None) -> Tensor:
        """Map `features` (windows, tokens, C), float64."""
        parts = by_heads(self._query_key_value(self._attention_norm(features)), self._heads)
        query, key, value = parts
        query = on_grid(query * (1 / math.sqrt(query.shape[-1])), -1, PAIR_BITS)
        key, value = on_grid(key, -1, PAIR_BITS), on_grid(value, -2, PAIR_BITS)
        attended = torch.empty_like(query)
        for window in range(len(features)):  # one at a time: its scores stay in the cache
            seen = None if inside is None else inside[window]
            attended[window] = self._attend(query[window], key[window], value[window], seen)
        features = features + self._mix(attended.transpose(1, 2).flatten(2))
        inner = self._expand(self._perceptron_norm(features)).relu_()
        return features + self._reduce(inner)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
        scores = (query @ key.transpose(1, 2)).add_(self._biases)
        if seen is not None:
            scores.masked_fill_(~seen, -torch.inf)
        weights = torch.take(self._weights, _steps_below_largest(scores, SCORE_STEPS))
        return (weights @ value).div_(weights.sum(-1, keepdim=True))


def _steps_below_largest(values: Tensor, steps: int) -> Tensor:
    """Return the distances of `values` (..., n) below their row's largest, int64 in 1 / steps."""
    below = values.amax(-1, keepdim=True) - values
    return below.mul_(steps).round_().clamp_(max=REACH * steps).to(torch.int64)


class ExactTransformer:
    """The integer distributions that a `MaskedTransformer` gives, on one device."""

    def __init__(self, network: MaskedTransformer, device: torch.device | str = "cpu") -> None:
        at = torch.device(device)
        self._sizes = network.sizes
        self._embedding = _Linear.of(network.embedding, at)
        self._heads = _Linear.of(network.head, at).parts(self._sizes.books)
        self._earlier = network.earlier.detach().double().to(at)
        self._unknown, self._places = (
            one.detach().double().to(at) for one in (network.unknown, network.places)
        )
        weights = exponentials(SCORE_STEPS, PAIR_BITS).to(at)
        self._layers = [_Layer(layer, weights, at) for layer in network.layers]  # type: ignore[arg-type]
        self._norm = _Norm.of(network.norm, at)
        self._masses = exponentials(LOGIT_STEPS, PRECISION).to(at, torch.int64)

    def features(self, vectors: Tensor, known: Tensor, wanted: Tensor) -> Tensor:
        """Return the features of the first part of the P wanted tokens, float64 (P, C).

        vectors: float32 (1, M d, h, w), used where `known`. known, wanted: bool (h, w).
        """
        embedded = self._embedding(vectors.double().permute(0, 2, 3, 1))
        mixed = torch.where(known[None, :, :, None], embedded, self._unknown)
        windows = Windows.of((1, *known.shape), self._sizes.window, vectors.device)
        features = windows.split(mixed) + self._places
        for layer in self._layers:
            features = layer(features, windows.inside)
        return self._norm(windows.join(features)[0][wanted])

    def following(self, features: Tensor, book: int, chosen: Tensor) -> Tensor:
        """Return the features (P, C) of the parts after `book`, whose entries are `chosen` (P,)."""
        return features + self._earlier[book][chosen] if book < len(self._earlier) else features

    def frequencies(self, features: Tensor, book: int) -> NDArray[np.int64]:
        """Return the frequencies (P, K) of one part of P tokens by its `features` (P, C).

        They are at least 1, and sum to 2^24 in each row.
        """
        logits = self._heads[book](features)
        masses = torch.take(self._masses, _steps_below_largest(logits, LOGIT_STEPS))
        totals = masses.sum(1, keepdim=True)
        counts = masses.mul_((1 << PRECISION) - self._sizes.entries).div_(
            totals, rounding_mode="floor"
        )
        rows: NDArray[np.int64] = counts.add_(1).cpu().numpy()
        rows[np.arange(len(rows)), rows.argmax(1)] += (1 << PRECISION) - rows.sum(1)
        return rows
