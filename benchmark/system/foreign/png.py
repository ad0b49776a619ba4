"""Check that a PNG that was decoded holds all of its rows."""

import struct
import zlib
from typing import Protocol

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK_BYTES = 1 << 16
MOST_UNPACKED = 1032  # bytes that deflate makes of one, at most (zlib's technical details)
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the header's type of colours
# Left, top, horizontal and vertical step of each pass of an interlaced picture (PNG, 8.2)
ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


class Loaded(Protocol):
    """A picture as Pillow has decoded it, before any conversion."""

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        ...

    def crop(self, box: tuple[int, int, int, int]) -> object:
        """Return a part of the picture."""
        ...


def lacks_rows(data: bytes, image: Loaded) -> bool:
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
