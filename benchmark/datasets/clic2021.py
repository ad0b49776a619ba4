"""Test set of CLIC 2021: 60 professional photographs."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.datasets.archive import Archive, fetch_archives, find_archive_images
from benchmark.datasets.dataset import Dataset
from benchmark.datasets.download import DownloadProgress
from benchmark.datasets.profile import Profile

PROFILES = {"clic2021": Profile("CLIC2021 test", 60)}
# The sha1 is the one that two independent loaders of this archive record; its size is not recorded.
TEST = Archive(
    "clic2021",
    "https://storage.googleapis.com/clic2021_public/professional_test_2021.zip",
    60,
    range(64, 8193),
    ("clic2021", "professional_test_2021", "."),
    digest="sha1:6dadb31eeae6cee8d2455a35818129eb68b0adbb",
)


def open_clic2021(data_folders: Sequence[Path]) -> Dataset:
    """Open the 60 photographs; see `archive.find_archive_images`."""
    return Dataset(TEST.dataset, find_archive_images(TEST, data_folders))


def typical_sizes(name: str) -> tuple[tuple[int, int], ...]:
    """Return width and height (px) of 60 images much like these, an assumption, for planning."""
    return ((2048, 1365),) * 42 + ((1365, 2048),) * 18


def fetch_dataset(
    name: str,
    sought: Sequence[Path],
    target: Path,
    progress: DownloadProgress | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Fetch the archive and unpack it into `target`/clic2021."""
    fetch_archives([TEST], sought, target, progress, origins)
