"""Process that runs a worker's programs, and kills all of them when the worker ends.

    python -I -S launcher.py [GUARD]

Reads requests from standard input, and answers each on standard output. On Linux this process
adopts the orphans of a program, and kills all children that outlive it. The kernel closes standard
input when the worker ends. This process then ends at once; its parent, the guard, kills the running
program, also if this process is killed. If the guard is killed, so is this process. Both have their
own session, so that signals to the worker's process group or terminal do not reach them. They use
only the standard library. Only this process could measure the programs' processor seconds
(`resource.getrusage`): the worker's `os.times()` does not include them.
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
NAME = b"bench-launcher"  # `pkill python` should end its workers, not this process
MAX_GENERATIONS = 1000


class Request(NamedTuple):
    """Program to run; all strings are bytes in the system's encoding."""

    command: list[bytes]
    folder: bytes | None  # None: the folder of this process
    environment: dict[bytes, bytes]
    files: list[bytes]  # paths of standard input, output and error
    max_file_bytes: int


def main() -> None:
    """Run requested programs until standard input closes; on Linux, guard a process that does."""
    if sys.platform != "linux":
        _serve_requests()
        return
    _control(PR_SET_NAME, NAME)
    _control(PR_SET_CHILD_SUBREAPER, 1)
    if len(sys.argv) == 1:
        command = [sys.executable, "-I", "-S", __file__, str(os.getpid())]
        subprocess.run(command, start_new_session=True, check=False)
        _kill_children()
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _control(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == int(sys.argv[1]):  # otherwise the guard was killed meanwhile
        _serve_requests()


def _control(option: int, value: int | bytes) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _serve_requests() -> None:
    requests: SimpleQueue[Any] = SimpleQueue()
    Thread(target=_receive_requests, args=(requests,), daemon=True).start()
    while True:
        marshal.dump(_execute(Request(*requests.get())), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _receive_requests(requests: "SimpleQueue[Any]") -> None:
    """Queue requests; when standard input closes, end this process, even during a request."""
    with suppress(EOFError, ValueError, TypeError):  # a truncated request is ignored
        while True:
            requests.put(marshal.load(sys.stdin.buffer))
    _kill_group()
    os._exit(0)


def _execute(request: Request) -> tuple[int, int]:
    """Return (exit code, 0), or (0, error number) if the program could not be started."""
    if sys.platform == "win32":  # on Windows nothing starts this process
        return 0, errno.ENOSYS
    if sys.platform == "linux":  # limit the size of files written by this process and its children
        _, hard_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = request.max_file_bytes
        limit = limit if hard_limit == resource.RLIM_INFINITY else min(limit, hard_limit)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard_limit))
    try:
        stdin_path, stdout_path, stderr_path = request.files
        with (
            open(stdin_path, "rb") as stdin,
            open(stdout_path, "wb") as stdout,
            open(stderr_path, "wb") as stderr,
        ):
            process = subprocess.Popen(
                request.command, stdin=stdin, stdout=stdout, stderr=stderr,
                cwd=request.folder, env=request.environment, start_new_session=True,
            )  # fmt: skip
        _running_groups.append(process.pid)
        return process.wait(), 0
    except OSError as error:
        return 0, error.errno or errno.EINVAL
    finally:
        _kill_group()
        _kill_children()


_running_groups: list[int] = []  # process group of the running program


def _kill_group() -> None:
    if sys.platform == "win32":
        return
    with suppress(IndexError, ProcessLookupError, PermissionError):
        os.killpg(_running_groups.pop(), signal.SIGKILL)


def _kill_children() -> None:
    """Kill and reap children, including those adopted meanwhile, until there are none."""
    if sys.platform == "win32":
        return
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    for _ in range(MAX_GENERATIONS):
        killed_children = []
        with suppress(OSError):  # /proc is absent
            for child in map(int, children.read_text().split()):
                with suppress(PermissionError):  # the child runs as another user
                    os.kill(child, signal.SIGKILL)
                    killed_children.append(child)
        if not killed_children:
            return
        for child in killed_children:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)


if __name__ == "__main__":
    with suppress(ConnectionError, KeyboardInterrupt):  # the worker, or the guard, has ended
        main()
    os._exit(0)  # a thread may still be reading
