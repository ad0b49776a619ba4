"""The folder in which one attack takes place, and `bench` run there within limits and judged."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from support.processes import is_running, until

TESTS = Path(__file__).parents[1]
MARK = "RDRBENCH_ATTACK"
BENCH = (sys.executable, "-m", "benchmark")
SECONDS_TO_END = 30  # that processes have after their command's end
SHARED_ENVIRONMENT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "OMP_NUM_THREADS")
HUNG = 1000  # instead of an exit code
MOST_SECONDS = 300.0  # of a command, which takes ten on a busy machine
MOST_PROCESSOR_SECONDS = 120.0
MOST_BYTES = 2 << 30  # resident, of the largest process of a command
EXIT_CODES = {0, 1, 2, 3, 4, 130}
# What an interpreter or the C library prints where a program has not caught its error.
UNCAUGHT = re.compile(r"Traceback \(most recent call last\)|Fatal Python error|Exception ignored")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b\u202a-\u202e\u2066-\u2069]")


class Ended(NamedTuple):
    """How a command ended; `peak_bytes` is the largest resident size of any of its processes."""

    code: int
    said: str
    processor_seconds: float
    peak_bytes: int


def wrongs(ended: Ended) -> list[str]:
    """Return what is wrong with the end of a command: words, code, seconds and memory."""
    found, said = [], ended.said
    if ended.code == HUNG:
        return [f"it does not end within {MOST_SECONDS:.0f} s"]
    if match := UNCAUGHT.search(said):
        found.append(f"it prints '{match[0]}': {said[match.start() :][-1500:]}")
    if match := CONTROL.search(said):
        found.append(f"it prints the control character {match[0]!r}")
    if ended.code not in EXIT_CODES:
        found.append(f"it ends with exit code {ended.code}: {said[-300:]}")
    last = said.rstrip().rpartition("\n")[2]
    if ended.code == 2 and not last.startswith("bench: "):
        found.append(f"it refuses without a sentence at the end: {last[:300]}")
    if ended.code and not said.strip():
        found.append(f"it ends with exit code {ended.code} and says nothing")
    if ended.processor_seconds > MOST_PROCESSOR_SECONDS:
        found.append(f"it takes more than {MOST_PROCESSOR_SECONDS:.0f} s of processor time")
    if ended.peak_bytes > MOST_BYTES:
        found.append(f"a process of it takes {ended.peak_bytes:,} bytes")
    return found


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


class Arena:
    """Folder of one attack, in which `bench` runs within limits; broken promises are `findings`.

    `mark` is in the environment of all that commands start. Temporary files and caches are of the
    arena's own.
    """

    def __init__(self, folder: Path, program: Sequence[str] = BENCH) -> None:
        self.folder, self.work = folder, folder / "work"
        self.temporary, self.canary = folder / "tmp", folder / "PWNED"
        self.mark = f"7{random.SystemRandom().randrange(10**9):09}.5"
        self.program = tuple(program)
        self.findings: list[str] = []
        self.commands = 0
        for one in (self.work, self.temporary):
            one.mkdir(parents=True)

    def leave(self) -> None:
        """End what still runs, and remove the folder."""
        for process_id in marked_processes(self.mark):
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def bench(self, *words: object) -> None:
        """Run a command of `bench`, whose files have 100 MB at most, and judge how it ended."""
        command = ["prlimit", "--fsize=100000000", *self.program, *map(str, words)]
        process = subprocess.Popen(
            command, cwd=self.work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, env=self.environment(),
        )  # fmt: skip
        said: list[bytes] = []

        def read() -> None:
            with process.stdout as pipe:
                said.append(pipe.read())

        reader = Thread(target=read, daemon=True)
        reader.start()
        code, usage = _wait(process)
        reader.join(SECONDS_TO_END)
        # The peak of a child is at least that of its parent when it was forked: no more is known.
        inherited = usage.ru_maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        text = re.sub(r"\r\n?", "\n", b"".join(said).decode(errors="backslashreplace"))
        peak = 0 if inherited else usage.ru_maxrss * 1024
        self.commands += 1
        found = wrongs(Ended(code, text, usage.ru_utime + usage.ru_stime, peak))
        until(lambda: not marked_processes(self.mark), SECONDS_TO_END)
        found += [f"process {one} is left" for one in marked_processes(self.mark)]
        found += ["code of a stranger was executed"] * self.canary.exists()
        after = " ".join(map(str, words))
        self.findings += [
            f"{one} after `bench {after}`".replace(str(self.folder), "ARENA") for one in found
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment of commands: few variables of the user, and folders of here."""
        shared = {name: os.environ[name] for name in SHARED_ENVIRONMENT if name in os.environ}
        places = {f"XDG_{name}_HOME": str(self.folder / name) for name in ("STATE", "CACHE")}
        return shared | places | {
            "TMPDIR": str(self.temporary), "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
            "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1", MARK: self.mark,
            "CANARY": str(self.canary),
        }  # fmt: skip


def _wait(process: "subprocess.Popen[bytes]") -> tuple[int, resource.struct_rusage]:
    """Return code and resources; a process that hangs is killed with its group."""
    began, hung = time.monotonic(), False
    while True:
        process_id, status, usage = os.wait4(process.pid, os.WNOHANG)
        if process_id:
            process.returncode = os.waitstatus_to_exitcode(status)
            return (HUNG if hung else process.returncode), usage
        if time.monotonic() - began > MOST_SECONDS and not hung:
            hung = True
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.02)
