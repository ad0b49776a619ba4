"""Our codec and the files of its streams, for `bench encode` and `bench decode`."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmark.errors import UsageError
from benchmark.system.device import use_device
from benchmark.system.weights import use_weights_folder

LARGEST_BYTES = 1 << 30


def our_codec(beta: float, checkpoint: str, device: str, weights_dir: Path | None) -> Any:
    """An instance of `baselines.crdr.CRDR`; raises `Unavailable` without a checkpoint."""
    use_weights_folder(weights_dir)
    use_device(device)
    return import_module("baselines.crdr").CRDR(beta=beta, checkpoint=checkpoint)


def read(path: Path) -> bytes:
    """The whole file; `UsageError` where it cannot be read."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(f"{path} is larger than any stream")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def written(path: Path, data: bytes) -> None:
    """Write the file, whole or not at all; `UsageError` where that cannot be."""
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
