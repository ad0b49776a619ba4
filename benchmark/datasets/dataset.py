"""Interface of datasets: image files by name, facts about the dataset, measurable sources.

Each dataset has a module, and a line in the registry that names its opener, a function that takes
the folders to search and returns a `Dataset` or raises `Unavailable`. The module may also define

    PROFILES        facts for figures and captions: `Profile` by name
    fetch_dataset   (name, data_folders, target, progress), for `bench fetch`: download the files
                    that are in none of `data_folders` to the folder `target`. A fifth parameter,
                    `origins`, has the files or addresses to read instead of the usual ones.
"""

import csv
import inspect
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

from benchmark import errors, plugins
from benchmark.answer import Absent
from benchmark.errors import BenchError, ImageRefused, Reason, Unavailable, UsageError, suggest_path
from benchmark.registry import (
    DATASETS,
    HUB,
    HUB_OPENER,
    dataset_module,
    dataset_opener,
    import_target,
    is_folder_name,
    is_user_code,
)
from benchmark.system.digest import FileMemory, cache_folder, pixels_sha256
from benchmark.system.foreign_files import walk
from benchmark.system.text import bench_command, name_text

DATA_VARIABLE = "BENCH_DATA"
PROBE_BATCH = 1024  # files; each needs two kilobytes while it is queued
RESULTS_NAME = re.compile("[A-Za-z0-9_][A-Za-z0-9._-]*")
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
PPM_SUFFIXES = (".ppm", ".pgm", ".pbm", ".pnm")
HASH_OF_FOLDER = re.compile("_?-[0-9a-f]{6}$")  # ends the name of a folder's dataset
SUFFIXES = frozenset([".png", *JPEG_SUFFIXES, ".webp", ".tif", ".tiff", ".bmp", *PPM_SUFFIXES])


class ImageFile(NamedTuple):
    """Photograph on disk, named by its path below the dataset's root, with slashes."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class Dataset:
    """Named list of image files, sorted by name."""

    name: str  # "kodak", "clic2020:mobile"; rows are stored under the part before the colon
    images: tuple[ImageFile, ...]
    # Only for a folder of images: its name without the hash of its path, which ends `name`. When
    # rows are read or written, `rows.codecs` replaces `name` by the name of the results folder.
    folder_title: str = ""
    unread_files: tuple[str, ...] = ()  # files of a folder with suffixes that are not supported
    origin: str = ""  # address on the Hub, with the commit: "hf:me/photos@3f2a..."

    @property
    def store_name(self) -> str:
        """Return the name of the dataset's folder in results/."""
        return self.name.partition(":")[0]

    def sizes_of_files(self) -> list[tuple[str, int]]:
        """Return (name, bytes) of every image on disk."""
        return [
            (image.name, image.path.stat().st_size) for image in self.images if image.path.is_file()
        ]


class Profile(NamedTuple):
    """Facts about a dataset; `PROFILES` of the module that opens it has them by name."""

    title: str  # in figures and captions: "Kodak"
    published_images: int | None = None  # number of images behind published means
    most_bpp: float | None = None  # highest rate in the paper's figures
    anchor: str = ""  # anchor of the paper's BD-rates
    pixels: int | None = None  # total of all images, for plans before images are fetched


def profile(name: str) -> Profile:
    """Return a dataset's profile; if it has none, the title is the name without a folder's hash.

    >>> profile("photos_2024_-7edd08").title, profile("mine").title
    ('photos_2024', 'mine')
    """
    if name not in DATASETS:
        return Profile(HASH_OF_FOLDER.sub("", name))
    profiles: dict[str, Profile] = getattr(dataset_module(name), "PROFILES", {})
    return profiles.get(name, Profile(name))


class Source(NamedTuple):
    """Photograph that can be measured."""

    file: ImageFile
    sha256: str  # hash of the pixels
    width_px: int
    height_px: int
    lossy: bool  # the file format is lossy
    colours: str = ""  # `Photograph.colours`


def probe(files: Sequence[ImageFile], flatten: bool, threads: int) -> list[Source | Absent]:
    """Return files as sources, in order; `Absent` says why a file is unusable."""
    # Threads, since decoding and hashing release the interpreter's lock.
    with FileMemory() as memory, ThreadPoolExecutor(threads) as pool:
        starts = range(0, len(files), PROBE_BATCH)
        batches = (files[start : start + PROBE_BATCH] for start in starts)
        sources = (pool.map(lambda file: _probe(file, flatten, memory), batch) for batch in batches)
        return [*chain.from_iterable(sources)]


def refuse_duplicates(sources: Sequence[Source | Absent]) -> list[Source | Absent]:
    """Replace repetitions of an image, which would count twice in a mean, by `Absent`."""
    first_names: dict[tuple[str, int], str] = {}
    result: list[Source | Absent] = []
    for source in sources:
        name = first_name = source.file.name if isinstance(source, Source) else source.what
        if isinstance(source, Source):
            first_name = first_names.setdefault((source.sha256, source.width_px), name)
        objection = f"has the same pixels as {first_name}: remove one of the two"
        result.append(source if first_name == name else Absent(name, objection))
    return result


