"""Measure a cell on a node of a Ray cluster, in a separate process that Ray's worker starts.

When a worker ends, Ray kills its children at once, but a grandchild has time to stop programs.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, NamedTuple

from benchmark.codec import CodecInfo
from benchmark.errors import FOREIGN_ERRORS, raise_interruption
from benchmark.measure.cells import (
    Cell,
    Failed,
    Measured,
    RunConditions,
    StageCallback,
    Task,
    failed_outcome,
    ignore_stages,
)
from benchmark.measure.local import WorkerError, serve
from benchmark.measure.workbench import Workbench
from benchmark.measure.workers import WorkerLost, WorkerProcess
from benchmark.plugins import one_line, use_contents
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec, load_codec
from benchmark.system.atomic import private_folder
from benchmark.system.digest import code_sha256
from benchmark.system.machine import machine

OTHER_CODE = "its version of rdrbench differs from the driver's: install the same version on both"
RAYLET_CHECK_SECONDS = 1.0


class NodeRun(NamedTuple):
    """Facts shared by all cells of a run on a device."""

    conditions: RunConditions
    files: Mapping[str, bytes]  # Python files of users' codecs and metrics, by their paths
    environment: Mapping[str, str]
    code: str  # digest of the driver's code


class Reply(NamedTuple):
    """Outcome of a task on a node."""

    node: str  # Ray's id
    address: str
    outcome: Measured | Failed


class MissingOnNode(Failed):
    """Failure, because this node lacks something that another node may have."""


class NodeBench(Workbench):
    """Workbench that refuses codecs whose build differs from the driver's plan."""

    def carry_out(self, task: Task, enter: StageCallback = ignore_stages) -> Measured | Failed:
        """Execute a task, or return `MissingOnNode` if its codec cannot run as planned."""
        reason = _explain_mismatch(
            task.codec, task.info if isinstance(task, Cell) and not task.pack else None
        )
        return MissingOnNode("load", reason) if reason else super().carry_out(task, enter)


@cache
def _explain_mismatch(spec: CodecSpec, planned_info: CodecInfo | None) -> str:
    """Return why a codec cannot run on this node; `planned_info` is None if it only decodes."""
    try:
        codec = load_codec(spec)
        infos = [codec.describe() for _ in range(2)] if planned_info else []
    except FOREIGN_ERRORS as error:  # constructors run authors' code, too
        raise_interruption(error)
        return one_line(error)
    if not planned_info or infos[0].fingerprint != infos[1].fingerprint:
        return ""  # a codec without a stable fingerprint cannot be compared
    infos = [infos[0], planned_info]
    builds = [(info.fingerprint, info.revision, info.device) for info in infos]
    names = (f"{info.version} ({info.fingerprint[:8]}, {info.device})" for info in infos)
    difference = f"its build differs from that of the plan: {' instead of '.join(names)}"
    return "" if builds[0] == builds[1] else difference


def _serve_node(
    connection: Connection, conditions: RunConditions, files: Mapping[str, bytes]
) -> None:
    with private_folder() as folder:
        use_contents(files, folder)
        serve(connection, conditions, NodeBench)


# The process of this Ray worker that codes, if it was started, with its run and GPUs
_PROCESSES: list[tuple[NodeRun, str | None, WorkerProcess]] = []


def open_process(run: NodeRun) -> WorkerProcess:
    """Return this worker's coding process; start a new one for another run or GPU."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    if _PROCESSES and _PROCESSES[0][:2] != (run, gpus):
        _PROCESSES.pop()[2].end(busy=False)
    if not _PROCESSES:
        conditions = replace(run.conditions, machine=machine())
        limit = conditions.timeout_seconds
        process = WorkerProcess(
            _serve_node, conditions, run.files, limit_seconds=limit, **run.environment
        )
        _PROCESSES.append((run, gpus, process))
    return _PROCESSES[0][2]


def execute_on_node(
    run: NodeRun, task: Task, image: bytes | None, stream: bytes | None = None
) -> Measured | Failed:
    """Execute a task; return `MissingOnNode` if its codec cannot run; `WorkerError` for a bug."""
    process = open_process(run)
    with private_folder() as folder:
        local_task = task if isinstance(task, Cell) else task._replace(folder=folder)
        if stream is not None:
            Store(folder).keep(stream)
        if local_task.source is not None and image is not None:
            file = local_task.source.file._replace(path=folder / "image")
            file.path.write_bytes(image)
            local_task = local_task._replace(source=local_task.source._replace(file=file))
        process.send(local_task)
        try:
            reply: Measured | Failed | str = process.reply()
        except WorkerLost as lost:
            conditions = replace(run.conditions, machine=machine())
            reply = failed_outcome(task, conditions, lost.failed)
    if isinstance(reply, str):
        raise WorkerError(reply)
    outcome: Measured | Failed = reply
    return outcome


@cache
def end_with_raylet(raylet: int) -> None:
    """End this process when its parent, the raylet of the node, has ended.

    Ray 2.60 sometimes leaves such a process running, with the programs that the process started.
    """

    def wait() -> None:
        while os.getppid() == raylet:
            time.sleep(RAYLET_CHECK_SECONDS)
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def measure(run: NodeRun, *task: Any) -> Reply:
    """Execute a Ray task."""
    import ray

    end_with_raylet(os.getppid())
    node = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
    if run.code != code_sha256():
        return Reply(*node, MissingOnNode("load", OTHER_CODE))
    return Reply(*node, execute_on_node(run, *task))
