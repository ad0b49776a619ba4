"""Files of any origin: regular ones alone, places in a tar, tensors of a torch file; with limits.

A pipe in the place of a file would be waited for without end, and a device read without end. A link
would put the content of another file of the user in the place of the stranger's. `tarfile` reads
extended headers of any length, in time that grows with the square of it, and takes sizes and
offsets from them; here one may give a long name, in a few kilobytes, and nothing else.
"""

import errno
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

from benchmark.errors import Unavailable

LARGEST_FILE_BYTES = 1 << 30  # of a stream, a record, features of an image


def open_regular(path: Path, within: Path | None = None) -> BufferedReader:
    """Open a regular file to be read as bytes.

    within: the folder of a stranger that the file is part of; a link out of it is refused. Without
    it, the user named the file, and links are followed. Raises `OSError`, whose `strerror` says
    what is wrong: a pipe, a device, a folder, a link to elsewhere, a name that no file can have, or
    what the system says.
    """
    try:
        place = os.path.realpath(path)
    except ValueError as error:  # a null character, or half of a surrogate pair
        raise OSError(errno.EINVAL, f"no file has such a name ({error})", str(path)) from error
    if within is not None:
        root = os.path.realpath(within)
        if os.path.commonpath([root, place]) != root:
            raise OSError(errno.ELOOP, f"it is a link that leads out of {within}", str(path))
    handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path, most_bytes: int, within: Path | None = None) -> bytes:
    """Return the bytes of a regular file (see `open_regular`) of at most `most_bytes`.

    No more is read than the size that the file had when it was opened: one that grows is cut, and
    one of the kernel's that claims to be empty is empty. Raises `OSError`.
    """
    with open_regular(path, within) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most_bytes:
            why = f"it has {size} bytes, and at most {most_bytes} are read"
            raise OSError(errno.EFBIG, why, str(path))
        return file.read(size)


def is_regular(path: Path, within: Path | None = None) -> bool:
    """Return whether `open_regular` opens the file."""
    try:
        open_regular(path, within).close()
    except OSError:
        return False
    return True


BLOCK_BYTES = 512
LARGEST_EXTENSION_BYTES = 1 << 13
SHOWN_CHARACTERS = 60  # of a name in a refusal
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_WITHOUT_DATA = b"123456"  # links, devices, folders, pipes


class BadTar(ValueError):  # noqa: N818 - as the errors of `benchmark.errors`
    """A file that is no whole tar, or one that is read by nobody else; the message says why."""


class TarFile(NamedTuple):
    """A regular file in a tar: its bytes are at this place."""

    name: str
    start: int
    size: int


def files_of_tar(file: BufferedReader) -> Iterator[TarFile]:
    """Yield the regular files of an uncompressed tar, in their order; raise `BadTar`.

    Links, devices, pipes and folders are passed over. A tar ends with a block of zeros, or with the
    file.
    """
    end, at = file.seek(0, os.SEEK_END), 0
    if end == 0:
        raise BadTar("it is empty")
    long_name = ""
    while at < end:
        member = _header(file, at)
        if member is None:
            return
        data = at + BLOCK_BYTES
        size = 0 if member.type in _WITHOUT_DATA else member.size
        if size < 0 or data + size > end:
            raise BadTar(f"{member.name[:SHOWN_CHARACTERS]!r} reaches beyond its end")
        if member.type in _EXTENSIONS:
            long_name = _name_in(file, member, data) or long_name
        else:
            if member.type in tarfile.REGULAR_TYPES and member.type != tarfile.GNUTYPE_SPARSE:
                yield TarFile(long_name or member.name, data, size)
            long_name = ""
        at = data + -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _header(file: BufferedReader, at: int) -> tarfile.TarInfo | None:
    """Return the header at a place; None for the block of zeros at the end."""
    file.seek(at)
    block = file.read(BLOCK_BYTES)
    if len(block) == BLOCK_BYTES and not any(block):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise BadTar(f"its header at byte {at} cannot be read ({error})") from error


def _name_in(file: BufferedReader, member: tarfile.TarInfo, data: int) -> str:
    """Return the name that an extended header gives the next member; empty for none."""
    if member.size > LARGEST_EXTENSION_BYTES:
        raise BadTar(
            f"an extended header has {member.size} bytes, and {LARGEST_EXTENSION_BYTES} are allowed"
        )
    file.seek(data)
    content = file.read(member.size)
    if member.type == tarfile.GNUTYPE_LONGNAME:
        return content.rstrip(b"\0").decode("utf-8", "surrogateescape")
    found = ""
    while content and member.type == tarfile.XHDTYPE:
        length, _, rest = content[:16].partition(b" ")
        if not rest or not length.isdigit() or not len(length) < int(length) <= len(content):
            raise BadTar("an extended header cannot be read")
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        if key == b"size" or key.startswith(b"GNU.sparse"):
            raise BadTar("an extended header says where a file lies, which is not read")
        if key == b"path":
            found = value.decode("utf-8", "surrogateescape")
        content = content[int(length) :]
    return found


ZIP = b"PK\x03\x04"  # how torch, which looks at the start alone, tells its present format


def load_tensors(path: Path, device: Any = "cpu") -> Any:
    """Return what `torch.load` returns on `device` with `weights_only`; its errors are passed on.

    Raises `Unavailable` for a file that is not a regular one, and where more would be read than the
    file holds: for a zip with parts larger than itself (torch stores parts uncompressed, but would
    also read compressed ones, which may grow a thousandfold) or without a directory at its end, for
    a tar (the format of torch 0.1, whose headers may take hours), and for a tensor with more
    elements than the file has bytes, by strides of 0.
    """
    import torch

    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(BLOCK_BYTES)
            if start.startswith(ZIP):
                with ZipFile(file) as parts:
                    unpacked = sum(part.file_size for part in parts.infolist())
                if unpacked > size:
                    raise Unavailable(
                        f"{path} holds parts larger than itself: unpacked, {unpacked} bytes"
                    )
    except (BadZipFile, NotImplementedError) as error:
        raise Unavailable(f"{path} cannot be read as weights: it is damaged") from error
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise Unavailable(f"{path} cannot be read as weights: {error.strerror}") from error
    with suppress(tarfile.HeaderError):
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
        raise Unavailable(
            f"{path} is a tar, as torch wrote before 2017: convert it with a torch of that time"
        )
    found = torch.load(path, map_location=device, weights_only=True)
    for tensor in _tensors(found, torch.Tensor):
        if tensor.numel() > size:
            raise Unavailable(f"{path} has a tensor of {tensor.numel()} elements in {size} bytes")
    return found


def _tensors(content: Any, kind: type) -> Iterable[Any]:
    """Iterate over the tensors in nested dictionaries, lists and tuples, each container once."""
    waiting, seen = [content], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, kind):
            yield one
        elif isinstance(one, Mapping | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            waiting += one.values() if isinstance(one, Mapping) else one
