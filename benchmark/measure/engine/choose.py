"""Choose the backend that carries out a request's cells: this machine, or a cluster's nodes."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from benchmark.errors import UsageError
from benchmark.measure.engine.local import Finished, Task, carry_out, image_of
from benchmark.measure.engine.workers import worker_context
from benchmark.measure.workbench import Conditions
from benchmark.plan.cells import Cell
from benchmark.plan.estimate import CostModel
from benchmark.plan.request import Request
from benchmark.plan.schedule import longest_first
from benchmark.system.settings import Device, use_device

ENGINES = ("local", "ray")
Engine = Callable[[Sequence[Task], Conditions], Iterator[Finished | None]]


@dataclass(frozen=True, slots=True)
class Backend:
    """Processes of this machine, or workers of a cluster, that carry out tasks."""

    device: Device
    jobs: int | None  # tasks at the same time; None for one per core of this machine
    engine: Callable[[CostModel], Engine]  # yields outcomes, and None about once a second
    session: Callable[[], AbstractContextManager[None]] = nullcontext  # entered while it works
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the run's record
    remarks: Iterable[str] = ()  # after the run: sentences on what nodes lacked


def choose_backend(request: Request) -> Backend:
    """Prepare the backend of a request, and set the device for codecs.

    Raises `UsageError` for options that exclude each other, `Unavailable` without GPU or cluster.
    """
    if request.engine not in ENGINES:
        raise UsageError(f"--engine {request.engine!r} is none of {', '.join(ENGINES)}")
    seconds = request.timeout_seconds
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise UsageError(f"--timeout {seconds:g} is no number of seconds above 0")
    if request.engine == "local":
        return _local(request)
    if request.timing:
        raise UsageError(
            "--timing measures one machine with nothing else running: drop --engine ray"
        )
    return _cluster(request)


def _local(request: Request) -> Backend:
    device = use_device(request.device)
    worker_context()  # begins to load what workers need

    def engine(model: CostModel) -> Engine:
        def ordered(tasks: Sequence[Task], conditions: Conditions) -> Iterator[Finished | None]:
            return carry_out(longest_first(tasks, image_of, _seconds(model)), conditions)

        return ordered

    return Backend(device, request.jobs, engine)


def _cluster(request: Request) -> Backend:
    from benchmark.measure.engine.ray import cluster
    from benchmark.measure.engine.ray.engine import RayEngine

    nodes = cluster.connect(request.address)
    device = use_device(request.device, nodes.has_gpus)
    remarks: dict[str, None] = {}

    def engine(model: CostModel) -> Engine:
        return RayEngine(nodes, _seconds(model), request.gpus_per_worker, remarks).carry_out

    return Backend(
        device,
        request.jobs or max(nodes.cpus, 1),
        engine,
        cluster.session,
        {"engine": "ray", "nodes": [node._asdict() for node in nodes.nodes]},
        remarks,
    )


def _seconds(model: CostModel) -> Callable[[Task], float | None]:
    def seconds(task: Task) -> float | None:
        if isinstance(task, Cell):
            return model.seconds(task)
        decoding: float | None = task.row["decode_seconds"]
        return decoding

    return seconds
