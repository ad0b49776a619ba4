"""The time that a stage of a cell may take (`--timeout`): a clock of each worker in its driver."""

from time import monotonic
from typing import NamedTuple

from benchmark.measure.execute import Failed, Stage

# Loading imports libraries and reads weights, which a new worker does anew after each cell that was
# given up: a limit for coding must not strike the next cell for that.
LOADING_SECONDS = 60.0
ENDING_SECONDS = 2.0  # between a request to end and the end


class Begun(NamedTuple):
    """A worker's message that a stage of its current task begins."""

    stage: Stage


class Patience:
    """A clock of the stage that a worker is in; without a limit it never runs out."""

    def __init__(self, limit_seconds: float | None) -> None:
        self._limit = limit_seconds
        self._stage: Stage | None = None
        self._began = 0.0

    def begin(self, stage: Stage | None) -> None:
        """Start the clock of a stage; None between tasks."""
        self._stage, self._began = stage, monotonic()

    def left_seconds(self) -> float | None:
        """Return how much longer the stage may take, 0 for overdue; None for no end."""
        if self._limit is None or self._stage is None:
            return None
        return max(0.0, self._began + self._seconds(self._limit) - monotonic())

    def failure(self) -> Failed:
        """Return the failure of a task whose stage is overdue."""
        assert self._limit is not None, "nothing is overdue without a limit"
        assert self._stage is not None, "nothing is overdue between tasks"
        seconds = self._seconds(self._limit)
        return Failed(self._stage, f"no result after {seconds:g} s (--timeout)")

    def _seconds(self, limit: float) -> float:
        return max(limit, LOADING_SECONDS) if self._stage == "load" else limit
