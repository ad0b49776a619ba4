"""Streams of a dataset on disk, each under its sha256; and the cells whose stream was lost.

results/<dataset>/streams/ab/abcd...    the bytes
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from benchmark.errors import StoreError
from benchmark.rows.files.shard import set_aside
from benchmark.system.digest import SHA256
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

if TYPE_CHECKING:
    from benchmark.rows.store import Store


class StreamFolder:
    """The kept streams of one dataset, below `results/<dataset>`."""

    def __init__(self, store_folder: Path) -> None:
        self._store = store_folder

    def __iter__(self) -> Iterator[Path]:
        """Iterate over the files of kept streams, without reading them."""
        return (path for path in self._store.glob("streams/??/*") if path.name[0] != ".")

    def path(self, digest: str) -> Path:
        """Return where a stream is or would be; raises `StoreError` if `digest` is no sha256."""
        if not SHA256.fullmatch(digest):  # in rows of a stranger it may be a path to elsewhere
            raise StoreError(f"{self._store} has a row whose stream is called {digest!r}")
        return self._store / "streams" / digest[:2] / digest

    def read(self, digest: str) -> bytes | None:
        """Return a kept stream, or None without one.

        Raises `StoreError` if it has changed, or is no file of at most 1 GiB.
        """
        path = self.path(digest)
        if not path.exists():
            return None
        try:
            data = read_regular(path, LARGEST_FILE_BYTES)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}; remove it") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise StoreError(
                f"{path} is damaged: its bytes do not match its name; without it, "
                "`bench run` makes it again"
            )
        return data

    def has(self, digest: str | None, num_bytes: int | None = None) -> bool:
        """Return whether a stream was kept, and has `num_bytes` if that is given; reads nothing."""
        if digest is None or not SHA256.fullmatch(digest):
            return False
        try:
            status = self.path(digest).stat()
        except OSError:
            return False
        return num_bytes is None or status.st_size == num_bytes

    def files(self, streams: Mapping[str, bytes]) -> dict[Path, bytes]:
        """Return the files to write so that streams, by their sha256, are kept.

        A file that is there is among them if it is damaged.
        """
        files = {self.path(digest): stream for digest, stream in streams.items()}
        return {path: stream for path, stream in files.items() if not _holds(path, stream)}

    def set_aside(self, digest: str) -> Path:
        """Move a damaged stream away, so that its cells are to do; return its new path.

        Raises `OSError` where the folder cannot be written.
        """
        return set_aside(self.path(digest), self._store)


def cells_without_stream(store: "Store", own: pa.Table, cells: Collection[str]) -> set[str]:
    """Return the cells of which every row has lost its stream: it is missing, or of another size.

    own: rows without failure, with the columns of `Stored.own`. A row has lost nothing if its run
    kept no streams (`bench run --no-keep`), or if its size was declared by a list. Contents are not
    read: `bench doctor` does that.
    """
    chosen = own.filter(pc.is_in(own["cell"], value_set=pa.array(cells, pa.string())))
    names = ("cell", "run", "stream_sha256", "num_bytes")
    whole: set[str] = set()
    lost: dict[str, set[str]] = {}
    for cell, run, digest, num_bytes in zip(*(chosen[n].to_pylist() for n in names), strict=True):
        if digest is None or store.has_stream(digest, num_bytes):
            whole.add(cell)
        else:
            lost.setdefault(cell, set()).add(run or "")
    runs = set().union(*(of_cell for cell, of_cell in lost.items() if cell not in whole))
    without = {run for run in runs if not store.keeps_streams(run)}
    return {cell for cell, of_cell in lost.items() if cell not in whole and not of_cell & without}


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
