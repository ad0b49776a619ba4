"""Codec without a program: reconstructions on disk, and their sizes or rates beside them."""

import math
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from posixpath import splitext
from unicodedata import normalize

from baselines.formats.external import read_png, read_webp
from baselines.published_pictures import (
    Picture,
    PublishedPictures,
    plain,
    published_pictures,
    unpacked_folder,
)
from benchmark.codec import CodecInfo, Declared, OneOf, Pixels, Setting
from benchmark.errors import BadOption, ImageRefused, Unavailable
from benchmark.system.digest import file_sha256
from benchmark.system.foreign_files import BadFile, below, read_regular
from benchmark.system.text import counted, listed, number_in, parse_sheet

CODES_NOTHING = "{} codes nothing: its pictures and sizes are read from {}"
SIZES = "sizes.csv"
COLUMNS = ("image", "setting", "num_bytes")
MOST_BYTES, MOST_SETTINGS = 1 << 26, 1000  # of the csv
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".ppm"}


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
