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
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.codec import Pixels
from benchmark.errors import Unavailable
from benchmark.system.atomic import write_file
from benchmark.system.foreign_files import open_regular

SHA256 = re.compile("[0-9a-f]{64}")  # in the digits of `hexdigest`


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


def remembered(path: Path, what: str, compute: Callable[[], Any]) -> Any:
    """Return `compute()` (a json value), or its last result for this unchanged file.

    A file is unchanged if its path, size, times, inode and device are. What changes meanwhile is
    not remembered, and where the memory cannot be read or written, everything is computed.
    """
    state = _state(path)
    place = os.fsencode(os.path.realpath(path)).decode(errors="backslashreplace")  # may be no UTF-8
    key = f"{what} {place} {state}"
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(folder / "digests.sqlite", timeout=10)) as memory:
            memory.execute("create table if not exists digest (key text primary key, value text)")
            row = memory.execute("select value from digest where key = ?", (key,)).fetchone()
            if row is not None:
                return json.loads(row[0])
            value = compute()
            if _state(path) == state:
                with memory:
                    row = key, json.dumps(value)
                    memory.execute("insert or replace into digest values (?, ?)", row)
            return value
    except (sqlite3.Error, OSError):
        return compute()


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


def require_recorded(path: Path, remedy: str) -> None:
    """Raise `Unavailable`, ending with `remedy`, for a file that is another than on record."""
    recorded = recorded_sha256(path)
    if recorded and (actual := file_sha256(path)) != recorded:
        raise Unavailable(
            f"{path} is not the file that was fetched: its sha256 begins with {actual[:8]}, and "
            f"{_record(path).name} has {recorded[:8]}; {remedy}"
        )


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
