"""Temporary folders for a call, and the removal of those whose process was killed.

A folder has a locked file as long as its process uses it; `sweep` removes the folders whose
lock it gets. Folders without such a file, or of another user, are not touched; on Windows, none.
"""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmark.system.atomic import lock
from benchmark.system.foreign_files import open_regular

PREFIX = "rdrbench-"
LOCK = ".rdrbench.lock"
# The second are folders of multiprocessing, where `mark_as_own` has put a locked file.
SWEPT_PREFIXES = (PREFIX, "pymp-")


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a temporary folder for a call; it is removed afterwards, or by a later `sweep`."""
    with TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        descriptor = _locked(Path(name) / LOCK)
        try:
            yield Path(name)
        finally:
            os.close(descriptor)


def sweep() -> None:
    """Remove folders whose owner is dead."""
    if sys.platform == "win32":
        return
    place = Path(tempfile.gettempdir())
    for folder in [path for prefix in SWEPT_PREFIXES for path in place.glob(f"{prefix}*")]:
        with suppress(OSError):  # it has no such file, or its owner lives
            about = folder.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid():
                with open_regular(folder / LOCK, within=folder) as file:
                    if lock(file.fileno()):
                        shutil.rmtree(folder, ignore_errors=True)


@cache
def mark_as_own(folder: Path) -> None:
    """Lock a folder until this process ends, so that a later `sweep` removes it if it is left."""
    with suppress(OSError):
        _locked(folder / LOCK)


def _locked(path: Path) -> int:
    """Make a file that is locked from the moment it has its name."""
    if sys.platform == "win32":  # which renames no open file
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    draft = path.with_name(f"{path.name}.part")
    descriptor = os.open(draft, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    with ExitStack() as failed:
        failed.callback(os.close, descriptor)
        lock(descriptor)
        draft.rename(path)
        failed.pop_all()
    return descriptor
