"""Atomic writes of files: a draft, then a rename; locks; temporary folders; signals that wait.

A temporary folder has a locked file as long as its process uses it; `sweep` removes the folders
whose lock it gets, those of killed processes. Folders without such a file, or of another user, are
not touched; on Windows, none.
"""

import errno
import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import current_thread, main_thread
from types import FrameType
from typing import Self
from uuid import uuid4

from benchmark.errors import StoreError
from benchmark.system.foreign_files import open_regular
from benchmark.system.text import utf8

REMEDY = "what was stored before is kept, so mend that and run again"
ENDING = (signal.SIGINT, signal.SIGTERM)
MOST_WAITING_BYTES = 64 << 20
MOST_WAITING_FILES = 1000
SYNCHRONISED_AT_ONCE = 16  # a file system commits what waits together: six times as fast as singly


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write a file or folder to, which replaces `path` when the block ends.

    Missing parent folders are made. An exception in the block leaves `path` as it was, and no
    draft. A folder replaces an empty folder only.
    """
    draft = path.with_name(f".{uuid4().hex}.part")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        os.replace(draft, path)
    except BaseException:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)
        raise


def write_file(path: Path, content: str | bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file whole; `durable`: also after a loss of power. `OSError`, leaving no draft."""
    content = utf8(content) if isinstance(content, str) else content
    if durable:
        write_together({path: content})
    else:
        with replacing(path) as draft:
            draft.write_bytes(content)


def write_together(files: Mapping[Path, bytes | memoryview]) -> None:
    """Write files by path; none is there in part, even after a loss of power, all on return.

    The contents reach the disk before any of the names, and the names, with those of new folders,
    before this returns (fsync). Raises `OSError`; each file then has its old or its new content.
    """
    folders = folders_to_synchronise(files)
    drafts = []
    with ExitStack() as renamed_at_the_end:
        for path in reversed(list(files)):  # the last draft is renamed first
            drafts.append(renamed_at_the_end.enter_context(replacing(path)))
            drafts[-1].write_bytes(files[path])
        synchronise(drafts)
    synchronise(folders)


def folders_to_synchronise(paths: Iterable[Path]) -> set[Path]:
    """Return the folders of files still to write, and those of folders to make for them."""
    folders = {path.parent for path in paths}
    above = {parent for folder in folders for parent in (folder, *folder.parents)}
    return folders | {folder.parent for folder in above if not folder.exists()}


def synchronise(paths: Iterable[Path]) -> None:
    """Wait until the disk has files, or entries of folders where it can; raises `OSError`."""
    waiting = list(paths)
    if len(waiting) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with suppress(RuntimeError):  # for a limit of memory or processes there are no threads
            parts = [waiting[start::SYNCHRONISED_AT_ONCE] for start in range(SYNCHRONISED_AT_ONCE)]
            with ThreadPoolExecutor(SYNCHRONISED_AT_ONCE) as pool:
                list(pool.map(_synchronise, parts))
            return
    _synchronise(waiting)


def _synchronise(paths: Iterable[Path]) -> None:
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if not (error.errno in (errno.EINVAL, errno.ENOTSUP) and path.is_dir()):
                raise
        finally:
            os.close(handle)


def write_files(
    folder: Path, files: Mapping[str, str | bytes], gone: Iterable[str] = (), what: str = "report"
) -> None:
    """Write files by name into a folder, remove those in `gone`; `StoreError` names `what`."""
    try:
        for name, content in files.items():
            write_file(folder / name, content)
        for name in gone:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"the {what} in {folder} cannot be written: {error.strerror}") from error


def require_inside(folder: Path, *paths: Path) -> None:
    """Raise `StoreError` for a file that a link of folders leads out of the results it is of."""
    for parent in {path.parent for path in paths}:
        if not parent.resolve().is_relative_to(folder.resolve()):
            raise StoreError(
                f"{parent} leads out of {folder} by a link, and only there is written or removed: "
                "put a folder in the link's place"
            )


def write_results(files: Mapping[Path, bytes | memoryview], *, remedy: str = REMEDY) -> None:
    """Write files as `write_together` does. Raises `StoreError` with the reason and the remedy."""
    try:
        write_together(files)
    except OSError as error:
        where, reason = error.filename or next(iter(files)), error.strerror or error
        raise StoreError(f"{where} cannot be written: {reason}; {remedy}") from error


class WaitingFiles:
    """Files that are written together, since the disk takes as long for a file as for several.

    They are kept in memory until `write`, which is called here where they get too large or too
    many. As a context manager, it writes what is left unless an exception ends the block.
    """

    def __init__(self, remedy: str = REMEDY) -> None:
        self._remedy = remedy
        self._files: dict[Path, bytes | memoryview] = {}
        self._bytes = 0  # at most; some files may have come twice

    def add(self, files: Mapping[Path, bytes | memoryview]) -> None:
        """Take files by path; their contents must not change until they are written."""
        self._files |= files
        self._bytes += sum(map(len, files.values()))
        if self._bytes > MOST_WAITING_BYTES or len(self._files) > MOST_WAITING_FILES:
            self.write()

    def write(self) -> None:
        """Write what waits; it keeps waiting where that fails. Raises `StoreError`."""
        if self._files:
            write_results(self._files, remedy=self._remedy)
            self._files, self._bytes = {}, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.write()


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file or folder for this process alone, or together with others (`shared`).

    The lock ends with the process. Returns False where there are none: on Windows, on some network
    file systems. Raises `BlockingIOError` where another has it; a shared lock is waited for.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


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


@contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let a function take SIGINT and SIGTERM in the block."""
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def delayed() -> Iterator[None]:
    """Let SIGINT and SIGTERM, which reach the main thread alone, wait for the block's end."""
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []
    try:
        with handled(lambda number, _frame: came.append(number)):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)
