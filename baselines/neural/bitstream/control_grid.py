"""Controls in a header: a step of a grid, or a map with one of 16 levels per 64 x 64 pixels.

Level k means k / 16 of the range, level 15 all of it. A constant map is a byte, its level. Other
maps are coded block by block as adaptive binary decisions, by ANS in integers (docs/bitstream.md).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.neural.bitstream.container import ByteReader, ControlBlock, varint
from benchmark.codec import Pixels
from benchmark.errors import CorruptStream

LEVELS = 16
MAX_LEVEL = LEVELS - 1
BLOCK = 64  # pixels
WHITE = 255
MIN_MAP_BYTES = 2  # minimum for a map that is not constant
PRECISION = 12  # bits of a probability
STATE_BITS = 32
COUNT_LIMIT = 254  # if the sum of a decision's two counts is larger, both are halved
# First context of each kind of decision; neighbours or earlier decisions select the next ones
EQUALS_PREDICTION, EQUALS_OTHER_NEIGHBOUR, HIGHER, FARTHER = 0, 3, 6, 9
CONTEXTS = 9 + LEVELS
EVEN_COUNTS, LIKELY_COUNTS = (1, 1), (1, 5)  # initial (doubled) counts of no and yes

LevelMap = NDArray[np.uint8]  # (rows, columns), 0..15
Decide = Callable[[int | None, bool], bool]


def map_shape(width: int, height: int) -> tuple[int, int]:
    """Return the rows and columns of the map of an image with these sides in pixels."""
    return -(-height // BLOCK), -(-width // BLOCK)


def level_steps(levels: LevelMap, last_step: int) -> NDArray[np.int64]:
    """Convert levels to steps of a grid, whose last step is a multiple of 16."""
    sixteenths = levels.astype(np.int64) + (levels == MAX_LEVEL)
    return sixteenths * np.int64(last_step // LEVELS)


def nearest_levels(fractions: NDArray[np.floating[Any]]) -> LevelMap:
    """Convert fractions of the range, 0 to 1, to the nearest levels, ties to the lower level."""
    values = level_steps(np.arange(LEVELS, dtype=np.uint8), LEVELS) / LEVELS
    return np.searchsorted((values[1:] + values[:-1]) / 2, fractions).astype(np.uint8)


def encode_levels(levels: LevelMap) -> bytes:
    """Encode a map: 1 byte if all levels are equal, otherwise at least 2."""
    if bool((levels == levels[0, 0]).all()):
        return bytes([int(levels[0, 0])])
    decisions = _DecisionEncoder()
    _code_levels(levels.tolist(), decisions)
    return decisions.finish().rjust(MIN_MAP_BYTES, b"\0")


def decode_levels(data: bytes, rows: int, columns: int) -> LevelMap:
    """Invert `encode_levels`; raises `CorruptStream` for invalid bytes."""
    if not data:
        raise CorruptStream("a map of levels is empty")
    if len(data) < MIN_MAP_BYTES:
        if data[0] > MAX_LEVEL:
            raise CorruptStream(f"a map has level {data[0]}, but the highest is {MAX_LEVEL}")
        return np.full((rows, columns), data[0], np.uint8)
    if len(data) > MIN_MAP_BYTES and data[0] == 0:
        raise CorruptStream("a map of levels must not begin with a zero byte")
    levels = [[0] * columns for _ in range(rows)]
    decisions = _DecisionDecoder(data)
    _code_levels(levels, decisions)
    decisions.finish()
    return np.array(levels, np.uint8)


def _code_levels(levels: list[list[int]], decide: Decide) -> None:
    # codes levels row by row; `decide` records a decision, or reads it from a stream
    for y, row in enumerate(levels):
        previous_row = levels[y - 1] if y else None
        for x, level in enumerate(row):
            if previous_row is None and x == 0:
                row[0] = sum(decide(None, bool(level >> bit & 1)) << bit for bit in (3, 2, 1, 0))
                continue
            # At the edges, a neighbour inside the map replaces those outside.
            left_level = row[x - 1] if x else previous_row[0]  # type: ignore[index]
            upper_level = previous_row[x] if previous_row else left_level
            corner = previous_row[x - 1] if previous_row and x else upper_level
            row[x] = _code_level(level, left_level, upper_level, corner, decide)


def _code_level(
    level: int, left_level: int, upper_level: int, corner_level: int, decide: Decide
) -> int:
    low, high = min(left_level, upper_level), max(left_level, upper_level)
    prediction = min(max(left_level + upper_level - corner_level, low), high)
    variation = min(max(high, corner_level) - min(low, corner_level), 2)
    if decide(EQUALS_PREDICTION + variation, level == prediction):
        return prediction
    if low != high and prediction in (low, high):
        alternative = low + high - prediction
        if decide(EQUALS_OTHER_NEIGHBOUR + variation, level == alternative):
            return alternative
    higher = prediction == 0 or (
        prediction < MAX_LEVEL and decide(HIGHER + variation, level > prediction)
    )
    farthest = MAX_LEVEL - prediction if higher else prediction
    distance = 1
    while distance < farthest and decide(FARTHER + distance, abs(level - prediction) > distance):
        distance += 1
    return prediction + distance if higher else prediction - distance


class _Counts:
    """Adaptive probabilities of decisions: doubled counts of no and yes by context."""

    def __init__(self) -> None:
        self._counts = [
            list(LIKELY_COUNTS if context < EQUALS_OTHER_NEIGHBOUR else EVEN_COUNTS)
            for context in range(CONTEXTS)
        ]

    def no_probability(self, context: int | None) -> int:
        """Return the probability of no in units of 2^-12 (1..4095); 1/2 without a context."""
        if context is None:
            return 1 << PRECISION - 1
        no, yes = self._counts[context]
        return (no << PRECISION) // (no + yes)

    def count(self, context: int | None, *, yes: bool) -> None:
        if context is not None:
            counts = self._counts[context]
            counts[yes] += 2
            if sum(counts) > COUNT_LIMIT:
                counts[:] = [doubled + 1 >> 1 for doubled in counts]


class _DecisionEncoder(_Counts):
    def __init__(self) -> None:
        super().__init__()
        self._intervals: list[tuple[int, int]] = []  # start and width, in units of 2^-12

    def __call__(self, context: int | None, truth: bool) -> bool:
        no = self.no_probability(context)
        self.count(context, yes=truth)
        self._intervals.append((no, (1 << PRECISION) - no) if truth else (0, no))
        return truth

    def finish(self) -> bytes:
        state, digits = 0, bytearray()
        for start, width in reversed(self._intervals):
            while state >> (STATE_BITS - PRECISION) >= width:
                digits.append(state & 0xFF)
                state >>= 8
            state = (state // width << PRECISION) + start + state % width
        while state:
            digits.append(state & 0xFF)
            state >>= 8
        return bytes(reversed(digits))


class _DecisionDecoder(_Counts):
    # after the last byte has been read, the state may hold further decisions

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data
        self._position = self._state = 0
        self._refill()

    def __call__(self, context: int | None, _truth: bool) -> bool:
        no = self.no_probability(context)
        quantile = self._state & (1 << PRECISION) - 1
        yes = quantile >= no
        start, width = (no, (1 << PRECISION) - no) if yes else (0, no)
        self._state = (self._state >> PRECISION) * width + quantile - start
        self._refill()
        self.count(context, yes=yes)
        return yes

    def _refill(self) -> None:
        while self._state >> (STATE_BITS - 8) == 0 and self._position < len(self._data):
            self._state = self._state << 8 | self._data[self._position]
            self._position += 1

    def finish(self) -> None:
        """Raise `CorruptStream` unless all bytes were read and the state is 0."""
        if self._state or self._position < len(self._data):
            raise CorruptStream("a map of levels has bytes left after its last block")


def levels_from_picture(picture: Pixels, width: int, height: int) -> LevelMap:
    """Make the map of an image of width x height pixels from a grey picture stretched over it."""
    # a block has the level nearest to its mean; black is 0, white the end of the range
    rows, columns = map_shape(width, height)
    grey = picture.astype(np.float64).mean(axis=2) / WHITE
    means = (
        _block_weights(rows, height, grey.shape[0])
        @ grey
        @ _block_weights(columns, width, grey.shape[1]).T
    )
    return nearest_levels(means.clip(0, 1))


def _block_weights(blocks: int, side: int, samples: int) -> NDArray[np.float64]:
    # returns (blocks, samples): the weight of each sample in the mean of each block along an axis
    edges = np.minimum(np.arange(blocks + 1) * BLOCK, side) * (samples / side)
    starts = np.arange(samples)
    lengths = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    overlap = lengths.clip(0, None)
    return overlap / overlap.sum(axis=1, keepdims=True)


class ControlGrid(NamedTuple):
    """Values of a control, such as q or beta, that a stream can hold."""

    name: str
    steps_per_unit: int
    last_step: int  # a multiple of 16

    def step(self, value: float) -> int:
        """Return the step nearest to a value; raises `ValueError` outside the range."""
        if not 0 <= value <= self.value(self.last_step):
            raise ValueError(f"{self.name} is {value:g}, not 0..{self.value(self.last_step):g}")
        return round(value * self.steps_per_unit)

    def value(self, step: int) -> float:
        """Return the value of a step."""
        return step / self.steps_per_unit

    def write(self, control: int | LevelMap) -> bytes:
        """Return a step as a byte, or the length of an encoded map, and the map."""
        if isinstance(control, int):
            return bytes([control])
        levels = encode_levels(control)
        return varint(len(levels)) + levels

    def read(
        self, reader: ByteReader, width: int, height: int, *, is_map: bool = False
    ) -> int | LevelMap:
        """Invert `write`: return the step or map; raises `CorruptStream`."""
        if is_map:
            return decode_levels(reader.take(reader.varint()), *map_shape(width, height))
        (step,) = reader.take(1)
        if step > self.last_step:
            raise CorruptStream(f"{self.name} is step {step}, but the highest is {self.last_step}")
        return step


class SingleControl(ControlBlock):
    """Control block of one byte: a step of `grid` for the whole image."""

    def __init__(self, grid: ControlGrid) -> None:
        self.grid = grid

    def write(self, controls: int, width: int, height: int) -> tuple[int, bytes]:
        """Return the flags 0 and the step's byte."""
        return 0, self.grid.write(controls)

    def read(self, reader: ByteReader, flags: int, width: int, height: int) -> int:
        """Return the step; raises `CorruptStream` for a step out of range."""
        step = self.grid.read(reader, width, height)
        assert isinstance(step, int)
        return step

    def window(self, controls: int, rows: slice, columns: slice, unit: int) -> float:
        """Return the step's value."""
        return self.grid.value(controls)
