"""Entropy coder for symbols with integer distributions; the same bytes on every machine.

Asymmetric numeral systems by constriction's `AnsCoder`, with probabilities in units of 2^-24 (Duda
et al., PCS 2015; docs/bitstream.md). Symbols are coded in pieces, in the decoder's order, since a
decoder may need a piece to determine the distributions of the next piece.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import CorruptStream, Unavailable

try:
    import constriction

    AnsCoder = constriction.stream.stack.AnsCoder
    Categorical = constriction.stream.model.Categorical
    Uniform = constriction.stream.model.Uniform
except ImportError:  # constriction does not have wheels for every machine
    from baselines.neural.entropy.ans import AnsCoder, Categorical, Uniform

if TYPE_CHECKING:
    from torch import Tensor

FREQUENCY_BITS = 16  # frequencies in tables sum to 2^16
PRECISION = 24  # the coder's probabilities are in units of 2^-24
WORD_BYTES = 4
# State before the first symbol is encoded, and after the last is decoded. With 0, there would be
# as many bits, but a decoder that runs out of bytes would end with it, too: with this state, most
# damage at the end of a stream is detected.
FIRST_STATE = 1 << (PRECISION - 1)
MIN_SYMBOL, MAX_SYMBOL = -(2**15), 2**15 - 1
# Exp-Golomb code of order 0 for escaped symbols: class k has 2^k members, k = 0..17
CLASS_FREQUENCIES = np.array([2**15 - 1, *(2**k for k in range(14, 0, -1)), 1, 1, 1])

Integers = NDArray[np.integer[Any]]


class Distributions:
    """Integer distributions over consecutive integers and an escape, one per row.

    Row i of `cdf` (rows, longest) rises strictly from 0 to 2^16 within its first `lengths[i]`
    entries (at least 3). `offsets` (rows,) are the symbols of the rows' first intervals; the last
    interval is the escape, for all other integers of 16 bits. `ValueError` for other tables.
    """

    def __init__(self, cdf: Integers, lengths: Integers, offsets: Integers) -> None:
        _require_exact_coder()
        if cdf.ndim != 2 or lengths.shape != cdf.shape[:1] or offsets.shape != cdf.shape[:1]:
            raise ValueError(f"shapes differ: {cdf.shape}, {lengths.shape} and {offsets.shape}")
        if not len(cdf) or lengths.min() < 3 or lengths.max() > cdf.shape[1]:
            raise ValueError("a distribution has no symbol, or is longer than its row")
        self.first_symbol = offsets.astype(np.int32)
        self.escape = lengths.astype(np.int32) - 2  # index of the escape, after the symbols
        if self.first_symbol.min() < MIN_SYMBOL or (self.first_symbol + self.escape).max() > 2**15:
            raise ValueError("a distribution has symbols of more than 16 bits")
        self.models: list[Any] = []
        self.frequencies: list[Integers] = []
        for row, length in zip(cdf.astype(np.int64), lengths, strict=True):
            if row[0] != 0 or row[length - 1] != 2**FREQUENCY_BITS:
                raise ValueError("a distribution does not rise from 0 to 65536")
            self.frequencies.append(np.diff(row[:length]))
            self.models.append(_model(self.frequencies[-1]))
        self.index_type = np.uint8 if len(cdf) <= 2**8 else np.uint16 if len(cdf) <= 2**16 else int

    @classmethod
    def read(cls, tables: "Mapping[str, Tensor]", name: str) -> "Distributions":
        """Read the tables `name`, `name`_length and `name`_offset; raises `KeyError`."""
        return cls(*(tables[f"{name}{end}"].numpy() for end in ("", "_length", "_offset")))

    def sort(self, indices: Integers) -> tuple[Integers, Integers, Integers]:
        """Return all positions, sorted by row; the rows that occur; and how often they occur."""
        if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < len(self.models):
            raise ValueError(f"an index is not in 0..{len(self.models) - 1}")
        keys = indices.reshape(-1).astype(self.index_type, copy=False)  # for a fast radix sort
        counts = np.bincount(keys, minlength=len(self.models))
        rows = np.flatnonzero(counts)
        return np.argsort(keys, kind="stable"), rows, counts[rows]


class SymbolEncoder:
    """Encoder of symbols; a decoder takes them in the order in which they were added."""

    def __init__(self) -> None:
        self._runs: list[tuple[Any, ...]] = []  # (symbols, model, shares) for constriction
        self._frequencies: list[Integers | int] = []  # of each run; or its bits per symbol

    def add(self, symbols: Integers, distributions: Distributions, indices: Integers) -> None:
        """Add symbols of 16 bits, given the indices of their rows; `ValueError` if out of range."""
        order, rows, counts = distributions.sort(indices)
        entries = symbols.reshape(-1)[order].astype(np.int32)
        entries -= np.repeat(distributions.first_symbol[rows], counts)
        escapes = np.repeat(distributions.escape[rows], counts)
        is_escaped = (entries < 0) | (entries >= escapes)
        excess = (entries - escapes)[is_escaped]
        np.copyto(entries, escapes, where=is_escaped)
        ends = np.cumsum(counts)
        for row, start, end in zip(rows, ends - counts, ends, strict=True):
            self._runs.append((entries[start:end], distributions.models[row]))
            self._frequencies.append(distributions.frequencies[row])
        if excess.size:
            distances_below = -1 - excess - escapes[is_escaped]
            # Numbers from 1 are coded: first all classes, floor(log2), then offsets class by class.
            numbers = np.where(excess >= 0, 2 * excess, 2 * distances_below + 1) + 1
            powers = 1 << np.arange(1, len(CLASS_FREQUENCIES), dtype=np.int32)
            classes = np.searchsorted(powers, numbers, side="right").astype(np.int32)
            self._runs.append((classes, _class_model()))
            self._frequencies.append(CLASS_FREQUENCIES)
            for k in range(1, int(classes.max()) + 1):
                self._runs.append((numbers[classes == k] - (1 << k), _uniform(k)))
                self._frequencies.append(k)

    def add_each(self, symbols: Integers, frequencies: Integers) -> None:
        """Add symbols (n,) with frequencies (n, entries), at least 1, that sum to 2^24 per row."""
        if len(symbols):
            self._runs.append((symbols.astype(np.int32), _row_model(), _shares(frequencies)))
            self._frequencies.append(np.asarray(frequencies))

    def ideal_bits(self) -> float:
        """Return the sum of -log2 p over all symbols added so far."""
        bits = 0.0
        for (symbols, *_), frequencies in zip(self._runs, self._frequencies, strict=True):
            if isinstance(frequencies, int):
                bits += frequencies * len(symbols)
            elif frequencies.ndim == 2:
                chosen_frequencies = np.take_along_axis(frequencies, symbols[:, None], 1)
                bits += float(np.sum(PRECISION - np.log2(chosen_frequencies)))
            else:
                counts = np.bincount(symbols, minlength=len(frequencies))
                bits += float(counts @ (FREQUENCY_BITS - np.log2(frequencies)))
        return bits

    def finish(self) -> bytes:
        """Return the bytes of all symbols added so far."""
        coder = AnsCoder(np.array([FIRST_STATE], np.uint32))
        for run in reversed(self._runs):
            coder.encode_reverse(*run)
        return bytes(coder.get_compressed()[::-1].astype(">u4").tobytes().lstrip(b"\0"))


class SymbolDecoder:
    """Decoder of a `SymbolEncoder`'s bytes; `finish` detects nearly all damage."""

    def __init__(self, data: bytes) -> None:
        if data[:1] in (b"", b"\0"):
            raise CorruptStream("the entropy-coded data is empty or begins with a zero byte")
        _require_exact_coder()
        padding = bytes(-len(data) % WORD_BYTES)
        words = np.frombuffer(padding + data, ">u4")[::-1].astype(np.uint32)
        self._coder = AnsCoder(words)

    def take(self, distributions: Distributions, indices: Integers) -> NDArray[np.int16]:
        """Return the next symbols, int16, with the shape of `indices`; raises `CorruptStream`."""
        order, rows, counts = distributions.sort(indices)
        runs = [
            self._coder.decode(distributions.models[row], int(count))
            for row, count in zip(rows, counts, strict=True)
        ]
        self._require_enough_data()
        entries = np.concatenate([np.empty(0, np.int32), *runs])
        escapes = np.repeat(distributions.escape[rows], counts)
        is_escaped = entries == escapes
        entries += np.repeat(distributions.first_symbol[rows], counts)
        if is_escaped.any():
            self._replace_escaped(entries, escapes, is_escaped)
        symbols = np.empty(indices.size, np.int16)
        symbols[order] = entries
        return symbols.reshape(indices.shape)

    def take_each(self, frequencies: Integers) -> NDArray[np.int32]:
        """Return the next symbols (n,), given their `frequencies`; raises `CorruptStream`."""
        if not len(frequencies):
            return np.empty(0, np.int32)
        symbols: NDArray[np.int32] = self._coder.decode(_row_model(), _shares(frequencies))
        self._require_enough_data()
        return symbols

    def _replace_escaped(
        self, symbols: NDArray[np.int32], escapes: NDArray[np.int32], is_escaped: NDArray[np.bool_]
    ) -> None:
        classes = self._coder.decode(_class_model(), int(is_escaped.sum()))
        numbers = np.left_shift(1, classes)
        for k in range(1, int(classes.max()) + 1):
            members = classes == k
            numbers[members] += self._coder.decode(_uniform(k), int(members.sum()))
        is_above, steps = (numbers - 1) % 2 == 0, (numbers - 1) // 2
        escape_symbols = symbols[is_escaped]  # the highest symbol of a row, plus 1
        decoded = np.where(
            is_above, escape_symbols + steps, escape_symbols - escapes[is_escaped] - 1 - steps
        )
        if decoded.min() < MIN_SYMBOL or decoded.max() > MAX_SYMBOL:
            raise CorruptStream("a symbol of the entropy-coded data has more than 16 bits")
        symbols[is_escaped] = decoded

    def _require_enough_data(self) -> None:
        # Taking a symbol never raises the state, so this is never a false alarm. A few bytes that
        # claim to be a large image are refused before the networks process the whole image.
        words = self._coder.num_words()
        if not words or (words == 1 and self._coder.get_compressed()[0] < FIRST_STATE):
            raise CorruptStream("the entropy-coded data ends before its symbols do")

    def finish(self) -> None:
        """Raise `CorruptStream` unless the data ends exactly with the symbols taken."""
        if self._coder.num_words() != 1 or self._coder.get_compressed()[0] != FIRST_STATE:
            raise CorruptStream("the entropy-coded data does not end where its symbols do")


