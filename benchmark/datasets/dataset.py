"""What a dataset is: names and files, in an order that never changes. No pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class ImageFile(NamedTuple):
    """One photograph on disk; the name is its path below the dataset's root, with slashes."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named list of image files, sorted by name."""

    name: str  # "kodak", "clic2020:mobile"; rows are stored under the part before the colon
    images: tuple[ImageFile, ...]

    @property
    def store_name(self) -> str:
        """The name of the folder below results/ that holds its rows."""
        return self.name.partition(":")[0]
