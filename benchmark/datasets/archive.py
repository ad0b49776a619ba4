"""Photographs that are published as a zip archive: found where it was unpacked, or fetched.

CLIC 2021, DIV2K and Tecnick are datasets of one archive each.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.datasets import download
from benchmark.datasets.dataset import Dataset, ImageFile, Profile
from benchmark.datasets.folder import find_images
from benchmark.errors import Unavailable, UsageError

ADDRESS_SCHEMES = ("http://", "https://")


class Archive(NamedTuple):
    """A published zip archive of PNG photographs, and how a complete copy is recognised."""

    dataset: str  # as `bench run --dataset` takes it: "clic2020:mobile"
    url: str  # the publisher's address
    num_images: int
    sides_px: range  # of an image that can be meant, both sides
    places: tuple[str, ...]  # below a data folder, the one where fetched images go first
    size_bytes: int | None = None
    digest: str = ""  # see `download.Expected`; empty where none is known
    member_folder: str = ""  # of its images in the archive; empty for wherever they are
    image_folder: str = ""  # first part of the images' names: "mobile"

    @property
    def file_name(self) -> str:
        """Return the name of the archive's file."""
        return _last_part(self.url)

    @property
    def expected(self) -> download.Expected:
        """Return what is known of the archive's bytes."""
        return download.Expected(self.size_bytes, self.digest)


PROFILES = {
    "clic2021": Profile("CLIC2021 test", 60),
    "div2k": Profile("DIV2K validation", 100),
    "tecnick": Profile("Tecnick", 100),
}
TECNICK_PX = 1200
TECNICK_FOLDER = "RGB/RGB_OR_1200x1200"
ARCHIVES = {
    # Test set of CLIC 2021, professional photographs. Two independent loaders of the archive record
    # the sha1; its size is not recorded.
    "clic2021": Archive(
        "clic2021",
        "https://storage.googleapis.com/clic2021_public/professional_test_2021.zip",
        60,
        range(64, 8193),
        ("clic2021", "professional_test_2021", "."),
        digest="sha1:6dadb31eeae6cee8d2455a35818129eb68b0adbb",
    ),
    # Validation set of DIV2K, 0801.png to 0900.png, 2,040 px on the longer side. Bytes and digest
    # as TensorFlow Datasets records them (url_checksums/div2k.txt).
    "div2k": Archive(
        "div2k",
        "https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_HR.zip",
        100,
        range(400, 2041),
        ("div2k", "DIV2K_valid_HR", "DIV2K/DIV2K_valid_HR", "div2k/DIV2K_valid_HR", "."),
        448_993_893,
        "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
    ),
    # Tecnick TESTIMAGES (Asuni and Giachetti, STAG 2014). The publisher states no digest: number
    # and sizes of the photographs are compared.
    "tecnick": Archive(
        "tecnick",
        "https://downloads.sourceforge.net/project/testimages/OLD/OLD_SAMPLING/testimages.zip",
        100,
        range(TECNICK_PX, TECNICK_PX + 1),
        (
            "tecnick",
            *(
                f"{above}{TECNICK_FOLDER}"
                for above in ("tecnick/TESTIMAGES/", "TESTIMAGES/", "testimages/", "")
            ),
            "RGB_OR_1200x1200",
            ".",
        ),
        member_folder=TECNICK_FOLDER,
    ),
}


def open_clic2021(data_folders: Sequence[Path]) -> Dataset:
    """Open the 60 photographs of CLIC 2021's test set."""
    return open_archive(ARCHIVES["clic2021"], data_folders)


def open_div2k(data_folders: Sequence[Path]) -> Dataset:
    """Open the 100 photographs of DIV2K's validation set."""
    return open_archive(ARCHIVES["div2k"], data_folders)


def open_tecnick(data_folders: Sequence[Path]) -> Dataset:
    """Open the 100 photographs of Tecnick's sampling set."""
    return open_archive(ARCHIVES["tecnick"], data_folders)


def fetch_dataset(
    name: str,
    sought: Sequence[Path],
    target: Path,
    progress: download.DownloadProgress | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Fetch the archive of a dataset in `ARCHIVES`; see `fetch_archives`."""
    fetch_archives([ARCHIVES[name]], sought, target, progress, origins)


def typical_sizes(name: str) -> tuple[tuple[int, int], ...]:
    """Return width and height (px) of images much like a dataset's, for planning.

    An assumption for CLIC 2021 and DIV2K.
    """
    return {
        "clic2021": ((2048, 1365),) * 42 + ((1365, 2048),) * 18,
        "div2k": ((2040, 1356),) * 80 + ((1356, 2040),) * 20,
        "tecnick": ((TECNICK_PX, TECNICK_PX),) * 100,
    }[name]


def open_archive(archive: Archive, data_folders: Sequence[Path]) -> Dataset:
    """Open the photographs of one archive as its dataset."""
    return Dataset(archive.dataset, find_archive_images(archive, data_folders))


def find_archive_images(archive: Archive, data_folders: Sequence[Path]) -> tuple[ImageFile, ...]:
    """Return the photographs of an archive from the first place that holds all of them.

    A place counts where it holds the right number of PNG files, each of a possible size, and lacks
    nothing of its manifest, if it has one. Raises `Unavailable`.
    """
    return find_images(
        archive.dataset,
        data_folders,
        archive.places,
        lambda place: archive_images(place, archive),
        f"{archive.num_images} PNG files",
    )


def archive_images(place: Path, archive: Archive) -> Sequence[ImageFile]:
    """Return the photographs of an archive in a folder, none where it has no PNG file.

    Raises `Unavailable` with what is wrong with those that are there.
    """
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
        with path.open("rb") as file:
            magic, width, height = struct.unpack(">16sII", file.read(24))
    except (OSError, struct.error) as error:
        raise Unavailable(f"{path} cannot be read as PNG: {error}") from error
    if magic != b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR":
        raise Unavailable(f"{path} is not a PNG file")
    return width, height


def fetch_archives(
    archives: Sequence[Archive],
    sought: Sequence[Path],
    target: Path,
    progress: download.DownloadProgress | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Fetch those archives whose photographs are in none of the folders sought, into `target`.

    origins: files or addresses of copies, recognised by digest or, for an address, file name.
    Raises `UsageError` for a copy that is none of them.
    """
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


def fetch_archive(
    archive: Archive,
    target: Path,
    progress: download.DownloadProgress | None = None,
    origin: str = "",
) -> Path:
    """Download and unpack an archive into its folder below `target`, which appears when whole.

    origin: a file or an address of a copy, else the publisher's address. A file of the user's own,
    also one that was put beside the folder, stays; a downloaded one is removed.
    """
    finished = target / archive.places[0]
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
    """Return the file or address of each archive's copy."""
    result: dict[Archive, str] = {}
    for origin in origins:
        if origin.startswith(ADDRESS_SCHEMES):
            last = _last_part(origin)
            meant = [
                archive for archive in archives if len(archives) == 1 or archive.file_name == last
            ]
            objection = f"its name is not {' or '.join(one.file_name for one in archives)}"
        else:
            objections = {
                archive: archive.expected.objection_to(Path(origin)) for archive in archives
            }
            meant = [one for one, text in objections.items() if not text]
            objection = "; ".join(dict.fromkeys(objections.values()))
        if not meant:
            raise UsageError(f"{origin} is no archive of this dataset: {objection}")
        result[meant[0]] = origin
    return result
