"""Codec without a program: reconstructions on disk, and their sizes or rates beside them.

Where no `sizes.csv` lists them, they are read as authors publish them. A point is what agrees over
images: a folder of pictures, or a rate in their names (`beach_0.25bpp.png`). Folders that hold each
other's pictures are one point in several datasets: of the parts of their paths, those by which the
places of one picture differ name the point. Rates that differ from image to image name no point:
their order does, if every image has as many. A picture's size is what all columns of its line in a
csv and a bitstream of its name beside it agree on, else the rate in its name; pictures without one
are left out.
"""

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
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
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import BadFile, open_regular, read_regular, resolve_inside, walk
from benchmark.system.text import by_key, counted, listed, measured_number, number_in, parse_sheet
from benchmark.system.unpacked import folder_of_seed, unpacked_folder

CODES_NOTHING = "{} codes nothing: its pictures and sizes are read from {}"
SIZES = "sizes.csv"
COLUMNS = ("image", "setting", "num_bytes")
MOST_BYTES, MOST_SETTINGS = 1 << 26, 1000  # of the csv
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".ppm"}
PICTURES = {".png", ".webp"}
STREAMS = {
    "", ".bin", ".bit", ".bits", ".bitstream", ".stream", ".tfci", ".bpg", ".jxl", ".jp2", ".j2k",
    ".j2c", ".avif", ".heic", ".heif", ".ivf", ".obu", ".av1", ".264", ".h264", ".265", ".h265",
    ".hevc", ".266", ".h266", ".vvc",
}  # fmt: skip
RATE = re.compile(r"(.+?)[_-]([0-9]*\.?[0-9]+)_?bpp", re.IGNORECASE)
CODED = re.compile(r"[_-](rec|recon|reconstructed|reconstruction|decoded|output|out|hat)$")
IMAGE = ("image", "filename", "name", "file", "img", "imagename", "imageid", "picture")
# Names of columns, as `squeezed` has them, by what they hold.
SIZE_COLUMNS = {
    "bpp": (
        *("bpp", "ratebpp", "bitrate", "rate", "bitsperpixel"),
        *("bitperpixel", "realbpp", "bppreal"),
    ),
    "num_bytes": ("numbytes", "nbytes", "bytes", "size", "filesize", "sizebytes", "streambytes"),
    "bits": ("bits", "numbits", "nbits", "totalbits"),
}
KIND_OF_SIZE = {word: kind for kind, words in SIZE_COLUMNS.items() for word in words}
RAW_BYTES_PER_PIXEL, SMALLEST_LIMIT = 3, 1024  # no stream of a reconstruction is larger


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
    rows_left_out: int = 0  # of csv files, which are of no picture


class _Place(NamedTuple):
    file: str
    image: str
    point: str
    bpp: str = ""  # in its name


class _Row(NamedTuple):
    """A line of a csv of sizes, with the pictures that it may be of."""

    where: str  # "line 2 of metrics.csv"
    sheet: str
    image: str  # as it is written
    cells: dict[str, str]  # by names of columns
    sizes: dict[str, str]
    places: list[_Place]


