"""Streams that were tampered with, two thousand at a time, with and without their checksum."""

import random
import tracemalloc
from functools import partial

import numpy as np
import pytest

from baselines.neural.bitstream import container
from baselines.neural.bitstream.container import (
    MAX_PIXELS,
    Stream,
    Tiling,
    checksum,
    tiles,
)
from baselines.neural.bitstream.level_map import map_shape
from baselines.neural.crdr.coder import CRDRControlBlock, HeaderControls
from baselines.neural.entropy.coder import Decoder, Distributions, Encoder
from benchmark.errors import CorruptStream
from support.faults.ledger import mutated

pack = partial(container.pack, block=CRDRControlBlock())
unpack = partial(container.unpack, block=CRDRControlBlock())
# A codec in little: z tells the distributions of the first slice, each slice those of the next.
ROWS = Distributions(
    np.array([[0, 65000, 65536, 0, 0, 0], [0, 9000, 50000, 60000, 65000, 65536]]),
    np.array([3, 6]),
    np.array([0, -1]),
)
SLICES = 4


def rows_after(symbols: np.ndarray) -> np.ndarray:
    return (symbols & 1).astype(np.uint8)


def encode_tile(seed: int, width: int, height: int) -> bytes:
    generator = np.random.default_rng(seed)
    encoder, indices = Encoder(), np.ones((-(-height // 8), -(-width // 8)), np.uint8)
    for _ in range(SLICES):
        symbols = np.rint(generator.standard_normal(indices.shape) * 1.3).astype(np.int32)
        encoder.add(symbols, ROWS, indices)
        indices = rows_after(symbols)
    return encoder.finish()


def decode_all(data: bytes, most_pixels: int) -> int:
    """Number of symbols; an honest decoder would continue with the image, in memory of its size."""
    stream = unpack(data)
    if stream.width * stream.height > most_pixels:
        return 0
    count = 0
    pieces = tiles(stream.width, stream.height, stream.tiling)
    for tile, payload in zip(pieces, stream.payloads, strict=True):
        decoder = Decoder(payload)
        indices = np.ones((-(-tile.height // 8), -(-tile.width // 8)), np.uint8)
        for _ in range(SLICES):
            symbols = decoder.take(ROWS, indices)
            count += symbols.size
            indices = rows_after(symbols)
        decoder.finish()
    return count


def real_streams() -> list[bytes]:
    generator = np.random.default_rng(0)
    streams = []
    for i in range(8):
        width, height = (int(side) for side in generator.integers(65, 300, 2))
        tiling = Tiling(64, 16) if i % 2 else None
        pieces = tiles(width, height, tiling)
        payloads = tuple(encode_tile(i + k, p.width, p.height) for k, p in enumerate(pieces))
        levels = generator.integers(0, 3, map_shape(width, height)).astype(np.uint8)
        q, beta = (levels if i % 4 == 0 else 17), (levels if i % 3 == 0 else 96)
        streams.append(
            pack(Stream(b"abcd", width, height, HeaderControls(q, beta), payloads, tiling))
        )
    return streams


def test_of_two_thousand_mutated_streams_none_passes_and_none_passes_unharmed_with_a_checksum():
    streams, chance = real_streams(), random.Random(0)
    for stream in streams:
        assert decode_all(stream, MAX_PIXELS) > 0
    noticed = 0
    for i in range(2000):
        original = streams[i % len(streams)]
        altered = mutated(original, chance)
        if altered == original:
            continue
        with pytest.raises(CorruptStream):
            unpack(altered)
        noticed += 1
    assert noticed > 1900


def test_two_thousand_mutated_streams_with_checksums_that_fit_stay_within_bounds():
    streams, chance = real_streams(), random.Random(1)
    passed = refused = 0
    tracemalloc.start()
    try:
        for i in range(2000):
            altered = mutated(streams[i % len(streams)], chance)
            altered += checksum(altered)
            try:
                passed += decode_all(altered, 1 << 20) > 0
            except CorruptStream:
                refused += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused > 1500
    assert peak < 20_000_000
