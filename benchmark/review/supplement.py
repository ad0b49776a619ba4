"""A supplement of a paper: regular files, copied within limits to a folder of ours and not run."""

import gzip
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple, Protocol
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from benchmark.answer import Absent
from benchmark.errors import BadPack, UsageError
from benchmark.published.curve_file import CURVE_FILES, NamedCurve, read_curves
from benchmark.rows.packs.pack import ROWS, Pack, open_pack
from benchmark.system.foreign_files import MOST_DEEP, BadFile, below, files_of_tar, open_regular
from benchmark.system.text import csv_delimiter, parsing

MOST_FILES, MOST_BYTES = 200_000, 8 << 30  # of a supplement, unpacked
CHUNK_BYTES = 1 << 20
DIRECTORY_BYTES = 22 + (1 << 16)  # where the end record of a zip without a longer one may begin
SIZES = {"image", "setting", "num_bytes"}  # columns of the list beside reconstructions
RESULTS = "rows of results are read from a pack: `bench pack export` makes one"


class Supplement(NamedTuple):
    """Parts of a supplement by what they are; paths are below the folder that it was copied to."""

    packs: tuple[Pack, ...]
    reconstructions: tuple[Path, ...]  # csv files of sizes, each beside its pictures
    curves: tuple[NamedCurve, ...]
    left_out: tuple[Absent, ...]


class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


_Member = tuple[str, Iterator[bytes]]  # its name, and its content in chunks


class _TooMuch(Exception):  # noqa: N818 - predicate of a sentence
    """The supplement exceeds a limit."""


def open_supplement(path: Path, into: Path) -> Supplement:
    """Copy a supplement into an empty folder and look for its parts.

    path: folder, zip, tar, tar.gz, or a file of curves (csv, json, md). Raises `UsageError` if it
    cannot be read, exceeds `MOST_FILES`, `MOST_BYTES` or half of the free disk, or holds nothing.
    """
    left_out: list[Absent] = []
    into /= re.sub(r"\W", "_", path.resolve().stem) or "sent"
    into.mkdir(parents=True)
    try:
        with parsing("zip or tar"):
            _copy(path, into, left_out)
    except (_TooMuch, BadFile) as refused:
        raise UsageError(f"{path} cannot be reviewed: {refused}") from refused
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror or error}): name a supplement"
        ) from error

    def leave_out(name: object, why: object) -> None:
        left_out.append(Absent(str(name), str(why).replace(f"{into}/", "")))

    files = sorted(file for file in into.rglob("*") if file.is_file())
    packs: list[Pack] = []
    for place in [*(f.parent for f in files if f.name == ROWS), *_ending(files, ".tar")]:
        try:
            packs.append(open_pack(place))
        except BadPack as error:
            leave_out(place.relative_to(into), error)
    for folder in dict.fromkeys(f.parent for f in files if f.parent.name == "per_image"):
        leave_out(folder.relative_to(into), RESULTS)
    sizes = tuple(file for file in _ending(files, ".csv") if _is_list_of_sizes(file))
    curves: list[NamedCurve] = []
    for file in _ending((file for file in files if file not in sizes), *CURVE_FILES):
        try:
            curves += read_curves(file)
        except UsageError as error:
            if file.suffix == ".csv":
                leave_out(file.relative_to(into), error)
    if not (packs or sizes or curves):
        reasons = "".join(f"; {refused.what}: {refused.why}" for refused in left_out[:3])
        raise UsageError(
            f"{path} holds nothing to review: no pack, no sizes.csv beside reconstructions, no "
            f"curve (csv or json with bpp and a metric){reasons}"
        )
    return Supplement(tuple(packs), sizes, tuple(curves), tuple(left_out))


def _ending(files: Iterable[Path], *suffixes: str) -> list[Path]:
    return [file for file in files if file.suffix.lower() in suffixes]


def _is_list_of_sizes(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        lines = (text.readline(1 << 16) for _ in range(20))
        header = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    return {cell.strip().lower() for cell in header.split(csv_delimiter(header) or ",")} >= SIZES


def _copy(path: Path, into: Path, left_out: list[Absent]) -> None:
    """Write every regular member below `into`, within the limits; list the others."""
    room = min(MOST_BYTES, shutil.disk_usage(into).free // 2)
    members = _below(path, left_out) if path.is_dir() else _inside(path, into, left_out)
    for number, (name, content) in enumerate(members):
        if number == MOST_FILES:
            raise _TooMuch(f"it has more than {MOST_FILES} files")
        try:
            place = below(into, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                for chunk in content:
                    room -= len(chunk)
                    if room < 0:
                        most = f"{MOST_BYTES >> 30} GiB or half of the free disk"
                        raise _TooMuch(f"unpacked it has more than {most}")
                    file.write(chunk)
        except (OSError, ValueError) as error:  # a name that no file can have, or one that is there
            left_out.append(Absent(name, getattr(error, "strerror", None) or str(error)))


def _chunks(content: _Readable, size: int = MOST_BYTES + 1) -> Iterator[bytes]:
    while chunk := content.read(min(CHUNK_BYTES, size)):
        size -= len(chunk)
        yield chunk


def _below(folder: Path, left_out: list[Absent]) -> Iterator[_Member]:
    for parent, folders, names in os.walk(folder):
        if len(Path(parent).relative_to(folder).parts) >= MOST_DEEP and folders:
            left_out.append(Absent(folders[0], f"it is below more than {MOST_DEEP} folders"))
            folders.clear()
        for place in [Path(parent, name) for name in (*names, *folders)]:
            name = place.relative_to(folder).as_posix()
            if place.is_symlink():
                left_out.append(Absent(name, "it is a link"))
            elif not place.is_dir():
                try:
                    with open_regular(place, within=folder) as file:
                        yield name, _chunks(file)
                except OSError as error:
                    left_out.append(Absent(name, error.strerror or str(error)))


def _inside(path: Path, into: Path, left_out: list[Absent]) -> Iterator[_Member]:
    """Yield the members of a file; that of a gzip is unpacked below `into` first."""
    with open_regular(path) as file:
        start = file.read(4)
        file.seek(0)
        if path.suffix.lower() in CURVE_FILES:
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


def _inside_tar(file: BufferedReader, left_out: list[Absent]) -> Iterator[_Member]:
    for member in files_of_tar(file, lambda *why: left_out.append(Absent(*why))):
        file.seek(member.offset_data)  # the next header is sought from the start
        yield member.name, _chunks(file, member.size)


def _inside_zip(file: BufferedReader, left_out: list[Absent]) -> Iterator[_Member]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - DIRECTORY_BYTES))
    if b"PK\x06\x07" in file.read():  # its directory is read at once, and may be of any size
        raise _TooMuch("it is a zip of more than 65,535 files or 4 GiB: unpack it, name the folder")
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
                left_out.append(Absent(member.filename, why))
            elif not member.is_dir():
                with parts.open(member) as unpacked:
                    yield member.filename, _chunks(unpacked)
