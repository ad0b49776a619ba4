"""Processes that end with others and with all that they started."""

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

from benchmark.errors import BY_SIGNAL, Unavailable, interrupt

GRACE_SECONDS = 5.0
OF_THE_TERMINAL = [signal.SIGINT]
if sys.platform != "win32":
    OF_THE_TERMINAL += [signal.SIGHUP]


def require_posix() -> None:
    """Raise `Unavailable` on Windows, where processes that outlive their parent are not ended."""
    if sys.platform == "win32":
        raise Unavailable(
            "this needs Linux or macOS: Windows can rank, draw and check stored results, and its "
            "Subsystem for Linux can measure and decode"
        )


def ending(code: int) -> str:
    """Describe how a process ended, by its exit code or negative signal, as a predicate.

    >>> ending(-11), ending(3)
    ('was killed by SIGSEGV', 'ended with exit code 3')
    """
    if code >= 0:
        return f"ended with exit code {code}"
    with suppress(ValueError):  # real-time signals have no name
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def work_for(descriptor: int, work: Callable[[], None]) -> None:
    """Call `work` for the process at the other end of a pipe or socket; end with it, or at SIGTERM.

    SIGTERM, which this process gets when the other end is closed, ends the work by
    `KeyboardInterrupt`, so that a program that is running is ended on the way out; SIGKILL follows
    after `GRACE_SECONDS`, for native code hears no signal. Ctrl-C and a closed terminal are the
    other's to handle.
    """
    for number in OF_THE_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    with suppress(KeyboardInterrupt, EOFError, ConnectionError):
        try:
            signal.signal(signal.SIGTERM, interrupt)
            Thread(target=_end_with, args=(descriptor,), daemon=True).start()
            work()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is on the way out


def _end_with(descriptor: int) -> None:
    if sys.platform == "win32":  # where no worker is started
        return
    hung_up = select.poll()
    hung_up.register(descriptor, 0)  # a hang-up is always reported
    hung_up.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def lead_group() -> None:
    """Make this process the leader of a process group, to be ended with all that it starts."""
    if sys.platform != "win32":
        os.setpgid(0, 0)


def descendants(process_id: int) -> list[tuple[int, str]]:
    """Return a process's children, theirs and so on: ids, and starts in clock ticks as text."""
    result: list[tuple[int, str]] = []
    for children in Path(f"/proc/{process_id}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, children.read_text().split()):
                if (start := _start(child)) is not None:
                    result += [(child, start), *descendants(child)]
    return result


def end_tree(process_id: int, ended: Callable[[float], bool], grace_seconds: float) -> None:
    """Ask a process to end (SIGTERM), and kill it and all that it has started after the grace time.

    ended: waits so many seconds, and returns whether the process has ended. Its process group,
    which it leads, is killed as well; without /proc, what it started in others is left.
    """
    if sys.platform == "win32":
        return
    gone = suppress(ProcessLookupError, PermissionError)
    below = descendants(process_id)
    with gone:
        os.kill(process_id, signal.SIGTERM)
    has_ended = ended(grace_seconds)
    below += descendants(process_id)  # what it started in the meantime
    with gone:
        os.killpg(process_id, signal.SIGKILL)
    for child, start in below:
        with gone:
            if _start(child) == start:
                os.kill(child, signal.SIGKILL)
    with gone:
        if not has_ended:
            os.kill(process_id, signal.SIGKILL)


def _start(process_id: int) -> str | None:
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text(errors="replace")
    except OSError:
        return None
    return fields.rpartition(")")[2].split()[19]


@contextmanager
def terminal_blocked() -> Iterator[None]:
    """Keep Ctrl-C and the end of the terminal from processes that are started in the block."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interrupt_at_hang_up() -> None:
    """Raise `KeyboardInterrupt` at the end of the terminal, unless it is ignored (`nohup`)."""
    if sys.platform == "win32" or signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
        return
    terminals = [number for number in range(3) if os.isatty(number)]

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        # What is printed from now on is dropped: an `OSError` would hide the interruption.
        with open(os.devnull, "r+b") as nowhere:
            for number in terminals:
                if not os.isatty(number):
                    os.dup2(nowhere.fileno(), number)
        raise KeyboardInterrupt(BY_SIGNAL)

    signal.signal(signal.SIGHUP, hang_up)
