"""Tensors of a torch file of any origin, read without running code or exhausting memory."""

import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from benchmark.errors import Unavailable
from benchmark.system.foreign.regular_file import open_regular

ZIP = b"PK\x03\x04"  # how torch, which looks at the start alone, tells its present format
TAR_BLOCK_BYTES = 512


def load_tensors(path: Path, device: Any = "cpu") -> Any:
    """Return what `torch.load` returns on `device` with `weights_only`; its errors are passed on.

    Raises `Unavailable` for a file that is not a regular one, and where more would be read than the
    file holds: for a zip with parts larger than itself (torch stores parts uncompressed, but would
    also read compressed ones, which may grow a thousandfold) or without a directory at its end, for
    a tar (the format of torch 0.1, whose headers may take hours), and for a tensor with more
    elements than the file has bytes, by strides of 0.
    """
    import torch

    try:
        with open_regular(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(TAR_BLOCK_BYTES)
            if start.startswith(ZIP):
                with ZipFile(file) as parts:
                    unpacked = sum(part.file_size for part in parts.infolist())
                if unpacked > size:
                    raise Unavailable(
                        f"{path} holds parts larger than itself: unpacked, {unpacked} bytes"
                    )
    except (BadZipFile, NotImplementedError) as error:
        raise Unavailable(f"{path} cannot be read as weights: it is damaged") from error
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unavailable(f"{path} cannot be read as weights: {error.strerror}") from error
    if _is_tar(start):
        raise Unavailable(
            f"{path} is a tar, as torch wrote before 2017: convert it with a torch of that time"
        )
    found = torch.load(path, map_location=device, weights_only=True)
    for tensor in _tensors(found, torch.Tensor):
        if tensor.numel() > size:
            raise Unavailable(f"{path} has a tensor of {tensor.numel()} elements in {size} bytes")
    return found


def _is_tar(start: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _tensors(content: Any, kind: type) -> Iterable[Any]:
    """Iterate over the tensors in nested dictionaries, lists and tuples, each container once."""
    waiting, seen = [content], set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, kind):
            yield one
        elif isinstance(one, Mapping | list | tuple) and id(one) not in seen:
            seen.add(id(one))
            waiting += one.values() if isinstance(one, Mapping) else one
