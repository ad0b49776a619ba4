"""Programs that encode and decode files: run, read, asked for their version."""

import re
from collections.abc import Sequence
from pathlib import Path

from baselines.formats.png import read_png
from benchmark.codec import Pixels, most_stream_bytes
from benchmark.errors import ImageRefused, ProgramFailed, Unavailable
from benchmark.system.programs import read_written, run_program


def encoded_by(
    command: Sequence[str | Path],
    stream: Path,
    shape: tuple[int, ...],
    timeout_seconds: float,
    stdin: bytes = b"",
) -> bytes:
    """Run an encoder and return the file `stream` that it wrote for an image of this shape.

    Raises `ProgramFailed`, also where it wrote nothing or more than any encoder would.
    """
    run_program(command, timeout_seconds=timeout_seconds, stdin=stdin)
    data = read_written(stream, command[0], most_stream_bytes(*shape[:2]))
    if not data:
        raise ProgramFailed(f"{Path(command[0]).name} ended without an error and wrote no stream")
    return data


def decoded_by(command: Sequence[str | Path], png: Path, timeout_seconds: float) -> Pixels:
    """Run a decoder and return the pixels of the PNG that it wrote; `ProgramFailed` without any."""
    run_program(command, timeout_seconds=timeout_seconds)
    name = Path(command[0]).name
    if not png.is_file():
        raise ProgramFailed(f"{name} ended without an error and wrote no PNG")
    try:
        return read_png(png)
    except ImageRefused as refused:
        raise ProgramFailed(f"{name} wrote a PNG that {refused}") from None


def printed_version(program: Path, option: str, pattern: bytes, encoder: str, remedy: str) -> str:
    """Return the version that an encoder prints for an option, with which it may exit with 1.

    encoder: whose `pattern` is, for messages. Raises `Unavailable` where it is not printed.
    """
    try:
        printed = run_program([program, option], timeout_seconds=60, accepted=(0, 1))
    except ProgramFailed as error:
        raise Unavailable(f"{program} does not run: {error}") from error
    match = re.search(pattern, printed)
    if not match:
        raise Unavailable(f"{program} does not say that it is {encoder}'s encoder: {remedy}")
    return match[1].decode("ascii", "replace")
