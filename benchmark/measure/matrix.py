"""Open a request: dataset, sources, contenders and store, all cells and those left to do."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from benchmark.codec import DeclaresSizes, TakesDataset
from benchmark.datasets.dataset import (
    Dataset,
    Refused,
    Source,
    open_dataset,
    probe,
    without_duplicates,
)
from benchmark.errors import DamagedResults, Unavailable, UsageError
from benchmark.measure.cells import Cell, Contender, Part, lacking, plan
from benchmark.measure.request import Request
from benchmark.measure.select import ALL, Selection, Skipped, cannot_run, parse_points, select
from benchmark.registry import DATASETS, is_brought
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.runs import folder_store_name
from benchmark.rows.shard import SHIPPED
from benchmark.rows.store import Store, stores_below
from benchmark.spec import codec_class, load_codec
from benchmark.system.bundled import begin_with_bundled
from benchmark.system.machine import cores

ONCE = "its pictures were coded elsewhere, once: --generations needs an encoder here"


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
    """Open the dataset and look at its images; for its rows, use `open_stored`."""
    dataset: Dataset = open_dataset(request.dataset, request.data_dir)
    images = without_duplicates(probe(dataset.images[: request.limit], request.flatten, cores()))
    kept = tuple(image for image in images if isinstance(image, Source))
    return Sources(dataset, kept, tuple(image for image in images if isinstance(image, Refused)))


def sources_of(dataset: str, data_dir: Path | None, named: bool = True) -> dict[str, Source] | str:
    """Return a dataset's photographs by sha256, or why they are missing; named: by the user."""
    absent = "The original is not here"
    is_place = named and (Path(dataset).is_dir() or is_brought(dataset))
    name = dataset if is_place else dataset.partition(":")[0]
    if name not in DATASETS and not is_place:
        finds = "`bench report --page --dataset path/to/it` finds it"
        return f"{absent}: {name} was a folder that no name leads back to; {finds}."
    try:
        opened = open_sources(Request(dataset=name, data_dir=data_dir, flatten=True))
    except Unavailable as missing:
        return f"{absent}: {missing}."
    return {image.sha256: image for image in opened.images}


def with_stored_name(sources: Sources, stores: Mapping[str, Path]) -> Sources:
    """Return the sources with the name that the dataset, if a folder, has among results by name."""
    dataset = sources.dataset
    if not dataset.folder_title:
        return sources
    images = [image.sha256 for image in sources.images]
    name = folder_store_name(dataset.folder_title, images, stores, dataset.sizes_of_files())
    return sources._replace(dataset=replace(dataset, name=name))


def open_stored(request: Request) -> tuple[Sources, Store]:
    """Open the dataset as `open_sources` does, and the store of its rows in the results folder."""
    sources = open_sources(request)
    begin_with_bundled(request.results)
    if sources.dataset.folder_title:
        sources = with_stored_name(sources, stores_below(request.results))
    return sources, Store(request.results / sources.dataset.store_name)


def measured_before(request: Request) -> bool:
    """Return whether the results folder may have finished cells: own rows of the dataset's name."""
    shards = (request.results / request.dataset.partition(":")[0] / "per_image").glob("*.parquet")
    return any(not path.name.startswith(SHIPPED) for path in shards)


def open_matrix(request: Request) -> Matrix:
    """Plan the cells of a request and find those that its results folder does not have yet."""
    if request.timing and request.packs:
        raise UsageError("--timing measures encoders, which --pack replaces: use one of the two")
    Part.of(request.part)  # a text that is none is refused before anything is opened
    packs = [open_pack(path) for path in dict.fromkeys(request.packs)]
    points = parse_points(request.points)
    recorded = not request.timing
    selection = select(request.codecs, points, packs, recorded, request.skip_missing, request.draws)
    sources, store = open_stored(request)
    selection = _for_images(selection, sources.images, request)
    return matrix_of(request, sources, selection, store)


def matrix_of(request: Request, sources: Sources, selection: Selection, store: Store) -> Matrix:
    """Return the cells of a selection, and those that the store lacks as it is now."""
    generations = request.generations or 1
    part = Part.of(request.part)
    cells = plan(selection.contenders, sources.dataset.name, sources.images, generations, part)
    stored = store.read()
    done = stored.done(request.timing) & {key for cell in cells for key in cell.keys}
    if request.keep and (lost := stored.without_stream(store, done, request.timing)):
        done -= lost
        warnings.warn(
            f"{len(lost)} cells of {store.folder} have lost their streams (missing, or not of the "
            "recorded size) and are to do again; `bench run --no-keep` counts them as done",
            DamagedResults,
            stacklevel=2,
        )
    to_do = tuple(cell for cell in cells if not done or not done.issuperset(cell.keys))
    return Matrix(sources, selection, store, stored.table, tuple(cells), to_do)


def _for_images(selection: Selection, images: Sequence[Source], request: Request) -> Selection:
    """Skip codecs whose pack lacks images; `Unavailable` for one asked for by name, or for all."""
    kept: list[Contender] = []
    skipped = list(selection.skipped)
    for contender in selection.contenders:
        spec = contender.spec
        if issubclass(codec_class(spec), TakesDataset):
            load_codec(spec).require_distinct([image.file.name for image in images])
        once = request.generations and (
            contender.pack or issubclass(codec_class(spec), DeclaresSizes)
        )
        if reason := ONCE if once else lacking(contender, images):
            skipped.append(Skipped(spec.text, reason))
        if not reason or (not once and plan([contender], "", images)):
            kept.append(contender)
        elif request.codecs != ALL and not request.skip_missing:
            raise cannot_run(spec.text, reason, len(request.codecs))
    if not kept and skipped:
        reasons = "; ".join(f"{codec}: {why}" for codec, why, _ in skipped)
        raise Unavailable(f"none of the codecs can run here: {reasons}")
    return Selection(tuple(kept), tuple(skipped))
