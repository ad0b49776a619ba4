"""Pillow's codec libraries: versions and files; decoding and segments that JPEG codecs share."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, features

from benchmark.codec import Pixels
from benchmark.system.machine import package_folder

START_OF_SCAN = 0xDA
APPLICATION = range(0xE0, 0xF0)  # APP0 to APP15: JFIF, Exif, colour profiles


def pillow_version() -> str:
    """Return "Pillow 13.0.0", or pillow-simd, a post-release in the same folder, with its own."""
    return f"{'pillow-simd' if '.post' in PIL.__version__ else 'Pillow'} {PIL.__version__}"


def jpeg_version() -> str:
    """Return the versions of library and package: "libjpeg-turbo 3.2.0, Pillow 13.0.0"."""
    turbo = features.version("libjpeg_turbo")
    library = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
    return f"{library}, {pillow_version()}"


def pillow_files(library: str) -> list[Path]:
    """Return Pillow's compiled files that code with a library ("libjpeg")."""
    folder = package_folder("PIL")
    return [
        *sorted(folder.glob("_imaging.*so")),
        *sorted((folder.parent / "pillow.libs").glob(f"{library}*")),
    ]


def jpeg_files() -> list[Path]:
    """Return the compiled files that encode and decode JPEG."""
    return pillow_files("libjpeg")


@contextmanager
def open_jpeg(data: bytes) -> Iterator[Image.Image]:
    """Open a JPEG without the warning of a large one, which is what a large source becomes.

    Pillow still refuses more than twice the pixels from which it warns.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        image = Image.open(BytesIO(data), formats=("JPEG",))
    with image:
        yield image


class JPEGDecoder:
    """Base of the encoders of JPEG: their streams are decoded by Pillow's libjpeg-turbo."""

    def decode(self, data: bytes) -> Pixels:
        """Return the pixels, read-only; `OSError` for anything but a whole JPEG."""
        with open_jpeg(data) as image:
            return np.asarray(image)

    def container_bytes(self, data: bytes) -> int:
        """Return the bytes of application segments, such as JFIF's."""
        return application_bytes(data)


def application_bytes(stream: bytes) -> int:
    """Return the bytes of application segments before the first scan, markers included.

    ITU-T T.81, annex B.
    """
    total, start = 0, 2
    while start + 4 <= len(stream) and (marker := stream[start + 1]) != START_OF_SCAN:
        size = 2 + int.from_bytes(stream[start + 2 : start + 4])
        total += size if marker in APPLICATION else 0
        start += size
    return total
