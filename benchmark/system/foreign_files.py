"""Files of any origin, with limits: no pipes, devices or links; tars, torch files, cut images."""

import errno
import os
import re
import stat
import struct
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from io import BufferedReader, BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self
from zipfile import BadZipFile, ZipFile

from benchmark.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_FILE_BYTES = 1 << 30  # of a stream, a record, features of an image
LARGEST_WHOLE = 1 << 53  # integers up to which float64, with which rows are averaged, is exact
MOST_DEEP = 64  # folders, one in the other


class BadFile(ValueError):  # noqa: N818 - as the errors of `benchmark.errors`
    """Content that is not what its file should hold; the message says why, without its name."""


def below(folder: Path, name: str) -> Path:
    """Return the path of a file that foreign data name, below a folder; raise `OSError` for others.

    >>> below(Path("a"), "b/c.png").as_posix()
    'a/b/c.png'
    """
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in name or len(parts) > MOST_DEEP:
        raise OSError(errno.EINVAL, f"its name leads out of {folder.name}, or too deep", name)
    return folder / name


def open_regular(path: Path, within: Path | None = None) -> BufferedReader:
    """Open a regular file, no link out of `within`; raise `OSError`, whose `strerror` says why."""
    try:
        place = os.path.realpath(path)
    except ValueError as error:  # a null character, or half of a surrogate pair
        raise OSError(errno.EINVAL, f"no file has such a name ({error})", str(path)) from error
    if within is not None:
        root = os.path.realpath(within)
        if os.path.commonpath([root, place]) != root:
            raise OSError(errno.ELOOP, f"it is a link that leads out of {within}", str(path))
    if sys.platform == "win32":
        handle = os.open(place, os.O_RDONLY | os.O_BINARY)
    else:
        handle = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path, most_bytes: int, within: Path | None = None) -> bytes:
    """Return the bytes of a regular file of at most `most_bytes`, as it was when it was opened."""
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


