"""Values of --dataset: where their images are, and the name of their rows.

A value is the name of a dataset or part (`clic2020:mobile`), a folder of images, a csv file that
lists images, a function in a file, a dataset of a hub, or the name of stored rows; their images are
where a run found them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from benchmark.datasets.dataset import (
    ImageFile,
    Source,
    is_image_list,
    open_dataset,
    open_images,
    probe,
)
from benchmark.errors import UsageError
from benchmark.registry import DATASETS, HUB, is_folder_name, is_python_file, is_user_code
from benchmark.rows.codecs import folder_store_name
from benchmark.rows.store import Store, stores_below
from benchmark.system.machine import cores


class Place(NamedTuple):
    """Value of --dataset, typed or recorded; only this class interprets it."""

    text: str

    @property
    def leads_to_images(self) -> bool:
        """True if the text is an existing path, a function in a file, or a dataset of a hub."""
        return _holds_images(self.text) or is_user_code(self.text) or self.text.startswith(HUB)

    def stored_name(self, stores: Mapping[str, Path]) -> str:
        """Return the name that the dataset's rows have in `stores` (by name), or would have."""
        if self.text.startswith(HUB):
            from benchmark.datasets.hub import hub_name

            return str(hub_name(self.text).dataset)
        if self.text.partition(":")[0] in stores:
            return self.text
        if is_user_code(self.text):
            return str(open_dataset(self.text).name)
        if is_folder_name(self.text):
            dataset = open_images(Path(self.text))
            images, sizes = pixels_of(dataset.images), dataset.sizes_of_files()
            return folder_store_name(dataset.folder_title, images, stores, sizes)
        return self.text

    def find_measured(self, results: Path) -> "Place":
        """Return the place of stored rows' images if their path exists, or else this place."""
        if self.text in DATASETS or self.leads_to_images or self.text not in stores_below(results):
            return self
        store = Store(results / self.text)
        names = store.means_table()["image"].unique().to_list()
        return next((Place(str(path)) for path in _recorded_paths(store, names)), self)

    def explain_loss(self, results: Path) -> str:
        """Return why the images cannot be found, with a remedy; "" if they can be found."""
        name = self.text.partition(":")[0]
        stores = stores_below(results)
        if name in DATASETS or self.find_measured(results).leads_to_images or name not in stores:
            return ""
        recorded_datasets = map(_recorded_dataset, reversed(Store(stores[name]).records()))
        file_dataset = next((text for text in recorded_datasets if is_python_file(text)), "")
        if file_dataset:
            return f"{name} comes from a Python file; to run it: `--dataset {file_dataset}`"
        return f"the images of {name} are not where a run found them: give `--dataset path/to/them`"


def required_place(results: Path, dataset: str) -> str:
    """Return the text of `Place.find_measured`; `UsageError` if images cannot be found."""
    place = Place(dataset)
    if reason := place.explain_loss(results):
        raise UsageError(reason)
    return place.find_measured(results).text


def pixels_of(files: Sequence[ImageFile]) -> set[str]:
    """Return the sha256 of all images' pixels; transparent images are flattened (--flatten)."""
    sources_or_errors = probe(files, flatten=False, threads=cores())
    transparent_files = [
        file
        for file, source_or_error in zip(files, sources_or_errors, strict=True)
        if not isinstance(source_or_error, Source)
    ]
    sources = [*sources_or_errors, *probe(transparent_files, flatten=True, threads=cores())]
    return {source.sha256 for source in sources if isinstance(source, Source)}


def _recorded_paths(store: Store, names: Collection[str]) -> Iterable[Path]:
    """Yield the recorded paths that have at least half of the named images.

    Another author's record may name any path: it is opened only if it has the rows' files.
    """
    for path in dict.fromkeys(map(_recorded_path, reversed(store.records()))):
        if path and 2 * _count_images(path, names) >= len(names):
            yield path


def _count_images(path: Path, names: Collection[str]) -> int:
    if not is_image_list(path):
        return sum(_is_below(path, name) for name in names)
    with suppress(UsageError):
        return len({image.name for image in open_images(path).images} & {*names})
    return 0


def _holds_images(text: str) -> bool:
    with suppress(OSError, ValueError):  # the name is too long or has a null character
        return Path(text).is_dir() or is_image_list(Path(text))
    return False


def _recorded_dataset(record: Mapping[str, Any]) -> str:
    request = record.get("request")
    dataset = request.get("dataset") if isinstance(request, dict) else None
    return dataset if isinstance(dataset, str) else ""


def _recorded_path(record: Mapping[str, Any]) -> Path | None:
    text = _recorded_dataset(record)
    is_path = text and text not in DATASETS and not is_python_file(text) and _holds_images(text)
    return Path(text) if is_path else None


def _is_below(folder: Path, name: str) -> bool:
    relative_path = PurePosixPath(name)
    with suppress(OSError, ValueError):
        is_relative = not relative_path.is_absolute() and ".." not in relative_path.parts
        return is_relative and (folder / name).is_file()
    return False
