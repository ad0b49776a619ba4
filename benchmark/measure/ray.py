"""Measure on a Ray cluster: cells go to free nodes, and again (to `MAX_TRIES`) if lost."""

import os
import signal
import socket
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from benchmark.errors import BadPack, BenchError, Notice, StoreError, Unavailable
from benchmark.measure.cells import (
    Cell,
    Failed,
    RunConditions,
    Seconds,
    Task,
    failed_by,
    failed_outcome,
    is_random,
    longest_first,
    prepare_task,
)
from benchmark.measure.local import Finished, WorkerError
from benchmark.measure.node import (
    OTHER_CODE,
    MissingOnNode,
    NodeRun,
    Reply,
    measure,
)
from benchmark.measure.workers import TICK_SECONDS
from benchmark.plugins import file_of
from benchmark.registry import is_python_file
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from benchmark.system.digest import code_sha256
from benchmark.system.settings import DEVICE, settings
from benchmark.system.text import counted

REMEDY = "start one with `ray start --head` (docs/cluster.md), or leave out --engine ray"
ADDRESS_REMEDY = "set it to HOST:PORT, or leave out --engine ray"
# Prefixes of the environment variables to send
SENT_PREFIXES = ("BENCH_", "VTM_DIR", "TORCH_HOME", "XDG_CACHE_HOME")
MAX_TRIES = 3  # attempts per cell
PATIENCE_SECONDS = 600.0  # a run ends after this time without nodes

NOTICE_SECONDS = 5.0  # missing nodes are reported after this time

RESOURCES = {"cuda": "gpus", "cpu": "cpus"}  # fields of `Node`, by device


class Node(NamedTuple):
    """Machine of the cluster, with the resources that `ray start` gave it."""

    address: str
    cpus: float
    gpus: float


