"""Boundary of datasets: names and files of images, in an order that never changes, without pixels.

A dataset is one file and one line in the registry, which names the function that opens it: it takes
the folders to search, most wanted first, and returns a `Dataset` or raises `Unavailable`. The file
may also have

    PROFILES        facts for figures, by name (`benchmark.datasets.profile`)
    fetch_dataset   (name, sought, target, progress): download what is in none of the folders
                    `sought` into the folder `target`, for `bench fetch`; with a fifth parameter
                    `origins`, files or addresses of copies that are used instead
    typical_sizes   (name): width and height (px) of images much like these, for `bench plan`
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class ImageFile(NamedTuple):
    """Photograph on disk; its name is the path below the dataset's root, with slashes."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Dataset:
    """Named list of image files, sorted by name."""

    name: str  # "kodak", "clic2020:mobile"; rows are stored under the part before the colon
    images: tuple[ImageFile, ...]
    # Of a folder of images, its own name. `name` is then made from its path, and replaced by that
    # of its results (`rows.folder_name`) where rows are read or written.
    folder_title: str = ""

    @property
    def store_name(self) -> str:
        """Return the name of the folder below results/ that holds the dataset's rows."""
        return self.name.partition(":")[0]

    def sizes_of_files(self) -> list[tuple[str, int]]:
        """Return name and size in bytes of every image that is on disk."""
        return [(one.name, one.path.stat().st_size) for one in self.images if one.path.is_file()]
