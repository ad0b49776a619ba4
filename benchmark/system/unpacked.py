"""Archives and folders of others: their regular files, copied within limits and not run."""

import gzip
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from typing import Protocol
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from benchmark.errors import BadOption, Unavailable
from benchmark.system.atomic import replacing
from benchmark.system.digest import cache_folder, file_sha256
from benchmark.system.foreign_files import MOST_DEEP, BadFile, below, files_of_tar, open_regular
from benchmark.system.text import parsing

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
MOST_FILES, MOST_BYTES = 200_000, 8 << 30  # of an archive, unpacked
CHUNK_BYTES = 1 << 20
DIRECTORY_BYTES = 22 + (1 << 16)  # where the end record of a zip without a longer one may begin

LeftOut = Callable[[str, str], object]  # is told the name of a file that is not copied, and why


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


_Member = tuple[str, Iterator[bytes]]  # its name, and its content in chunks


def unpack(path: Path, into: Path, left_out: LeftOut, alone: Collection[str] = ()) -> None:
    """Copy the regular files of a folder, zip, tar or tar.gz below the empty folder `into`.

    alone: endings of files that are copied as they are. Raises `OSError` for what cannot be read,
    `BadFile` for another file, and beyond `MOST_FILES`, `MOST_BYTES` or half of the free disk.
    """
    with parsing("zip or tar"):
        _copy(path, into, left_out, alone)


def unpacked_folder(path: Path, is_content: Callable[[Path], bool]) -> Path:
    """Return a folder, or one in the cache of the unpacked archive, or archives in the folder.

    is_content: tells files for which a folder is used as it is. Raises `Unavailable`, `BadOption`.
    """
    archives = [path] if path.is_file() else [
        file for file in sorted(path.glob("*")) if file.name.lower().endswith(ARCHIVES)
    ]  # fmt: skip
    if not archives or any(map(is_content, path.rglob("*"))):
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


def _copy(path: Path, into: Path, left_out: LeftOut, alone: Collection[str]) -> None:
    room = min(MOST_BYTES, shutil.disk_usage(into).free // 2)
    members = _below(path, left_out) if path.is_dir() else _inside(path, into, left_out, alone)
    for number, (name, content) in enumerate(members):
        if number == MOST_FILES:
            raise BadFile(f"it has more than {MOST_FILES} files")
        try:
            place = below(into, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                for chunk in content:
                    room -= len(chunk)
                    if room < 0:
                        most = f"{MOST_BYTES >> 30} GiB or half of the free disk"
                        raise BadFile(f"unpacked it has more than {most}")
                    file.write(chunk)
        except BadFile:
            raise
        except (OSError, ValueError) as error:  # a name that no file can have, or one that is there
            left_out(name, getattr(error, "strerror", None) or str(error))


def _chunks(content: _Readable, size: int = MOST_BYTES + 1) -> Iterator[bytes]:
    while chunk := content.read(min(CHUNK_BYTES, size)):
        size -= len(chunk)
        yield chunk


def _below(folder: Path, left_out: LeftOut) -> Iterator[_Member]:
    for parent, folders, names in os.walk(folder):
        if len(Path(parent).relative_to(folder).parts) >= MOST_DEEP and folders:
            left_out(folders[0], f"it is below more than {MOST_DEEP} folders")
            folders.clear()
        for place in [Path(parent, name) for name in (*names, *folders)]:
            name = place.relative_to(folder).as_posix()
            if place.is_symlink():
                left_out(name, "it is a link")
            elif not place.is_dir():
                try:
                    with open_regular(place, within=folder) as file:
                        yield name, _chunks(file)
                except OSError as error:
                    left_out(name, error.strerror or str(error))


def _inside(path: Path, into: Path, left_out: LeftOut, alone: Collection[str]) -> Iterator[_Member]:
    """Yield the members of a file; that of a gzip is unpacked below `into` first."""
    with open_regular(path) as file:
        start = file.read(4)
        file.seek(0)
        if path.suffix.lower() in alone:
            yield path.name, _chunks(file)
        elif start == b"PK\x03\x04":
            yield from _inside_zip(file, left_out)
        elif start[:2] == b"\x1f\x8b":
            with gzip.open(file) as unpacked:
                yield ".unpacked", _chunks(unpacked)
            with open_regular(into / ".unpacked") as tar:
                (into / ".unpacked").unlink()
                yield from _inside_tar(tar, left_out)
        else:
            yield from _inside_tar(file, left_out)


def _inside_tar(file: BufferedReader, left_out: LeftOut) -> Iterator[_Member]:
    for member in files_of_tar(file, left_out):
        file.seek(member.offset_data)  # the next header is sought from the start
        yield member.name, _chunks(file, member.size)


def _inside_zip(file: BufferedReader, left_out: LeftOut) -> Iterator[_Member]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - DIRECTORY_BYTES))
    if b"PK\x06\x07" in file.read():  # its directory is read at once, and may be of any size
        raise BadFile("it is a zip of more than 65,535 files or 4 GiB: unpack it, name the folder")
    with ZipFile(file) as parts:
        for member in parts.infolist():
            kind = member.external_attr >> 28  # of a Unix mode; 8: regular, 0: not stated
            why = ""
            if member.flag_bits & 1:
                why = "it is encrypted"
            elif kind not in (0, 8):
                why = "it is no regular file"
            elif member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                why = "its compression is not read"
            if why and not member.is_dir():
                left_out(member.filename, why)
            elif not member.is_dir():
                with parts.open(member) as unpacked:
                    yield member.filename, _chunks(unpacked)
