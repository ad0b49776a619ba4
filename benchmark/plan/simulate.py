"""Cells and a cluster that may not be there -> when it would be done with them, and how evenly.

The order is the one that `engine.ray` keeps, the seconds those of a cost model; metrics, the start
of workers and the way of images are left out. Where a dataset is not on this machine, pictures of
its typical sizes stand in.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from benchmark.codec import CodecInfo
from benchmark.datasets.dataset import ImageFile
from benchmark.datasets.source import Source
from benchmark.errors import Unavailable
from benchmark.plan.cells import Cell, Contender, plan
from benchmark.plan.schedule import Makespan, bundles, makespan
from benchmark.plan.select import ALL, Points, at_points, every_codec
from benchmark.registry import (
    DATASETS,
    codec_class,
    load_codec,
    parse_codec,
    resolve,
)


class Simulation(NamedTuple):
    """What a cluster takes for cells; of those without an estimate, nothing."""

    workers: int
    makespan: Makespan
    cells: int
    unknown: int


def simulate(
    cells: Sequence[Cell],
    seconds: Callable[[Cell], float | None],
    workers: int,
    actual: Callable[[Cell], float] | None = None,
) -> Simulation:
    """Cells of one kind of worker; ordered by expected seconds, and taking the `actual` ones."""
    known = [cell for cell in cells if seconds(cell) is not None]
    taken = actual or (lambda cell: seconds(cell) or 0.0)
    order = bundles(known, lambda cell: cell.source.sha256, seconds, _pixels, workers)
    times = [math.fsum(map(taken, bundle)) for bundle in order]
    return Simulation(workers, makespan(times, workers), len(known), len(cells) - len(known))


def imagined_cells(
    codecs: Sequence[str], points: Points, dataset: str, images: Sequence[Source]
) -> list[Cell]:
    """Codecs × settings × images, for counting, not for coding: no program or weight is asked for.

    Codecs run on the CPU; of `all`, those are left out that cannot even be imported.
    """
    contenders = []
    for text in every_codec() if tuple(codecs) == ALL else codecs:
        with suppress(Unavailable):
            for spec in resolve(parse_codec(text.strip())):
                info = CodecInfo("", "", "", spec.text, 0, "")
                sweep = getattr(codec_class(spec), "sweep", None)
                if not isinstance(sweep, tuple):  # it depends on the options
                    sweep = load_codec(spec).sweep
                contender = Contender(spec, info, sweep)
                contenders.append(at_points(contender, points, set()))
    return plan(contenders, dataset, images)


def typical_sources(dataset: str, limit: int | None) -> list[Source]:
    """As many pictures as a dataset has, of its typical sizes; none where they are not known."""
    if dataset not in DATASETS:
        return []
    module = import_module(DATASETS[dataset].partition(":")[0])
    told = getattr(module, "typical_sizes", None)
    sizes = list(told(dataset))[:limit] if told else []
    return [
        Source(ImageFile(f"{at:04}", Path(f"{at:04}")), f"{at:064x}", width, height, False)
        for at, (width, height) in enumerate(sizes)
    ]


def _pixels(cell: Cell) -> float:
    return cell.source.width_px * cell.source.height_px
