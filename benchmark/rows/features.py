"""Feature vectors on disk: one file per image and feature space, named by the image's pixels.

    results/<dataset>/features/<space protocol>/ab/abcd....npy    float32 (patches, dimensions)

What is here can be made again by decoding; the folder is kept below a size by dropping the files
that were used longest ago. Copying it into another results folder, or over another one, is safe:
equal names are equal contents.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.errors import UsageError
from benchmark.metrics.distribution_metric import Features
from benchmark.rows.result_file import write_results
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

BUDGET_VARIABLE = "BENCH_FEATURES_GIB"
BUDGET_GIB = 20.0  # CLIC2020 at one setting of one codec is .24 GB with 2048 dimensions
CACHE_TAG = "CACHEDIR.TAG"
# Backup programs know it: https://bford.info/cachedir
CACHE_TAG_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made again by `bench rescore`.\n"


class ImageFeatures(NamedTuple):
    """The features of one image's patches, and where they belong."""

    protocol: str  # of the feature space
    pixels_sha256: str
    features: Features


class FeatureFolder:
    """The features of one dataset, below `results/<dataset>/features`."""

    def __init__(self, store_folder: Path) -> None:
        self.folder = store_folder / "features"

    def has(self, protocol: str, pixels_sha256: str) -> bool:
        """Return whether there is a file of features, without reading it."""
        return self._path(protocol, pixels_sha256).exists()

    def read(self, protocol: str, pixels_sha256: str) -> Features | None:
        """Read the features of an image; return None if there are none.

        A damaged file counts as none and is removed, so that it is made again.
        """
        path = self._path(protocol, pixels_sha256)
        try:
            found = np.load(BytesIO(read_regular(path, LARGEST_FILE_BYTES)), allow_pickle=False)
            whole = found.ndim == 2 and found.dtype == np.float32 and np.isfinite(found).all()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            whole = False
        with suppress(OSError):  # a folder that may only be read
            if whole:
                os.utime(path)  # so that `prune` sees what is in use
            else:
                path.unlink()
        return found if whole else None

    def keep(self, one: ImageFeatures) -> None:
        """Write the features of an image; a file that is there is replaced by its like."""
        content = BytesIO()
        np.save(content, one.features.astype(np.float32, copy=False), allow_pickle=False)
        path = self._path(one.protocol, one.pixels_sha256)
        files: dict[Path, bytes | memoryview] = {path: content.getbuffer()}
        if not (tag := self.folder / CACHE_TAG).exists():
            files[tag] = CACHE_TAG_TEXT
        write_results(files)

    def prune(self, budget_bytes: float) -> int:
        """Drop the files used longest ago until the rest fit; returns how many were dropped."""
        files = sorted(self._files(), key=lambda file: file.used)
        size = sum(file.num_bytes for file in files)
        dropped = 0
        for file in files:
            if size <= budget_bytes:
                break
            with suppress(OSError):
                file.path.unlink()
                dropped += 1
            size -= file.num_bytes
        return dropped

    def _files(self) -> "Iterator[_File]":
        for path in self.folder.glob("*/*/*.npy"):
            with suppress(OSError):  # gone since, by another run
                state = path.stat()
                yield _File(state.st_mtime, state.st_size, path)

    def _path(self, protocol: str, pixels_sha256: str) -> Path:
        folder = self.folder / protocol.replace("/", "_")
        return folder / pixels_sha256[:2] / f"{pixels_sha256}.npy"


class _File(NamedTuple):
    used: float
    num_bytes: int
    path: Path


def features_budget_bytes() -> float:
    """Return the limit on a dataset's features: `$BENCH_FEATURES_GIB`, or 20 GiB, in bytes."""
    text = os.environ.get(BUDGET_VARIABLE, "")
    try:
        gib = float(text) if text else BUDGET_GIB
    except ValueError:
        gib = -1.0
    if not 0 <= gib < float("inf"):
        raise UsageError(f"${BUDGET_VARIABLE} is {text!r}: set it to a number of GiB")
    return gib * 2**30
