"""A process beside a worker that runs its programs, and ends all of them when the worker is gone.

    python -I -S launcher.py [GUARD]

Standard input brings orders, standard output takes an answer to each. On Linux this process adopts
whatever a program leaves behind: all children that are left after a program are killed. The kernel
closes standard input when the worker ends; this process then ends at once, and its parent, the
guard, kills what it was running, as where this process is killed; it does the same for its guard.
Both have a session of their own, which no signal to the worker's process group or terminal
reaches. Standard library alone: they start within .05 s.

What programs take of the processor is a child's of this process: `os.times()` of the worker does
not have it, so a column of processor seconds would have to come from here (`resource.getrusage`).
"""

import errno
import marshal
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

if sys.platform != "win32":
    import resource

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36  # in linux/prctl.h
NAME = b"bench-launcher"  # `pkill python` is meant for those that it works for
MOST_GENERATIONS = 1000


class Order(NamedTuple):
    """A program to run; all texts are bytes, as the system has them."""

    command: list[bytes]
    folder: bytes | None  # None for that of this process
    environment: dict[bytes, bytes]
    files: list[bytes]  # paths of standard input, output and error
    largest_file_bytes: int


def main() -> None:
    """Serve orders until standard input is closed; on Linux, guard who does."""
    if sys.platform != "linux":
        _serve()
        return
    _control(PR_SET_NAME, NAME)
    _control(PR_SET_CHILD_SUBREAPER, 1)
    if len(sys.argv) == 1:
        command = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
        subprocess.run(command, start_new_session=True, check=False)
        _end_children()
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _control(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(sys.argv[1]):  # else it was killed meanwhile
        _serve()


def _control(option: int, value: int | bytes) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _serve() -> None:
    orders: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_listen, args=(orders,), daemon=True).start()
    while True:
        marshal.dump(_run(Order(*orders.get())), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _listen(orders: "SimpleQueue[Any]") -> None:
    """Hand on orders; end this process at the end of standard input, whatever it is doing."""
    with suppress(EOFError, ValueError, TypeError):  # an order that was cut short is none
        while True:
            orders.put(marshal.load(sys.stdin.buffer))
    _end_group()
    os._exit(0)


def _run(order: Order) -> tuple[int, int]:
    """Return exit code or 0, and 0 or an error number."""
    if sys.platform == "win32":  # where nothing starts this process
        return 0, errno.ENOSYS
    if sys.platform == "linux":  # what this process and those that it starts may write to a file
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = order.largest_file_bytes
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    try:
        source, out, err = order.files
        with open(source, "rb") as stdin, open(out, "wb") as stdout, open(err, "wb") as stderr:
            process = subprocess.Popen(
                order.command, stdin=stdin, stdout=stdout, stderr=stderr,
                cwd=order.folder, env=order.environment, start_new_session=True,
            )  # fmt: skip
        _running.append(process.pid)
        return process.wait(), 0
    except OSError as error:
        return 0, error.errno or errno.EINVAL
    finally:
        _end_group()
        _end_children()


_running: list[int] = []  # the program's process group


def _end_group() -> None:
    if sys.platform == "win32":
        return
    with suppress(IndexError, ProcessLookupError, PermissionError):
        os.killpg(_running.pop(), signal.SIGKILL)


def _end_children() -> None:
    """Kill and collect children, those adopted meanwhile too, until there are none."""
    if sys.platform == "win32":
        return
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    for _ in range(MOST_GENERATIONS):
        killed = []
        with suppress(OSError):  # /proc is absent
            for child in map(int, children.read_text().split()):
                with suppress(PermissionError):  # another user's
                    os.kill(child, signal.SIGKILL)
                    killed.append(child)
        if not killed:
            return
        for child in killed:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


if __name__ == "__main__":
    with suppress(ConnectionError, KeyboardInterrupt):  # the worker, or the guard, has ended
        main()
    os._exit(0)  # a thread may still be reading
