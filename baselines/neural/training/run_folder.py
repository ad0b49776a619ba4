"""Files of a run's folder: its state, replaced as a whole, and its journal, a line per report."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import UsageError
from benchmark.system.atomic import synchronise, write_file
from benchmark.system.foreign_files import load_tensors

STATE, BEST = "state.pt", "best.pt"  # after the last saved step; with the best validation
JOURNAL = "journal.jsonl"


def save_state(run: Path, state: dict[str, Any], name: str = STATE) -> None:
    """Replace the file at once: a process that dies here leaves the last version."""
    content = BytesIO()
    torch.save(state, content)
    write_file(run / name, content.getbuffer(), durable=True)


def load_state(run: Path, device: torch.device, name: str = STATE) -> dict[str, Any] | None:
    """Return the state, None where a run has not saved any; raises `UsageError`."""
    path = run / name
    if not path.exists():
        return None
    try:
        state = load_tensors(path, device)
    except Exception as error:  # whatever unpickling foreign bytes raises
        raise _no_state(path) from error
    if not isinstance(state, dict):
        raise _no_state(path)
    return state


@contextmanager
def restoring(run: Path) -> Iterator[None]:
    """Raise `UsageError` for a state that lacks a part, or has that of another network or kind."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _no_state(run / STATE) from error


def _no_state(path: Path) -> UsageError:
    return UsageError(f"{path} is no state of a training run: remove it to start anew.")


class Journal:
    """Journal of a run, a JSON object per line, appended to while it trains."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: Mapping[str, Any]) -> None:
        """Append a line, which is on the disk on return."""
        begun = not self.path.exists()
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if begun:
            synchronise([self.path.parent])

    def entries(self) -> list[dict[str, Any]]:
        """Return the reports in the order of steps, without unfinished lines and repeated steps."""
        entries: list[dict[str, Any]] = []
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            while entries and step_of(entries[-1]) >= step_of(entry):
                entries.pop()
            entries.append(entry)
        return entries

    def cut(self, stage: int, step: int) -> None:
        """Keep the entries up to a step of a stage."""
        kept = [entry for entry in self.entries() if step_of(entry) <= (stage, step)]
        text = "".join(json.dumps(entry) + "\n" for entry in kept)
        write_file(self.path, text, durable=True)


def step_of(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return the stage, counted from 0, and the step in it, counted from 1."""
    return entry["stage"], entry["step"]
