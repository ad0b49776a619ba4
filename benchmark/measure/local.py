"""Measure cells on this machine, with single-threaded worker processes and a queue per device.

A worker takes the cells of an image in turn, so that a source is read and prepared once. If a
worker dies or exceeds the time limit, only its current cell fails, and another worker continues.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from traceback import format_exc
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmark.errors import FOREIGN_ERRORS, raise_interruption
from benchmark.measure.cells import (
    Failed,
    Measured,
    RunConditions,
    Stage,
    Task,
    failed_by,
    failed_outcome,
    is_random,
    prepare_task,
)
from benchmark.measure.workers import TICK_SECONDS, Begun, WorkerLost, WorkerProcess
from benchmark.registry import metric_class
from benchmark.spec import CodecSpec
from benchmark.system.machine import Gpu, cores, gpus
from benchmark.system.processes import lead_group
from benchmark.system.settings import VISIBLE_GPUS

if TYPE_CHECKING:
    from benchmark.measure.workbench import Workbench

# Workers per GPU: one uses the GPU while another codes entropy on the CPU; timed runs use one. If
# workers also compute metrics on the CPU, their maximum is the GPU's share of the cores.
USUAL_WORKERS, MAX_WORKERS = 2, 4
# GPU memory that a large network needs for 2048 x 2048 pixels: our estimate, not measured.
WORKER_BYTES = 8 << 30


class Finished(NamedTuple):
    """Task and its outcome."""

    task: Task
    outcome: Measured | Failed


class Started(NamedTuple):
    """Task begun by a worker."""

    task: Task


class WorkerError(RuntimeError):
    """Fault of the harness in a worker, with the worker's traceback."""


def carry_out(
    tasks: Sequence[Task], conditions: RunConditions
) -> Iterator[Finished | Started | None]:
    """Execute tasks in `conditions.jobs` processes, and GPU tasks in further processes.

    Each process for GPU tasks sees one GPU. Yields tasks when they start and end, and None at least
    once a second. When the iterator is closed, the workers end.
    """
    workers = [
        _Worker(queue, conditions, queue.gpus[number % len(queue.gpus)] if queue.gpus else None)
        for queue in _queues(tasks, conditions)
        for number in range(min(queue.workers, queue.num_waiting))
    ]
    try:
        for worker in workers:
            yield from worker.take_tasks()
        while busy_workers := [worker for worker in workers if worker.tasks]:
            remaining_limits = [worker.process.deadline.left_seconds() for worker in busy_workers]
            wait_seconds = min(
                [TICK_SECONDS, *(seconds for seconds in remaining_limits if seconds is not None)]
            )
            ready_connections = wait(
                [worker.process.connection for worker in busy_workers], timeout=wait_seconds
            )
            for worker in busy_workers:
                if (finished := worker.collect()) is not None:
                    started_tasks = worker.take_tasks()
                    yield finished
                    yield from started_tasks
            if not ready_connections:
                yield None
    finally:
        for worker in workers:
            worker.process.end(busy=bool(worker.tasks))


@dataclass
class _WorkQueue:
    workers: int
    gpus: Sequence[str] = ()  # assigned to workers in turn, named as in CUDA_VISIBLE_DEVICES
    images: dict[str, deque[Task]] = field(default_factory=dict)
    free_images: deque[str] = field(default_factory=deque)  # images that no worker has taken
    num_waiting: int = 0
    random_codecs: set[CodecSpec] = field(default_factory=set)  # codecs whose decodes differed

    def add(self, task: Task) -> None:
        if task.image_sha256 not in self.images:
            self.images[task.image_sha256] = deque()
            self.free_images.append(task.image_sha256)
        self.images[task.image_sha256].append(task)
        self.num_waiting += 1

    def pop_task(self, image: str) -> Task | None:
        """Return a task of this image, else of a free image, else of the image with most tasks."""
        if image not in self.images:
            if not self.images:
                return None
            if self.free_images:
                image = self.free_images.popleft()
            else:
                image = max(self.images, key=lambda key: len(self.images[key]))
        image_tasks = self.images[image]
        task = image_tasks.popleft()
        self.num_waiting -= 1
        if not image_tasks:
            del self.images[image]
        return task


