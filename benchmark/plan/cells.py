"""Cells, the measurements that a run consists of, and their order. Pure: no disk, codec or clock.

A worker takes whole bundles: short cells of one image, so that its pixels travel and its metrics
are prepared once for all of them, or one long cell. Whoever is free takes the longest bundle left,
which ends at most a third later than the best order there is (Graham 1969: 4/3 - 1/(3m) for m
workers), and with many cells a worker far closer to it.
"""

import heapq
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from benchmark.codec import Between, CodecInfo, OneOf, Setting
from benchmark.codec_spec import CodecSpec
from benchmark.datasets.dataset import Source
from benchmark.packs.pack import Pack
from benchmark.protocol import CODING
from benchmark.rows.schema import cell_key

Task = TypeVar("Task")

# A bundle is at most so small a part of one worker's share: what the last one can add to the end.
PARTS = 40
NAMES_SHOWN = 5


class Contender(NamedTuple):
    """A codec variant that runs here, with the settings to measure it at."""

    spec: CodecSpec
    info: CodecInfo
    sweep: tuple[Setting, ...]
    pack: Pack | None = None  # whose streams are used instead of encoding
    encoder_lacks: str = ""  # why that is so, unless the pack was asked for
    accepts: Between | OneOf | None = None  # the settings that it takes, if it declares them

    def can_code(self, source: Source, setting: Setting) -> bool:
        """Return whether there is an encoder, or a recorded stream."""
        result = self.pack and self.pack.find(self.spec, source.sha256, source.width_px, setting)
        return self.pack is None or result is not None


class Cell(NamedTuple):
    """A measurement to make: one image coded by one codec variant at one setting."""

    codec: CodecSpec
    info: CodecInfo
    setting: Setting
    dataset: str
    source: Source
    pack: Path | None = None  # where the stream is recorded, if the codec need not encode

    @property
    def key(self) -> str:
        """The identity of its row in the store."""
        source = self.source.sha256, self.source.width_px
        return cell_key(self.codec, self.info, self.setting, *source, CODING)


def plan(contenders: Sequence[Contender], dataset: str, sources: Iterable[Source]) -> list[Cell]:
    """Return codecs x settings x images, images outermost: an early stop is a fair sample."""
    return [
        Cell(
            contender.spec,
            contender.info,
            setting,
            dataset,
            source,
            contender.pack.path if contender.pack else None,
        )
        for source in sources
        for contender in contenders
        for setting in contender.sweep
        if contender.can_code(source, setting)
    ]


def lacking(contender: Contender, sources: Sequence[Source]) -> str:
    """Return a sentence on the images that a contender's pack lacks; empty for none."""
    if contender.pack is None:
        return ""
    images = [
        source.file.name
        for source in sources
        if not all(contender.can_code(source, setting) for setting in contender.sweep)
    ]
    if not images:
        return ""
    shown = ", ".join(images[:NAMES_SHOWN]) + (", ..." if len(images) > NAMES_SHOWN else "")
    whose = f"{contender.encoder_lacks}; and " if contender.encoder_lacks else ""
    return (
        f"{whose}{contender.pack.path} has no streams, or not at every setting, of "
        f"{len(images)} of {len(sources)} images: {shown}"
    )


class Makespan(NamedTuple):
    """When the last worker ends, and when all would end if work could be cut at will."""

    seconds: float
    ideal: float  # the sum of all bundles over the workers
    longest: float  # bundle: nothing ends sooner

    @property
    def excess(self) -> float:
        """Excess of the makespan over the ideal, as a share of the ideal.

        >>> Makespan(6.0, 4.0, 3.0).excess
        0.5
        """
        return self.seconds / self.ideal - 1 if self.ideal else 0.0


def longest_first(
    tasks: Sequence[Task],
    image: Callable[[Task], Hashable],
    seconds: Callable[[Task], float | None],
) -> list[Task]:
    """Return the tasks of each image by falling seconds; images stay in order.

    So that the last tasks of a run, when some workers have nothing left to do, are short ones. A
    task of unknown length (None) comes before the others of its image, the last one first: sweeps
    rise.

    >>> cost = {"a1": 1.0, "a2": 2.0, "b1": 3.0, "a3": None}
    >>> longest_first(list(cost), lambda task: task[0], cost.get)
    ['a3', 'a2', 'a1', 'b1']
    """
    place = {one: at for at, one in enumerate(dict.fromkeys(map(image, tasks)))}

    def key(at: int) -> tuple[int, float, int]:
        expected = seconds(tasks[at])
        return place[image(tasks[at])], -math.inf if expected is None else -expected, -at

    return [tasks[at] for at in sorted(range(len(tasks)), key=key)]


def bundles(
    tasks: Sequence[Task],
    image: Callable[[Task], Hashable],
    seconds: Callable[[Task], float | None],
    size: Callable[[Task], float],
    workers: int,
) -> list[list[Task]]:
    """Group all tasks into bundles, in the order in which workers take them and carry them out.

    Tasks of unknown seconds are in bundles of their own, made by `size` (any measure that they all
    share), which come before the others: they may be the longest.

    >>> cost = {"a1": 5.0, "a2": 0.01, "a3": 0.02, "b1": 3.0, "b2": None}
    >>> bundles(list(cost), lambda t: t[0], cost.get, lambda t: 1.0, 1)
    [['b2'], ['a1'], ['b1'], ['a3', 'a2']]
    """
    known = {at: one for at, task in enumerate(tasks) if (one := seconds(task)) is not None}
    unknown = {at: size(task) for at, task in enumerate(tasks) if at not in known}
    places = [
        bundle for part in (unknown, known) for bundle in _bundles(tasks, image, part, workers)
    ]
    return [[tasks[at] for at in bundle] for bundle in places]


def _bundles(
    tasks: Sequence[Task], image: Callable[[Task], Hashable], cost: dict[int, float], workers: int
) -> list[list[int]]:
    most = math.fsum(cost.values()) / (workers * PARTS)
    result: dict[Hashable, list[list[int]]] = {}
    sums: dict[int, float] = {}  # by the first task of a bundle
    for at in sorted(cost, key=lambda at: -cost[at]):
        open_ones = result.setdefault(image(tasks[at]), [])
        if open_ones and sums[open_ones[-1][0]] + cost[at] <= most:
            open_ones[-1].append(at)
        else:
            open_ones.append([at])
        first = open_ones[-1][0]
        sums[first] = sums.get(first, 0.0) + cost[at]
    return sorted(
        (bundle for of_image in result.values() for bundle in of_image),
        key=lambda bundle: (-sums[bundle[0]], bundle[0]),
    )


def makespan(durations: Iterable[float], workers: int) -> Makespan:
    """Compute the makespan of bundles taken in this order, each by the worker that is free first.

    >>> makespan([3, 3, 2, 2, 2], 2)
    Makespan(seconds=7, ideal=6.0, longest=3)
    """
    told = list(durations)
    free: list[float] = [0] * workers
    for one in told:
        heapq.heapreplace(free, free[0] + one)
    return Makespan(max(free), math.fsum(told) / workers, max(told, default=0))


def cells_to_decode_twice(cells: Iterable[Cell]) -> frozenset[str]:
    """Return the key of one cell of each codec variant: its first setting on the smallest image."""
    by_size = sorted(cells, key=lambda cell: cell.source.width_px * cell.source.height_px)
    chosen: dict[CodecSpec, Cell] = {}
    for cell in by_size:
        chosen.setdefault(cell.codec, cell)
    return frozenset(cell.key for cell in chosen.values())
