"""The record of a part on disk: a json file with the machine, and each cell as it was measured."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.system.atomic import write_file

# A record goes on where all of these are the same; with others it begins anew.
SAME = ("device", "device_name", "driver", "versions", "commit", "small", "dataset")


@dataclass
class Record:
    """State and result of a part."""

    described: Mapping[str, Any]  # by `Conditions.described`
    cells: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    complete: bool = False
    running: str = ""  # key of the cell that is being measured
    ended: str = ""  # why the part ended before its last cell

    def to_do(self, key: str) -> bool:
        """Return whether a cell is to be measured: it never was, or it failed."""
        return key not in self.cells or "failed" in self.cells[key]

    def continues(self, described: Mapping[str, Any]) -> bool:
        """Return whether cells measured under these conditions may stand beside those here."""
        pairs = [(self.described.get(name), described[name]) for name in SAME]
        return all(_clean(one) == _clean(other) for one, other in pairs)

    def write(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        write_file(path, json.dumps(vars(self), indent=1) + "\n")


def read_record(path: Path) -> Record | None:
    """Return the record at `path`, or None where there is none that can be read."""
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _clean(value: object) -> object:
    """Return a commit without its mark of changed files: the page that is written is one."""
    return value.removesuffix("-dirty") if isinstance(value, str) else value
