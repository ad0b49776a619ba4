"""Photographs that are published as zip archives: opened where they were unpacked, or fetched."""

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from benchmark.datasets import download
from benchmark.datasets.dataset import Dataset, ImageFile, Profile, find_images
from benchmark.errors import Unavailable, UsageError
from benchmark.system.foreign_files import open_regular

ADDRESS_SCHEMES = ("http://", "https://")
PROFILES = {
    "clic2020": Profile("CLIC2020 test", 428, 0.8, "MS-ILLM"),
    "clic2020:professional": Profile("clic2020:professional", 250),
    "clic2020:mobile": Profile("clic2020:mobile", 178),
    "clic2020-valid": Profile("CLIC professional validation", 41),
    "clic2021": Profile("CLIC2021 test", 60),
    "clic2022": Profile("CLIC2022 test", 30),
    "clic2022-valid": Profile("CLIC2022 validation"),
    "clic2024": Profile("CLIC2024 test"),
    "clic2024-valid": Profile("CLIC2024 validation"),
    "cid22": Profile("CID22 validation"),
    "div2k": Profile("DIV2K validation", 100),
    "flickr2k": Profile("Flickr2K"),
    "tecnick": Profile("Tecnick", 100),
    "ustc-td": Profile("USTC-TD images"),
}
# 0.15 bits per pixel allow 22,540,456 bytes for CLIC 2020's test set (challenge.compression.cc)
CLIC2020_PIXELS = 22_540_456 * 8 / 0.15
PIXELS_TOLERANCE = 0.25  # nobody has added them up in public; a resized copy is further away
CLIC = "https://data.vision.ee.ethz.ch/cvl/clic"
CLIC_SIDES = range(64, 8193)  # the long ones have 2048 px
TECNICK = "RGB/RGB_OR_1200x1200"


class Archive(NamedTuple):
    """A published zip archive of PNG photographs, and how a complete copy is recognised."""

    dataset: str  # as `bench run --dataset` takes it: "clic2020:mobile"
    url: str  # the publisher's address; a page, without .zip, where it is to be had by hand
    num_images: int
    sides_px: range  # of an image that can be meant, both sides
    places: tuple[str, ...]  # below a data folder, the first where fetched images go
    size_bytes: int | None = None
    digest: str = ""  # see `download.Expected`; empty where none is known
    member_folder: str = ""  # of its images in the archive; empty for wherever they are
    image_folder: str = ""  # first part of the images' names: "mobile"

    @property
    def file_name(self) -> str:
        """Return the name of the archive's file."""
        return _last_part(self.url)


def _clic2020_test(part: str, num_images: int, size_bytes: int, sha256: str) -> Archive:
    unpacked = f"CLIC2020{part.capitalize()}_test"
    inside = (f"{unpacked}/{part}", unpacked)
    return Archive(
        f"clic2020:{part}",
        f"{CLIC}/test/{unpacked}.zip",
        num_images,
        CLIC_SIDES,
        (f"clic2020/{part}", *(f"clic2020/{place}" for place in inside), *inside, part, "."),
        size_bytes,
        sha256,
        image_folder=part,
    )


def _later_clic(dataset: str, path: str, num_images: int, *folders: str) -> Archive:
    url = f"https://storage.googleapis.com/clic{path}.zip"
    return Archive(dataset, url, num_images, CLIC_SIDES, (dataset, *folders))


