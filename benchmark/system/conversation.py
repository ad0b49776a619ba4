"""Conversation with a running program: numbered messages with a body, over separate pipes.

The program, and all that it started, is killed when this process ends. Its stderr is truncated.
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
from benchmark.system.processes import describe_exit, require_posix
from benchmark.system.programs import (
    LAUNCHER_KILLED,
    MAX_STDERR_CHARACTERS,
    idle_launcher,
    make_request,
)
from benchmark.system.text import parse_json

MAGIC = b"RDRW"
HEADER = struct.Struct(">4sIQ")  # magic, bytes of json, bytes of body
MAX_MESSAGE_BYTES = 1 << 22
MAX_PRINTED_BYTES = 1 << 16  # that imported modules may print before the first answer
NO_LIMIT = (1 << 63) - 1  # of files that the program writes, such as a framework's cache
PIPE_BYTES = 1 << 20
SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ in linux/fcntl.h
STDERR_SECONDS = 0.5  # time to wait for the standard error of a program that has ended


class Conversation:
    """A running program that answers requests in turn; a failure (`ProgramFailed`) ends it."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = Path(command[0]).name
        self.closed = False
        self._num_requests = 0
        self._stderr = b""
        self._exit_stack = ExitStack()
        pipe_folder = self._exit_stack.enter_context(private_folder())
        pipes = [pipe_folder / name for name in ("in", "out", "err")]
        self._requests, self._answers, errors = _open_pipes(pipes)
        for descriptor in (self._requests, self._answers):
            self._exit_stack.callback(os.close, descriptor)
        self._launcher = idle_launcher()
        self._launcher.start(make_request(command, folder, environment, pipes, NO_LIMIT))
        self._listener = Thread(target=self._collect_stderr, args=(errors,), daemon=True)
        self._listener.start()

    def ask(
        self, message: Mapping[str, Any], body: bytes, timeout_seconds: float, max_bytes: int
    ) -> tuple[dict[str, Any], bytes]:
        """Send a request; return the answer and its body, of at most `max_bytes`.

        An answer repeats its request's number; the program may not write before a request.
        """
        deadline = monotonic() + timeout_seconds
        self._num_requests += 1
        text = json.dumps({**message, "number": self._num_requests}).encode()
        try:
            has_unread_data = self._num_requests > 1 and wait([self._answers], 0)
            has_ended = bool(wait([self._launcher.answer_descriptor], 0))
            if has_unread_data and not has_ended:
                raise ProgramFailed(f"{self.name} wrote to its pipe before it received a request")
            self._send(HEADER.pack(MAGIC, len(text), len(body)) + text, deadline)
            self._send(body, deadline)
            magic, message_bytes, body_bytes = HEADER.unpack(self._receive_header(deadline))
            if magic != MAGIC or message_bytes > MAX_MESSAGE_BYTES:
                raise ValueError("its header is wrong")
            if body_bytes > max_bytes:
                size = f"{body_bytes:,} bytes, but at most {max_bytes:,} are read"
                raise ProgramFailed(f"{self.name} answered with {size}")
            answer = parse_json(self._receive(message_bytes, deadline), dict[str, Any])
            if answer.pop("number", None) != self._num_requests:
                mismatch = "a request other than the last one, or has an old rdrbench_worker.py"
                raise ProgramFailed(f"{self.name} answered {mismatch}: copy that file again")
            return answer, self._receive(body_bytes, deadline)
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                failure = f"was stopped after {timeout_seconds:g} s without an answer"
            elif isinstance(error, ValueError):
                failure = f"wrote something other than an answer to its pipe ({error})"
            else:
                raise
            raise ProgramFailed(f"{self.name} {failure}{self._describe_stderr()}") from None

    def close(self) -> None:
        """Stop the program and everything that it has started."""
        if not self.closed:
            self.closed = True
            self._launcher.close()
            self._listener.join(STDERR_SECONDS)
            self._exit_stack.close()

    def _send(self, data: bytes, deadline: float) -> None:
        unsent_data = memoryview(data)
        while unsent_data:
            self._wait(self._requests, EVENT_WRITE, deadline)
            with suppress(BlockingIOError):
                unsent_data = unsent_data[os.write(self._requests, unsent_data[:PIPE_BYTES]) :]

    def _receive(self, count: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._wait(self._answers, EVENT_READ, deadline)
            with suppress(BlockingIOError):
                if not (block := os.read(self._answers, min(PIPE_BYTES, count - len(data)))):
                    self._wait(self._launcher.answer_descriptor, EVENT_READ, deadline)
                    raise ProgramFailed(self._describe_end())
                data += block
        return bytes(data)

    def _receive_header(self, deadline: float) -> bytes:
        """Return an answer's header; skip what was printed before the first answer."""
        header = self._receive(HEADER.size, deadline)
        num_skippable = 0 if self._num_requests > 1 else MAX_PRINTED_BYTES
        while not header.startswith(MAGIC) and (num_skippable := num_skippable - 1) >= 0:
            header = header[1:] + self._receive(1, deadline)
        return header

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        with DefaultSelector() as selector:
            for pipe, awaited_event in {
                self._launcher.answer_descriptor: EVENT_READ,
                descriptor: event,
            }.items():
                selector.register(pipe, awaited_event)
            events = {key.fd for key, _ in selector.select(max(0, deadline - monotonic()))}
        if not events:
            raise TimeoutError
        if descriptor not in events:
            raise ProgramFailed(self._describe_end())

    def _describe_end(self) -> str:
        try:
            code, start_error = self._launcher.outcome()
        except EOFError:
            return f"{self.name} {LAUNCHER_KILLED}"
        if start_error:
            return f"{self.name} could not be started: {os.strerror(start_error)}"
        self._listener.join(STDERR_SECONDS)
        hint = ": it ended before serve(...)" if code == 0 and self._num_requests == 1 else ""
        return f"{self.name} {describe_exit(code)}{hint}{self._describe_stderr()}"

    def _collect_stderr(self, errors: int) -> None:
        with suppress(OSError):
            while wait([errors]) and (block := os.read(errors, PIPE_BYTES)):
                self._stderr = (self._stderr + block)[-MAX_STDERR_CHARACTERS:]
        os.close(errors)

    def _describe_stderr(self) -> str:
        text = self._stderr.decode(errors="replace").strip()
        locations = re.findall(r'^\s*File "(.*)", line (\d+)', text, re.MULTILINE)
        location = f"{Path(locations[-1][0]).name}, line {locations[-1][1]}: " if locations else ""
        last_line = " ".join(text.rpartition("\n")[2].split())
        return f"; it said: {location}{last_line}" if last_line else ""


def _open_pipes(pipes: Sequence[Path]) -> list[int]:
    require_posix()
    if sys.platform == "win32":
        return []
    import fcntl

    for pipe in pipes:
        os.mkfifo(pipe, 0o600)
    # With both ends of the requests open here, opening does not wait for a reader. The other pipes
    # report an end of file only after a writer has closed them.
    modes = os.O_RDWR, os.O_RDONLY, os.O_RDONLY
    descriptors = [
        os.open(pipe, mode | os.O_NONBLOCK) for pipe, mode in zip(pipes, modes, strict=True)
    ]
    for descriptor in descriptors[:2]:
        with suppress(OSError):  # PIPE_BYTES may be more than the system allows
            fcntl.fcntl(descriptor, SET_PIPE_SIZE, PIPE_BYTES)
    return descriptors
