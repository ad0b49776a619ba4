"""End a process when the one that it works for is gone, and leave a closed terminal to that one."""

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from time import sleep
from types import FrameType

GRACE_SECONDS = 5.0
OF_THE_TERMINAL = (signal.SIGINT, signal.SIGHUP)


def work_for(descriptor: int, work: Callable[[], None]) -> None:
    """Call `work` for the process at the other end of a pipe or socket; end with it, or at SIGTERM.

    Whether it closed its end or the kernel did, since it was killed: this process gets SIGTERM,
    which ends the work by `KeyboardInterrupt` so that a program that is running is ended on the way
    out, and after `GRACE_SECONDS` SIGKILL, for native code hears no signal. Ctrl-C and a closed
    terminal, which reach both, are the other's to handle. That it is gone is no exception, even
    where that is known before the work has begun.
    """
    for number in OF_THE_TERMINAL:
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
def terminal_blocked() -> Iterator[None]:
    """Keep Ctrl-C and the end of the terminal from processes that are started in the block.

    They inherit the mask, so that nothing reaches them before they can set a handler, or after.
    What comes for this process meanwhile is delivered at the end at the latest.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
