"""Photographs published as zip archives: open unpacked photographs, or fetch archives."""

import struct
import tomllib
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from benchmark.datasets import download
from benchmark.datasets.dataset import Dataset, ImageFile, Profile, find_images
from benchmark.errors import Unavailable, UsageError
from benchmark.system.foreign_files import open_regular

ADDRESS_SCHEMES = ("http://", "https://")
TABLE: Mapping[str, Mapping[str, Any]] = tomllib.loads(
    Path(__file__).with_name("archives.toml").read_text()
)
PROFILES = {
    name: Profile(**{key: facts[key] for key in Profile._fields if key in facts})
    for name, facts in TABLE.items()
}
# 0.15 bits per pixel allow 22,540,456 bytes for CLIC 2020's test set (challenge.compression.cc)
CLIC2020_PIXELS = 22_540_456 * 8 / 0.15
PIXELS_TOLERANCE = 0.25  # the exact total is not published; resized copies differ by more


class Archive(NamedTuple):
    """A published zip archive of PNG photographs, and facts that identify a complete copy."""

    dataset: str  # name for `--dataset`: "clic2020:mobile"
    url: str  # the publisher's address; a page (no .zip) if the archive must be downloaded by hand
    num_images: int
    sides_px: tuple[int, int]  # minimum and maximum of both sides of its images
    places: tuple[str, ...]  # subfolders of a data folder; fetched images are put into the first
    size_bytes: int | None = None
    digest: str = ""  # see `download.ExpectedFile`; empty if unknown
    member_folder: str = ""  # folder of the images in the archive; empty: any
    image_folder: str = ""  # first part of the images' names: "mobile"

    @property
    def file_name(self) -> str:
        """Return the archive's file name."""
        return _name_of_url(self.url)


def _read_archive(name: str) -> Archive:
    fields = {key: value for key, value in TABLE[name].items() if key in Archive._fields}
    lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    return Archive(name, **{**fields, **lists})


ARCHIVES = {name: _read_archive(name) for name, facts in TABLE.items() if "url" in facts}


def _make_opener(name: str) -> Callable[[Sequence[Path]], Dataset]:
    def open_archive(data_folders: Sequence[Path]) -> Dataset:
        return Dataset(name, find_archive_images(ARCHIVES[name], data_folders))

    open_archive.__doc__ = f"Open the {TABLE[name]['content']}."  # `bench list` shows it
    return open_archive


OPENERS = SimpleNamespace(**{name: _make_opener(name) for name in ARCHIVES})  # for the registry


def open_clic2020(data_folders: Sequence[Path]) -> Dataset:
    """Open the 428 photographs of the CLIC 2020 test set; `Unavailable` if they were resized."""
    halves = [ARCHIVES[f"clic2020:{half}"] for half in ("mobile", "professional")]
    whole_set = halves[0]._replace(
        num_images=sum(archive.num_images for archive in halves), image_folder=""
    )
    whole_set = whole_set._replace(dataset="clic2020", places=("clic2020", "."))
    try:
        images = find_archive_images(whole_set, data_folders)
    except Unavailable as whole_error:
        try:
            images = tuple(
                chain(*(find_archive_images(archive, data_folders) for archive in halves))
            )
        except Unavailable as half_error:
            subfolders = {place for archive in halves for place in archive.places} - {"."}
            half_exists = any(
                (root / place).exists() for root in data_folders for place in subfolders
            )
            raise (half_error if half_exists else whole_error) from None
    pixels = sum(width * height for width, height in (png_size(image.path) for image in images))
    if abs(pixels / CLIC2020_PIXELS - 1) > PIXELS_TOLERANCE:
        raise Unavailable(
            f"the images in {images[0].path.parent} and {images[-1].path.parent} have {pixels} "
            f"pixels, but CLIC 2020's test set has about {CLIC2020_PIXELS:.4g}: run `bench fetch "
            "clic2020`"
        )
    return Dataset("clic2020", images)


