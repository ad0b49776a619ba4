"""Check that a JPEG or PNG that was decoded holds data for all of its blocks or rows."""

import re
import struct
import zlib
from io import BytesIO

import numpy as np
from PIL.Image import Image
from PIL.JpegImagePlugin import JpegImageFile

ANY_BLOCKS = 128 * b"\xaa"  # decoded as some blocks, wherever they begin
ARITHMETIC = {0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # frames, whose decoder may read beyond the data
RESTART_INTERVAL, START_OF_SCAN, END_OF_IMAGE = 0xDD, 0xDA, 0xD9
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
BEHIND_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def lacks_blocks(data: bytes, image: JpegImageFile) -> bool:
    """Return whether the compressed data of a JPEG end before its last block.

    data: the file. image: as Pillow has loaded it, which leaves blocks that are not there grey and
    says nothing. The file is decoded again with more data before its end: a decoder that lacks
    blocks takes these for them, and one that has all passes over them. Of JPEGs with arithmetic
    coding nothing can be said in this way: False.
    """
    end = _end_of_scans(data)
    if end is None:
        return False
    place, filler = end
    filled = JpegImageFile(BytesIO(data[:place] + filler + data[place:]))
    return not np.array_equal(np.asarray(filled), np.asarray(image))


def _end_of_scans(data: bytes) -> tuple[int, bytes] | None:
    """Return the position of the end marker, and what would be more data of the last scan.

    None without an end marker, or with arithmetic coding.
    """
    at, restarts, last = 2, False, -1
    while data[at : at + 1] == b"\xff" and at + 1 < len(data):
        marker = data[at + 1]
        if marker == END_OF_IMAGE:
            return at, _more(last) if restarts else ANY_BLOCKS
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
            found = BEHIND_SCAN.search(data, at)
            end = found.start() if found else len(data)
            markers = [one[0][1] - 0xD0 for one in RESTART.finditer(data, at, end)]
            at, last = end, markers[-1] if markers else -1
    return None


def _more(restart: int) -> bytes:
    """Return data with a restart marker after each part, the first one behind that of a number."""
    markers = (bytes([0xFF, 0xD0 + (restart + step) % 8]) for step in range(1, 9))
    return ANY_BLOCKS + b"".join(marker + ANY_BLOCKS for marker in markers)


SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK_BYTES = 1 << 16
MOST_UNPACKED = 1032  # bytes that deflate makes of one, at most (zlib's technical details)
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the header's type of colours
# Left, top, horizontal and vertical step of each pass of an interlaced picture (PNG, 8.2)
ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


def lacks_rows(data: bytes, image: Image) -> bool:
    """Return whether the compressed data of a PNG end before the last row.

    data: the file. image: as Pillow has loaded it, which fills rows that are not there with zeros
    and says nothing. The data are only unpacked again where one of the last two rows is of zeros.
    """
    width, height = image.size
    end = np.asarray(image.crop((0, max(0, height - 2), width, height)))
    if end.reshape(len(end), -1).any(axis=1).all():
        return False
    return _unpacked_size(data) < _raw_size(data)


def holds_rows(head: bytes, num_bytes: int) -> bool:
    """Return whether a PNG of `num_bytes` can hold the rows that its header announces.

    head: its first 29 bytes. Nothing of the picture's size is allocated.
    """
    return _raw_size(head) <= MOST_UNPACKED * num_bytes


def _raw_size(data: bytes) -> int:
    """Return the size in bytes of the filtered rows that the header announces."""
    width, height, bits, colours, interlaced = struct.unpack_from(">IIBBxxB", data, 16)
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, right, down in passes:
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
