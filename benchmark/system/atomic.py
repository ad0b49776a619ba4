"""Atomic writes of files: a draft beside the target, then one rename."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from benchmark.errors import StoreError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write a file or folder to, which replaces `path` when the block ends.

    Missing parent folders are made. An exception in the block leaves `path` as it was, and no
    draft. A folder replaces an empty folder only.
    """
    draft = path.with_name(f".{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        os.replace(draft, path)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file so that readers see either its earlier content or all of the new one.

    Missing parent folders are made; text is written as UTF-8. With `durable`, the content reaches
    the disk before the name does (fsync). Raises `OSError`, leaving no draft and the earlier file.
    """
    with replacing(path) as draft, draft.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def write_files(
    folder: Path, files: Mapping[str, str | bytes], gone: Iterable[str] = (), what: str = "report"
) -> None:
    """Write files by name into a folder, then remove those in `gone` that an earlier call left.

    `what` names the files in messages. Raises `StoreError` where the folder cannot be written.
    """
    try:
        for name, content in files.items():
            write_file(folder / name, content)
        for name in gone:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"the {what} in {folder} cannot be written: {error.strerror}") from error
