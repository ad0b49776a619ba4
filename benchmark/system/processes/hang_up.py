"""End a process when the one that it works for is gone, and leave a closed terminal to that one."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread, current_thread, main_thread
from time import sleep
from types import FrameType

GRACE_SECONDS = 5.0


def work_for(descriptor: int, work: Callable[[], None]) -> None:
    """Call `work` for the process at the other end of a pipe or socket; end with it, or at SIGTERM.

    Whether it closed its end or the kernel did, since it was killed: this process gets SIGTERM,
    which ends the work by `KeyboardInterrupt` so that a program that is running is ended on the way
    out, and after `GRACE_SECONDS` SIGKILL, for native code hears no signal. Ctrl-C and a closed
    terminal, which reach both, are the other's to handle. That it is gone is no exception, even
    where that is known before the work has begun.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(KeyboardInterrupt, EOFError, ConnectionError):
        try:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            Thread(target=_end_with, args=(descriptor,), daemon=True).start()
            work()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is on the way out


def _end_with(descriptor: int) -> None:
    hung_up = select.poll()
    hung_up.register(descriptor, 0)  # a hang-up is always reported
    hung_up.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def hang_up_ignored() -> Iterator[None]:
    """Have processes that are started in the block ignore the end of the terminal (SIGHUP).

    In another thread than the main one, which may set no handlers, this does nothing.
    """
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def interrupt_at_hang_up() -> None:
    """Raise `KeyboardInterrupt` at the end of the terminal, unless it is ignored (`nohup`).

    What is printed to a terminal that is gone is dropped from then on: it would be an `OSError`,
    and hide the interruption.
    """
    if signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
        return
    terminals = [number for number in range(3) if os.isatty(number)]

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        gone = [number for number in terminals if not os.isatty(number)]
        if gone:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in gone:
                os.dup2(nowhere, number)
            os.close(nowhere)
        raise KeyboardInterrupt

    signal.signal(signal.SIGHUP, interrupt)
