"""The folder in which one attack takes place, and `bench` run there within limits and watched."""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from resource import struct_rusage
from typing import IO, NamedTuple

from benchmark.rows.store import Store
from faults.attacks import promises
from faults.attacks.promises import Ended, Row, marked_processes
from support.processes import until
from support.rows.stable_rows import stable

TESTS = Path(__file__).parents[2]
MARK = "RDRBENCH_ATTACK"
BENCH = (sys.executable, "-m", "benchmark")
SECONDS_TO_END = 30  # that workers have after their driver was killed
SECONDS_TO_TELL = 5  # after a command's end
TOLD_BYTES = 1 << 20  # of what a command printed, that are looked at
SHARED_ENVIRONMENT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "OMP_NUM_THREADS")


class Blow(NamedTuple):
    """What ends a command early: `strike` gets its process id, `after` seconds from its start."""

    after: float
    strike: Callable[[int], None]


class Arena:
    """Folder of one attack, in which `bench` runs within limits; broken promises are `findings`.

    `mark` is in the environment of all that commands start, and is meant to be in the command lines
    of programs that drop their environment. Temporary files and caches are of the arena's own.
    """

    def __init__(self, folder: Path, program: Sequence[str] = BENCH) -> None:
        self.folder, self.work = folder, folder / "work"
        self.temporary, self.canary = folder / "tmp", folder / "PWNED"
        self.mark = f"7{random.SystemRandom().randrange(10**9):09}.5"  # also a number for `sleep`
        self.program = tuple(program)
        self.findings: list[str] = []
        self.deeds: list[str] = []
        self.commands = 0
        self._acknowledged: dict[Path, set[str]] = {}
        for one in (self.work, self.temporary):
            one.mkdir(parents=True)

    def leave(self) -> None:
        """End what still runs, and remove the folder."""
        for process_id in marked_processes(self.mark):
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def bench(
        self,
        *words: object,
        limits: Sequence[str] = (),
        blow: Blow | None = None,
        environment: dict[str, str] | None = None,
    ) -> Ended:
        """Run a command of `bench`, judge how it ended, and return that.

        limits: options of util-linux' `prlimit`. blow: after it, code and words are not judged.
        """
        wrapped = ["prlimit", *limits] if limits else []
        command = [*wrapped, *self.program, *map(str, words)]
        began = time.monotonic()
        out, err = self.folder / "out", self.folder / "err"
        with _written_by_another(out) as to_out, _written_by_another(err) as to_err:
            process = subprocess.Popen(
                command, cwd=self.work, stdin=subprocess.DEVNULL, stdout=to_out, stderr=to_err,
                start_new_session=True, env=self.environment() | (environment or {}),
            )  # fmt: skip
            code, usage, struck = _wait(process, blow)
        # The peak of a child is at least that of its parent when it was forked: no more is known.
        inherited = usage.ru_maxrss <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ended = Ended(
            tuple(map(str, words)), code, _told(out), _told(err), time.monotonic() - began,
            usage.ru_utime + usage.ru_stime, 0 if inherited else usage.ru_maxrss * 1024, struck,
        )  # fmt: skip
        self.commands += 1
        self.judge(promises.of_an_end(ended), ended)
        until(lambda: not marked_processes(self.mark), SECONDS_TO_END)
        self.judge(promises.nothing_running(self.mark), ended)
        self.judge(promises.nothing_executed(self.canary), ended)
        return ended

    def did(self, what: str) -> None:
        """Keep a sentence on what the attack has done."""
        self.deeds.append(what)

    def judge(self, wrongs: Sequence[str], ended: Ended | None = None) -> None:
        """Keep what is wrong, with the command after which it was found."""
        after = f" after `bench {' '.join(ended.words)}`" if ended else ""
        for wrong in wrongs:
            self.findings.append(f"{wrong}{after}".replace(str(self.folder), "ARENA"))

    def keeps(self, results: Path, expected: Sequence[Row]) -> None:
        """Judge whether cells that were done are done, and rows without failure are as expected."""
        store = store_in(results)
        wrongs, done = promises.lost(store, self._acknowledged.get(results, set()))
        self._acknowledged[results] = done
        self.judge(wrongs + promises.differing(store, expected))

    def ends_whole(self, results: Path, expected: Sequence[Row]) -> None:
        """Judge whether a folder of results has the table of an undisturbed run, and no more."""
        store = store_in(results)
        self.judge(promises.same_rows(stable(store) if store else [], expected))
        self.judge(promises.nothing_temporary(self.temporary))

    def environment(self) -> dict[str, str]:
        """Return the environment of commands: few variables of the user, and folders of here."""
        shared = {name: os.environ[name] for name in SHARED_ENVIRONMENT if name in os.environ}
        places = {f"XDG_{name}_HOME": str(self.folder / name) for name in ("STATE", "CACHE")}
        return shared | places | {
            "TMPDIR": str(self.temporary), "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
            "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1", MARK: self.mark,
            "CANARY": str(self.canary),
        }  # fmt: skip


def store_in(results: Path) -> Store | None:
    """Return the store of the only dataset of a results folder; None before there is one."""
    folders = [path for path in results.glob("*") if path.is_dir() and path.name[0] != "."]
    return Store(folders[0]) if len(folders) == 1 else None


def _wait(process: "subprocess.Popen[bytes]", blow: Blow | None) -> tuple[int, struct_rusage, bool]:
    """Return code, resources and whether it was struck; one that hangs is killed with its group."""
    began, struck, hung = time.monotonic(), False, False
    while True:
        process_id, status, usage = os.wait4(process.pid, os.WNOHANG)
        if process_id:
            process.returncode = os.waitstatus_to_exitcode(status)
            return (promises.HUNG if hung else process.returncode), usage, struck
        seconds = time.monotonic() - began
        if blow and not struck and seconds >= blow.after:
            struck = True
            blow.strike(process.pid)
        if seconds > promises.MOST_SECONDS and not hung:
            hung = True
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.02)


@contextmanager
def _written_by_another(path: Path) -> Iterator[IO[bytes]]:
    """Yield a pipe into the file, which the limits of who writes do not reach."""
    with path.open("wb") as file:
        writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
    assert writer.stdin is not None
    try:
        with writer.stdin as pipe:
            yield pipe
        with suppress(subprocess.TimeoutExpired):
            writer.wait(SECONDS_TO_TELL)
    finally:
        writer.kill()
        writer.wait()


def _told(path: Path) -> str:
    with path.open("rb") as file:
        text = file.read(TOLD_BYTES).decode(errors="backslashreplace")
    return re.sub(r"\r\n?", "\n", text)
