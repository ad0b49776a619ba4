"""Jobs of a run on a cluster: bundled, queued for workers of one kind, packed with their files."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.codec_spec import CodecSpec
from benchmark.errors import ImageRefused
from benchmark.measure.engine.local import Task, image_of
from benchmark.measure.engine.ray.process import NeededCodec, Payload
from benchmark.measure.engine.ray.worker import Hello
from benchmark.measure.workbench import Conditions
from benchmark.packs.pack import STREAMS, Pack, open_pack
from benchmark.plan.cells import Cell
from benchmark.plan.schedule import bundles
from benchmark.registry import FEATURE_SPACES, metric_class
from benchmark.rows.features import FeatureFolder
from benchmark.rows.store import Store
from benchmark.system.foreign_files import LARGEST_FILE_BYTES
from benchmark.user_file import file_of, names_file

SHORT_SECONDS = 2.0  # a cell so short is sent before its worker is free, which spares a pause


class PayloadMaker:
    """Maker of a run's payloads; `ray` is the connected package.

    files: the Python files of users' codecs and metrics, by their paths as users name them.
    """

    def __init__(self, ray: Any, tasks: Sequence[Task], conditions: Conditions) -> None:
        self._ray = ray
        self._left = Counter(map(image_of, tasks))
        self._images: dict[str, Any] = {}  # references, by the sha256 of the pixels
        self._packs: dict[Path, Pack] = {}
        self._features = FeatureFolder(conditions.folder)
        spaces = (name for name in conditions.metrics if name in FEATURE_SPACES)
        self._protocols = [str(metric_class(name).protocol) for name in spaces]
        names = {*(spec_of(task).name for task in tasks), *conditions.metrics}
        own = [name for name in names if names_file(name)]
        self.files = {one.partition(":")[0]: file_of(one).read_bytes() for one in own}

    def payload(self, task: Task) -> tuple[Payload, Any]:
        """Return a task's payload, and the reference to its image in the object store, if any.

        Raises `BenchError` or `OSError` where the driver cannot read what belongs to it.
        """
        source = task.source
        if source is None:
            return Payload(task, None, stream=_stream(task)), None
        image = self._image(task)
        kept = frozenset(
            (protocol, source.sha256)
            for protocol in self._protocols
            if self._features.has(protocol, source.sha256)
        )
        if isinstance(task, Cell):
            return Payload(task, None, pack=self._pack(task), kept=kept), image
        return Payload(task, None, stream=_stream(task), kept=kept), image

    def done(self, task: Task) -> None:
        """Release a task's image from the object store if this was its last task."""
        image = image_of(task)
        self._left[image] -= 1
        if not self._left[image]:
            self._images.pop(image, None)

    def _image(self, task: Task) -> Any:
        assert task.source is not None
        key, path = image_of(task), task.source.file.path
        if key not in self._images:
            data = np.frombuffer(path.read_bytes(), np.uint8)  # an array is not copied on arrival
            if not data.size:
                raise ImageRefused(f"{task.source.file.name} is empty")
            self._images[key] = self._ray.put(data)
        return self._images[key]

    def _pack(self, cell: Cell) -> Pack | None:
        if cell.pack is None:
            return None
        whole = self._packs.get(cell.pack) or self._packs.setdefault(
            cell.pack, open_pack(cell.pack)
        )
        return only(whole, cell)


class _InMemory:
    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def read(self, name: str, most: int = LARGEST_FILE_BYTES) -> bytes | None:
        data = self._files.get(name)
        return None if data is None or len(data) > most else data


def only(pack: Pack, cell: Cell) -> Pack:
    """Return the part of a pack that one cell needs; raise `BadPack` if its stream is damaged."""
    source = cell.source
    one = pack.find(cell.codec, source.sha256, source.width_px, cell.setting)
    if one is None:
        return replace(pack, streams={}, files=_InMemory({}))
    data = _InMemory({f"{STREAMS}/{one.sha256}": pack.read(one)})
    key = (one.spec, one.image_sha256, one.width_px, one.setting)
    infos = {cell.codec: pack.infos[cell.codec]}
    return replace(pack, infos=infos, streams={key: one}, files=data)


def needed_codecs(tasks: Iterable[Task]) -> list[NeededCodec]:
    """Return the codecs of tasks; `info` is None for one that only has to decode."""
    found: dict[CodecSpec, NeededCodec] = {}
    for task in tasks:
        spec = spec_of(task)
        encodes = isinstance(task, Cell) and task.pack is None
        info = task.info if isinstance(task, Cell) and encodes else None
        if spec not in found or info is not None:
            found[spec] = NeededCodec(spec, info)
    return list(found.values())


def spec_of(task: Task) -> CodecSpec:
    """Return the codec variant of a task."""
    if isinstance(task, Cell):
        return task.codec
    return CodecSpec.of(task.row["codec"], task.row["variant"])


def pixels_of(task: Task) -> float:
    """Return the number of pixels of a task's image."""
    if isinstance(task, Cell):
        return task.source.width_px * task.source.height_px
    return float(task.row["width_px"] * task.row["height_px"])


def _stream(task: Task) -> bytes | None:
    assert not isinstance(task, Cell)
    return Store(task.folder).stream(task.row["stream_sha256"])


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
