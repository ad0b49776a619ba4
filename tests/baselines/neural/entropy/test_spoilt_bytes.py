"""Bytes of the entropy coder that are cut, flipped or made up."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baselines.neural.entropy.coder import Decoder, Distributions
from benchmark.errors import CorruptStream
from support.entropy.reference_coder import Reference, distributions, encode, photograph


@pytest.fixture(scope="module")
def stream(gaussians):
    indices, symbols = photograph(gaussians[0], 0.5, (2, 600))
    data = encode(*((s, gaussians[1], i) for i, s in zip(indices, symbols, strict=True)))
    return data, indices, symbols


def decode(data: bytes, rows: Distributions, indices: np.ndarray) -> np.ndarray:
    decoder = Decoder(data)
    symbols = np.stack([decoder.take(rows, piece) for piece in indices])
    decoder.finish()
    return symbols


def test_every_cut_and_every_appended_byte_is_noticed(gaussians, stream):
    data, indices, symbols = stream
    assert (decode(data, gaussians[1], indices) == symbols).all()
    damaged = [data[:length] for length in range(len(data))]
    damaged += [data[start:] for start in range(1, len(data))]
    damaged += [data + bytes([more]) for more in range(256)]
    for broken in damaged:
        with pytest.raises(CorruptStream):
            decode(broken, gaussians[1], indices)


def test_a_flipped_bit_is_noticed_at_the_end_but_for_a_few_of_the_last(gaussians, stream):
    data, indices, symbols = stream
    unnoticed = []
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            decoded = decode(bytes(broken), gaussians[1], indices)
        except CorruptStream:
            continue
        unnoticed.append(bit)
        assert not (decoded == symbols).all()
    assert len(unnoticed) <= 0.01 * 8 * len(data)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.integers(0, 63))
def test_any_bytes_give_symbols_of_16_bits_or_a_corrupt_stream(gaussians, data, row):
    try:
        decoder = Decoder(data)
        symbols = decoder.take(gaussians[1], np.full((4, 50), row, np.uint8))
    except CorruptStream:
        return
    assert symbols.shape == (4, 50)
    reference = Reference(data)
    assert reference.piece(gaussians[0], [row] * 200) == symbols.ravel().tolist()


def test_an_escape_to_more_than_16_bits_is_noticed():
    rows = distributions([(first, [1, 65535]) for first in (0, 30000, -30000)])
    for symbol, row in ((32767, 1), (-32768, 2)):
        data = encode((np.array([symbol]), rows, np.array([0])))
        with pytest.raises(CorruptStream, match="16 bits"):
            Decoder(data).take(rows, np.array([row]))


def test_memory_follows_the_symbols_and_not_the_bytes_claims(gaussians):
    indices = np.zeros((100, 1000), np.uint8)
    tracemalloc.start()
    try:
        for data in (b"\x80\0\0", b"\xff" * 1000, b"\x01" + bytes(1000)):
            Decoder(data).take(gaussians[1], indices)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * indices.size