def walk(
    root: Path, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk folders as `os.walk` does; raise `UsageError` for folders below `MOST_DEEP` others."""
    for folder, below, files in os.walk(root, onerror=onerror):
        if below and len(Path(folder).relative_to(root).parts) >= MOST_DEEP:
            raise UsageError(f"{root} has folders below more than {MOST_DEEP} others: move them up")
        yield folder, below, files


BLOCK_BYTES = 512
LARGEST_EXTENSION_BYTES = 1 << 13  # tarfile takes time that grows with the square of their length
SHOWN_CHARACTERS = 60  # of a name in a refusal
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class BadTar(BadFile):
    """A file that is no whole tar, or a tar that nobody else reads."""


class _Header(tarfile.TarInfo):
    """A header of a tar that is read to its end or refused, not passed over."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf):  # the end
                raise
            raise BadTar(f"a header cannot be read ({error})") from error
        if header.type in _EXTENSIONS and header.size > LARGEST_EXTENSION_BYTES:
            most = f"{LARGEST_EXTENSION_BYTES} are allowed"
            raise BadTar(f"an extended header has {header.size} bytes, and {most}")
        return header


def files_of_tar(
    file: BufferedReader, leave_out: Callable[[str, str], object]
) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files of an uncompressed tar; raise `BadTar`.

    A hard link is the file that it names, which comes before it. leave_out: called with the name of
    any other member but a folder, and why.
    """
    regular: dict[str, tarfile.TarInfo] = {}
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        tar = tarfile.open(fileobj=file, mode="r:", tarinfo=_Header)  # noqa: SIM115 - not ours
        while (member := tar.next()) is not None:
            if any(key == "size" or key.startswith("GNU.sparse") for key in member.pax_headers):
                raise BadTar("an extended header says where a file lies, which is not read")
            if member.size < 0 or (member.isreg() and member.offset_data + member.size > end):
                raise BadTar(f"{member.name[:SHOWN_CHARACTERS]!r} reaches beyond its end")
            if member.islnk() and member.linkname in regular:
                member = regular[member.linkname].replace(name=member.name)
            if member.isreg() and not member.issparse():
                regular[member.name] = member
                yield member
            elif not member.isdir():
                what = "a sparse file" if member.issparse() else "no regular file"
                leave_out(
                    member.name, f"it is {'a link' if member.islnk() or member.issym() else what}"
                )
    except (tarfile.TarError, ValueError, LookupError, OverflowError) as error:
        raise BadTar(str(error)) from error


ZIP = b"PK\x03\x04"  # how torch, which looks at the start alone, recognises its present format


def load_tensors(path: Path, device: Any = "cpu") -> Any:
    """Return what `torch.load` returns on `device` with `weights_only`; its errors are passed on.

    Raises `Unavailable` where that would take more than the file holds: for a zip with compressed
    parts (torch writes none) or without a directory, for a tar (of torch 0.1, whose headers may
    take hours), and for a tensor with more elements than the file has bytes, by strides of 0.
    """
    import torch

    unpacked = 0
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            start = file.read(BLOCK_BYTES)
            if start.startswith(ZIP):
                with ZipFile(file) as parts:
                    unpacked = sum(part.file_size for part in parts.infolist())
    except FileNotFoundError:
        raise
    except (BadZipFile, NotImplementedError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise Unavailable(f"{path} cannot be read as weights: {why}") from error
    if unpacked > size:
        raise Unavailable(f"{path} holds parts larger than itself: unpacked, {unpacked} bytes")
    with suppress(tarfile.HeaderError):
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
        raise Unavailable(
            f"{path} is a tar, as torch wrote before 2017: convert it with a torch of that time"
        )
    result = torch.load(path, map_location=device, weights_only=True)
    for tensor in _tensors(result, torch.Tensor):
        if tensor.numel() > size:
            raise Unavailable(f"{path} has a tensor of {tensor.numel()} elements in {size} bytes")
    return result


def _tensors(content: Any, kind: type) -> Iterable[Any]:
    """Iterate over the tensors in nested dictionaries, lists and tuples, each container once."""
    waiting, seen = [content], set()
    while waiting:
        value = waiting.pop()
        if isinstance(value, kind):
            yield value
        elif isinstance(value, Mapping | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, Mapping) else value


ANY_BLOCKS = 128 * b"\xaa"  # decoded as some blocks, wherever they begin
ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # frames, whose decoder may read beyond the data
RESTART_INTERVAL, START_OF_SCAN, END_OF_IMAGE = 0xDD, 0xDA, 0xD9
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
BEHIND_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def lacks_blocks(data: bytes, image: "Image") -> bool:
    """Return whether the compressed data of a JPEG end before its last block.

    Pillow leaves such blocks of `image` grey. The file is decoded again with more data before its
    end, which a decoder that has all blocks passes over. False for arithmetic coding.
    """
    import numpy as np
    from PIL.JpegImagePlugin import JpegImageFile

    if (end := _end_of_scans(data)) is None:
        return False
    place, filler = end
    filled = JpegImageFile(BytesIO(data[:place] + filler + data[place:]))
    return not np.array_equal(np.asarray(filled), np.asarray(image))


def _end_of_scans(data: bytes) -> tuple[int, bytes] | None:
    """Return the end marker's place and more data of the last scan; None where neither is known."""
    at, restarts, last = 2, False, -1
    while data[at : at + 1] == b"\xff" and at + 1 < len(data):
        marker = data[at + 1]
        if marker == END_OF_IMAGE:
            number = data[last + 1] - 0xD0 if last >= 0 else -1
            return at, _with_restarts(number) if restarts else ANY_BLOCKS
        if marker in ARITHMETIC:
            return None
        if marker == 0xFF:  # a byte that fills up
            at += 1
            continue
        begin = at + 4
        at += 2 if marker in ALONE else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == RESTART_INTERVAL:
            restarts = any(data[begin:at])
        if marker == START_OF_SCAN:
            behind = BEHIND_SCAN.search(data, at)
            end = behind.start() if behind else len(data)
            last = max((marker.start() for marker in RESTART.finditer(data, at, end)), default=-1)
            at = end
    return None


def _with_restarts(number: int) -> bytes:
    """Return blocks with all eight restart markers between them, beginning behind this number."""
    markers = (bytes([0xFF, 0xD0 + (number + step) % 8]) for step in range(1, 9))
    return ANY_BLOCKS + b"".join(marker + ANY_BLOCKS for marker in markers)


SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK_BYTES = 1 << 16
MOST_UNPACKED = 1032  # bytes that deflate makes of a byte, at most (zlib's technical details)
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the header's type of colours
# Left, top, horizontal and vertical step of each pass of an interlaced picture (PNG, 8.2)
ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def lacks_rows(data: bytes, image: "Image") -> bool:
    """Return whether a PNG's data end before the last row: Pillow fills such rows with zeros."""
    import numpy as np

    width, height = image.size
    end = np.asarray(image.crop((0, max(0, height - 2), width, height)))
    if end.reshape(len(end), -1).any(axis=1).all():
        return False
    return _unpacked_size(data) < _raw_size(data)


def holds_rows(head: bytes, num_bytes: int) -> bool:
    """Return whether a PNG of `num_bytes` can hold the rows that its first 29 bytes announce."""
    return _raw_size(head) <= MOST_UNPACKED * num_bytes


def _raw_size(data: bytes) -> int:
    """Return the size in bytes of the filtered rows that the header announces."""
    width, height, bits, colours, interlaced = struct.unpack_from(">IIBBxxB", data, 16)
    total = 0
    for left, top, right, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits * CHANNELS.get(colours, 1) // 8))
    return total


def _unpacked_size(data: bytes) -> int:
    """Return the size in bytes of what the file's IDAT chunks unpack to, in bounded memory."""
    unpacker, size, at = zlib.decompressobj(), 0, len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        left = data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        try:
            while left and not unpacker.eof:
                size += len(unpacker.decompress(left, CHUNK_BYTES))
                left = unpacker.unconsumed_tail
        except zlib.error:
            return size
        at += 12 + length
    return size
