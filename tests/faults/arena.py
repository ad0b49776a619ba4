"""The folder in which one attack takes place, and `bench` run there within limits and judged."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from support.processes import is_running, until

TESTS = Path(__file__).parents[1]
SECONDS_TO_END = 30  # that processes have after their command's end
SHARED_ENVIRONMENT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "OMP_NUM_THREADS")
MOST_SECONDS, MOST_PROCESSOR_SECONDS = 300, 120  # of a command, which takes ten on a busy machine
MOST_BYTES = 2 << 30  # resident, of the largest process of a command
LIMITS = (
    *("timeout", "--kill-after=5", str(MOST_SECONDS)),
    *("prlimit", "--fsize=100000000", f"--cpu={MOST_PROCESSOR_SECONDS}"),
)
EXIT_CODES = {0, 1, 2, 3, 4, 130}
# What an interpreter or the C library prints where a program has not caught its error.
UNCAUGHT = re.compile(r"Traceback \(most recent call last\)|Fatal Python error|Exception ignored")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b\u202a-\u202e\u2066-\u2069]")


def wrongs(code: int, said: str) -> list[str]:
    """Return what is wrong with the end of a command: its words and its code."""
    result = []
    if match := UNCAUGHT.search(said):
        result.append(f"it prints '{match[0]}': {said[match.start() :][-1500:]}")
    if match := CONTROL.search(said):
        result.append(f"it prints the control character {match[0]!r}")
    if code not in EXIT_CODES:  # 124 or a signal: beyond a limit of time
        result.append(f"it ends with exit code {code}: {said[-300:]}")
    last = said.rstrip().rpartition("\n")[2]
    if code == 2 and not last.startswith("bench: "):
        result.append(f"it refuses without a sentence at the end: {last[:300]}")
    if code and not said.strip():
        result.append(f"it ends with exit code {code} and says nothing")
    return result


class Arena:
    """Folder of one attack, in which `bench` runs within limits; broken promises are `findings`.

    A mark is in the environment of all that commands start. Temporary files and caches are of the
    arena's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.work, self.canary = folder, folder / "work", folder / "PWNED"
        self._mark = f"7{random.SystemRandom().randrange(10**9):09}.5"
        self.findings: list[str] = []
        for one in (self.work, folder / "tmp"):
            one.mkdir(parents=True)

    def leave(self) -> None:
        """End what still runs, and remove the folder."""
        for process_id in self._processes():
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def bench(self, *words: object) -> None:
        """Run a command of `bench` within `LIMITS`, and judge how it ended."""
        before = _peak_bytes()
        done = subprocess.run(
            [*LIMITS, sys.executable, "-m", "benchmark", *map(str, words)], cwd=self.work,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self._environment(), check=False,
        )  # fmt: skip
        message = re.sub(r"\r\n?", "\n", done.stdout.decode(errors="backslashreplace"))
        result = wrongs(done.returncode, message)
        if (peak := _peak_bytes()) > max(before, MOST_BYTES):
            result.append(f"a process of it takes {peak:,} bytes")
        until(lambda: not self._processes(), SECONDS_TO_END)
        result += [f"process {process} is left" for process in self._processes()]
        result += ["code of a stranger was executed"] * self.canary.exists()
        after = " ".join(map(str, words))
        self.findings += [
            f"{one} after `bench {after}`".replace(str(self.folder), "ARENA") for one in result
        ]

    def _processes(self) -> list[int]:
        """Return the processes whose environment or command line has the mark, but not this one."""
        result = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                there = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
                process_id = int(folder.name)
                marked = self._mark.encode() in there and process_id != os.getpid()
                result += [process_id] * (marked and is_running(process_id))
        return result

    def _environment(self) -> dict[str, str]:
        """Return the environment of commands: few variables of the user, and folders of here."""
        shared = {name: os.environ[name] for name in SHARED_ENVIRONMENT if name in os.environ}
        places = {f"XDG_{name}_HOME": str(self.folder / name) for name in ("STATE", "CACHE")}
        return shared | places | {
            "TMPDIR": str(self.folder / "tmp"), "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
            "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1", "RDRBENCH_ATTACK": self._mark,
        }  # fmt: skip


def _peak_bytes() -> int:
    """Return the largest resident size that any finished process of the tests has had."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