def _probe(file: ImageFile, flatten: bool, memory: FileMemory) -> Source | Absent:
    def read() -> tuple[str, int, int, bool, str]:
        from benchmark.datasets.image import read_image

        photograph = read_image(file.path, flatten)
        height, width, _ = photograph.pixels.shape
        return pixels_sha256(photograph.pixels), width, height, *photograph[1:]

    try:
        return Source(
            file, *memory.value(file.path, f"source, with colours, flatten={flatten:d}", read)
        )
    except ImageRefused as error:
        return Absent(file.name, error.reason.subject if error.reason else str(error))
    except OSError as error:
        return Absent(file.name, f"cannot be read: {error.strerror or error}")


def data_folders(data_dir: Path | None = None) -> list[Path]:
    """Return the folders to search: `data_dir`, those in $BENCH_DATA, the user's cache."""
    if data_dir and not data_dir.is_dir():
        raise UsageError(f"--data-dir {data_dir} is not a folder")
    explicit_folders = [data_dir] if data_dir else []
    environment_folders = [
        Path(part) for part in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if part
    ]
    return [*explicit_folders, *environment_folders, fetched_folder()]


def fetched_folder() -> Path:
    """Return the default folder of `bench fetch` for datasets."""
    return cache_folder() / "datasets"


def open_folder(path: Path) -> Dataset:
    """Open all images in a folder and its subfolders as a dataset, sorted by path.

    An image is a file with a suffix in `SUFFIXES`, in either case; other files are `unread_files`.
    Hidden files and links to folders are ignored. The dataset's name is the folder's name with six
    hex digits of its path's sha256. Raises `UsageError` if there is no folder, or no image in it.
    """
    if not path.exists():
        tip = suggest_path(path, Path.is_dir)
        raise UsageError(f"there is no folder {path}{tip}: name a folder of images or a dataset")
    if not path.is_dir():
        raise UsageError(f"{path} is neither a folder of images nor a csv file that lists images")
    real_path = path.resolve()
    title, digest = _title_and_digest(real_path)
    images, unread_files = _list_images(real_path)
    if not images:
        kinds = ", ".join(unread_kinds(unread_files))
        suffixes = ", ".join(sorted(SUFFIXES))
        raise UsageError(
            f"{path} holds no image whose name ends in {suffixes}"
            + (kinds and f"; it holds {kinds}: convert them to PNG")
        )
    return Dataset(f"{title}-{digest}", tuple(sorted(images)), title, tuple(sorted(unread_files)))


