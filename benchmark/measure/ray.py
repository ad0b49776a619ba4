"""Measure on a Ray cluster: cells as tasks of Ray, handed out as its nodes are free.

The driver alone stores what comes back, as that of local workers. A cell whose worker or node was
lost is sent again, and is a failed row the `MOST_TRIES`th time.
"""

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
    Conditions,
    Failed,
    Seconds,
    Task,
    failed_by,
    failed_outcome,
    is_random,
    longest_first,
    to_send,
)
from benchmark.measure.local import Finished, WorkerError
from benchmark.measure.node import (
    OTHER_CODE,
    NotHere,
    Reply,
    Run,
    measure,
)
from benchmark.measure.workers import TICK_SECONDS
from benchmark.plugins import file_of
from benchmark.registry import names_file
from benchmark.rows.packs.pack import open_pack
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec
from benchmark.system.digest import code_sha256
from benchmark.system.settings import DEVICE, settings
from benchmark.system.text import counted

REMEDY = "start one with `ray start --head` (docs/cluster.md), or leave out --engine ray"
TRAVEL = ("BENCH_", "VTM_DIR", "TORCH_HOME", "XDG_CACHE_HOME")  # beginnings of variables
MOST_TRIES = 3  # of a cell
PATIENCE_SECONDS = 600.0  # after which a run without any node is given up

SHOWN_SECONDS = 5.0  # after which it is said that no node is there

RESOURCES = {"cuda": "gpus", "cpu": "cpus"}  # of a `Node`, by device


class Node(NamedTuple):
    """A machine of the cluster, with the resources that `ray start` allotted."""

    address: str
    cpus: float
    gpus: float


@contextmanager
def joined() -> Iterator[list[Node]]:
    """Work on the running cluster at $RAY_ADDRESS, else of this machine; yield its nodes of now.

    Ray's notes on its nodes, forty lines for a lost one, are not shown. Raises `Unavailable` where
    no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise Unavailable(
            "--engine ray needs the Python package ray: "
            "`pip install -r requirements-ray.lock` (docs/cluster.md)"
        ) from error
    address = _address()
    # Ray takes SIGTERM, which would hide an interruption.
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, AssertionError, ray.exceptions.RayError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable(
            f"no Ray cluster answers at {address} ({reason}): {REMEDY}; a cluster that asks "
            "for a token needs RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH here too"
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            yield [*_nodes(ray).values()]
        finally:
            ray.shutdown()


def _nodes(ray: Any) -> dict[str, Node]:
    """Return the nodes that are there now, by Ray's ids."""
    there = {of["NodeID"]: of for of in ray.nodes() if of["Alive"]}
    return {
        name: Node(of["NodeManagerAddress"], *(of["Resources"].get(r, 0) for r in ("CPU", "GPU")))
        for name, of in there.items()
    }


def _address() -> str:
    """Return HOST:PORT of the cluster of the user, else that of the last `ray start` here.

    Raises `Unavailable` if nothing listens there: Ray itself would wait for minutes.
    """
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    recorded = file.read_text().strip() if file.is_file() else ""
    address = os.environ.get("RAY_ADDRESS") or recorded
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in host:
        what = (
            f"$RAY_ADDRESS is {address!r}, not HOST:PORT" if address else "no Ray cluster is here"
        )
        raise Unavailable(f"{what}: {REMEDY}")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError as error:
        what = f"no Ray cluster answers at {address} ({error.strerror or error})"
        raise Unavailable(f"{what}: {REMEDY}") from error
    return address


