"""The sha256 of a fetched file whose authors publish none: recorded beside it, compared later.

The first download is trusted, and the record says whether the file is still that one, and to whom
it is sent, whether theirs is the same. `sha256sum --check NAME.sha256` reads it.
"""

import re
from pathlib import Path

from benchmark.errors import Unavailable
from benchmark.system.atomic import write_file
from benchmark.system.digest import file_sha256


def record_sha256(path: Path) -> str:
    """Write the record of a file, replacing an earlier one, and return its sha256."""
    digest = file_sha256(path)
    write_file(_record(path), f"{digest}  {path.name}\n")
    return digest


def recorded_sha256(path: Path) -> str:
    """Return the sha256 on record of a file, present or not; empty without a record.

    Raises `Unavailable` for a record that holds none.
    """
    record = _record(path)
    if not record.exists():
        return ""
    found = re.match(r"[0-9a-f]{64}\b", record.read_text(errors="replace"))
    if found is None:
        raise Unavailable(f"{record} holds no sha256: delete it")
    return found[0]


def require_recorded(path: Path, remedy: str) -> None:
    """Raise `Unavailable`, ending with `remedy`, for a file that is another than on record."""
    recorded = recorded_sha256(path)
    if recorded and (actual := file_sha256(path)) != recorded:
        raise Unavailable(
            f"{path} is not the file that was fetched: its sha256 begins with {actual[:8]}, and "
            f"{_record(path).name} has {recorded[:8]}; {remedy}"
        )


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
