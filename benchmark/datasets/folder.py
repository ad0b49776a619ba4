"""Datasets that users bring, a folder or a function, and the folders searched for named ones."""

import inspect
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import product
from pathlib import Path

from benchmark import user_file
from benchmark.datasets.dataset import Dataset, ImageFile
from benchmark.errors import BenchError, Reason, Unavailable, UsageError
from benchmark.registry import DATASETS, dataset_opener, means_folder
from benchmark.system.digest import cache_folder

VARIABLE = "BENCH_DATA"
NAME_OF_RESULTS = re.compile("[A-Za-z0-9_][A-Za-z0-9._-]*")
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
PPM_SUFFIXES = (".ppm", ".pgm", ".pbm", ".pnm")
SUFFIXES = frozenset([".png", *JPEG_SUFFIXES, ".webp", ".tif", ".tiff", ".bmp", *PPM_SUFFIXES])


def data_folders(data_dir: Path | None = None) -> list[Path]:
    """Return the folders to search: `data_dir`, the parts of $BENCH_DATA, the user's cache."""
    if data_dir and not data_dir.is_dir():
        raise UsageError(f"--data-dir {data_dir} is not a folder")
    own = [data_dir] if data_dir else []
    parts = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    return [*own, *parts, fetched_folder()]


def fetched_folder() -> Path:
    """Return the folder into which `bench fetch` puts datasets by default."""
    return cache_folder() / "datasets"


def open_folder(path: Path) -> Dataset:
    """Open all images in a folder and its subfolders as a dataset, sorted by path.

    An image is a file with a suffix of `SUFFIXES`, in either case; other files are `unread`. Hidden
    files and folders are left out, links to folders are not followed. The name is that of the
    folder and six hex digits of the sha256 of its path. Raises `UsageError` where there is no
    folder, or no image in it.
    """
    if not path.exists():
        raise UsageError(f"there is no folder {path}: give one with images, or a dataset's name")
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder of images")
    resolved = path.resolve()
    digest = sha256(os.fsencode(resolved)).hexdigest()[:6]
    title = re.sub(r"[^A-Za-z0-9._-]+", "_", resolved.name).lstrip(".") or "images"
    images, unread = _images_below(resolved)
    if not images:
        kinds = ", ".join(unread_kinds(unread))
        known = ", ".join(sorted(SUFFIXES))
        raise UsageError(
            f"{path} holds no image with a suffix of {known}"
            + (kinds and f"; it holds {kinds}: convert them to PNG")
        )
    return Dataset(f"{title}-{digest}", tuple(sorted(images)), title, tuple(sorted(unread)))


def unread_kinds(names: Iterable[str]) -> list[str]:
    """Count files by suffix, the most first.

    >>> unread_kinds(["a.HEIC", "b/c.heic", "notes"])
    ['2 .heic', '1 without suffix']
    """
    counts = Counter(Path(name).suffix.lower() or "without suffix" for name in names)
    return [f"{count} {suffix}" for suffix, count in counts.most_common()]


def open_dataset(name_or_folder: str | Path, data_dir: Path | None = None) -> Dataset:
    """Open a dataset: a name of the registry, a folder of images, or `path.py:function`.

    data_dir: searched for named datasets before $BENCH_DATA and the user's cache. Raises
    `UnknownName` for what is neither a name nor a path, `UsageError` for a path without images,
    `Unavailable` where images are missing.
    """
    text = str(name_or_folder)
    if user_file.names_file(text):
        return open_from_file(text, data_folders(data_dir))
    if means_folder(text):
        return open_folder(Path(text))
    dataset: Dataset = dataset_opener(text, "dataset or folder")(data_folders(data_dir))
    return dataset


def open_from_file(name: str, folders: Sequence[Path]) -> Dataset:
    """Call the function that `path.py:function` names, and return its dataset, images sorted.

    folders: the data folders, most wanted first, which it may take as its only argument. Raises
    `UsageError` for a function that fails, returns no dataset, or takes the name of another.
    """
    function = user_file.load(name, "function")
    arguments = [list(folders)] if inspect.signature(function).parameters else []
    try:
        made: object = function(*arguments)
        if isinstance(made, Dataset):  # images of a generator can be read once
            made = Dataset(made.name, tuple(made.images))
    except BenchError:
        raise
    except Exception as error:
        raise user_file.failed_in(name, function, "the function of", error) from error
    place = user_file.place_of(name)
    if not isinstance(made, Dataset):
        raise UsageError(f"{place}: {name} is to return a Dataset, not {type(made).__name__}")
    if objection := _objection(made):
        raise UsageError(f"{place}: the dataset of {name} {objection}")
    return Dataset(made.name, tuple(sorted(made.images)))


def _objection(made: Dataset) -> str:
    """Return what is wrong with a dataset that a user's function made; empty for nothing."""
    if made.name in DATASETS or made.store_name in DATASETS:
        return (
            f"has the name {made.name!r} of another dataset, whose results lie there: give it its "
            "own name"
        )
    if not NAME_OF_RESULTS.fullmatch(made.name):
        return f"has the name {made.name!r}, which is none for a folder of results"
    if not made.images or not all(isinstance(image, ImageFile) for image in made.images):
        return "is to have images, each an ImageFile"
    for name, count in Counter(image.name for image in made.images).items():
        if count > 1:
            return f"has two images named {name!r}"
    missing = [image for image in made.images if not Path(image.path).is_file()]
    return f"has no image {missing[0].name} at {missing[0].path}" if missing else ""


def find_images(
    name: str,
    data_folders: Sequence[Path],
    below: Sequence[str],
    images_in: Callable[[Path], Sequence[ImageFile]],
    content: str = "its images",
) -> tuple[ImageFile, ...]:
    """Return the images, sorted, of the first place that holds the whole dataset.

    The places are the paths of `below` in the first data folder, then in the next; "." is the data
    folder itself. `images_in` returns the images of a place, none where it has nothing of the
    dataset, and raises `Unavailable` with its objection to what is there. content: what a place has
    to hold, for errors.
    """
    objections: dict[bool, str] = {}  # by whether the place is a data folder itself
    for folder, path in product(data_folders, below):
        try:
            if images := images_in(folder / path):
                return tuple(sorted(images))
        except Unavailable as error:
            objections.setdefault(path == ".", str(error))
    where = " or ".join(str(folder) for folder in data_folders)
    sought = f"{below[0]} with {content} is not in {where}"
    reason = objections.get(False) or "; ".join([sought, *objections.values()])
    raise Unavailable(
        f"the dataset {name} is not here ({reason}): run `bench fetch {name}`, put {content} into "
        f"{data_folders[0] / below[0]} (docs/datasets.md has every layout), name the folder that "
        "holds them by --data-dir, or measure any folder of images as it is with --dataset FOLDER",
        Reason("dataset", name, f"bench fetch {name}"),
    )


def _images_below(root: Path) -> tuple[list[ImageFile], list[str]]:
    """Return the images, and the names of the other files."""

    def complain(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be listed: {error.strerror}")

    images, unread = [], []
    for folder, below, files in os.walk(root, onerror=complain):
        below[:] = [name for name in below if not name.startswith(".")]
        for path in (Path(folder, name) for name in files if not name.startswith(".")):
            # bytes that are not UTF-8 are escaped, as a table of text needs it
            name = os.fsencode(path.relative_to(root).as_posix()).decode(
                "utf-8", "backslashreplace"
            )
            if path.suffix.lower() in SUFFIXES:
                images.append(ImageFile(name, path))
            else:
                unread.append(name)
    return images, unread