class Folder:
    """`folder:path=DIR`: pictures as authors publish them, or with DIR/sizes.csv; name=LABEL.

    Of a generative decoder, seeds=seed* names the folders below DIR that each hold the pictures of
    a seed; seed=N is the one of that place, from 0.

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

    def __init__(
        self, *, path: str, csv: str = SIZES, name: str = "folder", seeds: str = "", seed: int = 0
    ):
        self.name = name
        self._folder = unpacked_folder(Path(path), _is_read)
        if seeds or seed:
            self._folder = folder_of_seed(self._folder, seeds, seed)
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

    @staticmethod
    def draws(options: Mapping[str, str]) -> bool:
        """Return whether there are folders of several seeds."""
        return bool(options.get("seeds"))

    def understood(self, images: Sequence[str]) -> str:
        """Return a sentence on what was found for images of these names; "" with a list."""
        if (of := self._published) is None:
            return ""
        known = [image for image in images if any(self.has(image, at) for at in self.sweep)]
        count = f"{counted(len(of.points), 'point')} ({', '.join(of.points)})"
        others = f"; without sizes: {listed(of.left_out)}" if of.left_out else ""
        if of.rows_left_out:
            others += f"; {counted(of.rows_left_out, 'row')} of no picture"
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
            pixels = read(self._picture(row))
            if not row.num_bytes:
                raise ImageRefused("has no size: no picture of the image has a head to read")
            return Declared(row.num_bytes, pixels)
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
        picture = resolve_inside(self._folder, row.file)
        if not os.path.lexists(picture):  # its name may be stored in the other form of Unicode
            return resolve_inside(self._folder, normalize("NFD", row.file))
        return picture

    def require_distinct(self, images: Sequence[str]) -> None:
        """Raise `BadOption` for images of a dataset that share a line, or if none has one."""
        users: dict[tuple[str, float], str] = {}
        if not any(self.has(image, setting) for image in images for setting in self.sweep):
            names = listed([*dict.fromkeys(row.image for row in self._rows.values())])
            raise BadOption(
                f"{self._sizes} has pictures of {names}, and of no image of the dataset "
                f"({listed(images)}): give both the same names"
            )
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
        image, setting, _ = (cells[column].strip() for column in COLUMNS)
        image = normalize("NFC", image)
        value = number_in(setting)
        if not image:
            raise BadOption(f"{where} names no image")
        if not math.isfinite(value):
            raise BadOption(f"{where}: setting is a number, not {setting!r}")
        stem = _without_suffix(image)
        file = cells.get("file") or f"{setting}/{stem}.png"
        sizes = {name: cells[name] for name in names if squeezed(name) in KIND_OF_SIZE}
        pixels = _num_pixels(path.parent, file) if len(sizes) > 1 else None
        num_bytes = _agreed_bytes(where, sizes, pixels)
        yield Picture(image, value, num_bytes, file, stem, number)


def _without_suffix(image: str) -> str:
    """Return the name without the extension of an image file, its folders included.

    >>> _without_suffix("mobile/a.b.png"), _without_suffix("a.b")
    ('mobile/a.b', 'a.b')
    """
    stem, suffix = splitext(image)
    if suffix.lower() not in SUFFIXES:
        return image
    return str(PurePosixPath(stem)) if "/" in stem else stem


def _is_read(file: Path) -> bool:
    return file.suffix.lower() in PICTURES or file.name == SIZES


def published_pictures(folder: Path) -> PublishedPictures:
    """Read a folder of pictures of any layout; raise `Unavailable` without any, `BadOption`."""
    files = [(Path(at) / name).relative_to(folder) for at, _, names in walk(folder)
             for name in sorted(names) if name[0] != "."]  # fmt: skip
    files.sort()
    pictures_found = [file for file in files if file.suffix.lower() in PICTURES]
    places = _places(folder, pictures_found)
    if not places:
        others = sorted({file.suffix for file in files if file.suffix.lower() in SUFFIXES})
        why = f"its pictures are {listed(others)}: save" if others else "and no pictures: put"
        raise Unavailable(
            f"{folder} holds no sizes.csv (image,setting,num_bytes); {why} reconstructions there "
            "as PNG or WebP without loss"
        )
    streams = _streams_beside(folder, files)
    pixels = {place.file: _num_pixels(folder, place.file) for place in places}
    of_image = {place.image: pixels[place.file] for place in places if pixels[place.file]}
    for place in places:  # a damaged picture has the size of another of its image
        pixels[place.file] = pixels[place.file] or of_image.get(place.image)
    sheets = [file for file in files if file.suffix.lower() == ".csv"]
    rows, without_picture = _rows_of_sheets(folder, sheets, places)
    row_by_file: dict[str, _Row] = {}
    num_bytes: dict[str, int] = {}
    for row in rows:
        file = row.places[0].file
        if (other_row := row_by_file.setdefault(file, row)) is not row:
            raise BadOption(f"{row.where} is of {file}, as {other_row.where} is: leave one")
        num_bytes[file] = _agreed_bytes(row.where, row.sizes, pixels[file], streams.get(file))
    kept: dict[tuple[str, str], Picture] = {}  # by image and point
    used: dict[str, None] = {}
    for place in places:
        file, stating = place.file, row_by_file.get(place.file)
        if stating:
            used[f"{listed([*stating.sizes])} of {stating.sheet}"] = None
        elif file in streams:
            num_bytes[file], used["sizes of bitstreams"] = streams[file], None
        elif place.bpp:
            rate = {"bpp": place.bpp}
            num_bytes[file] = _agreed_bytes(f"{folder / file}", rate, pixels[file])
            used["bpp of names"] = None
        else:
            continue
        cells = stating.cells if stating else {}
        made = Picture(place.image, 0, num_bytes[file], file, place.image, stated=cells)
        if (other := kept.setdefault((place.image, place.point), made)) is not made:
            both = f"{other.file} and {made.file} are of one image at one point"
            raise BadOption(f"{folder}: {both}: leave one, or name the folder of one dataset")
    if not kept and without_picture:
        row, names = without_picture[0], listed([place.file for place in places])
        raise BadOption(
            f"{row.where} is of {row.image!r}, and as no line is of a picture here ({names}), "
            "none has a size: give both the same names"
        )
    if not kept:
        raise BadOption(
            f"{folder} says no size of its pictures: it needs a csv with image and bpp, num_bytes "
            "or bits, names that end in _0.25bpp, or a bitstream (.bin, ...) beside each picture"
        )
    points = _rising(kept)
    pictures = tuple(
        picture._replace(setting=1.0 + points.index(point)) for (_, point), picture in kept.items()
    )
    without = tuple(dict.fromkeys(of.point for of in places if of.point not in points))
    return PublishedPictures(points, pictures, listed([*used]), without, len(without_picture))


def _rising(pictures: Mapping[tuple[str, str], Picture]) -> tuple[str, ...]:
    """Return the points by their mean size over the images that every point has, if there are."""
    images = by_key((point, image) for image, point in pictures)
    common = set.intersection(*map(set, images.values()))
    sizes = by_key((point, picture.num_bytes) for (image, point), picture in pictures.items()
                   if image in common or not common)  # fmt: skip
    return tuple(sorted(sizes, key=lambda point: (fmean(sizes[point]), point)))


def plain(image: str) -> str:
    """Return an image's name without folders, extension and what coders append.

    >>> [*map(plain, ("recon/kodim01_rec.png", "clic/a.b.webp", "beach-out.png", "v1.2"))]
    ['kodim01', 'a.b', 'beach', 'v1.2']
    """
    name = normalize("NFC", PurePosixPath(image.replace("\\", "/")).name)
    stem, dot, suffix = name.rpartition(".")
    name = stem if dot and f".{suffix.lower()}" in SUFFIXES | STREAMS else name
    return CODED.sub("", name)


def _places(folder: Path, files: Sequence[Path]) -> list[_Place]:
    """Return the pictures with their images and points; raise `BadOption` if no name tells these.

    Points that rates in names tell by their order alone are "rate 1", "rate 2", ...
    """
    rates = {file: match for file in files if (match := RATE.fullmatch(file.stem))}
    files = [*rates] or files
    images = {file: plain(rates[file][1] if rates else file.name) for file in files}
    parts = by_key((images[file], file.parent.parts) for file in files)
    deep = {len(of) for each in parts.values() for of in each}
    differing = {at for each in parts.values() for at in range(min(deep))
                 if len({of[at] for of in each}) > 1}  # fmt: skip
    whole = len(deep) > 1 or len({file.parent for file in files}) == 1

    def point(of: tuple[str, ...]) -> str:
        return "/".join(of if whole else [of[at] for at in sorted(differing)]) or "1"

    points = {file: point(file.parent.parts) for file in files}
    if len({(images[file], points[file]) for file in files}) < len(rates):
        points = _points_by_rate(folder, images, {file: float(rates[file][2]) for file in rates})
    return [
        _Place(file.as_posix(), images[file], points[file], rates[file][2] if rates else "")
        for file in files
    ]


def _points_by_rate(
    folder: Path, images: Mapping[Path, str], rates: Mapping[Path, float]
) -> dict[Path, str]:
    by_image = by_key((images[file], (rate, file)) for file, rate in rates.items())
    most = max(map(len, by_image.values()))
    if 2 * len({*rates.values()}) < 3 * most:  # the images have the same rates, up to some holes
        return {file: f"{rate:g}" for file, rate in rates.items()}
    for image, pictures in by_image.items():
        if len(pictures) < most:
            raise BadOption(
                f"{folder}: {image} has {len(pictures)} of {most} pictures, and no folder or equal "
                "rate says of which points: put each point into a folder"
            )
    ordered = [[file for _, file in sorted(pictures)] for pictures in by_image.values()]
    return {file: f"rate {rank}" for files in ordered for rank, file in enumerate(files, 1)}


def _rows_of_sheets(
    folder: Path, sheets: Sequence[Path], places: Sequence[_Place]
) -> tuple[list[_Row], list[_Row]]:
    """Return the rows of csv files that are of one picture, and those of none.

    Raises `BadOption` for a row of several.
    """
    rows, without_picture = list[_Row](), list[_Row]()
    below = {
        file: [p for p in places if PurePosixPath(p.file).is_relative_to(file.parent)]
        for file in sheets
    }
    one_a_folder = any(below[file] for file in sheets if file.parent.parts)
    for file in sheets:
        try:
            sheet = parse_sheet(read_regular(folder / file, MOST_BYTES), foreign=True)
        except (BadFile, UnicodeDecodeError, OSError) as error:
            raise BadOption(f"{folder / file} is not a csv in UTF-8: {error}") from error
        names = {squeezed(name): name for name in reversed(sheet.names)}
        image = next((names[word] for word in IMAGE if word in names), "")
        columns = [name for name in sheet.names if squeezed(name) in KIND_OF_SIZE]
        if not image or not columns:
            continue
        by_image = by_key(
            (place.image, place) for place in below[file] or (() if one_a_folder else places)
        )
        of_sheet = []
        for (number, _), cells in zip(sheet.lines, sheet.records(), strict=True):
            cell, where = cells[image].strip(), f"line {number} of {folder / file}"
            match, sizes = RATE.fullmatch(PurePosixPath(cell).stem), {n: cells[n] for n in columns}
            pictures = by_image.get(plain(match[1] if match else cell), [])
            of_sheet.append(_Row(where, file.name, cell, cells, sizes, pictures))
        without_picture += [row for row in of_sheet if not row.places]
        others = [name for name in sheet.names if name not in {image, *columns}]
        for row in _told_apart([row for row in of_sheet if row.places], file.stem, others):
            if len(row.places) > 1:
                among = listed([place.file for place in row.places], 4)
                raise BadOption(
                    f"{row.where} may be of {among}: a column has to say of which folder"
                )
            (rows if row.places else without_picture).append(row)
    return rows, without_picture


def _told_apart(rows: Sequence[_Row], stem: str, columns: Sequence[str]) -> Sequence[_Row]:
    """Return rows with those of their pictures that a path in the image, a column or `stem` tells.

    The one that tells most pictures apart counts, if these are more than half of those of their
    points, or if all rows have one.
    """
    pictures = {place.file: place.point for row in rows for place in row.places}
    if len(rows) == len(pictures) and all(len(row.places) == 1 for row in rows):
        return rows
    texts = {
        "": [stem] * len(rows),
        **{name: [row.cells[name] for row in rows] for name in columns},
    }
    best = rows, (0, 0)
    for name in (None, *columns, ""):  # None: the path in the image
        narrowed = [
            row._replace(places=[
                place for place in row.places
                if (_is_in(place, row.image) if name is None else _is_named(place.point, text))
            ])
            for row, text in zip(rows, texts[name or ""], strict=True)
        ]  # fmt: skip
        single = [row.places[0] for row in narrowed if len(row.places) == 1]
        files, points = {place.file for place in single}, {place.point for place in single}
        of_points = sum(point in points for point in pictures.values())
        enough = 2 * len(files) > of_points or len(single) == len(rows)
        constant = name and len({*pictures.values()}) > 1 == len(points)
        if enough and not constant and (len(files), -len(single)) > best[1]:
            best = narrowed, (len(files), -len(single))
    return best[0]


def _agreed_bytes(
    where: str, sizes: Mapping[str, str], num_pixels: int | None, stream: int | None = None
) -> int:
    """Return the bytes that all sizes and a stream beside agree on; raise `BadOption`.

    sizes: cells by names of columns. num_pixels: of the picture; None where it cannot be read, and
    rates are then 0 bytes.
    """
    ranges: dict[str, tuple[float, float]] = {}  # bytes, and how far rounding may move them
    for name, text in sizes.items():
        cell, kind = f"{name} {text.strip()}", KIND_OF_SIZE[squeezed(name)]
        try:
            number = measured_number(text.strip(), name, whole=kind != "bpp")
        except BadFile as error:
            raise BadOption(f"{where}: {error}") from error
        if kind != "bpp":
            ranges[cell] = (number, 0.0) if kind == "num_bytes" else (-(-number // 8), 1.0)
        elif num_pixels:
            last_digit = Decimal(text.strip()).as_tuple().exponent
            half = 10.0 ** int(last_digit) / 2
            ranges[cell] = number * num_pixels / 8, half * num_pixels / 8 + 1
        if num_pixels and ranges[cell][0] > max(RAW_BYTES_PER_PIXEL * num_pixels, SMALLEST_LIMIT):
            raise BadOption(f"{where}: {cell} is more than the picture itself has")
    if stream is not None:
        ranges[f"the bitstream of {stream} bytes"] = stream, 0.0
    if not ranges:
        return 0
    lowest = max(size - rounding for size, rounding in ranges.values())
    if lowest > min(size + rounding for size, rounding in ranges.values()):
        sizes_in_bytes = " and ".join(
            f"{cell} ({size:.0f} bytes)" for cell, (size, _) in ranges.items()
        )
        raise BadOption(
            f"{where} states sizes that differ, {sizes_in_bytes}: keep the right column"
        )
    exact, _ = min(ranges.values(), key=lambda pair: pair[1])
    return max(1, round(exact))


def _is_named(point: str, cell: str) -> bool:
    numbers = re.findall(r"[0-9]*\.?[0-9]+(?:e-?[0-9]+)?", point)
    same = squeezed(point) == squeezed(cell) != ""
    return same or (len(numbers) == 1 and float(numbers[0]) == number_in(cell))


def _is_in(place: _Place, cell: str) -> bool:
    wanted = PurePosixPath(cell.replace("\\", "/")).with_suffix("").parts
    says_more = len(wanted) > 1 or plain(cell) != place.image
    return says_more and PurePosixPath(place.file).with_suffix("").parts[-len(wanted) :] == wanted


def _streams_beside(folder: Path, files: Iterable[Path]) -> dict[str, int]:
    """Return the size in bytes of the only bitstream beside a picture, by the picture's file."""
    streams: dict[tuple[Path, str], list[int]] = defaultdict(list)
    pictures = []
    for file in files:
        if file.suffix.lower() in PICTURES:
            pictures.append(file)
        elif file.suffix.lower() in STREAMS:
            stem = CODED.sub("", normalize("NFC", file.name.partition(".")[0]))
            streams[file.parent, stem].append((folder / file).stat().st_size)
    beside = {of: streams[of.parent, plain(of.name).partition(".")[0]] for of in pictures}
    return {of.as_posix(): sizes[0] for of, sizes in beside.items() if len(sizes) == 1}


def _num_pixels(folder: Path, name: str) -> int | None:
    """Return a picture's number of pixels, read from its head; None where it has none."""
    try:
        with open_regular(folder / name, within=folder) as file, Image.open(file) as image:
            return image.width * image.height
    except Exception:  # whatever Pillow raises is about this file, which fails its cell
        return None
