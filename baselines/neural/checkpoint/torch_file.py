"""A file of torch's, of whoever's -> the tensors in it; no code, nothing larger than the file."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from benchmark.errors import Unavailable


def load_tensors(path: Path) -> Any:
    """What `torch.load` gives of it on the CPU; it raises what that raises.

    Raises `Unavailable` for a file whose parts are larger than itself: torch stores them as they
    are, and reads compressed ones as well, a thousand times their size.
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
