"""Jobs that wait for workers of one kind, and the driver's handle of each worker. No Ray here."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.measure.engine.local import Task
from benchmark.measure.engine.ray_bench import NeededCodec
from benchmark.measure.engine.ray_payload import image_of, needed_codecs, pixels_of, spec_of
from benchmark.measure.engine.ray_worker import Hello
from benchmark.plan.schedule import bundles

SHORT_SECONDS = 2.0  # a cell so short is sent before its worker is free, which spares a pause


@dataclass(eq=False)
class Job:
    """A task on its way."""

    task: Task
    short: bool
    lost_on: list[Hello] = field(default_factory=list)  # workers that were lost while it was coded


@dataclass(eq=False)
class WorkQueue:
    """Jobs in bundles, the longest first; left: those not finished.

    resources: what Ray is to give each worker.
    """

    device: str
    workers: int
    resources: dict[str, float]
    wanted: list[NeededCodec] = field(default_factory=list)
    waiting: deque[deque[Job]] = field(default_factory=deque)
    left: int = 0

    def fill(self, tasks: Sequence[Task], seconds: Callable[[Task], float | None]) -> None:
        """Take all tasks of the queue, once."""
        self.wanted, self.left = needed_codecs(tasks), len(tasks)
        for bundle in bundles(tasks, image_of, seconds, pixels_of, max(self.workers, 1)):
            expected = ((task, seconds(task)) for task in bundle)
            jobs = (Job(task, one is not None and one < SHORT_SECONDS) for task, one in expected)
            self.waiting.append(deque(jobs))

    def back(self, jobs: Iterable[Job]) -> None:
        """Put jobs before everything else."""
        returned = deque(jobs)
        if returned:
            self.waiting.appendleft(returned)

    def next(self, worker: "WorkerHandle", workers: Sequence["WorkerHandle"]) -> Job | None:
        """Return the next job of a worker: from its bundle, else from the first bundle it can take.

        It takes no job that it lacks the codec of, nor one that a worker of its node was lost over,
        unless no other node is left.
        """
        if (job := _take(worker, worker.bundle, workers)) is not None:
            return job
        self.back(worker.bundle)
        worker.bundle = deque()
        for place, bundle in enumerate(self.waiting):
            if (job := _take(worker, bundle, workers)) is not None:
                del self.waiting[place]
                worker.bundle = bundle
                return job
        return None


@dataclass(eq=False)
class WorkerHandle:
    """A worker: its actor, the jobs it was sent with their references, the rest of its bundle."""

    queue: WorkQueue
    actor: Any
    greeting: Any  # the reference to its `Hello`
    hello: Hello | None = None
    sent: deque[tuple[Job, Any]] = field(default_factory=deque)
    bundle: deque[Job] = field(default_factory=deque)

    @property
    def waits_for(self) -> Any:
        """Reference of the reply that comes next; None for an idle worker."""
        return self.greeting if self.hello is None else (self.sent[0][1] if self.sent else None)

    @property
    def has_room(self) -> bool:
        """True if the worker should be sent a job: it has none, or a single short one."""
        return not self.sent or (len(self.sent) == 1 and self.sent[0][0].short)


def _take(worker: WorkerHandle, jobs: deque[Job], workers: Sequence[WorkerHandle]) -> Job | None:
    for place, job in enumerate(jobs):
        if _may(worker, job, workers):
            del jobs[place]
            return job
    return None


def _may(worker: WorkerHandle, job: Job, workers: Sequence[WorkerHandle]) -> bool:
    if not _has(worker, job):
        return False
    nodes = {hello.node for hello in job.lost_on}
    others = (other for other in workers if other.queue is worker.queue and _has(other, job))
    return _node(worker) not in nodes or all(_node(other) in nodes for other in others)


def _has(worker: WorkerHandle, job: Job) -> bool:
    return worker.hello is not None and spec_of(job.task) not in worker.hello.lacks


def _node(worker: WorkerHandle) -> str:
    return worker.hello.node if worker.hello is not None else ""
