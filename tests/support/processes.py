"""Other processes: which of them run, what they print, and waiting for what they do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

SAFETY_NET_SECONDS = 300  # no test depends on its value


def is_running(process_id: int) -> bool:
    """Whether it does anything; one that only waits to be collected does not."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # the container's first process may be slow to collect orphans


def running(pattern: str) -> list[int]:
    """The processes whose command line has a match of a regular expression."""
    result = subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=False)
    return [int(number) for number in result.stdout.split()]


def until(condition: Callable[[], Any], seconds: int = 30) -> bool:
    """Wait for something to be so; whether it came.

    A program that is to be ended within the time has to last longer by itself.
    """
    for _ in range(seconds * 20):
        if condition():
            return True
        time.sleep(0.05)
    return False


def ran(*words: object, folder: Path | None = None, **environment: object) -> CompletedProcess[str]:
    """Run a command with further variables to its end; return its exit code and what it printed."""
    variables = {name: str(value) for name, value in environment.items()}
    return subprocess.run(
        [*map(str, words)], env=os.environ | variables, capture_output=True, text=True,
        timeout=3 * SAFETY_NET_SECONDS, check=False, cwd=folder,
    )  # fmt: skip


def started_bench(*words: object) -> "subprocess.Popen[str]":
    # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
    heed_interrupts = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heed_interrupts}
    command = [sys.executable, "-m", "benchmark", *map(str, words)]
    return subprocess.Popen(command, text=True, **options)


def in_a_process(code: str, *words: object) -> str:
    """Run Python in a process of its own, which may hang; return what it printed."""
    result = ran(sys.executable, "-c", code, *words)
    assert "Traceback" not in result.stderr, result.stderr
    return result.stdout
