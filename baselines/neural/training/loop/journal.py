"""The journal of a run: a file with one JSON object per line, one line per report."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.system.atomic import synchronise, write_file

JOURNAL = "journal.jsonl"

Entry = dict[str, Any]


class Journal:
    """Journal of a run, appended to while it trains."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: Mapping[str, Any]) -> None:
        """Append one line, which is on the disk on return."""
        begun = not self.path.exists()
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if begun:
            synchronise([self.path.parent])

    def entries(self) -> list[Entry]:
        """Return the reports in the order of steps; none where there is no file.

        Lines that a killed process left unfinished are passed over, and so is what a run reported
        before it was killed and resumed from an earlier step.
        """
        found: list[Entry] = []
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            while found and step_of(found[-1]) >= step_of(entry):
                found.pop()
            found.append(entry)
        return found

    def cut(self, stage: int, step: int) -> None:
        """Keep the entries up to a step of a stage."""
        kept = [entry for entry in self.entries() if step_of(entry) <= (stage, step)]
        text = "".join(json.dumps(entry) + "\n" for entry in kept)
        write_file(self.path, text, durable=True)


def step_of(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return the stage, counted from 0, and the step in it, counted from 1."""
    return entry["stage"], entry["step"]
