"""Files of a report by name in; on disk, each whole or not at all."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmark.errors import StoreError


def write_whole(
    folder: Path, files: Mapping[str, str | bytes], gone: Iterable[str] = (), what: str = "report"
) -> None:
    """Write the files, then remove those that are `gone`: of an earlier call, and not of this one.

    Raises `StoreError` where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            draft = folder / f".{name}.{os.getpid()}.part"
            try:
                draft.write_bytes(content.encode() if isinstance(content, str) else content)
                os.replace(draft, folder / name)
            finally:
                draft.unlink(missing_ok=True)
        for name in gone:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"the {what} in {folder} cannot be written: {error.strerror}") from error
