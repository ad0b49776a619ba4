"""CLIC 2020: 250 professional and 178 mobile photographs to test, 41 professional to validate."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from benchmark.datasets.archive import (
    Archive,
    archive_images,
    fetch_archives,
    find_archive_images,
    open_archive,
    png_size,
)
from benchmark.datasets.dataset import Dataset, ImageFile, Profile
from benchmark.datasets.download import DownloadProgress
from benchmark.datasets.folder import find_images
from benchmark.errors import Unavailable

PROFILES = {
    "clic2020": Profile("CLIC2020 test", 428, 0.8, "MS-ILLM"),
    "clic2020:professional": Profile("clic2020:professional", 250),
    "clic2020:mobile": Profile("clic2020:mobile", 178),
    "clic2020-valid": Profile("CLIC professional validation", 41),
}
ADDRESS = "https://data.vision.ee.ethz.ch/cvl/clic"
SIDES_PX = range(64, 8193)  # of an image that can be meant; the long ones have 2048
# 0.15 bits per pixel allow 22,540,456 bytes for the whole test set (challenge.compression.cc/tasks)
PIXELS = 22_540_456 * 8 / 0.15
PIXELS_TOLERANCE = 0.25  # nobody has added them up in public; a resized copy is further away


def _test_set(part: str, num_images: int, size_bytes: int, sha256: str) -> Archive:
    """Return the archive of a half; bytes and digest are those of TensorFlow Datasets.

    They are recorded in its url_checksums/clic.txt.
    """
    unpacked = f"CLIC2020{part.capitalize()}_test"
    inside = (f"{unpacked}/{part}", unpacked)
    return Archive(
        f"clic2020:{part}",
        f"{ADDRESS}/test/{unpacked}.zip",
        num_images,
        SIDES_PX,
        (f"clic2020/{part}", *(f"clic2020/{one}" for one in inside), *inside, part, "."),
        size_bytes,
        sha256,
        image_folder=part,
    )


PROFESSIONAL = _test_set(
    "professional",
    250,
    891_643_809,
    "857df244fc2bfa5da28d4c66bf0db16ee99bfc79eb807be8afa89cd507852884",
)
MOBILE = _test_set(
    "mobile",
    178,
    721_789_976,
    "2025f07a6c652270e534640de4271feef3b3dd3260beed4ac4821064837aa732",
)
VALIDATION = Archive(
    "clic2020-valid",
    f"{ADDRESS}/professional_valid_2020.zip",
    41,
    SIDES_PX,
    ("clic2020-valid", "professional_valid_2020/valid", "professional_valid_2020", "valid", "."),
    134_834_429,
    "00be38092ade2ab5163b65f7f6523d46c7bca147007f559adbb02c0afc236b7d",
)


def open_clic2020(data_folders: Sequence[Path]) -> Dataset:
    """Open the 428 photographs of the CLIC 2020 test set; see `archive.find_archive_images`.

    One folder with the images of both counts too. The number of all pixels is compared with the
    challenge's byte budget.
    """
    images = _in_one_folder(data_folders)
    if not images:
        halves = (half._replace(dataset="clic2020") for half in (MOBILE, PROFESSIONAL))
        images = tuple(chain(*(find_archive_images(half, data_folders) for half in halves)))
    pixels = sum(width * height for width, height in (png_size(image.path) for image in images))
    if abs(pixels / PIXELS - 1) > PIXELS_TOLERANCE:
        raise Unavailable(
            f"the images in {images[0].path.parent} and {images[-1].path.parent} have {pixels} "
            f"pixels, and CLIC 2020's test set has about {PIXELS:.4g}: run `bench fetch clic2020`"
        )
    return Dataset("clic2020", images)


def open_professional(data_folders: Sequence[Path]) -> Dataset:
    """Open the 250 professional photographs of that set; named `professional/NAME.png`."""
    return open_archive(PROFESSIONAL, data_folders)


def open_mobile(data_folders: Sequence[Path]) -> Dataset:
    """Open the 178 mobile photographs of that set; named `mobile/NAME.png`."""
    return open_archive(MOBILE, data_folders)


def open_validation(data_folders: Sequence[Path]) -> Dataset:
    """Open the 41 professional photographs of CLIC 2020 for validation."""
    return open_archive(VALIDATION, data_folders)


def fetch_dataset(
    name: str,
    sought: Sequence[Path],
    target: Path,
    progress: DownloadProgress | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Fetch the archives of a dataset's name that are in none of the folders sought."""
    archives = [
        archive
        for archive in (PROFESSIONAL, MOBILE, VALIDATION)
        if name in (archive.dataset, archive.dataset.partition(":")[0])
    ]
    fetch_archives(archives, sought, target, progress, origins)


def _in_one_folder(data_folders: Sequence[Path]) -> tuple[ImageFile, ...]:
    """Return the 428 images of a folder that holds both halves; none where there is no such."""
    both = MOBILE._replace(num_images=MOBILE.num_images + PROFESSIONAL.num_images, image_folder="")
    try:
        return find_images(
            "clic2020", data_folders, ("clic2020", "."), lambda place: archive_images(place, both)
        )
    except Unavailable:
        return ()


def typical_sizes(name: str) -> tuple[tuple[int, int], ...]:
    """Return width and height (px) of images much like a dataset's, for planning.

    An assumption: usual aspect ratios at a long side of 2048 px, all pixels within 2 % of `PIXELS`.
    """
    mobile = [(2048, 1536)] * 60 + [(1536, 2048)] * 58 + [(2048, 1152)] * 60
    professional = [(2048, 1365)] * 150 + [(1365, 2048)] * 70
    professional += [(2048, 1152)] * 20 + [(2048, 2048)] * 10
    validation = [(2048, 1365)] * 28 + [(1365, 2048)] * 13
    parts = {
        "clic2020:mobile": mobile,
        "clic2020:professional": professional,
        "clic2020-valid": validation,
    }
    return tuple(parts.get(name, mobile + professional))
