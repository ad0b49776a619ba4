"""Atomic writes of files: a draft beside the target, then one rename."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from uuid import uuid4

from benchmark.errors import StoreError


def write_file(path: Path, content: str | bytes | memoryview, *, durable: bool = False) -> None:
    """Write a file so that readers see either its earlier content or all of the new one.

    Missing parent folders are made; text is written as UTF-8. With `durable`, the content reaches
    the disk before the name does (fsync). Raises `OSError`, leaving no draft and the earlier file.
    """
    draft = path.with_name(f".{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


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
