"""Asymmetric numeral systems in Python, with the bytes of constriction where that is not installed.

A state of 64 bits, words of 32 and probabilities in units of 2^-24, as its `AnsCoder` has them
(Bamler, arXiv:2201.01741; docs/bitstream.md). The names are constriction's, the classes have what
`coder.py` needs of them. About 40 times slower.
"""

from bisect import bisect_right
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRECISION = 24
WORD_BITS = 32
BELOW = 2**PRECISION - 1
WORD = 2**WORD_BITS - 1


class Categorical:
    """Model of the symbols 0, 1, ...; symbol i has `shares[i]` + 1 of 2^24."""

    def __init__(
        self, shares: NDArray[np.float64] | None = None, *, perfect: bool, lazy: bool = False
    ) -> None:
        self.edges = None if shares is None else _edges(shares[None])[0]


class Uniform:
    """Model of `size` equally likely symbols; a power of two."""

    def __init__(self, size: int) -> None:
        self.edges = list(range(0, 2**PRECISION + 1, 2**PRECISION // size))


class AnsCoder:
    """Stack of symbols."""

    def __init__(self, words: NDArray[np.uint32] | None = None) -> None:
        self._words: list[int] = [] if words is None else words.tolist()  # the last is taken first
        self._state = 0
        while self._words and self._state <= WORD:
            self._state = self._state << WORD_BITS | self._words.pop()

    def encode_reverse(
        self, symbols: NDArray[np.int32], model: Any, shares: NDArray[np.float64] | None = None
    ) -> None:
        """Push symbols, the last of them first; shares: of each symbol, where `model` has none."""
        state, words = self._state, self._words
        models = repeat(model.edges) if shares is None else reversed(_edges(shares))
        for symbol, edges in zip(reversed(symbols.tolist()), models, strict=False):
            low = edges[symbol]
            frequency = edges[symbol + 1] - low
            if state >> (64 - PRECISION) >= frequency:
                words.append(state & WORD)
                state >>= WORD_BITS
            above, below = divmod(state, frequency)
            state = above << PRECISION | below + low
        self._state = state

    def decode(self, model: Any, count: int | NDArray[np.float64]) -> NDArray[np.int32]:
        """Pop `count` symbols, int32, or as many as there are rows of shares."""
        state, words, symbols = self._state, self._words, []
        models = repeat(model.edges, count) if isinstance(count, int) else _edges(count)
        for edges in models:
            quantile = state & BELOW
            symbol = bisect_right(edges, quantile) - 1
            low = edges[symbol]
            state = (state >> PRECISION) * (edges[symbol + 1] - low) + quantile - low
            if state <= WORD and words:
                state = state << WORD_BITS | words.pop()
            symbols.append(symbol)
        self._state = state
        return np.array(symbols, np.int32)

    def get_compressed(self) -> NDArray[np.uint32]:
        """Return the words of all symbols, uint32, the first to be taken last."""
        state = [self._state & WORD, self._state >> WORD_BITS]
        while state and not state[-1]:
            state.pop()
        return np.array(self._words + state, np.uint32)

    def num_words(self) -> int:
        """Return the length of `get_compressed()`."""
        return len(self.get_compressed())


def _edges(shares: NDArray[np.float64]) -> list[list[int]]:
    """Return the cumulative frequencies of each row, from 0 to 2^24."""
    upper = np.cumsum(shares.astype(np.int64) + 1, axis=1)
    return np.pad(upper, ((0, 0), (1, 0))).tolist()
