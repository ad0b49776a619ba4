"""Remaining seconds of a run, from finished, running and waiting cells.

A cell takes the expected seconds, times the ratio of measured to expected of its codec's finished
cells, or of all. A worker's first cell, which includes loading, counts by its coding.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from time import monotonic

from benchmark.measure.cells import Failed, Seconds, Task
from benchmark.measure.local import Finished, Started

UNKNOWN = 1e-6  # seconds per pixel of coding, where nothing is known of a codec
SCORING = 0.25e-6  # seconds per pixel
SOON = 10.0  # seconds in which tasks of a kind predict nothing of the others
FEW = 0.05  # share of such tasks that predicts nothing either
COLD = 3.0  # seconds of coding from which a worker's first cell predicts what others take


def extrapolate_seconds(finished: float, total: float, seconds: float) -> float | None:
    """Return the remaining seconds of tasks of equal cost; None if few are finished.

    >>> [extrapolate_seconds(*task) for task in ((8, 100, 10.0), (5, 100, 30.0), (20, 100, 9.9))]
    [115.0, None, None]
    """
    if seconds < SOON or finished <= FEW * total:
        return None
    return seconds * (total - finished) / finished


class Pace:
    """State of a run's tasks; seconds: expected coding time of a task, or None."""

    def __init__(
        self, tasks: Sequence[Task], seconds: Seconds, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._expected: dict[str, float] = {}  # by task
        self._waiting = defaultdict[str, set[str]](set)  # tasks by codec
        self._rest = defaultdict[str, float](float)  # expected seconds of those that wait, by codec
        for task in tasks:
            expected, codec = seconds(task), task.codec.name
            cost = UNKNOWN * task.num_pixels if expected is None else expected
            self._expected[task.key] = cost + SCORING * task.num_pixels
            self._waiting[codec].add(task.key)
            self._rest[codec] += self._expected[task.key]
        self._ended = defaultdict[str, list[float]](lambda: [0.0, 0.0])  # expected and taken
        self._running: dict[str, tuple[str, float, bool]] = {}  # codec, since when, if a first one
        self._workers = 1  # number of workers seen so far
        self._cold = True  # until a cell has ended

    def take(self, event: Started | Finished) -> None:
        """Process an event of an engine."""
        key, codec = event.task.key, event.task.codec.name
        if key in self._waiting[codec]:
            self._waiting[codec].remove(key)
            self._rest[codec] -= self._expected[key]
        if isinstance(event, Started):
            self._running[key] = codec, self._clock(), self._cold
            self._workers = max(self._workers, len(self._running))
        elif key in self._running:  # else it was never begun: no worker could take it
            self._cold = False
            _, since, first = self._running.pop(key)
            seconds, outcome = self._clock() - since, event.outcome
            coding = None if isinstance(outcome, Failed) else outcome.coding_seconds
            if first and coding is not None:
                seconds = coding + SCORING * event.task.num_pixels
            if not first or (seconds if coding is None else coding) > COLD:
                self._ended[codec][0] += self._expected[key]
                self._ended[codec][1] += seconds

    def left(self) -> float | None:
        """Return the remaining seconds; None if unknown."""
        if not self._ended:
            return None
        ratios = {codec: measured / expected for codec, (expected, measured) in self._ended.items()}
        # The geometric mean of the codecs', and of 1 for what was expected.
        logs = math.fsum(math.log(ratio) for ratio in ratios.values() if ratio)
        usual = math.exp(logs / (len(ratios) + 1))
        waiting = [
            ratios.get(codec, usual) * self._rest[codec]
            for codec, tasks in self._waiting.items()
            if tasks
        ]
        rests = [  # of a late cell, nothing better is known
            abs(self._clock() - since - ratios.get(codec, usual) * self._expected[key])
            for key, (codec, since, _) in self._running.items()
        ]
        shared = math.fsum([*waiting, *rests]) / self._workers if waiting else 0.0
        return max([shared, *rests])
