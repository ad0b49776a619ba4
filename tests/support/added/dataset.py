"""A dataset that somebody adds: two flat pictures, which are made instead of downloaded."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmark.datasets.dataset import Dataset, ImageFile, find_images
from benchmark.datasets.download import DownloadProgress, publish_folder

COLOURS = {"blue.png": (0, 0, 200), "red.png": (200, 0, 0)}


def open_flat(data_folders: Sequence[Path]) -> Dataset:
    """Open the first FOLDER/flat that has both pictures."""
    return Dataset("flat", find_images("flat", data_folders, ("flat",), _look))


def fetch_dataset(
    name: str, sought: Sequence[Path], target: Path, progress: DownloadProgress | None = None
) -> None:
    """Make both pictures."""

    def fill(draft: Path) -> None:
        draft.mkdir(parents=True)
        for picture, colour in COLOURS.items():
            Image.new("RGB", (40, 30), colour).save(draft / picture)

    publish_folder(target / name, ["made here"], fill)


def _look(place: Path) -> list[ImageFile]:
    result = [ImageFile(name, place / name) for name in COLOURS if (place / name).is_file()]
    return result if len(result) == len(COLOURS) else []
