"""A decoder in plain Python of the entropy coder's bytes, and what writes them."""

import numpy as np

from baselines.neural.entropy.coder import Distributions, SymbolEncoder

Table = tuple[int, list[int]]  # first symbol, frequencies, the last one of the escape

# Of Exp-Golomb's classes, as docs/bitstream.md lists them.
CLASSES = [32767, 16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1, 1, 1]


class Reference:
    """A decoder written from docs/bitstream.md, symbol by symbol, in Python's own integers."""

    def __init__(self, data: bytes) -> None:
        number = int.from_bytes(data, "big")
        self.words = [number >> 32 * i & 0xFFFFFFFF for i in range(-(-len(data) // 4))]
        self.state = 0
        self.fill()

    def fill(self) -> None:
        while self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def one(self, frequencies: list[int], bits: int = 16) -> int:
        place, begin = self.state % (1 << 24), 0
        for entry, frequency in enumerate(frequencies):
            width = frequency << (24 - bits)
            if place < begin + width:
                self.state = (self.state >> 24) * width + place - begin
                self.fill()
                return entry
            begin += width
        raise AssertionError("the frequencies do not sum to 1")

    def piece(self, tables: list[Table], indices: list[int]) -> list[int]:
        symbols = [0] * len(indices)
        escaped = []
        for i in sorted(range(len(indices)), key=lambda i: (indices[i], i)):
            first, frequencies = tables[indices[i]]
            entry = self.one(frequencies)
            symbols[i] = first + entry
            if entry == len(frequencies) - 1:
                escaped.append(i)
        classes = {i: self.one(CLASSES) for i in escaped}
        for i in sorted(escaped, key=lambda i: classes[i]):  # a stable sort
            k = classes[i]
            n = (1 << k) - 1 + (self.one([1] * (1 << k), k) if k else 0)
            first, frequencies = tables[indices[i]]
            upper, lower = first + len(frequencies) - 1, first - 1
            symbols[i] = upper + n // 2 if n % 2 == 0 else lower - n // 2
        return symbols


def distributions(tables: list[Table]) -> Distributions:
    longest = max(len(frequencies) for _, frequencies in tables) + 1
    cdf = np.full((len(tables), longest), -7)  # what is behind a row's end must not matter
    for row, (_, frequencies) in zip(cdf, tables, strict=True):
        row[0] = 0
        row[1 : len(frequencies) + 1] = np.cumsum(frequencies)
    lengths = np.array([len(frequencies) + 1 for _, frequencies in tables])
    return Distributions(cdf, lengths, np.array([first for first, _ in tables]))


def encode(*pieces: tuple[np.ndarray, Distributions, np.ndarray]) -> bytes:
    encoder = SymbolEncoder()
    for piece in pieces:
        encoder.add(*piece)
    return encoder.finish()
