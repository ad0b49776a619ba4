"""Codec without a program: published reconstructions on disk, with sizes or rates.

Without a `sizes.csv`, common layouts are recognised. An operating point is a folder of pictures, or
a rate in their names (`beach_0.25bpp.png`). Its name is made of the folders in which the paths to
pictures of the same image differ, or is the rank of its rate if rates differ by image. A size comes
from a csv line, a bitstream (if there are both, they must agree), or the rate in a picture's name.
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
from benchmark.registry import normalise_name
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import BadFile, open_regular, read_regular, resolve_inside, walk
from benchmark.system.text import (
    counted,
    group_by_key,
    listed,
    measured_number,
    number_in,
    parse_sheet,
)
from benchmark.system.unpacked import folder_of_seed, unpacked_folder

NO_CODING = "{} does not encode or decode: its pictures and sizes are read from {}"
SIZES = "sizes.csv"
COLUMNS = ("image", "setting", "num_bytes")
MAX_CSV_BYTES, MAX_SETTINGS = 1 << 26, 1000
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".ppm"}
PICTURES = {".png", ".webp"}
STREAMS = {
    "", ".bin", ".bit", ".bits", ".bitstream", ".stream", ".tfci", ".bpg", ".jxl", ".jp2", ".j2k",
    ".j2c", ".avif", ".heic", ".heif", ".ivf", ".obu", ".av1", ".264", ".h264", ".265", ".h265",
    ".hevc", ".266", ".h266", ".vvc",
}  # fmt: skip
RATE = re.compile(r"(.+?)[_-]([0-9]*\.?[0-9]+)_?bpp", re.IGNORECASE)
CODED_SUFFIX = re.compile(r"[_-](rec|recon|reconstructed|reconstruction|decoded|output|out|hat)$")
IMAGE_COLUMNS = ("image", "filename", "name", "file", "img", "imagename", "imageid", "picture")
# Unit of a size -> names of its columns, as returned by `normalise_name`
SIZE_COLUMNS = {
    "bpp": (
        *("bpp", "ratebpp", "bitrate", "rate", "bitsperpixel"),
        *("bitperpixel", "realbpp", "bppreal"),
    ),
    "num_bytes": ("numbytes", "nbytes", "bytes", "size", "filesize", "sizebytes", "streambytes"),
    "bits": ("bits", "numbits", "nbits", "totalbits"),
}
UNIT_BY_COLUMN = {name: unit for unit, names in SIZE_COLUMNS.items() for name in names}
RAW_BYTES_PER_PIXEL, MIN_LIMIT_BYTES = 3, 1024  # a stream may always have 1024 bytes


class PublishedPicture(NamedTuple):
    """A reconstruction of an image, with the stated size of its stream."""

    image: str
    setting: float
    num_bytes: int
    file: str  # path below the folder
    stem: str  # name of the image without extension
    line: int = 0  # line of sizes.csv, where the header is 1; 0: another source
    stated: Mapping[str, str] = {}  # csv cells by column


class PublishedPictures(NamedTuple):
    """Pictures of several operating points, and where their sizes come from."""

    points: tuple[str, ...]  # names of settings 1, 2, ..., lowest mean rate first
    pictures: tuple[PublishedPicture, ...]
    sizes_source: str  # "bpp of metrics.csv"
    unsized_points: tuple[str, ...]  # points without any size
    unmatched_rows: int = 0  # number of rows of csv files without a picture


class _PictureFile(NamedTuple):
    file: str
    image: str
    point: str
    bpp: str = ""  # rate in the file's name


class _Row(NamedTuple):
    location: str  # "line 2 of metrics.csv"
    sheet: str
    image: str  # as written in the sheet
    cells: dict[str, str]  # by column
    sizes: dict[str, str]
    entries: list[_PictureFile]  # pictures that the row may describe


class Folder:
    """`folder:path=DIR`: pictures as authors publish them, or with DIR/sizes.csv; name=LABEL.

    For a generative decoder, seeds=seed* names folders in DIR, each with the pictures of one seed;
    seed=N selects one of them, counted from 0.
    DIR, a folder, zip or tar, has a folder of PNG or WebP pictures for each operating point, or
    pictures named by rate (beach_0.25bpp.png). Sizes come from csv files with an image and bpp,
    num_bytes or bits, or from a bitstream for each picture. Settings number the points from 1, by
    mean size. `bench run` reports what was recognised.
    DIR/sizes.csv, or csv=FILE in DIR, takes precedence. It has the columns image (with or without
    the extension), setting (a number), num_bytes and optionally file: the 8-bit PNG or WebP in DIR,
    by default <setting as written>/<image without extension>.png. A line is for the image with its
    name, or for the only image with that name without extension.
    """

    def __init__(
        self, *, path: str, csv: str = SIZES, name: str = "folder", seeds: str = "", seed: int = 0
    ):
        self.name = name
        self._folder = unpacked_folder(Path(path), _is_used)
        if seeds or seed:
            self._folder = folder_of_seed(self._folder, seeds, seed)
        self._sizes = self._folder / csv
        self._published: PublishedPictures | None = None
        if csv != SIZES or self._sizes.exists() or not self._folder.is_dir():
            self._rows = _read_index(self._sizes)
        else:
            self._published, self._sizes = read_published_pictures(self._folder), self._folder
            self._rows = {
                (picture.image, picture.setting): picture for picture in self._published.pictures
            }
        self._by_stem: dict[tuple[str, float], list[PublishedPicture]] = defaultdict(list)
        sizes: dict[float, list[int]] = defaultdict(list)
        for row in self._rows.values():
            self._by_stem[row.stem, row.setting].append(row)
            sizes[row.setting].append(row.num_bytes)
        if len(sizes) > MAX_SETTINGS:
            raise BadOption(f"{self._sizes} has {len(sizes)} settings, more than {MAX_SETTINGS}")
        values = sorted(sizes, key=lambda value: sum(sizes[value]) / len(sizes[value]))
        self.sweep = tuple(Setting("setting", value) for value in values)
        self.accepts = OneOf(self.sweep)

    @staticmethod
    def draws(options: Mapping[str, str]) -> bool:
        """Return whether the options name folders of several seeds."""
        return bool(options.get("seeds"))

    def understood(self, images: Sequence[str]) -> str:
        """Describe the points and sizes recognised for these images; "" with a sizes.csv."""
        if (published := self._published) is None:
            return ""
        count = sum(any(self.has(image, setting) for setting in self.sweep) for image in images)
        points = f"{counted(len(published.points), 'point')} ({', '.join(published.points)})"
        unsized, unmatched = listed(published.unsized_points), published.unmatched_rows
        note = f"; without sizes: {unsized}" if unsized else ""
        note += f"; {counted(unmatched, 'row')} without a picture" if unmatched else ""
        sizes = f"{count} of {counted(len(images), 'image')}, {published.sizes_source}{note}"
        return f"{self.name}: {points}, {sizes}"

    def stated(self, image: str, setting: Setting) -> Mapping[str, str]:
        """Return the authors' csv cells for a picture, by column."""
        with suppress(ImageRefused):
            return self._line(image, setting).stated
        return {}

    def describe(self) -> CodecInfo:
        """Return the paths of sizes and pictures, and a fingerprint of csv file and pictures."""
        sizes = "".join(f"{row.num_bytes} " for row in self._rows.values())
        digests = sha256((sizes if self._published else file_sha256(self._sizes)).encode())
        for row in self._rows.values():
            digest = ""
            with suppress(OSError):
                if os.path.lexists(picture := self._picture_path(row)):
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
        """Raise `Unavailable`, since there is no encoder."""
        raise Unavailable(NO_CODING.format(self.name, self._folder))

    def decode(self, data: bytes) -> Pixels:
        """Raise `Unavailable`, since there is no decoder."""
        raise Unavailable(NO_CODING.format(self.name, self._folder))

    def declared(self, image: str, setting: Setting) -> Declared:
        """Return the size and picture that a line states; `ImageRefused` if one is unusable."""
        row = self._line(image, setting)
        line = f" (line {row.line} of {self._sizes})" if row.line else ""
        location = f"{self._folder / row.file}{line}"
        try:
            read_picture = read_webp if row.file.lower().endswith(".webp") else read_png
            pixels = read_picture(self._picture_path(row))
            if not row.num_bytes:
                raise ImageRefused("has no size: no picture of this image has a readable header")
            return Declared(row.num_bytes, pixels)
        except ImageRefused as reason:
            raise ImageRefused(f"{location} {reason}") from None
        except OSError as error:
            raise ImageRefused(f"{location} cannot be read: {error.strerror}") from None

    def has(self, image: str, setting: Setting) -> bool:
        """Return whether there is a line for an image at a setting."""
        with suppress(ImageRefused):
            return bool(self._line(image, setting))
        return False

    def _picture_path(self, row: PublishedPicture) -> Path:
        picture = resolve_inside(self._folder, row.file)
        if not os.path.lexists(picture):  # the name may be stored in decomposed Unicode
            return resolve_inside(self._folder, normalize("NFD", row.file))
        return picture

    def require_distinct(self, images: Sequence[str]) -> None:
        """Raise `BadOption` if images share a line, or if none has one."""
        images_by_line: dict[tuple[str, float], str] = {}
        if not any(self.has(image, setting) for image in images for setting in self.sweep):
            names = listed([*dict.fromkeys(row.image for row in self._rows.values())])
            raise BadOption(
                f"{self._sizes} has pictures of {names}, but of none of the dataset's images "
                f"({listed(images)}): give pictures and images the same names"
            )
        for image in images:
            for setting in self.sweep:
                with suppress(ImageRefused):
                    row = self._line(image, setting)
                    other_image = images_by_line.setdefault((row.image, row.setting), image)
                    if other_image != image:
                        raise BadOption(
                            f"line {row.line} of {self._sizes} matches {other_image} and {image}: "
                            "write a line for each image, with its extension"
                        )

    def _line(self, image: str, setting: Setting) -> PublishedPicture:
        image = normalize("NFC", image)
        exact_row, stem = self._rows.get((image, setting.value)), _strip_suffix(image)
        stem_rows = self._by_stem.get((plain(stem) if self._published else stem, setting.value), [])
        if setting.name == "setting" and (exact_row or len(stem_rows) == 1):
            return exact_row or stem_rows[0]
        problem = "several similar lines, but none" if len(stem_rows) > 1 else "no line"
        raise ImageRefused(f"{self._sizes} has {problem} for image {image!r} at {setting}: add it")


