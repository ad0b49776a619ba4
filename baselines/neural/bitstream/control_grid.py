"""A control as a header holds it: a step of a grid, or a map of 16 levels for each block.

Level k means k / 16 of the controlled range, 15 for all of it; a block is of 64 x 64 pixels. A
constant map is a byte, its level. Any other is coded block by block as binary decisions (whether it
equals its prediction from neighbours, and how far it is off) with adaptive probabilities, by
asymmetric numeral systems in integers (docs/bitstream.md).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.neural.bitstream.container import ByteReader, ControlBlock, varint
from benchmark.codec import Pixels
from benchmark.errors import CorruptStream

LEVELS = 16
HIGHEST = LEVELS - 1
BLOCK = 64  # pixels
WHITE = 255
FEWEST_BYTES = 2  # of a map that is not constant
PRECISION = 12  # of a probability, in bits
STATE_BITS = 32
COUNT_LIMIT = 254  # of a decision's two counts together; beyond it they are halved
# Kinds of decisions; a context is the kind plus a number from neighbours or earlier decisions.
AS_PREDICTED, AS_THE_OTHER, HIGHER, FURTHER = 0, 3, 6, 9
CONTEXTS = 9 + LEVELS
EVEN, LIKELY = (1, 1), (1, 5)  # counts to begin with, of no and of yes

LevelMap = NDArray[np.uint8]  # (rows, columns), 0..15
Decide = Callable[[int | None, bool], bool]


def map_shape(width: int, height: int) -> tuple[int, int]:
    """Return rows and columns of the map of an image, its sides in pixels."""
    return -(-height // BLOCK), -(-width // BLOCK)


def level_steps(levels: LevelMap, highest: int) -> NDArray[np.int64]:
    """Convert levels to steps of a grid whose last step is `highest`, a multiple of 16."""
    sixteenths = levels.astype(np.int64) + (levels == HIGHEST)
    return sixteenths * np.int64(highest // LEVELS)


def nearest_levels(fractions: NDArray[np.floating[Any]]) -> LevelMap:
    """Convert fractions of the range, 0 to 1, to levels, ties to the lower."""
    values = level_steps(np.arange(LEVELS, dtype=np.uint8), LEVELS) / LEVELS
    return np.searchsorted((values[1:] + values[:-1]) / 2, fractions).astype(np.uint8)


def encode_levels(levels: LevelMap) -> bytes:
    """Return a map's bytes: 1 if all levels are equal, else at least 2."""
    if bool((levels == levels[0, 0]).all()):
        return bytes([int(levels[0, 0])])
    decisions = _Recorder()
    _walk(levels.tolist(), decisions)
    return decisions.finish().rjust(FEWEST_BYTES, b"\0")


def decode_levels(data: bytes, rows: int, columns: int) -> LevelMap:
    """Return the map that `encode_levels` was given; raises `CorruptStream` for other bytes."""
    if not data:
        raise CorruptStream("a map of levels is empty")
    if len(data) < FEWEST_BYTES:
        if data[0] > HIGHEST:
            raise CorruptStream(f"a map is all of level {data[0]}, the highest is {HIGHEST}")
        return np.full((rows, columns), data[0], np.uint8)
    if len(data) > FEWEST_BYTES and data[0] == 0:
        raise CorruptStream("a map of levels begins with a zero byte")
    levels = [[0] * columns for _ in range(rows)]
    decisions = _Reader(data)
    _walk(levels, decisions)
    decisions.finish()
    return np.array(levels, np.uint8)


def _walk(levels: list[list[int]], decide: Decide) -> None:
    """Pass each level, row by row, through `decide`, which records it or replaces it."""
    for y, row in enumerate(levels):
        above = levels[y - 1] if y else None
        for x, level in enumerate(row):
            if above is None and x == 0:
                row[0] = sum(decide(None, bool(level >> bit & 1)) << bit for bit in (3, 2, 1, 0))
                continue
            # At the edges the only neighbour replaces the missing ones.
            left = row[x - 1] if x else above[0]  # type: ignore[index]
            up = above[x] if above else left
            corner = above[x - 1] if above and x else up
            row[x] = _level(level, left, up, corner, decide)


def _level(level: int, left: int, up: int, corner: int, decide: Decide) -> int:
    low, high = min(left, up), max(left, up)
    predicted = min(max(left + up - corner, low), high)
    unrest = min(max(high, corner) - min(low, corner), 2)
    if decide(AS_PREDICTED + unrest, level == predicted):
        return predicted
    if low != high and predicted in (low, high):
        other = low + high - predicted
        if decide(AS_THE_OTHER + unrest, level == other):
            return other
    higher = predicted == 0 or (predicted < HIGHEST and decide(HIGHER + unrest, level > predicted))
    farthest = HIGHEST - predicted if higher else predicted
    distance = 1
    while distance < farthest and decide(FURTHER + distance, abs(level - predicted) > distance):
        distance += 1
    return predicted + distance if higher else predicted - distance


