"""Jobs that wait for workers of one kind, and what the driver knows of each worker. No Ray here."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.measure.engine.local import Task
from benchmark.measure.engine.ray_bench import Wanted
from benchmark.measure.engine.ray_parcel import image_of, pixels_of, spec_of, wanted
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
class Lane:
    """Jobs in bundles, the longest first; left: those not finished.

    resources: what Ray is to give each worker.
    """

    device: str
    workers: int
    resources: dict[str, float]
    wanted: list[Wanted] = field(default_factory=list)
    waiting: deque[deque[Job]] = field(default_factory=deque)
    left: int = 0

    def fill(self, tasks: Sequence[Task], seconds: Callable[[Task], float | None]) -> None:
        """Take all tasks of the lane, once."""
        self.wanted, self.left = wanted(tasks), len(tasks)
        for bundle in bundles(tasks, image_of, seconds, pixels_of, max(self.workers, 1)):
            expected = ((task, seconds(task)) for task in bundle)
            jobs = (Job(task, one is not None and one < SHORT_SECONDS) for task, one in expected)
            self.waiting.append(deque(jobs))

    def back(self, jobs: Iterable[Job]) -> None:
        """Put jobs before everything else."""
        returned = deque(jobs)
        if returned:
            self.waiting.appendleft(returned)

    def next(self, hand: "WorkerHandle", hands: Sequence["WorkerHandle"]) -> Job | None:
        """What this one of all hands works on next: of its bundle, else of the first it can take.

        It takes no job that it lacks the codec of, nor one that a worker of its node was lost over,
        unless no other node is left.
        """
        if (job := _take(hand, hand.bundle, hands)) is not None:
            return job
        self.back(hand.bundle)
        hand.bundle = deque()
        for place, bundle in enumerate(self.waiting):
            if (job := _take(hand, bundle, hands)) is not None:
                del self.waiting[place]
                hand.bundle = bundle
                return job
        return None


@dataclass(eq=False)
class WorkerHandle:
    """A worker: its actor, the jobs it was sent with their references, the rest of its bundle."""

    lane: Lane
    actor: Any
    greeting: Any  # the reference to its `Hello`
    hello: Hello | None = None
    sent: deque[tuple[Job, Any]] = field(default_factory=deque)
    bundle: deque[Job] = field(default_factory=deque)

    @property
    def waits_for(self) -> Any:
        """The reference that is answered next; None for an idle worker."""
        return self.greeting if self.hello is None else (self.sent[0][1] if self.sent else None)

    @property
    def has_room(self) -> bool:
        """Whether it should be sent a job: it has none, or a short one with nothing behind."""
        return not self.sent or (len(self.sent) == 1 and self.sent[0][0].short)


def _take(hand: WorkerHandle, jobs: deque[Job], hands: Sequence[WorkerHandle]) -> Job | None:
    for place, job in enumerate(jobs):
        if _may(hand, job, hands):
            del jobs[place]
            return job
    return None


def _may(hand: WorkerHandle, job: Job, hands: Sequence[WorkerHandle]) -> bool:
    if not _has(hand, job):
        return False
    nodes = {hello.node for hello in job.lost_on}
    others = (other for other in hands if other.lane is hand.lane and _has(other, job))
    return _node(hand) not in nodes or all(_node(other) in nodes for other in others)


def _has(hand: WorkerHandle, job: Job) -> bool:
    return hand.hello is not None and spec_of(job.task) not in hand.hello.lacks


def _node(hand: WorkerHandle) -> str:
    return hand.hello.node if hand.hello is not None else ""
