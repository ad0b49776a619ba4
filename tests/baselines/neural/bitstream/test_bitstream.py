"""Streams, every field at its ends, every cut and flipped bit; maps of levels, exact and short."""

import re
import tracemalloc
from functools import partial
from itertools import chain, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from baselines.neural.bitstream import container, control_grid
from baselines.neural.bitstream.container import MAX_SIDE, MAX_TILE_PIXELS, Stream, Tiling
from baselines.neural.bitstream.control_grid import decode_levels, encode_levels, map_shape
from baselines.neural.crdr.model import BETA_GRID, Q_GRID, CRDRControlBlock, HeaderControls
from benchmark.errors import CorruptStream
from conftest import ROOT

KODAK = Stream(b"\x12\x34\x56\x78", 768, 512, HeaderControls(40, 96), (b"payload" * 500,))
pack = partial(container.pack, block=CRDRControlBlock())
unpack = partial(container.unpack, block=CRDRControlBlock())


def changed(stream: Stream, **changes: object) -> Stream:
    """Return the stream with changed fields, or changed q and beta."""
    controls = {name: changes.pop(name) for name in ("q", "beta") if name in changes}
    return stream._replace(controls=stream.controls._replace(**controls), **changes)


def signed(data: bytes) -> bytes:
    return data[:-2] + container.checksum(data[:-2])


def replace_bytes(start: int, replaced: int, new: bytes) -> bytes:
    """Return a Kodak stream with some bytes replaced, and a valid checksum."""
    data = pack(KODAK)
    return signed(data[:start] + new + data[start + replaced :])


