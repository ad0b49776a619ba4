"""Kodak, 24 lossless photographs of 768 x 512 pixels; `sample`, four from scikit-image."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmark.answer import Absent
from benchmark.datasets.dataset import (
    Dataset,
    ImageFile,
    Profile,
    Source,
    find_images,
    probe,
)
from benchmark.errors import Unavailable
from benchmark.system.digest import file_sha256
from benchmark.system.machine import cores, package_folder
from benchmark.system.text import listed

if TYPE_CHECKING:
    from benchmark.datasets.download import DownloadProgress

PROFILES = {
    "kodak": Profile("Kodak", 24, 1.3, "VTM", 24 * 768 * 512),
    "sample": Profile("sample photographs"),
}
ADDRESS = "https://r0k.us/graphics/kodak/kodak"
CONTENT = "kodim01.png to kodim24.png"
MAX_FILES = 100  # folders with more files are not searched for renamed pictures


class PictureFacts(NamedTuple):
    """Digests and size of a published picture."""

    file_sha256: str
    size_bytes: int
    pixels_sha256: str  # first 16 hex digits; independent of how the picture is compressed


_TABLE = tomllib.loads(Path(__file__).with_name("kodak.toml").read_text())
PICTURES = {name: PictureFacts(*facts) for name, facts in _TABLE.items()}


def open_kodak(data_folders: Sequence[Path]) -> Dataset:
    """Open the 24 photographs of Kodak, recognised by pixels, not names, or raise `Unavailable`."""
    places = ("kodak", "kodak/PNG", "Kodak", ".")
    return Dataset("kodak", find_images("kodak", data_folders, places, _find_pictures, CONTENT))


def fetch_dataset(
    name: str,
    data_folders: Sequence[Path],
    target: Path,
    progress: "DownloadProgress | None" = None,
    origins: Sequence[str] = (),
) -> None:
    """Download all 24 files into `target`/kodak, or none. origins: a local zip to unpack."""
    from benchmark.datasets import download

    dataset_folder = target / "kodak"
    remedy = f"put {CONTENT} into {dataset_folder} yourself"
    urls = {picture: f"{ADDRESS}/{picture}" for picture in PICTURES}

    def fill(draft: Path) -> None:
        for picture, (digest, size_bytes, _) in PICTURES.items():
            download.fetch(urls[picture], draft / picture, size_bytes, digest, progress, remedy)
        _find_pictures(draft)

    def unpack(draft: Path) -> None:
        download.unpack_images(Path(origins[0]), draft, len(PICTURES))
        if not _find_pictures(draft):
            raise Unavailable(f"{origins[0]} does not contain {CONTENT}")

    download.publish_folder(
        dataset_folder, origins or list(urls.values()), unpack if origins else fill
    )


def _find_pictures(folder: Path) -> Sequence[ImageFile]:
    """Return a folder's 24 pictures, empty if it has none; `Unavailable` if some differ."""
    images = [ImageFile(name, folder / name) for name in PICTURES]
    missing_names = [image.name for image in images if not image.path.is_file()]
    if len(missing_names) == len(images):
        return _find_renamed_pictures(folder)
    if missing_names:
        raise Unavailable(f"{folder} lacks {listed(missing_names)}")
    for source in probe(images, flatten=False, threads=cores()):
        if isinstance(source, Absent):
            raise Unavailable(f"{folder}: {source.what} {source.why}")
        if _identify(source) != source.file.name:
            raise Unavailable(f"{source.file.path} is not the picture with that name")
    return images


def _find_renamed_pictures(folder: Path) -> Sequence[ImageFile]:
    """Return a folder's 24 pictures, under any names; empty if a picture is missing."""
    files = [ImageFile(path.name, path) for path in sorted(folder.glob("*.png"))]
    if not len(PICTURES) <= len(files) <= MAX_FILES:
        return ()
    sources = probe(files, flatten=False, threads=cores())
    paths = {
        _identify(source): source.file.path for source in sources if isinstance(source, Source)
    }
    is_complete = PICTURES.keys() <= paths.keys()
    return [ImageFile(name, paths[name]) for name in PICTURES] if is_complete else ()


def _identify(source: Source) -> str:
    if {source.width_px, source.height_px} != {768, 512}:
        return ""
    names = (name for name in PICTURES if source.sha256.startswith(PICTURES[name].pixels_sha256))
    return next(names, "")


REMEDY = "install scikit-image again"
SAMPLE = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
}


def open_sample(data_folders: Sequence[Path] = ()) -> Dataset:
    """Open the four photographs bundled with scikit-image; `Unavailable` if one has changed."""
    folder = package_folder("skimage") / "data"
    images = tuple(ImageFile(name, folder / name) for name in SAMPLE)
    for name, path in images:
        try:
            result = file_sha256(path)
        except OSError as error:
            raise Unavailable(f"{path} cannot be read ({error.strerror}): {REMEDY}") from error
        if result != SAMPLE[name]:
            raise Unavailable(f"{path} is not the photograph with that name: {REMEDY}")
    return Dataset("sample", images)
