"""What must hold whatever an attack does: each function returns a sentence per broken promise."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from benchmark.rows.store import Store
from support.processes import is_running
from support.rows.stable_rows import losses_of, stable

Row = dict[str, object]
HUNG = 1000  # instead of an exit code
MOST_SECONDS = 300.0  # of a command, which takes ten on a busy machine
MOST_PROCESSOR_SECONDS = 120.0
MOST_BYTES = 2 << 30  # resident, of the largest process of a command
EXIT_CODES = {0, 1, 2, 3, 4, 130}
# What an interpreter or the C library prints where a program has not caught its error.
UNCAUGHT = re.compile(r"Traceback \(most recent call last\)|Fatal Python error|Exception ignored")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b\u202a-\u202e\u2066-\u2069]")
# Beside `stable_rows.VOLATILE`: whether a later command verified a row, and whether a pack had it.
UNCOMPARED = ("attested", "recorded")


class Ended(NamedTuple):
    """How a command ended; `peak_bytes` is the largest resident size of any of its processes."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float
    processor_seconds: float
    peak_bytes: int
    struck: bool


def of_an_end(ended: Ended) -> list[str]:
    """Return what is wrong with the end of a command: words, code, seconds and memory."""
    wrongs = []
    said = ended.out + ended.err
    if ended.code == HUNG:
        return [f"it does not end within {MOST_SECONDS:.0f} s"]
    if found := UNCAUGHT.search(said):
        wrongs.append(f"it prints '{found[0]}': {said[found.start() :][-1500:]}")
    if found := CONTROL.search(said):
        wrongs.append(f"it prints the control character {found[0]!r}")
    if not ended.struck and ended.code not in EXIT_CODES:
        wrongs.append(f"it ends with exit code {ended.code}: {ended.err[-300:]}")
    last = ended.err.rstrip().rpartition("\n")[2]
    if not ended.struck and ended.code == 2 and not last.startswith("bench: "):
        wrongs.append(f"it refuses without a sentence at the end: {last[:300]}")
    if not ended.struck and ended.code and not said.strip():
        wrongs.append(f"it ends with exit code {ended.code} and says nothing")
    if ended.processor_seconds > MOST_PROCESSOR_SECONDS:
        wrongs.append(f"it takes more than {MOST_PROCESSOR_SECONDS:.0f} s of processor time")
    if ended.peak_bytes > MOST_BYTES:
        wrongs.append(f"a process of it takes {ended.peak_bytes:,} bytes")
    return wrongs


def nothing_running(mark: str) -> list[str]:
    """Return which processes carry the attack's mark in their environment or command line."""
    return [f"process `{_command_line(one)}` is left" for one in marked_processes(mark)]


def nothing_executed(canary: Path) -> list[str]:
    """Return whether something that only hostile code makes is there."""
    return ["code of a stranger was executed"] if canary.exists() else []


def nothing_temporary(folder: Path) -> list[str]:
    """Return which temporary folders of `bench` are left after a command that ended well."""
    left = sorted(path.name for path in folder.iterdir())
    return [f"temporary files are left: {', '.join(left)[:200]}"] if left else []


def lost(store: Store | None, before: set[str]) -> tuple[list[str], set[str]]:
    """Return what is wrong with the files of a store, and the cells that it shows as done."""
    losses, done = losses_of(store, before)
    wrongs = [f"{losses} acknowledged rows, streams or files are lost or unreadable"]
    return wrongs * bool(losses), done


def differing(store: Store | None, expected: Sequence[Row]) -> list[str]:
    """Return which rows without failure are not those of an undisturbed run."""
    known = {row["cell"]: row for row in comparable(expected)}
    rows = comparable(stable(store)) if store is not None else []
    return [
        f"a row differs: {_difference(row, known.get(row['cell']))}"
        for row in rows
        if row["status"] == "ok" and row != known.get(row["cell"])
    ]


def same_rows(rows: Sequence[Row], expected: Sequence[Row]) -> list[str]:
    """Return how rows differ from those of an undisturbed run."""
    there = {row["cell"]: row for row in comparable(rows)}
    known = {row["cell"]: row for row in comparable(expected)}
    wrongs = [f"{len(known.keys() - there.keys())} rows are missing"] * bool(known.keys() - there)
    wrongs += [f"{len(there.keys() - known.keys())} rows are too many"] * bool(there.keys() - known)
    for cell in sorted(known.keys() & there.keys()):
        if known[cell] != there[cell]:
            wrongs.append(f"a row differs: {_difference(there[cell], known[cell])}")
    return wrongs


def failures_have_reasons(rows: Sequence[Row]) -> list[str]:
    """Return which failed rows, and metrics without a value, lack a reason of one line."""
    wrongs = []
    for row in rows:
        if row["status"] != "ok" and len(str(row["reason"] or "").splitlines()) != 1:
            wrongs.append(f"a failed row of {row['codec']} has the reason {row['reason']!r}")
        for name in (one.removesuffix("_reason") for one in row if one.endswith("_reason")):
            measured = row["status"] == "ok" and row.get(f"{name}_protocol")
            if measured and row[name] is None and not row[f"{name}_reason"]:
                wrongs.append(f"{name} of {row['codec']} is null without a reason")
    return wrongs


def comparable(rows: Sequence[Row]) -> list[Row]:
    """Return rows without the columns that two runs of the same request need not share."""
    return [{name: row[name] for name in row if name not in UNCOMPARED} for row in rows]


def marked_processes(mark: str) -> list[int]:
    """Return the processes whose environment or command line has the mark, but not this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            there = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            process_id = int(folder.name)
            if mark.encode() in there and process_id != os.getpid() and is_running(process_id):
                found.append(process_id)
    return found


def _command_line(process_id: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace").strip()[:200]
    return str(process_id)


def _difference(row: Row, known: Row | None) -> str:
    if known is None:
        return f"cell {row['cell']} is of no undisturbed run"
    columns = [name for name in row if row[name] != known.get(name)]
    return ", ".join(f"{name} is {row[name]!r}, not {known.get(name)!r}" for name in columns)[:300]
