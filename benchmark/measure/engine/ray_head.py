"""Watch whether the head of a Ray cluster is there; Ray itself waits a minute and then exits."""

import os
import signal
import socket
from threading import Thread
from time import monotonic, sleep

LOST_SECONDS = 5.0  # between the first question without an answer and the last
KNOCK_SECONDS = 2.0  # that an answer may take
RETRY_SECONDS = 1.0  # after a question without an answer


class Head:
    """The head of the cluster at an address, HOST:PORT, asked whenever `every_seconds` are over."""

    def __init__(self, address: str, every_seconds: float = RETRY_SECONDS) -> None:
        self.address, self._every = address, every_seconds
        host, _, port = address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._asked = monotonic()
        self._silent_since: float | None = None

    def is_lost(self) -> bool:
        """Return whether it has been silent for `LOST_SECONDS`; quick unless it is time to ask."""
        every = self._every if self._silent_since is None else RETRY_SECONDS
        if (now := monotonic()) - self._asked >= every:
            self._asked = now
            try:
                socket.create_connection(self._place, KNOCK_SECONDS).close()
                self._silent_since = None
            except OSError:
                self._silent_since = self._silent_since or now
        return self._silent_since is not None and self._asked - self._silent_since >= LOST_SECONDS


def end_with_head(head: Head) -> None:
    """End this process when the head is lost: nobody would fetch what it still measures.

    What works for it notices that by its pipe (`processes/hang_up.py`), and ends its programs.
    """
    Thread(target=_watch, args=(head,), daemon=True).start()


def _watch(head: Head) -> None:
    while not head.is_lost():
        sleep(RETRY_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)  # whatever its other threads are at
