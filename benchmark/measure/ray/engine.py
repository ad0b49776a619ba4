"""Measure cells on a Ray cluster: workers on its nodes, the store with the driver.

Whoever is free takes the longest bundle left (`benchmark.measure.cells`). An image travels once to
each node. A worker that is lost, with its process or its node, gives its cells back: the current
cell is tried again, on another node if possible, and is a failed row the `MOST_LOSSES`th time.
A codec that crashes is a failed row at once, for it ends a process beside the worker.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from time import monotonic, sleep
from types import EllipsisType
from typing import Any

from benchmark.errors import BenchError
from benchmark.measure.cells import Task
from benchmark.measure.execute import Failed, failed_by
from benchmark.measure.local import Finished, Started, WorkerError
from benchmark.measure.ray.cluster import (
    Cluster,
    Head,
    environment,
    import_ray,
    while_answered,
)
from benchmark.measure.ray.jobs import Job, PayloadMaker, WorkerHandle, WorkQueue
from benchmark.measure.ray.worker import Hello, Worker, code_sha256
from benchmark.measure.workbench import Conditions, Measured, failed_outcome
from benchmark.measure.workers import TICK_SECONDS
from benchmark.spec import CodecSpec
from benchmark.system.settings import DEVICE
from benchmark.system.text import counted

MOST_LOSSES = 3  # of workers over a cell
MOST_STILLBORN = 20  # workers lost before they were ready; then no more are hired
QUIET_SECONDS = 60.0  # after which cells that no worker can take are given up
PATIENCE_SECONDS = 600.0  # after which a run without any worker is


class RayEngine:
    """An engine on the connected cluster.

    seconds: what a task is expected to take, None for unknown. gpus_per_worker: of codecs that run
    on a GPU; .5 lets two share it. remarks: gets a sentence on each thing that a node lacks.
    """

    def __init__(
        self,
        cluster: Cluster,
        seconds: Callable[[Task], float | None],
        gpus_per_worker: float,
        remarks: dict[str, None],
    ) -> None:
        self._ray = import_ray()
        self._cluster, self._seconds, self._gpus = cluster, seconds, gpus_per_worker
        self._remarks = remarks  # in order, each once
        self._code, self._environment = code_sha256(), environment()
        self._lacking: dict[CodecSpec, list[str]] = defaultdict(list)  # why nodes cannot run it
        self._workers: list[WorkerHandle] = []
        self._news: deque[Finished | Started] = deque()
        self._head = Head(self._ray.get_runtime_context().gcs_address)

    def carry_out(
        self, tasks: Sequence[Task], conditions: Conditions
    ) -> Iterator[Finished | Started | None]:
        """Do all tasks as `engine.local` does; raise `BenchError` when the head is lost."""
        outcomes, turn = self._carry_out(tasks, conditions), Lock()

        def step() -> Finished | Started | EllipsisType | None:
            with turn:
                return next(outcomes, ...)

        def close() -> None:
            with turn:  # after an interruption a step is still under way
                outcomes.close()

        try:
            while (event := while_answered(self._head, step)) is not ...:
                yield event
        finally:
            if not self._head.is_lost():
                while_answered(self._head, close)

    def _carry_out(
        self, tasks: Sequence[Task], conditions: Conditions
    ) -> Generator[Finished | Started | None]:
        self._conditions, self._stillborn, self._heard = conditions, 0, monotonic()
        self._payloads = PayloadMaker(self._ray, tasks, conditions)
        on_gpu = {"num_gpus": self._gpus, "num_cpus": 0.0}
        self._queues = [
            WorkQueue("cuda", self._cluster.gpu_workers(self._gpus), on_gpu),
            WorkQueue("cpu", conditions.jobs, {"num_cpus": 1.0}),
        ]
        try:
            for queue in self._queues:
                own = [task for task in tasks if task.device == queue.device]
                if own and not queue.workers:
                    cells = counted(len(own), "cell is", "cells are")
                    lacks = "the cluster has none, or none as large as --gpus-per-worker"
                    raise BenchError(f"{cells} for a GPU, and {lacks}")
                queue.fill(own, self._seconds)
                for _ in range(min(queue.workers, queue.left)):
                    self._hire(queue)
            yield from self._outcomes()
        finally:
            for worker in self._workers:  # also those with a task
                if not self._head.is_lost():
                    self._dismiss(worker)
            self._workers = []

    def _outcomes(self) -> Generator[Finished | Started | None]:
        while any(queue.left for queue in self._queues):
            asked = {worker.waits_for: worker for worker in self._workers}
            asked.pop(None, None)
            ready: list[Any] = []
            if asked:
                ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=TICK_SECONDS)
            else:
                sleep(TICK_SECONDS)
            for reference in ready:
                self._hear(asked[reference], reference)
            if not ready:
                self._give_up()
                yield None
            while self._news:
                yield self._news.popleft()

    def _hire(self, queue: WorkQueue) -> None:
        conditions = replace(self._conditions, device=queue.device)
        variables = {**self._environment, DEVICE: queue.device}
        if queue.device == "cpu":
            variables["CUDA_VISIBLE_DEVICES"] = ""
        options = {"scheduling_strategy": "SPREAD", "max_restarts": 0, "max_task_retries": 0}
        remote = self._ray.remote(Worker).options(**options, **queue.resources)
        actor = remote.remote(conditions, self._payloads.files, variables, self._code)
        self._workers.append(WorkerHandle(queue, actor, actor.hello.remote(queue.wanted)))

    def _dismiss(self, worker: WorkerHandle) -> None:
        with suppress(Exception):  # it may be gone, and Ray with it
            self._ray.kill(worker.actor)

    def _hear(self, worker: WorkerHandle, reference: Any) -> None:
        self._heard = monotonic()
        try:
            reply = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise WorkerError(str(error)) from error
        except self._ray.exceptions.RayError as error:
            self._lose(worker, error)
            return
        if isinstance(reply, Hello):
            self._greet(worker, reply)
        elif isinstance(reply, str):
            raise WorkerError(reply)
        else:
            job, _ = worker.sent.popleft()
            self._finish(worker.queue, job, reply)
            if worker.sent:
                self._news.append(Started(worker.sent[0][0].task))
            self._feed(worker)

    def _greet(self, worker: WorkerHandle, hello: Hello) -> None:
        worker.hello = hello
        if hello.refusal:
            self._remarks[f"node {hello.address} takes no part: {hello.refusal}"] = None
            self._workers.remove(worker)
            self._dismiss(worker)
            if not any(other.queue is worker.queue for other in self._workers):
                raise BenchError(f"no node can work for this run: {'; '.join(self._remarks)}")
            return
        for spec, reason in hello.lacks.items():
            remark = f"node {hello.address} cannot run {spec.text}: {reason}"
            self._lacking[spec].append(remark)
            self._remarks[remark] = None
        self._feed(worker)

    def _feed(self, worker: WorkerHandle) -> None:
        """Send jobs until the worker has enough: a job, and after a short job another."""
        while worker.has_room and (job := worker.queue.next(worker, self._workers)) is not None:
            try:
                payload, image = self._payloads.payload(job.task)
            except (BenchError, OSError) as error:
                self._fail(worker.queue, job, failed_by(None, "load", error))
            else:
                worker.sent.append((job, worker.actor.work.remote(payload, image)))
                if len(worker.sent) == 1:
                    self._news.append(Started(job.task))

    def _finish(self, queue: WorkQueue, job: Job, outcome: Measured | Failed) -> None:
        queue.left -= 1
        self._payloads.done(job.task)
        self._news.append(Finished(job.task, outcome))

    def _fail(self, queue: WorkQueue, job: Job, failed: Failed, machine: str = "") -> None:
        conditions = replace(self._conditions, machine=machine or self._conditions.machine)
        self._finish(queue, job, failed_outcome(job.task, conditions, failed))

    def _lose(self, worker: WorkerHandle, error: Exception) -> None:
        """Take back what a worker had that is gone, and hire another."""
        self._workers.remove(worker)
        self._dismiss(worker)  # Ray may have lost its answer alone
        sent = [job for job, _ in worker.sent]
        worker.queue.back([*sent[1:], *worker.bundle])
        if worker.hello is None:
            self._stillborn += 1
        elif sent:
            sent[0].lost_on.append(worker.hello)
            if len(sent[0].lost_on) < MOST_LOSSES:
                worker.queue.back(sent[:1])
            else:
                failed = Failed("worker", self._lost(sent[0], error))
                self._fail(worker.queue, sent[0], failed, worker.hello.machine)
        colleagues = sum(other.queue is worker.queue for other in self._workers)
        if self._stillborn >= MOST_STILLBORN:
            last = str(error).strip().splitlines()[-1]
            self._remarks[f"some workers cannot start: {last}"] = None
            if not colleagues:
                raise BenchError(f"no worker can start on the cluster: {last}") from error
        elif worker.queue.left > colleagues:
            self._hire(worker.queue)
        for other in list(self._workers):
            if other.queue is worker.queue and other.hello is not None:
                self._feed(other)

    def _lost(self, job: Job, error: Exception) -> str:
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        how = "the process ended" if job.lost_on[-1].node in alive else "the node was lost"
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            how = "the process was ended by Ray, for want of memory"
        workers = counted(len(job.lost_on), "worker")
        nodes = ", ".join(dict.fromkeys(hello.address for hello in job.lost_on))
        return f"{workers} lost while working on this cell, on {nodes}; of the last one, {how}"

    def _give_up(self) -> None:
        """Fail what nobody can take, and the run where there is nobody."""
        quiet = monotonic() - self._heard
        for queue in self._queues:
            own = [worker for worker in self._workers if worker.queue is queue]
            there = [worker for worker in own if worker.hello is not None]
            if not queue.left or any(worker.sent for worker in there):
                continue
            if not there and quiet > PATIENCE_SECONDS:
                room = f"no node of the cluster has had room for a worker for {quiet:.0f} s"
                raise BenchError(f"{room}: start nodes, and run again; finished cells are kept")
            if not there or (len(there) < len(own) and quiet <= QUIET_SECONDS):
                continue
            rest = [job for bundle in queue.waiting for job in bundle]
            queue.waiting.clear()
            for job in rest:
                spec = job.task.codec
                why = "; ".join(dict.fromkeys(self._lacking[spec]))
                self._fail(queue, job, Failed("load", f"no node can run {spec.text}: {why}"))
