"""A worker of Ray: holds one queue of a node, and a process for the codecs, which it outlives."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from benchmark.codec_spec import CodecSpec
from benchmark.measure.engine.ray.cluster import Head, end_with_head, import_ray
from benchmark.measure.engine.ray.process import (
    Fault,
    NeededCodec,
    Order,
    Payload,
    Reply,
    WorkerConfig,
)
from benchmark.measure.engine.workers import ENDING_SECONDS, Begun, Patience, how_it_ended
from benchmark.measure.execute import Failed
from benchmark.measure.workbench import Measured, failed_cell
from benchmark.plan.cells import Cell
from benchmark.system.machine import machine
from benchmark.system.processes import descendants, end_tree
from benchmark.system.settings import ONE_THREAD

ROOT = Path(__file__).parents[4]
PARTS = ("benchmark", "baselines")
END_SECONDS = 20.0
KNOCK_EVERY_SECONDS = 5.0  # of each worker at the head: a thousand of them are 200 a second
MAIN = "from benchmark.measure.engine.ray.process import main; main()"


class Hello(NamedTuple):
    """A worker's report on the node where it runs."""

    node: str  # Ray's id
    address: str
    machine: str
    refusal: str  # why it cannot take part in this run; empty where it can
    lacks: dict[CodecSpec, str]  # why codecs cannot run there


class Worker:
    """Made an actor by the driver; its methods are called one after another.

    environment: of the driver, as far as codecs and metrics ask for it. code: its `code_sha256`.
    """

    def __init__(self, config: WorkerConfig, environment: dict[str, str], code: str) -> None:
        conditions = replace(config.conditions, machine=machine())
        self._config = config._replace(conditions=conditions)
        self._environment, self._code = environment, code
        self._process: subprocess.Popen[bytes] | None = None
        self._sent = ""  # the image that the process has

    def hello(self, wanted: Sequence[NeededCodec]) -> Hello:
        """Report the node, and which of these codecs cannot run on it."""
        ray = import_ray()
        node = ray.get_runtime_context().get_node_id()
        address = ray.util.get_node_ip_address()
        here = self._config.conditions.machine
        end_with_head(Head(ray.get_runtime_context().gcs_address, KNOCK_EVERY_SECONDS))
        if code_sha256() != self._code:
            why = "its rdrbench is another version than the driver's: install the same on both"
            return Hello(node, address, here, why, {})
        lacks: dict[CodecSpec, str] = {}
        for one in wanted:
            try:
                reason = self._ask(one)
            except _DiedError as died:
                reason = f"the process that loaded it {died}"
            if isinstance(reason, Fault):
                reason = reason.traceback
            if reason:
                lacks[one.spec] = str(reason)
        return Hello(node, address, here, "", lacks)

    def work(self, payload: Payload, image: NDArray[np.uint8] | None) -> Measured | Failed | Fault:
        """Carry out a task; image: bytes of its source's file, uint8 of shape (n,)."""
        task = payload.task
        source = task.source
        try:
            if source is not None and image is not None and source.sha256 != self._sent:
                payload = payload._replace(image=image.tobytes())
            reply = self._ask(payload)
            self._sent = source.sha256 if source is not None else self._sent
        except _DiedError as died:
            failed = died.overdue or Failed(
                "worker", f"the process that worked on this cell {died}"
            )
            if isinstance(task, Cell):
                return failed_cell(task, self._config.conditions, failed)
            return failed
        return cast(Measured | Failed | Fault, reply)

    def _ask(self, order: Order) -> Reply:
        if self._process is None:
            self._start()
        patience = Patience(self._config.conditions.timeout_seconds)
        try:
            self._connection.send(order)
            while self._connection.poll(patience.left_seconds()):
                reply: Reply = self._connection.recv()
                if not isinstance(reply, Begun):
                    return reply
                patience.begin(reply.stage)
        except (EOFError, OSError):
            raise _DiedError(self._bury()) from None
        self._end()
        raise _DiedError(self._bury(), patience.failure())

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        self._obituary, told = Pipe(duplex=False)
        descriptors = (theirs.fileno(), told.fileno())
        own = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", MAIN, *map(str, descriptors)],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                **self._environment,
                **ONE_THREAD,
                "PYTHONPATH": os.pathsep.join(own),
            },
        )
        theirs.close()
        told.close()
        self._connection.send(self._config)

    def _end(self) -> None:
        """End the process that works, the child of the one that was started here."""
        assert self._process is not None
        for working, _ in descendants(self._process.pid)[:1]:
            end_tree(working, self._ended, ENDING_SECONDS)
        self._process.kill()

    def _ended(self, seconds: float) -> bool:
        assert self._process is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

    def _bury(self) -> str:
        """Return how the process ended; another is started for the next order."""
        assert self._process is not None
        code = _last_word(self._obituary)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for end in (self._connection, self._obituary):
            end.close()
        self._process, self._sent = None, ""
        return how_it_ended(code)


class _DiedError(Exception):
    """The process for codecs is gone; the message says how it ended."""

    def __init__(self, how: str, overdue: Failed | None = None) -> None:
        super().__init__(how)
        self.overdue = overdue  # where it was ended because its task took too long


def code_sha256() -> str:
    """Hash the Python files of this project: two machines with equal digests measure alike."""
    digest = sha256()
    for path in sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


def _last_word(obituary: Connection) -> int:
    try:
        return int(obituary.recv()) if obituary.poll(END_SECONDS) else -9
    except (EOFError, OSError):  # who watched over it was killed with it
        return -9
