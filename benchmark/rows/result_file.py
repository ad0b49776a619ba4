"""Write files of a results folder, whole or not at all, as durably as the disk allows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from benchmark.errors import StoreError
from benchmark.system.atomic import write_together

REMEDY = "what was stored before is kept, so mend that and run again"
MOST_WAITING_BYTES = 64 << 20
MOST_WAITING_FILES = 1000


def write_result(path: Path, content: bytes | memoryview, *, remedy: str = REMEDY) -> None:
    """Write a file so that it is on the disk on return. Raises `StoreError` with the remedy."""
    write_results({path: content}, remedy=remedy)


def write_results(files: Mapping[Path, bytes | memoryview], *, remedy: str = REMEDY) -> None:
    """Write files as `write_together` does. Raises `StoreError` with the reason and the remedy."""
    try:
        write_together(files)
    except OSError as error:
        reason = error.strerror or error
        where = error.filename or next(iter(files))
        raise StoreError(f"{where} cannot be written: {reason}; {remedy}") from error


class WaitingFiles:
    """Files that are written together, since the disk takes as long for one as for several.

    They are kept in memory until `write`, which is called here where they get too large or too
    many. As a context manager, it writes what is left unless an exception ends the block.
    """

    def __init__(self, remedy: str = REMEDY) -> None:
        self._remedy = remedy
        self._files: dict[Path, bytes | memoryview] = {}
        self._num_bytes = 0

    def add(self, files: Mapping[Path, bytes | memoryview]) -> None:
        """Take files by path; their contents must not change until they are written."""
        self._files |= files
        self._num_bytes += sum(map(len, files.values()))
        if self._num_bytes > MOST_WAITING_BYTES or len(self._files) > MOST_WAITING_FILES:
            self.write()

    def write(self) -> None:
        """Write what waits; it keeps waiting where that fails. Raises `StoreError`."""
        if self._files:
            write_results(self._files, remedy=self._remedy)
            self._files, self._num_bytes = {}, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, at: object) -> None:
        if kind is None:
            self.write()
