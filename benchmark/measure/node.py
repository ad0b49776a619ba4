"""Measure a cell on a node of a Ray cluster, by a process that codes for its worker.

Ray kills the children of a worker that ends at once; codecs run in a child's child (`workers`),
which has the time to end its programs.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from benchmark.codec import CodecInfo
from benchmark.errors import FOREIGN, raise_interruption
from benchmark.measure.cells import (
    Cell,
    Conditions,
    Enter,
    Failed,
    Measured,
    Task,
    failed_outcome,
    ignore_stages,
)
from benchmark.measure.local import WorkerError, serve
from benchmark.measure.workbench import Workbench
from benchmark.measure.workers import Lost, WorkerProcess
from benchmark.plugins import one_line, use_contents
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.atomic import private_folder
from benchmark.system.digest import code_sha256
from benchmark.system.machine import machine

OTHER_CODE = "its rdrbench is another version than the driver's: install the same on both"


class Run(NamedTuple):
    """Facts that all cells of a run on a device share."""

    conditions: Conditions
    files: Mapping[str, bytes]  # Python files of users' codecs and metrics, by their paths
    environment: Mapping[str, str]
    code: str  # digest of the driver's


class Reply(NamedTuple):
    """Outcome of a task on a node."""

    node: str  # Ray's id
    address: str
    outcome: Measured | Failed


class NotHere(Failed):
    """The node lacks something for a task, which another node may have."""


class NodeBench(Workbench):
    """A workbench that codes only by what the driver has planned with; else it gives `NotHere`."""

    def carry_out(self, task: Task, enter: Enter = ignore_stages) -> Measured | Failed:
        """Carry out a task as `Workbench` does, unless its codec cannot run here as planned."""
        lacks = _lacks(task.codec, task.info if isinstance(task, Cell) and not task.pack else None)
        return NotHere("load", lacks) if lacks else super().carry_out(task, enter)


@cache
def _lacks(spec: CodecSpec, planned: CodecInfo | None) -> str:
    """Return why a codec cannot run here as planned; planned: None of what only decodes."""
    try:
        codec = load_codec(spec)
        here, again = (codec.describe(), codec.describe()) if planned else (None, None)
    except FOREIGN as error:  # constructors run foreign code as well
        raise_interruption(error)
        return one_line(error)
    if not (planned and here and again) or here.fingerprint != again.fingerprint:
        return ""  # of one that cannot see what it runs, and says another each time
    builds = [(of.fingerprint, of.revision, of.device) for of in (here, planned)]
    names = (f"{of.version} ({of.fingerprint[:8]}, {of.device})" for of in (here, planned))
    differ = f"its build differs from that of the plan: {' instead of '.join(names)}"
    return "" if builds[0] == builds[1] else differ


def _serve(connection: Connection, conditions: Conditions, files: Mapping[str, bytes]) -> None:
    with private_folder() as folder:
        use_contents(files, folder)
        serve(connection, conditions, NodeBench)


_HERE: list[tuple[Run, str | None, WorkerProcess]] = []  # of a worker of Ray: one, or none yet


def process_of(run: Run) -> WorkerProcess:
    """Return the process that codes here; made anew for another run or GPU than the last had."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    if _HERE and _HERE[0][:2] != (run, gpus):
        _HERE.pop()[2].end(busy=False)
    if not _HERE:
        conditions = replace(run.conditions, machine=machine())
        limit = conditions.timeout_seconds
        process = WorkerProcess(
            _serve, conditions, run.files, limit_seconds=limit, **run.environment
        )
        _HERE.append((run, gpus, process))
    return _HERE[0][2]


def carry_out_here(
    run: Run, task: Task, image: bytes | None, stream: bytes | None = None
) -> Measured | Failed:
    """Carry out a task; the outcome is `NotHere` where its codec cannot run here.

    image: the bytes of its file. stream: of a row to score again. Raises `WorkerError` for a fault
    of the harness.
    """
    process = process_of(run)
    with private_folder() as folder:
        here = task if isinstance(task, Cell) else task._replace(folder=folder)
        if stream is not None:
            Store(folder).keep(stream)
        if here.source is not None and image is not None:
            file = here.source.file._replace(path=folder / "image")
            file.path.write_bytes(image)
            here = here._replace(source=here.source._replace(file=file))
        process.send(here)
        try:
            reply: Measured | Failed | str = process.reply()
        except Lost as lost:
            conditions = replace(run.conditions, machine=machine())
            reply = failed_outcome(task, conditions, lost.failed)
    if isinstance(reply, str):
        raise WorkerError(reply)
    outcome: Measured | Failed = reply
    return outcome


def measure(run: Run, *task: Any) -> Reply:
    """Carry out a task as one of Ray."""
    import ray

    node = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
    if run.code != code_sha256():
        return Reply(*node, NotHere("load", OTHER_CODE))
    return Reply(*node, carry_out_here(run, *task))
