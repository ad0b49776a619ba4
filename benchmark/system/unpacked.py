"""Archives and folders from other people: regular files are copied, within limits, never run."""

import gzip
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from fnmatch import fnmatchcase
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from typing import Protocol
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from benchmark.errors import BadOption, Unavailable
from benchmark.system.atomic import replacing
from benchmark.system.digest import cache_folder, file_sha256
from benchmark.system.foreign_files import (
    MAX_FOLDER_DEPTH,
    BadFile,
    files_of_tar,
    open_regular,
    resolve_inside,
)
from benchmark.system.text import counted, parsing

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_FILES, MAX_BYTES = 200_000, 8 << 30  # limits of an unpacked archive
CHUNK_BYTES = 1 << 20
DIRECTORY_BYTES = 22 + (1 << 16)  # maximum size of the record that ends a zip, with a comment

Refuse = Callable[[str, str], object]  # called with the name of a file that is not copied, and why


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


_Member = tuple[str, Iterator[bytes]]  # name, and content in chunks


def unpack(path: Path, target: Path, refuse: Refuse, plain_suffixes: Collection[str] = ()) -> None:
    """Copy the regular files of a folder, zip, tar or tar.gz into the empty folder `target`.

    plain_suffixes: suffixes of files not to unpack. Raises `OSError` if `path` cannot be read,
    `BadFile` for other files, and beyond `MAX_FILES`, `MAX_BYTES` or half of the free disk.
    """
    with parsing("zip or tar"):
        _copy_members(path, target, refuse, plain_suffixes)


def folder_of_seed(folder: Path, seeds: str, seed: int) -> Path:
    """Return the `seed`-th of the folders that match `seeds`; `BadOption` if there are too few."""
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    matching_names = [name for name in names if fnmatchcase(name, seeds)]
    numbers = {
        name: [int(digits) for digits in re.findall(r"\d+", name)] for name in matching_names
    }
    matching_names.sort(key=lambda name: (numbers[name], name))
    if 0 <= seed < len(matching_names):
        return folder / matching_names[seed]
    count_text = f"{counted(len(matching_names), 'folder')} of seeds={seeds}, none for seed {seed}"
    raise BadOption(f"{folder} has {count_text}: name other folders, or fewer --draws")


def unpacked_folder(path: Path, is_content: Callable[[Path], bool]) -> Path:
    """Return the folder `path`, or a cached folder with the contents of an archive or archives.

    is_content: if it is true of a file, the folder is returned. Raises `Unavailable`, `BadOption`.
    """
    archives = [path] if path.is_file() else [
        file for file in sorted(path.glob("*")) if file.name.lower().endswith(ARCHIVES)
    ]  # fmt: skip
    if not archives or any(map(is_content, path.rglob("*"))):
        return path
    digests = "".join(f"{file.name} {file_sha256(file)} " for file in archives)
    cached_folder = cache_folder() / "published" / sha256(digests.encode()).hexdigest()
    try:
        if not cached_folder.exists():
            cached_folder.parent.mkdir(parents=True, exist_ok=True)
            with replacing(cached_folder) as draft:
                for file in archives:
                    target = draft if file == path else draft / file.name.partition(".")[0]
                    target.mkdir(parents=True)
                    unpack(file, target, lambda *_: None)
    except BadFile as error:
        raise BadOption(f"{path} has no readable zip or tar of pictures: {error}") from error
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be unpacked into {cached_folder}: {error.strerror}"
        ) from error
    return cached_folder


def _copy_members(
    path: Path, target: Path, refuse: Refuse, plain_suffixes: Collection[str]
) -> None:
    bytes_left = min(MAX_BYTES, shutil.disk_usage(target).free // 2)
    members = (
        _folder_members(path, refuse)
        if path.is_dir()
        else _file_members(path, target, refuse, plain_suffixes)
    )
    for number, (name, content) in enumerate(members):
        if number == MAX_FILES:
            raise BadFile(f"it has more than {MAX_FILES} files")
        try:
            destination = resolve_inside(target, name)
            destination.parent.mkdir(parents=True, exist_ok=True)
            with destination.open("xb") as file:
                for chunk in content:
                    bytes_left -= len(chunk)
                    if bytes_left < 0:
                        limit = f"{MAX_BYTES >> 30} GiB or half of the free disk"
                        raise BadFile(f"unpacked, it has more than {limit}")
                    file.write(chunk)
        except BadFile:
            raise
        except (OSError, ValueError) as error:  # an impossible name, or one that already exists
            refuse(name, getattr(error, "strerror", None) or str(error))


def _chunks(content: _Readable, size: int = MAX_BYTES + 1) -> Iterator[bytes]:
    while chunk := content.read(min(CHUNK_BYTES, size)):
        size -= len(chunk)
        yield chunk


def _folder_members(folder: Path, refuse: Refuse) -> Iterator[_Member]:
    for parent, folders, names in os.walk(folder):
        if len(Path(parent).relative_to(folder).parts) >= MAX_FOLDER_DEPTH and folders:
            refuse(folders[0], f"it is nested more than {MAX_FOLDER_DEPTH} folders deep")
            folders.clear()
        for path in [Path(parent, name) for name in (*names, *folders)]:
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                refuse(name, "it is a link")
            elif not path.is_dir():
                try:
                    with open_regular(path, within=folder) as file:
                        yield name, _chunks(file)
                except OSError as error:
                    refuse(name, error.strerror or str(error))


def _file_members(
    path: Path, target: Path, refuse: Refuse, plain_suffixes: Collection[str]
) -> Iterator[_Member]:
    """Yield the members of a file; a gzip is first unpacked in `target`."""
    with open_regular(path) as file:
        first_bytes = file.read(4)
        file.seek(0)
        if path.suffix.lower() in plain_suffixes:
            yield path.name, _chunks(file)
        elif first_bytes == b"PK\x03\x04":
            yield from _zip_members(file, refuse)
        elif first_bytes[:2] == b"\x1f\x8b":
            with gzip.open(file) as unpacked_file:
                yield ".unpacked", _chunks(unpacked_file)
            with open_regular(target / ".unpacked") as tar:
                (target / ".unpacked").unlink()
                yield from _tar_members(tar, refuse)
        else:
            yield from _tar_members(file, refuse)


def _tar_members(file: BufferedReader, refuse: Refuse) -> Iterator[_Member]:
    for member in files_of_tar(file, refuse):
        file.seek(member.offset_data)  # `files_of_tar` seeks from the start of the file
        yield member.name, _chunks(file, member.size)


def _zip_members(file: BufferedReader, refuse: Refuse) -> Iterator[_Member]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - DIRECTORY_BYTES))
    if b"PK\x06\x07" in file.read():  # Zip64, whose directory, read at once, may have any size
        raise BadFile("it is a zip of over 65,535 files or 4 GiB: unpack it, and name the folder")
    with ZipFile(file) as archive:
        for member in archive.infolist():
            file_type = member.external_attr >> 28  # from the Unix mode; 8: regular, 0: not stated
            objection = ""
            if member.flag_bits & 1:
                objection = "it is encrypted"
            elif file_type not in (0, 8):
                objection = "it is not a regular file"
            elif member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                objection = "its compression is not supported"
            if objection and not member.is_dir():
                refuse(member.filename, objection)
            elif not member.is_dir():
                with archive.open(member) as unpacked_file:
                    yield member.filename, _chunks(unpacked_file)
