"""Files of photographs in folders and tar archives: their names, sizes and pixels.

A photograph in an archive is named ARCHIVE.tar:OFFSET:BYTES:NAME and read from there, so that
archives (WebDataset's shards) are a source like folders: in any order, by any number of readers.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmark.codec import Int64Array, Pixels
from benchmark.errors import UsageError
from benchmark.system.foreign_files import BadTar, files_of_tar, open_regular, walk

SUFFIXES = {".jpg", ".jpeg", ".png"}  # that every build of Pillow reads
ARCHIVE = ".tar"
MARK = f"{ARCHIVE}:"  # behind an archive's path in the name of what it holds
MOST_READERS = 16  # threads
HEADERS_AT_ONCE = 1 << 12

Read = TypeVar("Read")


def photograph_paths(places: Iterable[Path]) -> list[str]:
    """Return photographs, and those below folders sorted by path; raises `UsageError` for none."""
    paths: list[str] = []  # a million take a fifth of the memory of as many `Path`
    for place in places:
        kinds = {*SUFFIXES, ARCHIVE}
        below = [
            os.path.join(folder, name)
            for folder, _, names in walk(place)
            for name in names
            if Path(name).suffix.lower() in kinds
        ]
        if not below and place.is_file():
            below = [str(place)]
        listed = len(paths)
        for path in sorted(below, key=lambda path: Path(path).parts):
            is_archive = path.lower().endswith(ARCHIVE)
            paths += _members(path, os.stat(path).st_mtime_ns) if is_archive else [path]
        if len(paths) == listed:
            raise UsageError(f"{place} holds no photographs ({', '.join(sorted(SUFFIXES))}).")
    return paths


@cache
def _members(archive: str, _changed: int) -> tuple[str, ...]:
    def leave_out(name: str, why: str) -> None:
        if Path(name).suffix.lower() in SUFFIXES:
            raise BadTar(f"{name}: {why}")

    try:
        with open_regular(Path(archive)) as file:
            return tuple(
                f"{archive}:{member.offset_data}:{member.size}:{member.name}"
                for member in files_of_tar(file, leave_out)
                if Path(member.name).suffix.lower() in SUFFIXES
            )
    except (OSError, BadTar) as error:
        raise UsageError(f"{archive} cannot be read as an uncompressed archive: {error}") from error


def _place(path: str) -> tuple[str, int, int]:
    """Return the file that holds a photograph, its first byte there and its size; 0 for all."""
    archive, mark, member = path.partition(MARK)
    if not mark or os.path.exists(path):
        return path, 0, 0
    start, size, _ = member.split(":", 2)
    return f"{archive}{ARCHIVE}", int(start), int(size)


def read_photograph(path: str | Path) -> Pixels:
    """Decode as RGB; raises `UsageError` for a file that is no picture."""
    return _read(path, lambda image: np.array(image.convert("RGB")))


def _read_sides(path: str) -> tuple[int, int]:
    try:
        return _read(path, lambda image: (image.height, image.width))
    except UsageError:
        return 0, 0


def _read(path: str | Path, read: Callable[[Image.Image], Read]) -> Read:
    try:
        file, start, size = _place(str(path))
        source: str | BytesIO = file
        if size:
            with open(file, "rb") as archive:
                archive.seek(start)
                source = BytesIO(archive.read(size))
        with Image.open(source) as image:
            return read(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        why = "its format is unknown" if isinstance(error, UnidentifiedImageError) else error
        raise UsageError(f"{path} cannot be read as a photograph: {why}.") from error


def read_each(read: Callable[[str], Read], paths: Sequence[str], at_once: int) -> Iterator[Read]:
    """Read in order, some at a time in threads: waiting for a disk takes longer than decoding."""
    for start in range(0, len(paths), at_once):
        yield from readers().map(read, paths[start : start + at_once])


@cache
def readers() -> ThreadPoolExecutor:
    """Return the threads that read photographs."""
    return ThreadPoolExecutor(min(MOST_READERS, os.cpu_count() or 1))


def sides_of(paths: Sequence[str]) -> Int64Array:
    """Return height and width of each photograph, (n, 2), from its header; 0 where it has none."""
    sides = read_each(_read_sides, paths, HEADERS_AT_ONCE)
    return np.fromiter(sides, np.dtype((np.int64, 2)), len(paths))


def names_and_sizes(paths: Sequence[str]) -> bytes:
    """Return a line `size name` of each photograph: moved folders have the same lines."""
    lines = []
    for path in paths:
        try:
            size = os.stat(_place(path)[0]).st_size  # of an archive, its own
        except OSError as error:
            why = f"{path} cannot be read as a photograph: {error.strerror}."
            raise UsageError(why) from error
        lines.append(b"%d %s\n" % (size, os.fsencode(PurePath(path).name).replace(b"\n", b"?")))
    return b"".join(lines)