def _queues(tasks: Sequence[Task], conditions: RunConditions) -> list[_WorkQueue]:
    uses_gpus = conditions.device == "cuda" or any(task.device == "cuda" for task in tasks)
    found_gpus = gpus() if uses_gpus else ()
    used_metrics = map(metric_class, conditions.metrics if found_gpus else ())
    scores_on_cpu = any(getattr(metric, "on_cpu", False) for metric in used_metrics)
    cores_per_gpu = cores() // max(len(found_gpus), 1)
    max_workers = max(
        cores_per_gpu if scores_on_cpu else min(cores_per_gpu, MAX_WORKERS), USUAL_WORKERS
    )
    gpu_by_worker = gpu_lanes(found_gpus, conditions.timing, max_workers)
    queues = {
        # Metrics of these cells may run on a GPU.
        "cpu": _WorkQueue(conditions.jobs, list(dict.fromkeys(filter(None, gpu_by_worker)))),
        "cuda": _WorkQueue(len(gpu_by_worker), [name for name in gpu_by_worker if name]),
    }
    for task in tasks:
        queues["cuda" if conditions.timing else task.device].add(task)  # timed: one at a time
    return list(queues.values())


def gpu_lanes(gpus: Sequence[Gpu], timing: bool, limit: int = MAX_WORKERS) -> list[str]:
    """Return the GPU of each worker ("" if unknown), up to `limit` workers per GPU if they fit."""
    workers_by_gpu = {
        gpu.name: USUAL_WORKERS
        if gpu.free_bytes is None
        else min(max(gpu.free_bytes // WORKER_BYTES, 1), limit)
        for gpu in gpus
    } or {"": USUAL_WORKERS}
    gpu_by_worker = [
        name
        for round_number in range(limit)
        for name, workers in workers_by_gpu.items()
        if round_number < workers
    ]
    return gpu_by_worker[:1] if timing else gpu_by_worker


class _Worker:
    """Process with a current and a waiting task, so that storing results causes no pause.

    Near the end of a queue no task waits, since a free worker could take it.
    """

    def __init__(
        self, queue: _WorkQueue, conditions: RunConditions, gpu: str | None = None
    ) -> None:
        self._queue, self._conditions = queue, conditions
        variables = {} if gpu is None else {VISIBLE_GPUS: gpu}
        limit = conditions.timeout_seconds
        self.process = WorkerProcess(serve, conditions, limit_seconds=limit, **variables)
        self.tasks: deque[Task] = deque()
        self._image = ""

    def take_tasks(self) -> list[Started]:
        """Send the worker tasks from the queue; return the current task."""
        count = 2 if self._queue.num_waiting > 2 * self._queue.workers else 1
        while len(self.tasks) < count and (task := self._queue.pop_task(self._image)) is not None:
            self._image = task.image_sha256
            self.tasks.append(task)
            self.process.send(prepare_task(task, self._queue.random_codecs))
        return [Started(task) for task in list(self.tasks)[:1]]

    def collect(self) -> Finished | None:
        """Return the current task with its outcome, or None."""
        try:
            outcome = self.process.collect()
        except WorkerLost as lost:
            outcome = failed_outcome(self.tasks[0], self._conditions, lost.failed)
            for waiting_task in list(self.tasks)[1:]:
                self.process.send(waiting_task)
        if isinstance(outcome, str):
            raise WorkerError(outcome)
        if outcome is not None and is_random(outcome):
            self._queue.random_codecs.add(self.tasks[0].codec)
        return None if outcome is None else Finished(self.tasks.popleft(), outcome)


def serve(
    connection: Connection, conditions: RunConditions, bench_class: "type[Workbench] | None" = None
) -> None:
    """Carry out tasks in a worker process; reply with an outcome, or the traceback of a bug.

    With a time limit, the process reports stages to the driver and leads a process group.
    """

    from benchmark.measure.workbench import Workbench  # only in workers, since it imports much

    def enter(stage: Stage) -> None:
        if has_limit:
            connection.send(Begun(stage))

    if has_limit := conditions.timeout_seconds is not None:
        lead_group()
    # glibc returns a freed block to the system if it is the largest so far, and maps pages for the
    # next block: freeing a block of nearly the maximum size (32 MiB) prevents that.
    np.empty(31 << 20, np.uint8)
    # This makes OpenBLAS map its buffer; once memory has run out, it would retry forever.
    np.ones((512, 512), np.float32) @ np.ones(512, np.float32)
    bench = None
    while True:
        task: Task = connection.recv()
        reply: Measured | Failed | str
        try:
            bench = bench or (bench_class or Workbench)(conditions)
            reply = bench.carry_out(task, enter)
        except FOREIGN_ERRORS as error:
            raise_interruption(error)
            reply = format_exc()
        try:
            connection.send(reply)
        except MemoryError as error:  # nothing was sent, since messages are first built in memory
            connection.send(failed_outcome(task, conditions, failed_by(None, "worker", error)))
