"""Programs run through a launcher: a process of this one's own that ends them when this one ends.

One launcher serves one call at a time and is kept for the next; threads that call at the same time
get one each. Starting one takes some tens of milliseconds, a call through it about as long as a
plain start of the program.
"""

import atexit
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

from benchmark.system.processes.launcher import REPLY, SIZE, Request

SCRIPT = Path(__file__).with_name("launcher.py")
PIECE_BYTES = 1 << 16  # of standard input that is written at once: what a pipe holds
LONGEST_POLL_SECONDS = 3600.0


class TimeIsUp(Exception):  # noqa: N818 - not an error before the caller says so
    """The program ran out of time, and is ended with all that it started."""


class LauncherLost(Exception):  # noqa: N818
    """The process that ran the program was killed, and the kernel ended the program with it."""


def run_launched(request: Request, stdin: bytes, out: int, err: int, timeout_seconds: float) -> int:
    """Run a program and return its exit code, negative for the signal that ended it.

    out, err: descriptors of files for its standard output and standard error. Whatever it started
    has ended when this returns or raises. Raises `OSError` where the program cannot be started,
    `TimeIsUp`, and `LauncherLost`.
    """
    launcher = _idle()
    try:
        ended = launcher.run(request, stdin, out, err, monotonic() + timeout_seconds)
    except BaseException:
        launcher.close()
        raise
    _IDLE.append(launcher)
    if isinstance(ended, OSError):
        raise ended
    return ended


class _Launcher:
    def __init__(self) -> None:
        self._program = 0  # process id of the program that runs
        self._socket, theirs = socket.socketpair()
        _ALL.add(self)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SCRIPT), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def run(
        self, request: Request, stdin: bytes, out: int, err: int, deadline: float
    ) -> int | OSError:
        """Return the exit code, or why the program could not be started."""
        reading, writing = os.pipe()
        try:
            try:
                order = marshal.dumps(tuple(request))
                socket.send_fds(self._socket, [SIZE.pack(len(order))], [reading, out, err])
                self._socket.sendall(order)
            except ConnectionError as error:
                raise LauncherLost from error
            finally:
                os.close(reading)
            os.set_blocking(writing, False)
            events = select.poll()
            events.register(self._socket, select.POLLIN)
            events.register(writing, select.POLLOUT)
            rest = memoryview(stdin)
            while True:
                left = deadline - monotonic()
                if left <= 0:
                    raise TimeIsUp
                ready = [one for one, _ in events.poll(min(left, LONGEST_POLL_SECONDS) * 1000)]
                if self._socket.fileno() in ready:
                    told = self._reply()
                    if self._program:
                        self._program = 0
                        return os.waitstatus_to_exitcode(told)
                    if told < 0:
                        return OSError(-told, os.strerror(-told))
                    self._program = told
                elif ready:
                    rest = _write_some(writing, rest)
                    if not rest:
                        events.unregister(writing)
                        os.close(writing)
                        writing = -1
        finally:
            if writing >= 0:
                os.close(writing)

    def _reply(self) -> int:
        try:
            told = self._socket.recv(REPLY.size, socket.MSG_WAITALL)
        except ConnectionError:
            told = b""
        if len(told) < REPLY.size:
            raise LauncherLost
        (number,) = REPLY.unpack(told)
        return int(number)

    def is_there(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process with all that it runs, and wait until they have ended."""
        _ALL.discard(self)
        self._socket.close()
        if self._process.wait() and self._program:  # killed: its child may not have ended all yet
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._program, signal.SIGKILL)

    def forget(self) -> None:
        """Leave the process to the one that this one was forked from."""
        self._socket.close()
        self._process.returncode = 0  # not a child of this process


def _write_some(descriptor: int, rest: memoryview) -> memoryview:
    """Write what the pipe takes; return what is left, nothing where the program reads no more."""
    try:
        return rest[os.write(descriptor, rest[:PIECE_BYTES]) :] if rest else rest
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]


_IDLE: list[_Launcher] = []
_ALL: set[_Launcher] = set()


def _idle() -> _Launcher:
    """Return a launcher that nobody uses; one that was killed in the meantime is replaced."""
    while True:
        try:
            launcher = _IDLE.pop()  # one step, which no other thread can come between
        except IndexError:
            return _Launcher()
        if launcher.is_there():
            return launcher
        launcher.close()


@atexit.register
def _end_idle() -> None:
    while _IDLE:
        with suppress(OSError):
            _IDLE.pop().close()


def _forget_all() -> None:
    for launcher in _ALL:
        launcher.forget()
    _ALL.clear()
    _IDLE.clear()


os.register_at_fork(after_in_child=_forget_all)
