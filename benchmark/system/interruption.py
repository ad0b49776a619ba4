"""Notice SIGINT and SIGTERM, and pass them on to the processes that work for this one.

For work that ends by itself, everything saved, after a signal: in this process, where it has
handlers of its own, or in processes that `multiprocessing` has started.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import active_children
from threading import current_thread, main_thread
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LARGEST_READ = 4096


@contextmanager
def passed_on() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal came; for the main thread.

    While other processes work for this one, it reaches them and this one keeps waiting. While
    none does, it is a `KeyboardInterrupt`, until the work sets handlers of its own. Those that were
    there before are back afterwards.
    """
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    numbers: set[int] = set()

    def came() -> bool:
        with suppress(BlockingIOError):
            numbers.update(os.read(reading, LARGEST_READ))
        return not numbers.isdisjoint(SIGNALS)

    before = {number: signal.signal(number, _pass_on) for number in SIGNALS}
    # The numbers of all signals go there, also of those that a later handler takes.
    other = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield came
    finally:
        signal.set_wakeup_fd(other)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _pass_on(_number: int, _frame: FrameType | None) -> None:
    workers = active_children()
    if not workers:
        raise KeyboardInterrupt
    for worker in workers:
        worker.terminate()


@contextmanager
def delayed() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the block has ended; it should take milliseconds.

    In another thread than the main one, which signals never interrupt, this does nothing.
    """
    if current_thread() is not main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: came.append(number))
        for number in SIGNALS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for caught in came[:1]:
            signal.raise_signal(caught)