class _Counts:
    """Adaptive probabilities of decisions, from doubled counts of no and yes by context."""

    def __init__(self) -> None:
        self._counts = [
            list(LIKELY if context < AS_THE_OTHER else EVEN) for context in range(CONTEXTS)
        ]

    def no(self, context: int | None) -> int:
        """Return the probability of no in units of 2^-12, 1..4095; 1/2 without a context."""
        if context is None:
            return 1 << PRECISION - 1
        no, yes = self._counts[context]
        return (no << PRECISION) // (no + yes)

    def add(self, context: int | None, *, yes: bool) -> None:
        if context is not None:
            counts = self._counts[context]
            counts[yes] += 2
            if sum(counts) > COUNT_LIMIT:
                counts[:] = [count + 1 >> 1 for count in counts]


class _Recorder(_Counts):
    def __init__(self) -> None:
        super().__init__()
        self._intervals: list[tuple[int, int]] = []  # begin and width, in units of 2^-12

    def __call__(self, context: int | None, truth: bool) -> bool:
        no = self.no(context)
        self.add(context, yes=truth)
        self._intervals.append((no, (1 << PRECISION) - no) if truth else (0, no))
        return truth

    def finish(self) -> bytes:
        state, out = 0, bytearray()
        for begin, width in reversed(self._intervals):
            while state >> (STATE_BITS - PRECISION) >= width:
                out.append(state & 0xFF)
                state >>= 8
            state = (state // width << PRECISION) + begin + state % width
        while state:
            out.append(state & 0xFF)
            state >>= 8
        return bytes(reversed(out))


class _Reader(_Counts):
    """Decoder of decisions; it continues after the last byte until the caller stops."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data
        self._position = self._state = 0
        self._fill()

    def __call__(self, context: int | None, _truth: bool) -> bool:
        no = self.no(context)
        place = self._state & (1 << PRECISION) - 1
        yes = place >= no
        begin, width = (no, (1 << PRECISION) - no) if yes else (0, no)
        self._state = (self._state >> PRECISION) * width + place - begin
        self._fill()
        self.add(context, yes=yes)
        return yes

    def _fill(self) -> None:
        while self._state >> (STATE_BITS - 8) == 0 and self._position < len(self._data):
            self._state = self._state << 8 | self._data[self._position]
            self._position += 1

    def finish(self) -> None:
        """Raise `CorruptStream` unless all bytes were needed."""
        if self._state or self._position < len(self._data):
            raise CorruptStream("a map of levels does not end where its blocks do")


def levels_of(picture: Pixels, width: int, height: int) -> LevelMap:
    """Return the map of an image of width x height pixels from a grey picture stretched over it.

    A block takes the mean of its part, pixels weighted by area; black is 0, white the whole range.
    """
    rows, columns = map_shape(width, height)
    grey = picture.astype(np.float64).mean(axis=2) / WHITE
    over = _means(rows, height, grey.shape[0]) @ grey @ _means(columns, width, grey.shape[1]).T
    return nearest_levels(over.clip(0, 1))


def _means(blocks: int, side: int, samples: int) -> NDArray[np.float64]:
    """Return the weight of each sample in each block's mean along an axis, (blocks, samples)."""
    edges = np.minimum(np.arange(blocks + 1) * BLOCK, side) * (samples / side)
    starts = np.arange(samples)
    share = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    overlap = share.clip(0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)


class ControlGrid(NamedTuple):
    """The values that a stream can hold of a control: q, say, or beta."""

    name: str
    steps_per_unit: int
    highest: int  # step; a multiple of 16

    def step(self, value: float) -> int:
        """Return the nearest step; raises `ValueError` outside the range."""
        if not 0 <= value <= self.value(self.highest):
            raise ValueError(f"{self.name} is {value:g}, not 0..{self.value(self.highest):g}")
        return round(value * self.steps_per_unit)

    def value(self, step: int) -> float:
        """Return the value that a step means."""
        return step / self.steps_per_unit

    def write(self, control: int | LevelMap) -> bytes:
        """Return a byte for a step, else the length of a map's levels and these."""
        if isinstance(control, int):
            return bytes([control])
        levels = encode_levels(control)
        return varint(len(levels)) + levels

    def read(
        self, reader: ByteReader, width: int, height: int, *, is_map: bool = False
    ) -> int | LevelMap:
        """Return the step or map that `write` was given; raises `CorruptStream`."""
        if is_map:
            return decode_levels(reader.take(reader.varint()), *map_shape(width, height))
        (step,) = reader.take(1)
        if step > self.highest:
            raise CorruptStream(f"{self.name} is step {step}, the highest is {self.highest}")
        return step


class SingleControl(ControlBlock):
    """Control block of a byte, a step of `grid` that holds for the whole image."""

    def __init__(self, grid: ControlGrid) -> None:
        self.grid = grid

    def write(self, controls: int, width: int, height: int) -> tuple[int, bytes]:
        """Return no flags and the byte of a step."""
        return 0, self.grid.write(controls)

    def read(self, reader: ByteReader, flags: int, width: int, height: int) -> int:
        """Return the step; raises `CorruptStream` for a step out of range."""
        step = self.grid.read(reader, width, height)
        assert isinstance(step, int)
        return step

    def window(self, controls: int, rows: slice, columns: slice, unit: int) -> float:
        """Return the value of the step."""
        return self.grid.value(controls)
