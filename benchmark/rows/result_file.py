"""Write one file of a results folder, whole or not at all."""

from pathlib import Path

from benchmark.errors import StoreError
from benchmark.system.atomic import write_file

REMEDY = "what was stored before is kept, so mend that and run again"


def write_result(
    path: Path, content: bytes | memoryview, *, durable: bool = False, remedy: str = REMEDY
) -> None:
    """Write a file as `write_file` does. Raises `StoreError` with the reason and the remedy."""
    try:
        write_file(path, content, durable=durable)
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"{path} cannot be written: {reason}; {remedy}") from error
