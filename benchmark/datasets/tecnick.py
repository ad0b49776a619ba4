"""Tecnick TESTIMAGES: 100 photographs of 1200 x 1200 px (Asuni and Giachetti, STAG 2014)."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.datasets.archive import Archive, fetch_archives, find_archive_images
from benchmark.datasets.dataset import Dataset
from benchmark.datasets.download import DownloadProgress
from benchmark.datasets.profile import Profile

PROFILES = {"tecnick": Profile("Tecnick", 100)}
SIDE_PX = 1200
FOLDER = "RGB/RGB_OR_1200x1200"
# Its publisher states no digest: number and sizes of the photographs are what is compared.
SAMPLING = Archive(
    "tecnick",
    "https://downloads.sourceforge.net/project/testimages/OLD/OLD_SAMPLING/testimages.zip",
    100,
    range(SIDE_PX, SIDE_PX + 1),
    (
        "tecnick",
        *(
            f"{above}{FOLDER}"
            for above in ("tecnick/TESTIMAGES/", "TESTIMAGES/", "testimages/", "")
        ),
        "RGB_OR_1200x1200",
        ".",
    ),
    member_folder=FOLDER,
)


def open_tecnick(data_folders: Sequence[Path]) -> Dataset:
    """Open the 100 photographs; see `archive.find_archive_images`."""
    return Dataset(SAMPLING.dataset, find_archive_images(SAMPLING, data_folders))


def typical_sizes(name: str) -> tuple[tuple[int, int], ...]:
    """Return width and height (px) of the 100 images, for planning."""
    return ((SIDE_PX, SIDE_PX),) * SAMPLING.num_images


def fetch_dataset(
    name: str,
    sought: Sequence[Path],
    target: Path,
    progress: DownloadProgress | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Fetch the archive and unpack the photographs of 1200 px into `target`/tecnick."""
    fetch_archives([SAMPLING], sought, target, progress, origins)
