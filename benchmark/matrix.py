"""A request to cells: dataset, sources, contenders, store opened, and what is left to do."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.dataset import Dataset
from benchmark.plan import Cell, plan
from benchmark.provenance import cores
from benchmark.select import Selection, parse_points, select
from benchmark.source import Refused, Source, probe, without_twins
from benchmark.store import Store


class Request(NamedTuple):
    """What the options of `bench run`, `plan` and `rescore` have in common."""

    dataset: str
    results: Path
    data_dir: Path | None
    limit: int | None
    flatten: bool


class Sources(NamedTuple):
    """The photographs of a request, and those of them that cannot be measured."""

    dataset: Dataset
    images: tuple[Source, ...]
    refused: tuple[Refused, ...]


class Matrix(NamedTuple):
    """All cells of a request, and those that the store does not have yet."""

    sources: Sources
    selection: Selection
    store: Store
    cells: tuple[Cell, ...]
    to_do: tuple[Cell, ...]


def open_sources(request: Request) -> Sources:
    """Find the dataset and look at its images (the first `limit` of them)."""
    from benchmark.datasets.folder import data_folders, open_folder
    from benchmark.registry import DATASETS, dataset_opener

    if request.dataset in DATASETS or not Path(request.dataset).exists():
        dataset: Dataset = dataset_opener(request.dataset)(data_folders(request.data_dir))
    else:
        dataset = open_folder(Path(request.dataset))
    found = without_twins(probe(dataset.images[: request.limit], request.flatten, cores()))
    return Sources(
        dataset,
        tuple(one for one in found if isinstance(one, Source)),
        tuple(one for one in found if isinstance(one, Refused)),
    )


def open_store(request: Request, dataset: Dataset) -> Store:
    """The store of the dataset below the results folder."""
    return Store(request.results / dataset.store_name)


def open_matrix(request: Request, codecs: str, points: Sequence[str], timed: bool) -> Matrix:
    """Codecs × settings × images, and what of it is not done."""
    selection = select(codecs, parse_points(points))
    sources = open_sources(request)
    store = open_store(request, sources.dataset)
    cells = plan(selection.contenders, sources.dataset.name, sources.images)
    done = store.done(timed)
    to_do = tuple(cell for cell in cells if cell.key not in done)
    return Matrix(sources, selection, store, tuple(cells), to_do)
