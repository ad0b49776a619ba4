"""Our codec, images and streams as the commands that code single images need them."""

from pathlib import Path
from typing import Any

import benchmark
from baselines.commands.any_codec import OURS
from baselines.crdr import CRDR
from baselines.neural.bitstream.container import checkpoint_of
from baselines.neural.checkpoint.card import load_card
from baselines.neural.checkpoint_codec import BUNDLED
from benchmark.codec import Pixels
from benchmark.errors import CorruptStream, ImageRefused, UsageError
from benchmark.plan.request import Request
from benchmark.system.atomic import write_file
from benchmark.system.foreign_files import LARGEST_FILE_BYTES, read_regular
from benchmark.system.settings import use_device


def our_codec(checkpoint: str, request: Request, *, beta: float, **options: Any) -> CRDR:
    """Return an instance of `baselines.crdr.CRDR` with these options of its own.

    Raises `Unavailable` without a checkpoint, `BadOption` for options that make no sense.
    """
    request.use_folders()
    use_device(request.device)
    return CRDR(beta=beta, checkpoint=checkpoint, **options)


def bundled_checkpoint_of(stream: bytes) -> str:
    """Return the path of our bundled checkpoint that a stream names; empty if it names another."""
    try:
        named = checkpoint_of(stream)
    except CorruptStream:
        return ""  # whoever decodes it says why
    for path in sorted(BUNDLED.glob(f"{OURS}*.safetensors")):
        if load_card(path).identity.startswith(named):
            return str(path)
    return ""


def read_image(path: Path, flatten: bool = False) -> Pixels:
    """Return an image's pixels by the harness's rules; raises `UsageError` where it has none."""
    try:
        return benchmark.read_image(path, flatten).pixels
    except ImageRefused as why:
        raise UsageError(str(why)) from why


def read(path: Path) -> bytes:
    """Return a regular file's bytes, at most 1 GiB; raises `UsageError` where that cannot be."""
    try:
        return read_regular(path, LARGEST_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def written(path: Path, data: bytes) -> None:
    """Write the file into a folder that exists; raises `UsageError` where that cannot be."""
    try:
        path.parent.stat()  # a misspelt folder is an error, not a new folder
        write_file(path, data)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
