"""Open a request: dataset, sources, contenders and store, all cells and those left to do."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from benchmark.datasets.dataset import Dataset
from benchmark.datasets.source import Refused, Source, probe, without_duplicates
from benchmark.errors import Unavailable, UsageError
from benchmark.packs.pack import open_pack
from benchmark.plan.cells import Cell, Contender, lacking, plan
from benchmark.plan.request import Request
from benchmark.plan.select import ALL, Selection, parse_points, select
from benchmark.registry import open_dataset
from benchmark.rows.store import Store
from benchmark.system.machine import cores


class Sources(NamedTuple):
    """The images of a request's dataset, and those of them that cannot be measured."""

    dataset: Dataset
    images: tuple[Source, ...]
    refused: tuple[Refused, ...]


class Matrix(NamedTuple):
    """All cells of a request, and those that the store does not have yet."""

    sources: Sources
    selection: Selection
    store: Store
    table: pa.Table  # of the store, read once
    cells: tuple[Cell, ...]
    to_do: tuple[Cell, ...]


def open_sources(request: Request) -> Sources:
    """Open the dataset and look at its images (the first `request.limit` of them)."""
    dataset: Dataset = open_dataset(request.dataset, request.data_dir)
    found = without_duplicates(probe(dataset.images[: request.limit], request.flatten, cores()))
    return Sources(
        dataset,
        tuple(one for one in found if isinstance(one, Source)),
        tuple(one for one in found if isinstance(one, Refused)),
    )


def open_store(request: Request, dataset: Dataset) -> Store:
    """Return the store of a dataset below the results folder."""
    return Store(request.results / dataset.store_name)


def open_matrix(request: Request) -> Matrix:
    """Plan the cells of a request and find those that its results folder does not have yet.

    Cells that are to be timed are coded here: bitstream archives have no part in them.
    """
    if request.timing and request.packs:
        raise UsageError("--timing measures encoders, which --pack replaces: use one of the two")
    packs = [open_pack(path) for path in dict.fromkeys(request.packs)]
    points = parse_points(request.points)
    selection = select(request.codecs, points, packs, recorded=not request.timing)
    sources = open_sources(request)
    selection = _for_images(selection, sources.images, named=request.codecs != ALL)
    store = open_store(request, sources.dataset)
    cells = plan(selection.contenders, sources.dataset.name, sources.images)
    stored = store.read()
    done = stored.done(request.timing)
    to_do = tuple(cell for cell in cells if cell.key not in done)
    return Matrix(sources, selection, store, stored.table, tuple(cells), to_do)


def _for_images(selection: Selection, images: Sequence[Source], named: bool) -> Selection:
    """Add to a selection's skipped codecs those whose pack lacks images.

    named: raise `Unavailable` for a codec that has no cell at all.
    """
    kept: list[Contender] = []
    skipped = list(selection.skipped)
    for one in selection.contenders:
        reason = lacking(one, images)
        if reason:
            skipped.append((one.spec.text, reason))
        if not reason or any(one.can_code(image, at) for image in images for at in one.sweep):
            kept.append(one)
        elif named:
            raise Unavailable(f"{one.spec.text} cannot run here: {reason}")
    return Selection(tuple(kept), tuple(skipped))
