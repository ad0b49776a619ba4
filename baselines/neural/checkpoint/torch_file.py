"""Tensors of a torch file of any origin, read without running code or exhausting memory."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from benchmark.errors import Unavailable


def load_tensors(path: Path) -> Any:
    """Return what `torch.load` returns on the CPU; its errors are passed on.

    Raises `Unavailable` for a file with parts larger than itself: torch stores parts uncompressed,
    but would also read compressed ones, which may grow a thousandfold.
    """
    import torch

    if is_zipfile(path):
        try:
            with ZipFile(path) as parts:
                size = sum(part.file_size for part in parts.infolist())
        except (BadZipFile, NotImplementedError) as error:
            raise Unavailable(f"{path} cannot be read as weights: it is damaged") from error
        if size > path.stat().st_size:
            raise Unavailable(f"{path} holds parts larger than itself: unpacked, {size} bytes")
    return torch.load(path, map_location="cpu", weights_only=True)
