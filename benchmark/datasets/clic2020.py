"""Test set of CLIC 2020: 250 professional and 178 mobile photographs."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.datasets.dataset import Dataset, ImageFile
from benchmark.datasets.download import (
    DownloadProgress,
    fetch,
    manifest_objection,
    publish_folder,
    unpack_images,
)
from benchmark.datasets.folder import find_images
from benchmark.datasets.profile import Profile
from benchmark.errors import Unavailable

PROFILES = {
    "clic2020": Profile("CLIC2020 test", 428, 0.8, "MS-ILLM"),
    "clic2020:professional": Profile("clic2020:professional", 250),
    "clic2020:mobile": Profile("clic2020:mobile", 178),
}
ADDRESS = "https://data.vision.ee.ethz.ch/cvl/clic/test"
SIDES_PX = range(64, 8193)  # of an image that can be meant; the long ones have 2048
# 0.15 bits per pixel allow 22,540,456 bytes for the whole test set (challenge.compression.cc/tasks)
PIXELS = 22_540_456 * 8 / 0.15
PIXELS_TOLERANCE = 0.25  # nobody has added them up in public; a resized copy is further away


class Subset(NamedTuple):
    """Archive of a half of the set, as TensorFlow Datasets records it (url_checksums/clic.txt)."""

    name: str
    archive: str
    num_images: int
    size_bytes: int
    sha256: str

    @property
    def url(self) -> str:
        """Return the organisers' address of the archive."""
        return f"{ADDRESS}/{self.archive}"


PROFESSIONAL = Subset(
    "professional",
    "CLIC2020Professional_test.zip",
    250,
    891_643_809,
    "857df244fc2bfa5da28d4c66bf0db16ee99bfc79eb807be8afa89cd507852884",
)
MOBILE = Subset(
    "mobile",
    "CLIC2020Mobile_test.zip",
    178,
    721_789_976,
    "2025f07a6c652270e534640de4271feef3b3dd3260beed4ac4821064837aa732",
)


def open_clic2020(data_folders: Sequence[Path]) -> Dataset:
    """Open both subsets, 428 images; see `open_professional`.

    The number of all pixels is compared with the challenge's byte budget.
    """
    mobile = _find("clic2020", MOBILE, data_folders)
    images = (*mobile, *_find("clic2020", PROFESSIONAL, data_folders))
    pixels = sum(width * height for width, height in map(_png_size, images))
    if abs(pixels / PIXELS - 1) > PIXELS_TOLERANCE:
        raise Unavailable(
            f"the images in {images[0].path.parent} and {images[-1].path.parent} have {pixels} "
            f"pixels, and CLIC 2020's test set has about {PIXELS:.4g}: run `bench fetch clic2020`"
        )
    return Dataset("clic2020", images)


def open_professional(data_folders: Sequence[Path]) -> Dataset:
    """Open the professional photographs, named `professional/NAME.png`.

    FOLDER/clic2020/professional, FOLDER/professional and the folders of the unpacked archive are
    searched. A place counts where it holds the right number of PNG files, each of a possible size,
    and nothing of its manifest, if it has one, is missing. Raises `Unavailable`.
    """
    name = "clic2020:professional"
    return Dataset(name, _find(name, PROFESSIONAL, data_folders))


def open_mobile(data_folders: Sequence[Path]) -> Dataset:
    """Open the mobile photographs, named `mobile/NAME.png`; see `open_professional`."""
    return Dataset("clic2020:mobile", _find("clic2020:mobile", MOBILE, data_folders))


def typical_sizes(name: str) -> tuple[tuple[int, int], ...]:
    """Return width and height (px) of 428 images (or a subset's) much like these, for planning.

    An assumption: the usual aspect ratios at a long side of 2048 px, in such numbers that all
    pixels are the challenge's within 2 %.

    >>> sizes = typical_sizes("clic2020")
    >>> len(sizes), round(sum(width * height for width, height in sizes) / PIXELS, 3)
    (428, 1.012)
    """
    mobile = [(2048, 1536)] * 60 + [(1536, 2048)] * 58 + [(2048, 1152)] * 60
    professional = [(2048, 1365)] * 150 + [(1365, 2048)] * 70
    professional += [(2048, 1152)] * 20 + [(2048, 2048)] * 10
    parts = {"clic2020:mobile": mobile, "clic2020:professional": professional}
    return tuple(parts.get(name, mobile + professional))


def fetch_dataset(
    name: str, sought: Sequence[Path], target: Path, progress: DownloadProgress | None = None
) -> None:
    """Fetch the subsets of a dataset's name that are in none of the folders sought."""
    for subset in (PROFESSIONAL, MOBILE):
        if name in ("clic2020", f"clic2020:{subset.name}"):
            try:
                _find(name, subset, sought)
            except Unavailable:
                fetch_subset(subset, target, progress)


def fetch_subset(subset: Subset, folder: Path, progress: DownloadProgress | None = None) -> Path:
    """Download and unpack an archive into `folder`/clic2020/NAME, which appears when it is whole.

    An archive that the user has put beside it is used and stays; a downloaded one is removed.
    """
    home = folder / "clic2020"
    archive = home / subset.archive
    brought = archive.exists()
    remedy = f"put the archive at {archive} yourself, and fetching unpacks it"

    def fill(draft: Path) -> None:
        fetch(subset.url, archive, subset.size_bytes, subset.sha256, progress, remedy)
        unpack_images(archive, draft, subset.num_images)
        _look(draft, subset)

    finished = publish_folder(home / subset.name, [subset.url], fill)
    if not brought:
        archive.unlink()
    return finished


def _find(name: str, subset: Subset, data_folders: Sequence[Path]) -> tuple[ImageFile, ...]:
    unpacked = Path(subset.archive).stem
    below = (
        f"clic2020/{subset.name}",
        f"clic2020/{unpacked}/{subset.name}",
        f"clic2020/{unpacked}",
        f"{unpacked}/{subset.name}",
        unpacked,
        subset.name,
    )
    return find_images(name, data_folders, below, lambda place: _look(place, subset))


def _look(place: Path, subset: Subset) -> Sequence[ImageFile]:
    files = [path for path in place.glob("*.png") if not path.name.startswith(".")]
    if not files:
        return ()
    if objection := manifest_objection(place):
        raise Unavailable(objection)
    if len(files) != subset.num_images:
        raise Unavailable(
            f"{place} holds {len(files)} PNG files instead of the {subset.num_images} of this set"
        )
    images = [ImageFile(f"{subset.name}/{path.name}", path) for path in files]
    for image in images:
        width, height = _png_size(image)
        if width not in SIDES_PX or height not in SIDES_PX:
            raise Unavailable(f"{image.path} has {width} x {height} pixels, no size of this set")
    return images


def _png_size(image: ImageFile) -> tuple[int, int]:
    try:
        with image.path.open("rb") as file:
            magic, width, height = struct.unpack(">16sII", file.read(24))
    except (OSError, struct.error) as error:
        raise Unavailable(f"{image.path} cannot be read as PNG: {error}") from error
    if magic != b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR":
        raise Unavailable(f"{image.path} is not a PNG file")
    return width, height
