"""Files of a run's folder: its last states, and its journal, a line per report."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.errors import BenchError, UsageError
from benchmark.system.atomic import folders_to_synchronise, replacing, synchronise, write_file
from benchmark.system.foreign_files import BadFile, load_tensors
from benchmark.system.text import parsing

STATE, BEST = "state.pt", "best.pt"  # after the last saved step; with the best validation
PREVIOUS = "state-previous.pt"  # after the step saved before
MILESTONE = "state-{}.pt"  # after a step, counted through all stages
JOURNAL = "journal.jsonl"


def save_state(
    run: Path, state: dict[str, Any], name: str = STATE, milestone: int | None = None
) -> None:
    """Replace the file at once: a process that dies here leaves the last version.

    The `STATE` before is kept as `PREVIOUS`, and this one, at a `milestone`, by its step as well.
    Raises `BenchError` where it cannot be written.
    """
    path = run / name
    try:
        folders = folders_to_synchronise([path])
        with replacing(path) as draft:
            with draft.open("wb") as file:  # by a path, torch would not say why it failed
                torch.save(state, file)
            synchronise([draft])
            if name == STATE and path.exists():
                _keep(path, run / PREVIOUS)
        if milestone is not None:
            _keep(path, run / MILESTONE.format(milestone))
        synchronise(folders)
    except (OSError, RuntimeError) as error:  # torch's own after one of the system
        system = error if isinstance(error, OSError) else error.__context__
        reason = getattr(system, "strerror", None) or str(error).partition("\n")[0]
        raise BenchError(
            f"the state in {run} cannot be written: {reason}; the one before is kept, so "
            "mend that and run the same command again"
        ) from error


def _keep(path: Path, other: Path) -> None:
    with replacing(other) as draft:
        try:
            os.link(path, draft)
        except OSError:  # a file system without links
            shutil.copyfile(path, draft)


class StateWriter:
    """Writer of a run's states in a thread, one after the other."""

    def __init__(self, run: Path) -> None:
        """Remove drafts that a process has left that was killed while it wrote."""
        self._run = run
        self._thread = ThreadPoolExecutor(1)
        self._last: Future[None] | None = None
        for draft in run.glob(".*.part"):
            draft.unlink(missing_ok=True)

    def begin(self, state: dict[str, Any], milestone: int | None = None) -> None:
        """Begin to write a copy of `state`, which may change on return; see `finish`.

        This waits for the writing of the state before.
        """
        self.finish()
        self._last = self._thread.submit(save_state, self._run, copied(state), STATE, milestone)

    def finish(self) -> None:
        """Wait until what was begun is on the disk; raises `BenchError` where it cannot be."""
        last, self._last = self._last, None
        if last is not None:
            last.result()


def copied(state: Any) -> Any:
    """Return a state, of dicts, lists and tuples, with a copy of each tensor on the CPU."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, Mapping):
        return {name: copied(part) for name, part in state.items()}
    return type(state)(map(copied, state)) if isinstance(state, list | tuple) else state


def load_state(run: Path, device: torch.device, name: str = STATE) -> dict[str, Any] | None:
    """Return the state, without a `STATE` the one before, else None; raises `UsageError`."""
    path = run / name
    if not path.exists():
        return load_state(run, device, PREVIOUS) if name == STATE else None
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
    previous = path.with_name(PREVIOUS)
    then = f"resume from {PREVIOUS}" if path.name == STATE and previous.exists() else "start anew"
    return UsageError(f"{path} is no state of a training run: remove it to {then}.")


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
            if (entry := entry_of(line)) is None:
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


def entry_of(line: bytes) -> dict[str, Any] | None:
    """Return a line of a journal; None if it is unfinished or damaged."""
    with suppress(BadFile), parsing("JSON"):
        entry: dict[str, Any] = json.loads(line)
        return entry if all(type(number) is int for number in step_of(entry)) else None
    return None


def step_of(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Return the stage, counted from 0, and the step in it, counted from 1."""
    return entry["stage"], entry["step"]