@st.composite
def any_stream(draw: st.DrawFn) -> Stream:
    width, height = draw(st.integers(1, 2048)), draw(st.integers(1, 2048))
    steps = range(1, -(-max(width, height) // 64))
    tiling = None
    if steps and draw(st.booleans()):
        step = draw(st.sampled_from(steps)) * 64
        tiling = Tiling(step, 16 * draw(st.integers(0, min(step // 16, 255))))
    count = len(container.tiles(width, height, tiling))
    lengths = draw(st.lists(st.sampled_from([0, 1, 127, 128, 300]), min_size=1, max_size=5))
    payloads = tuple(bytes([i & 255]) * lengths[i % len(lengths)] for i in range(count))

    def control(highest: int) -> int | np.ndarray:
        if draw(st.booleans()):
            return draw(st.integers(0, highest))
        seed, levels = draw(st.integers(0, 99)), draw(st.integers(1, 16))
        return np.random.default_rng(seed).integers(0, levels, map_shape(width, height), np.uint8)

    identity, controls = draw(st.binary(min_size=4, max_size=4)), (control(64), control(128))
    return Stream(identity, width, height, HeaderControls(*controls), payloads, tiling)


@settings(max_examples=100)
@given(any_stream())
def test_what_is_packed_is_unpacked(stream):
    np.testing.assert_equal(unpack(pack(stream)), stream)


def test_a_photograph_pays_fifteen_bytes_and_a_tile_the_length_of_its_payload():
    for width, height in ((768, 512), (64, MAX_SIDE), (MAX_SIDE, 1)):
        assert len(pack(KODAK._replace(width=width, height=height))) - len(KODAK.payloads[0]) <= 15
    controls, payloads = HeaderControls(64, 128), (b"x" * 300,) * 32
    large = Stream(b"abcd", 16384, 8192, controls, payloads, Tiling(2048, 128))
    assert len(pack(large)) - 32 * 300 == 16 + 2 + 31 * 2
    with pytest.raises(ValueError, match=r"\d bytes"):
        pack(large._replace(payloads=(b"",) * 32))
    text = (ROOT / "docs" / "bitstream.md").read_text()
    example = bytes.fromhex(re.search(r"```hex\n(.+?)```", text, re.DOTALL)[1])
    stream = unpack(example)
    assert (stream.width, stream.height, stream.controls) == (768, 512, (40, 96))
    assert pack(stream) == example


@pytest.mark.parametrize("changes", [
    {"width": 1, "height": MAX_SIDE}, {"width": MAX_SIDE, "height": 1},
    {"width": MAX_TILE_PIXELS // 64, "height": 64}, {"payloads": (bytes(100_000),)},
    {"height": 512, "payloads": (b"a",) * 96, "tiling": Tiling(64, 0)},
    {"payloads": (b"a", b""), "tiling": Tiling(704, 704)},
    {"width": 16384, "payloads": (b"", b"\0"), "tiling": Tiling(255 * 64, 255 * 16)},
    {"width": MAX_SIDE, "height": 2048, "payloads": (b"x" * 250,) * 32, "tiling": Tiling(2048, 0)},
], ids=str)  # fmt: skip
def test_every_field_reaches_its_ends(changes):
    stream = changed(KODAK, **{"width": 768, "height": 256, **changes})
    np.testing.assert_equal(unpack(pack(stream)), stream)


@pytest.mark.parametrize(("width", "height", "tiling", "reason"), [
    (0, 512, None, "0 x 512"), (768, MAX_SIDE + 1, None, "768 x 65537"),
    (MAX_SIDE, 2049, None, "134217728"),
    (MAX_TILE_PIXELS // 512 + 1, 512, None, "8193 x 512"),
    (768, 512, Tiling(0, 0), "tiles of 0"), (768, 512, Tiling(100, 0), "tiles of 100"),
    (768, 512, Tiling(64 * 256, 0), " 64 "),
    (768, 512, Tiling(512, 8), "margin of 8"), (768, 512, Tiling(128, 144), "margin of 144"),
    (16384, 512, Tiling(8192, 4096), "margin of 4096"),
    (768, 512, Tiling(768, 0), "768 x 512"),
    (4096, 4096, Tiling(2112, 0), "2112 x 2112"),
])  # fmt: skip
def test_what_no_stream_can_hold_has_a_fault(width, height, tiling, reason):
    assert reason in container.size_fault(width, height, tiling)


MAP_HEADER = b"\x11" + bytes(4) + b"\x01\x01"  # of q, on an image of one pixel
TILED = pack(KODAK._replace(width=128, height=64, payloads=(b"1234", b""), tiling=Tiling(64, 0)))


@pytest.mark.parametrize(("data", "reason"), [
    (b"", "signature"), (b"C", "signature"), (b"C\xd2", "signature"),
    (b"CRDR" + bytes(60), "signature"), (replace_bytes(2, 1, b"\x00"), "version 0"),
    (replace_bytes(2, 1, b"\x20"), "version 2"), (replace_bytes(7, 2, b"\x00"), "0 x 512"),
    (replace_bytes(7, 2, b"\x80\x00"), "zero byte"),
    (replace_bytes(7, 2, b"\x81\x80\x04"), "65537 x 512"),
    (replace_bytes(7, 4, b"\x80\x80\x04\x81\x10"), "65536 x 2049"),
    (replace_bytes(7, 2, b"\xff" * 4 + b"\x7f"), "34359738367 x 512"),
    (replace_bytes(7, 2, b"\x80" * 5 + b"\x01"), "5 bytes"),
    (replace_bytes(7, 2, b"\x81\x40"), "8193 x 512"),
    (replace_bytes(11, 1, b"\x41"), "q .* 65"),
    (replace_bytes(12, 1, b"\x81"), "beta .* 129"),
    (replace_bytes(2, 9, MAP_HEADER + b"\x01\x10"), "level 16"),
    (replace_bytes(2, 9, MAP_HEADER + b"\xff\x7f"), "3502 .*16383"),
    (replace_bytes(2, 9, b"\x12" + bytes(4) + b"\x01\x01" + b"\x01\x00"), "map"),
    (replace_bytes(2, 1, b"\x14"), "7168 "),
    (signed(b"C\xd2\x10" + bytes(3) + b"??"), "3 .*4 "),
    (signed(pack(KODAK)[:11] + b"??"), "0 .*1 "),
    (signed(TILED.replace(b"\x041234", b"\x051234")), "4 .*5 "),
    (signed(TILED.replace(b"\x041234", b"\x7f1234")), "4 .*127 "),
    (signed(TILED.replace(b"\x041234", b"\x801234")), "bytes"),
])  # fmt: skip
def test_a_wrong_field_is_named(data, reason):
    with pytest.raises(CorruptStream, match=reason):
        unpack(data)


def test_a_stream_without_controls_is_two_bytes_shorter_and_has_no_flags_for_them():
    plain, block = KODAK._replace(controls=None), container.ControlBlock()
    data = container.pack(plain, block)
    assert len(data) == len(pack(KODAK)) - 2
    assert container.unpack(data, block) == plain
    for flags in (1, 2):
        with pytest.raises(CorruptStream, match="flag"):
            container.unpack(signed(data[:2] + bytes([0x10 | flags]) + data[3:]), block)
    with pytest.raises(CorruptStream, match=r"12345678.*00000000"):
        unpack(data, checkpoint=bytes(4))  # refused before the missing controls are read


def test_every_cut_every_appended_byte_and_every_flipped_bit_or_pair_is_noticed():
    q = np.arange(96, dtype=np.uint8).reshape(8, 12) % 16
    data = pack(changed(KODAK, q=q, payloads=(b"payload" * 9,)))
    cut = (data[:length] for length in range(len(data)))
    longer = (data + bytes([byte]) for byte in range(256))
    flips = (flip << bit for bit in range(8 * len(data) - 1) for flip in (1, 3))
    number = int.from_bytes(data, "big")
    flipped = ((number ^ flip).to_bytes(len(data), "big") for flip in flips)
    for damaged in chain(cut, longer, flipped):
        with pytest.raises(CorruptStream):
            unpack(damaged)


@pytest.mark.parametrize("claim", [
    b"\x10abcd" + b"\x80\x80\x04\x80\x10" + b"\0\0",
    b"\x10abcd" + b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\x7f" + b"\0\0",
    b"\x13abcd" + b"\x80\x80\x04\x80\x10" + b"\xff\xff\xff\xff\x7f",
    b"\x14abcd" + b"\x80\x80\x04\x80\x10" + b"\0\0\x01\x00" + b"\xff\xff\xff\xff\x7f" * 4,
    b"\x14abcd" + b"\x80\x80\x04\x80\x10" + b"\0\0\x01\x00" + b"\0" * 4,
])  # fmt: skip
def test_a_stream_that_claims_much_takes_little_memory(claim):
    data = signed(b"C\xd2" + claim + b"??")
    tracemalloc.start()
    try:
        with pytest.raises(CorruptStream):
            unpack(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


def test_tiles_cover_the_image_once():
    cases = ((200, 130, Tiling(64, 16)), (64, 1000, Tiling(128, 128)), (5, 7, None))
    for width, height, tiling in cases:
        covered = np.zeros((height, width), int)
        for x, y, across, down in container.tiles(width, height, tiling):
            assert 0 < across <= width - x
            assert 0 < down <= height - y
            covered[y : y + down, x : x + across] += 1
        assert (covered == 1).all()


@pytest.mark.parametrize("grid", [Q_GRID, BETA_GRID])
def test_a_value_goes_to_the_nearest_step_and_stays_there(grid):
    for value in np.linspace(0, grid.value(grid.last_step), 5001):
        step = grid.step(float(value))
        assert abs(grid.value(step) - value) <= 0.5 / grid.steps_per_unit + 1e-9
        assert grid.step(grid.value(step)) == step
    for wrong in (-0.001, grid.value(grid.last_step) + 0.001, float("nan")):
        with pytest.raises(ValueError, match=grid.name):
            grid.step(wrong)


class Reference:
    """A decoder of maps, written from docs/bitstream.md."""

    def __init__(self, data: bytes, rows: int, columns: int) -> None:
        self.bytes, self.state = list(data), 0
        self.counts: dict[tuple[str, int], list[int]] = {}
        self.fill()
        self.level = np.zeros((rows, columns), int)
        for y, x in np.ndindex(rows, columns):
            self.level[y, x] = self.next(y, x) if y or x else self.first()
        assert (self.state, self.bytes) == (0, [])

    def fill(self) -> None:
        while self.state < 2**24 and self.bytes:
            self.state = 256 * self.state + self.bytes.pop(0)

    def interval(self, zero: int) -> bool:
        place = self.state % 4096
        yes = place >= zero
        wide, begin = (4096 - zero, zero) if yes else (zero, 0)
        self.state = self.state // 4096 * wide + place - begin
        self.fill()
        return yes

    def decide(self, kind: str, which: int) -> bool:
        counts = self.counts.setdefault((kind, which), [1, 5 if kind == "foretold" else 1])
        yes = self.interval(4096 * counts[0] // sum(counts))
        counts[yes] += 2
        if sum(counts) > 254:
            counts[:] = ((count + 1) // 2 for count in counts)
        return yes

    def first(self) -> int:
        return sum(2**bit for bit in (3, 2, 1, 0) if self.interval(2048))

    def next(self, y: int, x: int) -> int:
        left_level = self.level[y, x - 1] if x else self.level[y - 1, x]
        up = self.level[y - 1, x] if y else left_level
        corner = self.level[y - 1, x - 1] if x and y else up
        if not x:
            left_level = corner = up
        activity = min(max(left_level, up, corner) - min(left_level, up, corner), 2)
        foretold = sorted((left_level, up, left_level + up - corner))[1]
        if self.decide("foretold", activity):
            return foretold
        is_a_neighbour = left_level != up and foretold in (left_level, up)
        if is_a_neighbour and self.decide("other", activity):
            return up if foretold == left_level else left_level
        is_higher = foretold == 0 if foretold in (0, 15) else self.decide("higher", activity)
        sign, distance = 1 if is_higher else -1, 1
        while 0 <= foretold + sign * (distance + 1) <= 15 and self.decide("further", distance):
            distance += 1
        return foretold + sign * distance


SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))


@settings(max_examples=100)
@given(st.integers(0, 15).flatmap(lambda n: arrays(np.uint8, SHAPES, elements=st.integers(0, n))))
def test_what_is_encoded_is_decoded_also_by_the_reference(levels):
    data = encode_levels(levels)
    decoded = decode_levels(data, *levels.shape)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, levels)
    if len(data) > 1:
        np.testing.assert_array_equal(Reference(data, *levels.shape).level, levels)


ROWS, COLUMNS = np.mgrid[0:32, 0:32]
DISTANCE = np.hypot(ROWS - 15, COLUMNS - 12)
SMOOTH = np.rint(15 * np.exp(-(DISTANCE**2) / 100)).astype(np.uint8)


def bits_per_block(levels: np.ndarray) -> float:
    data = encode_levels(levels.astype(np.uint8))
    np.testing.assert_array_equal(decode_levels(data, *levels.shape), levels)
    return 8 * len(data) / levels.size


def test_a_constant_map_is_one_byte_and_others_cost_what_they_say():
    for level, shape in product(range(16), [(1, 1), (8, 12), (1, 1024), (181, 181)]):
        data = encode_levels(np.full(shape, level, np.uint8))
        assert data == bytes([level])
        assert (decode_levels(data, *shape) == level).all()
    assert encode_levels(np.uint8([[0, 1]])) == b"\0\0"
    assert decode_levels(b"\0\0", 1, 2).tolist() == [[0, 1]]
    assert bits_per_block(np.where(DISTANCE < 8, 12, 2)) < 0.2
    assert bits_per_block(COLUMNS // 2) < 0.2
    assert bits_per_block(SMOOTH) < 1.2
    assert 4 <= bits_per_block(np.random.default_rng(0).integers(0, 16, (32, 32))) < 4.6


@pytest.mark.parametrize(("data", "side", "reason"), [
    (encode_levels(SMOOTH) + bytes(9), 32, "bytes"), (b"\xff\xff", 1, "bytes"),
    (b"", 3, "empty"), (b"\x10", 3, "level 16"), (b"\xff", 3, "level 255"),
    (b"\0\x12\x34", 3, "zero"),
])  # fmt: skip
def test_bytes_that_are_no_map_are_refused(data, side, reason):
    with pytest.raises(CorruptStream, match=reason):
        decode_levels(data, side, side)


def test_levels_stand_for_sixteenths_the_nearest_is_chosen_and_a_map_covers_every_block():
    levels = np.arange(16, dtype=np.uint8)[None]
    q, beta = (
        [grid.value(int(step)) for step in control_grid.level_steps(levels, grid.last_step)[0]]
        for grid in (Q_GRID, BETA_GRID)
    )
    assert q == [k / 4 for k in range(15)] + [4.0]
    assert beta == pytest.approx([0.32 * k for k in range(15)] + [5.12], abs=1e-12)
    assert {0.0, 2.56, 3.84, 5.12} < set(beta)
    fractions = np.linspace(0, 1, 977)[None]
    values = np.array([*range(15), 16]) / 16
    result = control_grid.nearest_levels(fractions)
    assert result.dtype == np.uint8
    error = np.abs(values[result] - fractions)
    np.testing.assert_array_equal(error, np.abs(fractions[..., None] - values).min(axis=-1))
    assert control_grid.nearest_levels(np.array([[1, 3, 27, 30]]) / 32).tolist() == [[0, 1, 13, 14]]
    shapes = {(1, 1): (1, 1), (64, 65): (2, 1), (768, 512): (8, 12)}
    assert {size: map_shape(*size) for size in shapes} == shapes
