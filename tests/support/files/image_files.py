"""Pixels -> image files of every kind, some written from the specification alone."""

import struct
import zlib
from io import BytesIO
from typing import Any

import imagecodecs
import tifffile
from PIL import Image

from benchmark.codec import Pixels


def pillow(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def tiff(samples: Any, **options: Any) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, samples, **options)
    return stream.getvalue()


def webp(samples: Any, lossless: bool = True, *chunks: bytes, flags: int = 0) -> bytes:
    """A WebP file: the plain form, or the extended one with `chunks` after the pixels."""
    level = None if lossless else 90
    stream: bytes = imagecodecs.webp_encode(samples, level=level, lossless=lossless)
    if not (chunks or flags):
        return stream

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)

    height, width, _ = samples.shape
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    start = stream.index(b"VP8")
    body = b"WEBP" + chunk(b"VP8X", struct.pack("<I", flags) + canvas) + stream[start:]
    body += b"".join(chunk(extra_chunk[:4], extra_chunk[4:]) for extra_chunk in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG file from the specification alone, `chunks` before the pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(name + body)
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header)]
    parts += [chunk(extra_chunk[:4], extra_chunk[4:]) for extra_chunk in chunks]
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"".join(parts)


def tiff_with_tags_last(pixels: Pixels, depths: tuple[int, int, int] = (8, 8, 8)) -> bytes:
    """Write a TIFF as libtiff does: pixels, then the tags, then the three samples' depths."""
    height, width, _ = pixels.shape
    start = 8 + pixels.size
    tags = [(256, width), (257, height), (258, 0), (259, 1), (262, 2), (273, 8), (277, 3)]
    tags += [(278, height), (279, pixels.size)]
    offset = start + 2 + 12 * len(tags) + 4
    entries = [
        struct.pack("<HHII", tag, *((3, 3, offset) if tag == 258 else (4, 1, value)))
        for tag, value in tags
    ]
    listed = struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
    head = b"II*\0" + struct.pack("<I", start)
    return head + pixels.tobytes() + listed + struct.pack("<HHH", *depths)


def plain_rows(pixels: Pixels) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


LOSSLESS = {
    "PNG": lambda p: pillow(Image.fromarray(p), "PNG"),
    "PNG by hand": lambda p: png(p.shape[1], p.shape[0], 8, 2, plain_rows(p)),
    "PPM": lambda p: pillow(Image.fromarray(p), "PPM"),
    "plain PPM": lambda p: b" ".join(
        [b"P3 # a comment\n%d %d\n255\n" % p.shape[1::-1], *(b"%d" % s for s in p.ravel()), b"\n"]
    ),
    "BMP": lambda p: pillow(Image.fromarray(p), "BMP"),
    "WebP": webp,
    "TIFF": lambda p: tiff(p, photometric="rgb"),
    "TIFF of Pillow": lambda p: pillow(Image.fromarray(p), "TIFF"),
    "TIFF, LZW": lambda p: tiff(p, photometric="rgb", compression="lzw"),
    "TIFF, PackBits": lambda p: tiff(p, photometric="rgb", compression="packbits"),
    "TIFF, old zip": lambda p: tiff(p, photometric="rgb", compression=32946),
    "TIFF, LZMA": lambda p: tiff(p, photometric="rgb", compression="lzma"),
    "TIFF, zstd": lambda p: tiff(p, photometric="rgb", compression="zstd"),
    "TIFF, zip": lambda p: tiff(p, photometric="rgb", compression="zlib", predictor=True),
    "TIFF, tiles": lambda p: tiff(p, photometric="rgb", tile=(64, 64)),
    "TIFF, planes": lambda p: tiff(p.transpose(2, 0, 1), photometric="rgb", planarconfig=2),
    "TIFF, tags last": tiff_with_tags_last,
    "BigTIFF": lambda p: tiff(p, photometric="rgb", bigtiff=True),
    "TIFF, big-endian": lambda p: tiff(p, photometric="rgb", byteorder=">"),
}