def open_list(path: Path) -> Dataset:
    """Open the images that a csv file lists, in the order of their names.

    Column `image` has paths, relative to the file; the optional column `name` has the images' names
    in rows and figures. The dataset's name is the file's name with six hex digits of its path's
    sha256. Raises `UsageError`, which names the file and line, if one cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            columns, rows = lines.fieldnames or (), [(lines.line_num, row) for row in lines]
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as a list of images: {error}") from error
    if "image" not in columns:
        raise UsageError(f"{path} has no column `image` with the path of each image")
    images: dict[str, ImageFile] = {}
    for number, row in rows:
        text = (row["image"] or "").strip()
        name, file_path = name_text((row.get("name") or text).strip()), path.parent / text
        if not text or not file_path.is_file():
            problem = f"there is no image {text}" if text else "the column `image` is empty"
            raise UsageError(f"{path}, line {number}: {problem}")
        if name in images:
            raise UsageError(f"{path}, line {number}: two images have the name {name}")
        images[name] = ImageFile(name, file_path.resolve())
    if not images:
        raise UsageError(f"{path} lists no image")
    title, digest = _title_and_digest(path.resolve().with_suffix(""))
    return Dataset(f"{title}-{digest}", tuple(sorted(images.values())), title)


def is_image_list(path: Path) -> bool:
    """Return whether a path is a csv file, which `open_list` reads."""
    return path.suffix.lower() == ".csv" and path.is_file()


def open_images(path: Path) -> Dataset:
    """Open a folder of images, or a csv file that lists images."""
    return open_list(path) if is_image_list(path) else open_folder(path)


def _title_and_digest(path: Path) -> tuple[str, str]:
    title = re.sub(r"[^A-Za-z0-9._-]+", "_", path.name).lstrip(".") or "images"
    return title, sha256(os.fsencode(path)).hexdigest()[:6]


def unread_kinds(names: Iterable[str]) -> list[str]:
    """Count files by suffix, most frequent first: "2 .heic", "1 without suffix"."""
    counts = Counter(Path(name).suffix.lower() or "without suffix" for name in names)
    return [f"{count} {suffix}" for suffix, count in counts.most_common()]


def open_dataset(name_or_folder: str | Path, data_dir: Path | None = None) -> Dataset:
    """Open a dataset: a registered name, images at a path, `path.py:function` or `hf:USER/NAME`.

    data_dir: searched for named datasets before $BENCH_DATA and the user's cache. Raises
    `UnknownName` if the argument is neither a name nor a path, `UsageError` for a path without
    images, `Unavailable` if images are missing.
    """
    text = str(name_or_folder)
    if text.startswith(HUB):
        hub_dataset: Dataset = import_target(HUB_OPENER)(text)
        return hub_dataset
    if is_user_code(text):
        return open_from_file(text, data_folders(data_dir))
    is_unknown = text not in DATASETS and not get_close_matches(text, DATASETS)
    is_misspelt_path = is_unknown and suggest_path(Path(text), Path.is_dir)
    if is_folder_name(text) or is_misspelt_path:
        return open_images(Path(text))
    dataset: Dataset = dataset_opener(text, "dataset or folder")(data_folders(data_dir))
    return dataset


@plugins.printing_to_stderr()
def open_from_file(name: str, folders: Sequence[Path]) -> Dataset:
    """Call `path.py:function` with `folders` if it takes any; `UsageError` if it fails."""
    function = plugins.load(name, "function")
    arguments = [list(folders)] if inspect.signature(function).parameters else []
    try:
        dataset: object = function(*arguments)
        if isinstance(dataset, Dataset):  # `images` may be a generator, which yields only once
            dataset = Dataset(dataset.name, tuple(dataset.images))
    except BenchError:
        raise
    except errors.FOREIGN_ERRORS as error:
        raise plugins.author_failure(name, function, "the function of", error) from error
    file = plugins.place_of(name)
    if not isinstance(dataset, Dataset):
        raise UsageError(f"{file}: {name} must return a Dataset, not {type(dataset).__name__}")
    if objection := _contract_objection(dataset):
        raise UsageError(f"{file}: the dataset of {name} {objection}")
    return Dataset(dataset.name, tuple(sorted(dataset.images)))


def _contract_objection(dataset: Dataset) -> str:
    if dataset.store_name in DATASETS:
        return (
            f"has the name {dataset.name!r}, which is a dataset of rdrbench: "
            "give your dataset another name"
        )
    if not RESULTS_NAME.fullmatch(dataset.name):
        return f"has the name {dataset.name!r}, which cannot be the name of a folder of results"
    if not dataset.images or not all(isinstance(image, ImageFile) for image in dataset.images):
        return "must have images, each an ImageFile"
    for name, count in Counter(image.name for image in dataset.images).items():
        if count > 1:
            return f"has two images named {name!r}"
    missing_image = next((i for i in dataset.images if not Path(i.path).is_file()), None)
    return f"has no image {missing_image.name} at {missing_image.path}" if missing_image else ""


def find_images(
    name: str,
    data_folders: Sequence[Path],
    subfolders: Sequence[str],
    find_in_folder: Callable[[Path], Sequence[ImageFile]],
    content: str = "its images",
) -> tuple[ImageFile, ...]:
    """Return the sorted images of the first folder that holds the whole dataset.

    Searches all `subfolders` of the first data folder, then of the next; "." is the data folder.
    `find_in_folder` returns a folder's images, empty if the dataset's files are not in it, and
    raises `Unavailable` for wrong files. content: description of these files, for errors.
    """
    objections: dict[bool, str] = {}  # by whether the folder is a data folder itself
    for folder, path in product(data_folders, subfolders):
        try:
            if images := find_in_folder(folder / path):
                return tuple(sorted(images))
        except Unavailable as error:
            objections.setdefault(path == ".", str(error))
    folder_names = " or ".join(str(folder) for folder in data_folders)
    absence = f"{subfolders[0]} with {content} is not in {folder_names}"
    reason = objections.get(False) or "; ".join([absence, *objections.values()])
    fetch = bench_command("fetch", name)
    raise Unavailable(
        f"the dataset {name} was not found ({reason}): run `{fetch}`, put {content} into "
        f"{data_folders[0] / subfolders[0]} (layouts: docs/metric-and-dataset.md), name "
        "the folder that holds them with --data-dir, or measure any folder of images with "
        "--dataset FOLDER",
        Reason("dataset", name, fetch),
    )


def _list_images(root: Path) -> tuple[list[ImageFile], list[str]]:
    def raise_usage_error(error: OSError) -> None:
        raise UsageError(f"{error.filename} cannot be listed: {error.strerror}")

    images, unread_files = [], []
    for folder, subfolders, files in walk(root, raise_usage_error):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for path in (Path(folder, name) for name in files if not name.startswith(".")):
            name = name_text(path.relative_to(root).as_posix())
            if path.suffix.lower() in SUFFIXES:
                images.append(ImageFile(name, path))
            else:
                unread_files.append(name)
    return images, unread_files
