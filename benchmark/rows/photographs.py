"""Photographs that stored rows are of: where they lie, and which of them their dataset still has.

Rows outlive photographs, which are known by the sha256 of their pixels.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from polars import col

from benchmark.datasets.dataset import ImageFile, Source, open_dataset, open_folder, probe
from benchmark.errors import BenchError, Unavailable
from benchmark.registry import DATASETS, names_file
from benchmark.rows.store import Store, stores_below
from benchmark.system.machine import cores


def measured_place(results: Path, dataset: str) -> str:
    """Return the folder of images that rows of this name were measured on, if it is still there.

    A name that is a dataset's or a folder's stays, as does one without rows or such a folder.
    """
    if dataset in DATASETS or Path(dataset).exists() or dataset not in stores_below(results):
        return dataset
    store = Store(results / dataset)
    names = store.means_table()["image"].unique().to_list()
    return next((str(path) for path in _recorded_folders(store, names)), dataset)


def present(
    table: pl.DataFrame, store: Store, place: str = "", data_dir: Path | None = None
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the rows of photographs that their dataset has today, and the names of the others.

    place: folder or `path.py:function` that the user named for the dataset, if any. data_dir: as
    `open_dataset` has it. All rows stay where no dataset is known that has at least half of their
    photographs, or, if it has fewer, half of its own.
    """
    pairs = table.select("image_sha256", "image").unique(maintain_order=True).rows()
    names = {sha256: name for sha256, name in pairs if sha256}
    own = set(names.values())
    for files in _places(store, place, data_dir, own) if pairs else ():
        here = names.keys() & pixels_of([file for file in files if file.name in own])
        if here and len(here) < len(names):  # some may have other names now
            here |= names.keys() & pixels_of([file for file in files if file.name not in own])
        if 2 * len(here) >= min(len(names), len(files)) and here:
            gone = tuple(sorted(name for sha256, name in names.items() if sha256 not in here))
            if gone:
                sha256 = col("image_sha256")
                table = table.filter(sha256.is_in([*here]) | sha256.is_null())
            return table, gone
    return table, ()


def pixels_of(files: Sequence[ImageFile]) -> set[str]:
    """Return the sha256 of the pixels of images, of those with transparency as --flatten has it."""
    plain = probe(files, flatten=False, threads=cores())
    rest = [refused.file for refused in plain if not isinstance(refused, Source)]
    sources = [*plain, *probe(rest, flatten=True, threads=cores())]
    return {source.sha256 for source in sources if isinstance(source, Source)}


def _places(
    store: Store, place: str, data_dir: Path | None, names: set[str]
) -> Iterable[tuple[ImageFile, ...]]:
    """Yield the images of each place that may be the dataset, most certain first."""
    name = store.folder.absolute().name
    if place or name in DATASETS:
        with suppress(Unavailable):
            yield open_dataset(place or name, data_dir).images
        return
    for path in _recorded_folders(store, names):
        with suppress(BenchError):
            yield open_folder(path).images


def _recorded_folders(store: Store, names: Collection[str]) -> Iterable[Path]:
    """Yield the folders that runs were of and that hold at least half of the named images.

    A stranger's record may name any folder: it is walked only if it has the rows' files.
    """
    for path in dict.fromkeys(map(_recorded, reversed(store.records()))):
        if path and 2 * sum(_is_below(path, name) for name in names) >= len(names):
            yield path


def _recorded(record: Mapping[str, Any]) -> Path | None:
    """Return the folder of images that a run was of, if its record names one that is here."""
    request = record.get("request")
    place = request.get("dataset") if isinstance(request, dict) else None
    if not isinstance(place, str) or place in DATASETS or names_file(place):
        return None
    with suppress(OSError, ValueError):  # too long a name, or one with a null character
        return Path(place) if Path(place).is_dir() else None
    return None


def _is_below(folder: Path, name: str) -> bool:
    inside = PurePosixPath(name)
    with suppress(OSError, ValueError):
        return not inside.is_absolute() and ".." not in inside.parts and (folder / name).is_file()
    return False
