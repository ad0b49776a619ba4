"""Files bundled with the project, in a checkout and in a wheel: rows, packs, published points."""

import os
import shutil
from pathlib import Path

from benchmark.errors import StoreError

LINK = Path(__file__).parents[1] / "bundled"  # in a checkout to results/, in a wheel a folder
BUNDLED = LINK.resolve()
READ_IN_PLACE = ("packs", "published")


def begin_with_bundled(results: Path) -> None:
    """Put bundled rows into an installed project's `results`, unless it is there. `StoreError`."""
    if LINK.is_symlink() or not BUNDLED.exists() or results != Path("results") or results.exists():
        return
    try:
        part = Path(f"results.{os.getpid()}.part")
        part.mkdir()
        for folder in BUNDLED.iterdir():
            if folder.name not in READ_IN_PLACE:
                shutil.copytree(folder, part / folder.name, copy_function=shutil.copyfile)
        os.rename(part, results)
    except OSError as error:
        raise StoreError(f"{results} cannot be written: {error.strerror or error}") from error