# Sizes and digests are those that TensorFlow Datasets records (url_checksums/clic.txt, div2k.txt);
# the sha1 of CLIC 2021's archive is in two independent loaders of it, so is the md5 of Flickr2K's.
# The others have no public digest: numbers and sizes are compared. The numbers are those of CLIC's
# page of tasks (2022), of files in others' results (2024, USTC-TD), and of CID22's page: the part
# with opinions. How USTC-TD unpacks is not documented.
ARCHIVES = {
    archive.dataset: archive
    for archive in (
        _clic2020_test(
            "professional",
            250,
            891_643_809,
            "857df244fc2bfa5da28d4c66bf0db16ee99bfc79eb807be8afa89cd507852884",
        ),
        _clic2020_test(
            "mobile",
            178,
            721_789_976,
            "2025f07a6c652270e534640de4271feef3b3dd3260beed4ac4821064837aa732",
        ),
        Archive(
            "clic2020-valid",
            f"{CLIC}/professional_valid_2020.zip",
            41,
            CLIC_SIDES,
            (
                *("clic2020-valid", "professional_valid_2020/valid", "professional_valid_2020"),
                *("valid", "."),
            ),
            134_834_429,
            "00be38092ade2ab5163b65f7f6523d46c7bca147007f559adbb02c0afc236b7d",
        ),
        Archive(
            "clic2021",
            "https://storage.googleapis.com/clic2021_public/professional_test_2021.zip",
            60,
            CLIC_SIDES,
            ("clic2021", "professional_test_2021", "."),
            digest="sha1:6dadb31eeae6cee8d2455a35818129eb68b0adbb",
        ),
        _later_clic("clic2022", "2022_public/test_sets/image_test_30", 30, "image_test_30"),
        _later_clic("clic2022-valid", "2022_public/validation_sets/images", 30),
        _later_clic(
            "clic2024", "2023_public/test_sets/clic2024_test_image", 32, "clic2024_test_image"
        ),
        _later_clic(
            "clic2024-valid",
            "2023_public/validation_sets/clic2024_validation_image",
            30,
            "clic2024_validation_image",
        ),
        Archive(
            "cid22",
            "https://cloudinary.com/labs/cid22",
            49,
            range(512, 513),
            ("cid22", "CID22_validation_set/original", "cid22/CID22_validation_set/original"),
            member_folder="original",
        ),
        Archive(
            "div2k",
            "https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_HR.zip",
            100,
            range(400, 2041),
            ("div2k", "DIV2K_valid_HR", "DIV2K/DIV2K_valid_HR", "div2k/DIV2K_valid_HR", "."),
            448_993_893,
            "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
        ),
        Archive(
            "tecnick",
            "https://downloads.sourceforge.net/project/testimages/OLD/OLD_SAMPLING/testimages.zip",
            100,
            range(1200, 1201),
            (
                *("tecnick", f"tecnick/TESTIMAGES/{TECNICK}", f"TESTIMAGES/{TECNICK}"),
                *(f"testimages/{TECNICK}", TECNICK, "RGB_OR_1200x1200", "."),
            ),
            member_folder=TECNICK,
        ),
        Archive(
            "flickr2k",
            "https://cv.snu.ac.kr/research/EDSR/Flickr2K.tar",
            2650,
            range(64, 8193),
            ("flickr2k", "Flickr2K/Flickr2K_HR", "Flickr2K_HR", "flickr2k/Flickr2K/Flickr2K_HR"),
            digest="md5:5d3f39443d5e9489bff8963f8f26cb03",
        ),
        Archive(
            "ustc-td",
            "https://github.com/EsakaK/USTC-TD",
            40,
            range(2160, 4097),
            ("ustc-td", "USTC-TD"),
        ),
    )
}


def _opener(name: str, content: str) -> Callable[[Sequence[Path]], Dataset]:
    def opened(data_folders: Sequence[Path]) -> Dataset:
        return Dataset(name, find_archive_images(ARCHIVES[name], data_folders))

    opened.__doc__ = f"Open the {content}."  # which `bench list` shows
    return opened


open_professional = _opener("clic2020:professional", "250 professional photographs of that set")
open_mobile = _opener("clic2020:mobile", "178 mobile photographs of that set")
open_validation = _opener(
    "clic2020-valid", "41 professional photographs of CLIC 2020 for validation"
)
open_clic2021 = _opener("clic2021", "60 photographs of CLIC 2021's test set")
open_clic2022 = _opener("clic2022", "30 photographs of CLIC 2022's test set")
open_clic2022_validation = _opener("clic2022-valid", "30 photographs of CLIC 2022 for validation")
open_clic2024 = _opener("clic2024", "32 photographs of CLIC 2024's test set")
open_clic2024_validation = _opener("clic2024-valid", "30 photographs of CLIC 2024 for validation")
open_cid22 = _opener("cid22", "49 photographs of CID22's validation set")
open_div2k = _opener("div2k", "100 photographs of DIV2K's validation set")
open_flickr2k = _opener("flickr2k", "2,650 photographs of Flickr2K, for training")
open_tecnick = _opener("tecnick", "100 photographs of Tecnick's sampling set")
open_ustc_td = _opener("ustc-td", "40 photographs of USTC-TD, 4K")


def open_clic2020(data_folders: Sequence[Path]) -> Dataset:
    """Open the 428 photographs of the CLIC 2020 test set; `Unavailable` for resized ones."""
    halves = [ARCHIVES[f"clic2020:{part}"] for part in ("mobile", "professional")]
    both = halves[0]._replace(num_images=sum(half.num_images for half in halves), image_folder="")
    both = both._replace(dataset="clic2020", places=("clic2020", "."))
    try:
        images = find_archive_images(both, data_folders)
    except Unavailable as whole:
        try:
            images = tuple(chain(*(find_archive_images(half, data_folders) for half in halves)))
        except Unavailable as part:
            below = {place for half in halves for place in half.places} - {"."}
            one_is_here = any((root / place).exists() for root in data_folders for place in below)
            raise (part if one_is_here else whole) from None
    pixels = sum(width * height for width, height in (png_size(image.path) for image in images))
    if abs(pixels / CLIC2020_PIXELS - 1) > PIXELS_TOLERANCE:
        raise Unavailable(
            f"the images in {images[0].path.parent} and {images[-1].path.parent} have {pixels} "
            f"pixels, and CLIC 2020's test set has about {CLIC2020_PIXELS:.4g}: run `bench fetch "
            "clic2020`"
        )
    return Dataset("clic2020", images)


