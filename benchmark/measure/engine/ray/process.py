"""A process that measures for a worker of Ray; a codec that crashes ends this process alone.

    python -P -c "from benchmark.measure.engine.ray.process import main; main()" CONNECTION OBITUARY

Both are descriptors of pipes. The worker itself stays: a crash in native code ends this process
alone, and the second pipe says how. (Run with -m, its classes would be other ones to the worker.)
"""

import sys
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from traceback import format_exc
from typing import NamedTuple

from benchmark.codec import CodecInfo, Pixels
from benchmark.codec_spec import CodecSpec
from benchmark.datasets.dataset import Source
from benchmark.measure.engine.local import announcer, send_outcome
from benchmark.measure.engine.workers import Begun
from benchmark.measure.execute import Failed
from benchmark.measure.workbench import Conditions, Measured, Rescore, Resources, Workbench
from benchmark.packs.pack import Pack
from benchmark.plan.cells import Cell
from benchmark.system.private_folder import private_folder
from benchmark.system.processes import work_for
from benchmark.user_file import one_line, use_copies


class WorkerConfig(NamedTuple):
    """Conditions and files that every task of a worker needs; its first order."""

    conditions: Conditions
    files: dict[str, bytes]  # Python files of users' codecs and metrics, by their paths


class NeededCodec(NamedTuple):
    """A codec that tasks will ask for, and what it is where the run was planned.

    The reply is why it cannot run here as it does there, or nothing.
    """

    spec: CodecSpec
    info: CodecInfo | None  # None where only its decoder is asked for


class Payload(NamedTuple):
    """A task with what its worker may not find on its own disk; the reply is its outcome."""

    task: Cell | Rescore
    image: bytes | None  # the source's file; None for the one of the payload before
    pack: Pack | None = None  # of this cell's stream alone
    stream: bytes | None = None  # of the row to score again
    kept: frozenset[tuple[str, str]] = frozenset()  # features: protocol and sha256 of pixels


class Fault(NamedTuple):
    """The reply where the harness itself failed."""

    traceback: str


Order = WorkerConfig | NeededCodec | Payload
Reply = Begun | Measured | Failed | Fault | str


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
        told = self._payload is not None and (protocol, pixels_sha256) in self._payload.kept
        return told or super().has_features(folder, protocol, pixels_sha256)


def lack(resources: Resources, wanted: NeededCodec) -> str:
    """Return why a codec cannot run here as where the run was planned; empty if it can."""
    try:
        codec = resources.codec(wanted.spec)
        here = codec.describe() if wanted.info else None
    except Exception as error:  # constructors run foreign code as well
        return one_line(error)
    there = wanted.info
    if here and there and _identity(here) != _identity(there):
        return (
            f"what codes is another one than where the run was planned: {here.version} "
            f"({here.fingerprint[:8]}, {here.device}) instead of {there.version} "
            f"({there.fingerprint[:8]}, {there.device})"
        )
    return ""


def _identity(info: CodecInfo) -> tuple[str, int, str]:
    return info.fingerprint, info.revision, info.device


def main() -> None:
    """Fork: the child works, this process waits and reports how it ended.

    Ray kills the children of a worker that ends, at once. The one that works is a child's child,
    and so has the time to end the program that it runs.
    """
    connection, obituary = (Connection(int(number)) for number in sys.argv[1:3])
    working = get_context("fork").Process(target=_work, args=(connection, obituary))
    working.start()
    connection.close()
    working.join()
    with suppress(OSError):  # the worker may be gone
        obituary.send(working.exitcode)


def _work(connection: Connection, obituary: Connection) -> None:
    obituary.close()
    work_for(connection.fileno(), partial(_serve, connection))


def _written(files: dict[str, bytes], folder: Path) -> dict[str, Path]:
    """Write users' files below a folder, each under its own name; return where they are."""
    copies = {}
    for number, (path, content) in enumerate(files.items()):
        (folder / str(number)).mkdir()
        copies[path] = folder / str(number) / Path(path).name
        copies[path].write_bytes(content)
    return copies


def _serve(connection: Connection) -> None:
    config: WorkerConfig = connection.recv()
    with private_folder() as folder:
        use_copies(_written(config.files, folder))
        resources = Delivered()
        enter = announcer(connection, config.conditions)
        bench: Workbench | None = None
        while True:
            order: NeededCodec | Payload = connection.recv()
            reply: Reply
            try:
                if isinstance(order, NeededCodec):
                    reply = lack(resources, order)
                else:
                    bench = bench or Workbench(config.conditions, resources)
                    resources.open(order)
                    reply = bench.carry_out(order.task, enter)
            except Exception:
                reply = Fault(format_exc())
            if isinstance(order, NeededCodec):
                connection.send(reply)
            else:
                send_outcome(connection, order.task, config.conditions, reply)
