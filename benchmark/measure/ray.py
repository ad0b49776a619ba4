"""Measure on a Ray cluster: parcels of cells as tasks of Ray, handed out as its nodes are free.

The driver alone stores what comes back, as that of local workers. Cells whose worker or node was
lost are sent again, each alone, and are failed rows the `MOST_TRIES`th time.
"""

import atexit
import os
import signal
import socket
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import cache, partial
from math import inf
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from benchmark.errors import BenchError, Unavailable, UsageError
from benchmark.measure.cells import (
    Cell,
    Conditions,
    Failed,
    Seconds,
    Task,
    failed_by,
    failed_outcome,
)
from benchmark.measure.local import Finished, WorkerError
from benchmark.measure.node import NotHere, Reply, Run, end_at_once, measure, watch_head
from benchmark.measure.workers import ENDING_SECONDS, TICK_SECONDS
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
PARCEL_SECONDS = 10.0  # of short cells that travel together, all of which a lost worker loses
MOST_TRIES = 3  # of a cell
PATIENCE_SECONDS = 600.0  # after which a run without any node is given up

T = TypeVar("T")


class HeadLost(BenchError):  # noqa: N818 - reads as what happened
    """The head of the cluster has gone; what it says needs no traceback."""


class Node(NamedTuple):
    """A machine of the cluster, with the resources that `ray start` allotted."""

    address: str
    cpus: float
    gpus: float


@contextmanager
def joined(address: str) -> Iterator[list[Node]]:
    """Work on a running cluster, that of this machine for `auto`; yield the nodes it has now.

    Ray's notes on its nodes, forty lines for a lost one, are not shown. Raises `Unavailable` where
    no cluster answers, `UsageError`.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise Unavailable(
            "--engine ray needs the Python package ray: "
            "`pip install -r requirements-ray.lock` (docs/cluster.md)"
        ) from error
    _knock(address)
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
    leave: Callable[[], object] = ray.shutdown
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        try:
            yield [*_nodes(ray).values()]
        except HeadLost:
            leave = partial(atexit.register, end_at_once)  # Ray would wait for it, or crash
            raise
        finally:
            leave()


def _nodes(ray: Any) -> dict[str, Node]:
    """Return the nodes that are there now, by Ray's ids."""
    there = {of["NodeID"]: of for of in ray.nodes() if of["Alive"]}
    return {
        name: Node(of["NodeManagerAddress"], *(of["Resources"].get(r, 0) for r in ("CPU", "GPU")))
        for name, of in there.items()
    }


def _knock(address: str) -> None:
    """Raise `Unavailable` if nothing listens at the address: Ray itself would wait for minutes."""
    if address == "auto":  # that of the last `ray start` of this machine
        file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
        recorded = file.read_text().strip() if file.is_file() else ""
        if not (address := os.environ.get("RAY_ADDRESS") or recorded):
            return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise UsageError(f"--address {address!r} is neither auto nor HOST:PORT")
    try:
        socket.create_connection((host, int(port))).close()
    except OSError as error:
        what = f"no Ray cluster answers at {address} ({error.strerror or error})"
        raise Unavailable(f"{what}: {REMEDY}") from error


def parcels(tasks: Sequence[Task], seconds: Seconds) -> list[list[Task]]:
    """Put short tasks of an image and codec together; the longest and unknown ones come first."""
    result, sums = list[list[Task]](), list[float]()
    last: dict[object, int] = {}
    for task in tasks:
        expected, kind = seconds(task), (task.image_sha256, task.codec, task.device)
        cost, at = inf if expected is None else expected, last.get(kind, -1)
        if at >= 0 and sums[at] + cost <= PARCEL_SECONDS:
            result[at].append(task)
            sums[at] += cost
        else:
            last[kind] = len(result)
            result.append([task])
            sums.append(cost)
    return [result[at] for at in sorted(range(len(result)), key=lambda at: -sums[at])]


def gpu_workers(gpus: float, share: float) -> int:
    """Return how many workers of a share of GPUs a node has, none of them with parts of several.

    >>> gpu_workers(3, 2), gpu_workers(3, 0.4)
    (1, 6)
    """
    return int(gpus / share) if share >= 1 else int(gpus) * int(1 / share)


