"""Read untrusted files within limits: regular files, tars, torch files; truncated images."""

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

MAX_FOREIGN_FILE_BYTES = 1 << 30  # of a stream, a record, or features of an image
MAX_EXACT_INT = 1 << 53  # largest integer that float64, in which rows are averaged, has exactly
MAX_FOLDER_DEPTH = 64  # nested folders


class BadFile(ValueError):  # noqa: N818 - like the errors of `benchmark.errors`
    """A file without the expected content; the message says why, without the file's name."""


def resolve_inside(folder: Path, name: str) -> Path:
    """Return `folder / name` for an untrusted name; `OSError` if it leads out of the folder.

    >>> resolve_inside(Path("a"), "b/c.png").as_posix()
    'a/b/c.png'
    """
    parts = PurePosixPath(name).parts
    if (
        not parts
        or parts[0] == "/"
        or ".." in parts
        or "\\" in name
        or len(parts) > MAX_FOLDER_DEPTH
    ):
        raise OSError(errno.EINVAL, f"its name leads out of {folder.name}, or is too deep", name)
    return folder / name


def open_regular(path: Path, within: Path | None = None) -> BufferedReader:
    """Open a regular file that is no link out of `within`; `OSError.strerror` says why not."""
    try:
        real_path = os.path.realpath(path)
    except ValueError as error:  # a null character or a lone surrogate
        raise OSError(errno.EINVAL, f"a file cannot have this name ({error})", str(path)) from error
    if within is not None:
        root = os.path.realpath(within)
        if os.path.commonpath([root, real_path]) != root:
            raise OSError(errno.ELOOP, f"it is a link that leads out of {within}", str(path))
    if sys.platform == "win32":
        handle = os.open(real_path, os.O_RDONLY | os.O_BINARY)
    else:
        handle = os.open(real_path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(handle, "rb")


def read_regular(path: Path, max_bytes: int, within: Path | None = None) -> bytes:
    """Return the bytes of a regular file; `OSError` if it has more than `max_bytes`."""
    with open_regular(path, within) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            reason = f"it has {size} bytes, more than the limit of {max_bytes}"
            raise OSError(errno.EFBIG, reason, str(path))
        return file.read(size)


def is_regular(path: Path, within: Path | None = None) -> bool:
    """Return whether `open_regular` can open the file."""
    try:
        open_regular(path, within).close()
    except OSError:
        return False
    return True


def walk(
    root: Path, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk folders like `os.walk`; `UsageError` if nested deeper than `MAX_FOLDER_DEPTH`."""
    for folder, subfolders, files in os.walk(root, onerror=onerror):
        if subfolders and len(Path(folder).relative_to(root).parts) >= MAX_FOLDER_DEPTH:
            raise UsageError(
                f"{root} has folders nested more than {MAX_FOLDER_DEPTH} deep: move them up"
            )
        yield folder, subfolders, files


BLOCK_BYTES = 512
MAX_EXTENSION_BYTES = 1 << 13  # since tarfile's time grows with the square of a header's length
MAX_SHOWN_CHARACTERS = 60  # of a name in a message
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class BadTar(BadFile):
    """A file that is not a complete tar, or uses unsupported features of tars."""


class _Header(tarfile.TarInfo):
    """Header of a tar; an unreadable header is refused, not skipped."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if not any(buf):  # the end of the tar
                raise
            raise BadTar(f"a header cannot be read ({error})") from error
        if header.type in _EXTENSIONS and header.size > MAX_EXTENSION_BYTES:
            limit = f"more than the limit of {MAX_EXTENSION_BYTES}"
            raise BadTar(f"an extended header has {header.size} bytes, {limit}")
        return header


def files_of_tar(
    file: BufferedReader, refuse: Callable[[str, str], object]
) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files of an uncompressed tar; raise `BadTar`.

    A hard link yields the earlier file. refuse: called with the name of any other member, and why.
    """
    regular_files: dict[str, tarfile.TarInfo] = {}
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        tar = tarfile.open(fileobj=file, mode="r:", tarinfo=_Header)  # noqa: SIM115 - not ours
        while (member := tar.next()) is not None:
            if any(key == "size" or key.startswith("GNU.sparse") for key in member.pax_headers):
                problem = "a file's size or sparse layout, which is not supported"
                raise BadTar(f"it has an extended header with {problem}")
            if member.size < 0 or (member.isreg() and member.offset_data + member.size > end):
                name = member.name[:MAX_SHOWN_CHARACTERS]
                raise BadTar(f"{name!r} extends beyond the end of the archive")
            if member.islnk() and member.linkname in regular_files:
                member = regular_files[member.linkname].replace(name=member.name)
            if member.isreg() and not member.issparse():
                regular_files[member.name] = member
                yield member
            elif not member.isdir():
                kind = "a sparse file" if member.issparse() else "not a regular file"
                refuse(
                    member.name, f"it is {'a link' if member.islnk() or member.issym() else kind}"
                )
    except (tarfile.TarError, ValueError, LookupError, OverflowError) as error:
        raise BadTar(str(error)) from error


ZIP = b"PK\x03\x04"  # first bytes, by which torch recognises its current format


def load_tensors(path: Path, device: Any = "cpu") -> Any:
    """Load a file with `torch.load(weights_only=True)` on `device`; raises torch's errors.

    Raises `Unavailable` if loading may take far more memory or time than the file's size implies:
    for a zip with compressed parts or without a directory, a tar (from torch 0.1; reading headers
    may take hours), and a tensor with more elements than the file has bytes (strides of 0).
    """
    import torch

    unpacked_bytes = 0
    try:
        with open_regular(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            start = file.read(BLOCK_BYTES)
            if start.startswith(ZIP):
                with ZipFile(file) as archive:
                    unpacked_bytes = sum(part.file_size for part in archive.infolist())
    except FileNotFoundError:
        raise
    except (BadZipFile, NotImplementedError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise Unavailable(f"{path} cannot be read as weights: {reason}") from error
    if unpacked_bytes > size:
        raise Unavailable(
            f"{path} has compressed parts: {unpacked_bytes} bytes unpacked, in a file of {size}"
        )
    with suppress(tarfile.HeaderError):
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
        raise Unavailable(
            f"{path} is a tar, which torch wrote before 2017: convert it with a torch of that time"
        )
    result = torch.load(path, map_location=device, weights_only=True)
    for tensor in _find_tensors(result, torch.Tensor):
        if tensor.numel() > size:
            raise Unavailable(f"{path} has a tensor of {tensor.numel()} elements in {size} bytes")
    return result


def _find_tensors(content: Any, kind: type) -> Iterable[Any]:
    remaining_values, visited_ids = [content], set()
    while remaining_values:
        value = remaining_values.pop()
        if isinstance(value, kind):
            yield value
        elif isinstance(value, Mapping | list | tuple) and id(value) not in visited_ids:
            visited_ids.add(id(value))
            remaining_values += value.values() if isinstance(value, Mapping) else value


FILLER_BLOCKS = 128 * b"\xaa"  # decodes to some blocks at any bit position
# Markers of frames with arithmetic coding, whose decoder may read beyond the data
ARITHMETIC_FRAMES = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
RESTART_INTERVAL, START_OF_SCAN, END_OF_IMAGE = 0xDD, 0xDA, 0xD9
BARE_MARKERS = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def lacks_blocks(data: bytes, image: "Image") -> bool:
    """Return whether a JPEG ends before its last block; False if it uses arithmetic coding."""
    import numpy as np
    from PIL.JpegImagePlugin import JpegImageFile

    if (end := _end_of_scans(data)) is None:
        return False
    position, filler = end
    filled_image = JpegImageFile(BytesIO(data[:position] + filler + data[position:]))
    return not np.array_equal(np.asarray(filled_image), np.asarray(image))


def _end_of_scans(data: bytes) -> tuple[int, bytes] | None:
    """Return the end marker's position, and filler for the last scan; None if unknown."""
    position, has_restarts, last_restart = 2, False, -1
    while data[position : position + 1] == b"\xff" and position + 1 < len(data):
        marker = data[position + 1]
        if marker == END_OF_IMAGE:
            number = data[last_restart + 1] - 0xD0 if last_restart >= 0 else -1
            return position, _restart_blocks(number) if has_restarts else FILLER_BLOCKS
        if marker in ARITHMETIC_FRAMES:
            return None
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        segment_start = position + 4
        position += (
            2
            if marker in BARE_MARKERS
            else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        )
        if marker == RESTART_INTERVAL:
            has_restarts = any(data[segment_start:position])
        if marker == START_OF_SCAN:
            next_marker = AFTER_SCAN.search(data, position)
            end = next_marker.start() if next_marker else len(data)
            last_restart = max(
                (marker.start() for marker in RESTART.finditer(data, position, end)), default=-1
            )
            position = end
    return None


def _restart_blocks(number: int) -> bytes:
    """Return blocks with all eight restart markers between them, beginning after `number`."""
    markers = (bytes([0xFF, 0xD0 + (number + step) % 8]) for step in range(1, 9))
    return FILLER_BLOCKS + b"".join(marker + FILLER_BLOCKS for marker in markers)


SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK_BYTES = 1 << 16
MAX_DEFLATE_RATIO = 1032  # unpacked bytes per deflated byte (zlib's documentation)
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # number by the colour type in the header
# Left, top, horizontal and vertical step of each pass of an interlaced picture (PNG, 8.2)
ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def lacks_rows(data: bytes, image: "Image") -> bool:
    """Return whether a PNG ends before its last row; Pillow fills missing rows with zeros."""
    import numpy as np

    width, height = image.size
    last_rows = np.asarray(image.crop((0, max(0, height - 2), width, height)))
    if last_rows.reshape(len(last_rows), -1).any(axis=1).all():
        return False
    return _unpacked_size(data) < _raw_size(data)


def holds_rows(head: bytes, num_bytes: int) -> bool:
    """Return whether `num_bytes` suffice for the rows that a PNG's first 29 bytes announce."""
    return _raw_size(head) <= MAX_DEFLATE_RATIO * num_bytes


def _raw_size(data: bytes) -> int:
    """Return the size in bytes of the filtered rows announced in the header."""
    width, height, bits, colours, is_interlaced = struct.unpack_from(">IIBBxxB", data, 16)
    total = 0
    for left, top, step_x, step_y in ADAM7 if is_interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // step_x), -(-(height - top) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits * CHANNELS.get(colours, 1) // 8))
    return total


def _unpacked_size(data: bytes) -> int:
    """Return the unpacked size in bytes of the IDAT chunks, using bounded memory."""
    unpacker, size, position = zlib.decompressobj(), 0, len(SIGNATURE)
    while position + 8 <= len(data):
        length, chunk_type = struct.unpack_from(">I4s", data, position)
        block = data[position + 8 : position + 8 + length] if chunk_type == b"IDAT" else b""
        try:
            while block and not unpacker.eof:
                size += len(unpacker.decompress(block, CHUNK_BYTES))
                block = unpacker.unconsumed_tail
        except zlib.error:
            return size
        position += 12 + length
    return size
