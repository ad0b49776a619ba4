"""A worker of Ray: serves a queue on a node, by a process for the codecs, which it outlives.

A codec that crashes in native code ends that process alone. Ray kills the children of a worker that
ends at once; the process is a child's child (`workers`), and has the time to end its programs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import CodecInfo
from benchmark.measure.execute import Failed
from benchmark.measure.local import Payload, serve
from benchmark.measure.ray.cluster import Head, end_with_head, import_ray
from benchmark.measure.workbench import Conditions, Measured, failed_outcome
from benchmark.measure.workers import Lost, WorkerProcess
from benchmark.plugins import one_line, use_copies
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.machine import machine
from benchmark.system.private_folder import private_folder

ROOT = Path(__file__).parents[3]
PARTS = ("benchmark", "baselines")
KNOCK_EVERY_SECONDS = 5.0  # of each worker at the head: a thousand of them are 200 a second


class NeededCodec(NamedTuple):
    """Codec needed by queued tasks; the reply is why it cannot run here as on the driver, or ""."""

    spec: CodecSpec
    info: CodecInfo | None  # None where only its decoder is needed


class Hello(NamedTuple):
    """A worker's report on the node where it runs."""

    node: str  # Ray's id
    address: str
    machine: str
    refusal: str  # why it cannot take part in this run; empty where it can
    lacks: dict[CodecSpec, str]  # why codecs cannot run there


class Worker:
    """An actor of the driver's run, with the driver's environment and the digest of its code."""

    def __init__(
        self,
        conditions: Conditions,
        files: Mapping[str, bytes],  # Python files of users' codecs and metrics, by their paths
        environment: Mapping[str, str],
        code: str,
    ) -> None:
        self._conditions, self._files = replace(conditions, machine=machine()), files
        self._environment, self._code = environment, code
        self._process: WorkerProcess | None = None
        self._sent = ""  # the image that the process has

    def hello(self, wanted: Sequence[NeededCodec]) -> Hello:
        """Report the node, and which of these codecs cannot run on it."""
        ray = import_ray()
        node = ray.get_runtime_context().get_node_id()
        address = ray.util.get_node_ip_address()
        here = self._conditions.machine
        end_with_head(Head(ray.get_runtime_context().gcs_address, KNOCK_EVERY_SECONDS))
        if code_sha256() != self._code:
            why = "its rdrbench is another version than the driver's: install the same on both"
            return Hello(node, address, here, why, {})
        replies = {codec.spec: self._ask(codec) for codec in wanted}
        lacks = {
            spec: reply.reason if isinstance(reply, Failed) else str(reply)
            for spec, reply in replies.items()
            if reply
        }
        return Hello(node, address, here, "", lacks)

    def work(self, payload: Payload, image: NDArray[np.uint8] | None) -> Measured | Failed | str:
        """Carry out a task; image: bytes of its source's file, uint8 of shape (n,)."""
        task = payload.task
        digest = task.source.sha256 if task.source is not None else ""
        if digest and image is not None and digest != self._sent:
            delivered = payload.delivered._replace(image=image.tobytes())
            payload = payload._replace(delivered=delivered)
        reply: Measured | Failed | str = self._ask(payload)
        if isinstance(reply, Failed):  # maybe of another process, which has no image
            self._sent = ""
            return failed_outcome(task, self._conditions, reply)
        self._sent = digest or self._sent
        return reply

    def _ask(self, order: NeededCodec | Payload) -> Any:
        """Return the process's reply; `Failed` where it ended instead."""
        limit = self._conditions.timeout_seconds
        if self._process is None:
            self._process = WorkerProcess(
                _serve, self._conditions, self._files, limit_seconds=limit, **self._environment
            )
        self._process.send(order)
        try:
            return self._process.reply()
        except Lost as lost:
            return lost.failed


def lack(wanted: NeededCodec) -> str:
    """Return why a codec cannot run here as where the run was planned; empty if it can."""
    try:
        codec, there = load_codec(wanted.spec), wanted.info
        here = codec.describe() if there else None
    except Exception as error:  # constructors run foreign code as well
        return one_line(error)
    if here is None or there is None or _identity(here) == _identity(there):
        return ""
    if codec.describe().fingerprint != here.fingerprint:
        return ""  # it cannot see what it runs, and says another each time
    builds = (f"{info.version} ({info.fingerprint[:8]}, {info.device})" for info in (here, there))
    return f"its build differs from that of the plan: {' instead of '.join(builds)}"


def _identity(info: CodecInfo) -> tuple[str, int, str]:
    return info.fingerprint, info.revision, info.device


def _serve(connection: Connection, conditions: Conditions, files: Mapping[str, bytes]) -> None:
    with private_folder() as folder:
        copies = {}
        for number, (path, content) in enumerate(files.items()):
            copies[path] = folder / str(number) / Path(path).name  # its own name
            copies[path].parent.mkdir()
            copies[path].write_bytes(content)
        use_copies(copies)
        serve(connection, conditions, lack)


def code_sha256() -> str:
    """Hash the Python files of this project: two machines with equal digests measure alike."""
    digest = sha256()
    for path in sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()
