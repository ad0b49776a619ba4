"""Streams of a dataset on disk, named by their sha256; damaged files that are set aside."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmark.errors import StoreError
from benchmark.system.atomic import WaitingFiles, require_inside
from benchmark.system.digest import SHA256
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular

DAMAGED = "damaged"  # folder of a dataset for files that were set aside


def set_aside(path: Path, store_folder: Path) -> Path:
    """Move a damaged file to its dataset's folder for such; `OSError`, `StoreError` for a link."""
    there = store_folder / DAMAGED / path.name
    require_inside(store_folder, path, there)
    there.parent.mkdir(exist_ok=True)
    os.replace(path, there)
    return there


class StreamFolder:
    """The kept streams of one dataset, below `results/<dataset>`."""

    folder: Path

    def streams(self) -> Iterator[Path]:
        """Iterate over the files of kept streams, without reading them."""
        return (path for path in self.folder.glob("streams/??/*") if path.name[0] != ".")

    def keep(self, *streams: bytes) -> str:
        """Keep streams under their sha256, and return that of the last one."""
        digest = ""
        with WaitingFiles() as waiting:
            for stream in streams:
                digest = hashlib.sha256(stream).hexdigest()
                waiting.add(self.stream_files({digest: stream}))
        return digest

    def stream_files(self, streams: Mapping[str, bytes]) -> dict[Path, bytes]:
        """Return the files to write so that streams, by sha256, are kept; damaged ones anew."""
        files = {self._path(digest): stream for digest, stream in streams.items()}
        require_inside(self.folder, *files)
        return {path: stream for path, stream in files.items() if not has_content(path, stream)}

    def stream(self, digest: str | None) -> bytes | None:
        """Return a kept stream, or None without one; raise `StoreError` if it has changed."""
        if not digest or not (path := self._path(digest)).exists():
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

    def has_stream(self, digest: str | None, num_bytes: int | None = None) -> bool:
        """Return whether a stream was kept, and has `num_bytes` if that is given; reads nothing."""
        if digest is None or not SHA256.fullmatch(digest):
            return False
        try:
            status = self._path(digest).stat()
        except OSError:
            return False
        return num_bytes is None or status.st_size == num_bytes

    def set_stream_aside(self, digest: str) -> Path:
        """Move a damaged stream away, so that its cells are to do; return its new path."""
        return set_aside(self._path(digest), self.folder)

    def _path(self, digest: str) -> Path:
        if not SHA256.fullmatch(digest):  # in rows of a stranger it may be a path to elsewhere
            raise StoreError(f"{self.folder} has a row whose stream is called {digest!r}")
        return self.folder / "streams" / digest[:2] / digest


def has_content(path: Path, content: bytes) -> bool:
    """Return whether a file has this content."""
    try:
        return path.stat().st_size == len(content) and (
            read_regular(path, LARGEST_FILE_BYTES) == content
        )
    except OSError:
        return False
