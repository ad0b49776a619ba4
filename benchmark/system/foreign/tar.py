"""Places of the files in an uncompressed tar of any origin, in time that grows with its headers.

`tarfile` reads extended headers of any length, in time that grows with the square of it, and takes
sizes and offsets from them. Here an extended header may give a long name, in a few kilobytes, and
nothing else.
"""

import os
import tarfile
from collections.abc import Iterator
from io import BufferedReader
from typing import NamedTuple

BLOCK_BYTES = 512
LARGEST_EXTENSION_BYTES = 1 << 13
SHOWN_CHARACTERS = 60  # of a name in a refusal
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_EXTENSIONS = (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK)
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
    if member.type == _LONG_NAME:
        return content.rstrip(b"\0").decode("utf-8", "surrogateescape")
    found = ""
    while content and member.type == _PAX:
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
