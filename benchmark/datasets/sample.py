"""Four lossless photographs bundled with the scikit-image package: no download."""

from collections.abc import Sequence
from pathlib import Path

from benchmark.datasets.dataset import Dataset, ImageFile, Profile
from benchmark.errors import Unavailable
from benchmark.system.digest import file_sha256
from benchmark.system.machine import package_folder

PROFILES = {"sample": Profile("sample photographs")}
PICTURES = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
}


def open_sample(data_folders: Sequence[Path] = ()) -> Dataset:
    """Open the four photographs bundled with scikit-image; `Unavailable` where one has changed."""
    folder = package_folder("skimage") / "data"
    images = tuple(ImageFile(name, folder / name) for name in PICTURES)
    for name, path in images:
        try:
            result = file_sha256(path)
        except OSError as error:
            raise Unavailable(f"{path} cannot be read ({error.strerror}): {_REMEDY}") from error
        if result != PICTURES[name]:
            raise Unavailable(f"{path} is not the photograph of that name: {_REMEDY}")
    return Dataset("sample", images)


_REMEDY = "install scikit-image again"
