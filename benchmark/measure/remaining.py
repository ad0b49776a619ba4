"""Remaining seconds of a run, from finished, running and waiting cells.

A cell is predicted to take its expected seconds times a ratio, measured to expected seconds of the
finished cells of its codec, or of all codecs. Loading for a worker's first cell is not counted.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from time import monotonic

from benchmark.measure.cells import Failed, Seconds, Task
from benchmark.measure.local import Finished, Started

DEFAULT_CODING_SECONDS = 1e-6  # per pixel, for codecs of unknown speed
SCORING_SECONDS = 0.25e-6  # per pixel, for metrics
MIN_SECONDS = 10.0  # elapsed seconds before which finished tasks predict nothing
MIN_SHARE = 0.05  # share of finished tasks below which they predict nothing
MIN_FIRST_SECONDS = 3.0  # coding time below which a worker's first cell predicts nothing


def extrapolate_seconds(finished: float, total: float, seconds: float) -> float | None:
    """Return the remaining seconds of tasks of equal cost; None if few are finished.

    >>> [extrapolate_seconds(*task) for task in ((8, 100, 10.0), (5, 100, 30.0), (20, 100, 9.9))]
    [115.0, None, None]
    """
    if seconds < MIN_SECONDS or finished <= MIN_SHARE * total:
        return None
    return seconds * (total - finished) / finished


class Pace:
    """State of a run's tasks, which predicts the remaining time."""

    def __init__(
        self, tasks: Sequence[Task], seconds: Seconds, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._costs: dict[str, float] = {}  # expected seconds by task
        self._waiting_tasks = defaultdict[str, set[str]](set)  # tasks by codec
        self._waiting_seconds = defaultdict[str, float](float)  # expected seconds by codec
        for task in tasks:
            duration, codec = seconds(task), task.codec.name
            cost = DEFAULT_CODING_SECONDS * task.num_pixels if duration is None else duration
            self._costs[task.key] = cost + SCORING_SECONDS * task.num_pixels
            self._waiting_tasks[codec].add(task.key)
            self._waiting_seconds[codec] += self._costs[task.key]
        self._ended_seconds = defaultdict[str, list[float]](lambda: [0.0, 0.0])  # expected, taken
        self._running_tasks: dict[str, tuple[str, float, bool]] = {}  # codec, start, is first cell
        self._workers = 1  # number of workers seen so far
        self._is_cold = True  # no cell has ended yet

    def process(self, event: Started | Finished) -> None:
        """Process an event of an engine."""
        key, codec = event.task.key, event.task.codec.name
        if key in self._waiting_tasks[codec]:
            self._waiting_tasks[codec].remove(key)
            self._waiting_seconds[codec] -= self._costs[key]
        if isinstance(event, Started):
            self._running_tasks[key] = codec, self._clock(), self._is_cold
            self._workers = max(self._workers, len(self._running_tasks))
        elif key in self._running_tasks:  # otherwise no worker could start the task
            self._is_cold = False
            _, start, is_first = self._running_tasks.pop(key)
            seconds, outcome = self._clock() - start, event.outcome
            net_seconds = None if isinstance(outcome, Failed) else outcome.coding_seconds
            is_reliable = (seconds if net_seconds is None else net_seconds) > MIN_FIRST_SECONDS
            if is_first and net_seconds is not None:
                seconds = net_seconds + SCORING_SECONDS * event.task.num_pixels
            if not is_first or is_reliable:
                self._ended_seconds[codec][0] += self._costs[key]
                self._ended_seconds[codec][1] += seconds

    def remaining_seconds(self) -> float | None:
        """Return the remaining seconds; None if unknown."""
        if not self._ended_seconds:
            return None
        ratios = {codec: seconds / cost for codec, (cost, seconds) in self._ended_seconds.items()}
        # Geometric mean of the codecs' ratios, and of 1, the expected ratio
        logs = math.fsum(math.log(ratio) for ratio in ratios.values() if ratio)
        usual_ratio = math.exp(logs / (len(ratios) + 1))
        waiting_seconds = [
            ratios.get(codec, usual_ratio) * self._waiting_seconds[codec]
            for codec, tasks in self._waiting_tasks.items()
            if tasks
        ]
        running_seconds = [  # a cell that is late is expected to take as long again as it is late
            abs(self._clock() - start - ratios.get(codec, usual_ratio) * self._costs[key])
            for key, (codec, start, _) in self._running_tasks.items()
        ]
        shared_seconds = math.fsum([*waiting_seconds, *running_seconds]) / self._workers
        return max([shared_seconds if waiting_seconds else 0.0, *running_seconds])
