"""Cells to measured rows on a cluster of Ray: workers on its nodes, the store with the driver.

Longest bundles first (`benchmark.plan.schedule`); whoever is free takes the next. An image is put
into the object store once and travels once to each node. A worker that is lost, with its process or
its node, gives its cells back: the one in work is tried again, elsewhere if there is an elsewhere,
and is a failed row when that has happened `MOST_LOSSES` times. A crash of a codec is a failed row
at once, as on one machine, for it ends a process beside the worker (`ray_bench`).
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

from benchmark.errors import BenchError
from benchmark.measure.engine.cluster import Cluster, environment, import_ray
from benchmark.measure.engine.local import Finished, Task, WorkerError
from benchmark.measure.engine.ray_bench import Fault, WorkerConfig
from benchmark.measure.engine.ray_lane import Job, Lane, WorkerHandle
from benchmark.measure.engine.ray_parcel import Packer, device_of, spec_of
from benchmark.measure.engine.ray_worker import Hello, Worker, code_sha256
from benchmark.measure.execute import Failed, explain
from benchmark.measure.workbench import Conditions, Measured, failed_row
from benchmark.plan.cells import Cell
from benchmark.system.device import VARIABLE as DEVICE_VARIABLE

TICK_SECONDS = 1.0
MOST_LOSSES = 3  # of workers over one cell
MOST_STILLBORN = 20  # workers lost before they said hello; then no more are hired
QUIET_SECONDS = 60.0  # after which cells that no worker can take are given up
PATIENCE_SECONDS = 600.0  # after which a run without any worker is


class RayEngine:
    """Carries out tasks as `engine.local` does, on a cluster that this process is connected to.

    seconds: what a task is expected to take, None for unknown. gpus_per_worker: of codecs that run
    on a GPU; .5 lets two share one. remarks: gets a sentence on each thing that a node lacks.
    """

    def __init__(
        self,
        cluster: Cluster,
        seconds: Callable[[Task], float | None],
        gpus_per_worker: float,
        remarks: dict[str, None],
    ) -> None:
        self._cluster, self._seconds, self._gpus = cluster, seconds, gpus_per_worker
        self._remarks = remarks  # in order, each once

    def carry_out(self, tasks: Sequence[Task], conditions: Conditions) -> Iterator[Finished | None]:
        """Do all tasks; yields in the order of completion, and None about once a second.

        Closing the iterator ends the workers.
        """
        on_gpu = {"num_gpus": self._gpus, "num_cpus": 0.0}
        lanes = [
            Lane("cuda", self._cluster.gpu_workers(self._gpus), on_gpu),
            Lane("cpu", conditions.jobs, {"num_cpus": 1.0}),
        ]
        run = _Run(tasks, conditions, lanes, self._remarks)
        try:
            for lane in lanes:
                own = [task for task in tasks if device_of(task) == lane.device]
                run.fill(lane, own, self._seconds)
            yield from run.outcomes()
        finally:
            run.end()


class _Run:
    def __init__(
        self,
        tasks: Sequence[Task],
        conditions: Conditions,
        lanes: Sequence[Lane],
        remarks: dict[str, None],
    ) -> None:
        self._ray = import_ray()
        self._conditions, self._lanes, self._remarks = conditions, lanes, remarks
        self._packer = Packer(self._ray, tasks, conditions)
        self._code, self._environment = code_sha256(), environment()
        self._hands: list[WorkerHandle] = []
        self._finished: deque[Finished] = deque()
        self._stillborn = 0
        self._heard = monotonic()

    def fill(
        self, lane: Lane, tasks: Sequence[Task], seconds: Callable[[Task], float | None]
    ) -> None:
        """Give a lane its tasks and its workers."""
        if tasks and not lane.workers:
            raise BenchError(
                f"{len(tasks)} cells are for a GPU, and the cluster has none, or none as large as "
                "--gpus-per-worker"
            )
        lane.fill(tasks, seconds)
        for _ in range(min(lane.workers, lane.left)):
            self._hire(lane)

    def outcomes(self) -> Iterator[Finished | None]:
        """Until nothing is left."""
        while any(lane.left for lane in self._lanes):
            asked = {hand.waits_for: hand for hand in self._hands if hand.waits_for is not None}
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
            while self._finished:
                yield self._finished.popleft()

    def end(self) -> None:
        """End all workers, whatever they are at."""
        for hand in self._hands:
            self._dismiss(hand)
        self._hands = []

    def _hire(self, lane: Lane) -> None:
        outfit = WorkerConfig(replace(self._conditions, device=lane.device), self._packer.files)
        told = {**self._environment, DEVICE_VARIABLE: lane.device}
        if lane.device == "cpu":
            told["CUDA_VISIBLE_DEVICES"] = ""
        actor = (
            self._ray.remote(Worker)
            .options(
                scheduling_strategy="SPREAD", max_restarts=0, max_task_retries=0, **lane.resources
            )
            .remote(outfit, told, self._code)
        )
        self._hands.append(WorkerHandle(lane, actor, actor.hello.remote(lane.wanted)))

    def _dismiss(self, hand: WorkerHandle) -> None:
        with suppress(Exception):  # it may be gone, and Ray with it
            self._ray.kill(hand.actor)

    def _hear(self, hand: WorkerHandle, reference: Any) -> None:
        problems = self._ray.exceptions
        self._heard = monotonic()
        try:
            reply = self._ray.get(reference)
        except problems.RayTaskError as error:
            raise WorkerError(str(error)) from error
        except problems.RayError as error:
            self._lose(hand, error)
            return
        if isinstance(reply, Hello):
            self._greet(hand, reply)
        elif isinstance(reply, Fault):
            raise WorkerError(reply.traceback)
        else:
            job, _ = hand.sent.popleft()
            self._finish(hand.lane, job, reply)
            self._feed(hand)

    def _greet(self, hand: WorkerHandle, hello: Hello) -> None:
        hand.hello = hello
        if hello.refusal:
            self._remarks[f"node {hello.address} takes no part: {hello.refusal}"] = None
            self._hands.remove(hand)
            self._dismiss(hand)
            if not any(other.lane is hand.lane for other in self._hands):
                raise BenchError(f"no node can work for this run: {'; '.join(self._remarks)}")
            return
        for spec, reason in hello.lacks.items():
            self._remarks[f"node {hello.address} cannot run {spec.text}: {reason}"] = None
        self._feed(hand)

    def _feed(self, hand: WorkerHandle) -> None:
        """Send jobs until the worker has enough: one, or where it is short another to follow."""
        while hand.has_room and (job := hand.lane.next(hand, self._hands)) is not None:
            try:
                parcel, image = self._packer.parcel(job.task)
            except (BenchError, OSError) as error:
                failed = Failed("load", explain(error))
                self._finish(hand.lane, job, self._failure(job.task, failed))
            else:
                hand.sent.append((job, hand.actor.work.remote(parcel, image)))

    def _finish(self, lane: Lane, job: Job, outcome: Measured | Failed) -> None:
        lane.left -= 1
        self._packer.done(job.task)
        self._finished.append(Finished(job.task, outcome))

    def _failure(self, task: Task, failed: Failed, machine: str = "") -> Measured | Failed:
        conditions = replace(self._conditions, machine=machine or self._conditions.machine)
        if isinstance(task, Cell):
            return Measured(failed_row(task, conditions, failed), None)
        return failed

    def _lose(self, hand: WorkerHandle, error: Exception) -> None:
        """Take back what a worker had that is gone, and hire another."""
        self._hands.remove(hand)
        self._dismiss(hand)  # Ray may have lost its answer alone
        sent = [job for job, _ in hand.sent]
        hand.lane.back([*sent[1:], *hand.bundle])
        if hand.hello is None:
            self._stillborn += 1
        elif sent:
            sent[0].lost_on.append(hand.hello)
            if len(sent[0].lost_on) < MOST_LOSSES:
                hand.lane.back(sent[:1])
            else:
                failed = Failed("worker", self._lost(sent[0], error))
                outcome = self._failure(sent[0].task, failed, hand.hello.machine)
                self._finish(hand.lane, sent[0], outcome)
        colleagues = sum(other.lane is hand.lane for other in self._hands)
        if self._stillborn >= MOST_STILLBORN:
            last = str(error).strip().splitlines()[-1]
            self._remarks[f"some workers cannot start: {last}"] = None
            if not colleagues:
                raise BenchError(f"no worker can start on the cluster: {last}") from error
        elif hand.lane.left > colleagues:
            self._hire(hand.lane)
        for other in list(self._hands):
            if other.lane is hand.lane and other.hello is not None:
                self._feed(other)

    def _lost(self, job: Job, error: Exception) -> str:
        last = job.lost_on[-1].node
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            how = "the process was ended by Ray, for want of memory"
        elif not any(one["NodeID"] == last and one["Alive"] for one in self._ray.nodes()):
            how = "the node was lost"
        else:
            how = "the process ended"
        nodes = ", ".join(dict.fromkeys(hello.address for hello in job.lost_on))
        return (
            f"{len(job.lost_on)} workers were lost while they worked on this cell, on {nodes}; "
            f"of the last one, {how}"
        )

    def _give_up(self) -> None:
        """Fail what nobody can take, and the run where there is nobody."""
        quiet = monotonic() - self._heard
        for lane in self._lanes:
            own = [hand for hand in self._hands if hand.lane is lane]
            there = [hand for hand in own if hand.hello is not None]
            if not lane.left or any(hand.sent for hand in there):
                continue
            if not there and quiet > PATIENCE_SECONDS:
                raise BenchError(
                    f"no node of the cluster has had room for a worker for {quiet:.0f} s: start "
                    "nodes, and run again; finished cells are kept"
                )
            if there and (len(there) == len(own) or quiet > QUIET_SECONDS):
                self._fail_the_rest(lane)

    def _fail_the_rest(self, lane: Lane) -> None:
        rest = [job for bundle in lane.waiting for job in bundle]
        lane.waiting.clear()
        for job in rest:
            spec = spec_of(job.task)
            why = [remark for remark in self._remarks if f"cannot run {spec.text}: " in remark]
            failed = Failed("load", f"no node can run {spec.text}: {'; '.join(why)}")
            self._finish(lane, job, self._failure(job.task, failed))
