"""Maps of levels: exact, short if they are smooth, harmless if they are damaged."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from baselines.neural.bitstream.control_grid import (
    decode_levels,
    encode_levels,
    level_steps,
    map_shape,
    nearest_levels,
)
from baselines.neural.crdr.model import BETA_GRID, Q_GRID
from benchmark.errors import CorruptStream

SHAPES = st.tuples(st.integers(1, 14), st.integers(1, 14))
ANY_MAP = st.integers(0, 15).flatmap(
    lambda highest: arrays(np.uint8, SHAPES, elements=st.integers(0, highest))
)
ROWS, COLUMNS = np.mgrid[0:32, 0:32]
DISTANCE = np.hypot(ROWS - 15, COLUMNS - 12)


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
        unrest = min(max(left_level, up, corner) - min(left_level, up, corner), 2)
        foretold = sorted((left_level, up, left_level + up - corner))[1]
        if self.decide("foretold", unrest):
            return foretold
        if left_level != up and foretold in (left_level, up):
            alternative = up if foretold == left_level else left_level
            if self.decide("other", unrest):
                return alternative
        if foretold in (0, 15):
            sign = 1 if foretold == 0 else -1
        else:
            sign = 1 if self.decide("higher", unrest) else -1
        distance = 1
        while 0 <= foretold + sign * (distance + 1) <= 15 and self.decide("further", distance):
            distance += 1
        return foretold + sign * distance


def bits_per_block(levels: np.ndarray) -> float:
    levels = levels.astype(np.uint8)
    data = encode_levels(levels)
    np.testing.assert_array_equal(decode_levels(data, *levels.shape), levels)
    return 8 * len(data) / levels.size


@settings(max_examples=200)
@given(ANY_MAP)
def test_what_is_encoded_is_decoded_also_by_the_reference(levels):
    data = encode_levels(levels)
    decoded = decode_levels(data, *levels.shape)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, levels)
    if len(data) > 1:
        np.testing.assert_array_equal(Reference(data, *levels.shape).level, levels)


def test_a_constant_map_is_one_byte_and_one_that_needs_no_bits_two():
    for level, shape in product(range(16), [(1, 1), (8, 12), (1, 1024), (181, 181)]):
        data = encode_levels(np.full(shape, level, np.uint8))
        assert data == bytes([level])
        assert (decode_levels(data, *shape) == level).all()
    assert encode_levels(np.uint8([[0, 1]])) == b"\0\0"
    assert decode_levels(b"\0\0", 1, 2).tolist() == [[0, 1]]


def test_smooth_maps_cost_little_and_noise_hardly_more_than_its_four_bits():
    noise = np.random.default_rng(0).integers(0, 16, (32, 32))
    assert bits_per_block(np.where(DISTANCE < 8, 12, 2)) < 0.2
    assert bits_per_block(COLUMNS // 2) < 0.2
    assert bits_per_block(SMOOTH) < 1.2
    assert 4 <= bits_per_block(noise) < 4.6


SMOOTH = np.rint(15 * np.exp(-(DISTANCE**2) / 100)).astype(np.uint8)


@pytest.mark.parametrize(
    ("data", "side", "reason"),
    [
        (encode_levels(SMOOTH) + bytes(9), 32, "does not end"),
        (b"\xff\xff", 1, "does not end"),
        (b"", 3, "empty"),
        (b"\x10", 3, "level 16"),
        (b"\xff", 3, "level 255"),
        (b"\0\x12\x34", 3, "zero byte"),
    ],
)
def test_bytes_that_are_no_map_are_refused(data, side, reason):
    with pytest.raises(CorruptStream, match=reason):
        decode_levels(data, side, side)


def test_levels_stand_for_sixteenths_of_the_range_and_the_last_for_all_of_it():
    levels = np.arange(16, dtype=np.uint8)[None]
    q = [Q_GRID.value(int(step)) for step in level_steps(levels, Q_GRID.last_step)[0]]
    beta = [BETA_GRID.value(int(step)) for step in level_steps(levels, BETA_GRID.last_step)[0]]
    assert q == [k / 4 for k in range(15)] + [4.0]
    assert beta == pytest.approx([0.32 * k for k in range(15)] + [5.12], abs=1e-12)
    assert {0.0, 2.56, 3.84, 5.12} < set(beta)


def test_the_nearest_level_is_the_nearest():
    fractions = np.linspace(0, 1, 977)[None]
    values = np.array([*range(15), 16]) / 16
    result = nearest_levels(fractions)
    assert result.dtype == np.uint8
    error = np.abs(values[result] - fractions)
    np.testing.assert_array_equal(error, np.abs(fractions[..., None] - values).min(axis=-1))
    assert nearest_levels(np.array([[1, 3, 27, 30]]) / 32).tolist() == [[0, 1, 13, 14]]


def test_a_map_covers_every_block_begun():
    shapes = {(1, 1): (1, 1), (64, 65): (2, 1), (768, 512): (8, 12)}
    assert {size: map_shape(*size) for size in shapes} == shapes