@contextmanager
def connect_cluster() -> Iterator[list[Node]]:
    """Connect to the cluster, hiding Ray's messages; yield its nodes, or raise `Unavailable`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise Unavailable(
            "--engine ray needs the Python package ray: "
            "`pip install -r requirements-ray.lock` (docs/cluster.md)"
        ) from error
    address = _address()
    # Ray installs its own SIGTERM handler, which would hide an interruption.
    handlers = {
        signal_number: signal.getsignal(signal_number)
        for signal_number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, AssertionError, ray.exceptions.RayError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable(
            f"no Ray cluster answers at {address} ({reason}): {REMEDY}; a cluster that requires "
            "a token needs RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH on this machine, too"
        ) from error
    finally:
        for signal_number, handler in handlers.items():
            signal.signal(signal_number, handler)
    with open(os.devnull, "w") as null_device, redirect_stdout(null_device):
        try:
            yield [*_nodes_alive(ray).values()]
        finally:
            ray.shutdown()


def _nodes_alive(ray: Any) -> dict[str, Node]:
    facts_by_node = {facts["NodeID"]: facts for facts in ray.nodes() if facts["Alive"]}
    return {
        node_id: Node(
            facts["NodeManagerAddress"],
            *(facts["Resources"].get(resource, 0) for resource in ("CPU", "GPU")),
        )
        for node_id, facts in facts_by_node.items()
    }


def _address() -> str:
    """Return HOST:PORT of $RAY_ADDRESS or of the last started cluster, or raise `Unavailable`."""
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    recorded_address = file.read_text().strip() if file.is_file() else ""
    address = os.environ.get("RAY_ADDRESS") or recorded_address
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in host:
        if address:
            raise Unavailable(f"$RAY_ADDRESS is not valid, {address!r}: {ADDRESS_REMEDY}")
        raise Unavailable(f"no Ray cluster is running on this machine: {REMEDY}")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError as error:
        problem = f"no Ray cluster answers at {address} ({error.strerror or error})"
        raise Unavailable(f"{problem}: {REMEDY}") from error
    return address


def variables(device: str) -> dict[str, str]:
    """Return the environment variables for nodes: those of codecs and metrics, and settings."""
    inherited_variables = {
        name: value for name, value in os.environ.items() if name.startswith(SENT_PREFIXES)
    }
    hidden_gpus = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**inherited_variables, **settings().variables(), DEVICE: device, **hidden_gpus}


class RayEngine:
    """Engine on the nodes of a cluster; `remarks` gets a sentence on each lost or unused node."""

    def __init__(self, nodes: Sequence[Node], seconds: Seconds, remarks: dict[str, None]) -> None:
        import ray

        self._ray, self._seconds, self._remarks = ray, seconds, remarks
        self._gpu_workers = sum(int(node.gpus) for node in nodes)

    def carry_out(
        self, tasks: Sequence[Task], conditions: RunConditions
    ) -> Iterator[Finished | str | None]:
        """Execute all tasks like `local.carry_out`; yield the reason if no node can work."""
        self._conditions, self._tries = conditions, Counter[str]()
        self._random_codecs: set[CodecSpec] = set()
        self._refusals: dict[str, str] = {}  # sentences on nodes that lack something
        limits = {"cuda": self._gpu_workers, "cpu": conditions.jobs}
        tasks_by_device = {
            device: [task for task in tasks if task.device == device] for device in limits
        }
        if tasks_by_device["cuda"] and not self._gpu_workers:
            cells_text = counted(len(tasks_by_device["cuda"]), "cell needs", "cells need")
            raise BenchError(f"{cells_text} a GPU, but the cluster has none: add a node with a GPU")
        self._queues = {
            device: deque(longest_first(tasks_by_device[device], self._seconds))
            for device in limits
        }
        remote_arguments = {
            device: self._prepare_remote(device, tasks_by_device[device])
            for device in limits
            if tasks_by_device[device]
        }
        sent_tasks: dict[Any, Task] = {}
        last_usable_time, known_nodes = monotonic(), _nodes_alive(self._ray)
        while sent_tasks or any(self._queues.values()):
            for device, queue in self._queues.items():
                num_busy = sum(task.device == device for task in sent_tasks.values())
                for _ in range(min(limits[device] - num_busy, len(queue))):
                    task = queue.popleft()
                    try:
                        sent_tasks[self._send_task(task, *remote_arguments[device])] = task
                    except (BadPack, StoreError, OSError) as error:
                        yield self._finish_failed(task, failed_by(None, "load", error))
            ready_references = (
                self._ray.wait([*sent_tasks], timeout=TICK_SECONDS)[0] if sent_tasks else ()
            )
            for reference in ready_references:
                yield from self._take_reply(sent_tasks.pop(reference), reference)
            nodes_alive = _nodes_alive(self._ray)
            usable_nodes = [node for key, node in nodes_alive.items() if key not in self._refusals]
            busy_devices = {task.device for task in sent_tasks.values()}
            if ready_references or all(
                any(getattr(node, RESOURCES[busy_device]) for node in usable_nodes)
                for busy_device in busy_devices
            ):
                last_usable_time = monotonic()
            elif self._refusals or monotonic() - last_usable_time > PATIENCE_SECONDS:
                reasons = self._refusals.values() or ["none was available for ten minutes"]
                problem = f"no node of the cluster can work: {'; '.join(reasons)}"
                remedy = "repair or start nodes, and run again; finished cells are kept"
                raise BenchError(f"{problem}: {remedy}")
            for name in known_nodes.keys() - nodes_alive.keys():
                sentence = (
                    f"node {known_nodes.pop(name).address} was lost: other nodes got its cells"
                )
                self._remarks[sentence] = None
                warnings.warn(sentence, Notice, stacklevel=2)
            known_nodes |= nodes_alive
            idle_seconds = monotonic() - last_usable_time
            patience = f"waiting up to {PATIENCE_SECONDS / 60:.0f} minutes"
            waiting_text = f"no node for {idle_seconds:.0f} s; {patience}"
            yield waiting_text if idle_seconds > NOTICE_SECONDS else None

    def _prepare_remote(self, device: str, tasks: Sequence[Task]) -> tuple[Any, Any]:
        names = {*(task.codec.name for task in tasks), *self._conditions.metrics}
        files = {
            n.partition(":")[0]: file_of(n).read_bytes() for n in filter(is_python_file, names)
        }
        resources = {"num_gpus": 1, "num_cpus": 0} if device == "cuda" else {"num_cpus": 1}
        run = NodeRun(
            replace(self._conditions, device=device), files, variables(device), code_sha256()
        )
        return self._ray.remote(max_retries=0, max_calls=0, **resources)(measure), self._ray.put(
            run
        )

    def _send_task(self, task: Task, remote: Any, run: Any) -> Any:
        image = task.source.file.path.read_bytes() if task.source else None
        refused_nodes = ",".join(self._refusals)
        selector = {"ray.io/node-id": f"!in({refused_nodes})"} if refused_nodes else {}
        remote_task = remote.options(scheduling_strategy="SPREAD", label_selector=selector)
        packed_task, stream = pack_task(prepare_task(task, self._random_codecs))
        return remote_task.remote(run, packed_task, image, stream)

    def _take_reply(self, task: Task, reference: Any) -> Iterator[Finished]:
        queue = self._queues[task.device]
        try:
            reply: Reply = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error, WorkerError):
                raise WorkerError(str(error)) from error
            reason = str(error).strip().splitlines()[-1]
            raise BenchError(f"a worker of the cluster failed: {reason}") from error
        except self._ray.exceptions.RayError as error:
            self._tries[task.key] += 1
            if self._tries[task.key] == MAX_TRIES:
                yield self._finish_failed(task, Failed("worker", _describe_loss(error)))
            else:
                queue.appendleft(task)
            return
        if not isinstance(reply.outcome, MissingOnNode):
            self._random_codecs |= {task.codec} if is_random(reply.outcome) else set()
            yield Finished(task, reply.outcome)
            return
        queue.appendleft(task)
        codec_prefix = "" if reply.outcome.reason == OTHER_CODE else f"{task.codec.text}: "
        sentence = f"node {reply.address} is not used: {codec_prefix}{reply.outcome.reason}"
        self._refusals[reply.node] = sentence
        self._remarks[sentence] = None

    def _finish_failed(self, task: Task, failed: Failed) -> Finished:
        return Finished(task, failed_outcome(task, self._conditions, failed))


def _describe_loss(error: Exception) -> str:
    cause = {
        "NodeDiedError": "the node was lost",
        "OutOfMemoryError": "Ray ended the process, since memory was short",
    }.get(type(error).__name__, "the process ended")
    return f"{MAX_TRIES} workers were lost while they worked on this cell; the last time, {cause}"


_open_pack_once = cache(open_pack)


def pack_task(task: Task) -> tuple[Task, bytes | None]:
    """Return a task that needs no file except its image, and the stream of a row to rescore."""
    if not isinstance(task, Cell):
        return task, Store(task.folder).stream(task.row["stream_sha256"])
    if isinstance(task.pack, Path):
        pack, source = _open_pack_once(task.pack), task.source
        partial_pack = pack.part_for_cell(task.codec, source.sha256, source.width_px, task.setting)
        return task._replace(pack=partial_pack), None
    return task, None
