"""Codec without a program: reconstructions on disk, and their sizes or rates beside them.

Where no `sizes.csv` lists them, they are read as authors publish them. A point is a folder of
pictures, or the rank of a rate in a picture's name (`beach_0.25bpp.png`). Folders that hold each
other's pictures are one point in several datasets: of the parts of their paths, those by which the
places of one picture differ name the point. A picture's size is of a csv, else of its name, else
that of a bitstream of its name beside it; pictures without one are left out.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from posixpath import splitext
from statistics import fmean
from typing import NamedTuple
from unicodedata import normalize

from PIL import Image

from baselines.formats.external import read_png, read_webp
from benchmark.codec import CodecInfo, Declared, OneOf, Pixels, Setting
from benchmark.errors import BadOption, ImageRefused, Unavailable
from benchmark.registry import squeezed
from benchmark.system.atomic import replacing
from benchmark.system.digest import cache_folder, file_sha256
from benchmark.system.foreign_files import BadFile, below, open_regular, read_regular, walk
from benchmark.system.text import Sheet, by_key, counted, listed, number_in, parse_sheet
from benchmark.system.unpacked import unpack

CODES_NOTHING = "{} codes nothing: its pictures and sizes are read from {}"
SIZES = "sizes.csv"
COLUMNS = ("image", "setting", "num_bytes")
MOST_BYTES, MOST_SETTINGS = 1 << 26, 1000  # of the csv
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".ppm"}
PICTURES = {".png", ".webp"}
NO_STREAMS = {*PICTURES, ".csv", ".json", ".txt", ".md", ".jpg", ".jpeg", ".pdf", ".log"}
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
RATE = re.compile(r"(.+?)[_-]([0-9]*\.?[0-9]+)_?bpp", re.IGNORECASE)
CODED = re.compile(r"[_-](rec|recon|reconstructed|reconstruction|decoded|output|out|hat)$")
IMAGE = ("image", "filename", "name", "file", "img", "imagename", "imageid", "picture")
# Names of columns, as `squeezed` has them, by what they hold.
SIZE_COLUMNS = {
    "bpp": ("bpp", "ratebpp", "bitrate", "rate", "bitsperpixel", "bitperpixel", "realbpp"),
    "num_bytes": ("numbytes", "bytes", "size", "filesize", "sizebytes"),
    "bits": ("bits", "numbits", "totalbits"),
}


class Picture(NamedTuple):
    """A reconstruction of an image, with the size that is stated of its stream."""

    image: str
    setting: float
    num_bytes: int
    file: str  # below the folder
    stem: str  # the image without extension
    line: int = 0  # of sizes.csv, from 1, the header's included; 0: of something else
    stated: Mapping[str, str] = {}  # cells of a line by the names of columns


class PublishedPictures(NamedTuple):
    """Pictures of several operating points, and what was understood of them."""

    points: tuple[str, ...]  # lowest mean rate first: those of the settings 1, 2, ...
    pictures: tuple[Picture, ...]
    sizes_from: str  # "bpp of metrics.csv"
    left_out: tuple[str, ...]  # points without any size


class _Place(NamedTuple):
    file: str
    image: str
    point: str
    bpp: float | None  # in its name


class Folder:
    """`folder:path=DIR`: pictures as authors publish them, or with DIR/sizes.csv; name=LABEL.

    DIR, a folder, zip or tar, has a folder of PNG or WebP for each operating point, or names with
    rates (beach_0.25bpp.png); and csv files, in all or one a folder, with an image and bpp,
    num_bytes or bits, or a bitstream beside each picture. Settings are the points by mean size,
    from 1. What the first line of `bench run` says was understood of it.

    DIR/sizes.csv, or csv=FILE below DIR, comes before that. It has the columns image (with or
    without the extension), setting (a number), num_bytes and, if wanted, file: the 8-bit PNG or
    WebP below DIR, else <setting as written>/<image without extension>.png. A line is of the image
    of exactly its name, else of the only image of that name without extension. The sweep is the
    settings by mean size.
    """

    def __init__(self, *, path: str, csv: str = SIZES, name: str = "folder"):
        self.name = name
        self._folder = unpacked_folder(Path(path))
        self._sizes = self._folder / csv
        self._published: PublishedPictures | None = None
        if csv != SIZES or self._sizes.exists() or not self._folder.is_dir():
            self._rows = _index(self._sizes)
        else:
            self._published, self._sizes = published_pictures(self._folder), self._folder
            self._rows = {(of.image, of.setting): of for of in self._published.pictures}
        self._by_stem: dict[tuple[str, float], list[Picture]] = defaultdict(list)
        sizes: dict[float, list[int]] = defaultdict(list)
        for row in self._rows.values():
            self._by_stem[row.stem, row.setting].append(row)
            sizes[row.setting].append(row.num_bytes)
        if len(sizes) > MOST_SETTINGS:
            raise BadOption(f"{self._sizes} has {len(sizes)} settings, more than {MOST_SETTINGS}")
        rising = sorted(sizes, key=lambda at: sum(sizes[at]) / len(sizes[at]))
        self.sweep = tuple(Setting("setting", value) for value in rising)
        self.accepts = OneOf(self.sweep)

    def understood(self, images: Sequence[str]) -> str:
        """Return a sentence on what was found for images of these names; "" with a list."""
        if (of := self._published) is None:
            return ""
        known = [image for image in images if any(self.has(image, at) for at in self.sweep)]
        count = f"{counted(len(of.points), 'point')} ({', '.join(of.points)})"
        others = f"; without sizes: {listed(of.left_out)}" if of.left_out else ""
        sizes = f"{len(known)} of {counted(len(images), 'image')}, {of.sizes_from}{others}"
        return f"{self.name}: {count}, {sizes}"

    def stated(self, image: str, setting: Setting) -> Mapping[str, str]:
        """Return what the authors state of a picture: cells of a csv by the names of columns."""
        with suppress(ImageRefused):
            return self._line(image, setting).stated
        return {}

    def describe(self) -> CodecInfo:
        """Return the paths of sizes and pictures; fingerprint the csv file and every picture."""
        sizes = "".join(f"{row.num_bytes} " for row in self._rows.values())
        digests = sha256((sizes if self._published else file_sha256(self._sizes)).encode())
        for row in self._rows.values():
            digest = ""
            with suppress(OSError):
                if os.path.lexists(picture := self._picture(row)):
                    digest = file_sha256(picture)
            digests.update(f"{row.file} {digest}".encode())
        return CodecInfo(
            version=f"{self.name}, coded elsewhere",
            command=f"reconstructions of setting {{setting}} in {self._folder}, "
            f"sizes in {self._sizes.name}",
            licence="NOASSERTION",
            fingerprint=digests.hexdigest(),
            timed="nothing: no coding takes place",
            caveat="bytes=declared",
        )

    def encode(self, pixels: Pixels, setting: Setting) -> bytes:
        """Raise `Unavailable`: nothing is coded."""
        raise Unavailable(CODES_NOTHING.format(self.name, self._folder))

    def decode(self, data: bytes) -> Pixels:
        """Raise `Unavailable`: nothing is coded."""
        raise Unavailable(CODES_NOTHING.format(self.name, self._folder))

    def declared(self, image: str, setting: Setting) -> Declared:
        """Return size and picture of a line; `ImageRefused` where either is missing or unusable."""
        row = self._line(image, setting)
        line = f" (line {row.line} of {self._sizes})" if row.line else ""
        where = f"{self._folder / row.file}{line}"
        try:
            read = read_webp if row.file.lower().endswith(".webp") else read_png
            return Declared(row.num_bytes, read(self._picture(row)))
        except ImageRefused as reason:
            raise ImageRefused(f"{where} {reason}") from None
        except OSError as error:
            raise ImageRefused(f"{where} cannot be read: {error.strerror}") from None

    def has(self, image: str, setting: Setting) -> bool:
        """Return whether there is a line of an image."""
        with suppress(ImageRefused):
            return bool(self._line(image, setting))
        return False

    def _picture(self, row: Picture) -> Path:
        """Return the path of a picture; raise `OSError` for one outside the folder."""
        picture = below(self._folder, row.file)
        if not os.path.lexists(picture):  # its name may be stored in the other form of Unicode
            return below(self._folder, normalize("NFD", row.file))
        return picture

    def require_distinct(self, images: Sequence[str]) -> None:
        """Raise `BadOption` for images of a dataset that share a line."""
        users: dict[tuple[str, float], str] = {}
        for image in images:
            for setting in self.sweep:
                with suppress(ImageRefused):
                    row = self._line(image, setting)
                    other = users.setdefault((row.image, row.setting), image)
                    if other != image:
                        raise BadOption(
                            f"line {row.line} of {self._sizes} would be of {other} and of {image}: "
                            "write a line for each, with its extension"
                        )

    def _line(self, image: str, setting: Setting) -> Picture:
        image = normalize("NFC", image)
        exact, stem = self._rows.get((image, setting.value)), _without_suffix(image)
        near = self._by_stem.get((plain(stem) if self._published else stem, setting.value), [])
        if setting.name == "setting" and (exact or len(near) == 1):
            return exact or near[0]
        why = "several lines, none of them" if len(near) > 1 else "no line"
        raise ImageRefused(f"{self._sizes} has {why} for image {image!r} at {setting}: add it")


def _index(path: Path) -> dict[tuple[str, float], Picture]:
    """Return the lines by image and setting; `Unavailable` without a file, `BadOption` if wrong."""
    rows: dict[tuple[str, float], Picture] = {}
    first: dict[tuple[str, float], Picture] = {}  # by the name without extension
    try:
        for row in _lines(path):
            image, stem = row.image, row.stem
            other = rows.get((image, row.setting)) or first.get((stem, row.setting))
            if other is not None and (image == other.image or stem in (image, other.image)):
                raise BadOption(f"line {row.line} of {path} repeats line {other.line}")
            first.setdefault((stem, row.setting), row)
            rows[row.image, row.setting] = row
    except OSError as error:
        remedy = f"make it, with the columns {','.join(COLUMNS)}"
        raise Unavailable(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    except (UnicodeDecodeError, BadFile) as error:
        raise BadOption(f"{path} is not a csv in UTF-8: {error}") from error
    if not rows:
        raise BadOption(f"{path} has no lines below its header")
    return rows


def _lines(path: Path) -> Iterator[Picture]:
    """Yield the lines below the header, whose columns may be in capitals.

    Images are in Unicode's composed form (NFC).
    """
    sheet = parse_sheet(read_regular(path, MOST_BYTES), foreign=True)
    names = [name.lower() for name in sheet.names]
    for column in COLUMNS:
        if column not in names:
            header = ", ".join(sheet.names)
            raise BadOption(f"{path} lacks the column {column!r}; its header is {header!r}")
    for number, fields in sheet.lines:
        where, cells = f"line {number} of {path}", dict(zip(names, fields, strict=True))
        image, setting, num_bytes = (cells[column].strip() for column in COLUMNS)
        image = normalize("NFC", image)
        value = number_in(setting)
        if not image:
            raise BadOption(f"{where} names no image")
        if not math.isfinite(value):
            raise BadOption(f"{where}: setting is a number, not {setting!r}")
        if not re.fullmatch(r"0*[1-9][0-9]{0,17}", num_bytes):
            raise BadOption(f"{where}: num_bytes is a whole number above 0, not {num_bytes!r}")
        stem = _without_suffix(image)
        file = cells.get("file") or f"{setting}/{stem}.png"
        yield Picture(image, value, int(num_bytes), file, stem, number)


def _without_suffix(image: str) -> str:
    """Return the name without the extension of an image file, its folders included.

    >>> _without_suffix("mobile/a.b.png"), _without_suffix("a.b")
    ('mobile/a.b', 'a.b')
    """
    stem, suffix = splitext(image)
    if suffix.lower() not in SUFFIXES:
        return image
    return str(PurePosixPath(stem)) if "/" in stem else stem


def unpacked_folder(path: Path) -> Path:
    """Return a folder, or one in the cache of the unpacked archive, or archives in the folder.

    Raises `Unavailable`, `BadOption`.
    """
    archives = [path] if path.is_file() else [
        file for file in sorted(path.glob("*")) if file.name.lower().endswith(ARCHIVES)
    ]  # fmt: skip
    if not archives or any(path.glob("**/*.png")):
        return path
    digests = "".join(f"{file.name} {file_sha256(file)} " for file in archives)
    there = cache_folder() / "published" / sha256(digests.encode()).hexdigest()
    try:
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            with replacing(there) as draft:
                for file in archives:
                    into = draft if file == path else draft / file.name.partition(".")[0]
                    into.mkdir(parents=True)
                    unpack(file, into, lambda *why: None)
    except BadFile as error:
        raise BadOption(
            f"{path} holds no zip or tar of pictures that can be read: {error}"
        ) from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be unpacked into {there}: {error.strerror}") from error
    return there


def published_pictures(folder: Path) -> PublishedPictures:
    """Read a folder of pictures of any layout; raise `Unavailable` without any, `BadOption`."""
    files = [(Path(at) / name).relative_to(folder) for at, _, names in walk(folder)
             for name in sorted(names) if name[0] != "."]  # fmt: skip
    files.sort()
    places = _places([file for file in files if file.suffix.lower() in PICTURES])
    if not places:
        raise Unavailable(f"{folder} holds no sizes.csv (image,setting,num_bytes) and no pictures")
    stated, named = dict[str, tuple[int | float, dict[str, str]]](), list[str]()
    for file in files:
        if file.suffix.lower() == ".csv" and (of := _of_sheet(folder, file, places, stated)):
            named.append(of)
    beside = _streams_beside(folder, files)
    kept: dict[tuple[str, str], Picture] = {}  # by image and point
    used = dict.fromkeys(named)
    for place in places:
        size, cells = stated.get(place.file, (None, {}))
        if size is None and place.bpp is not None:
            size, _ = place.bpp, used.setdefault("bpp of names")
        if size is None and len(streams := beside.get(place.file, [])) == 1:
            size, _ = streams[0], used.setdefault("sizes of bitstreams")
        if size is not None:
            num_bytes = size if isinstance(size, int) else _bytes(folder, place, size)
            made = Picture(place.image, 0, num_bytes, place.file, place.image, stated=cells)
            other = kept.setdefault((place.image, place.point), made)
            if other is not made:
                both = f"{other.file} and {made.file} are of one image at one point"
                raise BadOption(f"{folder}: {both}: leave one, or name the folder of one dataset")
    if not kept:
        raise BadOption(
            f"{folder} says no size of its pictures: it needs a csv with image and bpp, num_bytes "
            "or bits, names that end in _0.25bpp, or a bitstream beside each picture"
        )
    sizes = by_key((point, picture.num_bytes) for (_, point), picture in kept.items())
    points = tuple(sorted(sizes, key=lambda point: (fmean(sizes[point]), point)))
    pictures = tuple(
        picture._replace(setting=1.0 + points.index(point)) for (_, point), picture in kept.items()
    )
    left_out = tuple(dict.fromkeys(of.point for of in places if of.point not in sizes))
    return PublishedPictures(points, pictures, listed([*used]), left_out)


def plain(image: str) -> str:
    """Return an image's name without folders, extension and what coders append.

    >>> [*map(plain, ("recon/kodim01_rec.png", "clic/a.b.webp", "beach-out.png", "v1.2"))]
    ['kodim01', 'a.b', 'beach', 'v1.2']
    """
    name = normalize("NFC", PurePosixPath(image.replace("\\", "/")).name)
    stem, dot, suffix = name.rpartition(".")
    name = stem if dot and f".{suffix.lower()}" in NO_STREAMS | {".ppm", ".tif", ".bin"} else name
    return CODED.sub("", name)


def _places(files: Sequence[Path]) -> list[_Place]:
    if rates := {file: match for file in files if (match := RATE.fullmatch(file.stem))}:
        by_image: dict[str, list[tuple[float, Path]]] = defaultdict(list)
        for file, match in rates.items():
            by_image[plain(match[1])].append((float(match[2]), file))
        return [
            _Place(file.as_posix(), image, f"{rank}", bpp)
            for image, known in by_image.items()
            for rank, (bpp, file) in enumerate(sorted(known), 1)
        ]
    folders: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for file in files:
        folders[plain(file.name)].append(file.parent.parts)
    deep = {len(parts) for of in folders.values() for parts in of}
    differing = {at for of in folders.values() for at in range(min(deep))
                 if len({parts[at] for parts in of}) > 1}  # fmt: skip

    def point(parts: tuple[str, ...]) -> str:
        own = parts if len(deep) > 1 else [parts[at] for at in sorted(differing)]
        return "/".join(own) or "1"

    return [
        _Place(file.as_posix(), plain(file.name), point(file.parent.parts), None) for file in files
    ]


def _of_sheet(
    folder: Path,
    file: Path,
    places: Sequence[_Place],
    stated: dict[str, tuple[int | float, dict[str, str]]],
) -> str:
    """Add the sizes and values of a csv, by file; return where sizes are from, "" for another."""
    try:
        sheet = parse_sheet(read_regular(folder / file, MOST_BYTES), foreign=True)
    except (BadFile, UnicodeDecodeError, OSError) as error:
        raise BadOption(f"{folder / file} is not a csv in UTF-8: {error}") from error
    names = {squeezed(name): name for name in reversed(sheet.names)}
    image = next((names[word] for word in IMAGE if word in names), "")
    sizes = [(kind, names[word]) for kind, words in SIZE_COLUMNS.items() for word in words
             if word in names]  # fmt: skip
    if not image or not sizes:
        return ""
    kind, column = next((of for of in sizes if of[0] != "bpp"), sizes[0])
    beside = [place for place in places if PurePosixPath(place.file).is_relative_to(file.parent)]
    by_image: dict[str, list[_Place]] = defaultdict(list)
    for place in beside or places:
        by_image[place.image].append(place)
    naming = _point_column(sheet, {place.point for place in places}, {image, column})
    for (number, _), cells in zip(sheet.lines, sheet.records(), strict=True):
        cell, size = cells[image].strip(), number_in(cells[column])
        match = RATE.fullmatch(PurePosixPath(cell).stem)
        known = by_image.get(plain(match[1] if match else cell), [])
        for narrower in (_in_folders(cell), _at(cells.get(naming, "")), _at(file.stem)):
            if len(known) > 1:
                known = [place for place in known if narrower(place)] or known
        where = f"line {number} of {folder / file}"
        if len(known) > 1:
            among = listed([place.file for place in known[:4]])
            raise BadOption(f"{where} may be of {among}: a column has to say of which folder")
        if known and not size > 0:
            raise BadOption(f"{where}: {column} is a number above 0, not {cells[column]!r}")
        if known and known[0].file in stated:
            raise BadOption(f"{where} is of {known[0].file}, as a line before it is")
        for place in known:
            whole = {"num_bytes": size, "bits": -(-size // 8)}.get(kind)
            stated[place.file] = (size if whole is None else int(whole), cells)
    of_here = any(place.file in stated for place in places)
    return f"{column} of {file.name}" if of_here else ""


def _point_column(sheet: Sheet, points: set[str], but: set[str]) -> str:
    """Return the column whose every cell names a point, of several; "" without one."""
    for name in sheet.names:
        cells = {cells[name] for cells in sheet.records()} if name not in but else set()
        matched = {cell: [p for p in points if _is_named(p, cell)] for cell in cells}
        if len(matched) > 1 and all(len(of) == 1 for of in matched.values()):
            return name
    return ""


def _is_named(point: str, cell: str) -> bool:
    numbers = re.findall(r"[0-9]*\.?[0-9]+(?:e-?[0-9]+)?", point)
    same = squeezed(point) == squeezed(cell)
    return same or (len(numbers) == 1 and float(numbers[0]) == number_in(cell))


def _at(cell: str) -> Callable[[_Place], bool]:
    return lambda place: bool(cell) and _is_named(place.point, cell)


def _in_folders(cell: str) -> Callable[[_Place], bool]:
    wanted = PurePosixPath(cell.replace("\\", "/")).with_suffix("").parts
    return lambda place: PurePosixPath(place.file).with_suffix("").parts[-len(wanted) :] == wanted


def _streams_beside(folder: Path, files: Iterable[Path]) -> dict[str, list[int]]:
    """Return sizes in bytes of the bitstreams beside pictures, by the picture's file."""
    streams: dict[tuple[Path, str], list[int]] = defaultdict(list)
    pictures = []
    for file in files:
        if file.suffix.lower() in PICTURES:
            pictures.append(file)
        elif file.suffix.lower() not in NO_STREAMS:
            stem = CODED.sub("", normalize("NFC", file.name.partition(".")[0]))
            streams[file.parent, stem].append((folder / file).stat().st_size)
    return {of.as_posix(): streams[of.parent, plain(of.name).partition(".")[0]] for of in pictures}


def _bytes(folder: Path, place: _Place, bpp: float) -> int:
    """Return the bytes that a rate is for a picture's size, read from its head."""
    try:
        with open_regular(folder / place.file, within=folder) as file, Image.open(file) as image:
            width, height = image.size
    except Exception as error:  # whatever Pillow raises is about this file
        raise BadOption(f"{folder / place.file} is no picture: {error}") from error
    return max(1, round(bpp * width * height / 8))
