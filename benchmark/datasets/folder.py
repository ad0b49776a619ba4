"""Folders of images as datasets, and the folders that are searched for the named datasets."""

import os
import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from benchmark.datasets.dataset import Dataset, ImageFile
from benchmark.errors import Unavailable, UsageError
from benchmark.system.cache import cache_folder

VARIABLE = "BENCH_DATA"
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
PPM_SUFFIXES = (".ppm", ".pgm", ".pbm", ".pnm")
SUFFIXES = frozenset([".png", *JPEG_SUFFIXES, ".webp", ".tif", ".tiff", *PPM_SUFFIXES])


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

    An image is a file with one of `SUFFIXES`, in either case; its content is not read. Hidden files
    and folders are left out, links to folders are not followed. The dataset's name is that of the
    folder and six hex digits of the sha256 of its resolved path, so that the rows of two folders of
    one name never mix. Raises `UsageError` where there is no folder, or no image in it.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder of images")
    resolved = path.resolve()
    digest = sha256(os.fsencode(resolved)).hexdigest()[:6]
    title = re.sub(r"[^A-Za-z0-9._-]+", "_", resolved.name).lstrip(".") or "images"
    images = _images_below(resolved)
    if not images:
        raise UsageError(f"{path} holds no image with a suffix of {', '.join(sorted(SUFFIXES))}")
    return Dataset(f"{title}-{digest}", tuple(sorted(images)))


def find_images(
    name: str,
    data_folders: Sequence[Path],
    below: Sequence[str],
    images_in: Callable[[Path], Sequence[ImageFile]],
) -> tuple[ImageFile, ...]:
    """Return the images, sorted, of the first place that holds the whole dataset.

    The places are the paths of `below` in the first data folder, then in the next. `images_in`
    returns the images of a place, none where it has nothing of the dataset, and raises
    `Unavailable` with its objection to what is there; the first objection is reported when no place
    is right.
    """
    objection = ""
    for place in (folder / path for folder in data_folders for path in below):
        try:
            if images := images_in(place):
                return tuple(sorted(images))
        except Unavailable as error:
            objection = objection or str(error)
    where = ", ".join(str(folder) for folder in data_folders)
    reason = objection or f"it is not in {where}"
    raise Unavailable(f"the dataset {name} is not here ({reason}): run `bench fetch {name}`")


def _images_below(root: Path) -> list[ImageFile]:
    def complain(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be listed: {error.strerror}")

    images = []
    for folder, below, files in os.walk(root, onerror=complain):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES:
                images.append(ImageFile(_text(path.relative_to(root).as_posix()), path))
    return images


def _text(name: str) -> str:
    """Return a file name with bytes that are not UTF-8 escaped, as a table of text needs it."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
