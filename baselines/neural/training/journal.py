"""What a run reports as it goes <-> a file of one JSON object a line."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Journal:
    """Appended to; on resuming, what lies behind the last checkpoint is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: Mapping[str, Any]) -> None:
        """One line, flushed to the system."""
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def entries(self) -> list[dict[str, Any]]:
        """All lines; an unfinished last one is left out."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def cut(self, stage: int, step: int) -> None:
        """Keep the entries up to a step of a stage."""
        kept = [e for e in self.entries() if (e["stage"], e["step"]) <= (stage, step)]
        draft = self.path.with_name(f".{self.path.name}.part")
        draft.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        os.replace(draft, self.path)
