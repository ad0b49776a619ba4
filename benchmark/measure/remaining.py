"""Seconds that a run still takes: cells that ended, cells that run, cells to do -> seconds.

A class of cost is a codec at a setting on images of about the same size. Cells cost what those of
their class did that have ended, else what is expected of them times the ratio of measured to
expected seconds of the codec's other cells, else of the other codecs. Scoring comes on top, per
pixel. The first cells of workers, which wait for them to load, count by their coding, if at all.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from operator import add
from time import monotonic
from typing import NamedTuple

from benchmark.measure.cells import Failed, Seconds, Task
from benchmark.measure.local import Finished, Started

USUAL_SCORING, MOST_SCORING = 0.25e-6, 4e-6  # seconds per pixel, until a cell is known to take less
SOON = 10.0  # seconds in which tasks of a kind predict nothing of the others
FEW = 0.05  # share of such tasks that predicts nothing either
OFTEN = 0.5  # seconds between two estimates
COLD = 3.0  # seconds of coding from which a worker's first cell predicts what others take


class Kind(NamedTuple):
    """A class of cost."""

    codec: str
    setting: float
    size: int  # logarithm of the pixels to base 4, rounded


class Sums(NamedTuple):
    """Sums over cells of a class or of several."""

    pixels: float = 0.0
    expected: float = 0.0  # seconds of coding; not a number where nothing is known of a codec
    cells: int = 1
    coding: float = 0.0  # seconds that it took
    scored_pixels: float = 0.0  # of cells whose scoring was timed
    scoring: float = 0.0

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums over both."""
        return Sums(*map(add, self, other))


NONE = Sums(cells=0)


def at_this_pace(finished: float, total: float, seconds: float) -> float | None:
    """Return the seconds that are left of tasks of about equal cost; None while there are few.

    >>> at_this_pace(8, 100, 10.0), at_this_pace(5, 100, 30.0), at_this_pace(20, 100, 9.9)
    (115.0, None, None)
    """
    if seconds < SOON or finished <= FEW * total:
        return None
    return seconds * (total - finished) / finished


class Expected:
    """The seconds left of tasks that workers take in any order, each of an expected cost.

    The first task of each worker, which waits for it to load, predicts nothing of the others.
    """

    def __init__(
        self, seconds: Sequence[float], workers: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._seconds, self._workers, self._clock = seconds, workers, clock
        self._rest, self._ended, self._since, self._measured = math.fsum(seconds), 0, 0.0, 0.0

    def take(self, place: int) -> None:
        """Take the end of a task, by its place among all."""
        self._rest -= self._seconds[place]
        self._ended += 1
        if self._ended <= self._workers:
            self._since = self._clock()
        else:
            self._measured += self._seconds[place]

    def left(self) -> float:
        """Return the seconds that are left, as expected until enough tasks have ended."""
        spent = self._clock() - self._since
        speed = self._measured / spent if self._measured and spent >= OFTEN else self._workers
        return max(self._rest, 0.0) / speed


class Pace:
    """The state of a run's tasks; seconds: what coding a task is expected to take, or None."""

    def __init__(
        self, tasks: Sequence[Task], seconds: Seconds, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._tasks = {task.key: _kind_and_sums(task, seconds(task)) for task in tasks}
        self._waiting: dict[Kind, Sums] = defaultdict(lambda: NONE)
        for kind, sums in self._tasks.values():
            self._waiting[kind] = self._waiting[kind].plus(sums)
        self._ended: dict[Kind, Sums] = defaultdict(lambda: NONE)
        self._running: dict[str, tuple[float, bool]] = {}  # since when, and if a worker's first
        self._workers = 0  # that were seen at work
        self._cold = True  # until a cell has ended
        self._left: float | None = None
        self._again_at = 0.0

    def take(self, event: Started | Finished) -> None:
        """Take an engine's report."""
        number = event.task.key
        kind, sums = self._tasks[number]
        since, first = self._running.pop(number, (None, True))
        if since is None:
            waiting = self._waiting.pop(kind)
            if waiting.cells > 1:
                less = Sums(-sums.pixels, -sums.expected, -1)
                self._waiting[kind] = waiting.plus(less)
        if isinstance(event, Started):
            self._running[number] = self._clock(), self._cold
            self._workers = max(self._workers, len(self._running))
        elif since is not None:  # else it was never begun: no worker could take it
            self._cold = False
            whole = self._clock() - since
            measured = None if isinstance(event.outcome, Failed) else event.outcome.coding_seconds
            coding = whole if measured is None else measured
            if not first or coding > COLD:
                scored = (0.0, 0.0) if first else (sums.pixels, whole - coding)
                self._ended[kind] = self._ended[kind].plus(Sums(*sums[:3], coding, *scored))

    def left(self) -> float | None:
        """Return the seconds that are left, estimated every `OFTEN`; None if nothing is known."""
        now = self._clock()
        if now >= self._again_at:
            self._again_at = now + OFTEN
            self._left = self._estimate(now) if self._ended else None
        return self._left

    def _estimate(self, now: float) -> float:
        costs, rests = _Costs(self._ended), []
        for number, (since, _) in self._running.items():
            kind, sums = self._tasks[number]
            cost, spent = costs.of(kind, sums), now - since
            rests.append(abs(spent - cost))  # of a late cell, nothing better is known
        waiting = [costs.of(kind, sums) for kind, sums in self._waiting.items()]
        workers = self._workers if waiting else len(rests)
        return max([math.fsum([*waiting, *rests]) / max(workers, 1), *rests])


class _Costs:
    """Seconds of cells, by those that have ended."""

    def __init__(self, ended: Mapping[Kind, Sums]) -> None:
        self._kinds, self._all = ended, NONE
        self._codecs: dict[str, Sums] = defaultdict(lambda: NONE)
        for kind, sums in ended.items():
            self._all = self._all.plus(sums)
            self._codecs[kind.codec] = self._codecs[kind.codec].plus(sums)
        codecs = self._codecs.values()
        ratios = [
            math.log(codec.coding / codec.expected)
            for codec in codecs
            if codec.coding and codec.expected > 0
        ]
        # The geometric mean of the codecs', and of 1 for what was expected.
        self._ratio = math.exp(math.fsum(ratios) / (len(ratios) + 1))
        # What a codec does once for each setting counts as scoring, and is none of other codecs.
        rates = [codec.scoring / codec.scored_pixels for codec in codecs if codec.scored_pixels]
        least = max(min(rates, default=math.inf), 0.0)
        self._scoring = least if least < MOST_SCORING else USUAL_SCORING

    def of(self, kind: Kind, cells: Sums) -> float:
        codec = self._codecs.get(kind.codec, NONE)
        measured = self._kinds.get(kind) or (codec if codec.cells else self._all)
        coding = measured.coding / measured.pixels * cells.pixels
        if kind not in self._kinds:
            if codec.expected > 0 and cells.expected > 0:
                coding = codec.coding / codec.expected * cells.expected
            elif not codec.cells and cells.expected >= 0:
                coding = self._ratio * cells.expected
        scoring = self._scoring
        if codec.scored_pixels:
            scoring = max(codec.scoring / codec.scored_pixels, 0.0)
        return coding + scoring * cells.pixels


def _kind_and_sums(task: Task, expected: float | None) -> tuple[Kind, Sums]:
    size = round(math.log(max(task.num_pixels, 1), 4))
    kind = Kind(task.codec.text, float(task.setting.value), size)
    return kind, Sums(task.num_pixels, math.nan if expected is None else expected)
