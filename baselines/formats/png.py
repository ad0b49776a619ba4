"""PNG files, by which pictures are exchanged with external programs."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from benchmark.codec import MOST_PIXELS, Pixels, most_stream_bytes
from benchmark.errors import ImageRefused
from benchmark.system.foreign_files import SIGNATURE, holds_rows, lacks_rows, open_regular

# A PNG begins with its signature and the chunk IHDR: width, height, bits per sample.
HEAD_BYTES = 29
BITS_PER_SAMPLE = 24  # position


def write_png(path: Path, pixels: Pixels) -> None:
    """Write 8-bit RGB without metadata; lightly compressed, since it is read once and removed."""
    Image.fromarray(pixels).save(path, "PNG", compress_level=1)


def read_png(path: Path) -> Pixels:
    """Return the pixels of an 8-bit opaque PNG; grey and palette become RGB, as in a dataset.

    Raises `ImageRefused` for a missing file and anything else: 16 bits, transparent pixels, an
    animation, damage, more than `MOST_PIXELS`. The message continues the file's name.
    """
    try:
        with open_regular(path) as file:
            size, head = os.fstat(file.fileno()).st_size, file.read(HEAD_BYTES)
            if len(head) < HEAD_BYTES:
                raise ImageRefused("is not a whole PNG: it ends within its header")
            if not head.startswith(SIGNATURE):
                raise ImageRefused("is not a whole PNG: it does not begin as one")
            width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
            if size > most_stream_bytes(height, width):
                raise ImageRefused(f"has {size:,} bytes, too many for {width} x {height} pixels")
            if width * height > MOST_PIXELS:
                raise ImageRefused(f"has {width} x {height} pixels, at most {MOST_PIXELS} are read")
            if not holds_rows(head, size):
                raise ImageRefused(f"has {size:,} bytes, too few for {width} x {height} pixels")
            data = head + file.read(size - HEAD_BYTES)
    except OSError as error:
        raise ImageRefused(f"cannot be read: {error.strerror}") from error
    try:
        image = PngImageFile(BytesIO(data))
        image.load()
    except Exception as error:  # whatever Pillow raises is about this file
        raise ImageRefused(f"is not a whole PNG: {error}") from error
    if lacks_rows(data, image):
        raise ImageRefused("is not a whole PNG: its last rows are not there")
    if data[BITS_PER_SAMPLE] > 8:
        raise ImageRefused(f"has {data[BITS_PER_SAMPLE]} bits per sample: save it with 8")
    if image.has_transparency_data and np.array(image.convert("RGBA"))[..., 3].min() < 255:
        raise ImageRefused("has transparency: save it without")
    if getattr(image, "n_frames", 1) > 1:
        raise ImageRefused("is an animation: save one picture")
    return np.array(image.convert("RGB"))
