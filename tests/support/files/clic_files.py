"""Files that pass for CLIC 2020's photographs: headers of PNG files, without pixels."""

import struct
import zlib
from pathlib import Path


def png_header(width: int, height: int) -> bytes:
    """Return the first 33 bytes of a PNG file of this size (px)."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def make_clic(folder: Path, count: int, size: tuple[int, int] = (2048, 1371)) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"{number:03d}.png").write_bytes(png_header(*size))
    return folder
