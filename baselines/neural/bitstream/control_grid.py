"""A control as a header holds it: a step of a grid, or a map with a level for each block."""

from typing import NamedTuple

from baselines.neural.bitstream.container import ByteReader, ControlBlock, varint
from baselines.neural.bitstream.level_map import Levels, decode_levels, encode_levels, map_shape
from benchmark.errors import CorruptStream


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

    def write(self, control: int | Levels) -> bytes:
        """Return a byte for a step, else the length of a map's levels and these."""
        if isinstance(control, int):
            return bytes([control])
        levels = encode_levels(control)
        return varint(len(levels)) + levels

    def read(
        self, reader: ByteReader, width: int, height: int, *, is_map: bool = False
    ) -> int | Levels:
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
