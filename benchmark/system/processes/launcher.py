"""A process beside a worker that runs its programs, and ends all of them when the worker is gone.

    python -I -S launcher.py DESCRIPTOR [GUARD]

The descriptor is of a socket of the Unix domain; `launched.py` holds the other end. A request has a
command; one reply tells its process id, another how it ended. In between nothing else is running,
and on Linux this process adopts whatever a program leaves behind, also what began a session of its
own or lost its environment. So all children that are left after a program are that program's, and
are killed. The kernel closes the socket with the other process, however that ends, which ends this
one and its children. On Linux its parent, a second process, ends them where this one is killed, and
this one where the parent is.

It stands in a session of its own, so that neither Ctrl-C, nor a closed terminal, nor a signal to
the worker's process group reaches it before its work is done. Standard library alone: it starts
without packages, in some tens of milliseconds.
"""

import ctypes
import errno
import marshal
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SIZE = struct.Struct("<Q")  # before a request: the bytes that follow
REPLY = struct.Struct("<i")
STREAMS = 3  # standard input, output and error, sent as descriptors with the request
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36  # in linux/prctl.h
NAME = b"bench-launcher"  # `pkill python` is meant for those that it works for
MOST_GENERATIONS = 1000
LONGEST_READ = 1 << 20
IS_LINUX = sys.platform == "linux"


class Request(NamedTuple):
    """A program to run; all texts are bytes, as the system has them."""

    command: list[bytes]
    folder: bytes | None  # None for that of this process
    environment: dict[bytes, bytes]
    largest_file_bytes: int


def main() -> None:
    """Serve requests until the other end of the socket is closed; on Linux, guard who does."""
    descriptor, *guard = map(int, sys.argv[1:])
    if IS_LINUX:
        _control(PR_SET_NAME, NAME)
        _control(PR_SET_CHILD_SUBREAPER, 1)
        if not guard:
            _guard(descriptor)
            return
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _control(PR_SET_PDEATHSIG, signal.SIGTERM)
        if [os.getppid()] != guard:  # it was killed meanwhile
            return
    _serve(descriptor)


def _guard(descriptor: int) -> None:
    """Have a child serve, and end what it leaves behind."""
    command = [sys.executable, "-I", "-S", __file__, str(descriptor), str(os.getpid())]
    with subprocess.Popen(command, pass_fds=[descriptor], start_new_session=True) as child:
        os.close(descriptor)  # the other end is to see that of the child alone
        child.wait()
    _end_children()


def _control(option: int, value: int | bytes) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _serve(descriptor: int) -> None:
    orders = socket.socket(fileno=descriptor)
    orders.set_inheritable(False)
    woken, waking = os.pipe()
    for end in (woken, waking):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    wanted = True
    while wanted and (received := _receive(orders)) is not None:
        wanted = _carry_out(*received, orders, woken)


def _receive(orders: socket.socket) -> tuple[Request, list[int]] | None:
    """Return a request with its three descriptors; None where the other end is closed."""
    head, streams, _, _ = socket.recv_fds(orders, SIZE.size, STREAMS)
    if len(head) < SIZE.size or len(streams) < STREAMS:
        return None
    (left,) = SIZE.unpack(head)
    parts = []
    while left:
        part = orders.recv(min(left, LONGEST_READ))
        if not part:
            return None
        parts.append(part)
        left -= len(part)
    return Request(*marshal.loads(b"".join(parts))), streams


def _carry_out(request: Request, streams: list[int], orders: socket.socket, woken: int) -> bool:
    """Run a program; report its process id at the start, and its wait status at the end.

    Instead of the id, an error number below 0 where it could not be started. Where the other
    process is gone, or wants the program to end, all is killed and False returned.
    """
    _limit_files(request.largest_file_bytes)
    try:
        process = subprocess.Popen(
            request.command,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            cwd=request.folder,
            env=request.environment,
            start_new_session=True,
        )
    except OSError as error:
        orders.sendall(REPLY.pack(-(error.errno or errno.EINVAL)))
        return True
    finally:
        for one in streams:  # who writes to a program must notice that it has closed its input
            os.close(one)
    status = None
    try:
        orders.sendall(REPLY.pack(process.pid))
        status = _wait(process.pid, orders, woken)
    finally:
        _end_all(process.pid)
    if status is None:
        return False
    process.returncode = os.waitstatus_to_exitcode(status)  # collected here, not by `process`
    orders.sendall(REPLY.pack(status))
    return True


def _wait(program: int, orders: socket.socket, woken: int) -> int | None:
    """Return the wait status of the program; None where the other end of the socket is closed."""
    events = select.poll()
    events.register(orders, select.POLLIN)
    events.register(woken, select.POLLIN)
    while (status := _collect(program)) is None:
        if any(descriptor != woken for descriptor, _ in events.poll()):
            return None
        with suppress(BlockingIOError):
            os.read(woken, LONGEST_READ)
    return status


def _limit_files(most_bytes: int) -> None:
    """Limit what this process, and those that it starts, may write to a file; it writes none."""
    if IS_LINUX:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = most_bytes if most == resource.RLIM_INFINITY else min(most_bytes, most)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))


def _collect(child: int) -> int | None:
    """Collect what has ended; return the wait status of the program if it is among them."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if not ended:
            return None
        if ended == child:
            return status


def _end_all(group: int) -> None:
    """Kill the program's process group, and children until there are none."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    _end_children()


def _end_children() -> None:
    """Kill and collect children, those adopted meanwhile too, until there are none."""
    for _ in range(MOST_GENERATIONS):
        killed = [child for child in _children() if _kill(child)]
        for child in killed:
            with suppress(ChildProcessError):
                os.waitpid(child, 0)
        if not killed:
            return


def _kill(child: int) -> bool:
    """Kill a child; return whether that was allowed, which it is not for another user's."""
    try:
        os.kill(child, signal.SIGKILL)
    except PermissionError:
        return False
    return True


def _children() -> list[int]:
    """Return the children of this process, adopted ones too; none where /proc is absent."""
    own = os.getpid()
    try:
        return [int(one) for one in Path(f"/proc/{own}/task/{own}/children").read_text().split()]
    except OSError:
        return []


if __name__ == "__main__":
    with suppress(ConnectionError, KeyboardInterrupt):  # the other process, or the guard, has ended
        main()