def variables(device: str) -> dict[str, str]:
    """Return the environment variables that travel: those of codecs and metrics, and settings."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith(TRAVEL)}
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**inherited, **settings().variables(), DEVICE: device, **hidden}


def while_answered(address: str, work: Callable[[Event], Iterator[T]]) -> Iterator[T]:
    """Yield what `work` does in a thread; raise `HeadLost` when the head at HOST:PORT is.

    A call of Ray that needs a lost head ends after a minute, or never, and nothing interrupts it:
    the thread is left alone then. work: is handed an event, and returns soon after that is set.
    """
    events, ended, event = SimpleQueue[Any](), Event(), None
    lost = HeadLost(
        f"the head of the Ray cluster at {address} is lost: start the cluster again, and give the "
        "same command; finished cells are kept"
    )

    def act() -> None:
        try:
            for made in work(ended):
                events.put(made)
            events.put(ended)
        except BaseException as error:
            events.put(error)

    thread = Thread(target=act, daemon=True)
    watch_head(address, ended, lambda: events.put(lost))
    thread.start()
    try:
        while (event := events.get()) is not ended:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        ended.set()
        if event is not lost:
            thread.join(ENDING_SECONDS)


class RayEngine:
    """An engine on the nodes of the cluster that was joined.

    gpus: of a worker whose codec runs on a GPU; .5 lets two share it. remarks: gets a sentence on
    each thing that a node lacks.
    """

    def __init__(
        self, nodes: Sequence[Node], seconds: Seconds, gpus: float, remarks: dict[str, None]
    ) -> None:
        import ray

        self._ray, self._seconds, self._gpus, self._remarks = ray, seconds, gpus, remarks
        self._gpu_workers = sum(gpu_workers(node.gpus, gpus) for node in nodes)

    def carry_out(self, tasks: Sequence[Task], conditions: Conditions) -> Iterator[Finished | None]:
        """Do all tasks as `local.carry_out` does; raise `HeadLost` when the head is."""
        address = self._ray.get_runtime_context().gcs_address
        return while_answered(address, partial(self._finished, tasks, conditions))

    def _finished(
        self, tasks: Sequence[Task], conditions: Conditions, ended: Event
    ) -> Iterator[Finished | None]:
        self._conditions, self._tries = conditions, Counter[str]()
        self._refused = defaultdict[CodecSpec | None, dict[str, str]](dict)  # sentences by node
        self._images: dict[Path, Any] = {}  # references to photographs of parcels in flight
        most = {"cuda": self._gpu_workers, "cpu": conditions.jobs}
        of = {device: [task for task in tasks if task.device == device] for device in most}
        if of["cuda"] and not self._gpu_workers:
            lacks = "the cluster has none, or none as large as --gpus-per-worker"
            raise BenchError(
                f"{counted(len(of['cuda']), 'cell is', 'cells are')} for a GPU, and {lacks}"
            )
        self._waiting = {device: deque(parcels(of[device], self._seconds)) for device in most}
        sends = {device: self._sends(device, of[device]) for device in most if of[device]}
        flying: dict[Any, tuple[list[Task], set[str]]] = {}  # with the nodes it may not go to
        heard, joined_by = monotonic(), _nodes(self._ray)
        while (flying or any(self._waiting.values())) and not ended.is_set():
            for device, queue in self._waiting.items():
                busy = sum(parcel[0].device == device for parcel, _ in flying.values())
                for _ in range(min(most[device] - busy, len(queue))):
                    parcel = queue.popleft()
                    try:
                        reference, barred = self._sent(parcel, *sends[device])
                        flying[reference] = parcel, barred
                    except (BenchError, OSError) as error:
                        yield from self._failed(parcel, failed_by(None, "load", error))
            ready = self._ray.wait([*flying], timeout=TICK_SECONDS)[0] if flying else ()
            for reference in ready:
                yield from self._received(flying.pop(reference)[0], reference)
            if ready:
                of_images = [parcel[0].source for parcel, _ in flying.values()]
                used = {source.file.path for source in of_images if source}
                self._images = {path: of for path, of in self._images.items() if path in used}
            for reference, (parcel, barred) in [*flying.items()]:
                if barred and barred >= self._there(parcel[0].device):
                    self._ray.cancel(reference)  # Ray waits for a node that is lost
                    del flying[reference]
                    self._waiting[parcel[0].device].appendleft(parcel)
            if ready or any(self._there(device) for device in most):
                heard = monotonic()
            elif (quiet := monotonic() - heard) > PATIENCE_SECONDS:
                room = f"no node of the cluster has been there for {quiet:.0f} s"
                raise BenchError(f"{room}: start nodes, and run again; finished cells are kept")
            yield None
            for name in joined_by.keys() - _nodes(self._ray).keys():
                lost = joined_by.pop(name)
                self._remarks[f"node {lost.address} was lost: its cells went to others"] = None

    def _there(self, device: str) -> set[str]:
        """Return Ray's ids of the nodes with workers for a device."""
        resource = {"cuda": "gpus", "cpu": "cpus"}[device]
        return {name for name, node in _nodes(self._ray).items() if getattr(node, resource)}

    def _sends(self, device: str, tasks: Sequence[Task]) -> tuple[Any, Any]:
        """Return the task of Ray that measures parcels for a device, and what they share."""
        names = {*(task.codec.name for task in tasks), *self._conditions.metrics}
        files = {n.partition(":")[0]: file_of(n).read_bytes() for n in filter(names_file, names)}
        uses = {"num_gpus": self._gpus, "num_cpus": 0} if device == "cuda" else {"num_cpus": 1}
        run = Run(replace(self._conditions, device=device), files, variables(device), code_sha256())
        return self._ray.remote(max_retries=0, max_calls=0, **uses)(measure), self._ray.put(run)

    def _sent(self, parcel: Sequence[Task], remote: Any, run: Any) -> tuple[Any, set[str]]:
        """Send a parcel to nodes that have not refused it; return its reference, and those.

        Raises `OSError` or `BenchError` for what cannot be read here, or no node can run.
        """
        task = parcel[0]
        refused = {**self._refused[None], **self._refused[task.codec]}
        if refused and refused.keys() >= self._there(task.device):
            raise Unavailable(f"no node can run {task.codec.text}: {'; '.join(refused.values())}")
        image = self._image(task.source.file.path) if task.source else None
        tasks, streams = zip(*map(packed, parcel), strict=True)
        where = {"ray.io/node-id": f"!in({','.join(refused)})"} if refused else {}
        chosen = remote.options(scheduling_strategy="SPREAD", label_selector=where)
        return chosen.remote(run, tasks, image, [*filter(None, streams)]), {*refused}

    def _image(self, path: Path) -> Any:
        if path not in self._images:
            self._images[path] = self._ray.put(path.read_bytes())
        return self._images[path]

    def _received(self, parcel: list[Task], reference: Any) -> Iterator[Finished]:
        queue, codec = self._waiting[parcel[0].device], parcel[0].codec
        try:
            reply: Reply = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error, WorkerError):
                raise WorkerError(str(error)) from error
            why = str(error).strip().splitlines()[-1]
            raise BenchError(f"a worker of the cluster cannot work: {why}") from error
        except self._ray.exceptions.RayError as error:
            self._tries.update(task.key for task in parcel)
            if len(parcel) == 1 and self._tries[parcel[0].key] == MOST_TRIES:
                yield from self._failed(parcel, Failed("worker", _lost(error)))
            else:
                queue.extendleft([task] for task in reversed(parcel))
            return
        lacks = [of for of in reply.outcomes if isinstance(of, NotHere)]
        if not lacks:
            yield from map(Finished, parcel, reply.outcomes)
            return
        queue.appendleft(parcel)
        what = "takes no part" if reply.refuses else f"cannot run {codec.text}"
        sentence = f"node {reply.address} {what}: {lacks[0].reason}"
        self._remarks[sentence] = None
        self._refused[None if reply.refuses else codec][reply.node] = sentence
        if reply.refuses and self._refused[None].keys() >= self._there(parcel[0].device):
            raise BenchError(f"no node can work for this run: {'; '.join(self._remarks)}")

    def _failed(self, parcel: Sequence[Task], failed: Failed) -> Iterator[Finished]:
        for task in parcel:
            yield Finished(task, failed_outcome(task, self._conditions, failed))


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