def fetch_dataset(
    name: str,
    sought: Sequence[Path],
    target: Path,
    progress: download.DownloadProgress | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Fetch a dataset's archives that no folder sought has; origins: copies, by digest or name."""
    archives = [
        archive for key, archive in ARCHIVES.items() if name in (key, key.partition(":")[0])
    ]
    copies = _assign(archives, origins)
    for archive in archives:
        try:
            find_archive_images(archive, sought)
        except Unavailable:
            if origins and archive not in copies:
                raise UsageError(
                    f"none of the files given with --from is {archive.file_name}: give that too, "
                    f"or leave --from out to download it"
                ) from None
            fetch_archive(archive, target, progress, copies.get(archive, ""))


def find_archive_images(archive: Archive, data_folders: Sequence[Path]) -> tuple[ImageFile, ...]:
    """Return an archive's photographs from the first place that holds all; `Unavailable`."""
    return find_images(
        archive.dataset,
        data_folders,
        archive.places,
        lambda place: archive_images(place, archive),
        f"{archive.num_images} PNG files",
    )


def archive_images(place: Path, archive: Archive) -> Sequence[ImageFile]:
    """Return an archive's photographs in a folder; none without PNG, `Unavailable` for others."""
    files = sorted(path for path in place.glob("*.png") if not path.name.startswith("."))
    if not files:
        return ()
    if objection := download.manifest_objection(place):
        raise Unavailable(objection)
    if len(files) != archive.num_images:
        raise Unavailable(
            f"{place} holds {len(files)} PNG files instead of the {archive.num_images} of this set"
        )
    for path in files:
        width, height = png_size(path)
        if width not in archive.sides_px or height not in archive.sides_px:
            raise Unavailable(f"{path} has {width} x {height} pixels, no size of this set")
    above = f"{archive.image_folder}/" if archive.image_folder else ""
    return [ImageFile(above + path.name, path) for path in files]


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height (px) of a PNG file, from its header; raise `Unavailable`."""
    try:
        with open_regular(path) as file:
            magic, width, height = struct.unpack(">16sII", file.read(24))
    except (OSError, struct.error) as error:
        raise Unavailable(f"{path} cannot be read as PNG: {error}") from error
    if magic != b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR":
        raise Unavailable(f"{path} is not a PNG file")
    return width, height


def fetch_archive(
    archive: Archive,
    target: Path,
    progress: download.DownloadProgress | None = None,
    origin: str = "",
) -> Path:
    """Download and unpack an archive into its folder below `target`, which appears when whole.

    origin: a file or an address of a copy, else the publisher's address. A file of the user's own,
    also where it was put beside the folder, stays; a downloaded archive is removed.
    """
    finished = target / archive.places[0]
    if not (archive.url.endswith(".zip") or origin.endswith(".zip")):
        digest = archive.digest and f" ({archive.digest})"
        raise Unavailable(
            f"{archive.dataset} is not downloaded: get it yourself, from {archive.url}{digest}, "
            f"and put its {archive.num_images} PNG files into {finished}"
        )
    brought = Path(origin) if origin and not origin.startswith(ADDRESS_SCHEMES) else None
    zip_file = brought or finished.parent / archive.file_name
    stays = zip_file.exists()
    url = origin if origin and not brought else archive.url
    remedy = f"put the archive at {zip_file} yourself, and fetching unpacks it"

    def fill(draft: Path) -> None:
        if not brought:
            download.fetch(url, zip_file, archive.size_bytes, archive.digest, progress, remedy)
        download.unpack_images(zip_file, draft, archive.num_images, archive.member_folder)
        archive_images(draft, archive)

    download.publish_folder(finished, [url], fill)
    if not stays:
        zip_file.unlink()
    return finished


def _last_part(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def _assign(archives: Sequence[Archive], origins: Sequence[str]) -> dict[Archive, str]:
    result: dict[Archive, str] = {}
    for origin in origins:
        objections = {archive: _objection(origin, archive, archives) for archive in archives}
        meant = next((archive for archive, text in objections.items() if not text), None)
        if meant is None:
            objection = "; ".join(dict.fromkeys(objections.values()))
            raise UsageError(f"{origin} is no archive of this dataset: {objection}")
        result[meant] = origin
    return result


def _objection(origin: str, archive: Archive, archives: Sequence[Archive]) -> str:
    if not origin.startswith(ADDRESS_SCHEMES):
        expected = download.Expected(archive.size_bytes, archive.digest)
        return expected.objection_to(Path(origin))
    if len(archives) == 1 or archive.file_name == _last_part(origin):
        return ""
    return f"its name is not {' or '.join(each.file_name for each in archives)}"
