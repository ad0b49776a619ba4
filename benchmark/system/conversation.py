"""A program that stays and answers requests: numbered messages with a body, over its own pipes.

It runs below a launcher, so that it ends with this process, however that ends, and takes along what
it has started. What it prints on standard error is read and forgotten, except for the end.
"""

import json
import os
import re
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import wait
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from threading import Thread
from time import monotonic
from typing import Any

from benchmark.errors import ProgramFailed
from benchmark.system.atomic import private_folder
from benchmark.system.processes import ending, require_posix
from benchmark.system.programs import STDERR_KEPT_CHARACTERS, WITH_LAUNCHER, idle_launcher, order_of
from benchmark.system.text import parse_json

MAGIC = b"RDRW"
HEAD = struct.Struct(">4sIQ")  # magic, bytes of json, bytes of body
MOST_MESSAGE_BYTES = 1 << 22
MOST_PRINTED_BYTES = 1 << 16  # before the first answer, by what the program imports
NO_LIMIT = (1 << 63) - 1  # of the files that it writes: caches of frameworks
PIPE_BYTES = 1 << 20
SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ in linux/fcntl.h
SECONDS_TO_SAY = 0.5  # of a program that has ended, for its last words to arrive


class Conversation:
    """A started program that answers in turn; an answer that fails (`ProgramFailed`) ends it."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = Path(command[0]).name
        self.closed = False
        self._asked = 0
        self._printed = b""
        self._closing = ExitStack()
        own = self._closing.enter_context(private_folder())
        pipes = [own / name for name in ("in", "out", "err")]
        self._requests, self._answers, errors = _opened(pipes)
        for descriptor in (self._requests, self._answers):
            self._closing.callback(os.close, descriptor)
        self._launcher = idle_launcher()
        self._launcher.start(order_of(command, folder, environment, pipes, NO_LIMIT))
        self._listener = Thread(target=self._listen, args=(errors,), daemon=True)
        self._listener.start()

    def ask(
        self, message: Mapping[str, Any], body: bytes, timeout_seconds: float, most_bytes: int
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request; return the answer with its body of at most `most_bytes`.

        An answer has its request's number, and nothing comes before the request.
        """
        end = monotonic() + timeout_seconds
        self._asked += 1
        text = json.dumps({**message, "number": self._asked}).encode()
        try:
            unasked = self._asked > 1 and wait([self._answers], 0)
            if unasked and not wait([self._launcher.answers], 0):  # else it has ended
                raise ProgramFailed(f"{self.name} wrote to its pipe without being asked")
            self._send(HEAD.pack(MAGIC, len(text), len(body)) + text, end)
            self._send(body, end)
            magic, message_bytes, body_bytes = HEAD.unpack(self._head(end))
            if magic != MAGIC or message_bytes > MOST_MESSAGE_BYTES:
                raise ValueError("no head of one")
            if body_bytes > most_bytes:
                size = f"{body_bytes:,} bytes, and at most {most_bytes:,} are read"
                raise ProgramFailed(f"{self.name} answered {size}")
            answer = parse_json(self._receive(message_bytes, end), dict[str, Any])
            if answer.pop("number", None) != self._asked:
                what = "another question than the last one, or as an older rdrbench_worker.py does"
                raise ProgramFailed(f"{self.name} answered {what}: copy that file again")
            return answer, self._receive(body_bytes, end)
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                why = f"was stopped after {timeout_seconds:g} s without an answer"
            elif isinstance(error, ValueError):
                why = f"wrote something else than an answer to its pipe ({error})"
            else:
                raise
            raise ProgramFailed(f"{self.name} {why}{self._said()}") from None

    def close(self) -> None:
        """End the program with all that it has started."""
        if not self.closed:
            self.closed = True
            self._launcher.close()
            self._listener.join(SECONDS_TO_SAY)
            self._closing.close()

    def _send(self, data: bytes, end: float) -> None:
        rest = memoryview(data)
        while rest:
            self._wait(self._requests, EVENT_WRITE, end)
            with suppress(BlockingIOError):
                rest = rest[os.write(self._requests, rest[:PIPE_BYTES]) :]

    def _receive(self, count: int, end: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._wait(self._answers, EVENT_READ, end)
            with suppress(BlockingIOError):
                if not (block := os.read(self._answers, min(PIPE_BYTES, count - len(data)))):
                    self._wait(self._launcher.answers, EVENT_READ, end)
                    raise ProgramFailed(self._ended())
                data += block
        return bytes(data)

    def _head(self, end: float) -> bytes:
        """Return the head of an answer; of the first one, without what was printed before it."""
        head = self._receive(HEAD.size, end)
        most = 0 if self._asked > 1 else MOST_PRINTED_BYTES
        while not head.startswith(MAGIC) and (most := most - 1) >= 0:
            head = head[1:] + self._receive(1, end)
        return head

    def _wait(self, descriptor: int, event: int, end: float) -> None:
        """Wait for an event of a pipe; raise `ProgramFailed` where the program has ended."""
        with DefaultSelector() as ready:
            for awaited, kind in {self._launcher.answers: EVENT_READ, descriptor: event}.items():
                ready.register(awaited, kind)
            events = {key.fd for key, _ in ready.select(max(0, end - monotonic()))}
        if not events:
            raise TimeoutError
        if descriptor not in events:
            raise ProgramFailed(self._ended())

    def _ended(self) -> str:
        try:
            code, why = self._launcher.outcome()
        except EOFError:
            return f"{self.name} {WITH_LAUNCHER}"
        if why:
            return f"{self.name} could not be started: {os.strerror(why)}"
        self._listener.join(SECONDS_TO_SAY)
        early = ": it ended before serve(...)" if code == 0 and self._asked == 1 else ""
        return f"{self.name} {ending(code)}{early}{self._said()}"

    def _listen(self, errors: int) -> None:
        with suppress(OSError):
            while wait([errors]) and (block := os.read(errors, PIPE_BYTES)):
                self._printed = (self._printed + block)[-STDERR_KEPT_CHARACTERS:]
        os.close(errors)

    def _said(self) -> str:
        """Return the last line that it printed: of a traceback, place and exception."""
        text = self._printed.decode(errors="replace").strip()
        places = re.findall(r'^\s*File "(.*)", line (\d+)', text, re.MULTILINE)
        place = f"{Path(places[-1][0]).name}, line {places[-1][1]}: " if places else ""
        last_line = " ".join(text.rpartition("\n")[2].split())
        return f"; it said: {place}{last_line}" if last_line else ""


def _opened(pipes: Sequence[Path]) -> list[int]:
    """Make the pipes of requests, answers and errors, and return a descriptor of each."""
    require_posix()
    if sys.platform == "win32":
        return []
    import fcntl

    for pipe in pipes:
        os.mkfifo(pipe, 0o600)
    # With both ends of the requests open here, opening waits for nobody; the others report an end
    # once they have had a writer.
    modes = os.O_RDWR, os.O_RDONLY, os.O_RDONLY
    opened = [os.open(pipe, mode | os.O_NONBLOCK) for pipe, mode in zip(pipes, modes, strict=True)]
    for descriptor in opened[:2]:
        with suppress(OSError):  # more than the system allows
            fcntl.fcntl(descriptor, SET_PIPE_SIZE, PIPE_BYTES)
    return opened
