"""Processes that end with their caller, together with everything that they started."""

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import sleep
from types import FrameType

from benchmark.errors import SIGNAL_ARGUMENT, Unavailable, interrupt

GRACE_SECONDS = 5.0
TERMINAL_SIGNALS = [signal.SIGINT]
if sys.platform != "win32":
    TERMINAL_SIGNALS += [signal.SIGHUP]


def require_posix() -> None:
    """Raise `Unavailable` on Windows, where processes may outlive their parent."""
    if sys.platform == "win32":
        raise Unavailable(
            "this needs Linux or macOS: Windows can rank, draw and check stored results, and its "
            "Subsystem for Linux can also measure and decode"
        )


def describe_exit(code: int) -> str:
    """Describe how a process ended: "was killed by SIGSEGV" for -11."""
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):  # real-time signals have no name
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def work_for(descriptor: int, work: Callable[[], None]) -> None:
    """Call `work`; end if the process at the other end of a pipe or socket ends, or on SIGTERM.

    When the other end is closed, SIGTERM raises `KeyboardInterrupt` in `work`, which also ends a
    running program; SIGKILL follows after `GRACE_SECONDS`, since native code may not stop. Only the
    other process reacts to Ctrl-C and a closed terminal.
    """
    for number in TERMINAL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    with suppress(KeyboardInterrupt, EOFError, ConnectionError):
        try:
            signal.signal(signal.SIGTERM, interrupt)
            Thread(target=_end_with, args=(descriptor,), daemon=True).start()
            work()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the process is ending already


def _end_with(descriptor: int) -> None:
    if sys.platform == "win32":  # no worker runs on Windows
        return
    poller = select.poll()
    poller.register(descriptor, 0)  # hang-ups are always reported
    poller.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def lead_group() -> None:
    """Make this process lead a process group, so that the group can be killed at once."""
    if sys.platform != "win32":
        os.setpgid(0, 0)


def descendants(process_id: int) -> list[tuple[int, str]]:
    """Return (id, start in clock ticks as text) of all descendants of a process."""
    result: list[tuple[int, str]] = []
    for children in Path(f"/proc/{process_id}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, children.read_text().split()):
                if (start := _start_ticks(child)) is not None:
                    result += [(child, start), *descendants(child)]
    return result


def end_tree(process_id: int, wait_for_end: Callable[[float], bool], grace_seconds: float) -> None:
    """Ask a process to end (SIGTERM), then kill it and everything that it started.

    wait_for_end: waits at most `grace_seconds`; returns whether the process has ended. The group
    that the process leads is killed, too; without /proc, processes in other groups survive.
    """
    if sys.platform == "win32":
        return
    ignoring_ended = suppress(ProcessLookupError, PermissionError)
    children = descendants(process_id)
    with ignoring_ended:
        os.kill(process_id, signal.SIGTERM)
    has_ended = wait_for_end(grace_seconds)
    children += descendants(process_id)  # including those started in the meantime
    with ignoring_ended:
        os.killpg(process_id, signal.SIGKILL)
    for child, start in children:
        with ignoring_ended:
            if _start_ticks(child) == start:
                os.kill(child, signal.SIGKILL)
    with ignoring_ended:
        if not has_ended:
            os.kill(process_id, signal.SIGKILL)


def _start_ticks(process_id: int) -> str | None:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text(errors="replace")
    except OSError:
        return None
    return fields.rpartition(")")[2].split()[19]


@contextmanager
def block_terminal_signals() -> Iterator[None]:
    """Protect processes that the block starts from Ctrl-C and a closed terminal."""
    if sys.platform == "win32":
        yield
        return
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)


def interrupt_at_hang_up() -> None:
    """Raise `KeyboardInterrupt` when the terminal closes, unless SIGHUP is ignored (`nohup`)."""
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
        return
    terminals = [number for number in range(3) if os.isatty(number)]

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        # Discard further output: an `OSError` would hide the interruption.
        with open(os.devnull, "r+b") as null_device:
            for number in terminals:
                if not os.isatty(number):
                    os.dup2(null_device.fileno(), number)
        raise KeyboardInterrupt(SIGNAL_ARGUMENT)

    signal.signal(signal.SIGHUP, interrupt)
