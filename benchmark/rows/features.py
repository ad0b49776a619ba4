"""Feature vectors of images, and distribution metrics reduced from them, on disk.

    results/<dataset>/features/<space protocol>/ab/abcd....npy   float32 (patches, dimensions)
                     /sets/<sha256>.parquet    values and each image's influence, written once
                          /shipped*            those bundled with the project

Features are named by the image's pixels, and can be made again by decoding. A reduction's key names
the metric's protocol and the pixels of every pair of the set. Equal names are equal contents.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from benchmark.errors import DamagedResults, StoreError, UsageError
from benchmark.metrics.distribution_metric import Features, Reduced
from benchmark.rows.shard import SHIPPED, BadShard, read_parquet, write_shard
from benchmark.system.atomic import require_inside, write_results
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

BUDGET_VARIABLE = "BENCH_FEATURES_GIB"
BUDGET_GIB = 20.0  # CLIC2020 at one setting of one codec is .24 GB with 2048 dimensions
CACHE_TAG = "CACHEDIR.TAG"
# Backup programs know it: https://bford.info/cachedir
CACHE_TAG_TEXT = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made again by `bench rescore`.\n"
SCHEMA = pa.schema(
    {
        **dict.fromkeys(("key", "column", "protocol"), pa.string()),
        "value": pa.float64(),
        "influence": pa.list_(pa.float64()),
    }
)
MOST_SHARDS = 16  # of reductions; beyond it they are put together


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


class Pair(NamedTuple):
    """A source and its decoded image, by the sha256 of their pixels."""

    source: str
    decoded: str


class Reduction(NamedTuple):
    """A distribution metric with its inputs; influences are ordered as the sorted pairs."""

    key: str
    column: str
    protocol: str
    reduced: Reduced


def reduction_key(protocol: str, pairs: Iterable[Pair]) -> str:
    """Return a sha256 of the protocol and the pairs, equal for the same pairs in any order."""
    return hashlib.sha256(json.dumps([protocol, sorted(pairs)]).encode()).hexdigest()


class Reductions:
    """Reduced distribution metrics of a dataset, in `results/<dataset>/sets`."""

    def __init__(self, store_folder: Path) -> None:
        self._store_folder, self.folder = store_folder, store_folder / "sets"
        self._shards: list[Path] = []  # that were read and are not bundled
        self._known: dict[str, Reduction] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            reductions = _read(path)
            self._known |= {reduction.key: reduction for reduction in reductions or ()}
            if reductions is not None and not path.name.startswith(SHIPPED):
                self._shards.append(path)

    def get(self, key: str) -> Reduced | None:
        """Return the value that was reduced under a key, or None."""
        known = self._known.get(key)
        return known.reduced if known else None

    def add(self, new: Sequence[Reduction]) -> None:
        """Keep them; a folder that cannot be written costs only the time to reduce again."""
        if not new:
            return
        self._known |= {reduction.key: reduction for reduction in new}
        together = len(self._shards) >= MOST_SHARDS
        with suppress(StoreError):
            require_inside(self._store_folder, self.folder / "any")
            path = write_shard(self.folder, _table(self._known.values() if together else new))
            for old in {*self._shards} - {path} if together else ():
                old.unlink(missing_ok=True)
            self._shards = [path] if together else [*self._shards, path]

    def lacking_in(self, other: "Reductions") -> list[Reduction]:
        """Return the reductions that the other folder does not have."""
        return [self._known[key] for key in self._known if key not in other._known]

    def ship(self, name: str, others: "Reductions") -> Path:
        """Write the reductions of another folder as bundled ones, replacing earlier ones."""
        reductions = [others._known[key] for key in sorted(others._known)]
        return write_shard(self.folder, _table(reductions), name)


def _table(reductions: Iterable[Reduction]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                **each._asdict(),
                "value": each.reduced.value,
                "influence": each.reduced.influence,
            }
            for each in reductions
        ],
        SCHEMA,
    )


def _read(path: Path) -> list[Reduction] | None:
    """Return the reductions of a file; None, with a warning, where it is damaged."""
    try:
        table = read_parquet(path, None)
        if not table.schema.equals(SCHEMA):
            raise BadShard("its columns are not those of reduced metrics")
    except BadShard as bad:
        remedy = "its metrics are reduced again; remove it"
        warnings.warn(DamagedResults(f"{path} is left out: {bad}; {remedy}", path), stacklevel=2)
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error}; remove it") from error
    return [
        Reduction(key, column, protocol, Reduced(value, None if i is None else np.array(i)))
        for key, column, protocol, value, i in (row.values() for row in table.to_pylist())
    ]
