"""Datasets as they are typed behind --dataset: where their images are, the name of their rows.

A name or a part of one (`clic2020:mobile`), a folder of images or a csv file that lists some, a
function in a file, a set of a hub, or the name of stored rows, whose images are where a run found
them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from benchmark.datasets.dataset import (
    ImageFile,
    Source,
    lists_images,
    open_dataset,
    open_images,
    probe,
)
from benchmark.errors import UsageError
from benchmark.registry import DATASETS, HUB, is_brought, means_folder, names_file
from benchmark.rows.codecs import folder_store_name
from benchmark.rows.store import Store, stores_below
from benchmark.system.machine import cores


class Place(NamedTuple):
    """A dataset as it is typed, or as a run recorded it; verbs ask it, and never the text."""

    text: str

    @property
    def opens(self) -> bool:
        """True if it leads to images by itself: a path that is here, a function, a hub's set."""
        return _holds_images(self.text) or is_brought(self.text) or self.text.startswith(HUB)

    def stored_name(self, stores: Mapping[str, Path]) -> str:
        """Return the name that its rows have among stores by name; one of none without rows."""
        if self.text.startswith(HUB):
            from benchmark.datasets.hub import hub_name

            return str(hub_name(self.text).dataset)
        if self.text.partition(":")[0] in stores:
            return self.text
        if is_brought(self.text):
            return str(open_dataset(self.text).name)
        if means_folder(self.text):
            dataset = open_images(Path(self.text))
            images, sizes = pixels_of(dataset.images), dataset.sizes_of_files()
            return folder_store_name(dataset.folder_title, images, stores, sizes)
        return self.text

    def measured(self, results: Path) -> "Place":
        """Return the path that stored rows were measured on, if it is still there; else itself.

        A function in a file that rows name is not run: `why_lost` names it.
        """
        if self.text in DATASETS or self.opens or self.text not in stores_below(results):
            return self
        store = Store(results / self.text)
        names = store.means_table()["image"].unique().to_list()
        return next((Place(str(path)) for path in _recorded_paths(store, names)), self)

    def why_lost(self, results: Path) -> str:
        """Return why its images cannot be found, with what finds them; empty if they may be."""
        name = self.text.partition(":")[0]
        stores = stores_below(results)
        if name in DATASETS or self.measured(results).opens or name not in stores:
            return ""
        asked = (_requested(record) for record in reversed(Store(stores[name]).records()))
        brought = next((text for text in asked if names_file(text)), "")
        if brought:
            return f"{name} is of a Python file, which runs only if named: `--dataset {brought}`"
        return f"{name} was a path that no name leads back to: `--dataset path/to/it` finds it"


def required_place(results: Path, dataset: str) -> str:
    """Return the text of `Place.measured`; raise `UsageError` where no name leads to images."""
    place = Place(dataset)
    if why := place.why_lost(results):
        raise UsageError(why)
    return place.measured(results).text


def pixels_of(files: Sequence[ImageFile]) -> set[str]:
    """Return the sha256 of the pixels of images, of those with transparency as --flatten has it."""
    plain = probe(files, flatten=False, threads=cores())
    rest = [file for file, of in zip(files, plain, strict=True) if not isinstance(of, Source)]
    sources = [*plain, *probe(rest, flatten=True, threads=cores())]
    return {source.sha256 for source in sources if isinstance(source, Source)}


def _recorded_paths(store: Store, names: Collection[str]) -> Iterable[Path]:
    """Yield the paths that runs were of and that have at least half of the named images.

    A stranger's record may name any path: it is opened only if it has the rows' files.
    """
    for path in dict.fromkeys(map(_recorded, reversed(store.records()))):
        if path and 2 * _count_images(path, names) >= len(names):
            yield path


def _count_images(path: Path, names: Collection[str]) -> int:
    """Return how many of the named images a folder or a list has."""
    if not lists_images(path):
        return sum(_is_below(path, name) for name in names)
    with suppress(UsageError):
        return len({image.name for image in open_images(path).images} & {*names})
    return 0


def _holds_images(text: str) -> bool:
    """Return whether a text is the path of a folder or a list of images that is here."""
    with suppress(OSError, ValueError):  # too long a name, or one with a null character
        return Path(text).is_dir() or lists_images(Path(text))
    return False


def _requested(record: Mapping[str, Any]) -> str:
    """Return what stood behind --dataset of a run; empty if its record does not say."""
    request = record.get("request")
    place = request.get("dataset") if isinstance(request, dict) else None
    return place if isinstance(place, str) else ""


def _recorded(record: Mapping[str, Any]) -> Path | None:
    """Return the path of images that a run was of, if its record names one that is here."""
    text = _requested(record)
    is_path = text and text not in DATASETS and not names_file(text) and _holds_images(text)
    return Path(text) if is_path else None


def _is_below(folder: Path, name: str) -> bool:
    inside = PurePosixPath(name)
    with suppress(OSError, ValueError):
        return not inside.is_absolute() and ".." not in inside.parts and (folder / name).is_file()
    return False
