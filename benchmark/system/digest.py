"""sha256 of files and pixels: cached until a file changes, and recorded next to fetched files.

If no sha256 is published, the first download is trusted; `sha256sum --check` reads the records.
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

SHA256 = re.compile("[0-9a-f]{64}")
WRITE_BATCH = 256  # number of values that are written together, since a write waits for the disk
PACKAGES = ("benchmark", "baselines")


@cache
def code_sha256() -> str:
    """Hash this project's code and tables; machines with equal hashes measure equal values."""
    digest, root = hashlib.sha256(), Path(__file__).parents[2]
    files = (path for name in PACKAGES for path in (root / name).rglob("*"))
    for path in sorted(path for path in files if path.suffix in (".py", ".toml")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def pixels_sha256(pixels: Pixels) -> str:
    """Hash height x width x 3 bytes, row by row; this identifies a source or reconstruction."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash a file's bytes, which are read again only if the file changed (see `cached_value`)."""

    def compute() -> str:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return str(cached_value(path, "sha256", compute))


def files_sha256(paths: Iterable[Path]) -> str:
    """Hash the contents of files, in the given order, without their names."""
    digests = [bytes.fromhex(file_sha256(path)) for path in paths]
    return hashlib.sha256(b"".join(digests)).hexdigest()


class FileMemory:
    """Thread-safe cache of JSON values computed from files, valid while a file is unchanged.

    A file is unchanged if path, size, times, inode and device are. No value is stored if the file
    changes during `compute`. New values are written in batches, the last of them by `close`.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._new_values: dict[str, str] = {}
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

    def __exit__(self, *error_details: object) -> None:
        self.close()

    def value(self, path: Path, quantity: str, compute: Callable[[], Any]) -> Any:
        """Return `compute()`, or its stored result for this quantity if the file is unchanged."""
        state = file_state(path)
        key = f"{quantity} {name_text(os.path.realpath(path))} {state}"
        with self._lock:
            text = self._stored_text(key)
        if text is not None:
            with suppress(BadFile), parsing("JSON"):
                return json.loads(text)
        value = compute()
        if file_state(path) == state:
            with self._lock:
                self._new_values[key] = json.dumps(value)
                if len(self._new_values) >= WRITE_BATCH:
                    self._write()
        return value

    def close(self) -> None:
        """Write new values, and close the database."""
        with self._lock:
            self._write()
            if self._database is not None:
                self._database.close()

    def _stored_text(self, key: str) -> str | None:
        if self._database is None:
            return None
        try:
            query = "select value from digest where key = ?"
            row = self._database.execute(query, (key,)).fetchone()
        except sqlite3.Error:
            return None
        return str(row[0]) if row else None

    def _write(self) -> None:
        if self._new_values and self._database is not None:
            with suppress(sqlite3.Error), self._database:
                self._database.executemany(
                    "insert or replace into digest values (?, ?)", self._new_values.items()
                )
        self._new_values.clear()


def cached_value(path: Path, quantity: str, compute: Callable[[], Any]) -> Any:
    """Return `compute()` (a JSON value), or its stored result for the unchanged file."""
    with FileMemory() as memory:
        return memory.value(path, quantity, compute)


def file_state(path: Path) -> str:
    """Return a text that changes with a file: its size, times, inode and device."""
    file = path.stat()
    return f"{file.st_size} {file.st_mtime_ns} {file.st_ctime_ns} {file.st_ino} {file.st_dev}"


def cache_folder() -> Path:
    """Return `$XDG_CACHE_HOME/rdrbench`, or `~/.cache/rdrbench`, without creating it."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "rdrbench"


def record_sha256(path: Path) -> str:
    """Record a file's sha256, replacing an earlier record, and return it."""
    digest = file_sha256(path)
    write_file(_record_path(path), f"{digest}  {path.name}\n")
    return digest


def recorded_sha256(path: Path) -> str:
    """Return a file's recorded sha256, "" if there is no record; `Unavailable` if damaged."""
    record = _record_path(path)
    if not record.exists():
        return ""
    digest = record.read_text(errors="replace").partition(" ")[0]
    if not SHA256.fullmatch(digest):
        raise Unavailable(f"{record} does not contain a sha256: delete it")
    return digest


def _record_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
