"""Seconds that a run still takes: cells that ended, cells that run, cells to do -> seconds.

A cell takes what coding and scoring are expected to take, times the ratio of measured to expected
seconds of its codec's cells that have ended, else of all. The first cells of workers, which wait
for them to load, count by their coding, if at all.
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


def at_this_pace(finished: float, total: float, seconds: float) -> float | None:
    """Return the seconds that are left of tasks of about equal cost; None while there are few.

    >>> at_this_pace(8, 100, 10.0), at_this_pace(5, 100, 30.0), at_this_pace(20, 100, 9.9)
    (115.0, None, None)
    """
    if seconds < SOON or finished <= FEW * total:
        return None
    return seconds * (total - finished) / finished


class Pace:
    """The state of a run's tasks; seconds: what coding a task is expected to take, or None."""

    def __init__(
        self, tasks: Sequence[Task], seconds: Seconds, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._expected: dict[str, float] = {}  # by task
        self._waiting = defaultdict[str, set[str]](set)  # tasks by codec
        self._rest = defaultdict[str, float](float)  # expected seconds of those that wait, by codec
        for task in tasks:
            known, codec = seconds(task), task.codec.name
            cost = UNKNOWN * task.num_pixels if known is None else known
            self._expected[task.key] = cost + SCORING * task.num_pixels
            self._waiting[codec].add(task.key)
            self._rest[codec] += self._expected[task.key]
        self._ended = defaultdict[str, list[float]](lambda: [0.0, 0.0])  # expected and taken
        self._running: dict[str, tuple[str, float, bool]] = {}  # codec, since when, if a first one
        self._workers = 1  # that were seen at work
        self._cold = True  # until a cell has ended

    def take(self, event: Started | Finished) -> None:
        """Take an engine's report."""
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
            taken, outcome = self._clock() - since, event.outcome
            coding = None if isinstance(outcome, Failed) else outcome.coding_seconds
            if first and coding is not None:
                taken = coding + SCORING * event.task.num_pixels
            if not first or (taken if coding is None else coding) > COLD:
                self._ended[codec][0] += self._expected[key]
                self._ended[codec][1] += taken

    def left(self) -> float | None:
        """Return the seconds that are left; None if nothing is known."""
        if not self._ended:
            return None
        ratios = {codec: taken / expected for codec, (expected, taken) in self._ended.items()}
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
