"""Files of photographs in folders and tar archives: their names, sizes and pixels.

A photograph in an archive is named ARCHIVE.tar:OFFSET:BYTES:NAME and read from there, so that
archives (WebDataset's shards) are a source like folders: in any order, by any number of readers.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from io import BytesIO
from pathlib import Path, PurePath
from typing import TypeVar
from zipfile import BadZipFile

import numpy as np
from PIL import Image, UnidentifiedImageError

from benchmark.codec import Int64Array, Pixels
from benchmark.errors import UsageError
from benchmark.system.atomic import write_file
from benchmark.system.foreign_files import BadTar, files_of_tar, open_regular, walk

SUFFIXES = {".jpg", ".jpeg", ".png"}  # that every build of Pillow reads
ARCHIVE = ".tar"
MARK = f"{ARCHIVE}:"  # behind an archive's path in the name of what it holds
MOST_READERS = 16  # threads
INDEXED_AT_ONCE = 1 << 12

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
    try:
        with open_regular(Path(archive)) as file:
            return tuple(
                f"{archive}:{member.offset_data}:{member.size}:{member.name}"
                for member in files_of_tar(file)
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


def sides_of(paths: Sequence[str], index: Path | None = None) -> Int64Array:
    """Return height and width of each photograph, (n, 2), from its header; 0 where it has none.

    index: file that keeps them, with sizes and times of the photographs' files: those that are new
    or have changed are read. One that is absent or damaged is made. Raises `UsageError`.
    """
    facts = np.zeros((len(paths), 4), np.int64)  # height and width, 0 where unknown; the mark
    for place, path in enumerate(paths):
        facts[place, 2:] = _mark(path)
    if index is not None:
        _fill(facts, paths, index)
    stale = np.flatnonzero(facts[:, 0] == 0)
    unread = [paths[place] for place in stale]
    for place, sides in zip(stale, read_each(_read_sides, unread, INDEXED_AT_ONCE), strict=True):
        facts[place, :2] = sides
    if len(stale) and index is not None:
        content = BytesIO()
        np.savez(content, paths=np.frombuffer(_joined(paths), np.uint8), facts=facts)
        write_file(index, content.getbuffer())
    return facts[:, :2].copy()


def names_and_sizes(paths: Sequence[str]) -> str:
    """Return a sha256 of names and sizes in bytes of photographs: moved folders have the same."""
    digest = hashlib.sha256()
    for path in paths:
        name = os.fsencode(PurePath(path).name)
        digest.update(name + f"\0{_mark(path)[0]}\0".encode())
    return digest.hexdigest()


def _fill(facts: Int64Array, paths: Sequence[str], index: Path) -> None:
    """Take heights and widths over from an index, where the marks are the same."""
    try:
        with index.open("rb") as file, np.load(file) as stored:
            listed, known = stored["paths"].tobytes(), stored["facts"].astype(np.int64)
        if listed == _joined(paths):
            places = np.arange(len(paths))
        else:  # photographs were added or are gone
            numbers = {path: number for number, path in enumerate(paths)}
            named = listed.decode(errors="surrogateescape").split("\0")
            places = np.array([numbers.get(path, -1) for path in named], np.int64)
        same = (places >= 0) & (facts[places, 2:] == known[:, 2:]).all(1)
        facts[places[same], :2] = known[same, :2]
    except (OSError, ValueError, LookupError, EOFError, BadZipFile):
        return


def _joined(paths: Iterable[str]) -> bytes:
    return "\0".join(paths).encode(errors="surrogateescape")


def _mark(path: str) -> tuple[int, int]:
    """Return size and time of change of a photograph's file; of an archive, its own."""
    try:
        status = os.stat(_place(path)[0])
    except OSError as error:
        why = f"{path} cannot be read as a photograph: {error.strerror}."
        raise UsageError(why) from error
    return status.st_size, status.st_mtime_ns
