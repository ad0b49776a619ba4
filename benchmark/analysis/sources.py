"""The photographs that rows are of: their sizes, and which of them their dataset has today.

Rows outlive photographs: a folder may have lost some since, or have other pictures under their
names. A photograph is known by the sha256 of its pixels. A dataset is found by what the user names,
by its name in the registry, or by the folder that the records of its runs name.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.datasets.dataset import ImageFile, Source, probe
from benchmark.datasets.folder import open_dataset, open_folder
from benchmark.errors import BenchError, Unavailable
from benchmark.registry import DATASETS
from benchmark.rows.store import Store
from benchmark.system.machine import cores
from benchmark.user_file import names_file

WIDE_SPREAD = 16  # from this ratio of pixels on, the sizes of a set are said to be spread


class Size(NamedTuple):
    """A photograph and its size."""

    image: str
    width_px: int
    height_px: int

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width_px * self.height_px


class SourceFacts(NamedTuple):
    """Facts about the distinct photographs of a table of rows."""

    images: int
    lossy: int  # of them, those whose files are lossily coded, so that they show artefacts
    smallest: Size
    largest: Size

    @property
    def spread(self) -> float:
        """Pixels of the largest photograph over those of the smallest."""
        return self.largest.pixels / max(self.smallest.pixels, 1)


def source_facts(table: pa.Table) -> SourceFacts | None:
    """Return the facts about the photographs of a table of rows; None for no rows."""
    names = ("image_sha256", "image", "width_px", "height_px", "source_lossy")
    rows = table.select(names).group_by(names, use_threads=False).aggregate([]).to_pylist()
    photographs = {row["image_sha256"]: row for row in reversed(rows)}.values()
    if not photographs:
        return None
    sizes = [Size(row["image"], row["width_px"], row["height_px"]) for row in photographs]
    sizes.sort(key=lambda size: (size.pixels, size.image))
    lossy = sum(bool(row["source_lossy"]) for row in photographs)
    return SourceFacts(len(sizes), lossy, sizes[0], sizes[-1])


def present(
    table: pa.Table, store: Store, place: str = "", data_dir: Path | None = None
) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the rows of photographs that their dataset has today, and the names of the others.

    place: folder or `path.py:function` that the user named for the dataset, if any. data_dir: as
    `open_dataset` has it. All rows stay where no dataset is known that has at least half of their
    photographs, or, if it has fewer, half of its own.
    """
    pairs = table.group_by(["image", "image_sha256"], use_threads=False).aggregate([]).to_pylist()
    names = {pair["image_sha256"]: pair["image"] for pair in pairs if pair["image_sha256"]}
    for files in _places(store, place, data_dir, set(names.values())) if pairs else ():
        here = _pixels_here(files, names)
        if 2 * len(here) >= min(len(names), len(files)) and here:
            gone = tuple(sorted(name for sha256, name in names.items() if sha256 not in here))
            if gone:
                keep = pa.array([*here, None], pa.string())
                table = table.filter(pc.is_in(table["image_sha256"], value_set=keep))
            return table, gone
    return table, ()


def pixels_of(files: Sequence[ImageFile]) -> set[str]:
    """Return the sha256 of the pixels of images, of those with transparency as --flatten has it."""
    plain = probe(files, flatten=False, threads=cores())
    rest = [refused.file for refused in plain if not isinstance(refused, Source)]
    sources = [*plain, *probe(rest, flatten=True, threads=cores())]
    return {source.sha256 for source in sources if isinstance(source, Source)}


def _pixels_here(files: Sequence[ImageFile], names: Mapping[str, str]) -> set[str]:
    """Return those of the photographs that the files have: first those of the rows' own names."""
    by_name = set(names.values())
    here = names.keys() & pixels_of([file for file in files if file.name in by_name])
    if here and len(here) < len(names):
        here |= names.keys() & pixels_of([file for file in files if file.name not in by_name])
    return set(here)


def _places(
    store: Store, place: str, data_dir: Path | None, names: set[str]
) -> Iterable[tuple[ImageFile, ...]]:
    """Yield the images of each place that may be the dataset, most certain first."""
    name = store.folder.absolute().name
    if place or name in DATASETS:
        with suppress(Unavailable):
            yield open_dataset(place or name, data_dir).images
        return
    for path in dict.fromkeys(map(_recorded, reversed(store.records()))):
        # A stranger's record may name any folder: it is walked only if it has the rows' files.
        if path and 2 * sum(_is_below(path, name) for name in names) >= len(names):
            with suppress(BenchError):
                yield open_folder(path).images


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
    try:
        return not inside.is_absolute() and ".." not in inside.parts and (folder / name).is_file()
    except (OSError, ValueError):
        return False
