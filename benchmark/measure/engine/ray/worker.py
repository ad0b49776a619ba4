"""A worker of Ray: serves one queue on a node, by a process for the codecs, which it outlives.

A codec that crashes in native code ends that process alone. Ray kills the children of a worker that
ends at once; the process is a child's child (`workers`), and has the time to end its programs.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from multiprocessing.connection import Connection
from pathlib import Path
from traceback import format_exc
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.codec import CodecInfo, Pixels
from benchmark.codec_spec import CodecSpec, load_codec
from benchmark.datasets.dataset import Source
from benchmark.measure.engine.local import announcer, send_outcome
from benchmark.measure.engine.ray.cluster import Head, end_with_head, import_ray
from benchmark.measure.engine.workers import Lost, WorkerProcess
from benchmark.measure.execute import Failed
from benchmark.measure.workbench import Conditions, Measured, Resources, Workbench, failed_outcome
from benchmark.packs.pack import Pack
from benchmark.plan.cells import Cell, Task
from benchmark.system.machine import machine
from benchmark.system.private_folder import private_folder
from benchmark.user_file import one_line, use_copies

ROOT = Path(__file__).parents[4]
PARTS = ("benchmark", "baselines")
KNOCK_EVERY_SECONDS = 5.0  # of each worker at the head: a thousand of them are 200 a second


class WorkerConfig(NamedTuple):
    """Conditions and files that every task of a worker needs."""

    conditions: Conditions
    files: dict[str, bytes]  # Python files of users' codecs and metrics, by their paths


class NeededCodec(NamedTuple):
    """Codec needed by queued tasks; the reply is why it cannot run here as on the driver, or ""."""

    spec: CodecSpec
    info: CodecInfo | None  # None where only its decoder is needed


class Payload(NamedTuple):
    """A task with what its worker may not find on its own disk; the reply is its outcome."""

    task: Task
    image: bytes | None  # the source's file; None for the one of the payload before
    pack: Pack | None = None  # of this cell's stream alone
    stream: bytes | None = None  # of the row to score again
    kept: frozenset[tuple[str, str]] = frozenset()  # features: protocol and sha256 of pixels


class Fault(NamedTuple):
    """The reply where the harness itself failed."""

    traceback: str


class Hello(NamedTuple):
    """A worker's report on the node where it runs."""

    node: str  # Ray's id
    address: str
    machine: str
    refusal: str  # why it cannot take part in this run; empty where it can
    lacks: dict[CodecSpec, str]  # why codecs cannot run there


class Worker:
    """An actor of the driver's run, with the driver's environment and the digest of its code."""

    def __init__(self, config: WorkerConfig, environment: dict[str, str], code: str) -> None:
        conditions = replace(config.conditions, machine=machine())
        self._config = config._replace(conditions=conditions)
        self._environment, self._code = environment, code
        self._process: WorkerProcess | None = None
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
        replies = {codec.spec: self._ask(codec) for codec in wanted}
        lacks = {
            spec: reply.reason if isinstance(reply, Failed) else str(reply)
            for spec, reply in replies.items()
            if reply
        }
        return Hello(node, address, here, "", lacks)

    def work(self, payload: Payload, image: NDArray[np.uint8] | None) -> Measured | Failed | Fault:
        """Carry out a task; image: bytes of its source's file, uint8 of shape (n,)."""
        task = payload.task
        digest = task.source.sha256 if task.source is not None else ""
        if digest and image is not None and digest != self._sent:
            payload = payload._replace(image=image.tobytes())
        reply: Measured | Failed | Fault = self._ask(payload)
        if isinstance(reply, Failed):  # maybe of another process, which has no image
            self._sent = ""
            return failed_outcome(task, self._config.conditions, reply)
        self._sent = digest or self._sent
        return reply

    def _ask(self, order: NeededCodec | Payload) -> Any:
        """Return the process's reply; `Failed` where it ended instead."""
        limit = self._config.conditions.timeout_seconds
        if self._process is None:
            self._process = WorkerProcess(
                _serve, self._config, limit_seconds=limit, **self._environment
            )
        self._process.send(order)
        try:
            return self._process.reply()
        except Lost as lost:
            return lost.failed


class Delivered(Resources):
    """Resources that travelled with the payload; for the rest, this machine's disk."""

    def __init__(self) -> None:
        super().__init__()
        self._payload: Payload | None = None
        self._image = b""

    def open(self, payload: Payload) -> None:
        """Supply what belongs to this task from now on."""
        self._payload = payload
        self._image = self._image if payload.image is None else payload.image

    def pixels(self, source: Source, flatten: bool) -> Pixels:
        """Decode the image file of the payload."""
        from benchmark.datasets.image import decode_image

        return decode_image(source.file.name, self._image, flatten).pixels

    def pack(self, cell: Cell) -> Pack | None:
        """Return the part of the pack that is in the payload."""
        return self._payload.pack if self._payload else None

    def stream(self, folder: Path, digest: str | None) -> bytes | None:
        """Return the stream of the payload."""
        return self._payload.stream if self._payload else None

    def has_features(self, folder: Path, protocol: str, pixels_sha256: str) -> bool:
        """Return whether they were kept when the payload was sent, or are on a shared disk."""
        sent = self._payload is not None and (protocol, pixels_sha256) in self._payload.kept
        return sent or super().has_features(folder, protocol, pixels_sha256)


def lack(wanted: NeededCodec) -> str:
    """Return why a codec cannot run here as where the run was planned; empty if it can."""
    try:
        codec, there = load_codec(wanted.spec), wanted.info
        here = codec.describe() if there else None
    except Exception as error:  # constructors run foreign code as well
        return one_line(error)
    if here is None or there is None or _identity(here) == _identity(there):
        return ""
    builds = (f"{info.version} ({info.fingerprint[:8]}, {info.device})" for info in (here, there))
    return f"its build is not the one the run was planned with: {' instead of '.join(builds)}"


def _identity(info: CodecInfo) -> tuple[str, int, str]:
    return info.fingerprint, info.revision, info.device


def _serve(connection: Connection, config: WorkerConfig) -> None:
    """Serve orders in the process for the codecs until the end of the pipe."""
    with private_folder() as folder:
        copies = {}
        for number, (path, content) in enumerate(config.files.items()):
            copies[path] = folder / str(number) / Path(path).name  # its own name
            copies[path].parent.mkdir()
            copies[path].write_bytes(content)
        use_copies(copies)
        resources = Delivered()
        enter = announcer(connection, config.conditions)
        bench: Workbench | None = None
        while True:
            order: NeededCodec | Payload = connection.recv()
            if isinstance(order, NeededCodec):
                connection.send(lack(order))
                continue
            reply: Measured | Failed | Fault
            try:
                bench = bench or Workbench(config.conditions, resources)
                resources.open(order)
                reply = bench.carry_out(order.task, enter)
            except Exception:
                reply = Fault(format_exc())
            send_outcome(connection, order.task, config.conditions, reply)


def code_sha256() -> str:
    """Hash the Python files of this project: two machines with equal digests measure alike."""
    digest = sha256()
    for path in sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()
