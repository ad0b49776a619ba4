"""Measure cells on this machine: single-threaded worker processes, a queue per device.

A worker takes the cells of an image in turn, so that a source is read and prepared once.
A worker that dies takes only its present cell with it: that cell is a failed row with the signal,
and another worker continues. So it is with a worker that is ended because its cell takes too long.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from traceback import format_exc
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmark.errors import FOREIGN, raise_interruption
from benchmark.measure.cells import (
    Conditions,
    Failed,
    Measured,
    Stage,
    Task,
    failed_by,
    failed_outcome,
    is_random,
    to_send,
)
from benchmark.measure.workers import TICK_SECONDS, Begun, Lost, WorkerProcess
from benchmark.registry import metric_class
from benchmark.spec import CodecSpec
from benchmark.system.machine import Gpu, cores, gpus
from benchmark.system.processes import lead_group
from benchmark.system.settings import VISIBLE_GPUS

if TYPE_CHECKING:
    from benchmark.measure.workbench import Workbench

# Of a GPU: it serves a worker while another codes entropy on the CPU; alone where time is measured.
# At most its share of the cores, which is the limit where workers also compute metrics on the CPU.
USUAL_WORKERS, MOST_WORKERS = 2, 4
# A large network on a tile of 2048 x 2048 pixels: our choice, which was not measured.
WORKER_BYTES = 8 << 30


class Finished(NamedTuple):
    """A task and its outcome."""

    task: Task
    outcome: Measured | Failed


class Started(NamedTuple):
    """A task that a worker has begun."""

    task: Task


class WorkerError(RuntimeError):
    """A fault of the harness itself inside a worker; carries the worker's traceback."""


def carry_out(tasks: Sequence[Task], conditions: Conditions) -> Iterator[Finished | Started | None]:
    """Do all tasks in `conditions.jobs` processes, those for GPUs in others beside them.

    Every GPU that this process may use has as many workers as its memory holds, each of which sees
    that GPU alone. Yields each task as it starts and as it ends, and None at least once a second
    while nothing does. Closing the iterator ends the workers.
    """
    workers = [
        _Worker(queue, conditions, queue.gpus[number % len(queue.gpus)] if queue.gpus else None)
        for queue in _queues(tasks, conditions)
        for number in range(min(queue.workers, queue.left))
    ]
    try:
        for worker in workers:
            yield from worker.take()
        while busy := [worker for worker in workers if worker.tasks]:
            left = [worker.process.patience.left_seconds() for worker in busy]
            pause = min([TICK_SECONDS, *(seconds for seconds in left if seconds is not None)])
            ready = wait([worker.process.connection for worker in busy], timeout=pause)
            for worker in busy:
                if (finished := worker.collect()) is not None:
                    started = worker.take()
                    yield finished
                    yield from started
            if not ready:
                yield None
    finally:
        for worker in workers:
            worker.process.end(busy=bool(worker.tasks))


@dataclass
class _WorkQueue:
    """Tasks that wait for the same kind of worker, kept together by image."""

    workers: int
    gpus: Sequence[str] = ()  # of the workers in turn, as CUDA_VISIBLE_DEVICES has them
    images: dict[str, deque[Task]] = field(default_factory=dict)
    free: deque[str] = field(default_factory=deque)  # images that no worker has taken
    left: int = 0
    random: set[CodecSpec] = field(default_factory=set)  # variants that were seen to be random

    def add(self, task: Task) -> None:
        if task.image_sha256 not in self.images:
            self.images[task.image_sha256] = deque()
            self.free.append(task.image_sha256)
        self.images[task.image_sha256].append(task)
        self.left += 1

    def next(self, image: str) -> Task | None:
        """Return a task of this image, else of a free image, else of the image with most left."""
        if image not in self.images:
            if not self.images:
                return None
            if self.free:
                image = self.free.popleft()
            else:
                image = max(self.images, key=lambda key: len(self.images[key]))
        queue = self.images[image]
        task = queue.popleft()
        self.left -= 1
        if not queue:
            del self.images[image]
        return task


