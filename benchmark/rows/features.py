"""Feature vectors of images on disk, named by their pixels; decoding can make them again.

results/<dataset>/features/<space protocol>/ab/abcd....npy   float32 (patches, dimensions)
"""

import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.errors import StoreError, UsageError
from benchmark.metrics.metric import Features
from benchmark.system.atomic import require_inside, write_results
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

BUDGET_VARIABLE = "BENCH_FEATURES_GIB"
BUDGET_GIB = 20.0  # CLIC2020 at one setting of one codec is .24 GB with 2048 dimensions
CACHE_TAG = "CACHEDIR.TAG"
# Backup programs know it: https://bford.info/cachedir
CACHE_TAG_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made again by `bench rescore`.\n"


class ImageFeatures(NamedTuple):
    """The features of one image's patches."""

    protocol: str  # of the feature space
    pixels_sha256: str
    features: Features


class FeatureFolder:
    """The features of one dataset, below `results/<dataset>/features`."""

    def __init__(self, store_folder: Path) -> None:
        self._store_folder, self.folder = store_folder, store_folder / "features"

    def has(self, protocol: str, pixels_sha256: str) -> bool:
        """Return whether there is a file of features, without reading it."""
        return self._path(protocol, pixels_sha256).exists()

    def read(self, protocol: str, pixels_sha256: str) -> Features | None:
        """Return the features of an image; None without any. A damaged file is removed."""
        path = self._path(protocol, pixels_sha256)
        try:
            features = np.load(BytesIO(read_regular(path, LARGEST_FILE_BYTES)), allow_pickle=False)
            whole = features.ndim == 2 and features.dtype == np.float32
            whole = whole and np.isfinite(features).all()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            whole = False
        with suppress(OSError, StoreError):  # a folder that may only be read, or a link
            require_inside(self._store_folder, path)
            if whole:
                os.utime(path)  # so that `prune` sees what is in use
            else:
                path.unlink()
        return features if whole else None

    def keep(self, image: ImageFeatures) -> None:
        """Write the features of an image; an existing file is replaced by its like."""
        content = BytesIO()
        np.save(content, np.asarray(image.features, np.float32))
        path, tag = self._path(image.protocol, image.pixels_sha256), self.folder / CACHE_TAG
        require_inside(self._store_folder, path)
        write_results(
            {path: content.getbuffer(), **({} if tag.exists() else {tag: CACHE_TAG_TEXT})}
        )

    def prune(self, budget_bytes: float) -> int:
        """Drop the files used longest ago until the rest fit; return how many were dropped."""
        files = []
        for path in self.folder.glob("*/*/*.npy"):
            with suppress(OSError, StoreError):  # gone since, by another run, or behind a link
                require_inside(self._store_folder, path)
                state = path.stat()
                files.append((state.st_mtime, state.st_size, path))
        size = sum(num_bytes for _, num_bytes, _ in files)
        dropped = 0
        for _, num_bytes, path in sorted(files):
            if size <= budget_bytes:
                break
            with suppress(OSError):
                path.unlink()
                dropped += 1
            size -= num_bytes
        return dropped

    def _path(self, protocol: str, pixels_sha256: str) -> Path:
        folder = self.folder / protocol.replace("/", "_")
        return folder / pixels_sha256[:2] / f"{pixels_sha256}.npy"


def features_budget_bytes() -> float:
    """Return the limit on a dataset's features: `$BENCH_FEATURES_GIB`, or 20 GiB, in bytes."""
    text = os.environ.get(BUDGET_VARIABLE) or str(BUDGET_GIB)
    try:
        gib = float(text)
    except ValueError:
        gib = float("nan")
    if not 0 <= gib < float("inf"):
        raise UsageError(f"${BUDGET_VARIABLE} is {text!r}: set it to a number of GiB")
    return gib * 2**30