def variables(device: str) -> dict[str, str]:
    """Return the environment variables that travel: those of codecs and metrics, and settings."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith(TRAVEL)}
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**inherited, **settings().variables(), DEVICE: device, **hidden}


class RayEngine:
    """An engine on the nodes of the cluster that was joined, with a worker for each GPU.

    remarks: gets a sentence on each node that is lost or lacks something, and takes no more part
    then.
    """

    def __init__(self, nodes: Sequence[Node], seconds: Seconds, remarks: dict[str, None]) -> None:
        import ray

        self._ray, self._seconds, self._remarks = ray, seconds, remarks
        self._gpu_workers = sum(int(node.gpus) for node in nodes)

    def carry_out(
        self, tasks: Sequence[Task], conditions: Conditions
    ) -> Iterator[Finished | str | None]:
        """Do all tasks as `local.carry_out` does; yield why nothing is done while no node can."""
        self._conditions, self._tries = conditions, Counter[str]()
        self._random: set[CodecSpec] = set()
        self._refused: dict[str, str] = {}  # sentences on nodes that lack something
        most = {"cuda": self._gpu_workers, "cpu": conditions.jobs}
        of = {device: [task for task in tasks if task.device == device] for device in most}
        if of["cuda"] and not self._gpu_workers:
            those = counted(len(of["cuda"]), "cell is", "cells are")
            raise BenchError(f"{those} for a GPU, and the cluster has none")
        self._waiting = {device: deque(longest_first(of[device], self._seconds)) for device in most}
        sends = {device: self._sends(device, of[device]) for device in most if of[device]}
        flying: dict[Any, Task] = {}
        heard, joined_by = monotonic(), _nodes(self._ray)
        while flying or any(self._waiting.values()):
            for device, queue in self._waiting.items():
                busy = sum(task.device == device for task in flying.values())
                for _ in range(min(most[device] - busy, len(queue))):
                    task = queue.popleft()
                    try:
                        flying[self._sent(task, *sends[device])] = task
                    except (BadPack, StoreError, OSError) as error:
                        yield self._failed(task, failed_by(None, "load", error))
            ready = self._ray.wait([*flying], timeout=TICK_SECONDS)[0] if flying else ()
            for reference in ready:
                yield from self._received(flying.pop(reference), reference)
            there = _nodes(self._ray)
            able = [node for name, node in there.items() if name not in self._refused]
            devices = {task.device for task in flying.values()}
            if ready or all(any(getattr(node, RESOURCES[of]) for node in able) for of in devices):
                heard = monotonic()
            elif self._refused or monotonic() - heard > PATIENCE_SECONDS:
                whys = self._refused.values() or ["none has been there for ten minutes"]
                room = f"no node of the cluster can work: {'; '.join(whys)}"
                raise BenchError(f"{room}: mend or start nodes, and run again; finished cells stay")
            for name in joined_by.keys() - there.keys():
                lost = f"node {joined_by.pop(name).address} was lost: its cells went to others"
                self._remarks[lost] = None
                warnings.warn(lost, Notice, stacklevel=2)
            joined_by |= there
            idle = monotonic() - heard
            waiting = f"no node for {idle:.0f} s; waiting up to {PATIENCE_SECONDS / 60:.0f} minutes"
            yield waiting if idle > SHOWN_SECONDS else None

    def _sends(self, device: str, tasks: Sequence[Task]) -> tuple[Any, Any]:
        """Return the task of Ray that measures cells for a device, and what they share."""
        names = {*(task.codec.name for task in tasks), *self._conditions.metrics}
        files = {n.partition(":")[0]: file_of(n).read_bytes() for n in filter(names_file, names)}
        uses = {"num_gpus": 1, "num_cpus": 0} if device == "cuda" else {"num_cpus": 1}
        run = Run(replace(self._conditions, device=device), files, variables(device), code_sha256())
        return self._ray.remote(max_retries=0, max_calls=0, **uses)(measure), self._ray.put(run)

    def _sent(self, task: Task, remote: Any, run: Any) -> Any:
        """Send a task to nodes that lack nothing; return its reference."""
        image = task.source.file.path.read_bytes() if task.source else None
        refused = ",".join(self._refused)
        where = {"ray.io/node-id": f"!in({refused})"} if refused else {}
        chosen = remote.options(scheduling_strategy="SPREAD", label_selector=where)
        whole, stream = packed(to_send(task, self._random))
        return chosen.remote(run, whole, image, stream)

    def _received(self, task: Task, reference: Any) -> Iterator[Finished]:
        queue = self._waiting[task.device]
        try:
            reply: Reply = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error, WorkerError):
                raise WorkerError(str(error)) from error
            why = str(error).strip().splitlines()[-1]
            raise BenchError(f"a worker of the cluster cannot work: {why}") from error
        except self._ray.exceptions.RayError as error:
            self._tries[task.key] += 1
            if self._tries[task.key] == MOST_TRIES:
                yield self._failed(task, Failed("worker", _lost(error)))
            else:
                queue.appendleft(task)
            return
        if not isinstance(reply.outcome, NotHere):
            self._random |= {task.codec} if is_random(reply.outcome) else set()
            yield Finished(task, reply.outcome)
            return
        queue.appendleft(task)
        codec = "" if reply.outcome.reason == OTHER_CODE else f"{task.codec.text}: "
        sentence = f"node {reply.address} takes no part: {codec}{reply.outcome.reason}"
        self._refused[reply.node] = sentence
        self._remarks[sentence] = None

    def _failed(self, task: Task, failed: Failed) -> Finished:
        return Finished(task, failed_outcome(task, self._conditions, failed))


def _lost(error: Exception) -> str:
    how = {
        "NodeDiedError": "the node was lost",
        "OutOfMemoryError": "the process was ended by Ray, for want of memory",
    }.get(type(error).__name__, "the process ended")
    return f"{MOST_TRIES} workers lost while working on this cell; of the last one, {how}"


_opened = cache(open_pack)


def packed(task: Task) -> tuple[Task, bytes | None]:
    """Return a task that needs no file here but its image, and the stream of a row to score."""
    if not isinstance(task, Cell):
        return task, Store(task.folder).stream(task.row["stream_sha256"])
    if isinstance(task.pack, Path):
        pack, source = _opened(task.pack), task.source
        part = pack.only(task.codec, source.sha256, source.width_px, task.setting)
        return task._replace(pack=part), None
    return task, None
