"""The control block of an architecture with one control, the same for the whole image: a byte."""

from baselines.neural.bitstream.container import ByteReader
from baselines.neural.bitstream.control_grid import ControlGrid
from benchmark.errors import CorruptStream


class SingleControl:
    """One byte, a step of `grid`; the network's controls are the value that it stands for."""

    def __init__(self, grid: ControlGrid) -> None:
        self.grid = grid

    def write(self, controls: int, width: int, height: int) -> tuple[int, bytes]:
        """Return no flags and the byte of a step; raises `ValueError` for one out of range."""
        return 0, self.grid.write(controls, width, height)

    def read(self, reader: ByteReader, flags: int, width: int, height: int) -> int:
        """Return the step; raises `CorruptStream` for a flag and for a step out of range."""
        if flags:
            raise CorruptStream("the stream has a flag that its architecture does not know")
        (step,) = reader.take(1)
        if step > self.grid.highest:
            raise CorruptStream(
                f"{self.grid.name} is step {step}, the highest is {self.grid.highest}"
            )
        return step

    def window(self, controls: int, rows: slice, columns: slice, unit: int) -> float:
        """Return the value of the step, which holds everywhere."""
        return self.grid.value(controls)
