"""Simulate a cluster that may not exist; metrics, starts of workers and transfers are left out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.codec import CodecInfo
from benchmark.datasets.dataset import ImageFile, Source
from benchmark.errors import Unavailable
from benchmark.measure.cells import Cell, Contender, Makespan, Seconds, bundles, makespan, plan
from benchmark.measure.estimate import CostModel
from benchmark.measure.matrix import open_stored
from benchmark.measure.request import Request
from benchmark.measure.select import Points, declared_settings, parse_points, select
from benchmark.registry import DATASETS, dataset_module
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec, codec_class, load_codec


class ClusterForecast(NamedTuple):
    """When a cluster would finish cells; the fields are those of `bench plan --nodes --json`."""

    nodes: int
    workers: int  # of the kind that finishes last
    seconds: float
    ideal_seconds: float  # if work could be cut at will
    longest_seconds: float  # of a bundle
    excess: float  # of seconds over the ideal, as a share of the ideal
    cells_without_estimate: int
    cells_by_typical_times: int


def forecast(
    cells: Sequence[Cell], model: CostModel, nodes: int, workers_per_node: int
) -> ClusterForecast:
    """Simulate the cells on a cluster; cells for a GPU have a worker per node beside the others."""
    lanes = {"cpu": nodes * workers_per_node, "cuda": nodes}
    ends = [
        (
            simulate([cell for cell in cells if cell.device == device], model.seconds, workers),
            workers,
        )
        for device, workers in lanes.items()
    ]
    slowest, workers = max(ends, key=lambda end: end[0].seconds)
    unknown = sum(model.basis(cell) == "unknown" for cell in cells)
    typical = sum(model.basis(cell) == "typical" for cell in cells)
    return ClusterForecast(nodes, workers, *slowest, slowest.excess, unknown, typical)


def simulate(cells: Sequence[Cell], seconds: Seconds, workers: int) -> Makespan:
    """Simulate cells of a kind of worker; those of unknown seconds are left out."""
    known = [cell for cell in cells if seconds(cell) is not None]
    order = bundles(known, seconds, workers)
    return makespan((math.fsum(seconds(task) or 0 for task in bundle) for bundle in order), workers)


def imagine(request: Request) -> tuple[list[Cell], CostModel] | None:
    """Return the cells of a request that cannot run here, and a cost model; None without sizes."""
    try:
        sources, store = open_stored(request)
        images = list(sources.images)
    except Unavailable:
        images = typical_sources(request.dataset, request.limit)
        store = Store(request.results / request.dataset.partition(":")[0])
    if not images:
        return None
    points = parse_points(request.points)
    cells = imagined_cells(request.codecs, points, request.dataset, images, request.draws)
    return cells, CostModel(store.table())


def imagined_cells(
    codecs: Sequence[str],
    points: Points,
    dataset: str,
    images: Sequence[Source],
    draws: int | None = None,
) -> list[Cell]:
    """Return codecs x settings x images, for counting: no program or weight file is needed."""

    def imagined(spec: CodecSpec) -> Contender:
        codec = codec_class(spec)
        if not isinstance(getattr(codec, "sweep", None), tuple):
            codec = load_codec(spec)  # its sweep depends on the options
        info = CodecInfo("", "", "", spec.text, 0, "")
        return Contender(spec, info, codec.sweep, accepts=declared_settings(codec))

    selection = select(codecs, points, skip_missing=True, draws=draws, contender=imagined)
    return plan(selection.contenders, dataset, images)


def typical_sources(dataset: str, limit: int | None) -> list[Source]:
    """Return as many pictures as a dataset has, of its typical sizes; none if they are unknown."""
    module = dataset_module(dataset) if dataset in DATASETS else None
    sizes_of = getattr(module, "typical_sizes", lambda name: ())
    return [
        Source(ImageFile(f"{at:04}", Path(f"{at:04}")), f"{at:064x}", width, height, False)
        for at, (width, height) in enumerate(list(sizes_of(dataset))[:limit])
    ]