def _queues(tasks: Sequence[Task], conditions: Conditions) -> list[_WorkQueue]:
    on_gpus = conditions.device == "cuda" or any(task.device == "cuda" for task in tasks)
    cards = gpus() if on_gpus else ()
    scored = map(metric_class, conditions.metrics if cards else ())
    many = any(getattr(metric, "on_cpu", False) for metric in scored)
    share = cores() // max(len(cards), 1)
    most = max(share if many else min(share, MOST_WORKERS), USUAL_WORKERS)
    lanes = gpu_lanes(cards, conditions.timing, most)
    queues = {
        # Their metrics may run on a GPU.
        "cpu": _WorkQueue(conditions.jobs, list(dict.fromkeys(filter(None, lanes)))),
        "cuda": _WorkQueue(len(lanes), [name for name in lanes if name]),
    }
    for task in tasks:
        queues["cuda" if conditions.timing else task.device].add(task)  # one at a time
    return list(queues.values())


def gpu_lanes(gpus: Sequence[Gpu], timing: bool, most: int = MOST_WORKERS) -> list[str]:
    """Return the GPU of each worker by its name, by the memory that is free; in turns.

    most: workers of a GPU. Where its memory is unknown, it has `USUAL_WORKERS`.

    Names are empty where nothing is known of GPUs: what workers see is left as it is.

    >>> gpu_lanes([Gpu("a", 20 << 30), Gpu("b", 9 << 30)], False), gpu_lanes([], False)
    (['a', 'b', 'a'], ['', ''])
    """
    fitting = {
        gpu.name: USUAL_WORKERS
        if gpu.free_bytes is None
        else min(max(gpu.free_bytes // WORKER_BYTES, 1), most)
        for gpu in gpus
    } or {"": USUAL_WORKERS}
    names = [name for turn in range(most) for name, many in fitting.items() if turn < many]
    return names[:1] if timing else names


class _Worker:
    """A process, and its tasks: the current, and another that waits.

    The waiting task spares the worker the pause in which this process stores a result. There is
    none towards the end of a queue, where it would keep a task from a worker that is free.
    """

    def __init__(self, queue: _WorkQueue, conditions: Conditions, gpu: str | None = None) -> None:
        self._queue, self._conditions = queue, conditions
        chosen = {} if gpu is None else {VISIBLE_GPUS: gpu}
        limit = conditions.timeout_seconds
        self.process = WorkerProcess(serve, conditions, limit_seconds=limit, **chosen)
        self.tasks: deque[Task] = deque()
        self._image = ""

    def take(self) -> list[Started]:
        """Give the worker what it lacks, as far as the queue has it; return what it works on."""
        wanted = 2 if self._queue.left > 2 * self._queue.workers else 1
        while len(self.tasks) < wanted and (task := self._queue.next(self._image)) is not None:
            self._image = task.image_sha256
            self.tasks.append(task)
            self.process.send(to_send(task, self._queue.random))
        return [Started(task) for task in list(self.tasks)[:1]]

    def collect(self) -> Finished | None:
        """Return the current task with its outcome, None while there is none."""
        try:
            outcome = self.process.collect()
        except Lost as lost:
            outcome = failed_outcome(self.tasks[0], self._conditions, lost.failed)
            for waiting in list(self.tasks)[1:]:
                self.process.send(waiting)
        if isinstance(outcome, str):
            raise WorkerError(outcome)
        if outcome is not None and is_random(outcome):
            self._queue.random.add(self.tasks[0].codec)
        return None if outcome is None else Finished(self.tasks.popleft(), outcome)


def serve(
    connection: Connection, conditions: Conditions, kind: "type[Workbench] | None" = None
) -> None:
    """Serve tasks in a worker process until the end of the pipe.

    The reply to a task is its outcome, or a traceback where the harness itself failed. Where stages
    are limited, the process reports them to the driver and leads a process group. kind: of the
    workbench.
    """

    from benchmark.measure.workbench import Workbench  # of workers alone, with all that codes

    def enter(stage: Stage) -> None:
        if limited:
            connection.send(Begun(stage))

    if limited := conditions.timeout_seconds is not None:
        lead_group()
    # glibc gives each freed block that is larger than all before back to the system, and pays for
    # its pages anew: a block of nearly the largest size (32 MiB) ends that for planes of images.
    np.empty(31 << 20, np.uint8)
    # OpenBLAS maps its buffer here; where memory has run out, it would ask for it without end.
    np.ones((512, 512), np.float32) @ np.ones(512, np.float32)
    bench = None
    while True:
        task: Task = connection.recv()
        reply: Measured | Failed | str
        try:
            bench = bench or (kind or Workbench)(conditions)
            reply = bench.carry_out(task, enter)
        except FOREIGN as error:
            raise_interruption(error)
            reply = format_exc()
        try:
            connection.send(reply)
        except MemoryError as error:  # before the first byte: what is sent is made in memory first
            connection.send(failed_outcome(task, conditions, failed_by(None, "worker", error)))
