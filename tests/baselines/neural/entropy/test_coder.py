"""The entropy coder: decoders in plain Python read its bytes, and one writes the same."""

import math
import tracemalloc
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baselines.neural.entropy import ans, coder
from baselines.neural.entropy.coder import Distributions, SymbolDecoder, SymbolEncoder
from benchmark.errors import CorruptStream, Unavailable
from support.entropy.reference_coder import Reference, Table, distributions, encode
from support.metrics.cases import in_new_python
from support.networks.streams import STREAMS

SCALES = np.exp(np.linspace(math.log(0.11), math.log(256), 64))


@pytest.fixture(scope="module")
def gaussians():
    """Tables of 64 Gaussian scales, good enough for the tests: no decoder reads them."""
    tables = []
    for scale in SCALES:
        reach = math.ceil(4.5 * scale)
        edges = (np.arange(-reach, reach + 2) - 0.5) / scale / math.sqrt(2)
        masses = np.diff([math.erf(edge) for edge in edges]) / 2
        counts = 1 + np.floor(masses * (65536 - len(masses) - 1)).astype(int)
        tables.append((-reach, [*counts.tolist(), 65536 - int(counts.sum())]))
    return tables, distributions(tables)


def photograph(busy: float, shape: tuple[int, ...]):
    """Indices of a share `busy` above 0, and symbols that follow them."""
    generator = np.random.default_rng(0)
    spread = np.minimum(np.floor(generator.exponential(10, shape)), 63)
    indices = (spread * (generator.random(shape) < busy)).astype(np.uint8)
    return indices, np.rint(generator.standard_normal(shape) * SCALES[indices]).astype(np.int32)


@st.composite
def any_table(draw: st.DrawFn) -> Table:
    cuts = draw(st.sets(st.integers(1, 65535), min_size=1, max_size=40))
    first = draw(st.integers(-32768, 32768 - len(cuts)))
    return first, [b - a for a, b in pairwise([0, *sorted(cuts), 65536])]


@st.composite
def any_message(draw: st.DrawFn) -> tuple[list[Table], list[list[tuple[int, int]]]]:
    """Tables, and pieces of (row, symbol), near the row's symbols or anywhere."""
    tables = draw(st.lists(any_table(), min_size=1, max_size=6))
    rows = st.integers(0, len(tables) - 1)
    triple = st.tuples(rows, st.integers(-50, 50), st.integers(-32768, 32767))
    pieces, anywhere = draw(st.lists(st.lists(triple), max_size=4)), draw(st.booleans())

    def pair(row: int, distance: int, symbol: int) -> tuple[int, int]:
        return row, symbol if anywhere else min(max(tables[row][0] + distance, -32768), 32767)

    return tables, [[pair(*values) for values in piece] for piece in pieces]


@settings(max_examples=75)
@given(any_message())
def test_what_is_added_in_pieces_is_taken_in_pieces_also_by_the_reference(message):
    tables, pieces = message
    rows = distributions(tables)
    pairs = [np.array(piece, np.int32).reshape(-1, 2) for piece in pieces]
    arrays = [(pair[:, 0].astype(np.uint8), pair[:, 1]) for pair in pairs]
    data = encode(*((symbols, rows, indices) for indices, symbols in arrays))
    decoder, reference = SymbolDecoder(data), Reference(data)
    for indices, symbols in arrays:
        decoded = decoder.take(rows, indices)
        assert decoded.dtype == np.int16
        assert decoded.tolist() == symbols.tolist()
        assert reference.piece(tables, indices.tolist()) == symbols.tolist()
    decoder.finish()
    assert (reference.state, reference.words) == (1 << 23, [])


def ideal_bytes(tables: list[Table], indices: np.ndarray, symbols: np.ndarray) -> float:
    """-log2 of each symbol's probability; escapes as Exp-Golomb codes of whole bits."""
    bits = 0.0
    for row, symbol in zip(indices.ravel().tolist(), symbols.ravel().tolist(), strict=True):
        first, frequencies = tables[row]
        entry, escape = symbol - first, len(frequencies) - 1
        beyond = entry - escape if entry >= 0 else -1 - entry
        inside = 0 <= entry < escape
        bits += 16 - math.log2(frequencies[entry if inside else escape])
        bits += 0 if inside else 2 * ((2 * beyond + (entry < 0)) + 1).bit_length() - 1
    return bits / 8


@pytest.mark.parametrize("busy", [0.02, 0.3, 1.0])
def test_the_length_is_the_entropy_within_a_thousandth_and_four_bytes(gaussians, busy):
    tables, rows = gaussians
    indices, symbols = photograph(busy, (10, 6144))
    encoder = SymbolEncoder()
    for i, s in zip(indices, symbols, strict=True):
        encoder.add(s, rows, i)
    ideal = ideal_bytes(tables, indices, symbols)
    assert encoder.ideal_bits() / 8 == pytest.approx(ideal, rel=1e-4)
    assert ideal <= len(encoder.finish()) <= 1.001 * ideal + 4
    one_by_one = SymbolEncoder()
    one_by_one.add_each(np.array([0, 1]), np.array([[1 << 22, 3 << 22], [(1 << 24) - 1, 1]]))
    assert one_by_one.ideal_bits() == 2 + 24