def fetch_dataset(
    name: str,
    data_folders: Sequence[Path],
    target: Path,
    progress: download.DownloadProgress | None = None,
    origins: Sequence[str] = (),
) -> None:
    """Fetch archives that no data folder has; origins: copies, recognised by digest or name."""
    archives = [
        archive for key, archive in ARCHIVES.items() if name in (key, key.partition(":")[0])
    ]
    copies = _assign_origins(archives, origins)
    for archive in archives:
        try:
            find_archive_images(archive, data_folders)
        except Unavailable:
            if origins and archive not in copies:
                raise UsageError(
                    f"none of the files given with --from is {archive.file_name}: give that file "
                    f"too, or omit --from to download the file"
                ) from None
            fetch_archive(archive, target, progress, copies.get(archive, ""))


def find_archive_images(archive: Archive, data_folders: Sequence[Path]) -> tuple[ImageFile, ...]:
    """Return an archive's photographs from the first complete folder, or raise `Unavailable`."""
    return find_images(
        archive.dataset,
        data_folders,
        archive.places,
        lambda place: archive_images(place, archive),
        f"{archive.num_images} PNG files",
    )


def archive_images(place: Path, archive: Archive) -> Sequence[ImageFile]:
    """Return an archive's photographs, empty without PNG files; `Unavailable` for other files."""
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
        min_side, max_side = archive.sides_px
        if not (min_side <= width <= max_side and min_side <= height <= max_side):
            raise Unavailable(f"{path} has {width} x {height} pixels, not a size in this set")
    prefix = f"{archive.image_folder}/" if archive.image_folder else ""
    return [ImageFile(prefix + path.name, path) for path in files]


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height (px) from a PNG file's header; `Unavailable` if it has none."""
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
    """Download and unpack an archive into its folder in `target`, which appears when complete.

    origin: file or address of a copy (default: the publisher's address). A downloaded archive is
    removed afterwards; a user's file is kept, even next to the folder.
    """
    dataset_folder = target / archive.places[0]
    if not (archive.url.endswith(".zip") or origin.endswith(".zip")):
        digest = archive.digest and f" ({archive.digest})"
        raise Unavailable(
            f"{archive.dataset} cannot be fetched: get it yourself, from {archive.url}{digest}, "
            f"and put its {archive.num_images} PNG files into {dataset_folder}"
        )
    local_copy = Path(origin) if origin and not origin.startswith(ADDRESS_SCHEMES) else None
    zip_file = local_copy or dataset_folder.parent / archive.file_name
    keep_zip = zip_file.exists()
    url = origin if origin and not local_copy else archive.url
    remedy = f"put the archive at {zip_file} yourself; `bench fetch` then unpacks it"

    def fill(draft: Path) -> None:
        if not local_copy:
            download.fetch(url, zip_file, archive.size_bytes, archive.digest, progress, remedy)
        download.unpack_images(zip_file, draft, archive.num_images, archive.member_folder)
        archive_images(draft, archive)

    download.publish_folder(dataset_folder, [url], fill)
    if not keep_zip:
        zip_file.unlink()
    return dataset_folder


def _name_of_url(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def _assign_origins(archives: Sequence[Archive], origins: Sequence[str]) -> dict[Archive, str]:
    copies: dict[Archive, str] = {}
    for origin in origins:
        objections = {archive: _origin_objection(origin, archive, archives) for archive in archives}
        accepting = (archive for archive, objection in objections.items() if not objection)
        matching_archive = next(accepting, None)
        if matching_archive is None:
            objection = "; ".join(dict.fromkeys(objections.values()))
            raise UsageError(f"{origin} is not an archive of this dataset: {objection}")
        copies[matching_archive] = origin
    return copies


def _origin_objection(origin: str, archive: Archive, archives: Sequence[Archive]) -> str:
    if not origin.startswith(ADDRESS_SCHEMES):
        return download.ExpectedFile(archive.size_bytes, archive.digest).objection_to(Path(origin))
    if len(archives) == 1 or archive.file_name == _name_of_url(origin):
        return ""
    return f"its name is not {' or '.join(candidate.file_name for candidate in archives)}"
