"""The tasks of a run as they start and end -> the seconds that are left (`plan.remaining`)."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from time import monotonic

from benchmark.codec_spec import CodecSpec
from benchmark.measure.engine.local import Finished, Started, Task
from benchmark.measure.execute import Failed
from benchmark.plan.cells import Cell
from benchmark.plan.remaining import (
    Kind,
    Running,
    Sums,
    Work,
    ended,
    kind_of,
    remaining,
    to_do,
)

OFTEN = 0.5  # seconds between two estimates
COLD = 3.0  # seconds of coding from which a worker's first cell tells what others take


class Pace:
    """The state of a run's tasks.

    seconds: what coding a task is expected to take, None for unknown.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        seconds: Callable[[Task], float | None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._clock = clock
        self._works = {id(task): _work(task, seconds(task)) for task in tasks}
        self._waiting: dict[Kind, Sums] = defaultdict(Sums)
        for work in self._works.values():
            self._waiting[work.kind] += to_do(work)
        self._ended: dict[Kind, Sums] = defaultdict(Sums)
        self._running: dict[int, tuple[float, bool]] = {}  # since when, and if a worker's first
        self._workers = 0  # that were seen at work
        self._cold = True  # until a cell has ended
        self._left: float | None = None
        self._again_at = 0.0

    def take(self, event: Started | Finished) -> None:
        """Take what an engine tells."""
        place, work = id(event.task), self._works[id(event.task)]
        since, first = self._running.pop(place, (None, True))
        if since is None:
            self._waiting[work.kind] -= to_do(work)
            if not self._waiting[work.kind].cells:
                del self._waiting[work.kind]
        if isinstance(event, Started):
            self._running[place] = self._clock(), self._cold
            self._workers = max(self._workers, len(self._running))
        elif since is not None:  # else it was never begun: no worker could take it
            self._cold = False
            whole = self._clock() - since
            coding = _coding(event, whole)
            if not first or coding > COLD:
                self._ended[work.kind] += ended(work, coding, None if first else whole - coding)

    def left(self) -> float | None:
        """Return the seconds that are left, estimated every `OFTEN`; None if nothing is known."""
        now = self._clock()
        if now >= self._again_at:
            self._again_at = now + OFTEN
            running = [
                Running(self._works[place], now - since, first)
                for place, (since, first) in self._running.items()
            ]
            self._left = remaining(self._ended, running, self._waiting, self._workers)
        return self._left


def _work(task: Task, expected: float | None) -> Work:
    if isinstance(task, Cell):
        pixels = float(task.source.width_px * task.source.height_px)
        return Work(kind_of(task.codec.text, float(task.setting.value), pixels), pixels, expected)
    row = task.row
    pixels = float(row["width_px"] * row["height_px"])
    codec = CodecSpec.of(row["codec"], row["variant"]).text
    return Work(kind_of(codec, row["setting_value"], pixels), pixels, expected)


def _coding(event: Finished, whole: float) -> float:
    """Return the seconds that coding took; of a task that failed, the whole ones."""
    row = {} if isinstance(event.outcome, Failed) else event.outcome.row
    if (decoding := row.get("decode_seconds")) is None:
        return whole
    return float(decoding + (0.0 if row.get("recorded") else row.get("encode_seconds") or 0.0))
