"""Asymmetric numeral systems in Python: same names and bytes as constriction, 40 times slower.

The state has 64 bits, a word 32; probabilities are in units of 2^-24 (Bamler, arXiv:2201.01741).
"""

from bisect import bisect_right
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRECISION = 24
WORD_BITS = 32
QUANTILE_MASK = 2**PRECISION - 1
WORD_MASK = 2**WORD_BITS - 1


class Categorical:
    """Model of the symbols 0, 1, ...; symbol i has probability (`shares[i]` + 1) / 2^24."""

    def __init__(
        self, shares: NDArray[np.float64] | None = None, *, perfect: bool, lazy: bool = False
    ) -> None:
        self.edges = None if shares is None else _edges(shares[None])[0]


class Uniform:
    """Model of `size` equally likely symbols; `size` is a power of two."""

    def __init__(self, size: int) -> None:
        self.edges = list(range(0, 2**PRECISION + 1, 2**PRECISION // size))


class AnsCoder:
    """Stack of symbols, coded into a state and a stack of words."""

    def __init__(self, words: NDArray[np.uint32] | None = None) -> None:
        self._words: list[int] = [] if words is None else words.tolist()  # popped from the end
        self._state = 0
        while self._words and self._state <= WORD_MASK:
            self._state = self._state << WORD_BITS | self._words.pop()

    def encode_reverse(
        self, symbols: NDArray[np.int32], model: Any, shares: NDArray[np.float64] | None = None
    ) -> None:
        """Push symbols, the last one first; shares: a row per symbol, if `model` has none."""
        state, words = self._state, self._words
        models = repeat(model.edges) if shares is None else reversed(_edges(shares))
        for symbol, edges in zip(reversed(symbols.tolist()), models, strict=False):
            low = edges[symbol]
            frequency = edges[symbol + 1] - low
            if state >> (64 - PRECISION) >= frequency:
                words.append(state & WORD_MASK)
                state >>= WORD_BITS
            quotient, remainder = divmod(state, frequency)
            state = quotient << PRECISION | remainder + low
        self._state = state

    def decode(self, model: Any, count: int | NDArray[np.float64]) -> NDArray[np.int32]:
        """Pop `count` symbols, int32; count: a number, or a row of shares for each symbol."""
        state, words, symbols = self._state, self._words, []
        models = repeat(model.edges, count) if isinstance(count, int) else _edges(count)
        for edges in models:
            quantile = state & QUANTILE_MASK
            symbol = bisect_right(edges, quantile) - 1
            low = edges[symbol]
            state = (state >> PRECISION) * (edges[symbol + 1] - low) + quantile - low
            if state <= WORD_MASK and words:
                state = state << WORD_BITS | words.pop()
            symbols.append(symbol)
        self._state = state
        return np.array(symbols, np.int32)

    def get_compressed(self) -> NDArray[np.uint32]:
        """Return the words of all symbols, uint32, of which a decoder reads the last first."""
        state = [self._state & WORD_MASK, self._state >> WORD_BITS]
        while state and not state[-1]:
            state.pop()
        return np.array(self._words + state, np.uint32)

    def num_words(self) -> int:
        """Return the length of `get_compressed()`."""
        return len(self.get_compressed())


def _edges(shares: NDArray[np.float64]) -> list[list[int]]:
    # cumulative frequencies of each row, from 0 to 2^24
    upper = np.cumsum(shares.astype(np.int64) + 1, axis=1)
    return np.pad(upper, ((0, 0), (1, 0))).tolist()
