"""Pillow's libjpeg-turbo: its version, its files, and the decoding that all JPEG codecs share."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, features

from benchmark.codec import Pixels
from benchmark.system.programs import package_folder


def jpeg_version() -> str:
    """Return the versions of the library and of the package: "libjpeg-turbo 3.1, Pillow 12.0"."""
    turbo = features.version("libjpeg_turbo")
    library = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {features.version('jpg')}"
    # pillow-simd shares Pillow's folder and tells itself apart by its post-release number
    wrapper = "pillow-simd" if ".post" in PIL.__version__ else "Pillow"
    return f"{library}, {wrapper} {PIL.__version__}"


def jpeg_files() -> list[Path]:
    """Return the compiled files that encode and decode JPEG."""
    folder = package_folder("PIL")
    return [
        *sorted(folder.glob("_imaging.*so")),
        *sorted((folder.parent / "pillow.libs").glob("libjpeg*")),
    ]


def decode_jpeg(data: bytes) -> Pixels:
    """Return the pixels, read-only; `OSError` for anything but a whole JPEG."""
    with open_jpeg(data) as image:
        return np.asarray(image)


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
