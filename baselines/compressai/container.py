"""Container of a CompressAI network's entropy-coded strings. No torch.

    quality        1 byte: which of the model's networks decodes it
    width, height  a varint each, in pixels
    lengths        a varint for each string, in bytes; their number follows from the model
    strings        in this order; the last byte of the last one ends the stream

A stream of n bytes is of at most 2^18 + 1024 n pixels, sides rounded up to multiples of 64: a
decoder refuses more, since its work depends on them, and an encoder writes zeros behind the last
string of an image so blank that its stream would have fewer bytes.
"""

import math
from typing import NamedTuple

from baselines.neural.bitstream.container import ByteReader, varint
from benchmark.errors import CorruptStream

# The widest hyperprior needs 660 bytes of memory per pixel: 44 GB for an image of this size.
MAX_PIXELS = 1 << 26
STEP = 64  # pixels; the deepest model of the zoo divides height and width by as much
STRING_TAIL = 64  # bytes that CompressAI's decoder reads at its start and ahead
FREE_PIXELS, PIXELS_PER_BYTE = 1 << 18, 1 << 10


class ZooStream(NamedTuple):
    """Contents of a stream."""

    quality: int  # 0..255
    width: int  # pixels
    height: int  # pixels
    strings: tuple[bytes, ...]


def pack(stream: ZooStream) -> bytes:
    """Return the bytes of a stream.

    >>> pack(ZooStream(3, 768, 512, (b"latent", b"z"))).hex(" ")
    '03 80 06 80 04 06 01 6c 61 74 65 6e 74 7a'
    """
    sizes = (stream.width, stream.height, *map(len, stream.strings))
    header = bytes([stream.quality]) + b"".join(map(varint, sizes))
    return header + b"".join(stream.strings)


def unpack(data: bytes, num_strings: int) -> ZooStream:
    """Return the stream that `pack` was given.

    Raises `CorruptStream` where the bytes do not add up to exactly a stream of that many strings,
    or claim an image of no pixels or of more than `MAX_PIXELS`; nothing is allocated before that.
    """
    reader = ByteReader(data)
    (quality,) = reader.take(1)
    width, height, *lengths = (reader.varint() for _ in range(2 + num_strings))
    if not 0 < width * height <= MAX_PIXELS:
        raise CorruptStream(f"the stream claims an image of {width} x {height} pixels")
    strings = tuple(reader.take(length) for length in lengths)
    if rest := reader.rest():
        raise CorruptStream(f"the stream has {len(rest)} bytes after its last string")
    return ZooStream(quality, width, height, strings)


def padded(width: int, height: int) -> tuple[int, int]:
    """Return both sides padded to multiples of `STEP`."""
    return -(-width // STEP) * STEP, -(-height // STEP) * STEP


def padded_pixels(stream: ZooStream) -> int:
    """Return the pixels that the networks work on."""
    return math.prod(padded(stream.width, stream.height))


def most_pixels(num_bytes: int) -> int:
    """Return the most pixels that a decoder works on for a stream of `num_bytes`."""
    return FREE_PIXELS + PIXELS_PER_BYTE * num_bytes


def require_possible_size(stream: ZooStream, num_bytes: int) -> None:
    """Raise `CorruptStream` where no image of the claimed size takes so few bytes."""
    if padded_pixels(stream) > most_pixels(num_bytes):
        size = f"{stream.width} x {stream.height} pixels in {num_bytes} bytes"
        raise CorruptStream(f"the stream claims {size}: no image takes so few")


def long_enough(stream: ZooStream) -> ZooStream:
    """Return the stream with zeros after the last string, if a decoder would refuse its size.

    Only blank images take so few bytes; entropy decoders ignore the zeros.
    """
    lacking = padded_pixels(stream) - most_pixels(sum(map(len, stream.strings)))
    *others, last = stream.strings
    last += bytes(max(0, -(-lacking // PIXELS_PER_BYTE)))
    return stream._replace(strings=(*others, last))


def readable_beyond(string: bytes, num_symbols: int) -> bytes:
    """Append zeros to a string: CompressAI's decoder reads beyond the end of damaged strings.

    It reads at most four bytes a symbol, or fifteen times four bits for an escape.
    """
    return string + bytes(15 * len(string) + 4 * num_symbols + STRING_TAIL)
