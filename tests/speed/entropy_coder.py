"""Measure entropy coding of one photograph's symbols, 320 x 48 x 32 of y and 192 x 12 x 8 of z.

    python tests/speed/entropy_coder.py [--repeat 15]

Beside our coder runs CompressAI's, on the same symbols and tables, in as many pieces: lists of
Python's integers in and out are part of what it takes. Its compiled part is loaded alone, since the
package takes seconds to import. Processor time of one thread, best of the rounds, both in turn.
"""
# ruff: noqa: E402 - the pools have to be pinned before numpy and torch are imported

import os
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any, NamedTuple

for pool in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{pool}_NUM_THREADS"] = "1"

import numpy as np
from harness import best, options, verdict
from numpy.typing import NDArray

from baselines.neural.entropy.coder import Decoder, Distributions, Encoder
from baselines.neural.entropy.fixed.tables import (
    LARGEST_SCALE,
    LEAST_SCALE,
    NUM_SCALES,
    make_tables,
)
from benchmark.system.machine import package_folder

MOST_MILLISECONDS = 30.0
SLICES, SLICE_SHAPE, Z_SHAPE = 10, (32, 32, 48), (192, 8, 12)
SCALES = np.geomspace(float(LEAST_SCALE), float(LARGEST_SCALE), NUM_SCALES)
Z_ROW = 8
# Share of the symbols whose scale is above the least, and how far above, on average, in rows.
KINDS = {"mostly zeros": (0.25, 4.0), "busy": (0.7, 10.0), "like noise": (1.0, 99.0)}


class Piece(NamedTuple):
    """Symbols that are coded at once, and the rows of the table that they follow."""

    symbols: NDArray[np.int32]
    indices: NDArray[np.uint8]


def pieces(busy: float, spread: float) -> list[Piece]:
    """z, then each slice of y."""
    generator = np.random.default_rng(0)
    found = [_normal(generator, np.full(Z_SHAPE, Z_ROW, np.uint8))]
    for _ in range(SLICES):
        rows = np.minimum(np.floor(generator.exponential(spread, SLICE_SHAPE)), NUM_SCALES - 1)
        rows *= generator.random(SLICE_SHAPE) < busy
        found.append(_normal(generator, rows.astype(np.uint8)))
    return found


def _normal(generator: np.random.Generator, indices: NDArray[np.uint8]) -> Piece:
    symbols = np.rint(generator.standard_normal(indices.shape) * SCALES[indices])
    return Piece(symbols.astype(np.int32), indices)


class Ours:
    """`baselines.neural.entropy.coder`."""

    def __init__(self, tables: dict[str, NDArray[np.int32]]) -> None:
        self.rows = Distributions(tables["cdf"], tables["cdf_length"], tables["cdf_offset"])

    def encode(self, message: list[Piece]) -> bytes:
        encoder = Encoder()
        for piece in message:
            encoder.add(piece.symbols, self.rows, piece.indices)
        return encoder.finish()

    def decode(self, data: bytes, message: list[Piece]) -> list[NDArray[Any]]:
        decoder = Decoder(data)
        symbols = [decoder.take(self.rows, piece.indices) for piece in message]
        decoder.finish()
        return symbols


class CompressAIs:
    """Its rANS, which has escapes of its own for what no table holds."""

    def __init__(self, tables: dict[str, NDArray[np.int32]]) -> None:
        path = package_folder("compressai") / f"ans{EXTENSION_SUFFIXES[0]}"
        loader = ExtensionFileLoader("compressai.ans", str(path))
        spec = spec_from_loader("compressai.ans", loader)
        assert spec
        self.module = module_from_spec(spec)
        loader.exec_module(self.module)
        lengths = tables["cdf_length"].tolist()
        rows = [row[:n] for row, n in zip(tables["cdf"].tolist(), lengths, strict=True)]
        self.tables = rows, lengths, tables["cdf_offset"].tolist()

    def encode(self, message: list[Piece]) -> bytes:
        symbols, indices = [], []
        for piece in message:
            symbols += piece.symbols.ravel().tolist()
            indices += piece.indices.ravel().tolist()
        return bytes(self.module.RansEncoder().encode_with_indexes(symbols, indices, *self.tables))

    def decode(self, data: bytes, message: list[Piece]) -> list[NDArray[Any]]:
        decoder = self.module.RansDecoder()
        decoder.set_stream(data)
        return [
            np.array(
                decoder.decode_stream(piece.indices.ravel().tolist(), *self.tables), np.int16
            ).reshape(piece.indices.shape)
            for piece in message
        ]


def ideal_bytes(tables: dict[str, NDArray[np.int32]], message: list[Piece]) -> float:
    """-log2 of the symbols' frequencies; an escape as its own symbol alone."""
    bits = 0.0
    for symbols, indices in message:
        entries = symbols - tables["cdf_offset"][indices]
        escape = tables["cdf_length"][indices] - 2
        entries = np.where((entries < 0) | (entries > escape), escape, entries)
        wide = tables["cdf"][indices, entries + 1] - tables["cdf"][indices, entries]
        bits += float((16 - np.log2(wide)).sum())
    return bits / 8


def race(
    kind: str,
    message: list[Piece],
    coders: dict[str, Any],
    tables: dict[str, NDArray[np.int32]],
    rounds: int,
) -> float:
    """Print a line per coder; return the milliseconds of our slower direction."""
    streams = {name: coder.encode(message) for name, coder in coders.items()}
    for name, coder in coders.items():
        for piece, decoded in zip(message, coder.decode(streams[name], message), strict=True):
            np.testing.assert_array_equal(decoded, piece.symbols)
    calls = {}
    for name, coder in coders.items():
        calls[name, "encode"] = partial(coder.encode, message)
        calls[name, "decode"] = partial(coder.decode, streams[name], message)
    took = {call: 1e3 * one.cpu for call, one in best(calls, rounds).items()}
    ideal = ideal_bytes(tables, message)
    for name, stream in streams.items():
        print(
            f"{kind:12} | {name:10} | {took[name, 'encode']:9.2f} | {took[name, 'decode']:9.2f} | "
            f"{len(stream):6} | {len(stream) - ideal:5.1f} bytes, {len(stream) / ideal - 1:.3%}"
        )
    return max(took["ours", "encode"], took["ours", "decode"])


def main() -> None:
    repeat = options(__doc__, repeat=15).repeat
    tables = {name: table.numpy() for name, table in make_tables().items()}
    coders = {"ours": Ours(tables), "compressai": CompressAIs(tables)}
    print("symbols      | coder      | encode ms | decode ms |  bytes | above ideal")
    slowest = max(
        race(kind, pieces(*parameters), coders, tables, repeat)
        for kind, parameters in KINDS.items()
    )
    verdict("milliseconds each way", slowest, MOST_MILLISECONDS)


if __name__ == "__main__":
    main()
