"""Jobs of a run on a cluster: bundled, queued for workers of a kind, packed with their files."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np

from benchmark.errors import ImageRefused
from benchmark.measure.cells import Cell, Task, bundles
from benchmark.measure.local import Payload
from benchmark.measure.ray.worker import Hello, NeededCodec
from benchmark.measure.workbench import Conditions, Delivered
from benchmark.plugins import file_of
from benchmark.registry import FEATURE_SPACES, metric_named, names_file
from benchmark.rows.features import FeatureFolder
from benchmark.rows.packs.pack import STREAMS, Pack, open_pack
from benchmark.rows.store import Store
from benchmark.spec import CodecSpec

SHORT_SECONDS = 2.0  # a cell so short is sent before its worker is free, which spares a pause


class PayloadMaker:
    """Maker of a run's payloads with the package `ray`; files: users' Python files, by path."""

    def __init__(self, ray: Any, tasks: Sequence[Task], conditions: Conditions) -> None:
        self._ray = ray
        self._features = FeatureFolder(conditions.folder)
        spaces = (name for name in conditions.metrics if name in FEATURE_SPACES)
        self._protocols = [str(metric_named(name).protocol) for name in spaces]
        self._left = Counter(task.image_sha256 for task in tasks)
        self._images: dict[str, Any] = {}  # references, by the sha256 of the pixels
        self._open_pack = cache(open_pack)
        names = {*(task.codec.name for task in tasks), *conditions.metrics}
        own = filter(names_file, names)
        self.files = {name.partition(":")[0]: file_of(name).read_bytes() for name in own}

    def payload(self, task: Task) -> tuple[Payload, Any]:
        """Return a task's payload, and its image's reference, if any; `BenchError`, `OSError`."""
        delivered, image = Delivered(), None
        if not isinstance(task, Cell):
            stream = Store(task.folder).stream(task.row["stream_sha256"])
            delivered = Delivered(stream=stream)
        elif task.pack is not None:
            delivered = Delivered(pack=only(self._open_pack(task.pack), task))
        if task.source is not None:
            sha256, file = task.source.sha256, task.source.file
            if sha256 not in self._images:
                data = np.frombuffer(file.path.read_bytes(), np.uint8)  # arrives without a copy
                if not data.size:
                    raise ImageRefused(f"{file.name} is empty")
                self._images[sha256] = self._ray.put(data)
            image = self._images[sha256]
            kept = ((protocol, sha256) for protocol in self._protocols)
            features = frozenset(pair for pair in kept if self._features.has(*pair))
            delivered = delivered._replace(kept=features)
        return Payload(task, delivered), image

    def done(self, task: Task) -> None:
        """Release a task's image from the object store if this was its last task."""
        self._left[task.image_sha256] -= 1
        if not self._left[task.image_sha256]:
            self._images.pop(task.image_sha256, None)


def only(pack: Pack, cell: Cell) -> Pack:
    """Return the part of a pack that a cell needs; raise `BadPack` if its stream is damaged."""
    key = cell.codec, cell.source.sha256, cell.source.width_px, cell.setting
    if (stream := pack.find(*key)) is None:
        return replace(pack, streams={}, files=partial(_in_memory, {}))
    files = partial(_in_memory, {f"{STREAMS}/{stream.sha256}": pack.read(stream)})
    key = (stream.spec, stream.image_sha256, stream.width_px, stream.setting)
    infos = {cell.codec: pack.infos[cell.codec]}
    return replace(pack, infos=infos, streams={key: stream}, files=files)


def _in_memory(files: Mapping[str, bytes], name: str, most: int) -> bytes | None:
    data = files.get(name)
    return None if data is None or len(data) > most else data


def needed_codecs(tasks: Iterable[Task]) -> list[NeededCodec]:
    """Return the codecs of tasks; `info` is None where only the decoder is needed."""
    result: dict[CodecSpec, NeededCodec] = {}
    for task in tasks:
        info = task.info if isinstance(task, Cell) and task.pack is None else None
        if task.codec not in result or info is not None:
            result[task.codec] = NeededCodec(task.codec, info)
    return list(result.values())


@dataclass(eq=False)
class Job:
    """A task on its way."""

    task: Task
    short: bool
    lost_on: list[Hello] = field(default_factory=list)  # workers that were lost while it was coded


@dataclass(eq=False)
class WorkQueue:
    """Jobs in bundles, the longest first, for workers with the same resources of Ray."""

    device: str
    workers: int
    resources: dict[str, float]
    wanted: list[NeededCodec] = field(default_factory=list)
    waiting: deque[deque[Job]] = field(default_factory=deque)
    left: int = 0

    def fill(self, tasks: Sequence[Task], seconds: Callable[[Task], float | None]) -> None:
        """Take all tasks of the queue, once."""
        self.wanted, self.left = needed_codecs(tasks), len(tasks)
        for bundle in bundles(tasks, seconds, max(self.workers, 1)):
            expected = ((task, seconds(task)) for task in bundle)
            jobs = (Job(task, time is not None and time < SHORT_SECONDS) for task, time in expected)
            self.waiting.append(deque(jobs))

    def back(self, jobs: Iterable[Job]) -> None:
        """Put jobs before everything else."""
        if returned := deque(jobs):
            self.waiting.appendleft(returned)

    def next(self, worker: "WorkerHandle", workers: Sequence["WorkerHandle"]) -> Job | None:
        """Return a job of its bundle or the first; one lost on its node if none other is left."""
        self.back(worker.bundle)
        worker.bundle = deque()
        for place, bundle in enumerate(self.waiting):
            for job in bundle:
                if worker.may_code(job, workers):
                    bundle.remove(job)
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
    def node(self) -> str:
        """Ray's id of its node, empty until that is known."""
        return self.hello.node if self.hello is not None else ""

    @property
    def waits_for(self) -> Any:
        """Reference of the reply that comes next; None for an idle worker."""
        return self.greeting if self.hello is None else (self.sent[0][1] if self.sent else None)

    @property
    def has_room(self) -> bool:
        """True if the worker should be sent a job: it has none, or a single short job."""
        return not self.sent or (len(self.sent) == 1 and self.sent[0][0].short)

    def can_code(self, job: Job) -> bool:
        """Return whether its node has the codec of a job."""
        return self.hello is not None and job.task.codec not in self.hello.lacks

    def may_code(self, job: Job, workers: Iterable["WorkerHandle"]) -> bool:
        """Return whether it can, and none was lost over the job on its node, or on all nodes."""
        lost_on = {hello.node for hello in job.lost_on}
        others = (w for w in workers if w.queue is self.queue and w.can_code(job))
        return self.can_code(job) and (
            self.node not in lost_on or all(other.node in lost_on for other in others)
        )
