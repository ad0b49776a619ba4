"""External programs: run on files, asked for their version; PNG, which they read and write."""

import os
import re
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from benchmark.codec import MOST_PIXELS, Pixels, most_stream_bytes
from benchmark.errors import ImageRefused, ProgramFailed, Unavailable
from benchmark.system.foreign_files import SIGNATURE, holds_rows, lacks_rows, open_regular
from benchmark.system.programs import read_written, run_program

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
                raise ImageRefused("is not a whole PNG: it does not begin as a PNG")
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


def encoded_by(
    command: Sequence[str | Path],
    stream: Path,
    shape: tuple[int, ...],
    timeout_seconds: float,
    stdin: bytes = b"",
) -> bytes:
    """Run an encoder and return the file `stream` that it wrote for an image of this shape.

    Raises `ProgramFailed`, also where it wrote nothing or more than any encoder would.
    """
    run_program(command, timeout_seconds=timeout_seconds, stdin=stdin)
    data = read_written(stream, command[0], most_stream_bytes(*shape[:2]))
    if not data:
        raise ProgramFailed(f"{Path(command[0]).name} ended without an error and wrote no stream")
    return data


def decoded_by(command: Sequence[str | Path], png: Path, timeout_seconds: float) -> Pixels:
    """Run a decoder and return the pixels of the PNG that it wrote; `ProgramFailed` without any."""
    run_program(command, timeout_seconds=timeout_seconds)
    name = Path(command[0]).name
    if not png.is_file():
        raise ProgramFailed(f"{name} ended without an error and wrote no PNG")
    try:
        return read_png(png)
    except ImageRefused as refused:
        raise ProgramFailed(f"{name} wrote a PNG that {refused}") from None


def printed_version(program: Path, option: str, pattern: bytes, encoder: str, remedy: str) -> str:
    """Return the version that an encoder prints for an option, with which it may exit with 1.

    encoder: whose `pattern` is, for messages. Raises `Unavailable` where it is not printed.
    """
    try:
        printed = run_program([program, option], timeout_seconds=60, accepted=(0, 1))
    except ProgramFailed as error:
        raise Unavailable(f"{program} does not run: {error}") from error
    match = re.search(pattern, printed)
    if not match:
        raise Unavailable(f"{program} does not say that it is {encoder}'s encoder: {remedy}")
    return match[1].decode("ascii", "replace")
