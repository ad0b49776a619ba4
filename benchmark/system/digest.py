"""sha256 of files and pixels, remembered as long as the file is the same and unchanged."""

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.codec import Pixels
from benchmark.system.cache import cache_folder
from benchmark.system.foreign.regular_file import open_regular

SHA256 = re.compile("[0-9a-f]{64}")  # in the digits of `hexdigest`


def pixels_sha256(pixels: Pixels) -> str:
    """Hash the height x width x 3 bytes, row by row: the identity of a source or reconstruction."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash a file's bytes; they are read again only if the file is not the same (`remembered`)."""
    return str(remembered(path, "sha256", lambda: _hash_file(path)))


def files_sha256(paths: Iterable[Path]) -> str:
    """Hash the contents of several files, in the given order, without their names."""
    together = hashlib.sha256()
    for path in paths:
        together.update(bytes.fromhex(file_sha256(path)))
    return together.hexdigest()


def remembered(path: Path, what: str, compute: Callable[[], Any]) -> Any:
    """Return `compute()` (a json value), or its last result for this unchanged file.

    A file is unchanged if its path, size, times of change of content and of inode, inode and device
    are. The time of the inode cannot be set back, so that a copy with the size and time of another
    file is looked at. What changes while it is looked at is not remembered. The memory is optional:
    if it cannot be read or written, everything is computed.
    """
    state = _state(path)
    place = os.fsencode(os.path.realpath(path)).decode(errors="backslashreplace")  # may be no UTF-8
    key = f"{what} {place} {state}"
    try:
        with closing(_memory()) as memory:
            row = memory.execute("select value from digest where key = ?", (key,)).fetchone()
            if row is not None:
                return json.loads(row[0])
            value = compute()
            if _state(path) == state:
                with memory:
                    memory.execute(
                        "insert or replace into digest values (?, ?)", (key, json.dumps(value))
                    )
            return value
    except (sqlite3.Error, OSError):
        return compute()


def _state(path: Path) -> str:
    status = path.stat()
    return (
        f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} "
        f"{status.st_ino} {status.st_dev}"
    )


def _memory() -> sqlite3.Connection:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    memory = sqlite3.connect(folder / "digests.sqlite", timeout=10)
    memory.execute("create table if not exists digest (key text primary key, value text)")
    return memory


def _hash_file(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