def _read_index(path: Path) -> dict[tuple[str, float], PublishedPicture]:
    rows: dict[tuple[str, float], PublishedPicture] = {}
    first_by_stem: dict[tuple[str, float], PublishedPicture] = {}
    try:
        for row in _read_csv_lines(path):
            image, stem = row.image, row.stem
            earlier = rows.get((image, row.setting)) or first_by_stem.get((stem, row.setting))
            if earlier is not None and (image == earlier.image or stem in (image, earlier.image)):
                raise BadOption(f"line {row.line} of {path} repeats line {earlier.line}")
            first_by_stem.setdefault((stem, row.setting), row)
            rows[row.image, row.setting] = row
    except OSError as error:
        remedy = f"write one with the columns {','.join(COLUMNS)}"
        raise Unavailable(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    except (UnicodeDecodeError, BadFile) as error:
        raise BadOption(f"{path} is not a csv in UTF-8: {error}") from error
    if not rows:
        raise BadOption(f"{path} has no lines below its header")
    return rows


def _read_csv_lines(path: Path) -> Iterator[PublishedPicture]:
    # column names may be in capitals; image names are normalised to composed Unicode (NFC)
    sheet = parse_sheet(read_regular(path, MAX_CSV_BYTES), foreign=True)
    names = [name.lower() for name in sheet.names]
    for column in COLUMNS:
        if column not in names:
            header = ", ".join(sheet.names)
            raise BadOption(f"{path} has no column {column!r}; its header is {header!r}")
    for number, fields in sheet.lines:
        location, cells = f"line {number} of {path}", dict(zip(names, fields, strict=True))
        image, setting, _ = (cells[column].strip() for column in COLUMNS)
        image = normalize("NFC", image)
        value = number_in(setting)
        if not image:
            raise BadOption(f"{location} has no image name")
        if not math.isfinite(value):
            raise BadOption(f"{location}: setting must be a number, not {setting!r}")
        stem = _strip_suffix(image)
        file = cells.get("file") or f"{setting}/{stem}.png"
        sizes = {name: cells[name] for name in names if normalise_name(name) in UNIT_BY_COLUMN}
        pixels = _num_pixels(path.parent, file) if len(sizes) > 1 else None
        num_bytes = _agreed_bytes(location, sizes, pixels)
        yield PublishedPicture(image, value, num_bytes, file, stem, number)


def _strip_suffix(image: str) -> str:
    """Remove the extension of an image file, keeping folders: "mobile/a.b" of "mobile/a.b.png"."""
    stem, suffix = splitext(image)
    if suffix.lower() not in SUFFIXES:
        return image
    return str(PurePosixPath(stem)) if "/" in stem else stem


def _is_used(file: Path) -> bool:
    return file.suffix.lower() in PICTURES or file.name == SIZES


def read_published_pictures(folder: Path) -> PublishedPictures:
    """Read a folder of pictures of any layout; raises `Unavailable`, `BadOption`."""
    files = [(Path(parent) / name).relative_to(folder) for parent, _, names in walk(folder)
             for name in sorted(names) if name[0] != "."]  # fmt: skip
    files.sort()
    pictures_found = [file for file in files if file.suffix.lower() in PICTURES]
    entries = _locate_pictures(folder, pictures_found)
    if not entries:
        suffixes = sorted({file.suffix for file in files if file.suffix.lower() in SUFFIXES})
        problem = f"its pictures are {listed(suffixes)}: save" if suffixes else "no pictures: put"
        raise Unavailable(
            f"{folder} has no sizes.csv (image,setting,num_bytes), and {problem} reconstructions "
            "there as PNG or lossless WebP"
        )
    streams = _find_streams(folder, files)
    pixels = {entry.file: _num_pixels(folder, entry.file) for entry in entries}
    image_pixels = {entry.image: pixels[entry.file] for entry in entries if pixels[entry.file]}
    for entry in entries:  # a damaged picture gets the size of another picture of its image
        pixels[entry.file] = pixels[entry.file] or image_pixels.get(entry.image)
    sheets = [file for file in files if file.suffix.lower() == ".csv"]
    rows, without_picture = _rows_of_sheets(folder, sheets, entries)
    row_by_file: dict[str, _Row] = {}
    num_bytes: dict[str, int] = {}
    for row in rows:
        file = row.entries[0].file
        if (other_row := row_by_file.setdefault(file, row)) is not row:
            raise BadOption(
                f"{row.location} and {other_row.location} are both for {file}: delete one line"
            )
        num_bytes[file] = _agreed_bytes(row.location, row.sizes, pixels[file], streams.get(file))
    sized_pictures: dict[tuple[str, str], PublishedPicture] = {}  # by image and point
    size_sources: dict[str, None] = {}
    for entry in entries:
        file, size_row = entry.file, row_by_file.get(entry.file)
        if size_row:
            size_sources[f"{listed([*size_row.sizes])} of {size_row.sheet}"] = None
        elif file in streams:
            num_bytes[file], size_sources["sizes of bitstreams"] = streams[file], None
        elif entry.bpp:
            rate = {"bpp": entry.bpp}
            num_bytes[file] = _agreed_bytes(f"{folder / file}", rate, pixels[file])
            size_sources["bpp of names"] = None
        else:
            continue
        cells = size_row.cells if size_row else {}
        picture = PublishedPicture(entry.image, 0, num_bytes[file], file, entry.image, stated=cells)
        if (
            other_picture := sized_pictures.setdefault((entry.image, entry.point), picture)
        ) is not picture:
            files_text = f"{other_picture.file} and {picture.file}"
            raise BadOption(
                f"{folder}: {files_text} show the same image at the same point: delete one, or "
                "give the folder of one dataset"
            )
    if not sized_pictures and without_picture:
        row, names = without_picture[0], listed([entry.file for entry in entries])
        raise BadOption(
            f"{row.location} is for {row.image!r}, but no line is for a picture in the folder "
            f"({names}): give lines and pictures the same names"
        )
    if not sized_pictures:
        raise BadOption(
            f"{folder} does not state the sizes of its pictures: add a csv with image and bpp, "
            "num_bytes or bits, end names in _0.25bpp, or add a bitstream (.bin) for each picture"
        )
    points = _sort_points(sized_pictures)
    pictures = tuple(
        picture._replace(setting=1.0 + points.index(point))
        for (_, point), picture in sized_pictures.items()
    )
    without_size = tuple(dict.fromkeys(p.point for p in entries if p.point not in points))
    sources = listed([*size_sources])
    return PublishedPictures(points, pictures, sources, without_size, len(without_picture))


def _sort_points(pictures: Mapping[tuple[str, str], PublishedPicture]) -> tuple[str, ...]:
    # sorts by mean size, over the images that all points have, or all images if there are none
    images = group_by_key((point, image) for image, point in pictures)
    common_images = set.intersection(*map(set, images.values()))
    sizes = group_by_key((point, picture.num_bytes) for (image, point), picture in pictures.items()
                   if image in common_images or not common_images)  # fmt: skip
    return tuple(sorted(sizes, key=lambda point: (fmean(sizes[point]), point)))


def plain(image: str) -> str:
    """Return an image's name without folders, extension and codec suffix.

    >>> [*map(plain, ("recon/kodim01_rec.png", "clic/a.b.webp", "beach-out.png", "v1.2"))]
    ['kodim01', 'a.b', 'beach', 'v1.2']
    """
    name = normalize("NFC", PurePosixPath(image.replace("\\", "/")).name)
    stem, dot, suffix = name.rpartition(".")
    name = stem if dot and f".{suffix.lower()}" in SUFFIXES | STREAMS else name
    return CODED_SUFFIX.sub("", name)


def _locate_pictures(folder: Path, files: Sequence[Path]) -> list[_PictureFile]:
    # points that only the order of rates tells apart are "rate 1", "rate 2", ...
    rates = {file: match for file in files if (match := RATE.fullmatch(file.stem))}
    files = [*rates] or files
    images = {file: plain(rates[file][1] if rates else file.name) for file in files}
    parts = group_by_key((images[file], file.parent.parts) for file in files)
    depths = {len(path) for paths in parts.values() for path in paths}
    differing_depths = {index for paths in parts.values() for index in range(min(depths))
                 if len({path[index] for path in paths}) > 1}  # fmt: skip
    is_full_path = len(depths) > 1 or len({file.parent for file in files}) == 1

    def point(path: tuple[str, ...]) -> str:
        names = path if is_full_path else [path[index] for index in sorted(differing_depths)]
        return "/".join(names) or "1"

    points = {file: point(file.parent.parts) for file in files}
    if len({(images[file], points[file]) for file in files}) < len(rates):
        points = _points_by_rate(folder, images, {file: float(rates[file][2]) for file in rates})
    return [
        _PictureFile(file.as_posix(), images[file], points[file], rates[file][2] if rates else "")
        for file in files
    ]


def _points_by_rate(
    folder: Path, images: Mapping[Path, str], rates: Mapping[Path, float]
) -> dict[Path, str]:
    by_image = group_by_key((images[file], (rate, file)) for file, rate in rates.items())
    max_count = max(map(len, by_image.values()))
    if 2 * len({*rates.values()}) < 3 * max_count:  # images have the same rates, with some gaps
        return {file: f"{rate:g}" for file, rate in rates.items()}
    for image, pictures in by_image.items():
        if len(pictures) < max_count:
            raise BadOption(
                f"{folder}: {image} has {len(pictures)} of {max_count} pictures, and neither "
                "folders nor rates tell their operating points: put each point into a folder"
            )
    files_by_rate = [[file for _, file in sorted(pictures)] for pictures in by_image.values()]
    return {file: f"rate {rank}" for files in files_by_rate for rank, file in enumerate(files, 1)}


def _rows_of_sheets(
    folder: Path, sheets: Sequence[Path], entries: Sequence[_PictureFile]
) -> tuple[list[_Row], list[_Row]]:
    # returns rows with a single picture and rows without any; `BadOption` for a row with several
    rows, without_picture = list[_Row](), list[_Row]()
    entries_below = {
        file: [p for p in entries if PurePosixPath(p.file).is_relative_to(file.parent)]
        for file in sheets
    }
    sheets_near_pictures = any(entries_below[file] for file in sheets if file.parent.parts)
    for file in sheets:
        try:
            sheet = parse_sheet(read_regular(folder / file, MAX_CSV_BYTES), foreign=True)
        except (BadFile, UnicodeDecodeError, OSError) as error:
            raise BadOption(f"{folder / file} is not a csv in UTF-8: {error}") from error
        names = {normalise_name(name): name for name in reversed(sheet.names)}
        image = next((names[word] for word in IMAGE_COLUMNS if word in names), "")
        columns = [name for name in sheet.names if normalise_name(name) in UNIT_BY_COLUMN]
        if not image or not columns:
            continue
        by_image = group_by_key(
            (entry.image, entry)
            for entry in entries_below[file] or (() if sheets_near_pictures else entries)
        )
        sheet_rows = []
        for (number, _), cells in zip(sheet.lines, sheet.records(), strict=True):
            cell, location = cells[image].strip(), f"line {number} of {folder / file}"
            match, sizes = RATE.fullmatch(PurePosixPath(cell).stem), {n: cells[n] for n in columns}
            pictures = by_image.get(plain(match[1] if match else cell), [])
            sheet_rows.append(_Row(location, file.name, cell, cells, sizes, pictures))
        without_picture += [row for row in sheet_rows if not row.entries]
        other_columns = [name for name in sheet.names if name not in {image, *columns}]
        for row in _narrow_pictures(
            [row for row in sheet_rows if row.entries], file.stem, other_columns
        ):
            if len(row.entries) > 1:
                candidates = listed([entry.file for entry in row.entries], 4)
                raise BadOption(
                    f"{row.location} may be for {candidates}: add a column with the folder"
                )
            (rows if row.entries else without_picture).append(row)
    return rows, without_picture


def _narrow_pictures(rows: Sequence[_Row], stem: str, columns: Sequence[str]) -> Sequence[_Row]:
    # Narrows by the path in the image cell, a column, or the sheet's stem: whichever identifies the
    # most pictures, if these are over half of their points' pictures or each row has one.
    pictures = {entry.file: entry.point for row in rows for entry in row.entries}
    if len(rows) == len(pictures) and all(len(row.entries) == 1 for row in rows):
        return rows
    texts = {
        "": [stem] * len(rows),
        **{name: [row.cells[name] for row in rows] for name in columns},
    }
    narrowest = rows, (0, 0)
    for name in (None, *columns, ""):  # None: the path in the image
        narrowed_rows = [
            row._replace(entries=[
                entry for entry in row.entries
                if (_is_in(entry, row.image) if name is None else _is_named(entry.point, text))
            ])
            for row, text in zip(rows, texts[name or ""], strict=True)
        ]  # fmt: skip
        single_pictures = [row.entries[0] for row in narrowed_rows if len(row.entries) == 1]
        files = {entry.file for entry in single_pictures}
        points = {entry.point for entry in single_pictures}
        candidates = sum(point in points for point in pictures.values())
        is_enough = 2 * len(files) > candidates or len(single_pictures) == len(rows)
        is_constant = name and len({*pictures.values()}) > 1 == len(points)
        if is_enough and not is_constant and (len(files), -len(single_pictures)) > narrowest[1]:
            narrowest = narrowed_rows, (len(files), -len(single_pictures))
    return narrowest[0]


def _agreed_bytes(
    location: str, sizes: Mapping[str, str], num_pixels: int | None, stream: int | None = None
) -> int:
    # num_pixels: None if the picture is unreadable; a rate then gives 0 bytes
    ranges: dict[str, tuple[float, float]] = {}  # bytes, and their maximum rounding error
    for name, text in sizes.items():
        cell, unit = f"{name} {text.strip()}", UNIT_BY_COLUMN[normalise_name(name)]
        try:
            number = measured_number(text.strip(), name, whole=unit != "bpp")
        except BadFile as error:
            raise BadOption(f"{location}: {error}") from error
        if unit != "bpp":
            ranges[cell] = (number, 0.0) if unit == "num_bytes" else (-(-number // 8), 1.0)
        elif num_pixels:
            last_digit = Decimal(text.strip()).as_tuple().exponent
            error_bpp = 10.0 ** int(last_digit) / 2
            ranges[cell] = number * num_pixels / 8, error_bpp * num_pixels / 8 + 1
        if num_pixels and ranges[cell][0] > max(RAW_BYTES_PER_PIXEL * num_pixels, MIN_LIMIT_BYTES):
            raise BadOption(f"{location}: {cell} is larger than the raw picture")
    if stream is not None:
        ranges[f"the bitstream of {stream} bytes"] = stream, 0.0
    if not ranges:
        return 0
    min_bytes = max(size - rounding for size, rounding in ranges.values())
    if min_bytes > min(size + rounding for size, rounding in ranges.values()):
        sizes_in_bytes = " and ".join(
            f"{cell} ({size:.0f} bytes)" for cell, (size, _) in ranges.items()
        )
        raise BadOption(
            f"{location} states different sizes, {sizes_in_bytes}: keep only the correct column"
        )
    num_bytes, _ = min(ranges.values(), key=lambda entry: entry[1])
    return max(1, round(num_bytes))


def _is_named(point: str, cell: str) -> bool:
    numbers = re.findall(r"[0-9]*\.?[0-9]+(?:e-?[0-9]+)?", point)
    is_equal = normalise_name(point) == normalise_name(cell) != ""
    return is_equal or (len(numbers) == 1 and float(numbers[0]) == number_in(cell))


def _is_in(entry: _PictureFile, cell: str) -> bool:
    parts = PurePosixPath(cell.replace("\\", "/")).with_suffix("").parts
    has_path = len(parts) > 1 or plain(cell) != entry.image
    return has_path and PurePosixPath(entry.file).with_suffix("").parts[-len(parts) :] == parts


def _find_streams(folder: Path, files: Iterable[Path]) -> dict[str, int]:
    # bytes by picture, for pictures with exactly one bitstream of the same name
    streams: dict[tuple[Path, str], list[int]] = defaultdict(list)
    pictures = []
    for file in files:
        if file.suffix.lower() in PICTURES:
            pictures.append(file)
        elif file.suffix.lower() in STREAMS:
            stem = CODED_SUFFIX.sub("", normalize("NFC", file.name.partition(".")[0]))
            streams[file.parent, stem].append((folder / file).stat().st_size)
    sizes_by_picture = {
        picture: streams[picture.parent, plain(picture.name).partition(".")[0]]
        for picture in pictures
    }
    return {p.as_posix(): sizes[0] for p, sizes in sizes_by_picture.items() if len(sizes) == 1}


def _num_pixels(folder: Path, name: str) -> int | None:
    try:
        with open_regular(folder / name, within=folder) as file, Image.open(file) as image:
            return image.width * image.height
    except Exception:  # any exception of Pillow concerns this file
        return None
