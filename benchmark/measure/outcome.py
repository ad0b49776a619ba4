"""The outcome of a run: its cells, the stored rows, and what failed, was skipped or refused."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.datasets.source import Refused
from benchmark.plan.cells import Cell
from benchmark.plan.matrix import Matrix


class Failure(NamedTuple):
    """A cell without a result, for people to read."""

    cell: str  # "jpeg quality=30 kodim01.png"
    stage: str
    reason: str


class Progress(NamedTuple):
    """Numbers of tasks finished and failed so far."""

    finished: int
    failed: int


# Called with what is done ("measuring") and the number of tasks; what it yields is called about
# once a second.
ShowsProgress = Callable[[str, int], AbstractContextManager[Callable[[Progress], None]]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run and the table of everything stored for its dataset."""

    matrix: Matrix
    table: pa.Table  # all rows of the dataset's store, one per cell
    metrics: tuple[str, ...]  # that were asked for
    measured: int  # cells coded by this run; the others were done before
    rescored: int  # rows done before that lacked a metric
    failures: tuple[Failure, ...]
    remarks: tuple[str, ...] = ()  # sentences on what machines of a cluster lacked

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that were asked for."""
        return self.matrix.cells

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Codecs that could not run, as asked for, each with the reason."""
        return self.matrix.selection.skipped

    @property
    def refused(self) -> tuple[Refused, ...]:
        """Images that cannot be measured, each with the reason."""
        return self.matrix.sources.refused

    @property
    def exit_code(self) -> int:
        """1 if a cell failed or an image was refused, else 0."""
        return 1 if self.failures or self.refused else 0

    def rows(self) -> pa.Table:
        """Return the rows of the cells that were asked for."""
        keys = pa.array([cell.key for cell in self.cells], pa.string())
        return self.table.filter(pc.is_in(self.table["cell"], value_set=keys))


class Rescored(NamedTuple):
    """The outcome of filling in metrics of stored rows."""

    rows: int  # in the store
    tried: int  # rows that lacked a metric
    still_null: int  # of those, after it
    failures: tuple[Failure, ...]
