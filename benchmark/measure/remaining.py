"""Seconds that a run still takes: cells that ended, cells that run, cells to do -> seconds.

A class of cost is one codec at one setting on images of about one size. Cells cost what those of
their class did that have ended, else what is expected of them times the ratio of measured to
expected seconds of the codec's other cells, else of the other codecs. Scoring comes on top, per
pixel. What the first cells of workers took is left out, or, where coding took long, all but coding:
they wait for the worker to load.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import add, sub
from time import monotonic
from typing import NamedTuple

from benchmark.codec_spec import CodecSpec
from benchmark.measure.engine.local import Finished, Started, Task
from benchmark.measure.execute import Failed
from benchmark.plan.cells import Cell

USUAL_SCORING, MOST_SCORING = 0.25e-6, 4e-6  # seconds per pixel, while no cell tells less
LATE = 2.0  # times as long as expected: then the codec's other cells are expected to be late, too
SOON = 10.0  # seconds in which tasks of one kind tell nothing of the others
FEW = 0.05  # share of such tasks that tells nothing either


class Kind(NamedTuple):
    """A class of cost."""

    codec: str
    setting: float
    size: int  # logarithm of the pixels to base 4, rounded


class Work(NamedTuple):
    """A cell to code and score."""

    kind: Kind
    pixels: float
    expected: float | None  # seconds of coding; None if nothing is known of the codec


class Running(NamedTuple):
    """A cell that a worker has begun."""

    work: Work
    seconds: float  # since then
    first: bool  # of its worker


class Sums(NamedTuple):
    """Sums over cells, of one class or of several."""

    cells: int = 0
    pixels: float = 0.0
    known_pixels: float = 0.0  # of cells of which something is expected
    expected: float = 0.0
    coding: float = 0.0
    scored_pixels: float = 0.0  # of cells whose scoring was timed
    scoring: float = 0.0

    @property
    def whole_expected(self) -> float | None:
        """Expected seconds, None where something is expected of a part alone."""
        return self.expected if self.known_pixels == self.pixels else None

    def __add__(self, other: object) -> "Sums":
        assert isinstance(other, Sums)
        return Sums(*map(add, self, other))

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(*map(sub, self, other))


def to_do(work: Work) -> Sums:
    """Return the sums of a cell that has not ended."""
    known = work.expected is not None
    return Sums(1, work.pixels, work.pixels if known else 0.0, work.expected or 0.0)


def ended(work: Work, coding: float, scoring: float | None) -> Sums:
    """Return the sums of a cell with its seconds; scoring: None where a worker's start is in it."""
    timed = (0.0, 0.0) if scoring is None else (work.pixels, scoring)
    return to_do(work) + Sums(0, 0.0, 0.0, 0.0, coding, *timed)


def kind_of(codec: str, setting: float, pixels: float) -> Kind:
    """Return the class of a cell."""
    return Kind(codec, setting, round(math.log(max(pixels, 1.0), 4)))


def remaining(
    ended: Mapping[Kind, Sums],
    running: Collection[Running],
    waiting: Mapping[Kind, Sums],
    workers: int,
) -> float | None:
    """Return the seconds until the last cell has ended; None while none has."""
    if not ended:
        return None
    costs = _Costs(ended)
    rests = []
    for one in running:
        cost = costs.of(one.work.kind, one.work.pixels, one.work.expected)
        rests.append(abs(one.seconds - cost))  # of a late cell, nothing better is known
        if one.seconds > LATE * cost and not one.first:
            codec = one.work.kind.codec
            costs.late[codec] = max(costs.late.get(codec, 1.0), one.seconds / cost)
    sums = [costs.of(kind, one.pixels, one.whole_expected) for kind, one in waiting.items()]
    evenly = math.fsum([*sums, *rests]) / max(workers if waiting else len(rests), 1)
    return max(evenly, *rests, 0.0)


class _Costs:
    """Seconds of cells, by those that have ended."""

    def __init__(self, ended: Mapping[Kind, Sums]) -> None:
        self._kinds = ended
        self._all = Sums()
        self._codecs: dict[str, Sums] = defaultdict(Sums)
        for kind, one in ended.items():
            self._all += one
            self._codecs[kind.codec] += one
        ratios = [
            math.log(codec.coding / codec.whole_expected)
            for codec in self._codecs.values()
            if codec.whole_expected and codec.coding
        ]
        # The geometric mean of the codecs', and of 1 for what was expected.
        self._ratio = math.exp(math.fsum(ratios) / (len(ratios) + 1))
        # What a codec does once for each setting counts as scoring, and is none of other codecs.
        rates = [
            codec.scoring / codec.scored_pixels
            for codec in self._codecs.values()
            if codec.scored_pixels
        ]
        least = max(min(rates, default=math.inf), 0.0)
        self._scoring = least if least < MOST_SCORING else USUAL_SCORING
        self.late: dict[str, float] = {}  # factors of codecs, for classes of which no cell ended

    def of(self, kind: Kind, pixels: float, expected: float | None) -> float:
        """Return the seconds of cells of one class, of so many pixels together."""
        codec = self._codecs.get(kind.codec)
        if own := self._kinds.get(kind):
            coding = own.coding / own.pixels * pixels
        else:
            coding = self._unmeasured(codec, pixels, expected) * self.late.get(kind.codec, 1.0)
        scoring = self._scoring
        if codec and codec.scored_pixels:
            scoring = max(codec.scoring / codec.scored_pixels, 0.0)
        return coding + scoring * pixels

    def _unmeasured(self, codec: Sums | None, pixels: float, expected: float | None) -> float:
        if codec and expected and codec.whole_expected:
            return codec.coding / codec.expected * expected
        if codec or expected is None:
            measured = codec or self._all
            return measured.coding / measured.pixels * pixels
        return expected * self._ratio


def at_this_pace(finished: float, total: float, seconds: float) -> float | None:
    """Return the seconds that are left of tasks of about equal cost; None while there are few.

    >>> at_this_pace(20, 100, 30.0), at_this_pace(1, 100, 30.0), at_this_pace(20, 100, 3.0)
    (120.0, None, None)
    """
    if seconds < SOON or finished <= FEW * total:
        return None
    return seconds * (total - finished) / finished


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