def test_every_symbol_can_be_coded_with_every_table_narrow_wide_or_of_many_rows():
    rows = distributions([(0, [65535, 1]), (-32768, [1, 65535]), (32767, [30000, 35536])])
    symbols, row_0 = np.arange(-32768, 32768), np.zeros(65536, int)
    for row in range(3):
        decoder = SymbolDecoder(encode((symbols, rows, row_0 + row)))
        np.testing.assert_array_equal(decoder.take(rows, row_0 + row), symbols)
        decoder.finish()
    widest = distributions([(-32768, [1] * 65536)])
    data = encode((symbols[::-1], widest, row_0))
    assert len(data) <= 65536 * 2 + 4 + 8  # 16 bits each; the one escape has 33 more
    np.testing.assert_array_equal(SymbolDecoder(data).take(widest, row_0), symbols[::-1])
    many = distributions([(i, [60000, 5536]) for i in range(300)])
    indices = np.arange(300)[::-1].repeat(2)
    data = encode((indices, many, indices))
    assert SymbolDecoder(data).take(many, indices).tolist() == indices.tolist()
    assert len(data) < 600 * math.log2(65536 / 60000) / 8 + 4  # every one the likely symbol


def test_the_bytes_are_the_same_wherever_they_are_made():
    # Computed from integers alone, so that only the coder can change the bytes.
    rows = distributions([(-2 * k, [1] * (4 * k) + [65536 - 4 * k]) for k in range(1, 65)])
    numbers = np.arange(20000)
    data = encode((numbers * numbers % 401 - 200, rows, numbers * 7919 % 64))
    assert sha256(data).hexdigest()[:16] == "e5aa549a157671f8"
    row = distributions([(-1, [1000, 60000, 4000, 536])])
    assert encode((np.array([0, 1, -1, 0, 99]), row, np.zeros(5, int))).hex() == "9a37e537c5f700"
    assert encode((np.zeros(0, int), row, np.zeros(0, int))).hex() == "800000"


@pytest.mark.parametrize("index", [64, 255, -1, 1000])
def test_an_index_without_a_row_is_refused(gaussians, index):
    indices = np.array([3, index])
    with pytest.raises(ValueError, match=r"0\.\.63"):
        SymbolEncoder().add(np.array([0, 0]), gaussians[1], indices)
    with pytest.raises(ValueError, match=r"0\.\.63"):
        SymbolDecoder(b"\x80\0\0").take(gaussians[1], indices)


@pytest.mark.parametrize(("cdf", "length", "first", "reason"), [
    ([[0, 40000, 65535, 0]], [3], [0], "65536"),
    ([[1, 40000, 65536, 0]], [3], [0], "65536"),
    ([[0, 40000, 40000, 65536]], [4], [0], "strictly"),
    ([[0, 50000, 40000, 65536]], [4], [0], "strictly"), ([[0, 65536]], [2], [0], "symbol"),
    ([[0, 3, 65536]], [4], [0], "row"), ([[0, 3, 65536]], [3], [32768], "16 bits"),
    ([[0, 3, 65536]], [3], [-32769], "16 bits"), ([[0, 3, 65536]], [3, 3], [0], "shapes"),
    ([0, 3, 65536], [3], [0], "shapes"), (np.zeros((0, 3)), [], [], "symbol"),
])  # fmt: skip
def test_invalid_distributions_are_refused(cdf, length, first, reason):
    with pytest.raises(ValueError, match=reason):
        Distributions(np.array(cdf, int), np.array(length, int), np.array(first, int))


def test_symbols_with_one_distribution_each_are_read_by_the_reference(gaussians):
    tables, rows = gaussians
    random = np.random.default_rng(3)  # some are as uneven as they can be, 2^24 in each row
    frequencies = 1 + random.integers(0, 1 << random.integers(1, 15, (40, 1)), (40, 9))
    frequencies[np.arange(40), random.integers(0, 9, 40)] += (1 << 24) - frequencies.sum(1)
    symbols = random.integers(0, 9, 40)
    table_symbols, indices = random.integers(-3, 4, 11), random.integers(0, len(tables), 11)
    encoder = SymbolEncoder()
    encoder.add_each(symbols[:15], frequencies[:15])
    encoder.add(table_symbols, rows, indices)
    encoder.add_each(symbols[15:], frequencies[15:])
    data = encoder.finish()
    decoder = SymbolDecoder(data)
    assert decoder.take_each(frequencies[:15]).tolist() == symbols[:15].tolist()
    assert decoder.take(rows, indices).tolist() == table_symbols.tolist()
    assert decoder.take_each(frequencies[15:]).tolist() == symbols[15:].tolist()
    decoder.finish()
    reference = Reference(data)
    read = [reference.one(row, 24) for row in frequencies[:15].tolist()]
    assert reference.piece(tables, indices.tolist()) == table_symbols.tolist()
    read += [reference.one(row, 24) for row in frequencies[15:].tolist()]
    assert read == symbols.tolist()
    ideal = -np.log2(frequencies[np.arange(40), symbols] / 2**24).sum()
    encoder = SymbolEncoder()
    encoder.add_each(symbols, frequencies)
    assert ideal <= 8 * len(encoder.finish()) <= ideal + 40


