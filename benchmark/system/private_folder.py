"""Temporary folders for one call, and the removal of those whose process was killed.

A folder has a locked file (flock) as long as its process uses it. The kernel releases the lock when
the process ends, however it ends; `sweep` removes the folders whose lock it gets. Folders without
such a file, or of another user, are not touched.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

PREFIX = "rdrbench-"
LOCK = ".rdrbench.lock"
# The second are folders of multiprocessing, where `mark_as_own` has put a locked file.
SWEPT_PREFIXES = (PREFIX, "pymp-")


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a temporary folder for one call; it is removed afterwards, or by a later `sweep`."""
    with TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        held = _locked(Path(name) / LOCK)
        try:
            yield Path(name)
        finally:
            os.close(held)


def sweep() -> None:
    """Remove folders whose owner is dead."""
    place = Path(tempfile.gettempdir())
    for folder in [path for prefix in SWEPT_PREFIXES for path in place.glob(f"{prefix}*")]:
        with suppress(OSError):  # it has no such file, or its owner lives
            about = folder.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid():
                _remove_if_dead(folder)


def _remove_if_dead(folder: Path) -> None:
    descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


@cache
def mark_as_own(folder: Path) -> None:
    """Lock a folder until this process ends, so that a later `sweep` removes it if it is left."""
    with suppress(OSError):
        _locked(folder / LOCK)


def _locked(path: Path) -> int:
    """Make a file that is locked from the moment it has its name."""
    draft = path.with_name(f"{path.name}.part")
    descriptor = os.open(draft, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        draft.rename(path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
