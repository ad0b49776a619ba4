"""sha256 of files and pixels: remembered while a file is unchanged, recorded beside fetched ones.

Where authors publish no sha256 of a file, the first download is trusted and recorded;
`sha256sum --check NAME.sha256` reads the record.
"""

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.system.atomic import write_file
from benchmark.system.foreign_files import BadFile, open_regular
from benchmark.system.text import name_text, parsing

SHA256 = re.compile("[0-9a-f]{64}")  # in the digits of `hexdigest`
WRITTEN_TOGETHER = 256  # values, for one wait for the disk
PACKAGES = ("benchmark", "baselines")


@cache
def code_sha256() -> str:
    """Hash code and tables of this project: two machines with equal digests measure alike."""
    digest, root = hashlib.sha256(), Path(__file__).parents[2]
    every = (path for name in PACKAGES for path in (root / name).rglob("*"))
    for path in sorted(path for path in every if path.suffix in (".py", ".toml")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def pixels_sha256(pixels: Pixels) -> str:
    """Hash the height x width x 3 bytes, row by row: the identity of a source or reconstruction."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash a file's bytes; they are read again only if the file is not the same (`remembered`)."""

    def compute() -> str:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return str(remembered(path, "sha256", compute))


def files_sha256(paths: Iterable[Path]) -> str:
    """Hash the contents of several files, in the given order, without their names."""
    digests = [bytes.fromhex(file_sha256(path)) for path in paths]
    return hashlib.sha256(b"".join(digests)).hexdigest()


class FileMemory:
    """Json values computed from files, remembered while a file is unchanged; for several threads.

    A file is unchanged if its path, size, times, inode and device are. What changes meanwhile is
    not remembered, and what cannot be read or written in the memory is computed. New
    values are written together, since each writing waits for the disk: at the latest by `close`.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._new: dict[str, str] = {}
        self._database: sqlite3.Connection | None = None
        folder = cache_folder()
        with suppress(sqlite3.Error, OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "digests.sqlite"
            self._database = sqlite3.connect(path, timeout=10, check_same_thread=False)
            self._database.execute(
                "create table if not exists digest (key text primary key, value text)"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def value(self, path: Path, what: str, compute: Callable[[], Any]) -> Any:
        """Return `compute()`, or its last result for this unchanged file."""
        state = _state(path)
        key = f"{what} {name_text(os.path.realpath(path))} {state}"
        with self._lock:
            text = self._text(key)
        if text is not None:
            with suppress(BadFile), parsing("JSON"):
                return json.loads(text)
        value = compute()
        if _state(path) == state:
            with self._lock:
                self._new[key] = json.dumps(value)
                if len(self._new) >= WRITTEN_TOGETHER:
                    self._write()
        return value

    def close(self) -> None:
        """Write what is new, and close the file."""
        with self._lock:
            self._write()
            if self._database is not None:
                self._database.close()

    def _text(self, key: str) -> str | None:
        if self._database is None:
            return None
        try:
            query = "select value from digest where key = ?"
            row = self._database.execute(query, (key,)).fetchone()
        except sqlite3.Error:
            return None
        return str(row[0]) if row else None

    def _write(self) -> None:
        if self._new and self._database is not None:
            with suppress(sqlite3.Error), self._database:
                self._database.executemany(
                    "insert or replace into digest values (?, ?)", self._new.items()
                )
        self._new.clear()


def remembered(path: Path, what: str, compute: Callable[[], Any]) -> Any:
    """Return `compute()` (a json value), or its last result for this unchanged file."""
    with FileMemory() as memory:
        return memory.value(path, what, compute)


def _state(path: Path) -> str:
    at = path.stat()
    return f"{at.st_size} {at.st_mtime_ns} {at.st_ctime_ns} {at.st_ino} {at.st_dev}"


def cache_folder() -> Path:
    """Return `$XDG_CACHE_HOME/rdrbench`, or `~/.cache/rdrbench`; not created here."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "rdrbench"


def record_sha256(path: Path) -> str:
    """Write the record of a file, replacing an earlier record, and return its sha256."""
    digest = file_sha256(path)
    write_file(_record(path), f"{digest}  {path.name}\n")
    return digest


def recorded_sha256(path: Path) -> str:
    """Return the sha256 on record of a file, "" without a record; `Unavailable` if damaged."""
    record = _record(path)
    if not record.exists():
        return ""
    digest = record.read_text(errors="replace").partition(" ")[0]
    if not SHA256.fullmatch(digest):
        raise Unavailable(f"{record} holds no sha256: delete it")
    return digest


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