def test_a_coder_with_other_arithmetic_is_refused(monkeypatch):
    original = coder.Categorical
    coder._require_exact_coder.cache_clear()
    monkeypatch.setattr(coder, "Categorical", lambda p, **options: original(p + 40.0, **options))
    with pytest.raises(Unavailable, match="constriction"):
        distributions([(0, [30000, 35536])])
    monkeypatch.undo()
    coder._require_exact_coder.cache_clear()
    distributions([(0, [30000, 35536])])


def test_cuts_appended_bytes_and_all_but_a_few_of_the_last_flipped_bits_are_noticed(gaussians):
    rows, (indices, symbols) = gaussians[1], photograph(0.5, (2, 600))
    data = encode(*((s, rows, i) for i, s in zip(indices, symbols, strict=True)))

    def decode(data: bytes) -> list[list[int]]:
        decoder = SymbolDecoder(data)
        decoded = [decoder.take(rows, piece).tolist() for piece in indices]
        decoder.finish()
        return decoded

    assert decode(data) == symbols.tolist()
    damaged = [data[:length] for length in range(len(data))]
    damaged += [data[start:] for start in range(1, len(data))]
    damaged += [data + bytes([byte]) for byte in range(256)]
    for broken in damaged:
        with pytest.raises(CorruptStream):
            decode(broken)
    with pytest.raises(CorruptStream, match="symbols"):
        SymbolDecoder(data[-40:]).take(rows, indices[0])
    number, unnoticed = int.from_bytes(data, "big"), []
    for bit in range(8 * len(data)):
        with suppress(CorruptStream):
            unnoticed.append(decode((number ^ 1 << bit).to_bytes(len(data), "big")))
    assert len(unnoticed) <= 0.01 * 8 * len(data)
    assert symbols.tolist() not in unnoticed


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.integers(0, 63))
def test_any_bytes_give_symbols_of_16_bits_or_a_corrupt_stream(gaussians, data, row):
    try:
        symbols = SymbolDecoder(data).take(gaussians[1], np.full((4, 50), row, np.uint8))
    except CorruptStream:
        return
    assert symbols.shape == (4, 50)
    assert Reference(data).piece(gaussians[0], [row] * 200) == symbols.ravel().tolist()


def test_an_escape_to_more_than_16_bits_is_noticed():
    rows = distributions([(first, [1, 65535]) for first in (0, 30000, -30000)])
    for symbol, row in ((32767, 1), (-32768, 2)):
        data = encode((np.array([symbol]), rows, np.array([0])))
        with pytest.raises(CorruptStream, match="16 bits"):
            SymbolDecoder(data).take(rows, np.array([row]))


def test_memory_follows_the_symbols_and_not_the_bytes_claims(gaussians):
    indices = np.zeros((100, 1000), np.uint8)
    tracemalloc.start()
    try:
        for data in (b"\x80\0\0", b"\xff" * 1000, b"\x01" + bytes(1000)):
            with suppress(CorruptStream):
                SymbolDecoder(data).take(gaussians[1], indices)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * indices.size


CACHED = (coder._row_model, coder._class_model, coder._uniform, coder._require_exact_coder)


@contextmanager
def code_in_python():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AnsCoder", "Categorical", "Uniform"):
            patch.setattr(coder, name, getattr(ans, name))
        for function in CACHED:
            function.cache_clear()
        yield
    for function in CACHED:
        function.cache_clear()


def coded(message, frequencies: np.ndarray) -> bytes:
    """Return the bytes of a message, from which it was decoded again."""
    tables, pieces = message
    numbers, rows = np.arange(len(frequencies)) % 4, distributions(tables)
    indices, symbols = np.array([*chain(*pieces)], np.int32).reshape(-1, 2).T
    encoder = SymbolEncoder()
    encoder.add(symbols, rows, indices)
    encoder.add_each(numbers, frequencies)
    decoder = SymbolDecoder(data := encoder.finish())
    assert decoder.take(rows, indices).tolist() == symbols.tolist()
    assert decoder.take_each(frequencies).tolist() == numbers.tolist()
    decoder.finish()
    return data


@settings(max_examples=100, deadline=None)
@given(any_message(), st.lists(st.integers(1, 2**24 - 3), max_size=9))
def test_both_coders_write_the_same_bytes(message, skewed):
    pytest.importorskip("constriction")
    frequencies = np.array([[1, n, 2**24 - n - 2, 1] for n in skewed]).reshape(-1, 4)
    expected = coded(message, frequencies)
    with code_in_python():
        assert coded(message, frequencies) == expected


@pytest.mark.slow
def test_bundled_networks_code_the_same_without_constriction():
    block = 'import sys; sys.modules["constriction"] = None'
    assert in_new_python(block + STREAMS) == in_new_python(STREAMS)