def channel_rows(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return an array (channels, rows, columns) with the number of each position's channel."""
    numbers = np.arange(shape[0], dtype=np.int32)
    return np.broadcast_to(numbers[:, None, None], shape)


def _model(frequencies: Integers) -> Any:
    # models entries 0, 1, ... whose `frequencies` are at least 1 and sum to 65536
    if frequencies.min() < 1:
        raise ValueError("a distribution does not rise strictly")
    # constriction gives each of n entries a share of 1, and distributes the remaining 2^24 - n in
    # proportion to these numbers. They sum to 2^24 - n, so the factor is 1 and nothing is rounded.
    shares = frequencies.astype(np.float64) * 2 ** (PRECISION - FREQUENCY_BITS) - 1
    return Categorical(shares, perfect=False, lazy=False)


@cache
def _row_model() -> Any:
    return Categorical(perfect=False)


def _shares(frequencies: Integers) -> NDArray[np.float64]:
    # shares that constriction distributes exactly (see `_model`), in units of 2^-24
    return frequencies.astype(np.float64) - 1


@cache
def _class_model() -> Any:
    return _model(CLASS_FREQUENCIES)


@cache
def _uniform(bits: int) -> Any:
    return Uniform(1 << bits)


@cache
def _require_exact_coder() -> None:
    coder = AnsCoder()
    symbols = np.array([1, 0, 3, 1, 2, 2, 1, 3], np.int32)
    coder.encode_reverse(symbols, _model(np.array([1, 65000, 500, 35])))
    if coder.get_compressed().tolist() != [4143968256, 4196626729, 1]:
        raise Unavailable(
            "the installed version of constriction writes another stream format: install the "
            "version in requirements.lock"
        )
