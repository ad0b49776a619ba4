"""End a process together with everything that it has started, also in other process groups."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple


class Started(NamedTuple):
    """A process, told by the time of its start from a later one with the same id."""

    process_id: int
    start: str  # in clock ticks since the machine was started


def descendants(process_id: int) -> list[Started]:
    """Return the children of a process, their children and so on; none where /proc is absent."""
    found: list[Started] = []
    waiting = [process_id]
    while waiting:
        for children in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            with suppress(OSError):
                for child in map(int, children.read_text().split()):
                    if (start := _start(child)) is not None:
                        found.append(Started(child, start))
                        waiting.append(child)
    return found


def end_tree(process_id: int, ended: Callable[[float], bool], grace_seconds: float) -> None:
    """Ask a process to end (SIGTERM), and kill it and all that it has started after the grace time.

    ended: waits up to that number of seconds, and returns whether the process has ended. The
    process leads its own process group, which is killed as well; on systems without /proc, what it
    started in other groups is left.
    """
    below = descendants(process_id)
    _send(process_id, signal.SIGTERM)
    gone = ended(grace_seconds)
    below += descendants(process_id)  # what it started in the meantime
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)
    if not gone:
        _send(process_id, signal.SIGKILL)
    for one in below:
        if _start(one.process_id) == one.start:
            _send(one.process_id, signal.SIGKILL)


def _send(process_id: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(process_id, number)


def _start(process_id: int) -> str | None:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text(errors="replace")
    except OSError:
        return None
    return fields.rpartition(")")[2].split()[19]
