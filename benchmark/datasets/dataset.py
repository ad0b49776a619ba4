"""Boundary of datasets: files of images by name, facts about the set, measurable sources.

A dataset is a file and a line in the registry, which names the function that opens it: it takes
the folders to search, most wanted first, and returns a `Dataset` or raises `Unavailable`. The file
may also have

    PROFILES        facts for figures and captions: `Profile` by name
    fetch_dataset   (name, sought, target, progress): download what is in none of the folders
                    `sought` into the folder `target`, for `bench fetch`; with a fifth parameter
                    `origins`, files or addresses of copies that are used instead
    typical_sizes   (name): width and height (px) of images much like these, for `bench plan`
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import ImageRefused
from benchmark.registry import DATASETS, dataset_module
from benchmark.system.digest import pixels_sha256, remembered


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
    unread: tuple[str, ...] = ()  # of a folder of images, its files of other suffixes

    @property
    def store_name(self) -> str:
        """Return the name of the folder below results/ that holds the dataset's rows."""
        return self.name.partition(":")[0]

    def sizes_of_files(self) -> list[tuple[str, int]]:
        """Return name and size in bytes of every image that is on disk."""
        return [
            (image.name, image.path.stat().st_size) for image in self.images if image.path.is_file()
        ]


class Profile(NamedTuple):
    """Facts about a dataset, by its name in the table `PROFILES` of the module that opens it."""

    title: str  # in figures and captions: "Kodak"
    published_images: int | None = None  # images of the set that published means are over
    most_bpp: float | None = None  # highest rate that the paper's figures draw
    anchor: str = ""  # system that the paper's BD-rates are relative to


def profile(name: str) -> Profile:
    """Return a dataset's profile; of a folder, or a dataset that declares none, its name alone."""
    if name not in DATASETS:
        return Profile(name)
    declared: dict[str, Profile] = getattr(dataset_module(name), "PROFILES", {})
    return declared.get(name, Profile(name))


class Source(NamedTuple):
    """Photograph that can be measured."""

    file: ImageFile
    sha256: str  # of its pixels
    width_px: int
    height_px: int
    lossy: bool  # the file's own coding has lost something already


class Refused(NamedTuple):
    """File that cannot be measured, and why."""

    file: ImageFile
    why: str  # rest of a sentence that begins with the file's name: "is empty"

    @property
    def reason(self) -> str:
        """The whole sentence."""
        return f"{self.file.name} {self.why}"


def probe(files: Sequence[ImageFile], flatten: bool, threads: int) -> list[Source | Refused]:
    """Return every file as a source or a refusal, in order.

    Files that have not changed since they were last read are not read again.
    """
    with ThreadPoolExecutor(threads) as pool:  # decoding and hashing release the interpreter's lock
        return list(pool.map(lambda file: _probe(file, flatten), files))


def without_duplicates(sources: Sequence[Source | Refused]) -> list[Source | Refused]:
    """Return the list with repeated images refused, which would count twice in a mean."""
    first: dict[tuple[str, int], str] = {}
    kept: list[Source | Refused] = []
    for source in sources:
        name = source.file.name
        if isinstance(source, Source):
            name = first.setdefault((source.sha256, source.width_px), name)
        why = f"has the same pixels as {name}: remove one"
        kept.append(source if name == source.file.name else Refused(source.file, why))
    return kept


def _probe(file: ImageFile, flatten: bool) -> Source | Refused:
    def read() -> tuple[str, int, int, bool]:
        from benchmark.datasets.image import read_image

        photograph = read_image(file.path, flatten)
        height, width, _ = photograph.pixels.shape
        return pixels_sha256(photograph.pixels), width, height, photograph.lossy

    try:
        return Source(file, *remembered(file.path, f"source flatten={flatten:d}", read))
    except ImageRefused as refused:
        return Refused(file, refused.reason.subject if refused.reason else str(refused))
    except OSError as error:
        return Refused(file, f"cannot be read: {error.strerror or error}")
