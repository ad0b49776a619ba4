"""Atomic writes of files (a draft, then a rename), locks, temporary folders, delayed signals.

A temporary folder has a file that is locked while a process uses the folder. `sweep` removes the
folders of killed processes, which no longer hold the lock, but no folders without such a file or of
other users. It does nothing on Windows.
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

REMEDY = "earlier results are kept; correct this, then run again"
END_SIGNALS = (signal.SIGINT, signal.SIGTERM)
MAX_WAITING_BYTES = 64 << 20
MAX_WAITING_FILES = 1000
SYNC_THREADS = 16  # six times as fast, since file systems commit concurrent requests together


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a draft path for a file or folder that replaces `path` when the block ends.

    Creates missing parent folders. An exception in the block leaves `path` as it was, and no draft.
    A folder replaces only an empty folder.
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
    """Write a file completely or not at all; `durable`: even if power is lost. Raises `OSError`."""
    content = utf8(content) if isinstance(content, str) else content
    if durable:
        write_together({path: content})
    else:
        with replacing(path) as draft:
            draft.write_bytes(content)


def write_together(files: Mapping[Path, bytes | memoryview]) -> None:
    """Write files by path, each completely or not at all, even if power is lost.

    All contents reach the disk before any name; names and new folders are on disk when the function
    returns (fsync). Raises `OSError`; each file then has either its old or its new content.
    """
    folders = find_changed_folders(files)
    drafts = []
    with ExitStack() as renames:
        for path in reversed(list(files)):  # the last draft is renamed first
            drafts.append(renames.enter_context(replacing(path)))
            drafts[-1].write_bytes(files[path])
        synchronise(drafts)
    synchronise(folders)


def find_changed_folders(paths: Iterable[Path]) -> set[Path]:
    """Return the folders whose entries change when these files are written."""
    folders = {path.parent for path in paths}
    ancestors = {parent for folder in folders for parent in (folder, *folder.parents)}
    return folders | {folder.parent for folder in ancestors if not folder.exists()}


def synchronise(paths: Iterable[Path]) -> None:
    """Wait until files, and entries of folders if supported, are on disk; raises `OSError`."""
    remaining_paths = list(paths)
    if len(remaining_paths) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with suppress(RuntimeError):  # limits of memory or processes may forbid threads
            shares = [remaining_paths[start::SYNC_THREADS] for start in range(SYNC_THREADS)]
            with ThreadPoolExecutor(SYNC_THREADS) as pool:
                list(pool.map(_sync_paths, shares))
            return
    _sync_paths(remaining_paths)


def _sync_paths(paths: Iterable[Path]) -> None:
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
    folder: Path,
    files: Mapping[str, str | bytes],
    removed_names: Iterable[str] = (),
    what: str = "report",
) -> None:
    """Write files by name into a folder, and remove others. what: their noun in errors."""
    try:
        for name, content in files.items():
            write_file(folder / name, content)
        for name in removed_names:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"the {what} in {folder} cannot be written: {error.strerror}") from error


def require_inside(folder: Path, *paths: Path) -> None:
    """Raise `StoreError` if a link leads one of these paths out of `folder`."""
    for parent in {path.parent for path in paths}:
        if not parent.resolve().is_relative_to(folder.resolve()):
            raise StoreError(
                f"{parent} leads out of {folder} by a link, but files are written and removed only "
                "inside it: replace the link with a folder"
            )


def write_results(files: Mapping[Path, bytes | memoryview], *, remedy: str = REMEDY) -> None:
    """Write files like `write_together`; `StoreError` with the reason and the remedy."""
    try:
        write_together(files)
    except OSError as error:
        path, reason = error.filename or next(iter(files)), error.strerror or error
        raise StoreError(f"{path} cannot be written: {reason}; {remedy}") from error


class WaitingFiles:
    """Files in memory that are written together, which takes as long as writing one file.

    They are written if they are too many or too large, and when a `with` block ends normally.
    """

    def __init__(self, remedy: str = REMEDY) -> None:
        self._remedy = remedy
        self._files: dict[Path, bytes | memoryview] = {}
        self._bytes = 0  # an upper bound, since `add` may have replaced files

    def add(self, files: Mapping[Path, bytes | memoryview]) -> None:
        """Add files by path; their contents must not change until they are written."""
        self._files |= files
        self._bytes += sum(map(len, files.values()))
        if self._bytes > MAX_WAITING_BYTES or len(self._files) > MAX_WAITING_FILES:
            self.write()

    def write(self) -> None:
        """Write the waiting files; raise `StoreError` and keep them if that fails."""
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

    The lock ends with the process. Returns False if locks are not supported: on Windows and some
    network file systems. Raises `BlockingIOError` if another process has the lock, but waits for a
    shared lock.
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
# Folders of multiprocessing begin with "pymp-"; `claim_folder` has locked those of this program.
SWEPT_PREFIXES = (PREFIX, "pymp-")


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a temporary folder, which is removed afterwards, or by a later `sweep`."""
    with TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        descriptor = _create_locked(Path(name) / LOCK)
        try:
            yield Path(name)
        finally:
            os.close(descriptor)


def sweep() -> None:
    """Remove temporary folders of dead processes."""
    if sys.platform == "win32":
        return
    root = Path(tempfile.gettempdir())
    for folder in [path for prefix in SWEPT_PREFIXES for path in root.glob(f"{prefix}*")]:
        with suppress(OSError):  # the folder has no lock file, or its process is alive
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
                with open_regular(folder / LOCK, within=folder) as file:
                    if lock(file.fileno()):
                        shutil.rmtree(folder, ignore_errors=True)


@cache
def claim_folder(folder: Path) -> None:
    """Lock a folder until this process ends, so that a later `sweep` can remove it."""
    with suppress(OSError):
        _create_locked(folder / LOCK)


def _create_locked(path: Path) -> int:
    """Create a file, lock it, then give it its name; return the descriptor."""
    if sys.platform == "win32":  # open files cannot be renamed there
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    draft = path.with_name(f"{path.name}.part")
    descriptor = os.open(draft, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    with ExitStack() as cleanup:
        cleanup.callback(os.close, descriptor)
        lock(descriptor)
        draft.rename(path)
        cleanup.pop_all()
    return descriptor


@contextmanager
def handle_signals(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle SIGINT and SIGTERM with `handler` in the block."""
    previous_handlers = {number: signal.signal(number, handler) for number in END_SIGNALS}
    try:
        yield
    finally:
        for number, previous_handler in previous_handlers.items():
            signal.signal(number, previous_handler)


@contextmanager
def delay_signals() -> Iterator[None]:
    """In the main thread, which gets signals, delay SIGINT and SIGTERM until the block ends."""
    if current_thread() is not main_thread():
        yield
        return
    received_signals: list[int] = []
    try:
        with handle_signals(lambda number, _frame: received_signals.append(number)):
            yield
    finally:
        for number in received_signals[:1]:
            signal.raise_signal(number)
